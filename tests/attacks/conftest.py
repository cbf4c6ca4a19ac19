"""The files of an honest round to damage; and verification that does not check an accepted proof again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.conftest import Round
from zkmarket import backend
from zkmarket.backend import CircuitFiles, Proof
from zkmarket.documents import write_json
from zkmarket.round import COMMITMENT_FILE, Decision, verify_round


@pytest.fixture
def remembered(monkeypatch: pytest.MonkeyPatch) -> set:
    """Remember accepted proofs, byte for byte, so that hundreds of mutants of one round take seconds.

    Nothing is remembered of refused ones. Returns what was accepted.
    """
    accepted: set[tuple] = set()
    really_verify = backend.verify

    def verify(files: CircuitFiles, proof: Proof, what: str = "proof") -> None:
        key = files, proof.data, proof.instances
        if key not in accepted:
            really_verify(files, proof, what)
            accepted.add(key)

    monkeypatch.setattr(backend, "verify", verify)
    return accepted


@pytest.fixture
def files(honest_round: Round, tmp_path: Path) -> Path:
    """A build, and every file of an honest round, to damage. Copies, because builds share files with the cache."""
    shutil.copytree(honest_round.build.folder, tmp_path / "build", ignore=shutil.ignore_patterns("pk.key"))
    honest_round.proof.save(tmp_path / "round.json")
    honest_round.aggregate.save(tmp_path / "aggregate.npz")
    for slot, submission in enumerate(honest_round.submissions, start=1):
        write_json(tmp_path / f"updates/trainer-{slot}" / COMMITMENT_FILE, submission.commitment.to_json())
        submission.opening.save(tmp_path / f"updates/trainer-{slot}")
    return tmp_path


@pytest.fixture
def decision(honest_round: Round) -> Decision:
    return verify_round(honest_round.build, honest_round.proof)
