"""Pictures in and out: any file becomes a float (1, 3, H, W) in [-1, 1], and goes back to a file with its settings.

The one place that knows about file formats, colour modes and ranges: everything behind it sees one layout, one range.
"""

from __future__ import annotations

import io
import json
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from math import ceil, sqrt
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError
from torch import Tensor

from .files import check_place, write

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")    # what `save` writes
MIN_SIDE = 8                                     # pixels; less is no picture
MAX_ASPECT = 4                                   # long side : short side that `fit` keeps
MAX_DECODED = 500_000_000                        # pixels in a file; at 1 to 4 bytes each while it is decoded
DAMAGED = (OSError, SyntaxError, EOFError, RuntimeError, TypeError)    # what Pillow's decoders raise for damaged files
ORIENTATION, DESCRIPTION = 0x0112, 0x010E        # EXIF tags
JPEG_EXIF = 65_533                               # bytes of EXIF that a JPEG has room for
DEEP = ("I", "I;16", "I;16L", "I;16B", "I;16N", "F")    # Pillow's modes of more than 8 bits, all greyscale

# Photographs inside the scikit-image wheel: name -> (file, credit). Nothing is downloaded.
_SHIPPED = {
    "cat": ("chelsea.png", "Chelsea the cat, by Stéfan van der Walt, CC0"),
    "coffee": ("coffee.png", "Coffee cup, by Rachel Michetti, courtesy of Pikolo Espresso Bar, CC0"),
    "astronaut": ("astronaut.png", "Astronaut Eileen Collins, NASA Great Images database, public domain"),
    "rocket": ("rocket.jpg", "Launch of DSCOVR on Falcon 9, SpaceX Photos, public domain"),
}
PHOTOGRAPHS: dict[str, str] = {name: credit for name, (_, credit) in _SHIPPED.items()}


