"""The owner's root update between two roles that need not mean each other well: what the aggregator starts with, what
the owner offers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.unit.past import MANIFEST, TERMS, TRAINERS, Past, commits, points_of, state_of
from tests.unit.test_desk import LOW_ORDER, at, desk_of, heard, opening, past
from zkmarket.backend import Proof
from zkmarket.commitment import COMMITMENT_FILE, OPENING_FILE, Commitment, Opening
from zkmarket.errors import ChainError, InputError, TransactionReverted
from zkmarket.escrow import Phase, point_words, points_hash
from zkmarket.files import write_json
from zkmarket.roles import aggregator, owner, trainer
from zkmarket.roles.desk import Desk
from zkmarket.sealing import SealingKey, seal_update
from zkmarket.store import cid_from_bytes, cid_of, cid_to_bytes

pytestmark = [pytest.mark.unit, pytest.mark.usefixtures("commits")]
__all__ = ["at", "commits", "past"]  # the fixtures

NONE, OWNER = bytes(32), "0x" + "0f" * 20
RULES = SimpleNamespace(references=("root",))
EARLY, LATE = 930, 960  # of the time to start, 910 to 1010


@pytest.fixture
def role(past: Past, at: Desk, monkeypatch: pytest.MonkeyPatch) -> aggregator.Aggregator:
    """The aggregator of a project whose rules use a root; three trainers have joined."""
    monkeypatch.setattr(Desk, "rules", RULES)
    vars(at)["terms"] = TERMS | {"owner": OWNER}
    for who in TRAINERS:
        past.log("Joined", trainer=who, stakeWei=10**18, encryptionKey=SealingKey.fresh().public)
    return aggregator.Aggregator(at)


def offer(past: Past, committed: Opening, blob: bytes, number: int = 2, serve: bool = True) -> bytes:
    """An owner's offer; what the aggregator must name to take it."""
    points = points_of(committed)
    cid = past.store.put(blob) if serve else cid_of(blob)
    past.log("RootOffered", round=number, points=point_words(points), cid=cid_to_bytes(cid))
    return points_hash(points)


def start(role: aggregator.Aggregator, now: int) -> str | None:
    return role.start(state_of(Phase.OPEN, now=now))


def started_with(past: Past) -> list[bytes]:
    return [call[-1] for call in past.sent if call[0] == "start"]


# ---------------------------------------------------------------- the aggregator


def test_it_names_what_it_can_open(past: Past, at: Desk, role: aggregator.Aggregator) -> None:
    sent = opening()
    named = offer(past, sent, seal_update(sent, at.sealing_key.public))
    assert start(role, EARLY) == "started" and started_with(past) == [named]
    past.store.blobs.clear()  # what it has named it has kept
    got = aggregator.Aggregator(at).root_opening(at.history.log().offered_roots(2)[0])
    assert np.array_equal(got.opening.values, sent.values)
    assert (got.commitment.trainer, got.commitment.round_id.round) == (int(OWNER, 16), 2)


def test_the_last_offer_counts(past: Past, at: Desk, role: aggregator.Aggregator) -> None:
    first, second = opening(1), opening(2)
    for one in (first, second):
        named = offer(past, one, seal_update(one, at.sealing_key.public))
    offer(past, opening(3), b"", number=1)
    assert start(role, EARLY) == "started" and started_with(past) == [named]


def twice(key: bytes) -> tuple[Opening, bytes]:
    sent = opening()
    sent.salts[0, 1] = sent.salts[0, 0]
    return sent, seal_update(sent, key)


BAD: dict[str, tuple[Callable[[bytes], tuple[Opening, bytes]], str]] = {
    "another update": (lambda key: (opening(1), seal_update(opening(2), key)), "OpeningMismatch: "),
    "sealed to another": (lambda key: (opening(), seal_update(opening(), SealingKey.fresh().public)), "SealError: "),
    "noise": (lambda key: (opening(), b"noise"), "SealError: "),
    "a salt twice": (twice, "SaltReuse: "),
}


