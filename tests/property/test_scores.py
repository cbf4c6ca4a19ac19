"""Laws of the filter, the scores and the pay: brute-force games, axioms, equivariance, conservation."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations, permutations
from math import factorial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zkmarket.contribution import SCORES, raw_scores, scores, shares
from zkmarket.rules import Domain, MultiKrum, krum_scores, median_squared_norm, multi_krum

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


@settings(max_examples=60)
@given(updates(largest=5))
def test_the_closed_form_is_the_shapley_value(vectors: Updates):
    closed = raw_scores(gram_of(vectors), [1] * len(vectors), "shapley")
    assert closed == shapley_by_orders(vectors) == shapley_by_coalitions(vectors)


@settings(max_examples=100)
@given(updates())
def test_the_closed_form_is_leave_one_out(vectors: Updates):
    everybody = range(len(vectors))
    expected = [value(vectors, everybody) - value(vectors, [j for j in everybody if j != i]) for i in everybody]
    assert raw_scores(gram_of(vectors), [1] * len(vectors), "leave-one-out") == expected


@settings(max_examples=60)
@given(updates(smallest=2, largest=5), st.data())
def test_the_game_is_played_by_the_accepted_only(vectors: Updates, data: st.DataObject):
    mask = data.draw(st.lists(st.integers(0, 1), min_size=len(vectors), max_size=len(vectors)))
    accepted = [u for u, bit in zip(vectors, mask, strict=True) if bit]
    found = raw_scores(gram_of(vectors), mask, "shapley")
    assert [score for score, bit in zip(found, mask, strict=True) if bit] == shapley_by_orders(accepted)
    assert [score for score, bit in zip(found, mask, strict=True) if not bit] == [0] * mask.count(0)


# ---------------------------------------------------------------- axioms


@settings(max_examples=100)
@given(updates())
def test_efficiency_before_clipping(vectors: Updates):
    grand = value(vectors, range(len(vectors)))
    assert sum(raw_scores(gram_of(vectors), [1] * len(vectors), "shapley")) == grand
    assert sum(scores(gram_of(vectors), [1] * len(vectors), "shapley")) >= grand


@pytest.mark.parametrize("kind", SCORES)
@settings(max_examples=50)
@given(vectors=updates())
def test_symmetry(kind: str, vectors: Updates):
    """Two equal updates score the same."""
    doubled = [*vectors, vectors[0]]
    found = raw_scores(gram_of(doubled), [1] * len(doubled), kind)
    assert found[0] == found[-1]


@pytest.mark.parametrize("kind", SCORES)
@settings(max_examples=50)
@given(vectors=updates())
def test_a_null_player_gets_nothing_and_changes_nothing(kind: str, vectors: Updates):
    with_null = [*vectors, [0] * D]
    found = raw_scores(gram_of(with_null), [1] * len(with_null), kind)
    assert found == [*raw_scores(gram_of(vectors), [1] * len(vectors), kind), 0]


@pytest.mark.parametrize("kind", SCORES)
@settings(max_examples=100)
@given(vectors=updates(smallest=3), data=st.data())
def test_mask_and_scores_do_not_depend_on_the_order_of_slots(kind: str, vectors: Updates, data: st.DataObject):
    n = len(vectors)
    rule = MultiKrum(data.draw(st.integers(0, (n - 3) // 2)), data.draw(st.integers(3, n)))
    beta = data.draw(st.integers(0, D * Q * Q))
    order = data.draw(st.permutations(range(n)))
    penalty = Domain.of(n, D, Q, beta, rule, kind, 8).penalty

    gram, moved = gram_of(vectors), gram_of([vectors[i] for i in order])
    mask, moved_mask = multi_krum(gram, rule, beta, penalty), multi_krum(moved, rule, beta, penalty)
    assert moved_mask == [mask[i] for i in order]
    assert krum_scores(moved, rule.f) == [krum_scores(gram, rule.f)[i] for i in order]
    assert scores(moved, moved_mask, kind) == [scores(gram, mask, kind)[i] for i in order]
    assert median_squared_norm(moved) == median_squared_norm(gram)


@settings(max_examples=100)
@given(updates(smallest=3), st.data())
def test_an_accepted_update_is_always_within_beta(vectors: Updates, data: st.DataObject):
    n = len(vectors)
    rule = MultiKrum(data.draw(st.integers(0, (n - 3) // 2)), data.draw(st.integers(3, n)))
    beta = data.draw(st.integers(0, D * Q * Q))
    gram = gram_of(vectors)
    mask = multi_krum(gram, rule, beta, Domain.of(n, D, Q, beta, rule, "shapley", 8).penalty)
    within = [gram[i][i] <= beta for i in range(n)]
    assert all(inside for inside, bit in zip(within, mask, strict=True) if bit)
    assert sum(mask) >= min(rule.m, sum(within))  # those within are ranked before all others


@settings(max_examples=50)
@given(updates(smallest=3), st.integers(0, D * Q * Q))
def test_the_oracles_are_exact_beyond_64_bits(vectors: Updates, beta: int):
    """2^40 times as long: the same mask, every score 2^80 times as large, to the last bit."""
    rule = MultiKrum(0, 3)
    gram = gram_of(vectors)
    scaled = [[entry << 80 for entry in row] for row in gram]
    mask = multi_krum(gram, rule, beta, 1 << 30)
    assert multi_krum(scaled, rule, beta << 80, 1 << 110) == mask
    assert krum_scores(scaled, 0) == [score << 80 for score in krum_scores(gram, 0)]
    for kind in SCORES:
        assert scores(scaled, mask, kind) == [score << 80 for score in scores(gram, mask, kind)]


# ---------------------------------------------------------------- pay


@settings(max_examples=300)
@given(st.integers(0, 10**30), st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=40))
def test_the_reward_is_conserved(reward: int, score: list[int]):
    paid, dust = shares(reward, score)
    assert sum(paid) + dust == reward
    assert 0 <= dust < len(score)
    total = sum(score)
    weights = score if total else [1] * len(score)
    for pay, weight in zip(paid, weights, strict=True):
        assert 0 <= Fraction(reward * weight, sum(weights)) - pay < 1