def load(path: str | Path, max_pixels: int = 4_000_000) -> Tensor:
    """The picture in a file as float32 (1, 3, H, W) in [-1, 1].

    Any mode Pillow reads: greyscale, palette, CMYK, 16 bits; transparency is laid over white; EXIF rotation is
    applied; of an animation the first frame is taken; colour profiles are ignored. A picture of more than `max_pixels`
    is shrunk by a whole number on the way in, so memory stays near one decoded copy in the file's own mode.
    Raises FileNotFoundError for a missing file, ValueError for a folder and for a file that is empty, damaged, no
    picture, too small or too large.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}: check the spelling and the folder")
    if path.is_dir():
        raise ValueError(f"{path} is a folder, not a picture: name one file in it")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty (0 bytes): copy or download it again")
    try:
        with _large_pictures_allowed(), Image.open(path) as picture:
            _check_size(path, *picture.size)
            factor = _factor(picture.size, max_pixels)
            picture.draft(None, (picture.width // factor, picture.height // factor))    # a JPEG decodes smaller at once
            picture.load()    # which turns a TIFF upright by itself, and forgets that it lay
            rotation = _rotation(picture)
            small = _small_rgb(picture, max_pixels)
    except UnidentifiedImageError as e:
        raise ValueError(f"{path} is not a picture that can be read: give a PNG, JPEG, WebP, TIFF, BMP or GIF") from e
    except PermissionError as e:
        raise PermissionError(f"{path} may not be read: change its permissions, or copy it") from e
    except DAMAGED as e:
        raise ValueError(f"{path} is damaged or cut short ({e}): copy or download it again") from e
    small.getexif()[ORIENTATION] = rotation
    return from_array(np.asarray(ImageOps.exif_transpose(small)))


def from_array(array: np.ndarray) -> Tensor:
    """A picture held in a NumPy array, as float32 (1, 3, H, W) in [-1, 1].

    array: (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), uint8 in [0, 255], uint16 in [0, 65535] or float in [0, 1];
    a fourth channel is transparency, laid over white. Raises ValueError for anything else.
    """
    array = np.asarray(array)
    scale = {"uint8": 255.0, "uint16": 65535.0}.get(array.dtype.name, 1.0)
    unit = np.atleast_3d(array).astype(np.float32) / scale
    if array.ndim not in (2, 3) or unit.shape[2] not in (1, 3, 4):
        raise ValueError(f"array must be (H, W), (H, W, 3) or (H, W, 4); got {array.shape}")
    if array.dtype.kind not in "uf" or not (unit.min() >= 0 and unit.max() <= 1):
        raise ValueError(
            f"array must be uint8 in [0, 255], uint16 in [0, 65535] or float in [0, 1]; got {array.dtype} in "
            f"[{array.min():g}, {array.max():g}]"
        )
    if unit.shape[2] == 4:
        unit = unit[..., :3] * unit[..., 3:] + (1 - unit[..., 3:])
    return from_unit(torch.from_numpy(unit).permute(2, 0, 1)[None].expand(1, 3, -1, -1).contiguous())


def photograph(name: str) -> Tensor:
    """A photograph that ships inside scikit-image, (1, 3, H, W) in [-1, 1]; PHOTOGRAPHS has the names and credits."""
    if name not in _SHIPPED:
        raise ValueError(f"no photograph named {name!r}; there are {', '.join(_SHIPPED)}")
    folders = getattr(find_spec("skimage"), "submodule_search_locations", None)
    if not folders:
        raise ModuleNotFoundError("the photographs ship inside scikit-image: pip install scikit-image")
    return load(Path(folders[0]) / "data" / _SHIPPED[name][0])


def fit(image: Tensor, size: int, mode: str = "native", multiple: int = 8) -> Tensor:
    """The picture at the size a network wants, (B, 3, H, W); bicubic with antialiasing.

    mode: "native" keeps the aspect ratio: the short side becomes `size`, and the long side loses less than `multiple`
    pixels so that it divides. "crop" takes the centre square. "pad" fits the whole picture into a square and repeats
    its edges around it; `unpad` takes them off again.
    Raises ValueError for an unknown mode, a size that `multiple` does not divide, and more than 4:1 (except "crop").

    >>> photo = torch.zeros(1, 3, 300, 500)
    >>> fit(photo, 64).shape, fit(photo, 64, "crop").shape
    (torch.Size([1, 3, 64, 104]), torch.Size([1, 3, 64, 64]))
    """
    check(image)
    if mode not in ("native", "crop", "pad"):
        raise ValueError(f"fit must be 'native', 'crop' or 'pad'; got {mode!r}")
    if size <= 0 or size % multiple:
        raise ValueError(f"size must be a positive multiple of {multiple}, the network's stride; got {size}")
    height, width = image.shape[-2:]
    if mode == "crop":
        side = min(height, width)
        return _resized(_centre(image, side, side), size, size)
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise ValueError(
            f"the picture is {width}x{height}, longer than {MAX_ASPECT}:1: cut it first, or use fit 'crop'"
        )
    if mode == "native":
        scale = size / min(height, width)
        image = _resized(image, max(size, round(height * scale)), max(size, round(width * scale)))
        return _centre(image, *(side // multiple * multiple for side in image.shape[-2:]))
    rows, columns = _letterbox(height, width, size)
    inside = _resized(image, rows.stop - rows.start, columns.stop - columns.start)
    around = (columns.start, size - columns.stop, rows.start, size - rows.stop)
    return F.pad(inside, around, mode="replicate")


def unpad(image: Tensor, like: Tensor) -> Tensor:
    """What `fit(like, size, "pad")` put inside the square `image`: (B, 3, size, size) without the repeated edges."""
    height, width = like.shape[-2:]
    rows, columns = _letterbox(height, width, image.shape[-1])
    return image[..., rows, columns]


def cover(image: Tensor, height: int, width: int) -> Tensor:
    """The centre of the picture at height x width, (B, 3, H, W): as large as can be, its aspect ratio kept."""
    scale = max(height / image.shape[-2], width / image.shape[-1])
    return _centre(
        _resized(image, *(max(n, round(scale * m)) for n, m in zip((height, width), image.shape[-2:], strict=True))),
        height,
        width,
    )


def side_by_side(pictures: Sequence[Tensor], gap: int = 4) -> Tensor:
    """Pictures of the same shape (B, 3, H, W) in one row with white gaps between them, (B, 3, H, sum of the widths)."""
    white = torch.ones_like(pictures[0][..., :gap])
    row = [part for picture in pictures for part in (white, picture)]
    return torch.cat(row[1:], dim=3)


def save(image: Tensor, path: str | Path, metadata: Mapping[str, str] | None = None) -> Path:
    """Write one picture, (1, 3, H, W) or (3, H, W) in [-1, 1], as PNG, JPEG or WebP by the suffix; returns the path.

    metadata goes into PNG text chunks, or as JSON into the EXIF description; `read_metadata` reads either. The same
    picture and metadata give the same bytes. The file appears whole or not at all. Warns where a JPEG has no room for
    the metadata, and leaves it out.
    Raises as `check_destination` does, and ValueError for a batch or a value that is not finite.
    """
    path = check_destination(path)
    # A file's name need not be text; bytes that are none become \udcXX, which JSON's readers take for what they were.
    texts = {key: text.encode(errors="backslashreplace").decode() for key, text in (metadata or {}).items()}
    data = io.BytesIO()
    if path.suffix.lower() == ".png":
        text = PngImagePlugin.PngInfo()
        for key, value in texts.items():
            text.add_text(key, value)
        to_pil(image).save(data, "PNG", pnginfo=text)
    else:
        exif = Image.Exif()
        if texts:
            exif[DESCRIPTION] = json.dumps(texts)
        kind, options = ("WEBP", {}) if path.suffix.lower() == ".webp" else ("JPEG", {"subsampling": 0})
        if kind == "JPEG" and len(exif.tobytes()) > JPEG_EXIF:
            warnings.warn(
                f"{path.name} is saved without its settings, for which a JPEG has no room: save as .png to keep them",
                stacklevel=2,
            )
            exif = Image.Exif()
        to_pil(image).save(data, kind, quality=95, exif=exif, **options)
    return write(path, data.getvalue())


def check_destination(path: str | Path) -> Path:
    """The path, if a picture can be saved there; ask before long work.

    Raises ValueError for a suffix other than .png, .jpg, .jpeg, .webp, FileNotFoundError for a missing folder and
    PermissionError for one that may not be written.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"the name {path.name!r} must end in one of {', '.join(SUFFIXES)}: try {path.stem}.png")
    return check_place(path)


