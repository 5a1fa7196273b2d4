"""How much of the content stayed, and how much of the style came.

All but `frechet_distance` and `interval` take pictures (B, 3, H, W) in [-1, 1] and return one number per picture, (B,).
The networks that judge are bundled, small, and know the style world only, at 64 px: see `as_judged`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import weights
from .colour import square_root
from .images import check_float
from .tiny import world
from .tiny.judges import Judge as JudgeNetwork
from .tiny.judges import Segmenter, build_judge_a, build_judge_b, overlap
from .tiny.networks import SIZE, VGGClassifier

LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601
JUDGES = ("judge_a", "judge_b")
"""The bundled judges that guide nothing: a plain convolutional network and a ConvNeXt (see `tiny.judges`)."""

Judge = Callable[[Tensor], tuple[Tensor, ...]]  # pictures -> logits of styles (photo first), objects, backgrounds


# ------------------------------------------------------------------------------------------------------------- content


def luminance(images: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, 1, H, W) in [0, 1]."""
    check_float(images)
    shares = images.new_tensor(LUMINANCE)[:, None, None]
    return ((images + 1) / 2 * shares).sum(1, keepdim=True)


def ssim(a: Tensor, b: Tensor, window: int = 7) -> Tensor:
    """Structural similarity of luminance (Wang et al. 2004, eq. 13), over boxes of `window` pixels; 1 is equal."""
    x, y = luminance(a), luminance(b)
    n = window * window

    def mean(z: Tensor) -> Tensor:
        return F.avg_pool2d(z, window, stride=1)

    mx, my = mean(x), mean(y)
    unbiased = n / (n - 1)
    vx, vy, cov = (unbiased * (mean(p * q) - m) for p, q, m in ((x, x, mx * mx), (y, y, my * my), (x, y, mx * my)))
    c1, c2 = 0.01**2, 0.03**2
    return ((2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))).mean((1, 2, 3))


def edges(images: Tensor, share: float = 0.1) -> Tensor:
    """(B, 1, H, W) bool: the `share` of each picture where luminance changes most (Sobel); no edges in a flat picture.

    A share and not a threshold, so that a pale drawing has as many edges as a photograph.
    """
    slope = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]).to(images)
    kernels = torch.stack([slope, slope.T])[:, None]
    size = F.conv2d(F.pad(luminance(images), (1, 1, 1, 1), mode="replicate"), kernels).norm(dim=1, keepdim=True)
    limit = size.flatten(1).quantile(1 - share, dim=1)[:, None, None, None]
    return (size >= limit) & (size > 1e-3)


def edge_f1(a: Tensor, b: Tensor, tolerance: int = 1) -> Tensor:
    """Do the pictures' strongest edges lie in the same places? F1 of precision and recall, in [0, 1].

    An edge counts as found within `tolerance` pixels, as in the boundary measure of Martin, Fowlkes & Malik (2004),
    whose one-to-one matching is left out.
    """
    ea, eb = edges(a).float(), edges(b).float()

    def share_near(mine: Tensor, other: Tensor) -> Tensor:
        reach = F.max_pool2d(other, 2 * tolerance + 1, stride=1, padding=tolerance)
        return (mine * reach).sum((1, 2, 3)) / mine.sum((1, 2, 3)).clamp_min(1)

    precision, recall = share_near(ea, eb), share_near(eb, ea)
    return 2 * precision * recall / (precision + recall).clamp_min(1e-12)


@torch.no_grad()
def mask_iou(images: Tensor, masks: Tensor) -> Tensor:
    """Does the bundled segmenter still find the main object where it is? Intersection over union, in [0, 1].

    masks: (B, 1, H, W) in [0, 1], the renderer's own. Sides must be multiples of 8, once `as_judged` has averaged them.
    """
    return overlap(_bundled("segmenter")(as_judged(images)).sigmoid(), as_judged(masks))


def colour_distance(a: Tensor, b: Tensor, cells: int = 8) -> Tensor:
    """Root mean squared difference of the pictures' colours in `cells` x `cells` averages, in [0, 2]."""
    a, b = (F.adaptive_avg_pool2d(z, cells) for z in (a, b))
    return (a - b).square().mean((1, 2, 3)).sqrt()


# --------------------------------------------------------------------------------------------------------------- style


def judge(name: str) -> JudgeNetwork | VGGClassifier:
    """A bundled network that judges looks: one of JUDGES, or "vgg", whose early layers also serve as a content loss.

    (B, 3, H, W) in [-1, 1] -> logits of styles (photo first), objects and backgrounds. Raises ValueError for another
    name.
    """
    if name not in ("vgg", *JUDGES):
        raise ValueError(f"there is no judge {name!r}; there are vgg, {', '.join(JUDGES)}")
    return _bundled(name)


def as_judged(images: Tensor) -> Tensor:
    """What a bundled judge is shown, float32 on the CPU: pictures averaged down until the shorter side has 64 pixels.

    The judges know no other scale: at 256 px one of them takes true pencil sketches for something else half of the
    time. Smaller pictures stay as they are.
    """
    check_float(images)
    images, short = images.cpu().float(), min(images.shape[-2:])
    if short <= SIZE:
        return images
    height, width = (round(side * SIZE / short) for side in images.shape[-2:])
    return F.adaptive_avg_pool2d(images, (height, width))


