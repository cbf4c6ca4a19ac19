"""Pay of a round whose scores are losses: a floor for all who are accepted, and the rest by score."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import RuleError
from .rates import RATE_UNIT


def pay(
    reward: int, mask: Sequence[int], scores: Sequence[int], floor: int, min_accepted: int = 1
) -> tuple[list[int], int]:
    """What each slot gets, and the dust, which is the owner's. A contract does the same, with the same divisions.

    With n accepted, each of them gets ⌊F/n⌋ + ⌊(reward − F)·score/Σ score⌋, F = ⌊reward·floor/10^9⌋. Where all scores
    are 0, or n is below the least, they get ⌊reward/n⌋; where n is 0, all who were admitted get as much. So an owner,
    who chose the batch, gets nothing back but dust, unless it trains itself: then all of it but the others' part of F.

    Args:
        reward: in wei.
        mask: whether each admitted slot is accepted.
        scores: one a slot, not negative; of who is not accepted, 0.
        floor: φ, the part of the reward that is shared equally, in billionths.
        min_accepted: with fewer nothing is scored.
    """
    accepted, total = sum(map(bool, mask)), sum(scores)
    if reward < 0 or min(scores) < 0 or not 0 <= floor <= RATE_UNIT:
        raise RuleError(
            f"a reward and scores are not negative, a floor is from 0 to 10^9: got {reward}, {min(scores)}, {floor}"
        )
    if len(scores) != len(mask) or any(score and not bit for score, bit in zip(scores, mask, strict=True)):
        raise RuleError(f"only who is accepted has a score: got {list(scores)} and mask {list(mask)}")
    if accepted == 0:
        paid = [reward // len(mask)] * len(mask)
    elif accepted < min_accepted or total == 0:
        paid = [reward // accepted * bool(bit) for bit in mask]
    else:
        shared = reward * floor // RATE_UNIT
        paid = [
            (shared // accepted + (reward - shared) * score // total) * bool(bit)
            for bit, score in zip(mask, scores, strict=True)
        ]
    return paid, reward - sum(paid)