def read_metadata(path: str | Path) -> dict[str, str]:
    """The settings that `save` wrote into a file; empty when there are none. Raises as `load` does for no picture."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}: check the spelling and the folder")
    try:
        with _large_pictures_allowed(), Image.open(path) as picture:
            if isinstance(picture, PngImagePlugin.PngImageFile):
                return {key: str(value) for key, value in picture.text.items()}
            text = picture.getexif().get(DESCRIPTION)
            found = json.loads(text) if isinstance(text, str) else {}
    except (json.JSONDecodeError, RecursionError):    # a camera's own description
        return {}
    except DAMAGED as e:
        raise ValueError(f"{path} is not a picture that can be read: give a file that zecon-lite saved") from e
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}


def to_unit(image: Tensor) -> Tensor:
    """[-1, 1] -> [0, 1], any shape."""
    return (image + 1) / 2


def from_unit(image: Tensor) -> Tensor:
    """[0, 1] -> [-1, 1], any shape."""
    return image * 2 - 1


def to_uint8(image: Tensor) -> Tensor:
    """[-1, 1] -> uint8 in [0, 255], rounded and clamped, same shape. Raises ValueError for NaN, infinity, integers.

    >>> to_uint8(torch.tensor([-1.0, 0.0, 1.0, 1.3]))
    tensor([  0, 128, 255, 255], dtype=torch.uint8)
    """
    check_float(image)
    if not torch.isfinite(image).all():
        raise ValueError("the picture holds NaN or infinity: look at the step that made it")
    return (to_unit(image.detach().float()) * 255).round().clamp(0, 255).to(torch.uint8).cpu()


def to_pil(image: Tensor) -> Image.Image:
    """One picture, (1, 3, H, W) or (3, H, W) in [-1, 1], as a Pillow image. Raises ValueError for a batch."""
    if image.ndim == 4 and image.shape[0] == 1:
        image = image[0]
    if image.ndim != 3 or image.shape[0] != 3:
        raise ValueError(f"one picture must be (1, 3, H, W) or (3, H, W); got {tuple(image.shape)}: take image[:1]")
    return Image.fromarray(to_uint8(image).permute(1, 2, 0).contiguous().numpy())


def check_float(image: Tensor) -> None:
    """Raises ValueError, with the cure, for whole numbers: in [0, 255], nearly all of them would be read as white."""
    if not image.is_floating_point():
        raise ValueError(f"pictures are float in [-1, 1]; got {image.dtype}: use images.from_unit(x / 255)")


def check(image: Tensor, name: str = "source") -> Tensor:
    """The image, if it is a float tensor (B, 3, H, W) in [-1, 1]; otherwise ValueError says what came and the cure."""
    wanted = f"{name} must be (B, 3, H, W) in [-1, 1]; got"
    if not isinstance(image, (Tensor, np.ndarray, Image.Image)):
        raise ValueError(f"{wanted} {image!r}: use images.load(path)")
    try:
        values = image if isinstance(image, Tensor) else torch.from_numpy(np.array(image))
    except TypeError as e:    # an array of texts
        raise ValueError(f"{wanted} an array of {np.array(image).dtype}: use images.load(path)") from e
    shape = tuple(values.shape)
    if values.is_complex():
        raise ValueError(f"{wanted} {shape} of complex numbers: use its .real")
    if not values.numel():
        raise ValueError(f"{wanted} the empty shape {shape}: use images.load(path)")
    numbers = values if values.is_floating_point() else values.double()    # torch has no min() of uint16
    low, high = numbers.min().item(), numbers.max().item()
    in_range = values.is_floating_point() and low >= -1.001 and high <= 1.001    # room for half precision; NaN fails
    if values is image and values.ndim == 4 and shape[1] == 3 and in_range:
        return image
    span = "[0, 255]" if low >= 0 and 1.001 < high <= 255 else f"[{low:.3g}, {high:.3g}]"
    cure = "use images.load(path)"
    if values.is_floating_point() and not torch.isfinite(values).all():
        cure = "look at the step that made it"
    elif values is image and values.ndim == 3 and shape[0] == 3 and in_range:
        cure = "add the batch dimension with image[None]"
    raise ValueError(f'{wanted} {shape} in {span}: {cure} (in the book: "Images and noise")')


def check_sides(image: Tensor, multiple: int) -> None:
    """Raises ValueError, with the cure, unless both sides of a source (B, 3, H, W) are multiples of `multiple`."""
    height, width = image.shape[-2:]
    if height % multiple or width % multiple:
        near = multiple * max(1, min(height, width) // multiple)
        raise ValueError(
            f"the source is {height} x {width}; sides must be multiples of {multiple}: "
            f"use images.fit(source, {near}, multiple={multiple}) "
            '(in the book: "Images and noise")'
        )


def _check_size(path: Path, width: int, height: int) -> None:
    if min(width, height) < MIN_SIDE:
        raise ValueError(
            f"{path} is {width}x{height} pixels, too small: give a picture of at least {MIN_SIDE}x{MIN_SIDE}"
        )
    if width * height > MAX_DECODED:
        raise ValueError(
            f"{path} is {width}x{height}, more than {MAX_DECODED // 10**6} million pixels: make it smaller first"
        )


def _rotation(picture: Image.Image) -> int:
    """How the camera was held, as EXIF counts it; 1, upright, where what it wrote cannot be read."""
    try:
        return picture.getexif().get(ORIENTATION, 1)
    except DAMAGED:    # the picture itself has been read by now
        return 1


_LIMIT = threading.RLock()


@contextmanager
def _large_pictures_allowed() -> Iterator[None]:
    """Lift Pillow's limit against decompression bombs (179 million pixels): `_check_size` sets ours, with a cure."""
    with _LIMIT:    # the limit is the process's: two threads would each restore what the other set
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _factor(size: tuple[int, int], max_pixels: int) -> int:
    """The smallest whole number by which both sides must be divided to come down to about max_pixels."""
    return max(1, ceil(sqrt(size[0] * size[1] / max_pixels)))


