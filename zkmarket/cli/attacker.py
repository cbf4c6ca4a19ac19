"""An attacker: the trainer's program with another `learn`, or another submission.

    python -m zkmarket.cli.attacker ATTACK [options of `zkmarket trainer run`]

For demos and tests.
"""

from __future__ import annotations

import argparse
import functools
import sys
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..documents import write_json
from ..errors import InputError
from ..files import atomic_write
from ..learning import ATTACKS, attacking, wrong_labels
from ..progress import Progress
from ..roles import learner, seal_for_round, trainer
from ..round import COMMITMENT_FILE, Opening
from ..round.commitment import commit
from ..storage import cid_from_bytes, cid_of
from . import parser
from .desk import open_desk

WILD = 1 << 20
"""Beyond every range: a value has at most 19 bits."""


@dataclass(frozen=True)
class Copied:
    """Another's digest, in the place of a commitment of one's own."""

    stolen: bytes

    def digest(self) -> bytes:
        return self.stolen


class Attacker(trainer.Trainer):
    """Does not clip. A thief submits what others have submitted; `out-of-range` commits to what it must not."""

    attack = ""

    def bound(self, started: Any) -> None:
        return None

    def committed(self, log: Any, started: Any) -> tuple[Any, str]:
        if self.attack == "copy":
            others = log.submitted(started.round)
            if not others:
                raise InputError("nobody has submitted yet: there is nothing to copy")
            loot = next(iter(others.values()))
            return Copied(loot.digest), cid_from_bytes(loot.cid)
        fresh = not self.sealed_file(started).exists()
        commitment, cid = super().committed(log, started)
        return self.wild(commitment, started) if fresh and self.attack == "out-of-range" else (commitment, cid)

    def wild(self, honest: Any, started: Any) -> tuple[Any, str]:
        """The honest commitment with one value beyond the range, properly opened."""
        folder, build = self.desk.round_folder(started.round), next(iter(self.desk.builds.values()))
        opening = Opening.load(folder, build.manifest)
        values = np.array(opening.values, np.int32)
        values[0] = WILD
        wild = Opening(values, opening.salts)
        commitment = replace(honest, points=commit(build, wild))
        write_json(folder / COMMITMENT_FILE, commitment.to_json())
        sealed = seal_for_round(wild, commitment, started)
        atomic_write(self.sealed_file(started), sealed, mode=0o600)
        return commitment, cid_of(sealed)

    def hand_over(self, state: Any) -> str:
        if self.attack != "copy":
            return super().hand_over(state)
        return f"round {state.round}: its victim serves what was copied"


def _run(attack: str, arguments: argparse.Namespace, progress: Progress) -> Any:
    """`zkmarket trainer run` of an attacker."""
    with open_desk(arguments, progress) as desk:
        learn = learner(desk, wrong_labels if attack == "label-flip" else None)
        seed = int(desk.me, 16) % 2**32
        role = Attacker(desk, attacking(attack, learn, seed), arguments.join, arguments.withdraw)
        role.attack = attack
        result = role.run()
    return result, f"{attack}: {result['rounds']}"


def main(words: list[str] | None = None) -> int:
    attack, *rest = sys.argv[1:] if words is None else words
    if attack not in ATTACKS:
        raise SystemExit(f"unknown attack {attack!r}: one of {', '.join(ATTACKS)}")
    return parser.main(["trainer", "run", *rest], functools.partial(_run, attack))


if __name__ == "__main__":
    sys.exit(main())
