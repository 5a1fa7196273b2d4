"""Pictures in and out: modes, rotation, sizes, memory, files, messages."""

import json
import os

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from zecon_lite import images


@pytest.fixture
def ramp():
    """A smooth colour picture, (48, 64, 3) uint8."""
    y, x = np.mgrid[0:48, 0:64]
    return np.stack([x * 4, y * 5, 255 - x * 4], -1).astype(np.uint8)


# ------------------------------------------------------------------------------------------------------------ algebra


def test_the_two_ranges_are_inverse_and_keep_their_ends():
    x = torch.tensor([-1.0, -0.25, 1.0], dtype=torch.float64)
    torch.testing.assert_close(images.from_unit(images.to_unit(x)), x)
    assert images.to_unit(torch.tensor([-1.0, 0.0, 1.0])).tolist() == [0.0, 0.5, 1.0]


def test_every_byte_survives_the_way_in_and_out():
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = images.from_array(grey)
    assert image.shape == (1, 3, 16, 16) and image.min() == -1 and image.max() == 1
    assert np.array_equal(images.to_uint8(image)[0, 1].numpy(), grey)


def test_values_outside_the_range_are_clamped_when_written():
    assert images.to_uint8(torch.tensor([-3.0, 3.0])).tolist() == [0, 255]


@pytest.mark.parametrize("shape", [(300, 451), (451, 300), (64, 64), (20, 80), (8, 8), (640, 427)])
def test_native_fit_keeps_the_aspect_ratio_and_divides(shape):
    fitted = images.fit(torch.zeros(1, 3, *shape), 64)
    short, long = sorted(fitted.shape[-2:])
    assert short == 64 and long % 8 == 0
    assert -0.5 <= 64 * max(shape) / min(shape) - long < 8.5
    assert (fitted.shape[-2] <= fitted.shape[-1]) == (shape[0] <= shape[1])


def test_crop_takes_the_centre_square():
    image = torch.full((1, 3, 16, 48), -1.0)
    image[..., 16:32] = 1
    assert images.fit(image, 16, "crop").min() == 1


@pytest.mark.parametrize("shape", [(30, 45), (45, 30), (31, 31), (16, 64)])
def test_unpad_gives_back_what_pad_put_in(shape):
    image = torch.rand(1, 3, *shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    square = images.fit(image, 64, "pad")
    assert square.shape == (1, 3, 64, 64)
    inside = images.unpad(square, image)
    assert max(inside.shape[-2:]) == 64
    assert abs(inside.shape[-1] / inside.shape[-2] - shape[1] / shape[0]) < 0.05
    assert square.amin((0, 2, 3)).equal(inside.amin((0, 2, 3)))    # the padding brings no new values


def test_resizing_keeps_a_flat_picture_flat_and_any_picture_in_range():
    assert images.fit(torch.full((1, 3, 50, 50), 0.3), 16).sub(0.3).abs().max() < 1e-6
    edges = torch.ones(1, 3, 32, 32)
    edges[..., ::2] = -1
    assert images.fit(edges, 64).abs().max() <= 1    # bicubic alone would overshoot


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_pictures_of_any_precision_are_resized_and_keep_it(dtype):
    image = torch.linspace(-1, 1, 3 * 20 * 24, dtype=dtype).reshape(1, 3, 20, 24)
    for found, exact in ((images.fit(image, 16), images.fit(image.float(), 16)),
                         (images.cover(image, 8, 8), images.cover(image.float(), 8, 8))):
        assert found.dtype == dtype
        torch.testing.assert_close(found.float(), exact, atol=0.01, rtol=0)


def test_shrinking_averages_instead_of_skipping_pixels():
    checks = torch.ones(1, 3, 128, 128)
    checks[..., ::2, ::2] = checks[..., 1::2, 1::2] = -1
    assert images.fit(checks, 16).abs().max() < 0.05


def test_side_by_side_puts_white_between():
    a, b = torch.full((1, 3, 4, 5), -1.0), torch.full((1, 3, 4, 5), 0.5)
    row = images.side_by_side([a, b], gap=2)
    assert row.shape == (1, 3, 4, 12)
    assert row[..., :5].equal(a) and row[..., 5:7].min() == 1 and row[..., 7:].equal(b)


# -------------------------------------------------------------------------------------------------------------- modes


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I", "F"])
def test_any_mode_shows_the_same_picture(tmp_path, mode):
    grey = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (48, 1))
    picture = Image.fromarray(grey).convert("RGB")
    if mode in ("I;16", "I"):
        picture = Image.fromarray(grey.astype(np.uint16 if mode == "I;16" else np.int32) * 257)
    elif mode == "F":
        picture = Image.fromarray(grey.astype(np.float32) / 255)
    elif mode == "P":
        picture = picture.quantize(256)
    elif mode == "LAB":
        picture = picture.convert("LAB")
    else:
        picture = picture.convert(mode)
    path = tmp_path / "picture.tif"
    picture.save(path)
    assert Image.open(path).mode == mode
    got, want = images.load(path), images.from_array(grey)
    assert got.shape == (1, 3, 48, 64) and got.dtype == torch.float32
    if mode == "1":    # dithered: right on average
        assert (got.mean() - want.mean()).abs() < 0.02
    else:
        assert (got - want).abs().max() < 0.04


