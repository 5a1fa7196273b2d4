"""How long a guided ZeCon step takes: `make bench`.

Three figures from one run, so that their ratios hold on any machine: our step; a deliberately naive version of the same
mathematics (the network run forward a second time, crops taken and embedded one by one, the source encoded with a
graph, once per crop); and the floor: the network passes that the mathematics needs, alone.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace

import torch

from zecon_lite import images, load_models
from zecon_lite.recipes import RECIPES, Task
from zecon_lite.samplers import look, randn_like, sample

POSITION = 20


def parts(models, source, recipe):
    generator = torch.Generator().manual_seed(0)
    denoiser = models.denoiser.respace(recipe.steps)
    guidance = recipe.guidance(Task(source, "a pencil sketch"), models, denoiser, generator)
    x = denoiser.schedule.noised(source, POSITION, randn_like(source, generator))
    return denoiser, guidance, x, generator


def ours(models, source, recipe):
    denoiser, guidance, x, generator = parts(models, source, recipe)
    return lambda: next(
        sample(denoiser, x, [POSITION], guidance=guidance, source=source, step=recipe.step, generator=generator)
    )


def naive(models, source, recipe):
    """The released program's way of doing the same: see its inefficiencies in the Rosetta page."""
    denoiser, guidance, x0, generator = parts(models, source, recipe)
    one = replace(recipe.views, count=1, stratified=False)
    clip_terms = {name: loss for name, loss in guidance.losses.items() if name.startswith("clip")}
    single = {name: replace(loss, views=one) for name, loss in clip_terms.items()}

    def step():
        s = denoiser.schedule
        with torch.no_grad():
            p = denoiser(x0, POSITION)  # once for the step itself ...
        noise = randn_like(x0, generator)
        x = x0.detach().requires_grad_(True)
        again = denoiser(x, POSITION)  # ... and once more for the gradient
        state = look(s, x, POSITION, again, source, None, generator)
        total = 0
        for name, loss in guidance.losses.items():
            weight = guidance.weights[name]
            if name in single:  # one crop, one CLIP pass, one source pass at a time
                total = (
                    total + weight * sum(single[name](state) for _ in range(recipe.views.count)) / recipe.views.count
                )
            elif name == "zecon":
                blocks = denoiser.feature_blocks
                tracked = state.source_view.detach().requires_grad_(True)
                denoiser.features(tracked, 0, blocks)  # the source's graph is built, and thrown away
                total = total + weight * loss(state)
            else:
                total = total + weight * loss(state)
        (grad,) = torch.autograd.grad(total, x)
        return recipe.step(s, x0, POSITION, p, grad, noise)

    return step


def floor(models, source, recipe):
    """One UNet pass with its gradient, the encoder on view (with) and source (without), CLIP on the views likewise."""
    denoiser, _, x, _ = parts(models, source, recipe)
    views = torch.zeros(recipe.views.count, 3, models.clip.size, models.clip.size)
    looks = recipe.views.count if recipe.same_views else 1
    terms = sum(name.startswith("clip_direction") and bool(w) for name, w in recipe.weights.items())
    terms_global = sum(name.startswith("clip_global") and bool(w) for name, w in recipe.weights.items())

    def passes():
        latent = x.detach().requires_grad_(True)
        p = denoiser(latent, POSITION)
        total = sum(f.sum() for f in denoiser.features(p.x0, 0, denoiser.feature_blocks))
        total = total + sum(f.sum() for f in models.vgg(p.x0))
        with torch.no_grad():
            denoiser.features(source, 0, denoiser.feature_blocks)
            models.vgg(source)
            for _ in range(terms):
                models.clip.image(views[:looks])
        for _ in range(terms + terms_global):
            total = total + models.clip.image(views + p.x0.mean()).sum()
        torch.autograd.grad(total, latent)

    return passes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--profile", default="tiny")
    parser.add_argument("--released", action="store_true", help="the paper's own settings: 32 patches, all terms")
    args = parser.parse_args()
    models = load_models(args.profile)
    source = images.fit(images.photograph("cat"), models.size, mode="crop", multiple=models.multiple).to(models.device)
    recipe = RECIPES["zecon"] if args.released else RECIPES["zecon"].fitted_to(models)
    work = {
        "ours": ours(models, source, recipe),
        "naive": naive(models, source, recipe),
        "floor": floor(models, source, recipe),
    }
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for round_ in range(args.rounds + 2):  # in turn, so that a drifting machine is fair to all
        for name, run in work.items():
            start = time.perf_counter()
            run()
            if models.device.type == "cuda":
                torch.cuda.synchronize()
            if round_ >= 2:
                seconds[name].append(time.perf_counter() - start)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    for name, value in median.items():
        print(f"{name:>6}: {1000 * value:8.1f} ms")
    print(f"ours / naive = {median['ours'] / median['naive']:.2f} (aim: at most 0.60)")
    print(f"ours / floor = {median['ours'] / median['floor']:.2f} (aim: at most 1.25)")


if __name__ == "__main__":
    main()
