"""Filters over a Gram matrix: exact integer oracles, and the bounds that their circuits must hold.

The oracles are written from the papers, not from the circuit (circuits/settlement.py), and must agree
with it in every bit. A Gram matrix here is an N×N matrix of Python ints, G_ij = <u_i, u_j>, without
the mask's row. Where a rule compares with a vector that is no trainer's (the owner's root update, the last
aggregate), that is a `Reference`. No oracle divides or takes a root: both sides are squared and multiplied
out, signs first. See circuits/README.md for the relation that is proven.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from .errors import DomainError, RuleError
from .field import P

Gram = Sequence[Sequence[int]]

MIN_ACCEPTED = 3
"""With two accepted updates each of the two learns the other's from the aggregate; with one, all do."""

SCORE_LIMIT = 1 << 64
"""The contract keeps scores and ν in 64 bits."""

INTEGER_LIMIT = 1 << 120
"""ezkl computes decompositions in 128-bit signed integers; the margin covers differences and doubling."""


DIGITS_LIMIT = 126
"""Most bits of all digits together: noise is drawn over all of them and must be one of those integers."""

MAX_NUMERATOR, MAX_DENOMINATOR = 4096, 1000
"""Of λ and τ: their squares are exact as the float32 constants of an ONNX file."""

ROOT_BITS = 16
"""A cosine-shapley score is in units of 2^-16: at least 16 bits of it are right whatever the updates' scale."""

SIGMA = Fraction(5)
"""λ of three-sigma in the default filter (benchmarks/README.md says how it was chosen)."""

SIGMA_TRAINERS = 16
"""The most trainers for which the default filter has three-sigma. It was judged for no more; and its integers grow with
N^10, so that those of 24 trainers hold no model of more than 611 parameters at K = 13 without a lower --beta-max."""

RATIO = r"[0-9]{1,4}(?:\.[0-9]{1,3}|/[0-9]{1,4})?"
FILTER = re.compile(
    r"(?:norm|(?:norm,)?multi-krum:f=([0-9]{1,4}),m=([0-9]{1,4})"
    rf"(?:,three-sigma:lambda=({RATIO}))?)(?:,cosine:tau=({RATIO}))?"
)


