"""One round's update on a trainer's disk: learned, committed once, sealed."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, SealError
from ..files import atomic_write
from ..learning import (
    TRAINING,
    Checkpoint,
    Dataset,
    Learn,
    Lesson,
    Stream,
    Training,
    evaluate,
    load_model,
    load_source,
    train,
    try_out,
)
from ..market import Log, SealingKey, Started, points_hash, seal_update
from ..round import COMMITMENT_FILE, Commitment, Opening, commit_update, mean_update
from ..updates import LAYOUT_RULES
from .desk import Desk

UPDATE_FILE = "update.npy"
CHECKPOINT_FILE = "training.checkpoint"
"""What an update's training has come to, until it is committed to."""
HAND_OVER_AGAIN = 60.0
"""Seconds after which a sealed update without a receipt is put into the store again."""


def lesson_of(desk: Desk, log: Log, number: int, verified: set[int]) -> Lesson:
    """What training for a round starts from, once all rounds before it are verified. Raises as `History.model`."""
    history = desk.history
    last = None
    for settled in log.settled():
        if settled.round < number:
            desk.verify(settled, log, verified)
    moved = [one for one in log.settled() if one.round < number and not one.skipped and not one.withheld]
    if moved:
        manifest = history.build_of(len(moved[-1].trainers)).manifest
        last = mean_update(manifest, history.aggregate(moved[-1], log), sum(moved[-1].mask))
    theta = history.model(log, before=number)
    digest = points_hash(history.commitment(log, before=number)).hex()
    desk.progress(f"round {number}: training from the model {digest[:16]}")
    return Lesson(number, theta.floats(desk.manifest), last)


def commit_once(
    desk: Desk, number: int, folder: Path, learn: Learn, lesson: Callable[[], Lesson], bound: int | None
) -> Commitment:
    """Train for a round and commit to it: each is written down before the next, and never made again.

    Args:
        folder: of this round and this update alone: its salts are in it.
        bound: on the squared norm, to which a longer update is clipped; None: of any length.
    """
    build = next(iter(desk.builds.values()))  # commitments are the same for every number of trainers
    checkpoint = folder / CHECKPOINT_FILE
    for old in set((desk.folder / "rounds").glob(f"**/{CHECKPOINT_FILE}")) - {checkpoint}:
        old.unlink(missing_ok=True)  # of a round that was over before its training was
    if (folder / COMMITMENT_FILE).exists():
        checkpoint.unlink(missing_ok=True)
        return Commitment.load(folder / COMMITMENT_FILE, build.manifest)
    path = folder / UPDATE_FILE
    if not path.exists():
        keep_update(folder, learn(replace(lesson(), folder=folder)))
    update = np.load(path, allow_pickle=False)
    commitment = commit_update(
        build,
        update,
        folder,
        trainer=int(desk.me, 16),
        round_id=desk.project.round_id(number),
        beta=bound,
        saturate=True,
        progress=desk.progress,
    ).commitment
    checkpoint.unlink(missing_ok=True)
    return commitment


def keep_update(folder: Path, update: np.ndarray) -> None:
    """What a round's commitment is made of, on disk before it is."""
    data = io.BytesIO()
    np.save(data, update, allow_pickle=False)
    atomic_write(folder / UPDATE_FILE, data.getvalue(), mode=0o600)


def seal_for_round(opening: Opening, commitment: Commitment, started: Started) -> bytes:
    """An update and its points, sealed to the round's key.

    An aggregator may start a round with a key to which nothing can be sealed. Who then did not submit would pay for
    a void round alone; what nobody can open costs the aggregator its receipt, and the penalty, too.
    """
    try:
        return seal_update(opening, commitment.points, started.encryption_key)
    except SealError:
        return seal_update(opening, commitment.points, SealingKey.fresh().public)


class Learner:
    """Local training, and what a model is worth on the same data: both happen here, and the data stay."""

    def __init__(
        self, desk: Desk, model: Any, data: Dataset | Stream, training: Training, names: dict[str, str] | None = None
    ):
        self.desk, self.model, self.data, self.training, self.names = desk, model, data, training, names or {}
        self._told: set[bytes] = set()

    def __call__(self, lesson: Lesson) -> np.ndarray:
        self.evaluate(f"round {lesson.round}: the model before it", lesson.theta)

        def say(text: str) -> None:
            self.desk.progress(f"round {lesson.round}: {text}")

        path = lesson.folder / CHECKPOINT_FILE if lesson.folder else None
        update = train(
            self.model,
            self.desk.prospectus.layout,
            lesson.theta,
            self.data,
            self.training,
            lesson.round,
            say,
            Checkpoint(path, self.names, progress=say) if path else None,
        )
        self.evaluate(f"round {lesson.round}: after local training it", lesson.theta + update)
        return update

    def evaluate(self, which: str, theta: np.ndarray) -> None:
        """Say its loss and accuracy on the data here, once for each model."""
        digest = hashlib.sha256(theta.tobytes()).digest()
        if digest in self._told:
            return
        self._told.add(digest)
        try:
            found = evaluate(
                self.model,
                self.desk.prospectus.layout,
                theta,
                self.data,
                self.training.loss,
                device=self.training.device,
            )
        except InputError as error:  # training says so, too, and decides what follows
            self.desk.progress(f"{which} cannot be evaluated: {error}")
            return
        accuracy = "" if found.accuracy is None else f", accuracy {100 * found.accuracy:.1f} %"
        first = "first " if isinstance(self.data, Stream) else ""
        self.desk.progress(f"{which} has loss {found.loss:.4f}{accuracy} on the {first}{found.rows} rows here")


def learner(desk: Desk, change: Callable[[Any], Any] | None = None, data: str = "data") -> Learner:
    """Local training with the model and the data that the role's settings name; `change` is applied to the data.

    Before the desk's first step they are tried on the project's model: what does not fit ends the program, before any
    money moves, and is not remembered.
    """
    text = desk.settings["model"]
    model, own = load_model(text), load_source(desk.settings[data])
    own = change(own) if change else own
    given = {name: desk.settings.get(name) for name in TRAINING}
    training = Training(**{name: _number(name, value) for name, value in given.items() if value is not None})

    def fits() -> None:
        project = desk.prospectus
        try:
            try_out(model, project.layout, project.theta, own, training.loss, training.device)
        except InputError as error:
            option = data.replace("_", "-")
            held = f"; updates of this project hold {LAYOUT_RULES[project.rule]}"
            raise InputError(f"--model {text}, --{option} {desk.settings[data]}: {error}{held}") from error
        desk.settings.accept()

    desk.checks.append(fits)
    return Learner(desk, model, own, training, {"model": text, "data": desk.settings[data]})


def _number(name: str, text: str) -> Any:
    """A training option in its own type; settings hold text."""
    kinds = {"epochs": int, "batch": int, "seed": int, "rate": float, "momentum": float}
    try:
        return kinds.get(name, str)(text)
    except ValueError:
        raise InputError(f"--{name} is a number: got {text!r}") from None
