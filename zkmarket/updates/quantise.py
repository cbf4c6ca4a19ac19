"""Float updates to integers and back. Floats end in this file; after it there are integers only.

A value is x·2^s rounded half to even, a signed integer of at most b bits: −2^(b−1) <= q < 2^(b−1).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import floor, isqrt, log2

import numpy as np

from ..errors import InputError, demand
from .layout import flat_floats


@dataclass(frozen=True)
class FixedPoint:
    """Scale 2^scale_bits, values of at most value_bits bits, sign included."""

    scale_bits: int
    value_bits: int

    def __post_init__(self) -> None:
        if not 2 <= self.value_bits <= 26 or not -32 <= self.scale_bits <= 64:
            raise InputError(
                f"fixed point wants 2 <= value bits <= 26 and -32 <= scale bits <= 64:"
                f" got {self.value_bits} and {self.scale_bits}"
            )

    @property
    def low(self) -> int:
        return -(1 << (self.value_bits - 1))

    @property
    def high(self) -> int:
        return (1 << (self.value_bits - 1)) - 1

    def __str__(self) -> str:
        step = 2.0**-self.scale_bits
        return f"values from {self.low * step:.6g} to {self.high * step:.6g} in steps of 2^-{self.scale_bits}"


@dataclass(frozen=True)
class QuantisedUpdate:
    """Integers, and what was lost on the way.

    Attributes:
        values: (D,) int32.
        clipped: factor that the update was scaled by to meet the norm bound (1.0: not at all).
        saturated: how many values were cut to the representable range.
        max_error: largest |q/2^s − x| over the parameters.
        relative_error: ‖q/2^s − x‖ / ‖x‖; 0 for a zero update.
    """

    values: np.ndarray = field(repr=False)
    fixed_point: FixedPoint
    clipped: float
    saturated: int
    max_error: float
    relative_error: float

    def report(self) -> dict[str, float | int]:
        return {
            "params": len(self.values),
            "clipped": self.clipped,
            "saturated": self.saturated,
            "max_error": self.max_error,
            "relative_l2_error": self.relative_error,
        }


def quantise(
    update: np.ndarray, fixed_point: FixedPoint, beta: int | None = None, saturate: bool = False
) -> QuantisedUpdate:
    """Quantise one flat update.

    Args:
        update: (D,) floats, D >= 1, all finite.
        fixed_point: scale and width.
        beta: bound on the squared norm *of the integers*; a longer update is scaled down to meet it.
        saturate: cut a value that does not fit, and count it.

    Raises:
        InputError: wrong shape or type, NaN or infinity, or without `saturate` a value out of range.
    """
    demand(fixed_point, FixedPoint, "the fixed point")
    exact = flat_floats(update)
    with np.errstate(over="ignore"):
        scaled = np.ldexp(exact, fixed_point.scale_bits)
    if not np.isfinite(scaled).all():
        raise InputError("the update is too large for its scale: build with a lower --scale-bits")
    factor = 1.0 if beta is None else _clip_factor(scaled, beta)
    scaled = scaled * factor
    rounded = np.rint(scaled)
    outside = int(np.count_nonzero((rounded < fixed_point.low) | (rounded > fixed_point.high)))
    if outside and not saturate:
        worst = float(np.abs(exact).max())
        raise InputError(
            f"{outside} of {len(rounded)} values do not fit {fixed_point.value_bits} bits: the largest is {worst:.6g},"
            f" wanted {fixed_point}; build with --scale-bits {_fitting(worst, fixed_point)}, which holds them, or cut"
            " them: --saturate, in Python saturate=True"
        )
    values = np.clip(rounded, fixed_point.low, fixed_point.high).astype(np.int32)
    if beta is not None and squared_norm(values) > beta:  # rounding went up: towards zero never does
        values = np.clip(np.trunc(scaled), fixed_point.low, fixed_point.high).astype(np.int32)
    error = dequantise(values, fixed_point) - exact
    largest = float(np.abs(exact).max()) or 1.0  # both norms in its units, so that neither leaves float64
    length = float(np.linalg.norm(exact / largest))
    return QuantisedUpdate(
        values,
        fixed_point,
        factor,
        outside,
        float(np.abs(error).max()),
        float(np.linalg.norm(error / largest)) / length if length else 0.0,
    )


def _fitting(largest: float, fixed_point: FixedPoint) -> int:
    """The most scale bits at which values up to the largest fit."""
    return floor(log2(fixed_point.high / largest))


def dequantise(values: np.ndarray, fixed_point: FixedPoint) -> np.ndarray:
    """Integers to float64; exact, since both fit."""
    demand(fixed_point, FixedPoint, "the fixed point")
    return np.ldexp(np.asarray(values, np.float64), -fixed_point.scale_bits)


MODEL_LIMIT = 1 << 62
"""What no integer of a model reaches in absolute value: a sum of two is still an int64."""


def model_integers(parameters: np.ndarray, bits: int) -> np.ndarray:
    """A model's (D,) floats to int64 at scale 2^bits, rounded half to even: the same on every machine.

    Raises InputError: wrong shape or type, NaN or infinity, or a value that does not fit.
    """
    exact = flat_floats(parameters)
    with np.errstate(over="ignore"):
        scaled = np.rint(np.ldexp(exact, bits))
    largest = float(np.abs(scaled).max())
    if not largest < MODEL_LIMIT:
        raise InputError(
            f"the model's largest parameter, {float(np.abs(exact).max()):.6g}, does not fit 62 bits at scale 2^{bits}:"
            " take fewer theta_bits or scale_bits"
        )
    return np.asarray(scaled.astype(np.int64))


def model_floats(values: np.ndarray, bits: int) -> np.ndarray:
    """A model's integers at scale 2^bits as float64: exact below 2^53, else the nearest."""
    return np.asarray(np.ldexp(values.astype(np.float64), -bits))


def squared_norm(values: np.ndarray) -> int:
    """‖values‖² as an exact integer."""
    wide = np.asarray(values).astype(np.int64)
    return sum(int(np.dot(part, part)) for part in np.array_split(wide, max(1, len(wide) >> 10)))


def _clip_factor(scaled: np.ndarray, beta: int) -> float:
    """What to scale by to meet ‖·‖² <= β after rounding: 1 if it is met already.

    Rounding adds at most √D/2 to the norm; room is left for it where that leaves anything.
    """
    if beta < 0:
        raise InputError(f"the norm bound is not negative: got {beta}")
    largest = float(np.abs(scaled).max())
    if largest < 2**26 and squared_norm(np.rint(scaled)) <= beta:
        return 1.0
    norm = largest * float(np.linalg.norm(scaled / largest))
    if not np.isfinite(norm):
        raise InputError("the update's norm is too large to clip: build with a lower --scale-bits")
    bound = float(isqrt(beta))
    room = bound - np.sqrt(len(scaled)) / 2
    return min(1.0, (room if room > bound / 2 else bound) / norm)
