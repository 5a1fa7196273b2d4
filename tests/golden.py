"""Where the recorded results of released code are, and how the README there draws its random numbers."""

import json
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent / "golden"


def load(name: str) -> dict[str, np.ndarray]:
    """The arrays of a recorded .npz file."""
    with np.load(FOLDER / name) as file:
        return dict(file)


def load_json(name: str):
    """A recorded .json file."""
    return json.loads((FOLDER / name).read_text())


def draw(seed: int, *shape: int, scale: float = 1.0) -> np.ndarray:
    """R(seed, *shape) of the README: float32 standard normal numbers."""
    return np.random.RandomState(seed).standard_normal(shape).astype(np.float32) * np.float32(scale)