@torch.no_grad()
def style_probability(images: Tensor, style: str | Sequence[str], judge: Judge | None = None) -> Tensor:
    """The probability that a judge gives to a style of the style world ("pencil", ..., or "photo").

    images: of any size, see `as_judged`. style: one name for all pictures or one for each. judge: see `judge`; without
    it, the bundled VGG. It is a small classifier trained on the style world's true pictures, labelled as such wherever
    it is quoted; guidance uses its first layers only, for content. Raises ValueError for an unknown style, and for
    another number of styles.
    """
    wanted = _positions(images, style)
    logits, *_ = (judge or _bundled("vgg"))(as_judged(images))
    return logits.softmax(1)[torch.arange(len(images)), wanted]


@torch.no_grad()
def style_accuracy(images: Tensor, style: str | Sequence[str], judge: Judge | None = None) -> Tensor:
    """1 where the judge puts the style before all others, else 0. Arguments and errors as in `style_probability`."""
    wanted = _positions(images, style)
    logits, *_ = (judge or _bundled("vgg"))(as_judged(images))
    return (logits.argmax(1) == wanted).float()


@torch.no_grad()
def object_accuracy(images: Tensor, objects: Tensor, judge: Judge | None = None) -> Tensor:
    """1 where the judge names the scene's main object, else 0. objects: (B,) positions in `world.OBJECTS`."""
    if objects.shape != (len(images),):
        raise ValueError(f"objects must be ({len(images)},), one for each picture; got {tuple(objects.shape)}")
    _, logits, *_ = (judge or _bundled("vgg"))(as_judged(images))
    return (logits.argmax(1) == objects.cpu()).float()


def _positions(images: Tensor, style: str | Sequence[str]) -> Tensor:
    """(B,) int64, where each picture's wanted style stands among the judge's."""
    names = ["photo", *world.STYLES]
    wanted = [style] * len(images) if isinstance(style, str) else list(style)
    if len(wanted) != len(images):
        raise ValueError(f"give one style for all, or one for each: {len(wanted)} styles for {len(images)} pictures")
    for name in wanted:
        if name not in names:
            raise ValueError(f"there is no style {name!r}; there are {', '.join(names)}")
    return torch.tensor([names.index(name) for name in wanted])


# ----------------------------------------------------------------------------------------------- of many pictures


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """The squared Frechet distance of two Gaussians fitted to features (n, D) and (m, D) (Heusel et al. 2017, eq. 6).

    |mean_a - mean_b|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2), with the symmetric square root by eigenvalues, in float64.
    Small samples are biased: far fewer pictures than D give covariances of low rank, and even two samples of the same
    thing stand apart (Chong & Forsyth 2020). Compare only distances of equally many pictures, and read them against
    the distance that true pictures reach. Raises ValueError for fewer than two pictures, and for what is not finite.
    """
    if len(a) < 2 or len(b) < 2:
        raise ValueError(f"a covariance needs at least two pictures; got {len(a)} and {len(b)}")
    if not (torch.isfinite(a).all() and torch.isfinite(b).all()):
        raise ValueError("the features hold NaN or infinity: look at the pictures that they were read from")
    a, b = a.double(), b.double()
    root = square_root(torch.atleast_2d(a.T.cov()))
    cross = torch.linalg.eigvalsh(root @ torch.atleast_2d(b.T.cov()) @ root).clamp_min(0).sqrt().sum()
    return max(0.0, ((a.mean(0) - b.mean(0)).square().sum() + a.var(0).sum() + b.var(0).sum() - 2 * cross).item())


def interval(values: Tensor, scenes: Tensor, resamples: int = 2000) -> tuple[float, float, float]:
    """Mean, low and high end of its 95 % bootstrap interval (Efron 1979, percentiles), resampling whole scenes.

    values, scenes: (n,), the scene of each value as any integer. Pictures of one scene in several styles and seeds
    are easy or hard together: to draw them one by one would make the interval too narrow. Same input, same interval.
    """
    _, scene = scenes.unique(return_inverse=True)
    n = int(scene.max()) + 1
    totals = torch.zeros(n, dtype=torch.float64).index_add_(0, scene, values.double())
    counts = torch.zeros(n, dtype=torch.float64).index_add_(0, scene, torch.ones_like(values, dtype=torch.float64))
    pick = torch.randint(n, (resamples, n), generator=torch.Generator().manual_seed(0))
    means = totals[pick].sum(1) / counts[pick].sum(1)
    low, high = means.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return (totals.sum() / counts.sum()).item(), low, high


# ------------------------------------------------------------------------------------------------ the bundled networks

_BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "vgg": VGGClassifier,
    "judge_a": build_judge_a,
    "judge_b": build_judge_b,
    "segmenter": Segmenter,
}


@cache
def _bundled(name: str) -> Any:
    tensors = weights.read(weights.BUNDLED / f"{name}.safetensors")
    return weights.load_into(weights.build(_BUILDERS[name]), tensors, f"the bundled {name}")
