"""Laws of the filter, the scores and the pay: brute-force games, axioms, equivariance, conservation."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations, permutations
from math import factorial, isqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.tiers import examples
from zkmarket.rules import (
    GAMES,
    ROOT_BITS,
    SCORES,
    Domain,
    Filter,
    MultiKrum,
    ReferenceProducts,
    RuleSet,
    accepted,
    krum_scores,
    median_squared_norm,
    multi_krum,
    raw_scores,
    shares,
    squared_norms,
    three_sigma,
)
from zkmarket.rules.scores import scores

pytestmark = pytest.mark.unit

D, Q = 3, 60
Updates = list[list[int]]


def updates(smallest: int = 1, largest: int = 6) -> st.SearchStrategy[Updates]:
    value = st.integers(-Q, Q - 1)
    return st.lists(st.lists(value, min_size=D, max_size=D), min_size=smallest, max_size=largest)


def gram_of(vectors: Updates) -> list[list[int]]:
    return [[sum(a * b for a, b in zip(u, v, strict=True)) for v in vectors] for u in vectors]


def value(vectors: Updates, coalition) -> int:
    """v(S) = ‖Σ_{i∈S} u_i‖²."""
    total = [sum(vectors[i][k] for i in coalition) for k in range(D)]
    return sum(x * x for x in total)


def shapley_by_orders(vectors: Updates) -> list[Fraction]:
    """Shapley 1953: the mean marginal contribution over all orders of arrival."""
    n = len(vectors)
    total = [Fraction(0)] * n
    for order in permutations(range(n)):
        for at, player in enumerate(order):
            total[player] += value(vectors, order[: at + 1]) - value(vectors, order[:at])
    return [t / factorial(n) for t in total]


def shapley_by_coalitions(vectors: Updates) -> list[Fraction]:
    """The same as a sum over coalitions, weighted |S|!(n − |S| − 1)!/n!."""
    n = len(vectors)
    out = []
    for player in range(n):
        others = [i for i in range(n) if i != player]
        out.append(
            sum(
                Fraction(factorial(size) * factorial(n - size - 1), factorial(n))
                * (value(vectors, (*coalition, player)) - value(vectors, coalition))
                for size in range(n)
                for coalition in combinations(others, size)
            )
        )
    return out


# ---------------------------------------------------------------- the games


@examples(60)
@given(updates(largest=5))
def test_the_closed_form_is_the_shapley_value(vectors: Updates):
    closed = raw_scores(gram_of(vectors), [1] * len(vectors), "shapley")
    assert closed == shapley_by_orders(vectors) == shapley_by_coalitions(vectors)


@examples(100)
@given(updates())
def test_the_closed_form_is_leave_one_out(vectors: Updates):
    everybody = range(len(vectors))
    expected = [value(vectors, everybody) - value(vectors, [j for j in everybody if j != i]) for i in everybody]
    assert raw_scores(gram_of(vectors), [1] * len(vectors), "leave-one-out") == expected


@examples(60)
@given(updates(smallest=2, largest=5), st.data())
def test_the_game_is_played_by_the_accepted_only(vectors: Updates, data: st.DataObject):
    mask = data.draw(st.lists(st.integers(0, 1), min_size=len(vectors), max_size=len(vectors)))
    accepted = [u for u, bit in zip(vectors, mask, strict=True) if bit]
    found = raw_scores(gram_of(vectors), mask, "shapley")
    assert [score for score, bit in zip(found, mask, strict=True) if bit] == shapley_by_orders(accepted)
    assert [score for score, bit in zip(found, mask, strict=True) if not bit] == [0] * mask.count(0)


# ---------------------------------------------------------------- axioms


@examples(100)
@given(updates())
def test_efficiency_before_clipping(vectors: Updates):
    grand = value(vectors, range(len(vectors)))
    assert sum(raw_scores(gram_of(vectors), [1] * len(vectors), "shapley")) == grand
    assert sum(scores(gram_of(vectors), [1] * len(vectors), "shapley")) >= grand


@pytest.mark.parametrize("kind", SCORES)
@examples(50)
@given(vectors=updates())
def test_symmetry(kind: str, vectors: Updates):
    """Two equal updates score the same."""
    doubled = [*vectors, vectors[0]]
    found = raw_scores(gram_of(doubled), [1] * len(doubled), kind)
    assert found[0] == found[-1]


@pytest.mark.parametrize("kind", [kind for kind in SCORES if kind != "equal"])
@examples(50)
@given(vectors=updates())
def test_a_null_player_gets_nothing_and_changes_nothing(kind: str, vectors: Updates):
    with_null = [*vectors, [0] * D]
    found = raw_scores(gram_of(with_null), [1] * len(with_null), kind)
    assert found == [*raw_scores(gram_of(vectors), [1] * len(vectors), kind), 0]


@pytest.mark.parametrize("kind", SCORES)
@examples(100)
@given(vectors=updates(smallest=3), data=st.data())
def test_mask_and_scores_do_not_depend_on_the_order_of_slots(kind: str, vectors: Updates, data: st.DataObject):
    n = len(vectors)
    rule = MultiKrum(data.draw(st.integers(0, (n - 3) // 2)), data.draw(st.integers(3, n)))
    beta = data.draw(st.integers(0, D * Q * Q))
    order = data.draw(st.permutations(range(n)))
    penalty = Domain.of(RuleSet(n, D, Q, beta, rule, kind), 8).penalty

    gram, moved = gram_of(vectors), gram_of([vectors[i] for i in order])
    mask, moved_mask = multi_krum(gram, rule, beta, penalty), multi_krum(moved, rule, beta, penalty)
    assert moved_mask == [mask[i] for i in order]
    assert krum_scores(moved, rule.f) == [krum_scores(gram, rule.f)[i] for i in order]
    assert scores(moved, moved_mask, kind) == [scores(gram, mask, kind)[i] for i in order]
    assert median_squared_norm(moved) == median_squared_norm(gram)


@examples(100)
@given(updates(smallest=3), st.data())
def test_an_accepted_update_is_always_within_beta(vectors: Updates, data: st.DataObject):
    n = len(vectors)
    rule = MultiKrum(data.draw(st.integers(0, (n - 3) // 2)), data.draw(st.integers(3, n)))
    beta = data.draw(st.integers(0, D * Q * Q))
    gram = gram_of(vectors)
    mask = multi_krum(gram, rule, beta, Domain.of(RuleSet(n, D, Q, beta, rule, "shapley"), 8).penalty)
    within = [gram[i][i] <= beta for i in range(n)]
    assert all(inside for inside, bit in zip(within, mask, strict=True) if bit)
    assert sum(mask) >= min(rule.m, sum(within))  # those within are ranked before all others


@examples(50)
@given(updates(smallest=3), st.integers(0, D * Q * Q))
def test_the_oracles_are_exact_beyond_64_bits(vectors: Updates, beta: int):
    """2^40 times as long: the same mask, every score 2^80 times as large, to the last bit."""
    rule = MultiKrum(0, 3)
    gram = gram_of(vectors)
    scaled = [[entry << 80 for entry in row] for row in gram]
    mask = multi_krum(gram, rule, beta, 1 << 30)
    assert multi_krum(scaled, rule, beta << 80, 1 << 110) == mask
    assert krum_scores(scaled, 0) == [score << 80 for score in krum_scores(gram, 0)]
    for kind in GAMES:
        assert scores(scaled, mask, kind) == [score << 80 for score in scores(gram, mask, kind)]


# ---------------------------------------------------------------- references


def along(vectors: Updates, reference: list[int]) -> ReferenceProducts:
    inner = tuple(sum(a * b for a, b in zip(u, reference, strict=True)) for u in vectors)
    return ReferenceProducts(sum(x * x for x in reference), inner)


def vector(low: int = -Q, high: int = Q - 1) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(low, high), min_size=D, max_size=D)


masks = st.lists(st.integers(0, 1), min_size=6, max_size=6)


@examples(100)
@given(updates(), masks, vector(), vector())
def test_root_scores_are_the_shapley_value_of_a_linear_game(vectors: Updates, mask, root, other):
    """v(S) = <Σ_{i∈S} u_i, root>: efficiency and linearity, over the accepted."""
    gram, mask = gram_of(vectors), mask[: len(vectors)]

    def score(reference: list[int]) -> list[int]:
        return raw_scores(gram, mask, "root", root=along(vectors, reference))

    total = [sum(u[k] for u, bit in zip(vectors, mask, strict=True) if bit) for k in range(D)]
    assert sum(score(root)) == sum(a * b for a, b in zip(total, root, strict=True))
    both = [a + b for a, b in zip(score(root), score(other), strict=True)]
    assert score([a + b for a, b in zip(root, other, strict=True)]) == both


@examples(100)
@given(updates(), masks, vector(), st.integers(-5, 5))
def test_what_resends_the_last_aggregate_scores_nothing(vectors: Updates, mask, last, times: int):
    """A multiple of P scores 0; the others score what they do with their part orthogonal to P, times ‖P‖²."""
    vectors = [*vectors, [times * x for x in last]]
    mask = [*mask[: len(vectors) - 1], 1]
    p = along(vectors, last)
    found = raw_scores(gram_of(vectors), mask, "novel", last=p)
    if p.norm == 0:
        assert found == raw_scores(gram_of(vectors), mask, "shapley")
        return
    assert found[-1] == 0
    rest = [
        [Fraction(x) - Fraction(g * y, p.norm) for x, y in zip(u, last, strict=True)]
        for u, g in zip(vectors, p.inner, strict=True)
    ]
    expected = raw_scores_exact(rest, mask)
    assert found == [p.norm * e for e in expected]


def raw_scores_exact(vectors, mask) -> list[Fraction]:
    """<u_i, Σ_{j accepted} u_j> in fractions."""
    total = [sum(u[k] for u, bit in zip(vectors, mask, strict=True) if bit) for k in range(D)]
    return [sum(a * b for a, b in zip(u, total, strict=True)) * bit for u, bit in zip(vectors, mask, strict=True)]


@examples(100)
@given(updates(smallest=2), masks, st.integers(2, 9))
def test_cosine_shapley_is_the_cosine_with_the_aggregate(vectors: Updates, mask, times: int):
    """‖Agg‖·cos, to 2^-16; it does not depend on an update's length while the aggregate is the same."""
    n = len(vectors)
    mask = [1, *mask[1:n]]
    found = scores(gram_of(vectors), mask, "cosine-shapley")
    total = np.sum([u for u, bit in zip(vectors, mask, strict=True) if bit], axis=0)
    for u, bit, score in zip(vectors, mask, found, strict=True):
        length = float(np.linalg.norm(u))
        exact = max(0.0, float(np.dot(u, total)) / length) if bit and length else 0.0
        assert score / 2**ROOT_BITS == pytest.approx(exact, abs=2 / 2**ROOT_BITS)
    # the same direction and the same aggregate: one update is longer, another takes the difference back
    longer = [[times * x for x in vectors[0]], *vectors[1:], [(1 - times) * x for x in vectors[0]]]
    moved = scores(gram_of(longer), [*mask, 1], "cosine-shapley")
    assert moved[:n] == pytest.approx(found, abs=1)


