"""The model's commitment, round by round: from the log alone, no aggregate is opened."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..crypto import Point, points_hash
from ..errors import ProofRejected
from ..round import moved_points
from ..rules import weight
from .log import Settled
from .structs import Terms


@dataclass(frozen=True)
class Moved:
    """What a settled round makes of the model's commitment.

    Attributes:
        before: C_Θ in the round.
        after: C_Θ once the round is closed, if it is not claimed.
    """

    settled: Settled
    before: tuple[Point, ...]
    after: tuple[Point, ...]

    @property
    def now(self) -> tuple[Point, ...]:
        """C_Θ since the round was closed, or while it is not."""
        return self.before if self.settled.skipped in (True, None) else self.after


_moved_points = functools.lru_cache(maxsize=1024)(moved_points)  # every look begins with the first round


def model_commitments(terms: Terms, first: Sequence[Point], settled: Sequence[Settled]) -> Iterator[Moved]:
    """C_Θ in every settled round, computed again, and compared with what the contract made of it.

    Args:
        first: commitment of the initial model.
        settled: all settled rounds in order.

    Raises ProofRejected: the contract has another commitment.
    """
    if points_hash(first) != terms.theta:
        raise ProofRejected(
            "the initial model is not the one that the terms commit to: its commitment's hash is"
            f" {points_hash(first).hex()}, wanted {terms.theta.hex()}"
        )
    before = tuple(first)
    for one in settled:
        after = before
        if not one.withheld:
            w = weight(one.rate, sum(one.mask), terms.theta_bits)
            after = _moved_points(before, one.aggregate, w, terms.blinding)
        made = Moved(one, before, after)
        for what, have, want in (("settled", one.theta, after), ("closed", one.closed, made.now)):
            if have not in (None, points_hash(want)):
                raise ProofRejected(
                    f"round {one.round}: as it was {what} the model's commitment is {bytes(have or b'').hex()} on"
                    f" chain, the proven aggregates make {points_hash(want).hex()}"
                )
        yield made
        before = made.now
