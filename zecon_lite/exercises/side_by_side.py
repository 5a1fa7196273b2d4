"""Exercises of the chapter that puts all methods side by side."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .grading import Exercise, Question

# --------------------------------------------------------------------------------------------- whole scenes, redrawn

SCENES = 6


def _unequal_scenes(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Values, the scene of each (of unequal numbers), and five draws of SCENES scenes with repetition."""
    scenes = torch.arange(SCENES).repeat_interleave(torch.arange(1, SCENES + 1))
    values = torch.rand(len(scenes), generator=generator) + 0.3 * scenes
    return values, scenes, torch.randint(SCENES, (5, SCENES), generator=generator)


def _sums(values: Tensor, scenes: Tensor) -> tuple[Tensor, Tensor]:
    """The total and the number of each scene's values."""
    totals = torch.zeros(SCENES, dtype=values.dtype).index_add_(0, scenes, values)
    return totals, torch.bincount(scenes, minlength=SCENES)


def _redrawn(values: Tensor, scenes: Tensor, picks: Tensor) -> Tensor:
    totals, counts = _sums(values, scenes)
    return totals[picks].sum(1) / counts[picks].sum(1)


def _mean_of_means(values: Tensor, scenes: Tensor, picks: Tensor) -> Tensor:
    totals, counts = _sums(values, scenes)
    return (totals / counts)[picks].mean(1)


# ------------------------------------------------------------------------------------------------- at equal style


def _curve(generator: torch.Generator) -> tuple[Tensor, Tensor, float]:
    """Style falling and content rising with a weight, and a style between its ends."""
    style = torch.rand(5, generator=generator).cumsum(0).flip(0)
    content = torch.rand(5, generator=generator).cumsum(0)
    share = 0.1 + 0.8 * torch.rand(1, generator=generator).item()
    return style, content, (style[-1] + share * (style[0] - style[-1])).item()


def _at_equal_style(style: Tensor, content: Tensor, wanted: float) -> Tensor:
    k = int((style >= wanted).sum()) - 1    # the last point that has at least the wanted style
    share = (style[k] - wanted) / (style[k] - style[k + 1])
    return content[k] + share * (content[k + 1] - content[k])


def _nearest_point(style: Tensor, content: Tensor, wanted: float) -> Tensor:
    return content[(style - wanted).abs().argmin()]


def _wrong_end(style: Tensor, content: Tensor, wanted: float) -> Tensor:
    k = int((style >= wanted).sum()) - 1
    share = (style[k] - wanted) / (style[k] - style[k + 1])
    return content[k + 1] + share * (content[k] - content[k + 1])


def _straight_line(style: Tensor, content: Tensor, wanted: float) -> Tensor:
    share = (style[0] - wanted) / (style[0] - style[-1])
    return content[0] + share * (content[-1] - content[0])


# ------------------------------------------------------------------------------------------------ the best of several