def test_a_16_bit_png_keeps_its_grey_levels(tmp_path):
    levels = (np.arange(64 * 64).reshape(64, 64) * 16).astype(np.uint16)
    Image.fromarray(levels).save(tmp_path / "deep.png")
    got = images.to_unit(images.load(tmp_path / "deep.png"))[0, 0]
    assert np.abs(got.numpy() - levels / 65535).max() < 1 / 255


def test_transparency_is_laid_over_white(tmp_path, ramp):
    picture = Image.fromarray(ramp).convert("RGBA")
    picture.putalpha(Image.new("L", picture.size, 0))
    picture.save(tmp_path / "clear.png")
    assert images.load(tmp_path / "clear.png").min() == 1
    palette = Image.new("P", (16, 16), 1)
    palette.putpalette([0, 0, 0, 255, 0, 0])
    palette.save(tmp_path / "palette.png", transparency=1)
    assert images.load(tmp_path / "palette.png").min() == 1
    half = images.from_array(np.full((8, 8, 4), [0, 0, 0, 51], np.uint8))
    torch.testing.assert_close(half, torch.full((1, 3, 8, 8), 0.6))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(tmp_path, ramp, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(ramp).save(tmp_path / "turned.png", exif=exif)
    upright = ImageOps.exif_transpose(Image.open(tmp_path / "turned.png"))
    assert images.load(tmp_path / "turned.png").equal(images.from_array(np.asarray(upright)))


def test_of_an_animation_the_first_frame_is_taken(tmp_path):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "film.gif", save_all=True, append_images=frames[1:])
    assert images.load(tmp_path / "film.gif")[0, :, 0, 0].tolist() == [1, -1, -1]


# ------------------------------------------------------------------------------------------------------- large pictures


def test_a_large_picture_is_shrunk_by_averaging(tmp_path, ramp):
    large = Image.fromarray(ramp).resize((640, 480), Image.Resampling.NEAREST)
    large.save(tmp_path / "large.png")
    got = images.load(tmp_path / "large.png", max_pixels=64 * 48)
    assert got.shape == (1, 3, 48, 64)
    assert got.sub(images.from_array(ramp)).abs().max() < 1e-6


def test_the_strips_of_a_large_picture_meet_without_a_seam(tmp_path):
    rows = np.linspace(0, 255, 3001).astype(np.uint8)
    Image.fromarray(np.repeat(rows[:, None], 2999, 1)).save(tmp_path / "tall.png", compress_level=1)
    column = images.to_unit(images.load(tmp_path / "tall.png", max_pixels=90_000))[0, 0, :, 0]
    assert len(column) == 301
    assert torch.diff(column).min() >= 0 and torch.diff(column).max() < 2 / 255


def test_memory_stays_near_one_decoded_copy_of_400_million_pixels(tmp_path, monkeypatch):
    path = tmp_path / "huge.png"
    Image.new("1", (20_000, 20_000), 1).save(path, compress_level=1)
    assert path.stat().st_size < 10**6
    made = []    # pixels of each picture that Pillow makes besides the decoded one
    new = Image.Image._new
    monkeypatch.setattr(Image.Image, "_new", lambda self, core: made.append(core.size) or new(self, core))
    got = images.load(path)
    assert got.shape == (1, 3, 2000, 2000) and got.min() == 1
    assert made and max(w * h for w, h in made) <= 4_400_000


