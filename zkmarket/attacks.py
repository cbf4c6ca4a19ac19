"""Trainers that cheat, for the demo and the tests: what each sends instead of an honest update.

    python -m zkmarket.attacks ATTACK [options of `zkmarket trainer run`]

An attacker is an ordinary trainer program with another `learn`, or, for `copy`, another submission.
"""

from __future__ import annotations

import argparse
import functools
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from .backend import Progress
from .commitment import Commitment
from .errors import InputError, TransactionReverted

if TYPE_CHECKING:
    from .learning import Dataset
    from .roles.trainer import Learn, Lesson

ATTACKS = {
    "sign-flip": "the opposite of the honest update",
    "noise": "noise as long as the honest update",
    "scale": "five times the opposite of the honest update",
    "label-flip": "an honest update of data with wrong labels",
    "free-ride": "no training: the last aggregate again, and next to nothing in the first round",
    "copy": "another's commitment and proofs, under one's own name",
    "collude": "clones: one honest update, submitted by several identities, one more than the filter bears",
}


def poisoned(attack: str, honest: np.ndarray, last: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
    """An attacker's update, from the one that it would have made honestly and the last aggregate's mean."""
    length = np.linalg.norm(honest)
    if attack == "sign-flip":
        return -honest
    if attack == "noise":
        noise = rng.normal(size=honest.shape)
        return noise * length / np.linalg.norm(noise)
    if attack == "scale":
        return -5 * honest
    if attack == "free-ride":
        return rng.normal(size=honest.shape) * 1e-3 if last is None else last
    return honest  # label-flip poisons the data, copy takes another's commitment, clones share one honest update


def wrong_labels(data: Dataset) -> Dataset:
    """The same inputs with the classes in reverse order."""
    from .learning import Dataset

    if data.targets.dtype.kind != "i":
        raise InputError("label-flip needs class labels")
    return Dataset(data.inputs, data.targets.max() - data.targets)


def attacking(attack: str, learn: Learn, seed: int) -> Learn:
    """The poisoned `learn`."""
    rng = np.random.default_rng(seed)
    return lambda lesson: poisoned(attack, _honest(attack, learn, lesson), lesson.last, rng)


def _honest(attack: str, learn: Learn, lesson: Lesson) -> np.ndarray:
    return np.zeros_like(lesson.theta) if attack == "free-ride" else learn(lesson)


def _run(attack: str, arguments: argparse.Namespace, progress: Progress) -> Any:
    """`zkmarket trainer run` of an attacker."""
    from .roles import trainer, verbs

    class Attacker(trainer.Trainer):
        """Does not clip. A thief submits what others have submitted."""

        tried: int = 0

        def bound(self, started: Any) -> None:
            return None

        def submit(self, state: Any) -> str | None:
            if attack != "copy":
                return super().submit(state)
            others = self.desk.project.commitments(state.round)
            if not others or self.tried == state.round:
                return f"round {state.round}: waiting for something to steal"
            self.tried = state.round
            loot = Commitment(others[0].round_id, int(self.desk.me, 16), others[0].points, others[0].range_proofs)
            try:
                self.desk.project.submit(self.desk.wallet, loot, b"Qm")
            except TransactionReverted as error:
                return f"round {state.round}: the stolen commitment was refused: {error}"
            return f"round {state.round}: the stolen commitment was taken"

    with verbs.open_desk(arguments, progress) as desk:
        verbs.prepare_trainer(arguments, desk)
        learn = verbs.learner(desk, wrong_labels if attack == "label-flip" else None)
        seed = int(desk.me, 16) % 2**32
        result = Attacker(desk, attacking(attack, learn, seed), arguments.withdraw).run()
    return result, f"{attack}: {result['rounds']}"


def main(words: list[str] | None = None) -> int:
    from . import cli

    attack, *rest = sys.argv[1:] if words is None else words
    if attack not in ATTACKS:
        raise SystemExit(f"unknown attack {attack!r}: one of {', '.join(ATTACKS)}")
    return cli.main(["trainer", "run", *rest], functools.partial(_run, attack))


if __name__ == "__main__":
    sys.exit(main())
