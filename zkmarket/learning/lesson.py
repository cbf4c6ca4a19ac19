"""What a trainer is given in a round, and what a way of learning is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

TRAINING = ("epochs", "batch", "optimiser", "rate", "momentum", "loss", "seed", "device")
"""Fields of `Training` that a trainer chooses, as its settings and options name them."""


@dataclass(frozen=True)
class Lesson:
    """What local training starts from.

    Attributes:
        theta: (D,) float64, the global model.
        last: (D,) float64, mean update of the last round that moved the model; None before there is one.
        folder: of this round and this update alone, where what training has come to may be kept; None: nowhere.
    """

    round: int
    theta: np.ndarray
    last: np.ndarray | None
    folder: Path | None = None


Learn = Callable[[Lesson], np.ndarray]
"""Local training: a lesson in, an update (D,) out. The data stay inside."""
