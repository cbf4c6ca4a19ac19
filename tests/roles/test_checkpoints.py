"""What local training has come to stays in its round's folder until the update is committed to, and no longer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.support.desks import kept, opening
from tests.support.past import MANIFEST, Past
from zkmarket.learning import Dataset, Lesson, Training
from zkmarket.roles import Desk, update
from zkmarket.roles.update import CHECKPOINT_FILE, UPDATE_FILE, Learner, commit_once

pytestmark = pytest.mark.unit

LESSON = Lesson(1, np.zeros(MANIFEST.params), None)


@pytest.fixture
def dying(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Committing, which dies as often as the list is long."""
    deaths: list[str] = []

    def commit(build: Any, values: Any, folder: Path, trainer: int, round_id: Any, **_: object) -> Any:
        if deaths:
            raise RuntimeError(deaths.pop())
        return SimpleNamespace(commitment=kept(folder, opening(3), trainer, round_id))

    monkeypatch.setattr(update, "commit_update", commit)
    return deaths


def training(lessons: list[Lesson]) -> Any:
    """A learner that leaves a checkpoint, and notes its lessons."""

    def learn(lesson: Lesson) -> np.ndarray:
        assert lesson.folder is not None
        lesson.folder.mkdir(parents=True, exist_ok=True)
        (lesson.folder / CHECKPOINT_FILE).write_bytes(b"so far")
        lessons.append(lesson)
        return lesson.theta

    return learn


def test_it_is_there_until_the_commitment_is(past: Past, at: Desk, dying: list[str]) -> None:
    folder, lessons = at.round_folder(1), []
    dying.append("killed while committing")
    with pytest.raises(RuntimeError):
        commit_once(at, 1, folder, training(lessons), lambda: LESSON, None)
    assert (folder / CHECKPOINT_FILE).exists() and (folder / UPDATE_FILE).exists()
    commit_once(at, 1, folder, training(lessons), lambda: LESSON, None)
    assert not (folder / CHECKPOINT_FILE).exists()
    assert [lesson.folder for lesson in lessons] == [folder]  # trained once


def test_killed_between_the_commitment_and_its_removal_it_is_removed_by_the_next(
    past: Past, at: Desk, dying: list[str]
) -> None:
    folder = at.round_folder(1)
    commit_once(at, 1, folder, training([]), lambda: LESSON, None)
    (folder / CHECKPOINT_FILE).write_bytes(b"so far")
    commit_once(at, 1, folder, training([]), lambda: pytest.fail("it is committed to"), None)
    assert not (folder / CHECKPOINT_FILE).exists()


def test_that_of_a_round_that_was_over_first_is_removed(past: Past, at: Desk, dying: list[str]) -> None:
    for place in (at.round_folder(1), at.round_folder(1) / "root"):
        place.mkdir(parents=True, exist_ok=True)
        (place / CHECKPOINT_FILE).write_bytes(b"so far")
    commit_once(at, 2, at.round_folder(2), training([]), lambda: replace(LESSON, round=2), None)
    assert not list(at.folder.glob(f"**/{CHECKPOINT_FILE}"))


def test_a_learner_keeps_it_in_the_lessons_folder_bound_to_model_and_data(
    past: Past, at: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[dict[str, Any]] = []

    def train(*arguments: Any) -> np.ndarray:
        calls.append({"round": arguments[5], "checkpoint": arguments[7]})
        arguments[6]("epoch 1 of 5")
        return np.zeros(MANIFEST.params)

    monkeypatch.setattr(update, "train", train)
    data = Dataset.of(np.ones((2, 4)), [0, 1])
    learn = Learner(at, None, data, Training(), {"model": "mine:Net", "data": "own.npz"})
    monkeypatch.setattr(learn, "evaluate", lambda *_: None)
    learn(replace(LESSON, round=7, folder=tmp_path))
    learn(LESSON)
    first, second = calls
    assert (first["round"], first["checkpoint"].path) == (7, tmp_path / CHECKPOINT_FILE)
    assert first["checkpoint"].names == {"model": "mine:Net", "data": "own.npz"} and second["checkpoint"] is None
    assert "round 7: epoch 1 of 5" in at.progress  # type: ignore[operator]
