"""Measures what style from a picture claims: python book/scripts/claims_gram.py, for the page book/claims.md.

The recipe `gram_clip` over a grid of alpha, the weight of CLIP's image term, and beta, that of the Gram term. Each
scene is restyled twice, after two style pictures in one style that show different scenes. Only so can outlines that
came from the style picture be told from outlines that any picture in that style has: see `leak`.

Into book/assets go the numbers (claims_gram.json), the text made from them (claims_gram.md) and two pictures. Finished
pictures are kept in build/evaluation: an interrupted run goes on there.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice, product
from statistics import fmean

import torch
from matplotlib.figure import Figure
from measure import ASSETS, CACHE, VERDICTS, draw, hashes, markdown, side_of_zero, student, write
from skimage.color import rgb2lab
from torch import Tensor

from zecon_lite import RECIPES, Recipe, images, load_models, metrics, show
from zecon_lite.benchmark import FIRST_SCENE, Pictures, Row, of_recipe
from zecon_lite.evaluate import cell, made, save
from zecon_lite.losses import key_self_similarity
from zecon_lite.profiles import Models
from zecon_lite.progress import bar
from zecon_lite.tiny import world

FACTORS = (0.0, 0.3, 1.0, 3.0)  # of the recipe's own weights
ALPHA, BETA = "clip_image", "gram"
EXAMPLES = 2  # style pictures for each scene
FIRST_EXAMPLE = 1900  # where their scenes begin: before the benchmark's, and training never sees them either

MEASURES = {
    "leak_edges": "outlines leaked, by edges",
    "leak_ssim": "outlines leaked, by SSIM",
    "leak_keys": "outlines leaked, by ViT keys",
    "colour_to_style": "colours, distance to the style picture",
    "colour_to_source": "colours, distance to the source",
    "ssim_to_source": "SSIM to the source",
    "mask_iou": "mask IoU",
    "style_probability_a": "p(style), judge A",
    "style_probability_b": "p(style), judge B",
}
STEPS = 8
SHOWN = ("leak_edges", "colour_to_style", "ssim_to_source", "style_probability_b")


# ------------------------------------------------------------------------------------------------------ what is asked


@dataclass(frozen=True)
class Asked:
    """Pictures as `evaluate.made` wants them: one seed, six at once, so that more scenes only add to what is there."""

    pictures: Pictures
    seeds: int = 1

    @property
    def parts(self) -> list[slice]:
        """The portions that are made at once."""
        n = len(self.pictures.styles)
        return [slice(k, min(k + 6, n)) for k in range(0, n, 6)]


def pairs(count: int, size: int) -> list[Asked]:
    """`count` held-out scenes, each in one style: the same twice, with different style pictures in that style."""
    scenes = world.render(world.held_out_seeds(count, start=FIRST_SCENE), size=size)
    styles = tuple(islice(cycle(world.STYLES), count))
    truth, known = redrawn(styles, scenes), (scenes.mask, scenes.object, scenes.seeds, styles)
    found = []
    for number in range(EXAMPLES):
        others = world.held_out_seeds(count, start=FIRST_EXAMPLE - 100 * number)
        example = redrawn(styles, world.render(others, size=size))
        found.append(Asked(Pictures(scenes.image, truth, example, *known)))
    return found


def redrawn(styles: Sequence[str], scenes: world.Scenes) -> Tensor:
    """Each scene truly redrawn in its style."""
    each = zip(styles, scenes.image.split(1), scenes.seeds.split(1), strict=True)
    return torch.cat([world.apply_style(style, image, seed) for style, image, seed in each])


def point(recipe: Recipe, models: Models, alpha: float, beta: float, number: int) -> Row:
    """The recipe with both style weights scaled, for the scenes' first or second style pictures."""
    scaled = {ALPHA: alpha * recipe.weights[ALPHA], BETA: beta * recipe.weights[BETA]}
    row = of_recipe(replace(recipe, weights={**recipe.weights, **scaled}, small={}), models)
    return replace(row, settings=f"{row.settings}; style pictures {number} from {FIRST_EXAMPLE}")


# --------------------------------------------------------------------------------------------------------- the scores