def _small_rgb(picture: Image.Image, max_pixels: int) -> Image.Image:
    """The picture in RGB, shrunk to max_pixels strip by strip, so that no second full-size copy is ever made."""
    factor = _factor(picture.size, max_pixels)
    small = Image.new("RGB", (ceil(picture.width / factor), ceil(picture.height / factor)))
    span = _span(picture) if picture.mode in DEEP else (0.0, 1.0)
    rows = factor * max(1, 4_000_000 // (picture.width * factor))    # about 4 million pixels at a time
    for top in range(0, picture.height, rows):
        strip = picture.crop((0, top, picture.width, min(top + rows, picture.height)))
        small.paste(_rgb(strip, span).reduce(factor), (0, top // factor))
    return small


def _rgb(picture: Image.Image, span: tuple[float, float]) -> Image.Image:
    """In 8-bit RGB: transparency over white, deep greyscale from `span` to 0..255."""
    if picture.mode in DEEP:
        grey = (np.asarray(picture, dtype=np.float32) - span[0]) / (span[1] - span[0])
        return Image.fromarray((grey.clip(0, 1) * 255).round().astype(np.uint8)).convert("RGB")
    if "A" in picture.mode or "a" in picture.mode or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    return picture.convert("RGB")


def _span(picture: Image.Image) -> tuple[float, float]:
    """The values that stand for black and white in a picture of more than 8 bits: by its format where that says so."""
    low, high = cast("tuple[float, float]", picture.getextrema())    # of its one channel
    if picture.mode == "F" and not np.isfinite(np.asarray(picture)).all():
        raise RuntimeError("it holds NaN or infinity")
    if picture.mode != "F" and low >= 0 and high <= 65535:
        return 0.0, 65535.0
    if picture.mode == "F" and low >= 0 and high <= 1:
        return 0.0, 1.0
    return float(low), float(high) if high > low else float(low) + 1.0


def _resized(image: Tensor, height: int, width: int) -> Tensor:
    # Bicubic overshoots at edges; the range is part of the contract.
    wide = image if image.dtype == torch.float64 else image.float()    # CPUs resize no float16
    return F.interpolate(wide, (height, width), mode="bicubic", antialias=True).clamp(-1, 1).to(image.dtype)


def _centre(image: Tensor, height: int, width: int) -> Tensor:
    top, left = (image.shape[-2] - height) // 2, (image.shape[-1] - width) // 2
    return image[..., top : top + height, left : left + width]


def _letterbox(height: int, width: int, size: int) -> tuple[slice, slice]:
    """Rows and columns of a size x size square that hold a picture of this aspect ratio."""
    scale = size / max(height, width)
    inner_height, inner_width = max(1, round(height * scale)), max(1, round(width * scale))
    top, left = (size - inner_height) // 2, (size - inner_width) // 2
    return slice(top, top + inner_height), slice(left, left + inner_width)
