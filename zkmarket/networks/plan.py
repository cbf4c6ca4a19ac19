"""What a plan is made of: tensors, linear parts, sizes and limits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from ..circuits.plan import Term

LOSSES = ("cross-entropy", "mse")
WITNESS_SALTS = 8
TEMPERATURE = 14.5
"""R/2τ that is aimed at: e^14.5 is what the largest term of a softmax is told apart from the smallest by."""

NORM_BITS = 12
COMMON_BITS = 8
"""Two branches of different scales are added at 2^8 times the larger one."""

CHALLENGES = ("a", "c", "e", "f", "tie", "ties")
"""Public values that are drawn: powers for samples, channels, rows and columns; what ties a label to its logit."""

NOT_PLACED: dict[str, Any] = {"lengths": (), "columns": {}, "sequence": (), "first_lookup": 0}
"""Where each input and each lookup lies, as long as it is not known; it follows from the rest of a plan."""

LAID_OUT = ("witness", "constants", "public", *NOT_PLACED)
"""Parts of a plan that say where values lie."""

LIMIT = 1 << 200
"""Of every integer of a circuit: far below p/2, so that equations of field elements are equations of integers."""

SMALL = 1 << 56
"""Of every integer between layers, so that the oracle has them in 64 bits, sums of a few of them too."""


@dataclass(frozen=True)
class Sizes:
    """What a compiled utility depends on besides the network.

    Attributes:
        logrows, salts: of the project's updates, and so of its model.
        scale_bits, theta_bits: a parameter of the model is x·2^(s + ρ), of an update x·2^s.
        batch: samples of the validation batch.
        loss: "cross-entropy" or "mse".
        proofs: how many proofs may open the validation batch: as many salts.
        input_bits, activation_bits: scales of inputs and of activations.
        input_bound, theta_bound, target_bound: largest absolute values, in integers.
    """

    logrows: int
    salts: int
    scale_bits: int
    theta_bits: int
    batch: int
    loss: str
    proofs: int
    input_bits: int
    activation_bits: int
    input_bound: int
    theta_bound: int
    target_bound: int = 0


@dataclass(frozen=True)
class Tensor:
    """Integers at a scale, each at most `bound` in absolute value; those of one sample have at most this length, as a
    vector."""

    index: int
    shape: tuple[int, ...]
    scale: float
    bound: int
    length: int
    positive: bool = False


@dataclass(frozen=True)
class Linear:
    """A sum of terms that is not computed in the circuit but checked; with what a stage would do to it."""

    terms: tuple[Term, ...]
    shape: tuple[int, ...]
    scale: float
    bound: int
    length: int
    relu: bool = False
    pool: tuple[int, int] | None = None
    exact: bool = False

    @property
    def result(self) -> tuple[int, ...]:
        if self.pool is None:
            return self.shape
        return self.shape[0], self.shape[1] // self.pool[0], self.shape[2] // self.pool[1]


def root(square: int) -> int:
    """⌈√square⌉."""
    return math.isqrt(square - 1) + 1 if square else 0


def longest(bound: int, count: int, length: int) -> int:
    """Length of so many integers within `bound` that have at most this length."""
    return min(length, root(count * bound * bound))


def full(shape: Sequence[int]) -> tuple[int, int, int]:
    """(channels, height, width), each 1 where there is none."""
    channels, height, width = [*shape, 1, 1][:3]
    return channels, height, width


@cache
def exponentials(base: float, bound: int) -> np.ndarray:
    """E(x) = round(b^x) for x = −R/2..R/2 − 1, int64: what ezkl's table of an exponential with this base holds."""
    return np.rint(np.power(np.float64(base), np.arange(-bound, bound, dtype=np.float64))).astype(np.int64)