def leak(likeness: Callable[[Tensor, Tensor], Tensor], results: Tensor, examples: Tensor) -> Tensor:
    """How much more a result is like its own style picture than like the other one of the same style, (n,).

    results, examples: (2, n, ...). The mean over both results, so that whatever the two style pictures have in common
    with each other, with the style and with the scene cancels: a method that does not look at them has exactly 0.
    """
    (a, b), (one, two) = results, examples
    own, other = likeness(a, one) + likeness(b, two), likeness(a, two) + likeness(b, one)
    return (own - other) / 2


def colours_apart(a: Tensor, b: Tensor) -> Tensor:
    """The Frechet distance of the pictures' colours in CIELAB, as Gaussians (mean and covariance), (n,).

    Where a colour stands plays no part. Two plain pictures are 1 apart when the difference is just seen.
    """
    a, b = (torch.from_numpy(rgb2lab(images.to_unit(z).permute(0, 2, 3, 1).numpy())).flatten(1, 2) for z in (a, b))
    return torch.tensor([metrics.frechet_distance(x, y) ** 0.5 for x, y in zip(a, b, strict=True)])


@torch.no_grad()
def scores(results: Tensor, want: Pictures, examples: Tensor, models: Models) -> dict[str, list[float]]:
    """MEASURES for each scene, means over its two style pictures, rounded as the JSON holds them.

    results, examples: (EXAMPLES, n, 3, H, W) in [-1, 1].
    A leak is given as a share of what the style pictures themselves in place of the results would score.
    """
    keys = [
        torch.stack([models.vit.keys_and_cls(z.to(models.device))[0].cpu() for z in pictures])
        for pictures in (results, examples)
    ]
    found = {}
    for name, likeness, (made_, shown) in (
        ("edges", metrics.edge_f1, (results, examples)),
        ("ssim", metrics.ssim, (results, examples)),
        ("keys", lambda a, b: -key_self_similarity(a, b), keys),
    ):
        found[f"leak_{name}"] = leak(likeness, made_, shown) / leak(likeness, shown, shown).mean()

    def mean(measure: Callable[..., Tensor], *others: object) -> Tensor:
        return torch.stack([measure(z, *others) for z in results]).mean(0)

    found["colour_to_style"] = colours_apart(results.flatten(0, 1), examples.flatten(0, 1)).view(EXAMPLES, -1).mean(0)
    found["colour_to_source"] = mean(colours_apart, want.source)
    found["ssim_to_source"] = mean(metrics.ssim, want.source)
    found["mask_iou"] = mean(metrics.mask_iou, want.mask)
    for letter, name in zip("ab", metrics.JUDGES, strict=True):
        judge = metrics.judge(name)
        found[f"style_probability_{letter}"] = mean(metrics.style_probability, want.styles, judge)
    return {name: [round(x, 4) for x in found[name].tolist()] for name in MEASURES}


# --------------------------------------------------------------------------------------------------------- the claims


@dataclass(frozen=True)
class Claim:
    """A sentence that is true when a measure is larger at one point (alpha, beta) of the grid than at another.

    less: True when it should be smaller instead. finding: which of the text's three it belongs to.
    """

    finding: str
    says: str
    measure: str
    at: tuple[float, float]
    than: tuple[float, float]
    less: bool = False


NONE, CLIP, GRAM, BOTH, WITHOUT = (0.0, 0.0), (3.0, 0.0), (0.0, 3.0), (1.0, 1.0), (1.0, 0.0)
CLAIMS = (
    Claim("a", "CLIP alone carries outlines of the style picture into the result", "leak_edges", CLIP, NONE),
    Claim("a", "the same, by SSIM", "leak_ssim", CLIP, NONE),
    Claim("a", "the same, by ViT keys", "leak_keys", CLIP, NONE),
    Claim("a", "CLIP alone carries more of them than Gram alone", "leak_edges", CLIP, GRAM),
    Claim("b", "CLIP alone ends farther from the style's colours than Gram alone", "colour_to_style", CLIP, GRAM),
    Claim("b", "CLIP alone moves the source's colours less than Gram alone", "colour_to_source", CLIP, GRAM, less=True),
    Claim("c", "Gram beside CLIP brings the colours nearer", "colour_to_style", BOTH, WITHOUT, less=True),
    Claim("c", "Gram beside CLIP lowers the leak", "leak_edges", BOTH, WITHOUT, less=True),
    Claim("c", "Gram beside CLIP keeps more of the source", "ssim_to_source", BOTH, WITHOUT),
)
"""The first of each finding decides it; the others tell more about it."""


