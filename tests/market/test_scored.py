"""Rounds that are paid by losses, as the log tells them, and what their scores are worth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.past import TERMS, TRAINERS, Past, commits, last
from zkmarket.errors import ProofRejected
from zkmarket.market import NO_SCORING, Log, Settled, history, pay_of
from zkmarket.round import Decision, KnownReferences

pytestmark = [pytest.mark.unit, pytest.mark.usefixtures("commits")]
__all__ = ["commits"]  # the fixture


@pytest.fixture
def past() -> Past:
    return Past()


BY_LOSS = replace(TERMS, scoring=replace(NO_SCORING, method=1, floor=250_000_000))


def settled(past: Past, **changes: Any) -> Settled:
    """The last round; in the log of a project that is paid by losses a settlement says nothing of scores."""
    past.started(1)
    past.settled(1, closed=False)
    past.logged[-1].arguments["settlement"].update({"scores": [0, 0, 0], "pay": [0, 0, 0]} | changes)
    return last(Log(tuple(past.logged)).settled())


def scored(past: Past, scores: list[int], pay: list[int]) -> Settled:
    past.log("Scored", round=1, scores=scores, pay=pay, deadline=9)
    return last(Log(tuple(past.logged)).settled())


def test_losses_come_one_by_one_and_then_the_pay(past: Past) -> None:
    one = settled(past)
    assert (one.losses, one.scored, one.scoring_failed) == ((), False, False)
    assert pay_of(BY_LOSS, one) == (0, 0, 0) == one.pay
    past.log("UtilityProven", round=1, coalition=0b111, correct=7, loss=90)
    past.log("UtilityProven", round=2, coalition=0b111, correct=1, loss=1)
    past.log("UtilityProven", round=1, coalition=0b110, correct=6, loss=100)
    one = scored(past, [10, 30, 0], [250 + 562, 250 + 1687, 250])
    assert one.losses == ((0b111, 7, 90), (0b110, 6, 100)) and one.scored and not one.scoring_failed
    assert one.scores == (10, 30, 0) and pay_of(BY_LOSS, one) == one.pay == (812, 1937, 250)


def test_all_zero_and_a_scoring_that_failed_are_shared_by_the_accepted(past: Past) -> None:
    settled(past, mask=0b101)
    past.log("ScoringFailed", round=1, burntWei=5)
    one = scored(past, [0, 0, 0], [1500, 0, 1500])
    assert one.scoring_failed and pay_of(BY_LOSS, one) == one.pay


def test_a_withheld_round_is_not_scored(past: Past) -> None:
    few = replace(BY_LOSS, min_accepted=3)
    one = settled(past, mask=0b011, aggregate=[])
    assert one.withheld and pay_of(few, one) == (1500, 1500, 0)
    assert pay_of(few, replace(one, mask=(0, 0, 0))) == (1000, 1000, 1000)


def test_without_a_method_it_is_as_ever(past: Past) -> None:
    one = settled(past, scores=[3, 1, 0])
    assert pay_of(TERMS, one) == (2250, 750, 0)


LOSSES = {0b111: 100, 0b110: 110, 0b101: 130, 0b011: 90}


@pytest.mark.parametrize(
    ("losses", "scores", "pay", "wrong"),
    [
        (LOSSES, [10, 30, 0], [812, 1937, 250], ""),
        (LOSSES, [10, 30, 0], [812, 1936, 251], "the contract paid"),
        (LOSSES, [0, 0, 0], [1000, 1000, 1000], "the contract logged"),
        (LOSSES, [10, 31, 0], [798, 1951, 250], "the contract logged"),
        ({0b111: 100, 0b110: 110, 0b101: 130}, [10, 30, 0], [812, 1937, 250], "missing or too many: 11"),
    ],
)
def test_what_was_paid_is_checked_again(
    past: Past,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    losses: dict[int, int],
    scores: list[int],
    pay: list[int],
    wrong: str,
) -> None:
    """The settlement's proof says 1 for every accepted update: nobody is paid by that."""
    settled(past)
    for coalition, loss in losses.items():
        past.log("UtilityProven", round=1, coalition=coalition, correct=1, loss=loss)
    one = scored(past, scores, pay)
    decision = Decision(tuple(int(who, 16) for who in TRAINERS), one.mask, (1, 1, 1), one.nu, one.aggregate)
    monkeypatch.setattr(history, "verify_round", lambda *_, **__: decision)
    monkeypatch.setattr(history, "check_digests", lambda *_: None)
    monkeypatch.setattr(past, "terms", lambda: BY_LOSS)
    monkeypatch.setattr(past, "round_proof", lambda *_: SimpleNamespace(commitments=()), raising=False)
    monkeypatch.setattr(past, "references", lambda *_: KnownReferences(None), raising=False)
    mine = past.history(tmp_path, None)
    if wrong:
        with pytest.raises(ProofRejected, match=wrong):
            mine.verify(one, mine.log())
    else:
        assert mine.verify(one, mine.log()) == decision
