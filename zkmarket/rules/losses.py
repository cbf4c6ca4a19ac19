"""Scores by the model's own loss, from losses that are known: leave-one-out, and exact Shapley values.

What a contract computes once all are proven; slots are bits, slot 1 lowest. What a coalition's model is, and games that
ask for more, is in zkmarket/utility/games.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import factorial

from ..errors import RuleError

LARGEST_LOSS = 1 << 56
"""A loss beyond counts as this: whoever makes one terrible must not make a score that does not fit a word's part."""

BY_LOSS = ("loo", "shapley")


def due_losses(kind: str, mask: Sequence[int]) -> list[int]:
    """Coalitions whose losses a round is paid by."""
    accepted = sum(1 << slot for slot, bit in enumerate(mask) if bit)
    if kind == "loo":
        return [accepted, *(accepted ^ 1 << slot for slot, bit in enumerate(mask) if bit)]
    if kind == "shapley":
        return [one for one in range(accepted + 1) if one & accepted == one]
    raise RuleError(f"a contract pays by {' or '.join(BY_LOSS)} losses: got {kind!r}")


def loss_scores(kind: str, mask: Sequence[int], losses: Mapping[int, int]) -> list[int]:
    """What each slot is paid by: its value, or 0 where that is negative. Arguments and errors as of `loss_values`."""
    return [max(0, value) for value in loss_values(kind, mask, losses)]


def loss_values(kind: str, mask: Sequence[int], losses: Mapping[int, int]) -> list[int]:
    """What each slot's update takes off the loss, times n! for Shapley values; 0 for who was not accepted.

    Args:
        losses: of coalitions, in units.

    Raises RuleError: one that is due is missing, or one is there that is not due.
    """
    wanted = set(due_losses(kind, mask))
    if wanted != set(losses):
        odd = ", ".join(f"{coalition:b}" for coalition in sorted(wanted ^ set(losses)))
        raise RuleError(f"every loss that is due pays, and no other: coalitions that are missing or too many: {odd}")
    known = {coalition: min(loss, LARGEST_LOSS) for coalition, loss in losses.items()}
    accepted = sum(1 << slot for slot, bit in enumerate(mask) if bit)

    def value(own: int) -> int:
        others = accepted ^ own
        if kind == "loo":
            return known[others] - known[accepted]
        total, most = 0, others.bit_count()
        for coalition in range(others + 1):
            if coalition & others == coalition:
                count = factorial(coalition.bit_count()) * factorial(most - coalition.bit_count())
                total += count * (known[coalition] - known[coalition | own])
        return total

    return [value(1 << slot) if bit else 0 for slot, bit in enumerate(mask)]
