"""Scores and pay on small games worked out by hand; tests/rules/test_score_laws.py has the laws."""

from __future__ import annotations

import pytest

from zkmarket.errors import RuleError
from zkmarket.rules import GAMES, SCORES, check_score, raw_scores, shares
from zkmarket.rules.scores import scores

pytestmark = pytest.mark.unit

# u_1 = (2, 0), u_2 = (1, 1), u_3 = (−1, 0), u_4 = (0, 5)
GRAM = [[4, 2, -2, 0], [2, 2, -1, 5], [-2, -1, 1, 0], [0, 5, 0, 25]]


def test_shapley_is_the_inner_product_with_the_aggregate():
    """Accepted: the first three, so Agg = (2, 1)."""
    assert raw_scores(GRAM, [1, 1, 1, 0], "shapley") == [4, 3, -2, 0]
    assert scores(GRAM, [1, 1, 1, 0], "shapley") == [4, 3, 0, 0]
    assert 4 + 3 - 2 == 2 * 2 + 1 * 1  # efficiency: ‖Agg‖²


def test_leave_one_out_is_the_loss_of_squared_norm():
    """Without u_1 the aggregate is (0, 1), without u_2 (1, 0), without u_3 (3, 1)."""
    assert raw_scores(GRAM, [1, 1, 1, 0], "leave-one-out") == [5 - 1, 5 - 1, 5 - 10, 0]
    assert scores(GRAM, [1, 1, 1, 0], "leave-one-out") == [4, 4, 0, 0]


@pytest.mark.parametrize("kind", GAMES)
def test_a_rejected_update_neither_scores_nor_counts(kind: str):
    three = [row[:3] for row in GRAM[:3]]
    assert scores(GRAM, [1, 1, 1, 0], kind) == [*scores(three, [1, 1, 1], kind), 0]
    assert scores(GRAM, [1, 1, 1, 1], kind)[1] > scores(GRAM, [1, 1, 1, 0], kind)[1]  # once accepted, it does
    assert scores(GRAM, [0, 0, 0, 0], kind) == [0, 0, 0, 0]


def test_another_score_is_refused():
    for kind in ("", "Shapley", "utility"):
        with pytest.raises(RuleError, match="unknown score: got .*, wanted one of shapley, leave-one-out"):
            check_score(kind)
        with pytest.raises(RuleError, match="unknown score"):
            raw_scores(GRAM, [1, 1, 1, 1], kind)
    assert [check_score(kind) for kind in SCORES] == list(SCORES)


# ---------------------------------------------------------------- pay


def test_shares_are_floors_and_the_rest_is_dust():
    assert shares(100, [1, 1, 1]) == ([33, 33, 33], 1)
    assert shares(100, [2, 0, 1]) == ([66, 0, 33], 1)
    assert shares(9, [2, 0, 1]) == ([6, 0, 3], 0)
    assert shares(1, [5, 5]) == ([0, 0], 1)
    assert shares(0, [5, 5]) == ([0, 0], 0)


def test_all_scores_zero_split_equally():
    assert shares(100, [0, 0, 0]) == ([33, 33, 33], 1)
    assert shares(100, [0, 0, 1]) == ([0, 0, 100], 0)


def test_shares_are_exact_where_floats_are_not():
    """A reward of 10^27 wei and scores of 63 bits: a float would be off by millions of wei."""
    big = (1 << 63) - 1
    paid, dust = shares(10**27, [big, big - 1, 1])
    assert paid == [10**27 * big // (2 * big), 10**27 * (big - 1) // (2 * big), 10**27 // (2 * big)]
    assert dust == 10**27 - sum(paid)


def test_a_negative_reward_is_refused():
    with pytest.raises(RuleError, match="not negative: got -1"):
        shares(-1, [1, 1])


def test_a_negative_score_is_refused():
    with pytest.raises(RuleError, match="not negative: got 10 and -1"):
        shares(10, [-1, 2])