def test_a_large_jpeg_is_decoded_small(tmp_path, monkeypatch):
    Image.new("RGB", (4096, 2048), "red").save(tmp_path / "wide.jpg")
    decoded = []
    crop = Image.Image.crop
    monkeypatch.setattr(Image.Image, "crop", lambda self, box: decoded.append(self.size) or crop(self, box))
    assert images.load(tmp_path / "wide.jpg", max_pixels=512 * 256).shape == (1, 3, 256, 512)
    assert set(decoded) == {(512, 256)}


def test_pillows_own_limit_is_as_it_was_afterwards(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    Image.new("L", (64, 64)).save(tmp_path / "small.png")
    images.load(tmp_path / "small.png")
    assert Image.MAX_IMAGE_PIXELS == 100


# --------------------------------------------------------------------------------------------------------- photographs


@pytest.mark.parametrize("name", images.PHOTOGRAPHS)
def test_the_photographs_ship_with_scikit_image_and_have_a_credit(name, monkeypatch):
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("a photograph must not be downloaded"))
    photograph = images.photograph(name)
    assert photograph.shape[:2] == (1, 3) and min(photograph.shape[2:]) >= 300
    assert images.check(photograph) is photograph
    assert "CC0" in images.PHOTOGRAPHS[name] or "public domain" in images.PHOTOGRAPHS[name]


def test_an_unknown_photograph_is_refused_with_the_names():
    with pytest.raises(ValueError, match=r"no photograph named 'dog'; there are cat, coffee, astronaut, rocket"):
        images.photograph("dog")


# -------------------------------------------------------------------------------------------------------------- saving


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".JPEG", ".webp"])
def test_a_saved_picture_and_its_settings_come_back(tmp_path, ramp, suffix):
    image = images.from_array(ramp)
    settings = {"prompt": "ein Gemälde · 絵", "seed": "7"}
    path = images.save(image, tmp_path / f"picture{suffix}", settings)
    assert images.read_metadata(path) == settings
    again = images.load(path)
    assert (again - image).abs().mean() < (1e-6 if suffix == ".png" else 0.04)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_the_same_picture_and_settings_give_the_same_bytes(tmp_path, ramp, suffix):
    a, b = (images.save(images.from_array(ramp), tmp_path / f"{n}{suffix}", {"seed": "1"}) for n in "ab")
    assert a.read_bytes() == b.read_bytes()


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_name_that_is_no_text_is_kept_as_json_can_hold_it(tmp_path, ramp, suffix):
    name = b"caf\xe9.png".decode(errors="surrogateescape")
    settings = {"rerun": json.dumps({"path": name}, ensure_ascii=False)}
    path = images.save(images.from_array(ramp), tmp_path / f"out.{suffix}", settings)
    assert json.loads(images.read_metadata(path)["rerun"]) == {"path": name}


