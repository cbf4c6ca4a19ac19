"""Pay with a floor: nothing is lost, nobody else is paid, and what an owner can take back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zkmarket.errors import RuleError
from zkmarket.rules import RATE_UNIT, pay

pytestmark = pytest.mark.unit

QUARTER = RATE_UNIT // 4


@st.composite
def rounds(draw) -> tuple[int, list[int], list[int], int, int]:
    mask = draw(st.lists(st.integers(0, 1), min_size=1, max_size=9))
    score = st.one_of(st.just(0), st.integers(0, (1 << 63) - 1))
    scores = [draw(score) * bit for bit in mask]
    reward = draw(st.one_of(st.integers(0, 50), st.integers(0, 1 << 128)))
    return reward, mask, scores, draw(st.integers(0, RATE_UNIT)), draw(st.integers(1, 9))


@given(rounds())
def test_all_of_the_reward_is_paid_but_dust(given_: tuple) -> None:
    reward, mask, scores, floor, least = given_
    paid, dust = pay(reward, mask, scores, floor, least)
    n = sum(mask)
    assert sum(paid) + dust == reward and 0 <= dust < 2 * len(mask) + 1
    if n:
        assert all(got == 0 for got, bit in zip(paid, mask, strict=True) if not bit)
    for i, one in enumerate(scores):  # who has more gets no less, and the accepted get the floor
        assert all(paid[i] <= paid[j] for j, other in enumerate(scores) if one <= other and mask[i] <= mask[j])
        if mask[i]:
            assert paid[i] >= (reward * floor // RATE_UNIT) // n
    assert 2 * reward.bit_length() == 0 or reward * max(1, *scores) < 1 << 192  # a word of a contract holds it


def test_by_hand() -> None:
    assert pay(1000, (1, 1, 0, 1), (3, 0, 0, 1), QUARTER) == ([83 + 562, 83, 0, 83 + 187], 2)
    assert pay(1000, (1, 1, 0, 1), (3, 0, 0, 1), 0) == ([750, 0, 0, 250], 0)
    assert pay(1000, (1, 1, 0, 1), (3, 0, 0, 1), RATE_UNIT) == ([333, 333, 0, 333], 1)
    assert pay(100, (0, 0, 0), (0, 0, 0), QUARTER) == ([33, 33, 33], 1)


def test_rejected_are_not_paid_when_nothing_improves() -> None:
    """All scores 0: were it split among the admitted, whoever spoils a round would be paid for it."""
    assert pay(900, (1, 1, 0, 1), (0, 0, 0, 0), QUARTER) == ([300, 300, 0, 300], 0)


def test_what_moves_no_model_is_not_scored() -> None:
    """Too few accepted: the aggregate is withheld, and whatever is said of losses decides nothing."""
    assert pay(900, (1, 0, 1), (5, 0, 0), QUARTER, min_accepted=3) == ([450, 0, 450], 0)
    assert pay(900, (1, 0, 1), (5, 0, 0), 0, min_accepted=2) == ([900, 0, 0], 0)


@pytest.mark.parametrize("floor, back", [(0, 1.0), (QUARTER, 1 - 0.25 * 7 / 8)])
def test_what_an_owner_with_a_batch_of_its_own_takes_back(floor: int, back: float) -> None:
    """Its batch is of what one trainer alone has, which is the owner: the others' updates score nothing."""
    paid, dust = pay(10**18, (1,) * 8, (0,) * 7 + (12345,), floor)
    assert (paid[-1] + dust) / 10**18 == pytest.approx(back)


def test_what_is_no_round() -> None:
    for given_ in (
        (-1, (1,), (0,), 0),
        (1, (1,), (-1,), 0),
        (1, (1,), (0,), -1),
        (1, (1,), (0,), RATE_UNIT + 1),
    ):
        with pytest.raises(RuleError, match=r"not negative, a floor is from 0 to 10\^9"):
            pay(*given_)
    for mask, scores in (((1, 0), (1, 1)), ((1, 1), (1,))):
        with pytest.raises(RuleError, match="only who is accepted has a score"):
            pay(1, mask, scores, 0)
