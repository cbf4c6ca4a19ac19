"""The built-in scenario: 8×8 digits, two small models, parts for the trainers."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from .checks import check_choice, check_integer, is_real
from .datasets import Dataset
from .loading import initial

if TYPE_CHECKING:
    import torch

SPLITS = ("iid", "dirichlet")
MIN_ROWS = 8
"""No share of the digits has fewer rows, whatever the proportions."""


# ---------------------------------------------------------------- built in: scikit-learn's digits


def digits_mlp(hidden: int = 32) -> torch.nn.Module:
    """64 pixels → hidden → 10 digits; 2,410 parameters by default, the same initial ones for everybody."""
    from torch import nn

    check_integer("hidden", hidden, 1)
    with initial():
        return nn.Sequential(nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, 10))


def digits_cnn(channels: int = 8) -> torch.nn.Module:
    """64 pixels as 8×8, two convolutions with pooling → 10 digits; 1,898 parameters by default, the same for all."""
    from torch import nn

    check_integer("channels", channels, 1)
    with initial():
        return nn.Sequential(
            nn.Unflatten(1, (1, 8, 8)),
            nn.Conv2d(1, channels, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(channels, 2 * channels, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(8 * channels, 10),
        )


def digits(part: int = 0, of: int = 1, split: str = "iid", alpha: float = 0.5, seed: int = 0) -> Dataset:
    """One trainer's share of 1,797 real scans, without the quarter that `digits_held` keeps.

    Shares of the same `of`, split, alpha and seed have no row in common, and together are all rows.

    Args:
        part, of: which share of how many, from 0.
        split: iid (shares alike) or dirichlet (each digit is dealt out in proportions of its own).
        alpha: of the Dirichlet distribution; the smaller, the more one-sided the shares.
        seed: decides the held-out rows and the shares.
    """
    check_integer("of", of, 1)
    check_integer("part", part, 0)
    check_choice("split", split, SPLITS)
    if part >= of:
        raise InputError(f"parts of {of} are numbered from 0 to {of - 1}: got {part}")
    if not is_real(alpha) or not 1e-3 <= alpha <= 1e6:
        raise InputError(f"alpha is a number from 0.001 to 1000000: got {alpha!r}")
    x, y, rng = _scans(seed)
    x, y = x[_held(x) :], y[_held(x) :]
    if of > len(x) // MIN_ROWS:
        raise InputError(f"{len(x)} rows make at most {len(x) // MIN_ROWS} parts of {MIN_ROWS} rows: got of = {of}")
    rows = np.array_split(np.arange(len(x)), of) if split == "iid" else _dirichlet(y, of, alpha, rng)
    return Dataset(x[rows[part]], y[rows[part]])


def digits_held(seed: int = 0) -> Dataset:
    """The quarter of the scans that no trainer gets, to test with."""
    x, y, _ = _scans(seed)
    return Dataset(x[: _held(x)], y[: _held(x)])


def _held(rows: np.ndarray) -> int:
    return len(rows) // 4


def _scans(seed: int) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    """All scans in the seed's order: (1797, 64) float32 from 0 to 1, and (1797,) int64."""
    check_integer("seed", seed, 0)
    images, labels = _read_scans()
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(images))
    return (images[order] / 16).astype(np.float32), labels[order].astype(np.int64), rng


@cache
def _read_scans() -> tuple[np.ndarray, np.ndarray]:
    """(1797, 64) from 0 to 16, and the labels. Not to be written to: they are read once a process."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise InputError(f"the digits need scikit-learn ({error}): pip install 'zkmarket[demo]'") from error
    pixels, labels = load_digits(return_X_y=True)
    return pixels, labels


def _dirichlet(labels: np.ndarray, of: int, alpha: float, rng: np.random.Generator) -> list[np.ndarray]:
    """Rows of each part. A part with too few takes random ones from the largest."""
    parts: list[list[int]] = [[] for _ in range(of)]
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        cuts = np.rint(np.cumsum(rng.dirichlet(np.full(of, alpha)))[:-1] * len(rows)).astype(int)
        for part, piece in zip(parts, np.split(rows, cuts), strict=True):
            part.extend(piece.tolist())
    while len(smallest := min(parts, key=len)) < MIN_ROWS:
        largest = max(parts, key=len)
        smallest.append(largest.pop(int(rng.integers(len(largest)))))
    return [np.sort(part) for part in parts]