def difference(claim: Claim, measured: Mapping) -> tuple[float, float, float]:
    """Mean, low and high end of the difference that the claim is about, scene by scene."""
    one, other = (torch.tensor(measured["grid"][name_of(*at)][claim.measure]) for at in (claim.at, claim.than))
    return student(one - other)


def verdict(claim: Claim, found: Sequence[float]) -> str:
    """true where the whole interval says so, false where the whole interval says the opposite, else not shown."""
    return VERDICTS[side_of_zero(*found[1:]) * (-1 if claim.less else 1)]


def name_of(alpha: float, beta: float) -> str:
    """A point of the grid, as the JSON names it."""
    return f"alpha x {alpha:g}, beta x {beta:g}"


# ----------------------------------------------------------------------------------------------------------- the text

FINDINGS = {"a": "CLIP leaks the style picture's outlines", "b": "CLIP is shy of colour", "c": "Gram repairs it"}

FIGURES = """```{figure} assets/claims_gram_grid.png
:alt: One scene over the grid, alpha growing to the right and beta downwards, for two style pictures side by side.

The first scene over the whole grid, after each of its two style pictures; on the right both style pictures and the
source. It is the first of the list, not a chosen one.
```

```{figure} assets/claims_gram_curves.png
:alt: Three panels over beta with a line for each alpha: outlines leaked, distance of colours, content kept.

What leaks, how far the colours are from the style picture, and what is left of the source; means with 95 % intervals.
```
"""


def fragment(measured: Mapping) -> str:
    """The whole text: what was run, the verdicts, the pictures, the grid."""
    return "\n".join([setup(measured), verdicts(measured), FIGURES, grid(measured)])


def setup(measured: Mapping) -> str:
    """What was run, and what the numbers mean."""
    own = measured["weights"]
    arrived, could = (fmean(measured["grid"][name]["style_probability_b"]) for name in (name_of(1, 1), "the truth"))
    return (
        f"{measured['scenes']} held-out scenes, one style each, {EXAMPLES} style pictures for each of them; "
        f"{measured['steps']} guided steps, one seed. In so few the style does not arrive whole: at the recipe's own "
        f"weights judge B gives it a probability of {arrived:.2f}, in true pictures {could:.2f}. So \"not shown\" may "
        f"mean that the runs were too short. Weights are factors of the recipe's own: alpha = {own[ALPHA]:g} "
        f"for `{ALPHA}`, beta = {own[BETA]:g} for `{BETA}`. The push has a fixed length, so weights say how the "
        'terms share it; "alone" means three times the one and none of the other, beside what holds the source, and '
        '"beside CLIP" both at one, against CLIP at one without Gram.\n\n'
        "A **leak** is how much more a result resembles its own style picture than another one in the same style, "
        "averaged over both, as a share of what the style picture itself would score. Here CLIP compares random "
        "crops, by the squared angle; the description that we follow compares whole pictures, by the cosine. The "
        "distance of **colours** is the Fréchet distance of all pixels in CIELAB, where 1 is a difference just seen.\n"
    )


def verdicts(measured: Mapping) -> str:
    """Each claim with its difference, interval and verdict, then the three findings in a sentence each."""
    lines, sentences = [], []
    for claim in CLAIMS:
        found = difference(claim, measured)
        lines.append([f"({claim.finding}) {claim.says}", cell(found), verdict(claim, found)])
    for letter, says in FINDINGS.items():
        word = next(line[2] for line in lines if line[0].startswith(f"({letter})"))
        sentences.append(f"* ({letter}) {says}: **{word}**.")
    note = (
        "A difference is what is named first minus what it is compared with, as measured: where a claim says less, "
        "lower or nearer, it should be below 0. The first row of a finding decides it. The intervals of the "
        "differences are Student's t, over scenes; of twenty one is expected to miss by chance."
    )
    table = markdown(["claim", "difference", "verdict"], lines)
    return "\n".join([table, note, "", *sentences, ""])


def grid(measured: Mapping) -> str:
    """Every point of the grid, and the source and the truth for scale."""
    lines = []
    for name, row in measured["grid"].items():
        each = [metrics.interval(torch.tensor(row[key]), torch.arange(len(row[key]))) for key in SHOWN]
        lines.append([name, *(cell(value) for value in each)])
    return markdown(["", *(MEASURES[key] for key in SHOWN)], lines)


# -------------------------------------------------------------------------------------------------------- the pictures


