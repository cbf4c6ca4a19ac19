"""Filters over a Gram matrix: exact integer oracles, and the bounds that their circuits must hold.

The oracles are written from the papers, not from the circuit (circuits/settlement.py), and must agree
with it in every bit. A Gram matrix here is an N×N matrix of Python ints, G_ij = <u_i, u_j>, without
the mask's row. Where a rule compares with a vector that is no trainer's (the owner's root update, the last
aggregate), that is a `ReferenceProducts`. No oracle divides or takes a root: both sides are squared and multiplied
out, signs first. See circuits/README.md for the relation that is proven.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from ..errors import RuleError

Gram = Sequence[Sequence[int]]

MIN_ACCEPTED = 3
"""With two accepted updates each of the two learns the other's from the aggregate; with one, all do."""

MAX_NUMERATOR, MAX_DENOMINATOR = 4096, 1000
"""Of λ and τ: their squares are exact as the float32 constants of an ONNX file."""

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
class ReferenceProducts:
    """What a rule knows of a vector R that is no trainer's: G_RR, and G_iR = <u_i, R> of every trainer."""

    norm: int
    inner: tuple[int, ...]

    @classmethod
    def absent(cls, n: int) -> ReferenceProducts:
        """The zero vector, which stands for a reference that a round does not have."""
        return cls(0, (0,) * n)


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


def cosine(gram: Gram, root: ReferenceProducts, tau: Fraction) -> list[int]:
    """Whose cosine with the root update is at least τ = a/b (Cao et al. 2021): G_iR >= 0, b²·G_iR² >= a²·G_ii·G_RR.

    FLTrust weighs by the clipped cosine; here it is a threshold, and weights are the score's affair. Without a
    root update, R = 0, everybody passes; a zero update does.
    """
    a, b = tau.numerator**2, tau.denominator**2
    return [
        int(inner >= 0 and b * inner * inner >= a * norm * root.norm)
        for inner, norm in zip(root.inner, squared_norms(gram), strict=True)
    ]


def accepted(gram: Gram, rule: Filter, beta: int, penalty: int, root: ReferenceProducts | None = None) -> list[int]:
    """The accepted mask, one 0 or 1 an update: every part of the filter, in its order."""
    rule.check(len(gram))
    within = [int(norm <= beta) for norm in squared_norms(gram)]
    mask = multi_krum(gram, rule, beta, penalty) if rule.m else within
    if rule.sigma is not None:
        mask = three_sigma(gram, mask, within, rule.sigma)
    if rule.tau is not None:
        passed = cosine(gram, root or ReferenceProducts.absent(len(gram)), rule.tau)
        mask = [bit & other for bit, other in zip(mask, passed, strict=True)]
    return mask


def median_squared_norm(gram: Gram) -> int:
    """ν: the lower median of the squared norms, from which the next β follows."""
    return sorted(squared_norms(gram))[(len(gram) - 1) // 2]


def next_beta(beta: int, nu: int, kappa: int, beta_min: int, beta_max: int) -> int:
    """Next round's norm bound: κ·ν clamped to [β/2, 2β] and to [β_min, β_max] (Andrew et al. 2021).

    Args: kappa: κ in thousandths, as the contract has it.
    """
    target = kappa * nu // 1000
    return min(max(target, beta // 2, beta_min), 2 * beta, beta_max)