@pytest.mark.parametrize("kind", BAD)
def test_attack_an_opening_with_which_the_round_could_not_be_settled(
    kind: str, past: Past, at: Desk, role: aggregator.Aggregator
) -> None:
    """It would cost the bond. Half of the time the owner can offer another one; then the round has none."""
    make, reason = BAD[kind]
    offer(past, *make(at.sealing_key.public))
    for _ in range(2):
        assert f"round 2: the root update cannot be used: {reason}" in str(start(role, EARLY))
    assert len(past.store.asked) == 1, "what can never become right is fetched once"
    assert start(role, LATE) == "started" and started_with(past) == [NONE]
    assert reason in aggregator_status(at)["00002"]
    assert heard(at, "round 2: without a root update: the root update cannot be used")


def aggregator_status(at: Desk) -> dict[str, str]:
    past: Any = at.project
    past.state = lambda: state_of(Phase.OPEN)
    past.own |= {"credit": 0, "refundWei": 0}
    return aggregator.status(at)["without_root"]


def test_attack_an_opening_that_is_not_served(past: Past, at: Desk, role: aggregator.Aggregator) -> None:
    """It is asked for until half of the time is gone, since it may come yet."""
    sent = opening()
    blob = seal_update(sent, at.sealing_key.public)
    named = offer(past, sent, blob, serve=False)
    assert "round 2: the root update is not in the store: " in str(start(role, EARLY))
    assert not past.sent
    past.store.put(blob)
    assert start(role, EARLY) == "started" and started_with(past) == [named]
    assert aggregator_status(at) == {}


def test_a_cid_of_no_store_and_no_offer_at_all(past: Past, at: Desk, role: aggregator.Aggregator) -> None:
    assert "round 2: the owner has offered no root update; " in str(start(role, EARLY))
    past.log("RootOffered", round=2, points=point_words(points_of(opening())), cid=b"not a CID")
    assert "round 2: the root update cannot be used: InputError: " in str(start(role, EARLY))
    assert start(role, LATE) == "started" and started_with(past) == [NONE]


def test_attack_an_owner_that_changes_its_offer_at_every_start(
    past: Past, at: Desk, role: aggregator.Aggregator
) -> None:
    """The contract refuses such a start; in the second half of the time one without a root follows, which no offer
    can stop."""
    sent = opening()
    offer(past, sent, seal_update(sent, at.sealing_key.public))

    def refusing(sender: Any, key: bytes, keyring: bytes, root: bytes) -> None:
        past.sent.append(("start", root))
        if root != NONE:
            raise TransactionReverted("start was reverted: RootNotOffered(…)", "RootNotOffered(…)")

    past.start = refusing  # type: ignore[attr-defined]
    for _ in range(2):
        assert "the owner offers another root update since" in str(start(role, EARLY))
    assert start(role, LATE) == "started"
    assert [root == NONE for root in started_with(past)] == [False, False, True]


def test_a_reason_is_forgotten_when_the_root_comes_before_the_start(
    past: Past, at: Desk, role: aggregator.Aggregator
) -> None:
    sent = opening()
    blob = seal_update(sent, at.sealing_key.public)
    named = offer(past, sent, blob, serve=False)
    past.start = lambda *given: (_ for _ in ()).throw(ChainError("no node"))  # type: ignore[attr-defined]
    with pytest.raises(ChainError, match="no node"):
        start(role, LATE)
    assert list(aggregator_status(at)) == ["00002"]
    del past.start  # type: ignore[attr-defined]
    past.store.put(blob)
    assert start(role, LATE) == "started" and started_with(past) == [named]
    assert aggregator_status(at) == {}


def test_another_refusal_of_a_start_is_no_matter_of_the_root(past: Past, at: Desk, role: aggregator.Aggregator) -> None:
    def refusing(*given: Any) -> None:
        raise TransactionReverted("start was reverted: TooLate(…)", "TooLate(…)")

    past.start = refusing  # type: ignore[attr-defined]
    with pytest.raises(TransactionReverted, match="TooLate"):
        start(role, LATE)


