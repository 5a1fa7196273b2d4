"""The image operations that the twelve styles are made of: blurs, outlines, tones, lattices of cells.

All lengths are in *units*: 1/64 of the picture's height, so one unit is one pixel at 64 px and two at 128 px, and a
style looks the same at every resolution. Pictures are (B, 3, H, W) in [0, 1]; maps are (B, 1, H, W).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def pixels_per_unit(image: Tensor) -> float:
    """How many pixels one unit has."""
    return image.shape[-2] / 64


def positions(image: Tensor) -> tuple[Tensor, Tensor]:
    """x and y (downwards) of the pixel centres in units, (1, 1, 1, W) and (1, 1, H, 1)."""
    scale = pixels_per_unit(image)
    height, width = image.shape[-2:]
    x = (torch.arange(width, device=image.device, dtype=image.dtype) + 0.5) / scale
    y = (torch.arange(height, device=image.device, dtype=image.dtype) + 0.5) / scale
    return x.view(1, 1, 1, -1), y.view(1, 1, -1, 1)


def blur(image: Tensor, sigma: float) -> Tensor:
    """Gaussian blur with `sigma` in units, edges replicated."""
    sigma = sigma * pixels_per_unit(image)
    reach = min(max(1, round(2.5 * sigma)), min(image.shape[-2:]) - 1)
    taps = torch.arange(-reach, reach + 1, device=image.device, dtype=image.dtype)
    kernel = (-0.5 * (taps / sigma) ** 2).exp()
    kernel = (kernel / kernel.sum()).view(1, 1, 1, -1)
    channels = image.shape[1]
    image = F.pad(image, (reach, reach, 0, 0), mode="replicate")
    image = F.conv2d(image, kernel.expand(channels, 1, 1, -1), groups=channels)
    image = F.pad(image, (0, 0, reach, reach), mode="replicate")
    return F.conv2d(image, kernel.transpose(2, 3).expand(channels, 1, -1, 1), groups=channels)


def luminance(image: Tensor) -> Tensor:
    """Perceived brightness, (B, 1, H, W)."""
    return (image * image.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)


def tone(image: Tensor) -> Tensor:
    """Brightness relative to the rest of the picture, in [0, 1]: night scenes have light parts too, (B, 1, H, W)."""
    bright = luminance(image)
    mean = bright.mean((2, 3), keepdim=True)
    spread = bright.std((2, 3), keepdim=True).clamp(min=0.08)
    return (0.5 + (bright - mean) / (3.2 * spread)).clamp(0, 1)


def saturated(image: Tensor, amount: float) -> Tensor:
    """Colours pushed away from grey by `amount` (1 changes nothing)."""
    grey = luminance(image)
    return (grey + amount * (image - grey)).clamp(0, 1)


def outlines(image: Tensor, sigma: float = 0.8, low: float = 0.05, high: float = 0.12) -> Tensor:
    """1 on contours, 0 on even areas, (B, 1, H, W): the strongest colour slope per unit, ramped between low and high.

    `sigma` in units decides how thick the lines become (about 3 sigma) and how small a detail may be to get one.
    """
    smooth = F.pad(blur(image, sigma), (1, 1, 1, 1), mode="replicate")
    across = (smooth[:, :, 1:-1, 2:] - smooth[:, :, 1:-1, :-2]) / 2
    down = (smooth[:, :, 2:, 1:-1] - smooth[:, :, :-2, 1:-1]) / 2
    slope = (across**2 + down**2).sum(1, keepdim=True).sqrt() * pixels_per_unit(image)
    return ramp((slope - low) / (high - low))


def ramp(value: Tensor) -> Tensor:
    """Smooth step from 0 at 0 to 1 at 1."""
    value = value.clamp(0, 1)
    return value * value * (3 - 2 * value)


def inside(distance: Tensor, image: Tensor) -> Tensor:
    """1 where distance (units) is below 0, 0 where it is above, blended over one pixel."""
    return (0.5 - distance * pixels_per_unit(image)).clamp(0, 1)


def stripes(position: Tensor, period: float) -> Tensor:
    """Distance in units from the nearest line of a family of lines `period` units apart."""
    return ((position / period) % 1 - 0.5).abs() * period


def sample(image: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The picture at positions x, y given in units, each (B or 1, 1, H, W) -> (B, 3, H, W)."""
    height, width = image.shape[-2:]
    scale = pixels_per_unit(image)
    batch = image.shape[0]
    grid = torch.stack(torch.broadcast_tensors(2 * x * scale / width - 1, 2 * y * scale / height - 1), dim=-1).squeeze(
        1
    )
    grid = grid.expand(batch, height, width, 2)
    return F.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=False)


def lattice(x: Tensor, y: Tensor, phase: Tensor, period: float, jitter: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The nearest point of a wobbly hexagonal lattice, for every pixel.

    Odd rows are shifted by half a period and every point is moved by up to `jitter` periods; the moves are slow sines
    of the row and column, so `phase` (B, 2, 1, 1) in [0, 1) is the only freedom and a network can learn the pattern.
    Returns the point's x, y, the distance to it and to the border with the next cell, each (B, 1, H, W) in units.
    """
    shift_x, shift_y = phase[:, :1] * period, phase[:, 1:2] * period
    row0 = torch.floor((y + shift_y) / period)
    best = second = best_x = best_y = second_x = second_y = None
    reach = (-1, 0, 1)
    for dr in reach:
        row = row0 + dr
        half = 0.5 * (row % 2)
        column0 = torch.floor((x + shift_x) / period - half)
        for dc in reach:
            column = column0 + dc
            wobble = 2.4 * column + 3.9 * row + 6.28 * phase[:, :1]
            px = (column + half + 0.5 + jitter * torch.sin(wobble)) * period - shift_x
            py = (row + 0.5 + jitter * torch.sin(1.7 * wobble + 1.0)) * period - shift_y
            distance = ((x - px) ** 2 + (y - py) ** 2).sqrt()
            px, py = px.expand_as(distance), py.expand_as(distance)
            if best is None:
                best, best_x, best_y = distance, px, py
                second, second_x, second_y = torch.full_like(distance, 1e3), px, py
                continue
            closer = distance < best
            runner_up = ~closer & (distance < second)
            second = torch.where(closer, best, torch.where(runner_up, distance, second))
            second_x = torch.where(closer, best_x, torch.where(runner_up, px, second_x))
            second_y = torch.where(closer, best_y, torch.where(runner_up, py, second_y))
            best = torch.where(closer, distance, best)
            best_x, best_y = torch.where(closer, px, best_x), torch.where(closer, py, best_y)
    apart = ((best_x - second_x) ** 2 + (best_y - second_y) ** 2).sqrt().clamp(min=0.1)
    border = (second**2 - best**2) / (2 * apart)
    return best_x, best_y, best, border
