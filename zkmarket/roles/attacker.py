"""An attacker: the trainer's program with another `learn`, or, for `copy`, another submission.

    python -m zkmarket.roles.attacker ATTACK [options of `zkmarket trainer run`]

For demos and tests.
"""

from __future__ import annotations

import argparse
import functools
import sys
from typing import Any

from .. import cli
from ..attacks import ATTACKS, attacking, wrong_labels
from ..backend import Progress
from ..commitment import Commitment
from ..errors import TransactionReverted
from . import trainer, verbs


class Attacker(trainer.Trainer):
    """Does not clip. A thief submits what others have submitted."""

    attack = ""
    tried = 0

    def bound(self, started: Any) -> None:
        return None

    def submit(self, state: Any) -> str | None:
        if self.attack != "copy":
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


def _run(attack: str, arguments: argparse.Namespace, progress: Progress) -> Any:
    """`zkmarket trainer run` of an attacker."""
    with verbs.open_desk(arguments, progress) as desk:
        learn = verbs.learner(desk, wrong_labels if attack == "label-flip" else None)
        seed = int(desk.me, 16) % 2**32
        role = Attacker(desk, attacking(attack, learn, seed), arguments.join, arguments.withdraw)
        role.attack = attack
        result = role.run()
    return result, f"{attack}: {result['rounds']}"


def main(words: list[str] | None = None) -> int:
    attack, *rest = sys.argv[1:] if words is None else words
    if attack not in ATTACKS:
        raise SystemExit(f"unknown attack {attack!r}: one of {', '.join(ATTACKS)}")
    return cli.main(["trainer", "run", *rest], functools.partial(_run, attack))


if __name__ == "__main__":
    sys.exit(main())
