"""Writes what the page "ZeCon in your browser" runs: three graphs of the bundled networks, their weights, a manifest.

python book/scripts/export_browser.py [FOLDER]      (default build/browser; kept while package and script do not change)

guided.onnx is the gradient of a guided step: the losses and the way back through CLIP and the UNet to x_t, traced by
torch from the package's own functions. climb.onnx is the network's prediction alone, for the inversion; text.onnx reads
prompts. All share weights.bin, in half precision as the bundled files are, and widened when a page loads them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import torch
from execute import ROOT, package
from torch import Tensor
from torch._decomp import core_aten_decompositions, get_decompositions
from torch.fx.experimental.proxy_tensor import make_fx

import zecon_lite
from zecon_lite import images, losses
from zecon_lite.files import write
from zecon_lite.tiny import world

FOLDER = ROOT / "build/browser"
WEIGHTS = "weights.bin"
SMALL = 256  # bytes: smaller constants stay in the graph

aten = torch.ops.aten

# ------------------------------------------------------------------- gradients that ONNX has no operator for, rewritten


def convolution_backward(grad, x, weight, bias, stride, padding, dilation, transposed, output_padding, groups, mask):
    """The gradient in x alone: a transposed convolution."""
    spare = [
        n - ((g - 1) * s - 2 * p + d * (k - 1) + 1)
        for n, g, s, p, d, k in zip(
            x.shape[2:], grad.shape[2:], stride, padding, dilation, weight.shape[2:], strict=True
        )
    ]
    return aten.convolution(grad, weight, None, stride, padding, dilation, True, spare, groups), None, None


def avg_pool2d_backward(grad, x, kernel, *others):
    """Squares side by side: each pixel gets its share of the mean."""
    kh, kw = kernel
    return grad[:, :, :, None, :, None].expand(-1, -1, -1, kh, -1, kw).reshape(x.shape) / (kh * kw)


def max_pool2d(x, kernel, *others):
    """Squares side by side: the largest of each. Its place, the second result, is not read: see the gradient."""
    best = in_squares(x, kernel).amax(-1)
    return best, best


def max_pool2d_backward(grad, x, kernel, *others):
    """To the first of the largest pixels of each square: on the graphics card, pooling does not say which it was."""
    (kh, kw), (h, w), squares = kernel, grad.shape[2:], in_squares(x, kernel)
    largest = (squares == squares.amax(-1, keepdim=True)).to(grad.dtype)
    first = largest * (largest.cumsum(-1) < 1.5)
    return (grad[..., None] * first).reshape(*grad.shape[:2], h, w, kh, kw).transpose(3, 4).reshape(x.shape)


def in_squares(x, kernel):
    """(B, C, H, W) -> (B, C, H / kh, W / kw, kh * kw)."""
    (b, c, h, w), (kh, kw) = x.shape, kernel
    return x.reshape(b, c, h // kh, kh, w // kw, kw).transpose(3, 4).reshape(b, c, h // kh, w // kw, kh * kw)


def adaptive_avg_pool2d_backward(grad, x):
    """The same, where the squares divide the picture evenly."""
    return avg_pool2d_backward(grad, x, [n // g for n, g in zip(x.shape[2:], grad.shape[2:], strict=True)])


def upsample_nearest2d_backward(grad, output_size, input_size, scale_h=None, scale_w=None):
    """A repeated pixel collects the gradients of its copies."""
    b, c, h, w = input_size
    r = output_size[0] // h
    return grad.reshape(b, c, h, r, w, r).sum((3, 5))


def diagonal_backward(grad, sizes, offset, dim1, dim2):
    """Back onto the diagonal of a square table."""
    return torch.eye(sizes[-1]) * grad[..., None]


DECOMPOSITIONS = {
    **core_aten_decompositions(),
    **get_decompositions([
        aten._softmax_backward_data, aten.native_group_norm_backward, aten.silu_backward, aten.gelu_backward,
        aten._safe_softmax, aten.native_batch_norm_backward, aten.threshold_backward,
        aten._native_batch_norm_legit_no_training,
    ]),
    aten.convolution_backward.default: convolution_backward,
    aten.avg_pool2d_backward.default: avg_pool2d_backward,
    aten.max_pool2d_with_indices.default: max_pool2d,
    aten.max_pool2d_with_indices_backward.default: max_pool2d_backward,
    aten._adaptive_avg_pool2d_backward.default: adaptive_avg_pool2d_backward,
    aten.upsample_nearest2d_backward.default: upsample_nearest2d_backward,
    aten.diagonal_backward.default: diagonal_backward,
    aten.empty_permuted.default: lambda size, order, **_: torch.zeros(size),
    aten.empty_like.default: lambda x, **_: torch.zeros(x.shape),
}

# ------------------------------------------------------------------------------------------------------- what is traced


@dataclass
class Page:
    """The bundled networks and the recipe, as functions of tensors alone: whatever changes in a run is an argument."""

    models: zecon_lite.Models
    recipe: zecon_lite.Recipe = field(init=False)

    def __post_init__(self) -> None:
        self.recipe = zecon_lite.RECIPES["zecon"].fitted_to(self.models)
        self.names = list(self.recipe.weights)
        # Loaded here: under a trace, reading a file would be traced too.
        self.denoiser, self.clip, self.vgg = self.models.denoiser, self.models.clip, self.models.vgg

    @property
    def maps(self) -> list[int]:
        """How many places each compared feature map has."""
        side = self.models.size
        found = self.denoiser.features(torch.zeros(1, 3, side, side), 0)
        return [m[0, 0].numel() for m in found]

    def predict(self, x: Tensor, t: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
        """x0 and eps, as `VPrediction` reads the UNet."""
        v = self.denoiser.unet(x, t)
        return a.sqrt() * x - (1 - a).sqrt() * v, (1 - a).sqrt() * x + a.sqrt() * v

    def factors(self, t: int) -> list[float]:
        """By what each weight is multiplied at a training timestep, which is all that the recipe's courses read."""
        clock: Any = SimpleNamespace(t=t)
        return [self.recipe.course[name](clock) if name in self.recipe.course else 1.0 for name in self.names]

    def views(self, picture: Tensor, pixels: Tensor, share: Tensor, inside: Tensor) -> Tensor:
        """(1, 3, S, S) -> (V, 3, S, S): each pixel of a view is a weighted mean of four pixels of the picture."""
        read = torch.gather(picture[0].flatten(1), 1, pixels[None].expand(3, -1)) * share
        side = picture.shape[-1]
        return read.reshape(3, -1, side, side, 4).sum(-1).transpose(0, 1) * inside

    def terms(self, view, source_view, x0, pixels, share, inside, places, text, source_text) -> dict[str, Tensor]:
        """Every loss of the recipe, before its weight."""
        count = self.recipe.views.count
        looks = [self.views(view, pixels[k], share[k], inside[k]) for k in (0, 1)]
        looks.append(self.views(source_view, pixels[1], share[1], inside[1]))
        seen, changed, source_seen = self.clip.image(torch.cat(looks)).split(count)
        contrast, at = 0.0, 0
        for query, key in zip(self.denoiser.features(view, 0), self.denoiser.features(source_view, 0), strict=True):
            here = places[at : at + min(query[0, 0].numel(), self.recipe.patches)]
            at += len(here)
            query, key = (m.flatten(2)[0][:, here].T for m in (query, key))
            contrast = contrast + losses.patch_nce(query, key, self.recipe.tau)
        layers = zip(self.vgg(view), self.vgg(source_view), strict=True)
        return {
            "clip_global_patch": losses.clip_distance(seen, text).mean(),
            "clip_direction_patch": losses.clip_direction(changed, source_seen, text, source_text).mean(),
            "zecon": contrast,
            "mse": (view - source_view).square().mean(),
            "vgg": sum((found - want).square().mean() for found, want in layers),
            "range": (x0 - x0.clamp(-1, 1)).square().mean(),
        }

    def guided(
        self, x, source, noise, t, a, pixels, share, inside, places, text, source_text, weights
    ) -> tuple[Tensor, ...]:
        """x0, eps, the gradient of the weighted losses in x, and the weighted losses."""
        f = (1 - a).sqrt()
        source_view = f * source + (1 - f) * (a.sqrt() * source + f * noise)

        def total(x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
            x0, eps = self.predict(x, t, a)
            view = f * x0 + (1 - f) * x
            terms = self.terms(view, source_view, x0, pixels, share, inside, places, text, source_text)
            weighted = torch.stack([terms[name] for name in self.names]) * weights
            return weighted.sum(), (x0, eps, weighted)

        grad, (x0, eps, weighted) = torch.func.grad(total, has_aux=True)(x)
        return x0, eps, grad, weighted

    def text(self, tokens: Tensor) -> Tensor:
        """The embedding of a text from its tokens (1, L)."""
        return self.clip.model.encode_text(tokens)

    def examples(self) -> dict[str, Tensor]:
        """An argument of each kind, for the trace."""
        side, count, clip = self.models.size, self.recipe.views.count, self.clip
        random = torch.Generator().manual_seed(0)
        picture, points = torch.rand(1, 3, side, side, generator=random) * 2 - 1, 4 * count * side**2
        text = clip.text(["a pencil sketch", "photo"])
        return {
            "x": picture, "source": picture.flip(-1), "noise": torch.randn(picture.shape, generator=random),
            "t": torch.tensor([500.0]), "a": torch.tensor(0.5),
            "pixels": torch.randint(side**2, (2, points), generator=random),
            "share": torch.rand(2, points, generator=random) / 4, "inside": torch.ones(2, count, 1, side, side),
            "places": torch.cat([torch.arange(min(n, self.recipe.patches)) for n in self.maps]),
            "text": text[:1], "source_text": text[1:],
            "weights": torch.tensor([float(self.recipe.weights[name]) for name in self.names]),
        }


# ---------------------------------------------------------------------------------------------------------- the files


def graph_of(function: Callable, inputs: dict[str, Tensor], outputs: Sequence[str]) -> onnx.ModelProto:
    """The function as an ONNX graph, gradients included. Inputs are renamed: a trace uses short names itself."""
    example = tuple(inputs.values())
    # torch counts the arguments of a bound method with its object: the lambda has none.
    traced = make_fx(lambda *given: function(*given), decomposition_table=DECOMPOSITIONS)(*example)
    traced.graph.eliminate_dead_code()
    traced.recompile()
    names = [f"in_{name}" for name in inputs]
    program = torch.onnx.export(
        traced.eval(), example, dynamo=True, input_names=names, output_names=[f"out_{name}" for name in outputs],
        verbose=False,
    )
    return bare(program.model_proto)


def bare(graph: onnx.ModelProto) -> onnx.ModelProto:
    """The graph without notes on which line of Python each node came from, and without shapes that can be inferred."""
    for node in graph.graph.node:
        del node.metadata_props[:]
    del graph.graph.value_info[:]
    return graph


def share_weights(graph: onnx.ModelProto, kept: dict[bytes, tuple[int, int]], blob: bytearray) -> None:
    """Move the graph's constants into `blob`, each once; what fits half precision is widened on loading."""
    for tensor in list(graph.graph.initializer):
        array = onnx.numpy_helper.to_array(tensor)
        if array.nbytes < SMALL:
            continue
        name, halved = tensor.name, array.dtype == np.float32 and (array.astype(np.float16) == array).all()
        if halved:
            array = array.astype(np.float16)
            tensor.data_type = onnx.TensorProto.FLOAT16
            tensor.name = f"{name}_half"
            cast = onnx.helper.make_node("Cast", [tensor.name], [name], to=onnx.TensorProto.FLOAT)
            graph.graph.node.insert(0, cast)
        data = np.ascontiguousarray(array).tobytes()
        digest = hashlib.sha256(data).digest()
        if digest not in kept:
            kept[digest] = len(blob), len(data)
            blob += data
        for part in ("raw_data", "float_data", "int64_data", "int32_data"):
            tensor.ClearField(part)
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", WEIGHTS), ("offset", kept[digest][0]), ("length", kept[digest][1])):
            tensor.external_data.add(key=key, value=str(value))


def manifest_of(page: Page) -> dict:
    """What the script needs to know besides the graphs."""
    recipe, s = page.recipe, page.denoiser.respace(page.recipe.steps).schedule
    tokenizer, views = page.clip.tokenizer, recipe.views
    return {
        "version": zecon_lite.__version__,
        "weights": WEIGHTS,
        "vocabulary": tokenizer.words,
        "context_length": tokenizer.context_length,
        "schedule": {"alphas_cumprod": s.alphas_cumprod.tolist(), "timesteps": s.timesteps.tolist()},
        "recipe": {
            "size": page.models.size, "names": page.names, "weights": [recipe.weights[name] for name in page.names],
            "course": [page.factors(int(t)) for t in s.timesteps],
            "strength": recipe.strength, "skip": recipe.skip, "patches": recipe.patches, "maps": page.maps,
            "views": {"count": views.count, "area": views.area, "jitter": views.jitter},
        },
        "prompts": [words[0] for style, words in world.STYLE_WORDS.items() if style != "photo"],
        "pictures": [],
    }


def pictures(page: Page, folder: Path) -> list[dict[str, str]]:
    """Something to begin with: two scenes that no network has seen, and the photographs of the book."""
    scenes = world.render(world.held_out_seeds(2), size=page.models.size)
    nouns = [world.OBJECT_WORDS[world.OBJECTS[k]][0] for k in scenes.object.tolist()]
    named = dict(zip(nouns, scenes.image, strict=True))
    for name in images.PHOTOGRAPHS:
        named[name] = images.fit(images.photograph(name), page.models.size, mode="crop", multiple=page.models.multiple)
    for name, picture in named.items():
        images.save(picture.reshape(1, 3, *picture.shape[-2:]), folder / f"{name}.png", {})
    return [{"name": name, "file": f"{name}.png"} for name in named]


def export(folder: Path = FOLDER) -> Path:
    """Write the files, unless they are there already for this very package; returns the folder."""
    stamp, wanted = folder / "fingerprint", package(Path(__file__).read_bytes())
    if stamp.exists() and stamp.read_text() == wanted:
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    stamp.unlink(missing_ok=True)
    page = Page(zecon_lite.load_models("tiny", "cpu"))
    inputs, kept, blob = page.examples(), {}, bytearray()
    tokens = page.clip.tokenizer(["a pencil sketch"])
    graphs = {
        "climb.onnx": graph_of(page.predict, {k: inputs[k] for k in ("x", "t", "a")}, ("x0", "eps")),
        "guided.onnx": graph_of(page.guided, inputs, ("x0", "eps", "grad", "losses")),
        "text.onnx": graph_of(page.text, {"tokens": tokens}, ("embedding",)),
    }
    files = {}
    for name, graph in graphs.items():
        share_weights(graph, kept, blob)
        files[name] = graph.SerializeToString()
    files[WEIGHTS] = bytes(blob)
    manifest = manifest_of(page) | {"pictures": pictures(page, folder)}
    files["manifest.json"] = json.dumps(manifest).encode()
    for name, data in files.items():
        write(folder / name, data)
    stamp.write_text(wanted)
    return folder


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=FOLDER)
    written = export(parser.parse_args().folder)
    for path in sorted(written.iterdir()):
        print(f"{path.name:16} {path.stat().st_size / 1e6:6.2f} MB")
