"""The owner's root update between two roles that need not mean each other well: a digest before the start, the update
itself after trainers have committed, and a receipt if it can be proven with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.support.desks import LOW_ORDER, desk_of, heard, kept, opening, seal_update
from tests.support.past import MANIFEST, TERMS, TRAINERS, Past, points_of, state_of
from zkmarket.chain import NOBODY, Phase
from zkmarket.errors import InputError
from zkmarket.market import SealingKey, Submitted, open_update, submission_word
from zkmarket.roles import HAND_OVER_AGAIN, Admission, Awaited, Desk, aggregator, owner, update
from zkmarket.round import Commitment, Opening
from zkmarket.storage import cid_from_bytes, cid_of, cid_to_bytes

pytestmark = [pytest.mark.unit, pytest.mark.usefixtures("commits")]

OWNER = "0x" + "0f" * 20
RULES = SimpleNamespace(references=("root",))
EARLY, LATE = 930, 960  # of the time to start, 910 to 1010


@pytest.fixture
def rooted(past: Past, at: Desk, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """The aggregator's desk in a project whose rules use a root; three trainers have joined."""
    monkeypatch.setattr(Desk, "manifest", RULES)
    vars(at)["terms"] = replace(TERMS, owner=OWNER)
    for who in TRAINERS:
        past.log("Joined", trainer=who, stakeWei=10**18, encryptionKey=SealingKey.fresh().public)
    return at


def digest_of(committed: Opening, number: int) -> bytes:
    return Commitment(Past().round_id(number), int(OWNER, 16), points_of(committed)).digest("root")


def offer(past: Past, committed: Opening, blob: bytes, number: int = 1, serve: bool = True) -> Awaited:
    """An owner's offer; what waits for a receipt."""
    cid = cid_to_bytes(past.store.put(blob) if serve else cid_of(blob))
    digest = digest_of(committed, number)
    past.log("RootOffered", round=number, digest=digest, cid=cid)
    return Awaited(number, None, submission_word(digest, cid))


def admit(at: Desk, role: Admission | None = None) -> tuple[Admission, str]:
    role = role or Admission(at)
    return role, role.admit(state_of(Phase.ADMIT), at.history.log(), SealingKey.fresh())


def receipted(past: Past) -> list[list[str | None]]:
    return [list(call[1]) for call in past.sent if call[0] == "admit"]


def without_root(at: Desk) -> dict[str, str]:
    """What the aggregator's status says."""
    past: Any = at.project
    past.state = lambda: state_of(Phase.OPEN)
    return aggregator.status(at)["without_root"]


# ---------------------------------------------------------------- the aggregator, before the start


def test_it_gives_the_owner_half_of_the_time_for_an_offer(past: Past, rooted: Desk) -> None:
    role = aggregator.Aggregator(rooted)
    assert "round 2: the owner has offered no root update; " in str(role.start(state_of(Phase.OPEN, now=EARLY)))
    assert not past.sent
    assert role.start(state_of(Phase.OPEN, now=LATE)) == "started"
    assert without_root(rooted) == {"00002": "the owner has offered no root update"}
    assert heard(rooted, "round 2: without a root update: the owner has offered no root update")


def test_it_starts_on_a_digest_and_asks_no_store_for_more(past: Past, rooted: Desk) -> None:
    """What is served before trainers have committed is the answer key."""
    offer(past, opening(), b"whatever", number=1)
    offer(past, opening(), b"whatever", number=2)
    role = aggregator.Aggregator(rooted)
    assert role.start(state_of(Phase.OPEN, now=EARLY)) == "started"
    assert [call[0] for call in past.sent] == ["start"] and not past.store.asked
    assert without_root(rooted) == {}


def test_rules_without_a_root_wait_for_none(past: Past, rooted: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Desk, "manifest", SimpleNamespace(references=()))
    assert aggregator.Aggregator(rooted).start(state_of(Phase.OPEN, now=EARLY)) == "started"


# ---------------------------------------------------------------- the aggregator, once trainers have committed


def test_what_opens_gets_a_receipt_and_is_kept(past: Past, rooted: Desk) -> None:
    sent = opening()
    one = offer(past, sent, seal_update(sent, rooted.sealing_key.public))
    role, _ = admit(rooted)
    assert receipted(past) == [[None]]
    past.store.blobs.clear()  # what has a receipt is on disk
    past.log("RootAdmitted", round=1)
    assert role.awaited(rooted.history.log(), 1) == []
    got = aggregator.Aggregator(rooted).root_of(rooted.history.log(), SealingKey.fresh(), 1)
    assert got is not None and np.array_equal(got.opening.values, sent.values)
    assert (got.commitment.trainer, got.commitment.round_id.round) == (int(OWNER, 16), 1)
    assert one.name.startswith("root-")