def test_scores_of_orthogonal_updates_in_closed_form():
    """Lengths 3, 4, 12 along three axes, all accepted; P along the second."""
    vectors = [[3, 0, 0], [0, 4, 0], [0, 0, 12]]
    gram, mask = gram_of(vectors), [1, 1, 1]
    root, last = along(vectors, [1, 1, -1]), along(vectors, [0, 5, 0])
    assert scores(gram, mask, "shapley") == scores(gram, mask, "leave-one-out") == [9, 16, 144]
    assert scores(gram, mask, "equal") == [1, 1, 1]
    assert scores(gram, mask, "root", root=root) == [3, 4, 0]
    assert scores(gram, mask, "novel", last=last) == [25 * 9, 0, 25 * 144]
    assert scores(gram, mask, "novel") == [9, 16, 144], "without a last aggregate it is Shapley's"
    assert scores(gram, mask, "root") == [0, 0, 0], "and without a root update nobody has earned more than another"
    assert scores(gram, mask, "cosine-shapley") == [length << ROOT_BITS for length in (3, 4, 12)]
    assert scores(gram_of([[1, 0, 0], [1, 1, 0], [0, 0, 0]]), mask, "cosine-shapley") == [
        2 << ROOT_BITS,
        isqrt(9 * 4**ROOT_BITS // 2),
        0,
    ]


# ---------------------------------------------------------------- filters


@st.composite
def filters(draw: st.DrawFn, n: int) -> Filter:
    ratio = st.sampled_from([Fraction(1, 10), Fraction(1), Fraction(1, 3), Fraction(0)])
    tau = draw(st.one_of(st.none(), ratio))
    if draw(st.booleans()):
        return Filter(tau=tau)
    sigma = draw(st.one_of(st.none(), st.sampled_from([Fraction(3), Fraction(1, 2), Fraction(7, 5)])))
    return Filter(draw(st.integers(0, (n - 3) // 2)), draw(st.integers(3, n)), sigma, tau)


@examples(200)
@given(updates(smallest=3), vector(), vector(), st.data())
def test_filters_and_scores_do_not_depend_on_the_order_of_slots(vectors: Updates, root, last, data: st.DataObject):
    n = len(vectors)
    rule, kind = data.draw(filters(n)), data.draw(st.sampled_from(SCORES))
    assert Filter.parse(str(rule)) == rule
    beta = data.draw(st.integers(0, D * Q * Q))
    order = data.draw(st.permutations(range(n)))

    def decide(moved: Updates) -> tuple[list[int], list[int]]:
        gram, r, p = gram_of(moved), along(moved, root), along(moved, last)
        mask = accepted(gram, rule, beta, 1 << 40, r)
        return mask, scores(gram, mask, kind, r, p)

    mask, score = decide(vectors)
    assert decide([vectors[i] for i in order]) == ([mask[i] for i in order], [score[i] for i in order])
    assert all(v <= beta for v, bit in zip(squared_norms(gram_of(vectors)), mask, strict=True) if bit)


@examples(200)
@given(updates(smallest=3), st.data())
def test_three_sigma_is_a_bound_on_the_distance_from_the_others(vectors: Updates, data: st.DataObject):
    """In floats, from the definition: squared distances from the mean of the others selected, μ and σ of those."""
    n = len(vectors)
    selected = data.draw(st.lists(st.integers(0, 1), min_size=n, max_size=n).filter(lambda bits: sum(bits) > 1))
    within = data.draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
    sigma = data.draw(st.sampled_from([Fraction(1, 2), Fraction(3), Fraction(9, 10)]))
    u, chosen = np.array(vectors, float), np.array(selected, bool)
    others = [np.delete(u, i, 0)[np.delete(chosen, i)].mean(0) for i in range(n)]
    x = ((u - np.array(others)) ** 2).sum(1)
    limit = x[chosen].mean() + float(sigma) * x[chosen].std()
    for bit, inside, value in zip(three_sigma(gram_of(vectors), selected, within, sigma), within, x, strict=True):
        if abs(value - limit) > 1e-6 * (1 + limit):
            assert bit == (inside and value <= limit)


@pytest.mark.parametrize("n", range(3, 10))
def test_three_sigma_over_all_never_rejects_and_over_the_selected_does(n: int):
    """The largest z-score of N values is √(N − 1): whatever one of up to nine sends, it is not 3σ from all of them."""
    rng = np.random.default_rng(n)
    for length in (1, 10, 10**6):
        vectors = [[int(x) for x in rng.integers(-5, 6, D)] for _ in range(n - 1)]
        gram = gram_of([*vectors, [length * 7, 0, 0]])
        assert three_sigma(gram, [1] * n, [1] * n, Fraction(3)) == [1] * n
        if length > 1 and n > 3:
            assert three_sigma(gram, [1] * (n - 1) + [0], [1] * n, Fraction(3)) == [1] * (n - 1) + [0]


def test_three_sigma_does_not_prefer_those_that_make_the_centre():
    """In many dimensions updates are equally far from each other: measured from a mean with them in it, the selected
    are nearer by more than any σ, and nobody else would ever be let in."""
    rng = np.random.default_rng(0)
    vectors = [[int(x) for x in rng.integers(-100, 101, 2000)] for _ in range(8)] + [[300] * 2000]
    selected = multi_krum(gram_of(vectors), Filter(3, 4), 10**9, 1 << 60)
    assert sum(selected) == 4 and selected[-1] == 0
    assert three_sigma(gram_of(vectors), selected, [1] * 9, Fraction(3)) == [1] * 8 + [0]


def test_three_sigma_takes_in_what_krum_did_not_select():
    """It is not a filter of the selection only: who is as near as they are is accepted."""
    vectors = [[12, 0, 0], [10, 3, 0], [12, -3, 0], [7, -1, 0], [-50, 0, 0]]
    krum, both = Filter(1, 3), Filter(1, 3, Fraction(3))
    gram = gram_of(vectors)
    assert sum(accepted(gram, krum, 10**4, 1 << 40)) == 3
    assert accepted(gram, both, 10**4, 1 << 40) == [1, 1, 1, 1, 0]


@examples(200)
@given(updates(smallest=3), vector(), st.sampled_from([Fraction(0), Fraction(1, 10), Fraction(4, 5), Fraction(1)]))
def test_the_cosine_filter_is_a_bound_on_the_angle(vectors: Updates, root, tau: Fraction):
    mask = accepted(gram_of(vectors), Filter(tau=tau), D * Q * Q, 0, along(vectors, root))
    for u, bit in zip(vectors, mask, strict=True):
        lengths = float(np.linalg.norm(u) * np.linalg.norm(root))
        if lengths == 0:
            assert bit == 1
        elif abs(cos := float(np.dot(u, root)) / lengths - float(tau)) > 1e-9:
            assert bit == (cos > 0)


def test_without_a_root_update_everybody_passes_the_cosine():
    vectors = [[1, 2, 3], [-1, -2, -3], [0, 0, 0]]
    rule = Filter(tau=Fraction(1))
    assert accepted(gram_of(vectors), rule, 100, 0) == [1, 1, 1]
    assert accepted(gram_of(vectors), rule, 100, 0, along(vectors, [2, 4, 6])) == [1, 0, 1]
    assert accepted(gram_of(vectors), rule, 100, 0, along(vectors, [2, 4, 7])) == [0, 0, 1]


# ---------------------------------------------------------------- pay


@examples(300)
@given(st.integers(0, 10**30), st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=40))
def test_the_reward_is_conserved(reward: int, score: list[int]):
    paid, dust = shares(reward, score)
    assert sum(paid) + dust == reward
    assert 0 <= dust < len(score)
    total = sum(score)
    weights = score if total else [1] * len(score)
    for pay, weight in zip(paid, weights, strict=True):
        assert 0 <= Fraction(reward * weight, sum(weights)) - pay < 1
