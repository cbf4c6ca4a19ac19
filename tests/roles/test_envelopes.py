"""Who can read an envelope, and aggregators that serve something else than they have proven."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.desks import (
    BAD_AGGREGATES,
    EARLY,
)
from tests.support.past import (
    ETHER,
    MANIFEST,
    ME,
    OWNER,
    TRAINERS,
    Past,
    aggregate_of,
    last,
    state_of,
)
from zkmarket.chain import Phase
from zkmarket.errors import (
    SealError,
)
from zkmarket.market import (
    SealingKey,
    Seat,
    decode_aggregate,
    sealing,
    unseal,
)
from zkmarket.roles import (
    UNAVAILABLE,
    Desk,
    aggregator,
    trainer,
)
from zkmarket.storage import cid_to_bytes

pytestmark = [pytest.mark.unit, pytest.mark.usefixtures("commits")]


# ---------------------------------------------------------------- readers of an envelope


def test_thousands_of_accounts_push_no_active_trainer_out(
    past: Past, at: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: more members than an envelope has room for, who joined first and have never submitted."""
    monkeypatch.setattr(sealing, "MAX_READERS", 5)
    sybils = [SealingKey.fresh() for _ in range(6)]
    honest = {who: SealingKey.fresh() for who in TRAINERS}
    members = {f"0x{number:040x}": key for number, key in enumerate(sybils)} | honest
    for who, key in members.items():
        past.log("Joined", trainer=who, stakeWei=ETHER, encryptionKey=key.public)
    for who in TRAINERS:
        past.log("Submitted", round=1, trainer=who, digest=bytes(32), cid=b"")
    log = at.history.log()
    readers = aggregator.Aggregator(at).readers(log)
    assert set(readers) == {OWNER.public, at.sealing_key.public, *(key.public for key in members.values())}
    blob, key = sealing.seal(b"the sum", readers)
    for reader in (OWNER, at.sealing_key, *honest.values()):
        assert sealing.content_key(blob, reader) == key
    for reader in sybils:
        with pytest.raises(SealError, match="made for others"):
            sealing.content_key(blob, reader)


def test_who_has_left_is_no_reader(past: Past, at: Desk) -> None:
    """Not even one that submitted to the last round."""
    key = SealingKey.fresh().public
    past.log("Joined", trainer=ME, stakeWei=ETHER, encryptionKey=key)
    past.log("Submitted", round=1, trainer=ME, digest=bytes(32), cid=b"")
    roles = aggregator.Aggregator(at)
    assert key in roles.readers(at.history.log())
    past.log("Left", trainer=ME, refundWei=ETHER)
    assert key not in roles.readers(at.history.log())


# ---------------------------------------------------------------- an earlier aggregator's envelope


@pytest.mark.parametrize("bad", BAD_AGGREGATES)
def test_a_bad_envelope_of_an_earlier_aggregator_does_not_stop_the_next(
    bad: str, past: Past, at: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: serve another aggregate than the proven one, and fail; whoever takes office next cannot settle."""
    past.started(1)
    past.settled(1, at.sealing_key, OWNER, served=BAD_AGGREGATES[bad][0])
    past.started(2)
    role = aggregator.Aggregator(at)
    monkeypatch.setattr(role, "proven", lambda *_: ("the proof", aggregate_of(2)))
    past.taken = [Seat(who, False, bytes(32)) for who in TRAINERS]

    assert role.settle(state_of(Phase.PROVE, round=2, settled=1)) == "settled"
    name, proof, theta, cid, publication = past.sent[-1]
    assert (name, proof, publication) == ("settle", "the proof", b"signed")
    assert theta == past.theta, "the model's commitment follows from the log, whoever can open what"
    blob = past.store.blobs[next(one for one in past.store.blobs if cid_to_bytes(one) == cid)]
    served = decode_aggregate(unseal(blob, sealing.content_key(blob, OWNER)), MANIFEST)
    assert np.array_equal(served.values, aggregate_of(2).values)


@pytest.mark.parametrize("bad", BAD_AGGREGATES)
def test_a_bad_envelope_is_unavailable_to_those_who_read_it(bad: str, past: Past, at: Desk) -> None:
    served, kind, reason = BAD_AGGREGATES[bad]
    past.started(1)
    past.settled(1, at.sealing_key, served=served, closed=False)
    log = at.history.log()
    with pytest.raises(kind, match=reason) as caught:
        at.history.aggregate(last(log.settled()), log)
    assert isinstance(caught.value, UNAVAILABLE)
    early = at.receive(state_of(Phase.SETTLED, now=900), log, may_claim=True, verified=set())
    assert reason in early and not past.sent
    at.receive(state_of(Phase.SETTLED, now=1000), log, may_claim=True, verified=set())
    assert past.sent == [("claim",)]
    past.closed(1)
    past.started(2)
    early = state_of(Phase.SUBMIT, round=2, now=EARLY)
    said = trainer.Trainer(at, learn=lambda lesson: lesson.theta).submit(early)
    assert said and said.startswith("round 2: nothing is submitted yet, ") and reason in said
    assert past.sent == [("claim",)]