def test_without_a_receipt_the_round_has_none(past: Past, rooted: Desk) -> None:
    sent = opening()
    offer(past, sent, seal_update(sent, rooted.sealing_key.public))
    assert aggregator.Aggregator(rooted).root_of(rooted.history.log(), SealingKey.fresh(), 1) is None


def test_the_last_offer_counts(past: Past, rooted: Desk) -> None:
    for seed in (1, 2):
        sent = opening(seed)
        last = offer(past, sent, seal_update(sent, rooted.sealing_key.public))
    offer(past, opening(3), b"", number=2)
    assert Admission(rooted).awaited(rooted.history.log(), 1) == [last]


def twice(key: bytes) -> tuple[Opening, bytes]:
    sent = opening()
    sent.salts[0, 1] = sent.salts[0, 0]
    return sent, seal_update(sent, key)


def as_an_update(key: bytes) -> tuple[Opening, bytes]:
    """Of the points of another."""
    return opening(1), seal_update(opening(2), key)


BAD: dict[str, tuple[Callable[[bytes], tuple[Opening, bytes]], str]] = {
    "another update": (as_an_update, "OpeningMismatch: "),
    "sealed to another": (lambda key: (opening(), seal_update(opening(), SealingKey.fresh().public)), "SealError: "),
    "noise": (lambda key: (opening(), b"noise"), "SealError: "),
    "a salt twice": (twice, "SaltReuse: "),
}


@pytest.mark.parametrize("kind", BAD)
def test_attack_a_root_update_with_which_the_round_could_not_be_settled(kind: str, past: Past, rooted: Desk) -> None:
    """It would cost the bond. It gets no receipt, which costs owner and aggregator a penalty each."""
    make, reason = BAD[kind]
    offer(past, *make(rooted.sealing_key.public))
    role, _ = admit(rooted)
    admit(rooted, role)
    assert len(past.store.asked) == 1, "what can never become right is fetched once"
    assert receipted(past) == [] and role.refusals(1) == {}
    assert reason in without_root(rooted)["00001"]
    assert heard(rooted, f"round 1: without a root update: it gets no receipt: {reason}")


def test_attack_a_root_update_that_is_not_served(past: Past, rooted: Desk) -> None:
    """It is asked for until the time to admit is over, since it may come yet."""
    sent = opening()
    blob = seal_update(sent, rooted.sealing_key.public)
    one = offer(past, sent, blob, serve=False)
    role, said = admit(rooted)
    assert "1 sealed updates are not in the store yet" in said and receipted(past) == []
    role.refuse_undelivered([one])
    assert without_root(rooted)["00001"].startswith("it gets no receipt: StoreError: no blob")
    late, _ = admit(rooted)
    past.store.put(blob)
    admit(rooted, late)
    assert receipted(past) == [[None]]


def test_attack_a_trainers_update_offered_as_a_root(past: Past, rooted: Desk) -> None:
    """Its digest has another label, so that a root update is no trainer's submission and no submission a root."""
    sent = opening()
    cid = cid_to_bytes(past.store.put(seal_update(sent, rooted.sealing_key.public)))
    commitment = Commitment(past.round_id(1), int(OWNER, 16), points_of(sent))
    past.log("RootOffered", round=1, digest=commitment.digest(), cid=cid)
    admit(rooted)
    assert receipted(past) == [] and "OpeningMismatch: its points are others" in without_root(rooted)["00001"]


# ---------------------------------------------------------------- the owner


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Opening]:
    """In place of `commit_update`; what it has drawn salts for."""
    drawn: list[Opening] = []

    def commit(build: Any, update: np.ndarray, folder: Path, trainer: int, round_id: Any, **given: Any) -> Any:
        drawn.append(opening(len(drawn) + 1))
        return SimpleNamespace(commitment=kept(folder, drawn[-1], trainer, round_id))

    monkeypatch.setattr(update, "commit_update", commit)
    monkeypatch.setattr(Desk, "manifest", MANIFEST)
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
        past.log("RootOffered", round=2, digest=commitment.digest("root"), cid=cid)