def curves(measured: Mapping) -> Figure:
    """Leak, colours and content over beta, one line for each alpha."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(show.WIDTH, 3.4), dpi=show.DPI, facecolor="white", layout="constrained")
    plt.close(figure)
    for ax, key in zip(axes, SHOWN, strict=False):
        for n, alpha in enumerate(FACTORS):
            rows = [torch.tensor(measured["grid"][name_of(alpha, beta)][key]) for beta in FACTORS]
            found = torch.tensor([metrics.interval(row, torch.arange(len(row))) for row in rows])
            reach = (found[:, :1] - found[:, 1:]).abs().T
            at = torch.arange(len(FACTORS)) + 0.08 * (n - 1.5)
            look = {"color": show.COLOURS[n], "capsize": 2, "linewidth": 1.4, "elinewidth": 0.8, "markersize": 5}
            ax.errorbar(at, found[:, 0], reach, fmt=f"{show.LINES[n]}{'osD^'[n]}", label=f"alpha x {alpha:g}", **look)
        if key == "colour_to_style":
            source = torch.tensor(measured["grid"]["the source"][key]).mean()
            ax.axhline(source, color="grey", linewidth=0.8)
            ax.annotate("the source", (0, source), (0, 3), textcoords="offset points", fontsize=8, color="grey")
        ax.set(xlabel="beta", xticks=range(len(FACTORS)), xticklabels=[f"x {factor:g}" for factor in FACTORS])
        ax.set_title(MEASURES[key], fontsize=9)
        ax.spines[["top", "right"]].set_visible(False)
    figure.legend(*axes[0].get_legend_handles_labels(), frameon=False, fontsize=8, loc="outside lower center", ncols=4)
    return figure


def sheet(source: Tensor, examples: Tensor, results: Mapping[tuple[float, float], Tensor]) -> Figure:
    """One scene (1, 3, H, W) over the whole grid, after both of its style pictures (EXAMPLES, 3, H, W).

    results: (alpha, beta) -> (EXAMPLES, 3, H, W).
    """
    rows = [[results[alpha, beta][k] for k in range(EXAMPLES) for alpha in FACTORS] for beta in FACTORS]
    for row, picture in zip(rows, (*examples, source[0]), strict=False):
        row.append(picture)
    titles = [f"{('first', 'second')[k]},\nα × {alpha:g}" for k in range(EXAMPLES) for alpha in FACTORS]
    return show.grid(rows, [f"β × {beta:g}" for beta in FACTORS], [*titles, "styles, source"], height=0.9)


# ------------------------------------------------------------------------------------------------------------ the run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=8)
    parser.add_argument("--steps", type=int, default=STEPS, help="of the schedule; the noisiest two are skipped")
    parser.add_argument("--device", default="cpu", help="where pictures are made")
    args = parser.parse_args()
    models = load_models("tiny", device=args.device)
    recipe = RECIPES["gram_clip"].fitted_to(models).changed(steps=args.steps, skip=2)
    asked = pairs(args.scenes, models.size)
    want, examples = asked[0].pictures, torch.stack([each.pictures.example for each in asked])
    results = {}
    with bar(len(FACTORS) ** 2, "alpha x beta") as progress:
        for at in product(FACTORS, FACTORS):
            # Without style terms nobody looks at the style picture: one run serves both.
            done = [made(point(recipe, models, *at, k if any(at) else 0), asked[k], CACHE)[0] for k in range(EXAMPLES)]
            results[at] = images.from_unit(torch.cat(done).float() / 255)
            progress.update()
    rows = {"the source": want.source.expand_as(examples), "the truth": want.truth.expand_as(examples)}
    rows |= {name_of(*at): pictures for at, pictures in results.items()}
    measured = {
        "scenes": args.scenes,
        "steps": len(recipe.positions),
        "styles": list(want.styles),
        "weights": dict(recipe.weights),
        "networks": hashes(),
        "grid": {name: scores(pictures, want, examples, models) for name, pictures in rows.items()},
    }
    save(measured, ASSETS / "claims_gram.json")
    write(ASSETS / "claims_gram.md", fragment(measured))
    draw(curves(measured), "claims_gram_curves.png")
    first = {at: pictures[:, 0] for at, pictures in results.items()}  # the first scene, whatever it shows
    draw(sheet(want.source[:1], examples[:, 0], first), "claims_gram_grid.png")
    print(verdicts(measured))


if __name__ == "__main__":
    main()
