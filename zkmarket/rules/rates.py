"""How far a round moves the model: learning rates in billionths, and the integer weight that follows from one."""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt

RATE_UNIT = 10**9
"""A learning rate is in billionths, here and on chain."""

MOST_THETA_BITS = 32
"""ρ at most, here and on chain: the model's scale is 2^ρ times the updates'."""

FINEST = 64
"""ρ is chosen so that w is at least this: rounding it then changes no learning rate by more than 1/128."""


def weight(rate: int, accepted: int, bits: int) -> int:
    """w = 2^ρ · rate / n, rounded half up: what one unit of the sum of the accepted updates moves the model.

    Args:
        rate: in billionths.
        accepted: n, at least 1.
        bits: ρ.
    """
    unit = accepted * RATE_UNIT
    return ((rate << (bits + 1)) + unit) // (2 * unit)


def longest_step(rate: int, most: int, bits: int, beta: int) -> int:
    """What a round can move one parameter at most, in the model's units: w·n·√β, w·n being at most 2^ρ·rate + n/2.

    Args:
        most: trainers of a round.
        beta: its norm bound: no entry of an accepted update is beyond its root.
    """
    return ((rate << bits) // RATE_UNIT + most // 2 + 1) * isqrt(beta)


def theta_bits_for(rates: Sequence[int], most: int) -> int:
    """ρ for a project: the least with which w is at least `FINEST` for every learning rate that moves anything.

    Args:
        rates: in billionths.
        most: trainers of a round.
    """
    slowest = min((rate for rate in rates if rate), default=RATE_UNIT)
    enough = FINEST * most * RATE_UNIT
    return next((bits for bits in range(MOST_THETA_BITS) if slowest << bits >= enough), MOST_THETA_BITS)
