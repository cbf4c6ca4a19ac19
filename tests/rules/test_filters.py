"""Multi-Krum against the paper, the norm bound inside the ranking, what is refused, and the next β."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.domains import domain_of
from tests.support.tiers import examples
from zkmarket import rules
from zkmarket.errors import DomainError, RuleError
from zkmarket.rules import (
    MIN_ACCEPTED,
    SIGMA_TRAINERS,
    Filter,
    MultiKrum,
    RuleSet,
    accepted,
    krum_scores,
    largest_beta,
    median_squared_norm,
    most_attackers,
    multi_krum,
    next_beta,
    norm_bound,
)

pytestmark = pytest.mark.unit


NO_BOUND = 1 << 62
PENALTY = 1 << 63


def gram_of(updates) -> list[list[int]]:
    wide = np.asarray(updates).astype(object)
    return (wide @ wide.T).tolist()


def mask_of(updates, f: int, m: int, beta: int = NO_BOUND, penalty: int = PENALTY) -> list[int]:
    return multi_krum(gram_of(updates), MultiKrum(f, m), beta, penalty)


def paper_scores(vectors: np.ndarray, f: int) -> list[float]:
    """Blanchard, El Mhamdi, Guerraoui, Stainer, NeurIPS 2017, section 4, word by word.

    "For any i ≠ j, we denote by i → j the fact that V_j belongs to the n − f − 2 closest vectors to V_i.
    Then, we define for each worker i, the score s(i) = Σ_{i→j} ‖V_i − V_j‖²."
    """
    n = len(vectors)
    scores = []
    for i in range(n):
        others = [j for j in range(n) if j != i]
        closest = sorted(others, key=lambda j: np.linalg.norm(vectors[i] - vectors[j]))[: n - f - 2]
        scores.append(sum(float(np.linalg.norm(vectors[i] - vectors[j])) ** 2 for j in closest))
    return scores


VECTORS = st.integers(3, 9).flatmap(
    lambda n: st.tuples(
        st.lists(st.lists(st.integers(-50, 50), min_size=4, max_size=4), min_size=n, max_size=n),
        st.integers(0, (n - 3) // 2),
        st.integers(3, n),
    )
)


# ---------------------------------------------------------------- the paper


@examples(300)
@given(VECTORS)
def test_multi_krum_is_the_papers(case: tuple[list[list[int]], int, int]):
    """ "Multi-Krum selects the m vectors of smallest score"; equal scores at the edge are all selected here."""
    vectors, f, m = case
    expected = paper_scores(np.array(vectors, float), f)
    assert krum_scores(gram_of(vectors), f) == pytest.approx(expected)
    chosen = sorted(expected)[:m]
    mask = mask_of(vectors, f, m)
    for score, bit in zip(expected, mask, strict=True):
        assert bit == (score <= chosen[-1] * (1 + 1e-9) + 1e-9)
    assert sum(mask) >= m


def test_an_outlier_is_rejected_and_its_honest_twin_is_not():
    honest = [[10, 10], [11, 10], [10, 11], [11, 11], [9, 10]]
    assert mask_of([*honest, [-10, -10]], 1, 5) == [1, 1, 1, 1, 1, 0]
    assert mask_of([*honest, [10, 9]], 1, 6) == [1, 1, 1, 1, 1, 1]


def test_ties_at_the_edge_are_all_accepted():
    """Four corners of a square have equal scores; three are wanted, four are taken."""
    corners = [[0, 0], [0, 2], [2, 0], [2, 2]]
    assert mask_of(corners, 0, 3) == [1, 1, 1, 1]
    assert mask_of([*corners[:3], [3, 3]], 0, 3) == [1, 1, 1, 0]


def test_distances_are_squared_once():
    """0, 1, 3 and 6 on a line: the two nearest of 0 are at 1 and 9."""
    assert rules.distances(gram_of([[0], [1], [3], [6]]))[0] == [0, 1, 9, 36]
    assert krum_scores(gram_of([[0], [1], [3], [6]]), 0) == [1 + 9, 1 + 4, 4 + 9, 9 + 25]


# ---------------------------------------------------------------- the norm bound


SHORT = [[3, 1], [2, 2], [1, 3]]
LONG = [[30, 30]] * 4  # four clones: distances of 0 among them, the best scores of all
BETA = 10


def test_long_clones_do_not_win_the_ranking():
    updates = [*SHORT, *LONG]
    assert min(krum_scores(gram_of(updates), 2)[:3]) > max(krum_scores(gram_of(updates), 2)[3:])
    assert mask_of(updates, 2, 3, BETA) == [1, 1, 1, 0, 0, 0, 0]


def test_a_bound_applied_only_afterwards_would_void_the_round():
    """Without the penalty the clones take the selection, then fail the bound: nobody is left."""
    assert sum(mask_of([*SHORT, *LONG], 2, 3, BETA, penalty=0)) == 0


def test_too_few_short_updates_do_not_let_long_ones_in():
    assert mask_of([*SHORT, *LONG], 2, 5, BETA) == [1, 1, 1, 0, 0, 0, 0]
    assert mask_of(LONG, 0, 3, BETA) == [0, 0, 0, 0]


def test_the_bound_itself_is_within():
    updates = [[3, 1], [3, 1], [3, 1]]
    assert mask_of(updates, 0, 3, beta=10) == [1, 1, 1]
    assert mask_of(updates, 0, 3, beta=9) == [0, 0, 0]


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(("n", "f"), [(2, 0), (4, 1), (3, 1), (6, 2), (10, 4), (0, 0)])
def test_n_must_exceed_2f_plus_2(n: int, f: int):
    reason = rf"multi-krum needs N > 2f \+ 2: got N={n}, f={f}$"
    with pytest.raises(RuleError, match=reason):
        MultiKrum(f, 3).check(n)
    with pytest.raises(RuleError, match=reason):  # nor does the oracle clamp
        multi_krum(gram_of([[i] for i in range(n)]) if n else [], MultiKrum(f, 3), NO_BOUND, PENALTY)
    MultiKrum(f, 3).check(2 * f + 3)


@pytest.mark.parametrize("m", [-1, 0, 1, 2, 8])
def test_m_is_from_3_to_n(m: int):
    with pytest.raises(RuleError, match=f"multi-krum needs 3 <= m <= N: got m={m}, N=7"):
        MultiKrum(2, m).check(7)
    for allowed in (3, 7):
        MultiKrum(2, allowed).check(7)


def test_a_negative_f_is_refused():
    with pytest.raises(RuleError, match="multi-krum needs f >= 0: got f=-1"):
        MultiKrum(-1, 3).check(5)


@pytest.mark.parametrize("n", range(3, 40))
def test_the_default_is_legal_and_bears_as_many_as_krum_can(n: int):
    for rule in (Filter.default(n), Filter.krum(n)):
        rule.check(n)
        assert MIN_ACCEPTED <= rule.m <= n - rule.f  # what the factory takes
        with pytest.raises(RuleError, match="N > 2f"):
            MultiKrum(rule.f + 1, 3).check(n)
    assert Filter.krum(n) == MultiKrum(rule.f, n - rule.f)
    assert Filter.default(n).only_krum == (n > SIGMA_TRAINERS)


@pytest.mark.parametrize("n", range(5, 17))
def test_the_default_rejects_what_krum_rejects_and_spares_the_honest(n: int):
    """f attackers send the opposite; then nobody attacks, and Multi-Krum alone still rejects f."""
    rng = np.random.default_rng(n)
    common = rng.integers(-50, 51, 400)
    updates = [[int(v) for v in common + rng.integers(-100, 101, 400)] for _ in range(n)]
    f = most_attackers(n)
    attacked = [*updates[f:], *([-v for v in update] for update in updates[:f])]
    for rule, rejected in ((Filter.krum(n), f), (Filter.default(n), 0)):
        assert sum(accepted(gram_of(updates), rule, NO_BOUND, PENALTY)) == n - rejected
        assert accepted(gram_of(attacked), rule, NO_BOUND, PENALTY) == [1] * (n - f) + [0] * f


def test_a_model_too_large_for_the_default_is_told_of_multi_krum():
    reason = (
        r"deviation' is 2\^1\d\d, wanted at most 2\^120: lower .* or --beta-max,"
        r" or do without three-sigma: multi-krum:f=6,m=10$"
    )
    numbers = (16, 10**5, 4092, 10**5 * 4092**2)
    with pytest.raises(DomainError, match=reason):
        domain_of(*numbers, Filter.default(16), "shapley", 12)
    domain_of(*numbers, Filter.krum(16), "shapley", 12)
    domain_of(*numbers[:3], 2**35, Filter.default(16), "shapley", 12)
    largest = largest_beta(RuleSet(16, 10**5, 4096, 0, Filter.default(16), "shapley"))
    domain_of(16, 10**5, 4096, largest, Filter.default(16), "shapley", 12)
    with pytest.raises(DomainError, match=reason):
        domain_of(16, 10**5, 4096, 2 * largest, Filter.default(16), "shapley", 12)
    assert largest_beta(RuleSet(16, 10**5, 4096, 0, Filter.krum(16), "shapley")) == norm_bound(10**5, 4096)
    with pytest.raises(DomainError, match=r"a score can reach 2\^66"):  # whatever the bound on accepted norms
        largest_beta(RuleSet(8, 1 << 24, 1 << 19, 0, Filter.krum(8), "shapley"))


def test_parse_reads_what_str_writes():
    assert MultiKrum.parse("multi-krum:f=2,m=5") == MultiKrum(2, 5)
    assert MultiKrum.parse(" multi-krum: f=2, m=5 ") == MultiKrum(2, 5)
    assert str(MultiKrum(2, 5)) == "multi-krum:f=2,m=5"


@pytest.mark.parametrize(
    "text",
    ["", "krum", "krum:f=1,m=3", "multi-krum", "multi-krum:m=5,f=2", "multi-krum:f=-1,m=3", "multi-krum:f=1.5,m=3"]
    + ["multi-krum:f=1,m=3,x=1", "Multi-Krum:f=1,m=3", "multi-krum:f=1,m=3\n", "multi-krum:f=\u0661,m=3"]
    + [f"multi-krum:f={'9' * 5000},m=3"],
)
def test_another_filter_is_refused(text: str):
    with pytest.raises(RuleError, match=r"unknown filter: got .* wanted multi-krum:f=F,m=M"):
        MultiKrum.parse(text)


@pytest.mark.parametrize(
    ("text", "rule", "canonical"),
    [
        ("norm", Filter(), "norm"),
        ("norm,cosine:tau=0.1", Filter(tau=Fraction(1, 10)), "norm,cosine:tau=1/10"),
        ("norm,multi-krum:f=2,m=5", Filter(2, 5), "multi-krum:f=2,m=5"),
        (
            "multi-krum:f=1,m=3,three-sigma:lambda=6/4",
            Filter(1, 3, Fraction(3, 2)),
        )
        + ("multi-krum:f=1,m=3,three-sigma:lambda=3/2",),
        (
            "norm, multi-krum:f=1,m=3, three-sigma:lambda=3, cosine:tau=0.125",
            Filter(1, 3, Fraction(3), Fraction(1, 8)),
        )
        + ("multi-krum:f=1,m=3,three-sigma:lambda=3,cosine:tau=1/8",),
        ("multi-krum:f=1,m=3,cosine:tau=0", Filter(1, 3, tau=Fraction(0)), "multi-krum:f=1,m=3,cosine:tau=0"),
    ],
)
def test_parts_in_their_order(text: str, rule: Filter, canonical: str):
    assert Filter.parse(text) == rule
    assert str(rule) == canonical
    assert Filter.parse(canonical) == rule
    rule.check(7)


@pytest.mark.parametrize(
    "text",
    ["cosine:tau=0.1", "norm,three-sigma:lambda=3", "norm,norm", "cosine:tau=0.1,norm", "norm,cosine:tau=-1", "norm,"]
    + ["multi-krum:f=1,m=3,cosine:tau=0.1,three-sigma:lambda=3", "norm,cosine:tau=0.1234", "norm,cosine:tau=1e-1"]
    + ["norm,cosine:tau=.1", "norm,cosine:tau=\u0661"],
)
def test_parts_in_another_order_or_spelling_are_refused(text: str):
    with pytest.raises(RuleError, match="unknown filter"):
        Filter.parse(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("multi-krum:f=1,m=0", "3 <= m <= N"),
        ("multi-krum:f=1,m=3,three-sigma:lambda=0", "lambda > 0"),
        ("multi-krum:f=1,m=3,three-sigma:lambda=4097", "at most 4096 by at most 1000"),
        ("multi-krum:f=1,m=3,three-sigma:lambda=1/1001", "at most 4096 by at most 1000"),
        ("norm,cosine:tau=1.001", "0 <= tau <= 1"),
        ("norm,cosine:tau=1/0", "denominator is not 0"),
    ],
)
def test_numbers_that_no_rule_has_are_refused(text: str, reason: str):
    with pytest.raises(RuleError, match=reason):
        Filter.parse(text).check(7)


def test_a_filter_of_parts_without_krum_needs_three_trainers():
    with pytest.raises(RuleError, match="at least 3 trainers"):
        Filter().check(2)
    with pytest.raises(RuleError, match="multi-krum needs 3 <= m"):
        Filter(sigma=Fraction(3)).check(5)
    Filter().check(3)


# ---------------------------------------------------------------- ν and the next β


def test_the_median_is_the_lower_one():
    norms = [9, 1, 4, 16]
    assert median_squared_norm(gram_of([[3], [1], [2], [4]])) == sorted(norms)[1] == 4
    assert median_squared_norm(gram_of([[3], [1], [2], [4], [5]])) == 9


@pytest.mark.parametrize(
    ("beta", "nu", "kappa", "expected"),
    [
        (100, 60, 2000, 120),
        (100, 60, 1500, 90),
        (100, 1, 2000, 50),  # not below β/2
        (100, 10**9, 2000, 200),  # not above 2β
        (101, 0, 2000, 50),
        (12, 0, 1000, 10),  # not below β_min
        (900, 900, 2000, 1000),  # not above β_max
        (100, 77, 1000, 77),  # floor
        (100, 77, 1019, 78),
    ],
)
def test_the_next_beta_is_clamped(beta: int, nu: int, kappa: int, expected: int):
    assert next_beta(beta, nu, kappa, beta_min=10, beta_max=1000) == expected