def test_rules_without_a_root_wait_for_none(
    past: Past, role: aggregator.Aggregator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Desk, "rules", SimpleNamespace(references=()))
    assert start(role, EARLY) == "started" and started_with(past) == [NONE]


# ---------------------------------------------------------------- the owner


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Opening]:
    """In place of `commit_update`: commits without range proofs; what it has drawn salts for."""
    drawn: list[Opening] = []

    def commit(build: Any, update: np.ndarray, folder: Path, author: int, round_id: Any, *given: Any) -> Any:
        drawn.append(opening(len(drawn) + 1))
        folder.mkdir(parents=True, exist_ok=True)
        drawn[-1].save(folder / OPENING_FILE)
        points = tuple((1, 2) for _ in points_of(drawn[-1]))
        commitment = Commitment(round_id, author, points, (Proof(bytes(64), (1,)),) * len(points))
        write_json(folder / COMMITMENT_FILE, commitment.to_json())
        return SimpleNamespace(commitment=commitment)

    monkeypatch.setattr(trainer, "commit_update", commit)
    return drawn


def offers(past: Past) -> list[tuple[Commitment, bytes]]:
    return [call[1:] for call in past.sent if call[0] == "offer_root"]


def offering(past: Past, folder: Path) -> owner.Owner:
    """The owner's program, started in this folder; every call of it trains by a count."""
    return owner.Owner(desk_of(past, folder), learn=lambda lesson: lesson.theta)


def offered(role: owner.Owner, past: Past) -> None:
    """One look, and what it has sent is in the log."""
    before = len(offers(past))
    role.offer_root(state_of(Phase.OPEN), role.learn)  # type: ignore[arg-type]
    for commitment, cid in offers(past)[before:]:
        past.log("RootOffered", round=2, points=point_words(commitment.points), cid=cid)


def test_it_offers_once_what_the_office_can_open(past: Past, made: list[Opening], tmp_path: Path) -> None:
    office = SealingKey.fresh()
    past.log("Accepted", aggregator=TRAINERS[0], bondWei=1, encryptionKey=office.public)
    for _ in range(2):
        role = offering(past, tmp_path)  # the program, started again
        for _ in range(2):
            offered(role, past)
    ((commitment, cid),) = offers(past)
    (drawn,) = made
    assert commitment.round_id.round == 2
    got = aggregator.open_update(past.store.blobs[cid_from_bytes(cid)], office, MANIFEST)
    assert np.array_equal(got.values, drawn.values) and np.array_equal(got.salts, drawn.salts)


def test_another_office_has_it_sealed_again_with_the_same_salts(
    past: Past, made: list[Opening], tmp_path: Path
) -> None:
    keys = [SealingKey.fresh() for _ in range(2)]
    role = offering(past, tmp_path)
    for key in keys:
        past.log("Accepted", aggregator=TRAINERS[0], bondWei=1, encryptionKey=key.public)
        offered(role, past)
    assert len(made) == 1 and offers(past)[0][0] == offers(past)[1][0]
    for key, (_, cid) in zip(keys, offers(past), strict=True):
        got = aggregator.open_update(past.store.blobs[cid_from_bytes(cid)], key, MANIFEST)
        assert np.array_equal(got.salts, made[0].salts)


def test_attack_an_office_with_a_key_to_which_nothing_can_be_sealed(
    past: Past, made: list[Opening], tmp_path: Path
) -> None:
    """It gets no root update; the owner's program goes on."""
    past.log("Accepted", aggregator=TRAINERS[0], bondWei=1, encryptionKey=LOW_ORDER)
    said = offering(past, tmp_path).offer_root(state_of(Phase.OPEN), lambda lesson: lesson.theta)
    assert said.startswith("round 2: no root update is offered: nothing can be sealed to the encryption key 0000")
    assert not offers(past)


def test_root_data_where_no_rule_uses_them(past: Past, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="leave --root-data out"):
        offering(past, tmp_path).run()
