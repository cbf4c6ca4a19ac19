"""Scores: what each accepted update contributed, as non-negative integers, and the pay that follows.

Closed forms over the Gram matrix, for the game v(S) = ‖Σ_{i∈S} u_i‖² over the accepted set A:

- Shapley: φ_i = Σ_{j∈A} G_ij = <u_i, Agg>. Efficiency: Σ_{i∈A} φ_i = ‖Agg‖² before clipping at 0.
- Leave-one-out: v(A) − v(A∖i) = 2 φ_i − G_ii.

Proof of the first: v is a sum over pairs, and a pair's Shapley value is split evenly.
Rejected updates score 0, negative scores are clipped to 0.
"""

from __future__ import annotations

from collections.abc import Sequence

from .errors import RuleError
from .rules import Gram

SCORES = ("shapley", "leave-one-out")


def check_score(name: str) -> str:
    if name not in SCORES:
        raise RuleError(f"unknown score: got {name!r}, wanted one of {', '.join(SCORES)}")
    return name


def raw_scores(gram: Gram, mask: Sequence[int], kind: str) -> list[int]:
    """Scores of the accepted before clipping; 0 for the rejected."""
    check_score(kind)
    accepted = [j for j, bit in enumerate(mask) if bit]
    phi = [sum(int(gram[i][j]) for j in accepted) for i in range(len(gram))]
    if kind == "leave-one-out":
        phi = [2 * phi[i] - int(gram[i][i]) for i in range(len(gram))]
    return [value if bit else 0 for value, bit in zip(phi, mask, strict=True)]


def scores(gram: Gram, mask: Sequence[int], kind: str) -> list[int]:
    return [max(0, value) for value in raw_scores(gram, mask, kind)]


def shares(reward: int, score: Sequence[int]) -> tuple[list[int], int]:
    """Split a reward (wei) by score: floor(reward · score_i / Σ score), and the dust that is left.

    If every score is 0 the reward is split equally among the admitted, who are all the slots of a
    round: it must not go back to the owner, who could cause it.
    """
    if reward < 0 or min(score) < 0:
        raise RuleError(f"rewards and scores are not negative: got {reward} and {min(score)}")
    total = sum(score)
    weights = list(score) if total else [1] * len(score)
    paid = [reward * weight // sum(weights) for weight in weights]
    return paid, reward - sum(paid)