def test_it_offers_once_and_serves_nothing_before_trainers_have_committed(
    past: Past, made: list[Opening], tmp_path: Path
) -> None:
    """Attack: with the root update in hand a colluder commits to its direction, and is paid most of the reward."""
    office = SealingKey.fresh()
    past.log("Accepted", aggregator=TRAINERS[0], bondWei=1, encryptionKey=office.public)
    for _ in range(2):
        role = offering(past, tmp_path)  # the program, started again
        for _ in range(2):
            offered(role, past)
    ((commitment, cid),) = offers(past)
    assert commitment.round_id.round == 2 and len(made) == 1
    for phase in (Phase.OPEN, Phase.SUBMIT):
        role.step(state_of(phase, round=1 if phase == Phase.OPEN else 2))
    assert not past.store.blobs and role.desk.delivery.waiting() == []

    assert "waiting for the receipt of the root update" in str(role.step(state_of(Phase.ADMIT, round=2)))
    assert list(past.store.blobs) == [cid_from_bytes(cid)]
    got, points = open_update(past.store.blobs[cid_from_bytes(cid)], office, MANIFEST)
    assert np.array_equal(got.values, made[0].values) and np.array_equal(got.salts, made[0].salts)
    assert points == commitment.points


def test_it_serves_again_until_there_is_a_receipt(
    past: Past, made: list[Opening], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = 1000.0
    monkeypatch.setattr(owner, "time", SimpleNamespace(monotonic=lambda: clock))
    past.log("Accepted", aggregator=TRAINERS[0], bondWei=1, encryptionKey=SealingKey.fresh().public)
    role = offering(past, tmp_path)
    offered(role, past)
    for _ in range(2):
        role.step(state_of(Phase.ADMIT, round=2))
        assert len(past.store.blobs) == 1
        past.store.blobs.clear()
        role.step(state_of(Phase.ADMIT, round=2))
        assert not past.store.blobs, "not at every look"
        clock += HAND_OVER_AGAIN + 1
    past.log("RootAdmitted", round=2)
    role.step(state_of(Phase.ADMIT, round=2))
    assert not past.store.blobs


def test_a_root_update_that_cannot_count_any_more_is_put_nowhere(
    past: Past, made: list[Opening], tmp_path: Path
) -> None:
    past.log("Accepted", aggregator=TRAINERS[0], bondWei=1, encryptionKey=SealingKey.fresh().public)
    role = offering(past, tmp_path)
    offered(role, past)
    (sealed,) = (role.desk.round_folder(2) / owner.ROOT_FOLDER).glob("root-*.sealed")
    for blob in (sealed.read_bytes(), b"a keyring"):
        (role.desk.delivery.folder / cid_of(blob)).parent.mkdir(exist_ok=True)
        (role.desk.delivery.folder / cid_of(blob)).write_bytes(blob)
    role.step(state_of(Phase.PROVE, round=2))
    assert role.desk.delivery.waiting() == [cid_of(b"a keyring")]


def test_another_office_has_it_sealed_again_with_the_same_salts(
    past: Past, made: list[Opening], tmp_path: Path
) -> None:
    keys = [SealingKey.fresh() for _ in range(2)]
    role = offering(past, tmp_path)
    for key in keys:
        past.log("Accepted", aggregator=TRAINERS[0], bondWei=1, encryptionKey=key.public)
        offered(role, past)
    assert len(made) == 1 and offers(past)[0][0] == offers(past)[1][0]
    folder = role.desk.round_folder(2) / owner.ROOT_FOLDER
    sealed = {cid_of(path.read_bytes()): path.read_bytes() for path in folder.glob("root-*.sealed")}
    for key, (_, cid) in zip(keys, offers(past), strict=True):
        got, _ = open_update(sealed[cid_from_bytes(cid)], key, MANIFEST)
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


def test_the_log_has_the_last_offer_of_a_round(past: Past) -> None:
    history = past.history(Path(), None)
    assert history.log().offered_root(1) is None and not history.log().root_admitted(1)
    for digest in (b"\x01" * 32, b"\x02" * 32):
        past.log("RootOffered", round=1, digest=digest, cid=b"Qm")
    past.log("RootAdmitted", round=2)
    log = history.log()
    assert log.offered_root(1) == Submitted(NOBODY, b"\x02" * 32, b"Qm") and not log.root_admitted(1)