def test_a_picture_without_settings_has_none(tmp_path, ramp):
    assert images.read_metadata(images.save(images.from_array(ramp), tmp_path / "plain.jpg")) == {}
    exif = Image.Exif()
    exif[0x010E] = "my holiday"
    Image.fromarray(ramp).save(tmp_path / "camera.jpg", exif=exif)
    assert images.read_metadata(tmp_path / "camera.jpg") == {}


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupted_save_leaves_the_old_file_and_nothing_else(tmp_path, ramp, monkeypatch, error):
    path = images.save(images.from_array(ramp), tmp_path / "kept.png")
    before = path.read_bytes()

    def broken(*_):
        raise error

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(error):
        images.save(-images.from_array(ramp), path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["kept.png"]


# ------------------------------------------------------------------------------------------------------------ messages


def bad_files(folder):
    """name -> (a file that is no good, the type of error, what the message must say)."""
    good = folder / "good.png"
    Image.effect_noise((64, 64), 50).save(good)
    for name, data in {"empty.png": b"", "text.png": b"hello", "short.png": good.read_bytes()[:700]}.items():
        (folder / name).write_bytes(data)
    Image.effect_noise((200, 200), 50).save(folder / "good.jpg")
    (folder / "short.jpg").write_bytes((folder / "good.jpg").read_bytes()[:2000])
    Image.new("L", (1, 1)).save(folder / "speck.png")
    Image.new("1", (3000, 2000)).save(folder / "vast.png", compress_level=1)
    Image.fromarray(np.where(np.eye(32) > 0, np.nan, 0.5).astype(np.float32)).save(folder / "nan.tif")
    (folder / "folder.png").mkdir()
    return {
        "missing.png": (FileNotFoundError, r"no file .*missing\.png: check the spelling"),
        "folder.png": (ValueError, r"is a folder, not a picture: name one file"),
        "empty.png": (ValueError, r"is empty \(0 bytes\): copy or download it again"),
        "text.png": (ValueError, r"not a picture that can be read: give a PNG, JPEG"),
        "short.png": (ValueError, r"is damaged or cut short .*: copy or download it again"),
        "short.jpg": (ValueError, r"is damaged or cut short .*: copy or download it again"),
        "nan.tif": (ValueError, r"is damaged or cut short \(it holds NaN or infinity\)"),
        "speck.png": (ValueError, r"is 1x1 pixels, too small: give a picture of at least 8x8"),
        "vast.png": (ValueError, r"is 3000x2000, more than 5 million pixels: make it smaller first"),
    }


def test_every_bad_file_is_named_with_its_cure(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "MAX_DECODED", 5_000_000)
    for name, (error, message) in bad_files(tmp_path).items():
        with pytest.raises(error, match=message) as caught:
            images.load(tmp_path / name)
        assert name in str(caught.value)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.full((256, 256, 3), 255), r"got \(256, 256, 3\) in \[0, 255\]: use images.load\(path\)"),
        (np.arange(48, dtype=np.uint8).reshape(4, 4, 3) * 5, r"got \(4, 4, 3\) in \[0, 255\]: use images.load\(path\)"),
        (Image.new("RGB", (9, 9), "red"), r"got \(9, 9, 3\) in \[0, 255\]: use images.load\(path\)"),
        ("cat.jpg", r"got 'cat.jpg': use images.load\(path\)"),
        (torch.zeros(3, 8, 8), r"got \(3, 8, 8\) in \[0, 0\]: add the batch dimension with image\[None\]"),
        (torch.full((1, 3, 8, 8), 2.0), r"got \(1, 3, 8, 8\) in \[0, 255\]"),
        (torch.full((1, 3, 8, 8), -2.0), r"got \(1, 3, 8, 8\) in \[-2, -2\]"),
        (torch.full((1, 3, 8, 8), torch.nan), r"got \(1, 3, 8, 8\) in \[nan, nan\]: look at the step that made it"),
        (torch.zeros(0, 3, 8, 8), r"got the empty shape \(0, 3, 8, 8\)"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.long), r"got \(1, 3, 8, 8\)"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint16), r"got \(1, 3, 8, 8\) in \[0, 0\]: use images.load\(path\)"),
        (torch.zeros(1, 3, 8, 8) * 1j, r"got \(1, 3, 8, 8\) of complex numbers: use its .real"),
        (np.array(["cat.jpg", "dog.jpg"]), r"got an array of <U7: use images.load\(path\)"),
    ],
)
def test_the_one_check_says_what_came_and_the_cure(image, message):
    with pytest.raises(ValueError, match=r"source must be \(B, 3, H, W\) in \[-1, 1\]; " + message):
        images.check(image)


def test_the_check_lets_a_good_picture_through_in_any_float_type():
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        image = torch.linspace(-1, 1, 192, dtype=dtype).reshape(1, 3, 8, 8)
        assert images.check(image, "style") is image


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda z: images.fit(z, 60), r"size must be a positive multiple of 8, the network's stride; got 60"),
        (lambda z: images.fit(z, 64, "stretch"), r"fit must be 'native', 'crop' or 'pad'; got 'stretch'"),
        (lambda z: images.fit(torch.zeros(1, 3, 16, 100), 64), r"100x16, longer than 4:1: cut it .* fit 'crop'"),
        (lambda z: images.fit(torch.zeros(1, 3, 100, 16), 64, "pad"), r"16x100, longer than 4:1"),
        (lambda z: images.to_pil(z.repeat(2, 1, 1, 1)), r"got \(2, 3, 16, 16\): take image\[:1\]"),
        (lambda z: images.to_uint8(z * torch.nan), r"NaN or infinity: look at the step"),
        (lambda z: images.from_array(np.zeros((4, 4, 2), np.uint8)), r"array must be \(H, W\).*got \(4, 4, 2\)"),
        (lambda z: images.from_array(np.full((4, 4, 3), 7.0)), r"float in \[0, 1\]; got float64 in \[7, 7\]"),
        (lambda z: images.from_array(np.zeros((4, 4, 3), np.int64)), r"got int64"),
    ],
)
def test_wrong_requests_are_refused_with_the_cure(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(1, 3, 16, 16))


