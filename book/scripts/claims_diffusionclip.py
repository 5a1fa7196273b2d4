"""Measures DiffusionCLIP against ZeCon: python book/scripts/claims_diffusionclip.py, for the page book/claims.md.

Three styles are learnt, each from sixteen scenes, and given to scenes that neither the network nor the training has
seen. Beside the scores that every method gets: what a picture costs when the training is shared out, what the tuned
networks have forgotten, and how well a scene survives the journey without any training.

Into book/assets go the numbers (claims_diffusionclip.json), the text made from them (claims_diffusionclip.md) and a
picture. Adapters are kept in build/adapters, finished pictures in build/evaluation: an interrupted run goes on there.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Callable, Mapping, Sequence

import torch
from matplotlib.figure import Figure
from measure import ASSETS, CACHE, ROOT, VERDICTS, draw, hashes, markdown, minus, side_of_zero, student, write
from torch import Tensor

from zecon_lite import FINETUNE, Adapter, Denoiser, images, load_models, metrics, show, translate, tuned
from zecon_lite.benchmark import PROMPTS, SOURCE, TRUTH, Benchmark, Pictures, Row, of_recipe
from zecon_lite.evaluate import MEASURES, cell, compare, made, save
from zecon_lite.finetune import finetune
from zecon_lite.latents import digest, digest_of, from_latent, journey, to_latent
from zecon_lite.profiles import Models
from zecon_lite.tiny import world

STYLES = ("pencil", "mosaic", "blueprint")
LESSONS, FIRST_LESSON = 16, 1000  # training pictures: held-out scenes, but none of those that are scored
ADAPTERS = ROOT / "build/adapters"
DREAMS = 48  # pictures from pure noise, by which a network's memory of photographs is judged
STARTS = (300, 500, 700)  # how far an untouched network carries a scene and brings it home
FULL, HALF, ZECON, BORROWED = "diffusionclip", "diffusionclip, degree 0.5", "zecon", "zecon on another's network"
SHOWN = ("style_probability_a", "style_probability_b", "ssim_to_source", "edge_f1", "mask_iou", "colour_distance")
SHARES = (1, 10, 100, 1000)  # pictures among which the training is shared out


# ----------------------------------------------------------------------------------------------------------- the rows


def learnt(style: str, models: Models) -> tuple[Adapter, float]:
    """The adapter for a style and the CPU seconds of its training; from build/adapters where it is there."""
    settings = FINETUNE.fitted_to(models)
    what = digest(digest_of(models.denoiser), json.dumps(settings.summary()), f"{LESSONS} {FIRST_LESSON} {style}")
    path, clock = ADAPTERS / f"{style}_{what}.safetensors", ADAPTERS / f"{style}_{what}.json"
    if not clock.exists():
        lessons = world.render(world.held_out_seeds(LESSONS, start=FIRST_LESSON), size=models.size).image
        begun = time.process_time()
        *_, last = finetune(lessons, PROMPTS[style], models=models)
        seconds = time.process_time() - begun
        last.adapter.save(path)
        write(clock, json.dumps({"cpu_seconds": round(seconds, 1)}))
    return Adapter.load(path), json.loads(clock.read_text())["cpu_seconds"]


def rows_of(adapters: Mapping[str, Adapter], models: Models) -> dict[str, Row]:
    """What is compared, by name."""
    guided = of_recipe("zecon", models)
    learnt_parts = [adapter.tensors[name] for adapter in adapters.values() for name in sorted(adapter.tensors)]
    told = f"{guided.settings}; {digest(json.dumps(FINETUNE.fitted_to(models).summary()), *learnt_parts)}"
    pupils = {style: tuned(models.denoiser, [adapter]) for style, adapter in adapters.items()}
    timid = {style: tuned(models.denoiser, [adapter], [0.5]) for style, adapter in adapters.items()}
    others = dict(zip(STYLES, (*STYLES[1:], STYLES[0]), strict=True))

    def borrowed(asked: Pictures, seed: int) -> Tensor:
        def one(source: Tensor, style: str) -> Tensor:
            lent = copy.copy(models)
            lent.denoiser = pupils[others[style]]
            part = Pictures(source, *[None] * 5, styles=(style,) * len(source))
            return of_recipe("zecon", lent).make(part, seed)

        return by_style(one, asked)

    return {
        "source": SOURCE,
        "truth": TRUTH,
        ZECON: guided,
        FULL: painted_by(pupils, models, told),
        HALF: painted_by(timid, models, f"{told}; 0.5"),
        BORROWED: Row(borrowed, f"{told}; borrowed"),
    }


def painted_by(pupils: Mapping[str, Denoiser], models: Models, told: str) -> Row:
    """Each picture as the network tuned to its style paints it."""
    return Row(lambda asked, _: by_style(lambda z, style: translate(z, pupils[style], models=models), asked), told)


def by_style(method: Callable[[Tensor, str], Tensor], asked: Pictures) -> Tensor:
    """(pictures, their style) -> pictures, for each style in turn."""
    done = torch.empty_like(asked.source)
    for style in dict.fromkeys(asked.styles):
        at = torch.tensor([name == style for name in asked.styles])
        done[at] = method(asked.source[at], style).cpu()
    return done


# ------------------------------------------------------------------------------------------------- what is forgotten


@torch.no_grad()
def memory(denoiser: Denoiser, scenes: Tensor) -> dict[str, list[float]]:
    """How well a network still does what it was made for, for each scene, or each of DREAMS pictures from noise.

    denoising: mean squared error of its clean estimate of noised scenes. mirror: SSIM of a scene that it
    carries to t0 and back itself. photo_a, photo_b: the judges' probability that what it makes of noise is a photo.
    """
    settings, noise = FINETUNE.small, torch.randn(scenes.shape, generator=torch.Generator().manual_seed(0))
    errors = [
        (denoiser(denoiser.schedule.noised(scenes, t, noise), t).x0 - scenes).square().mean((1, 2, 3)) for t in STARTS
    ]
    times = journey(settings["t0"], settings["test_steps"])
    back = from_latent(denoiser, to_latent(denoiser, scenes, times), times).clamp(-1, 1)
    pure = torch.randn((DREAMS, *scenes.shape[1:]), generator=torch.Generator().manual_seed(0))
    dreamt = from_latent(denoiser, pure, journey(len(denoiser.schedule) - 1, 20)).clamp(-1, 1)
    found = {"denoising": torch.stack(errors).mean(0), "mirror": metrics.ssim(back, scenes)}
    for letter, name in zip("ab", metrics.JUDGES, strict=True):
        found[f"photo_{letter}"] = metrics.style_probability(dreamt, "photo", metrics.judge(name))
    return {name: [round(v, 5) for v in values.tolist()] for name, values in found.items()}


def there_and_back(denoiser: Denoiser, scenes: Tensor) -> dict[str, list[float]]:
    """SSIM to each scene after inversion and return in 20 steps, by t0."""
    found = {}
    for t0 in STARTS:
        times = journey(t0, 20)
        back = from_latent(denoiser, to_latent(denoiser, scenes, times), times).clamp(-1, 1)
        found[str(t0)] = [round(v, 4) for v in metrics.ssim(back, scenes).tolist()]
    return found


# --------------------------------------------------------------------------------------------------------- the claims


def claims(measured: Mapping) -> list[tuple[str, str, tuple[float, float, float]]]:
    """(claim, measure, the difference's mean and interval) of the paper; each is that the difference is above 0."""
    home = measured["there_and_back"]
    return [
        (f"an untouched network brings scenes home with SSIM above 0.9 (t₀ = {STARTS[1]}, 20 steps)", "SSIM - 0.9",
         apart(home[str(STARTS[1])], [0.9] * measured["scenes"])),
        (f"the less noise on the way, the better it does (t₀ = {STARTS[0]} against {STARTS[-1]})", "SSIM",
         apart(home[str(STARTS[0])], home[str(STARTS[-1])])),
        ("half the degree keeps more of the source", MEASURES["ssim_to_source"],
         minus(measured["rows"], HALF, FULL, "ssim_to_source")),
        ("the whole degree has more of the style", MEASURES["style_probability_b"],
         minus(measured["rows"], FULL, HALF, "style_probability_b")),
    ]


def questions(measured: Mapping) -> list[tuple[str, str, tuple[float, float, float]]]:
    """What the paper does not speak of, as claims of the same kind: ZeCon is younger, forgetting our matter."""
    kept, pupils = measured["memory"], [measured["memory"][style] for style in measured["styles"]]

    def networks(key: str) -> tuple[float, float, float]:
        return apart(torch.tensor([p[key] for p in pupils]).mean(0).tolist(), kept["original"][key])

    return [
        *(("DiffusionCLIP scores higher than ZeCon", MEASURES[key], minus(measured["rows"], FULL, ZECON, key))
          for key in SHOWN[:5]),
        ("tuned networks are worse at removing noise from scenes", "squared error", networks("denoising")),
        ("they carry a scene there and back less well than the original", "SSIM, original - tuned",
         negative(networks("mirror"))),
        *(("from noise they make fewer photographs", f"p(photo), judge {letter.upper()}, original - tuned",
           negative(networks(f"photo_{letter}"))) for letter in "ab"),
        *(("ZeCon reaches another style less well on them", f"{MEASURES[key]}, original - tuned",
           minus(measured["rows"], ZECON, BORROWED, key)) for key in ("style_probability_a", "style_probability_b")),
    ]


def apart(one: Sequence[float], other: Sequence[float]) -> tuple[float, float, float]:
    """Mean, low and high end of the difference, scene by scene."""
    return student(torch.tensor(one) - torch.tensor(other))


def negative(found: tuple[float, float, float]) -> tuple[float, float, float]:
    """The interval of the difference the other way round."""
    mean, low, high = found
    return -mean, -high, -low


def verdict(found: Sequence[float]) -> str:
    """true where the whole interval is above 0, false where it is below, else not shown."""
    return VERDICTS[side_of_zero(*found[1:])]


# ----------------------------------------------------------------------------------------------------------- the text


def fragment(measured: Mapping) -> str:
    """The whole text: what was run, the verdicts, the scores, the costs, what was forgotten."""
    return "\n".join(part(measured) for part in (setup, verdicts, table, costs, forgotten))


def setup(measured: Mapping) -> str:
    """What was run."""
    return (
        f"{len(measured['styles'])} styles ({', '.join(measured['styles'])}), each learnt from {LESSONS} scenes; "
        f"{measured['scenes']} other held-out scenes in each of them, one seed. Intervals are over scenes (from "
        f"noise: over {DREAMS} draws of it), of the differences by Student's t: they say nothing of other styles, "
        "seeds or networks.\n"
    )


def verdicts(measured: Mapping) -> str:
    """Each claim with its difference, interval and verdict: the paper's, then our own questions."""
    tables = []
    for title, asked in (("claim of the paper", claims), ("question of our own, as a claim", questions)):
        lines = [[says, measure, three(found), f"**{verdict(found)}**"] for says, measure, found in asked(measured)]
        tables.append(markdown([title, "measure", "difference", "verdict"], lines))
    return "\n".join(tables)


def three(found: tuple[float, float, float]) -> str:
    """As `evaluate.cell`, with a third digit: errors are small."""
    return "{:.3f} ({:.3f} to {:.3f})".format(*found)


def table(measured: Mapping) -> str:
    """The scores of every row."""
    lines = [[name, *(cell(row["overall"][key]) for key in SHOWN)] for name, row in measured["rows"].items()]
    return markdown(["", *(MEASURES[key] for key in SHOWN)], lines)


def costs(measured: Mapping) -> str:
    """CPU seconds a picture when the training is shared out, and from how many pictures on it pays."""
    training = sum(measured["training"].values()) / len(measured["training"])
    guided, painted = (measured["rows"][name]["cpu_seconds_per_picture"] for name in (ZECON, FULL))
    lines = [["ZeCon", *[f"{guided:.1f}"] * len(SHARES)],
             ["DiffusionCLIP", *(f"{painted + training / n:.1f}" for n in SHARES)]]
    pays = (
        f"from {training / (guided - painted):.0f} pictures on, training is the cheaper way"
        if guided > painted
        else "training never pays: a picture costs no less than a guided one"
    )
    told = f"Training one style took {training:.0f} CPU seconds on a machine with other work: {pays}.\n"
    return markdown(["CPU seconds a picture, of", *(f"{n}" for n in SHARES)], lines) + "\n" + told


def forgotten(measured: Mapping) -> str:
    """What each network still does of what it was made for."""
    there = f"SSIM there and back (t₀ = {FINETUNE.small['t0']}, {FINETUNE.small['test_steps']} steps)"
    names = {"denoising": "error of the clean estimate", "mirror": there,
             "photo_a": "p(photo) from noise, A", "photo_b": "p(photo) from noise, B"}
    lines = []
    for network, row in measured["memory"].items():
        each = [metrics.interval(torch.tensor(row[key]), torch.arange(len(row[key]))) for key in names]
        lines.append([network, *map(three, each)])
    return markdown(["network", *names.values()], lines)


# ------------------------------------------------------------------------------------------------------------ the run


def sheet(asked: Benchmark, pictures: Mapping[str, Tensor]) -> Figure:
    """The first two scenes in every style: nothing is chosen."""
    columns, titles = [], []
    for scene in range(min(2, asked.scenes)):
        at = slice(scene * len(asked.styles), (scene + 1) * len(asked.styles))
        columns += [asked.pictures.source[at], asked.pictures.truth[at], *(p[at] for p in pictures.values())]
        titles += ["source", "truth", *pictures]
    rows = [[column[k] for column in columns] for k in range(len(asked.styles))]
    return show.grid(rows, row_titles=asked.styles, column_titles=titles, height=0.6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=6)
    args = parser.parse_args()
    models = load_models("tiny", device="cpu")
    asked = Benchmark(args.scenes, STYLES, 1, models.size)
    adapters, training = {}, {}
    for style in STYLES:
        adapters[style], training[style] = learnt(style, models)
        print(f"{style}: {training[style]:.0f} CPU seconds of training", flush=True)
    rows = rows_of(adapters, models)
    measured = compare(rows, asked, CACHE)
    scenes = asked.pictures.source[:: len(STYLES)]
    networks = {"original": models.denoiser} | {s: tuned(models.denoiser, [a]) for s, a in adapters.items()}
    measured |= {
        "training": training,
        "memory": {name: memory(network, scenes) for name, network in networks.items()},
        "there_and_back": there_and_back(models.denoiser, scenes),
        "weights": hashes(),
    }
    save(measured, ASSETS / "claims_diffusionclip.json")
    write(ASSETS / "claims_diffusionclip.md", fragment(measured))
    short = {"ZeCon": ZECON, "tuned": FULL, "half": HALF, "ZeCon, other's": BORROWED}
    done = {name: images.from_unit(made(rows[row], asked, CACHE)[0][0].float() / 255) for name, row in short.items()}
    draw(sheet(asked, done), "claims_diffusionclip.png")
    print(verdicts(measured))


if __name__ == "__main__":
    main()
