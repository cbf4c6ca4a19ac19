"""Make the golden build and round again. Run it when a circuit changes on purpose, and say so in the changelog.

python artifacts/make_golden.py
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np

from zkmarket.backend import srs
from zkmarket.build import PROVER_FILES, Spec, make_build
from zkmarket.round import Commitment, RoundId, Submission, open_with_fresh_salts, prove_round
from zkmarket.round.commitment import commit
from zkmarket.rules import MultiKrum

GOLDEN = Path(__file__).parent / "golden"
ROUND = RoundId(chain_id=31337, project=0xC0FFEE, round=1)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        made = make_build(Spec(3, 40, MultiKrum(0, 3), logrows=10), srs.generate(), Path(name) / "build")
        submissions = []
        for trainer, shift in enumerate((0, 1, -1)):
            values = np.arange(-20, 20, dtype=np.int32) + shift
            opening = open_with_fresh_salts(values, made.manifest)
            submissions.append(Submission(Commitment(ROUND, trainer + 1, commit(made, opening)), opening))
        proof, _ = prove_round(made, submissions)
        shutil.rmtree(GOLDEN, ignore_errors=True)
        shutil.copytree(made.folder, GOLDEN / "build", ignore=shutil.ignore_patterns(*PROVER_FILES))
        proof.save(GOLDEN / "round.json")


if __name__ == "__main__":
    main()
