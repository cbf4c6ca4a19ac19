"""Scores: what each accepted update contributed, as non-negative integers, and the pay that follows.

Closed forms over the Gram matrix; A are the accepted, Agg = Σ_{j∈A} u_j, φ_i = Σ_{j∈A} G_ij = <u_i, Agg>:

- shapley: φ_i, the Shapley value of the game v(S) = ‖Σ_{i∈S} u_i‖². Efficiency: Σ_{i∈A} φ_i = ‖Agg‖² before
  clipping at 0. Proof: v is a sum over pairs, and a pair's Shapley value is split evenly.
- leave-one-out: v(A) − v(A∖i) = 2 φ_i − G_ii.
- equal: 1. Where pay comes from elsewhere, as from utility proofs.
- root: G_iR = <u_i, u_root>, the Shapley value of the linear game v(S) = <Σ_{i∈S} u_i, u_root>, a first-order drop of
  the loss of the owner's data (its root update, Cao et al. 2021).
- novel: φ_i·G' − G_iP·<P, Agg> with P the last aggregate and G' = G_PP, or 1 where that is 0. It is G_PP·<u_i, Agg> of
  the parts orthogonal to P: what resends P, or any multiple of it, scores 0. The Shapley value of
  v(S) = G_PP·‖part of Σ_{i∈S} u_i orthogonal to P‖². Without P it is shapley.
- cosine-shapley: ⌊2^16·max(0, φ_i)/√G_ii⌋ = ⌊2^16·‖Agg‖·max(0, cos(u_i, Agg))⌋, the cosine gradient Shapley value
  (CGSV) of Xu et al. 2021; ‖Agg‖ is everybody's and cancels in the shares. Two things are not as in the paper: there
  each gradient is normalised before it is aggregated, so that Agg is a mean of unit vectors, and
  what is used is a moving average over the rounds. Here Agg is the sum that is really applied, of one round.

Rejected updates score 0, negative scores are clipped to 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ..errors import RuleError
from .bounds import ROOT_BITS
from .filters import Filter, Gram, ReferenceProducts

GAMES = ("shapley", "leave-one-out")
"""Scores of the trainers' updates alone."""

SCORES = (*GAMES, "equal", "root", "novel", "cosine-shapley")


def check_score(name: str) -> str:
    if name not in SCORES:
        raise RuleError(f"unknown score: got {name!r}, wanted one of {', '.join(SCORES)}")
    return name


def reference_slots(rule: Filter, score: str) -> tuple[str, ...]:
    """The reference vectors that filter and score compare with, in the order of their slots, after the trainers'."""
    root = rule.tau is not None or score == "root"
    return (*(("root",) if root else ()), *(("last",) if score == "novel" else ()))


def raw_scores(
    gram: Gram,
    mask: Sequence[int],
    kind: str,
    root: ReferenceProducts | None = None,
    last: ReferenceProducts | None = None,
) -> list[int]:
    """Scores of the accepted before clipping; 0 for the rejected. cosine-shapley has no negative ones to begin with.

    Args:
        gram: N×N, without references.
        root, last: of the references that the score compares with; None where the round has none.
    """
    check_score(kind)
    n = len(gram)
    accepted = [j for j, bit in enumerate(mask) if bit]
    phi = [sum(int(gram[i][j]) for j in accepted) for i in range(n)]
    root, last = root or ReferenceProducts.absent(n), last or ReferenceProducts.absent(n)
    values: dict[str, Callable[[int], int]] = {
        "shapley": lambda i: phi[i],
        "leave-one-out": lambda i: 2 * phi[i] - int(gram[i][i]),
        "equal": lambda i: 1,
        "root": lambda i: root.inner[i],
        "novel": lambda i: phi[i] * (last.norm or 1) - last.inner[i] * sum(last.inner[j] for j in accepted),
        "cosine-shapley": lambda i: math.isqrt((max(0, phi[i]) << ROOT_BITS) ** 2 // (int(gram[i][i]) or 1)),
    }
    return [values[kind](i) if bit else 0 for i, bit in enumerate(mask)]


def scores(
    gram: Gram,
    mask: Sequence[int],
    kind: str,
    root: ReferenceProducts | None = None,
    last: ReferenceProducts | None = None,
) -> list[int]:
    """Scores as they are proven: clipped at 0. Of a ``novel`` one the contract keeps the high bits."""
    return [max(0, value) for value in raw_scores(gram, mask, kind, root, last)]


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