def _scores(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """What 12 pictures scored, and 6 trials in which 8 equal methods draw 4 of these scores each."""
    return torch.rand(12, generator=generator), torch.randint(12, (6, 8, 4), generator=generator)


def _flattery(pool: Tensor, draws: Tensor) -> Tensor:
    return pool[draws].mean(2).max(1).values.mean() - pool.mean()


# ------------------------------------------------------------------------------------------------- the pupil as judge


def _embeddings(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Embeddings of six pictures and their prompts, alike in part and of all lengths."""
    images, noise = torch.randn(2, 6, 5, generator=generator)
    lengths = 0.5 + 2 * torch.rand(2, 6, 1, generator=generator)
    return images * lengths[0], (images + noise) * lengths[1]


def _own_prompt(images: Tensor, prompts: Tensor) -> Tensor:
    return F.cosine_similarity(images, prompts, dim=1).mean()


EXERCISES = (
    Question(
        "passes-of-zecon",
        50,
        "25 on the way towards noise, by inversion, and 25 on the way back; the guidance uses the prediction that is "
        "already there.",
        {
            25: "that is one of the two ways: the inversion that leads towards noise asks the network as well.",
            75: "a guided step asks the network once, not twice: guidance and step share the prediction. Released code "
            "asks twice.",
            49: "the latent stands one position higher than the first step, so the way there takes 25 passes, not 24.",
            100: "50 is the length of the schedule, and half of it is left out, in both directions.",
        },
        rtol=1e-6,
    ),
    Exercise(
        "whole-scenes",
        _unequal_scenes,
        _redrawn,
        {
            "you average the scenes' means, so that a picture of a scene with few counts more than one of a scene with "
            "many: divide the sum of the totals by the sum of the numbers.": _mean_of_means,
            "a draw names scenes; yours takes single pictures by these numbers.": (
                lambda values, scenes, picks: values[picks].mean(1)
            ),
            "a scene that is drawn twice counts twice; yours asks only whether it was drawn.": (
                lambda values, scenes, picks: torch.stack([values[torch.isin(scenes, p)].mean() for p in picks])
            ),
            "each draw makes a mean of its own: sum along the scenes of a draw (dim 1), not over all draws.": (
                lambda values, scenes, picks: _redrawn(values, scenes, picks.flatten()[None])[0]
            ),
        },
        "scenes are drawn, and a scene comes with all of its pictures.",
    ),
    Exercise(
        "equal-style",
        _curve,
        _at_equal_style,
        {
            "that is the nearest measured point; its style is not the wanted one: go on along the line to the next.": (
                _nearest_point
            ),
            "the share is counted from the wrong end of the stretch: at the point with more style it must be 0.": (
                _wrong_end
            ),
            "you draw one straight line between the ends; the points in between were measured, too.": _straight_line,
        },
        "content is compared where the style is equal.",
    ),
    Exercise(
        "own-prompt",
        _embeddings,
        _own_prompt,
        {
            "those are products of the embeddings as they come; the longer ones count more, which a cosine forbids.": (
                lambda images, prompts: (images * prompts).sum(1).mean()
            ),
            "every picture is held against all prompts; only its own one counts.": (
                lambda images, prompts: (F.normalize(images, dim=1) @ F.normalize(prompts, dim=1).T).mean()
            ),
            "the cosines run down the batch, one for each of the D numbers; wanted is one for each picture.": (
                lambda images, prompts: F.cosine_similarity(images, prompts, dim=0).mean()
            ),
            "that is one cosine between two mean embeddings: take the mean of the cosines, not the cosine of means.": (
                lambda images, prompts: F.cosine_similarity(images.mean(0), prompts.mean(0), dim=0)
            ),
            "that is the sum over the pictures; rows of a table may hold different numbers of them.": (
                lambda images, prompts: len(images) * _own_prompt(images, prompts)
            ),
            "return one number for the row: there is one for each picture as it is.": (
                lambda images, prompts: F.cosine_similarity(images, prompts, dim=1)
            ),
        },
        "each picture is asked about its own prompt, and about no other.",
    ),
    Exercise(
        "best-of-eight",
        _scores,
        _flattery,
        {
            "that is what the best one seems to score; asked for is by how much that lies above the mean of `pool`.": (
                lambda pool, draws: _flattery(pool, draws) + pool.mean()
            ),
            "you take the best of each scene, whoever made it: mean over a method's scenes first, then the maximum.": (
                lambda pool, draws: pool[draws].max(1).values.mean() - pool.mean()
            ),
            "that is the luckiest method of all trials: each trial has a best of its own (dim 1), then the mean.": (
                lambda pool, draws: pool[draws].mean(2).max() - pool.mean()
            ),
            "you subtract the mean of what was drawn; the true one is the mean of the whole `pool`.": (
                lambda pool, draws: _flattery(pool, draws) + pool.mean() - pool[draws].mean()
            ),
        },
        "who reports the best of several equals reports luck.",
    ),
)
