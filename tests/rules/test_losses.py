"""Scores from losses: the games of zkmarket/utility play the same, and who changes nothing has nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zkmarket.errors import RuleError
from zkmarket.rules import BY_LOSS, LARGEST_LOSS, due_losses, loss_scores
from zkmarket.utility import Method, play

pytestmark = pytest.mark.unit

LOSS = st.one_of(st.integers(0, 1000), st.sampled_from([LARGEST_LOSS, LARGEST_LOSS + 1, (1 << 120) - 1]))


def slots(coalition: int) -> tuple[int, ...]:
    return tuple(slot for slot in range(1, 65) if coalition >> slot - 1 & 1)


@given(st.sampled_from(BY_LOSS), st.lists(st.integers(0, 1), min_size=3, max_size=5).filter(any), st.data())
def test_a_game_says_the_same(kind: str, mask: list[int], data: st.DataObject) -> None:
    losses = {coalition: data.draw(LOSS) for coalition in due_losses(kind, mask)}
    players = [slot for slot, bit in enumerate(mask, start=1) if bit]
    game = play(Method(kind), players, bytes(32), {slots(one): loss for one, loss in losses.items()})
    assert not game.missing and {slots(one) for one in losses} == set(game.due)
    found = loss_scores(kind, mask, losses)
    assert found == [game.score(slot) for slot in range(1, len(mask) + 1)]
    assert max(found) < 1 << 63


def test_the_formulas() -> None:
    assert loss_scores("loo", [1, 0, 1, 1], {0b1101: 5, 0b1100: 9, 0b1001: 5, 0b0101: 2}) == [4, 0, 0, 0]
    two = {0b00: 10, 0b01: 6, 0b10: 9, 0b11: 3}  # alone 4 and 1, after the other 6 and 3
    assert loss_scores("shapley", [1, 1, 0], two) == [10, 4, 0]


def test_every_loss_that_is_due_and_no_other() -> None:
    whole = dict.fromkeys(due_losses("loo", [1, 1, 1]), 7)
    for wrong in ({one: 7 for one in whole if one != 0b011}, whole | {0b001: 7}):
        with pytest.raises(RuleError, match="missing or too many: 1?1"):
            loss_scores("loo", [1, 1, 1], wrong)
    with pytest.raises(RuleError, match="loo or shapley losses: got 'gtg'"):
        due_losses("gtg", [1, 1, 1])
