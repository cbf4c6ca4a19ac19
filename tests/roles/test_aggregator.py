"""Aggregators whose store takes nothing, or who are killed: the settlement is sent in time all the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.support.desks import (
    SEED,
    Refusing,
    desk_of,
    settling,
)
from tests.support.past import (
    ETHER,
    ME,
    OTHER,
    TERMS,
    TRAINERS,
    Past,
    aggregate_of,
    state_of,
)
from zkmarket.chain import Phase
from zkmarket.errors import (
    InputError,
)
from zkmarket.market import (
    SealingKey,
)
from zkmarket.roles import (
    Desk,
    aggregator,
)
from zkmarket.round import (
    Aggregate,
)
from zkmarket.storage import cid_of, cid_to_bytes

pytestmark = [pytest.mark.unit, pytest.mark.usefixtures("commits")]


# ---------------------------------------------------------------- a settlement that one transaction does not hold


@pytest.mark.parametrize("before", ["nothing", "another's", "its own"])
def test_a_settlement_in_two_transactions_goes_on_where_it_was_killed(
    before: str, past: Past, at: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A base proof that the chain has is not sent again; one with another seed is none of this settlement."""
    role = settling(past, at, monkeypatch)
    monkeypatch.setattr(aggregator, "fits_one", lambda shape: False)
    past.proven = {"nothing": set(), "another's": {bytes(32)}, "its own": {SEED}}[before]
    assert role.settle(state_of(Phase.PROVE, round=2, settled=1)) == "settled"
    names = [call[0] for call in past.sent if call[0] != "sign_publication"]
    assert names == ["settle_proven"] if before == "its own" else ["prove_base", "settle_proven"]


def test_a_last_aggregate_that_cannot_be_worked_with_keeps_the_office_untaken(
    past: Past, at: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: a predecessor that leaves an aggregate with which no round could be proven; the bond would be lost."""
    monkeypatch.setattr(Desk, "inspected", lambda self: None)
    monkeypatch.setattr(Desk, "manifest", SimpleNamespace(references=("last",)))
    past.started(1)
    past.settled(1, at.sealing_key)
    role = aggregator.Aggregator(at)
    checked: list[Aggregate] = []

    def refuse(manifest: Any, last: Aggregate) -> None:
        checked.append(last)
        raise InputError("the last aggregate is longer than the sum of 3 updates can be")

    with monkeypatch.context() as patch:
        patch.setattr(aggregator, "check_last", refuse)
        assert "the office is not taken: round 2 cannot be started" in role.accept(state_of(Phase.VACANT))
    assert np.array_equal(checked[0].values, aggregate_of(1).values) and not past.sent
    monkeypatch.setattr(aggregator, "check_last", lambda manifest, last: None)
    assert role.accept(state_of(Phase.VACANT)) == "accepted" and past.sent == [("accept", at.sealing_key.public)]


# ---------------------------------------------------------------- a model that outgrows its integers


def test_theta_outgrows_its_bound(past: Past, at: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack: move the model until its integers wrap around, so that nobody can go on. No round is started that could:
    w·n·√β is at most (2^9 + 3/2)·31 here. It costs the aggregator nothing, and the office is not taken either."""
    monkeypatch.setattr(Desk, "inspected", lambda self: None)
    for who in TRAINERS:
        past.log("Joined", trainer=who, stakeWei=ETHER, encryptionKey=SealingKey.fresh().public)
    room, opening = (1 << 62) - 1, state_of(Phase.OPEN, now=920, round=0)
    largest = room - (512 + 3 // 2 + 1) * 31
    values = np.zeros(TERMS.params, np.int64)
    values[-1] = -largest - 1
    first, points = at.history.first
    at.history._first = replace(first, values=values), points
    role = aggregator.Aggregator(at)
    said = "round 1 cannot be started: the model would outgrow its integers"
    assert str(role.start(opening)).startswith(said) and not past.sent
    assert (
        role.accept(state_of(Phase.CREATED, round=0)).startswith(f"the office is not taken: {said}") and not past.sent
    )
    values[-1] += 1
    assert role.start(opening) == "started" and past.sent[-1][0] == "start"


# ---------------------------------------------------------------- a store that takes nothing from an aggregator


def test_attack_a_store_that_takes_nothing_costs_no_bond(
    past: Past, at: Desk, full: Refusing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The settlement is sent in time, with the CID of what is on disk; the putting goes on after it."""
    role = settling(past, at, monkeypatch)
    assert role.settle(state_of(Phase.PROVE, round=2, settled=1)) == "settled"
    name, _, _, cid, _ = past.sent[-1]
    assert name == "settle" and not past.store.asked, "it does not wait for what a store should give either"
    blob = (at.round_folder(2) / aggregator.SEALED_FILE).read_bytes()
    assert cid == cid_to_bytes(cid_of(blob)) and at.delivery.waiting() == [cid_of(blob)]
    full.recovers(past, cid)
    assert past.store.blobs[cid_of(blob)] == blob


def test_attack_a_store_that_takes_nothing_and_a_process_that_is_killed(
    past: Past, at: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the settlement was sent, the blob was on disk: the next process puts it, without a look at the round."""
    vars(at)["store"] = Refusing(past.store, "refuses")
    role = settling(past, at, monkeypatch)

    def killed(*_: object) -> None:
        assert at.delivery.waiting(), "it is on disk before the transaction is sent"
        raise KeyboardInterrupt

    monkeypatch.setattr(past, "settle", killed, raising=False)
    with pytest.raises(KeyboardInterrupt):
        role.settle(state_of(Phase.PROVE, round=2, settled=1))
    (cid,) = at.delivery.waiting()
    assert cid not in past.store.blobs
    again = desk_of(past, tmp_path)
    past.state = lambda depth: state_of(Phase.SETTLED, round=2)  # type: ignore[attr-defined]
    looks = iter(range(100_000))
    again.run(lambda state: None if not again.delivery.waiting() or next(looks, None) is None else "waiting")
    assert cid in past.store.blobs and again.delivery.waiting() == []


def test_attack_a_store_that_takes_no_keyring_keeps_no_round_from_starting(
    past: Past, at: Desk, full: Refusing, monkeypatch: pytest.MonkeyPatch
) -> None:
    past.started(1)
    past.settled(1, at.sealing_key)
    for who in TRAINERS:
        past.log("Joined", trainer=who, stakeWei=ETHER, encryptionKey=SealingKey.fresh().public)
    assert aggregator.Aggregator(at).start(state_of(Phase.OPEN, now=920)) == "started"
    name, _, keyring = past.sent[-1]
    assert name == "start"
    full.recovers(past, keyring)


def test_an_aggregate_that_the_store_has_lost_is_put_again_when_somebody_claims(past: Past, at: Desk) -> None:
    role, state = aggregator.Aggregator(at), state_of(Phase.SETTLED, aggregator=ME)
    blob = b"sealed"
    at.round_folder(1).mkdir(parents=True)
    (at.round_folder(1) / aggregator.SEALED_FILE).write_bytes(blob)
    role.step(state)
    assert not past.store.blobs
    past.log("Claimed", round=1, who=OTHER, held=False)
    role.step(state)
    assert past.store.blobs == {cid_of(blob): blob}
