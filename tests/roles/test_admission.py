"""What gets a receipt, what gets none, and what an aggregator has on its disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.support.desks import (
    admitting,
    commitment_of,
    opening,
    receipted,
    seal_update,
    seat,
    seated,
)
from tests.support.past import (
    MANIFEST,
    OTHER,
    TRAINERS,
    Blocks,
    Past,
    points_of,
    state_of,
)
from zkmarket.chain import Phase
from zkmarket.documents import write_json
from zkmarket.market import (
    SealingKey,
    sealing,
)
from zkmarket.roles import (
    Admission,
    Desk,
    admission,
)
from zkmarket.round import (
    COMMITMENT_FILE,
    SALTS_FILE,
    VALUES_FILE,
    Opening,
)
from zkmarket.storage import cid_from_bytes, cid_of, cid_to_bytes

pytestmark = [pytest.mark.unit, pytest.mark.usefixtures("commits")]


# ---------------------------------------------------------------- openings on an aggregator's disk


def test_a_stale_opening_of_another_commitment_on_the_seat_is_not_used(past: Past, at: Desk) -> None:
    """Attack: submit, be fetched, and have a reorganisation put another commitment on the seat."""
    role, key = Admission(at), SealingKey.fresh()
    first, second = opening(1), opening(2)
    taken = seat(past, key, first)
    got = role.opening_of(at.history.log(), key, taken)
    assert np.array_equal(got.opening.values, first.values)
    past.logged.clear()
    taken = seat(past, key, second)
    past.chain.hashes[:] = Blocks(len(past.chain.hashes), fork=1).hashes
    got = role.opening_of(at.history.log(), key, taken)
    assert np.array_equal(got.opening.values, second.values) and got.commitment.points == points_of(second)


@pytest.mark.parametrize("file", [COMMITMENT_FILE, VALUES_FILE, SALTS_FILE])
@pytest.mark.parametrize("damage", ["another's", "empty", "cut", "noise", "gone"])
def test_a_damaged_opening_is_fetched_again_and_no_trainers_fault(
    damage: str, file: str, past: Past, at: Desk, tmp_path: Path
) -> None:
    role, key, sent = Admission(at), SealingKey.fresh(), opening(1)
    taken = seat(past, key, sent)
    log = at.history.log()
    role.opening_of(log, key, taken)
    past.store.asked.clear()
    role.opening_of(log, key, taken)
    assert not past.store.asked, "what is on disk and right is not fetched again"
    (place,) = (at.round_folder(1) / "openings").iterdir()
    data = (place / file).read_bytes()
    if damage == "another's":
        opening(2).save(tmp_path)
        write_json(tmp_path / COMMITMENT_FILE, commitment_of(opening(2), OTHER).to_json())
        (tmp_path / file).replace(place / file)
    elif damage == "gone":
        (place / file).unlink()
    else:
        (place / file).write_bytes({"empty": b"", "cut": data[: len(data) // 2], "noise": b"\x00" * len(data)}[damage])
    got = role.opening_of(log, key, taken)
    assert np.array_equal(got.opening.values, sent.values) and len(past.store.asked) == 1
    assert not role.refusals(1)


# ---------------------------------------------------------------- what gets no receipt


def test_attack_a_copied_digest_and_cid_get_no_receipt(past: Past, at: Desk) -> None:
    """The digest names its sender: a copy is the digest of nothing that the thief can show."""
    key, sent = SealingKey.fresh(), opening()
    honest = seat(past, key, sent, OTHER)
    copied = at.history.log().submitted(1)[OTHER]
    thief = seated(past, copied.digest, copied.cid, TRAINERS[2])
    assert thief.word == honest.word
    role, said = admitting(past, at, key)
    assert receipted(past) == [[OTHER]] and "1 are refused" in said
    assert role.refusals(1) == {
        TRAINERS[2]: "OpeningMismatch: its points are others than those whose digest was submitted"
    }


def wild(key: SealingKey) -> tuple[Opening, bytes]:
    """An opening with a value beyond the range, whose points are its own."""
    sent = opening()
    values = np.array(sent.values, np.int32)
    values[5] = MANIFEST.bound
    made = Opening(values, sent.salts)
    return made, sealing.seal_update(made, points_of(made), key.public)


def salty(key: SealingKey) -> tuple[Opening, bytes]:
    sent = opening()
    sent.salts[0, 1] = sent.salts[0, 0]
    return sent, seal_update(sent, key.public)


def other_points(key: SealingKey) -> tuple[Opening, bytes]:
    sent = opening()
    return sent, sealing.seal_update(sent, points_of(opening()), key.public)


def other_values(key: SealingKey) -> tuple[Opening, bytes]:
    sent = opening()
    return sent, sealing.seal_update(opening(2), points_of(sent), key.public)


def other_key(key: SealingKey) -> tuple[Opening, bytes]:
    return (sent := opening()), seal_update(sent, SealingKey.fresh().public)


UNPROVABLE: dict[str, tuple[Callable[[SealingKey], tuple[Opening, bytes]], str]] = {
    "a value out of range": (wild, "DomainError: an update's values lie in "),
    "a salt twice": (salty, "SaltReuse: "),
    "points of another digest": (other_points, "OpeningMismatch: its points are others "),
    "values that the points do not commit to": (other_values, "OpeningMismatch: "),
    "sealed to another": (other_key, "SealError: "),
    "noise": (lambda key: (opening(), b"noise"), "SealError: a sealed update has "),
}


@pytest.mark.parametrize("kind", UNPROVABLE)
def test_attack_an_update_with_which_the_round_could_not_be_proven_gets_no_receipt(
    kind: str, past: Past, at: Desk
) -> None:
    """One such update in the set would cost the aggregator its bond. It is refused once, the others are admitted."""
    make, reason = UNPROVABLE[kind]
    key = SealingKey.fresh()
    seat(past, key, opening(3), TRAINERS[2])
    sent, blob = make(key)
    seated(past, commitment_of(sent, OTHER).digest(), cid_to_bytes(past.store.put(blob)))
    role, _ = admitting(past, at, key)
    assert receipted(past) == [[TRAINERS[2]]]
    assert list(role.refusals(1)) == [OTHER] and role.refusals(1)[OTHER].startswith(reason)
    past.store.asked.clear()
    role.admit(state_of(Phase.ADMIT, deadline=10**6), at.history.log(), key)
    assert cid_of(blob) not in past.store.asked, "what can never become right is fetched once"


def test_receipts_share_a_transaction(past: Past, at: Desk) -> None:
    at.poll = 10.0
    key = SealingKey.fresh()
    for seed, who in enumerate(TRAINERS, start=1):
        seat(past, key, opening(seed), who)
    admitting(past, at, key)
    (names,) = receipted(past)
    assert set(names) == set(TRAINERS)


def test_a_receipt_waits_for_others_but_not_long(past: Past, at: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack: one seat whose update never comes must not keep the others from their receipts."""
    clock = 1000.0
    monkeypatch.setattr(admission, "time", SimpleNamespace(monotonic=lambda: clock))
    at.poll = 1.0
    key = SealingKey.fresh()
    seat(past, key, opening(1), OTHER)
    late = seat(past, key, opening(2), TRAINERS[2])
    blobs = dict(past.store.blobs)
    past.store.blobs.pop(cid_from_bytes(at.history.log().submitted(1)[TRAINERS[2]].cid))
    role, said = admitting(past, at, key)
    assert not receipted(past) and "1 sealed updates are not in the store yet" in said and "1 receipts wait" in said
    clock += admission.GATHER + 1
    role.admit(state_of(Phase.ADMIT, deadline=10**6), at.history.log(), key)
    assert receipted(past) == [[OTHER]]
    past.taken[0] = replace(past.taken[0], admitted=True)
    past.store.blobs.update(blobs)
    role.admit(state_of(Phase.ADMIT, deadline=10**6), at.history.log(), key)
    assert receipted(past) == [[OTHER], [late.trainer]]


def test_no_receipt_waits_when_the_deadline_is_near(past: Past, at: Desk) -> None:
    at.poll = 3600.0
    key = SealingKey.fresh()
    seat(past, key, opening(1), OTHER)
    seated(past, bytes(32), cid_to_bytes(cid_of(b"never")), TRAINERS[2])
    Admission(at).admit(state_of(Phase.ADMIT, now=1010), at.history.log(), key)
    assert receipted(past) == [[OTHER]]