def most_attackers(n: int) -> int:
    """The largest f that Multi-Krum is defined for: N > 2f + 2."""
    return max(0, (n - 3) // 2)


def sample_size(n: int) -> int:
    """From how many updates three-sigma measures unless told: ⌊(N + 3)/2⌋, more than half and at most N − f.

    Smaller samples have standard deviations that are small by chance, which rejects honest updates; larger ones leave
    no room for an attacker that comes near.
    """
    return (n + 3) // 2


@dataclass(frozen=True)
class Filter:
    """Who is accepted. Parts in a fixed order; an update must pass all of them.

    - norm: G_ii <= β, always on. Alone (m = 0) it accepts whoever is within.
    - multi-krum:f=F,m=M: Blanchard et al. 2017, with the norm bound inside the ranking (`multi_krum`). Without
      three-sigma it rejects N − M updates every round, honest ones when nobody attacks.
    - three-sigma:lambda=λ: replaces Multi-Krum's selection by whoever is not farther from its centre than the
      selected are from each other's, in the mean plus λ standard deviations (`three_sigma`).
    - cosine:tau=τ: cos(u_i, u_root) >= τ for the owner's root update (Cao et al. 2021, `cosine`).

    ``Filter(f, m)`` is Multi-Krum alone, ``Filter.krum(n)`` that for the most attackers; ``Filter.default(n)`` is what
    a project gets that names none.
    """

    f: int = 0
    m: int = 0
    sigma: Fraction | None = None
    tau: Fraction | None = None

    @classmethod
    def krum(cls, n: int) -> Filter:
        """Multi-Krum alone, for the most attackers that it bears, with m = N − f.

        It accepts the m best and no more: when nobody attacks it rejects f honest updates, every round.
        """
        f = most_attackers(n)
        return cls(f, n - f)

    @classmethod
    def default(cls, n: int) -> Filter:
        """What rejects attackers and spares the honest: three-sigma over a sample of the updates.

        Chosen by benchmarks/README.md, "The default filter". It has Multi-Krum's f, and so bears as many attackers.
        Beyond SIGMA_TRAINERS it is Multi-Krum alone.
        """
        return cls(most_attackers(n), sample_size(n), SIGMA) if n <= SIGMA_TRAINERS else cls.krum(n)

    @classmethod
    def parse(cls, text: str) -> Filter:
        """Read ``norm``, ``multi-krum:f=2,m=5``, ``norm,multi-krum:f=2,m=5,three-sigma:lambda=3,cosine:tau=0.1``."""
        match = FILTER.fullmatch(text.replace(" ", ""))
        if not match:
            raise RuleError(
                f"unknown filter: got {text!r}, wanted multi-krum:f=F,m=M with, if you like, ,three-sigma:lambda=L"
                " after it; or norm; then, if you like, ,cosine:tau=T"
            )
        f, m, sigma, tau = match.groups()
        if m and not int(m):
            raise RuleError(f"multi-krum needs {MIN_ACCEPTED} <= m <= N: got m=0")
        return cls(int(f or 0), int(m or 0), *(None if r is None else _ratio(r) for r in (sigma, tau)))

    def __str__(self) -> str:
        parts = [f"multi-krum:f={self.f},m={self.m}" if self.m else "norm"]
        parts += [f"three-sigma:lambda={self.sigma}"] if self.sigma is not None else []
        parts += [f"cosine:tau={self.tau}"] if self.tau is not None else []
        return ",".join(parts)

    @property
    def only_krum(self) -> bool:
        """Whether it is Multi-Krum and nothing else."""
        return self.m > 0 and self.sigma is None and self.tau is None

    def check(self, n: int) -> None:
        """Raise RuleError unless the rule is defined for n updates. Nothing is ever clamped."""
        if (self.f, self.m) != (0, 0) or self.sigma is not None:
            self._check_krum(n)
        elif n < MIN_ACCEPTED:
            raise RuleError(f"a round has at least {MIN_ACCEPTED} trainers, or its aggregate reveals them: got N={n}")
        for name, value in (("three-sigma: lambda", self.sigma), ("cosine: tau", self.tau)):
            if value is not None and not (value.numerator <= MAX_NUMERATOR and value.denominator <= MAX_DENOMINATOR):
                raise RuleError(
                    f"{name} is a fraction of at most {MAX_NUMERATOR} by at most {MAX_DENOMINATOR}: got {value}"
                )
        if self.sigma is not None and self.sigma <= 0:
            raise RuleError(f"three-sigma needs lambda > 0: got {self.sigma}")
        if self.tau is not None and not 0 <= self.tau <= 1:
            raise RuleError(f"cosine needs 0 <= tau <= 1: got {self.tau}")

    def _check_krum(self, n: int) -> None:
        if self.f < 0:
            raise RuleError(f"multi-krum needs f >= 0: got f={self.f}")
        if n <= 2 * self.f + 2:
            raise RuleError(f"multi-krum needs N > 2f + 2: got N={n}, f={self.f}")
        if not MIN_ACCEPTED <= self.m <= n:
            raise RuleError(
                f"multi-krum needs {MIN_ACCEPTED} <= m <= N: got m={self.m}, N={n}"
                f" (fewer than {MIN_ACCEPTED} accepted updates would reveal each other)"
            )


MultiKrum = Filter
"""The name under which a filter of Multi-Krum alone is made: ``MultiKrum(f, m)``."""


def _ratio(text: str) -> Fraction:
    """A fraction or a decimal, exactly."""
    try:
        return Fraction(text)
    except ZeroDivisionError:
        raise RuleError(f"a fraction's denominator is not 0: got {text}") from None


@dataclass(frozen=True)
class Reference:
    """What a rule knows of a vector R that is no trainer's: G_RR, and G_iR = <u_i, R> of every trainer."""

    norm: int
    inner: tuple[int, ...]

    @classmethod
    def absent(cls, n: int) -> Reference:
        """The zero vector, which stands for a reference that a round does not have."""
        return cls(0, (0,) * n)


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
    def of(
        cls,
        n: int,
        d: int,
        q: int,
        beta_max: int,
        rule: Filter,
        score: str,
        digit_bits: int,
        most: int | None = None,
    ) -> Domain:
        """Bounds for n updates of squared norm D·Q² at most, which the settlement proves; the last aggregate is a sum
        of at most `most` updates within beta_max."""
        norm = norm_bound(d, q)
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
        bounds |= score_bounds(n, norm, within, score, n if most is None else most)
        for name, bound in bounds.items():
            if bound > INTEGER_LIMIT:
                raise DomainError(
                    f"bound of {name!r} is 2^{bound.bit_length()}, wanted at most 2^120:"
                    " lower the number of parameters, of trainers, the bits of a value or --beta-max"
                    + (f", or do without three-sigma: {Filter.krum(n)}" if "distance to the centre" in name else "")
                )
        largest = largest_score(n, norm, within, score, n if most is None else most)
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
def largest_beta(n: int, d: int, q: int, rule: Filter, score: str, most: int | None = None) -> int:
    """The largest norm bound that can be settled: D·Q², or with three-sigma in large models a power of two less.

    Its integers grow with the square of the bound, and an honest update is far shorter than D·Q².

    Raises DomainError if no bound from D on will do.
    """
    beta, refusal = norm_bound(d, q), None
    while beta >= d:
        try:
            Domain.of(n, d, q, beta, rule, score, 1, most)
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


def score_shift(n: int, d: int, q: int, beta_max: int, score: str, most: int | None = None) -> int:
    """How many low bits of a proven score are dropped, so that what is kept is below 2^64: 0 but for ``novel``."""
    norm = norm_bound(d, q)
    largest = largest_score(n, norm, min(beta_max, norm), score, n if most is None else most)
    return max(0, largest.bit_length() - SCORE_LIMIT.bit_length() + 1)


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


def multi_krum(gram: Gram, rule: Filter, beta: int, penalty: int) -> list[int]:
    """Multi-Krum(f, m), Blanchard et al. 2017: the selected, one 0 or 1 an update.

    distance D_ij = G_ii + G_jj − 2 G_ij; score_i = sum of the N − f − 2 smallest D_ij, j ≠ i;
    selected = every update within the norm bound whose score is at most the m-th smallest (ties too).
    An update with G_ii > β has `penalty` added to its score, larger than any true score.
    """
    rule.check(len(gram))
    within = [norm <= beta for norm in squared_norms(gram)]
    ranked = [
        score + (0 if inside else penalty) for score, inside in zip(krum_scores(gram, rule.f), within, strict=True)
    ]
    threshold = sorted(ranked)[rule.m - 1]
    return [int(score <= threshold and inside) for score, inside in zip(ranked, within, strict=True)]


def three_sigma(gram: Gram, selected: Sequence[int], within: Sequence[int], sigma: Fraction) -> list[int]:
    """Who is within β and at most μ + λσ from the centre of the selected A, one-sided.

    An update is measured from the mean of the *other* selected: to a mean that it is part of it is nearer by a
    factor (c − 1)/c, c = |A|, which in many dimensions is more than any σ. In integers:
    x_i = w_i·‖c·u_i − Σ_{j∈A} u_j‖² = w_i·(c²G_ii − 2c Σ_{j∈A} G_ij + Σ_{j,k∈A} G_jk), w_i = c² in A, (c − 1)² outside:
    c²(c − 1)² times the squared distance. μ and σ are the mean and the standard deviation of x over A; with
    S1 = Σ_A x, S2 = Σ_A x² and λ = a/b, x_i <= μ + λσ is c·x_i <= S1, or (c·x_i − S1)²·b² <= a²·(c·S2 − S1²).

    Over A, not over all: the largest z-score of N values is √(N − 1), so that over all N <= 10 nobody is ever more than
    3σ out. And it replaces A: of A itself it could reject nobody of so few.
    """
    chosen = [j for j, bit in enumerate(selected) if bit]
    c = len(chosen)
    total = sum(gram[j][k] for j in chosen for k in chosen)
    far = [c * c * gram[i][i] - 2 * c * sum(gram[i][j] for j in chosen) + total for i in range(len(gram))]
    far = [x * (c * c if bit else (c - 1) ** 2) for x, bit in zip(far, selected, strict=True)]
    s1, s2 = sum(far[j] for j in chosen), sum(far[j] ** 2 for j in chosen)
    beyond = [c * x - s1 for x in far]
    limit = sigma.numerator**2 * (c * s2 - s1 * s1)
    return [
        int(bool(inside) and (y <= 0 or (y * sigma.denominator) ** 2 <= limit))
        for y, inside in zip(beyond, within, strict=True)
    ]


def cosine(gram: Gram, root: Reference, tau: Fraction) -> list[int]:
    """Whose cosine with the root update is at least τ = a/b (Cao et al. 2021): G_iR >= 0, b²·G_iR² >= a²·G_ii·G_RR.

    FLTrust weighs by the clipped cosine; here it is a threshold, and weights are the score's affair. Without a
    root update, R = 0, everybody passes; a zero update does.
    """
    a, b = tau.numerator**2, tau.denominator**2
    return [
        int(inner >= 0 and b * inner * inner >= a * norm * root.norm)
        for inner, norm in zip(root.inner, squared_norms(gram), strict=True)
    ]


def accepted(gram: Gram, rule: Filter, beta: int, penalty: int, root: Reference | None = None) -> list[int]:
    """The accepted mask, one 0 or 1 an update: every part of the filter, in its order."""
    rule.check(len(gram))
    within = [int(norm <= beta) for norm in squared_norms(gram)]
    mask = multi_krum(gram, rule, beta, penalty) if rule.m else within
    if rule.sigma is not None:
        mask = three_sigma(gram, mask, within, rule.sigma)
    if rule.tau is not None:
        passed = cosine(gram, root or Reference.absent(len(gram)), rule.tau)
        mask = [bit & other for bit, other in zip(mask, passed, strict=True)]
    return mask


def median_squared_norm(gram: Gram) -> int:
    """ν: the lower median of the squared norms, from which the next β follows."""
    return sorted(squared_norms(gram))[(len(gram) - 1) // 2]


def next_beta(beta: int, nu: int, kappa: float, beta_min: int, beta_max: int) -> int:
    """Next round's norm bound: κ·ν clamped to [β/2, 2β] and to [β_min, β_max] (Andrew et al. 2021).

    κ is applied as an integer number of thousandths, as a contract would.
    """
    target = round(kappa * 1000) * nu // 1000
    return min(max(target, beta // 2, beta_min), 2 * beta, beta_max)
