"""How large every number of a round can get, so that no circuit wraps around."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace

from ..crypto import P
from ..errors import DomainError
from .filters import Filter

SCORE_LIMIT = 1 << 64
"""The contract keeps scores and ν in 64 bits."""

INTEGER_LIMIT = 1 << 120
"""ezkl computes decompositions in 128-bit signed integers; the margin covers differences and doubling."""


DIGITS_LIMIT = 126
"""Most bits of all digits together: noise is drawn over all of them and must be one of those integers."""

ROOT_BITS = 16
"""A cosine-shapley score is in units of 2^-16: at least 16 bits of it are right whatever the updates' scale."""


@dataclass(frozen=True)
class RuleSet:
    """The rules of a round, and the numbers that they work on.

    Attributes:
        trainers: N. params: D. bound: Q, values are in [−Q, Q). beta_max: the largest bound on a squared norm.
        most_trainers: of how many updates at most the last aggregate is a sum, where the rules compare with it.
    """

    trainers: int
    params: int
    bound: int
    beta_max: int
    filter: Filter
    score: str
    most_trainers: int | None = None

    @property
    def norm_bound(self) -> int:
        return norm_bound(self.params, self.bound)

    @property
    def most(self) -> int:
        return self.trainers if self.most_trainers is None else self.most_trainers


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

    @property
    def cap(self) -> int:
        """What no cosine-shapley score exceeds, a power of two; 0 for another score."""
        return self.bounds.get("score against its cap", 1) >> 1

    @classmethod
    def of(cls, rules: RuleSet, digit_bits: int) -> Domain:
        """Bounds for N updates of squared norm D·Q² at most, which the settlement proves; the last aggregate is a sum
        of at most `most` updates within beta_max."""
        n, beta_max, rule, score, most = rules.trainers, rules.beta_max, rules.filter, rules.score, rules.most
        norm = rules.norm_bound
        within = min(beta_max, norm)
        krum, penalty = (n - rule.f - 2) * 4 * norm, 0
        bounds = {"squared norm against beta": 2 * max(beta_max, norm) + 1}
        if rule.m:
            penalty = 1 << krum.bit_length()  # a power of two, so exact as the float32 constant of an ONNX file
            bounds |= {
                "order of distances": 4 * norm + 1,
                "order of krum scores": krum + penalty + 1,
                "krum score against the m-th": 2 * (krum + penalty) + 1,
            }
        else:
            bounds["order of squared norms"] = norm + 1
        if rule.sigma is not None:
            far = n * n * n * 4 * n * n * within  # c·x_i, and the sum of all x_j
            bounds["distance to the centre against the mean"] = 2 * far + 1
            deviation = max(rule.sigma.denominator**2 * far**2, rule.sigma.numerator**2 * (far // 2 + 1) ** 2)
            bounds["distance to the centre against the deviation"] = 2 * deviation + 1
        if rule.tau is not None:
            bounds["sign of the cosine"] = 2 * norm + 1
            bounds["cosine against tau"] = 2 * rule.tau.denominator**2 * within * norm + 1
        bounds |= score_bounds(n, norm, within, score, most)
        for name, bound in bounds.items():
            if bound > INTEGER_LIMIT:
                raise DomainError(
                    f"bound of {name!r} is 2^{bound.bit_length()}, wanted at most 2^120:"
                    " lower the number of parameters, of trainers, the bits of a value or --beta-max"
                    + (f", or do without three-sigma: {Filter.krum(n)}" if "distance to the centre" in name else "")
                )
        largest = largest_score(n, norm, within, score, most)
        if largest >= SCORE_LIMIT and score != "novel":
            raise DomainError(
                f"a score can reach 2^{largest.bit_length()}, wanted less than 2^64 (the contract's width):"
                " lower the bits of a value, the number of parameters or of trainers"
            )
        if norm >= SCORE_LIMIT:
            raise DomainError(
                f"a squared norm, and so their median ν, can reach D·Q² = 2^{norm.bit_length()}, wanted less than 2^64"
                " (the contract's width): lower the bits of a value or the number of parameters"
            )
        digits = -(-max(bounds.values()).bit_length() // digit_bits)
        return cls(bounds, penalty, digit_bits, digits)


def norm_bound(d: int, q: int) -> int:
    """What no squared norm of d values in [−q, q) exceeds: d·q², rounded up to 24 bits.

    It is a constant of the settlement circuit, and constants of an ONNX file are float32. The contract rounds alike.
    """
    norm = d * q * q
    free = max(0, norm.bit_length() - 24)
    return -(-norm >> free) << free


@functools.cache
def largest_beta(rules: RuleSet) -> int:
    """The largest norm bound that can be settled: D·Q², or with three-sigma in large models a power of two less.

    Its integers grow with the square of the bound, and an honest update is far shorter than D·Q².

    Args:
        rules: their own beta_max counts for nothing.

    Raises DomainError if no bound from D on will do.
    """
    beta, d, refusal = rules.norm_bound, rules.params, None
    while beta >= d:
        try:
            Domain.of(replace(rules, beta_max=beta), 1)
        except DomainError as error:
            refusal, beta = refusal or error, beta // 2
        else:
            return beta
    raise refusal or DomainError(f"a squared norm of {d} parameters reaches {d}: the norm bound cannot")


def largest_score(n: int, norm: int, within: int, score: str, most: int) -> int:
    """What no score exceeds. `norm` bounds every squared norm, `within` that of an update within β.

    novel: φ_i·G_PP − G_iP·<P, Agg> = G_PP·<u_i, Agg> of the parts that are orthogonal to P, and
    ‖P‖² <= most²·within, ‖Agg‖ <= n·√within. cosine-shapley: 2^16·‖Agg‖, as a power of two.
    """
    if score == "equal":
        return 1
    if score == "root":
        return norm
    if score == "novel":
        return n * within * max(1, most * most * within)
    if score == "cosine-shapley":
        return 1 << math.isqrt((n * n * within) << 2 * ROOT_BITS).bit_length()
    return n * norm if score == "shapley" else 2 * n * norm + norm


def score_bounds(n: int, norm: int, within: int, score: str, most: int) -> dict[str, int]:
    """Bounds of what is compared for a score. No field element of cosine-shapley's check wraps."""
    largest = largest_score(n, norm, within, score, most)
    if score == "equal":
        return {}
    if score != "cosine-shapley":
        return {"sign of the score": 2 * largest + 1}
    phi = n * norm
    if (phi << ROOT_BITS) ** 2 + (largest + 1) ** 2 * norm > P // 4:
        raise DomainError(
            "cosine-shapley: a square can exceed the field: lower bits of a value, parameters or trainers"
        )
    return {
        "sign of the score": 2 * phi + 1,
        "score against its cap": 2 * largest + 1,
        "square of the score": 2 * max((2 * largest + 1) * within, norm) + 1,
    }


def score_shift(rules: RuleSet) -> int:
    """How many low bits of a proven score are dropped, so that what is kept is below 2^64: 0 but for ``novel``."""
    norm = rules.norm_bound
    largest = largest_score(rules.trainers, norm, min(rules.beta_max, norm), rules.score, rules.most)
    return max(0, largest.bit_length() - SCORE_LIMIT.bit_length() + 1)
