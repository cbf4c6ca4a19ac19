"""What the direct circuits compute, as integers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...build import Manifest
from ...errors import RuleError
from ...rules import MIN_ACCEPTED
from .. import settlement
from ..settlement import Outcome

MAX_WEIGHT = (1 << 16) - 1
"""A weight is small: sums of N·MAX_WEIGHT·T are integers far below p."""

OUTPUTS = ("committed", "opened")


@dataclass(frozen=True)
class Rule:
    """How a coordinate's N values become one: ``mean``, ``median`` or ``trimmed:t=T``."""

    name: str
    trim: int = 0

    @classmethod
    def parse(cls, text: str) -> Rule:
        match = re.fullmatch(r"mean|median|trimmed:t=([0-9]{1,4})", text.replace(" ", ""))
        if not match:
            raise RuleError(f"unknown aggregation: got {text!r}, wanted mean, median or trimmed:t=T")
        return cls("trimmed", int(match[1])) if match[1] else cls(match[0])

    def __str__(self) -> str:
        return f"trimmed:t={self.trim}" if self.name == "trimmed" else self.name

    def check(self, n: int) -> None:
        """Raise RuleError unless the rule is defined for n updates. Nothing is ever clamped."""
        if n < MIN_ACCEPTED:
            raise RuleError(f"an aggregate needs at least {MIN_ACCEPTED} updates, or it reveals them: got N={n}")
        if self.name == "trimmed" and not 1 <= self.trim <= (n - 1) // 2:
            raise RuleError(f"trimmed needs 1 <= t and N > 2t: got N={n}, t={self.trim}")
        if self.name not in ("mean", "median", "trimmed") or (self.trim and self.name != "trimmed"):
            raise RuleError(f"unknown aggregation: got {self}")

    def divisor(self, n: int, weights: Sequence[int] | None = None) -> int:
        """What the result is to be divided by: Σ w, 1, or N − 2t."""
        if self.name == "mean":
            return sum(weights or [1] * n)
        return 1 if self.name == "median" else n - 2 * self.trim


# ---------------------------------------------------------------- the oracles


def combine_updates(rule: Rule, updates: np.ndarray, weights: Sequence[int] | None = None) -> np.ndarray:
    """The definition: (N, D) integers to (D,) integers.

    mean: Σ_i w_i u_ik (weights 1 where none are given). median: the ⌈N/2⌉-th smallest of a coordinate's values, which
    for even N is the lower of the two in the middle. trimmed: the sum of the values without the t smallest
    and the t largest (Yin et al. 2018). Sums, not quotients: `Rule.divisor` says by what to divide.
    """
    n = len(updates)
    rule.check(n)
    updates = np.asarray(updates, np.int64)
    if rule.name == "mean":
        total: np.ndarray = np.asarray([1] * n if weights is None else weights, np.int64) @ updates
        return total
    ordered: np.ndarray = np.sort(updates, axis=0)
    if rule.name == "median":
        median: np.ndarray = ordered[(n + 1) // 2 - 1]
        return median
    return np.asarray(ordered[rule.trim : n - rule.trim].sum(axis=0))


def decide(manifest: Manifest, updates: np.ndarray, beta: int) -> Outcome:
    """The decision on (N, D) integer updates: their Gram matrix in Python integers, then settlement's oracle."""
    rows = [[int(v) for v in update] for update in updates]
    gram = [[sum(a * b for a, b in zip(u, v, strict=True)) for v in rows] for u in rows]
    return settlement.decide(manifest, gram, beta)


def check_weights(weights: Sequence[int], n: int) -> None:
    """Raise RuleError unless these are N small weights of which at least three are not 0."""
    if len(weights) != n or any(type(w) is not int or not 0 <= w <= MAX_WEIGHT for w in weights):
        raise RuleError(f"weights are {n} integers from 0 to {MAX_WEIGHT}: got {list(weights)[:8]}")
    if sum(w > 0 for w in weights) < MIN_ACCEPTED:
        raise RuleError(
            f"at least {MIN_ACCEPTED} weights are not 0, or the sum reveals updates: got {list(weights)[:8]}"
        )