def test_crop_takes_any_aspect_ratio():
    assert images.fit(torch.zeros(1, 3, 16, 1000), 64, "crop").shape == (1, 3, 64, 64)


def test_a_destination_that_cannot_be_written_is_refused_with_the_cure(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"'a.bmp' must end in one of .png, .jpg, .jpeg, .webp: try a.png"):
        images.check_destination(tmp_path / "a.bmp")
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere: make it first, or save elsewhere"):
        images.check_destination(tmp_path / "nowhere" / "a.png")
    (tmp_path / "b.png").mkdir()
    with pytest.raises(ValueError, match=r"is a folder: give the name of a file"):
        images.check_destination(tmp_path / "b.png")
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)    # a read-only folder, also for root
    with pytest.raises(PermissionError, match=r"may not be written: save elsewhere"):
        images.check_destination(tmp_path / "a.png")


def test_reading_the_settings_of_no_picture_is_refused(tmp_path):
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(ValueError, match=r"not a picture that can be read: give a file that zecon-lite saved"):
        images.read_metadata(tmp_path / "text.png")
    with pytest.raises(FileNotFoundError, match=r"there is no file"):
        images.read_metadata(tmp_path / "missing.png")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
@pytest.mark.parametrize("orientation", [3, 6])
def test_a_picture_is_turned_upright_once_whatever_its_format(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    lying = np.zeros((24, 36, 3), np.uint8)
    lying[:8, :8] = 255
    Image.fromarray(lying).save(tmp_path / f"turned{suffix}", exif=exif)
    upright = {3: lying[::-1, ::-1], 6: np.rot90(lying, -1)}[orientation]
    found = images.load(tmp_path / f"turned{suffix}")
    torch.testing.assert_close(found, images.from_array(upright.copy()), atol=0.2, rtol=0)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_a_picture_whose_exif_is_broken_is_still_a_picture(tmp_path, suffix):
    Image.new("RGB", (16, 16), "red").save(tmp_path / f"red{suffix}", exif=b"Exif\0\0no such thing")
    red = torch.tensor([1.0, -1, -1])[None, :, None, None].expand(1, 3, 16, 16)
    torch.testing.assert_close(images.load(tmp_path / f"red{suffix}"), red, atol=0.05, rtol=0)


def test_settings_too_long_for_a_jpeg_do_not_cost_the_picture(tmp_path, ramp):
    image = images.from_array(ramp)
    with pytest.warns(UserWarning, match="long.jpg is saved without its settings, .* save as .png to keep them"):
        images.save(image, tmp_path / "long.jpg", {"prompt": "a sketch " * 8000})
    assert images.load(tmp_path / "long.jpg").shape == image.shape
    for suffix in (".png", ".webp"):
        images.save(image, tmp_path / f"long{suffix}", {"prompt": "a sketch " * 8000})
        assert len(images.read_metadata(tmp_path / f"long{suffix}")["prompt"]) == 72_000


def test_metadata_of_strangers_are_texts_too(tmp_path):
    exif = Image.Exif()
    exif[0x010E] = '{"k": 5}'
    Image.new("RGB", (8, 8)).save(tmp_path / "other.jpg", exif=exif)
    assert images.read_metadata(tmp_path / "other.jpg") == {"k": "5"}


@pytest.mark.parametrize("description", [7, "[" * 20_000, "a day at the sea"])
def test_a_camera_s_own_description_is_no_setting(tmp_path, description):
    exif = Image.Exif()
    exif[images.DESCRIPTION] = description
    Image.new("RGB", (16, 16)).save(tmp_path / "camera.jpg", exif=exif)
    assert images.read_metadata(tmp_path / "camera.jpg") == {}


def test_a_padded_picture_stands_in_the_middle():
    wide = torch.full((1, 3, 32, 64), -1.0)
    wide[:, :, 16:] = 1                                                     # black above, white below
    for square in (images.fit(wide, 64, "pad"), images.fit(wide.mT, 64, "pad").mT):
        assert square[:, :, :31].max() < 0 < square[:, :, 33:].min()
