"""Filters over a Gram matrix: exact integer oracles, and the bounds that their circuits must hold.

The oracles are written from the papers, not from the circuit (circuits/settlement.py), and must agree
with it in every bit. A Gram matrix here is an N×N matrix of Python ints, G_ij = <u_i, u_j>, without
the mask's row. See circuits/README.md for the relation that is proven.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .errors import DomainError, RuleError

Gram = Sequence[Sequence[int]]

MIN_ACCEPTED = 3
"""With two accepted updates each of the two learns the other's from the aggregate; with one, all do."""

SCORE_LIMIT = 1 << 64
"""The contract keeps scores and ν in 64 bits."""

INTEGER_LIMIT = 1 << 120
"""ezkl computes decompositions in 128-bit signed integers; the margin covers differences and doubling."""


@dataclass(frozen=True)
class MultiKrum:
    """Multi-Krum(f, m), Blanchard et al. 2017, with the norm bound inside the ranking.

    distance D_ij = G_ii + G_jj − 2 G_ij; score_i = sum of the N − f − 2 smallest D_ij, j ≠ i;
    accepted = every update within the norm bound whose score is at most the m-th smallest (ties too).
    An update with G_ii > β has `penalty` added to its score, larger than any true score.
    """

    f: int
    m: int

    @classmethod
    def default(cls, n: int) -> MultiKrum:
        """The most attackers that Krum can bear, and all the others accepted."""
        f = max(0, (n - 3) // 2)
        return cls(f, n - f)

    @classmethod
    def parse(cls, text: str) -> MultiKrum:
        """Read ``multi-krum:f=2,m=5``."""
        match = re.fullmatch(r"multi-krum:f=([0-9]{1,4}),m=([0-9]{1,4})", text.replace(" ", ""))
        if not match:
            raise RuleError(f"unknown filter: got {text!r}, wanted multi-krum:f=F,m=M")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"multi-krum:f={self.f},m={self.m}"

    def check(self, n: int) -> None:
        """Raise RuleError unless the rule is defined for n updates. Nothing is ever clamped."""
        if self.f < 0:
            raise RuleError(f"multi-krum needs f >= 0: got f={self.f}")
        if n <= 2 * self.f + 2:
            raise RuleError(f"multi-krum needs N > 2f + 2: got N={n}, f={self.f}")
        if not MIN_ACCEPTED <= self.m <= n:
            raise RuleError(
                f"multi-krum needs {MIN_ACCEPTED} <= m <= N: got m={self.m}, N={n}"
                f" (fewer than {MIN_ACCEPTED} accepted updates would reveal each other)"
            )


@dataclass(frozen=True)
class Domain:
    """Bounds of every value that the settlement circuit compares, from (N, D, Q) and the filter.

    All are bounds on absolute values; ``digits`` of ``2**digit_bits`` hold the largest of them.
    """

    bounds: dict[str, int]
    penalty: int
    digit_bits: int
    digits: int

    @property
    def bits(self) -> int:
        """Values below 2^bits in absolute value can be compared."""
        return self.digit_bits * self.digits

    @classmethod
    def of(cls, n: int, d: int, q: int, beta_max: int, rule: MultiKrum, score: str, digit_bits: int) -> Domain:
        norm = d * q * q
        distance = 4 * norm
        krum = (n - rule.f - 2) * distance
        penalty = 1 << krum.bit_length()  # a power of two, so exact as the float32 constant of an ONNX file
        contribution = n * norm if score == "shapley" else 2 * n * norm + norm
        bounds = {
            "squared norm against beta": 2 * max(beta_max, norm) + 1,
            "order of distances": distance + 1,
            "order of krum scores": krum + penalty + 1,
            "krum score against the m-th": 2 * (krum + penalty) + 1,
            "sign of the score": 2 * contribution + 1,
        }
        for name, bound in bounds.items():
            if bound > INTEGER_LIMIT:
                raise DomainError(
                    f"bound of {name!r} is 2^{bound.bit_length()}, wanted at most 2^120:"
                    " lower the number of parameters, of trainers, logrows or --beta-max"
                )
        if contribution >= SCORE_LIMIT:
            raise DomainError(
                f"a score can reach 2^{contribution.bit_length()}, wanted less than 2^64 (the contract's width):"
                " lower logrows (values are then smaller), the number of parameters or of trainers"
            )
        digits = -(-max(bounds.values()).bit_length() // digit_bits)
        return cls(bounds, penalty, digit_bits, digits)


def squared_norms(gram: Gram) -> list[int]:
    return [int(gram[i][i]) for i in range(len(gram))]


def distances(gram: Gram) -> list[list[int]]:
    """Squared distances D_ij = ‖u_i − u_j‖²."""
    n = len(gram)
    return [[int(gram[i][i] + gram[j][j] - 2 * gram[i][j]) for j in range(n)] for i in range(n)]


def krum_scores(gram: Gram, f: int) -> list[int]:
    """score_i = Σ of the N − f − 2 smallest squared distances to the others."""
    n = len(gram)
    table = distances(gram)
    return [sum(sorted(table[i][j] for j in range(n) if j != i)[: n - f - 2]) for i in range(n)]


def multi_krum(gram: Gram, rule: MultiKrum, beta: int, penalty: int) -> list[int]:
    """The accepted mask, one 0 or 1 an update."""
    rule.check(len(gram))
    within = [norm <= beta for norm in squared_norms(gram)]
    ranked = [
        score + (0 if inside else penalty) for score, inside in zip(krum_scores(gram, rule.f), within, strict=True)
    ]
    threshold = sorted(ranked)[rule.m - 1]
    return [int(score <= threshold and inside) for score, inside in zip(ranked, within, strict=True)]


def median_squared_norm(gram: Gram) -> int:
    """ν: the lower median of the squared norms, from which the next β follows."""
    return sorted(squared_norms(gram))[(len(gram) - 1) // 2]


def next_beta(beta: int, nu: int, kappa: float, beta_min: int, beta_max: int) -> int:
    """Next round's norm bound: κ·ν clamped to [β/2, 2β] and to [β_min, β_max] (Andrew et al. 2021).

    κ is applied as an integer number of thousandths, as a contract would.
    """
    target = round(kappa * 1000) * nu // 1000
    return min(max(target, beta // 2, beta_min), 2 * beta, beta_max)
