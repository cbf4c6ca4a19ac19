"""The model's commitment by the log alone: what moves it, and a contract or a prospectus that says otherwise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.past import BUILD, MANIFEST, PROSPECTUS, TERMS, Past, aggregate_of, commits, points_of
from zkmarket.errors import OpeningMismatch, ProofRejected
from zkmarket.market import History, SealingKey, model_commitments, points_hash
from zkmarket.round import moved_points

pytestmark = [pytest.mark.unit, pytest.mark.usefixtures("commits")]
__all__ = ["commits"]  # the fixture

READER = SealingKey.fresh()
FIRST = (MANIFEST.blinding,) * MANIFEST.chunks


def step(number: int, before: tuple[tuple[int, int], ...] = FIRST) -> tuple[tuple[int, int], ...]:
    return moved_points(before, points_of(aggregate_of(number)), 171, MANIFEST.blinding)


def test_claimed_and_withheld_rounds_move_no_model(tmp_path: Path) -> None:
    past = Past()
    past.started(1)
    past.settled(1, READER)
    past.started(2)
    past.settled(2, READER, closed=False)
    past.closed(2, skipped=True)
    past.started(3)
    past.withheld(3)
    past.started(4)
    past.settled(4, READER)
    history = past.history(tmp_path, READER)
    log = history.log()
    found = history.moved(log)
    one, four = step(1), step(4, step(1))
    assert [(made.before, made.after, made.now) for made in found] == [
        (FIRST, one, one),
        (one, step(2, one), one),
        (one, one, one),
        (one, four, four),
    ]
    for number, wanted in ((1, FIRST), (2, one), (3, one), (4, one), (5, four)):
        assert history.commitment(log, before=number) == wanted
        assert history.model(log, before=number).points(BUILD) == wanted
    assert np.array_equal(history.model(log).values, 171 * (aggregate_of(1).values + aggregate_of(4).values))


def test_a_round_that_is_not_closed_has_not_moved_the_model(tmp_path: Path) -> None:
    past = Past()
    past.started(1)
    past.settled(1, READER, closed=False)
    history = past.history(tmp_path, READER)
    (made,) = history.moved(history.log())
    assert (made.now, made.after) == (FIRST, step(1)) and history.commitment(history.log()) == FIRST


def test_another_initial_model_than_the_terms() -> None:
    wrong = points_of(aggregate_of(7))
    with pytest.raises(ProofRejected, match="the initial model is not the one that the terms commit to"):
        list(model_commitments(TERMS, wrong, []))


def test_attack_a_prospectus_with_another_initial_model(tmp_path: Path) -> None:
    """Attack: terms that pin the prospectus's bytes, and a commitment to another model than the one in it."""
    past = Past()
    theta = PROSPECTUS.theta.copy()
    theta[3] = 1
    history = History(past, replace(PROSPECTUS, theta=theta), {3: BUILD}, past.store, tmp_path)  # type: ignore[arg-type]
    with pytest.raises(ProofRejected, match="the initial model is not the one that the terms commit to"):
        history.commitment(history.log())


def test_a_model_that_does_not_open_the_chains_commitment_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This machine computes wrong, say: nothing is trained from such a model."""
    past = Past()
    past.started(1)
    past.settled(1, READER)
    history = past.history(tmp_path, READER)
    log = history.log()
    monkeypatch.setattr("zkmarket.market.history.weight", lambda *_: 170)
    with pytest.raises(OpeningMismatch, match="round 1: the model does not open the commitment that the chain has"):
        history.model(log)
    monkeypatch.undo()


def test_the_hash_is_of_the_words_of_all_chunks() -> None:
    assert points_hash(FIRST) == TERMS.theta != points_hash(step(1))
