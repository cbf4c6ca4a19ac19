"""Trainers that submit what they must not, as the demo has them: what they send, and that no receipt follows."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.support.desks import admitting, at, desk_of, kept, opening, past, receipted, seat
from tests.support.past import ME, OTHER, Past, commits, state_of
from zkmarket.chain import Phase
from zkmarket.cli import attacker
from zkmarket.market import SealingKey, Seat, submission_word
from zkmarket.roles import Desk, update
from zkmarket.storage import cid_from_bytes

pytestmark = [pytest.mark.unit, pytest.mark.usefixtures("commits")]
__all__ = ["at", "commits", "past"]  # the fixtures


@pytest.fixture
def role(past: Past, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> attacker.Attacker:
    def commit(build: Any, update: np.ndarray, folder: Path, trainer: int, round_id: Any, **_: object) -> Any:
        return SimpleNamespace(commitment=kept(folder, opening(3), trainer, round_id))

    monkeypatch.setattr(update, "commit_update", commit)
    return attacker.Attacker(desk_of(past, tmp_path / "attacker"), learn=lambda lesson: lesson.theta)


def submitted(past: Past) -> tuple[bytes, bytes]:
    """Digest and CID that were sent."""
    ((_, commitment, cid),) = [call for call in past.sent if call[0] == "submit"]
    return commitment.digest(), cid


def test_attack_a_thief_copies_digest_and_cid(past: Past, role: attacker.Attacker, at: Desk) -> None:
    """Its seat's word is its victim's, byte for byte, and still nothing that it can hand over opens it."""
    role.attack, key = "copy", SealingKey.fresh()
    past.started(1, key=key.public)
    assert "there is nothing to copy" in str(role.submit(state_of(Phase.SUBMIT)))
    victim = seat(past, key, opening(), OTHER)
    assert str(role.submit(state_of(Phase.SUBMIT))).startswith("round 1: submitted")
    digest, cid = submitted(past)
    assert submission_word(digest, cid) == victim.word
    past.log("Submitted", round=1, trainer=ME, digest=digest, cid=cid)
    past.taken.append(Seat(ME, False, victim.word))
    assert "its victim serves" in role.hand_over(state_of(Phase.ADMIT))
    admission, _ = admitting(past, at, key)
    assert receipted(past) == [[OTHER]] and list(admission.refusals(1)) == [ME]


def test_attack_a_value_out_of_range_is_committed_and_opened(past: Past, role: attacker.Attacker, at: Desk) -> None:
    """Once: started again it sends the very same. Everything about it is right but the one value."""
    role.attack, key = "out-of-range", SealingKey.fresh()
    past.started(1, key=key.public)
    for _ in range(2):
        past.sent.clear()
        assert str(role.submit(state_of(Phase.SUBMIT))).startswith("round 1: submitted")
        digest, cid = submitted(past)
    past.log("Submitted", round=1, trainer=ME, digest=digest, cid=cid)
    past.taken.append(Seat(ME, False, submission_word(digest, cid)))
    role.hand_over(state_of(Phase.ADMIT))
    assert cid_from_bytes(cid) in past.store.blobs
    admission, _ = admitting(past, at, key)
    assert receipted(past) == []
    assert admission.refusals(1)[ME].startswith("DomainError: an update's values lie in ")
