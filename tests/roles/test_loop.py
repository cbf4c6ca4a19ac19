"""The loop of a role's program: confirmations, refusals that no block explains, states of many blocks ago."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.support.desks import (
    admitting,
    desk_of,
    heard,
    opening,
    seat,
)
from tests.support.past import (
    ME,
    OTHER,
    Past,
    state_of,
)
from zkmarket.chain import Phase
from zkmarket.errors import (
    InputError,
    StoreError,
    TransactionReverted,
)
from zkmarket.market import (
    SealingKey,
    State,
)
from zkmarket.roles import (
    Desk,
    aggregator,
    loop,
)
from zkmarket.roles.metrics import Metrics
from zkmarket.storage import MAX_BLOB, cid_to_bytes

pytestmark = [pytest.mark.unit, pytest.mark.usefixtures("commits")]


@pytest.mark.parametrize("depth, account", [(3, True), (0, True), (3, False)])
def test_no_step_is_taken_before_the_own_transaction_is_deep_enough(
    depth: int, account: bool, past: Past, tmp_path: Path
) -> None:
    """A state from before a transaction shows nothing of it: what was done would be done, and paid, twice."""
    made = desk_of(past, tmp_path, account=account, confirmations=str(depth))
    for _ in range(10):
        past.chain.mine()
    asked: list[int] = []

    def state(depth: int) -> State:
        past.chain.mine()  # a block a look
        asked.append(block := past.chain.tip()[0] - depth)
        return state_of(Phase.OPEN, block=block)

    steps: list[int] = []
    sent_in: list[int] = []

    def step(state: State) -> str | None:
        steps.append(state.block)
        if not sent_in and account:
            sent_in.append(past.chain.mine())
            made.wallet.sent_block = sent_in[0]
        return None if len(steps) == 3 else "waiting"

    past.state = state  # type: ignore[attr-defined]
    made.run(step)
    assert steps[0] == asked[0] and len(steps) == 3
    if account:
        assert min(steps[1:]) >= sent_in[0]
    if depth and account:
        assert [block for block in asked if block < sent_in[0]] == [asked[0], *range(asked[0] + 2, sent_in[0])]
        assert heard(made, "waiting for 3 blocks on top of the last transaction")
    else:
        assert steps == asked


def lagging(past: Past, made: Desk, depth: int) -> None:
    """The chain is looked at `depth` blocks deep; it gets a block every third look."""
    looks = itertools.count()

    def state(depth: int) -> State:
        if next(looks) % 3 == 2:
            past.chain.mine()
        return state_of(Phase.ADMIT, block=past.chain.tip()[0] - depth)

    assert made.depth == depth
    past.state = state  # type: ignore[attr-defined]


REFUSED = TransactionReverted("lock was reverted: the project is in phase PROVE", "WrongPhase(…)")


@pytest.mark.parametrize("depth", [2, 10, 40])
def test_attack_a_lock_of_somebody_elses_ends_no_process(depth: int, past: Past, tmp_path: Path) -> None:
    """A state of many blocks ago does not show it: the same refusal comes until it does, many times."""
    made = desk_of(past, tmp_path, confirmations=str(depth))
    for _ in range(2 * depth):
        past.chain.mine()
    lagging(past, made, depth)
    theirs, refusals = past.chain.mine(), 0

    def step(state: State) -> str | None:
        nonlocal refusals
        if state.block >= theirs:
            return None
        refusals += 1
        assert refusals < 4 * depth
        raise REFUSED

    made.run(step)
    assert refusals > depth and (depth < 10 or refusals > loop.REFUSALS)


@pytest.mark.parametrize("depth", [0, 10])
def test_a_refusal_that_no_block_explains_ends_the_program(depth: int, past: Past, tmp_path: Path) -> None:
    """The honest twin: five of them, by states that have what was the latest block at the first."""
    made = desk_of(past, tmp_path, confirmations=str(depth))
    for _ in range(2 * depth):
        past.chain.mine()
    first, blocks = past.chain.tip()[0], []
    lagging(past, made, depth)

    def step(state: State) -> str | None:
        blocks.append(state.block)
        raise REFUSED

    with pytest.raises(TransactionReverted, match="lock was reverted: the project"):
        made.run(step)
    assert len([block for block in blocks if block >= first]) == loop.REFUSALS
    assert heard(made, "the project is in phase PROVE; looking again")


def test_metrics_are_told_of_every_look_and_every_failure(past: Past, tmp_path: Path) -> None:
    made = desk_of(past, tmp_path)
    made.metrics = told = Metrics("trainer")
    failing = iter([REFUSED, StoreError("500 full"), None])

    def step(state: State) -> str | None:
        past.chain.mine()
        if error := next(failing):
            raise error
        return None

    past.state = lambda depth: state_of(Phase.ADMIT, round=4, block=past.chain.tip()[0])  # type: ignore[attr-defined]
    made.run(step)
    value = told.registry.get_sample_value
    assert [value("zkmarket_failures_total", {"kind": kind}) for kind in ("TransactionReverted", "StoreError")] == [
        1,
        1,
    ]
    assert value("zkmarket_round") == 4 and value("zkmarket_phase", {"zkmarket_phase": "ADMIT"}) == 1
    assert value("zkmarket_block") == 3 - 1  # of the third look


@pytest.mark.parametrize("really", [True, False])
def test_an_aggregator_that_was_named_lately_waits_for_the_state_that_shows_it(
    really: bool, past: Past, tmp_path: Path
) -> None:
    """A state of ten blocks ago has the old one in office; that is no reason to end."""
    made = desk_of(past, tmp_path, confirmations="10")
    past.state = lambda depth=0: state_of(Phase.VACANT, aggregator=ME if really and not depth else OTHER)  # type: ignore[attr-defined]
    role, old = aggregator.Aggregator(made), state_of(Phase.VACANT, aggregator=OTHER)
    if really:
        assert role.step(old) == "named as the aggregator; waiting for 10 blocks on top of that"
    else:
        with pytest.raises(InputError, match=f"the aggregator of .* is {OTHER}, not {ME}"):
            role.step(old)


def test_updates_that_no_store_has_hold_no_other_up(past: Past, at: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack: many seats whose updates never come, each of which takes as long as a store may hang."""
    key, sent = SealingKey.fresh(), opening()
    *lost, honest = [seat(past, key, sent, f"0x{number:040x}") for number in range(1, 21)]
    mine = at.history.log().submitted(1)[str(honest.trainer)].cid
    gone = threading.Event()

    def get(cid: str, limit: int = MAX_BLOB) -> bytes:
        if cid_to_bytes(cid) != mine:
            assert gone.wait(30)
            raise StoreError("never")
        return past.store.blobs[cid]

    monkeypatch.setattr(past.store, "get", get)
    given = []

    def admit(sender: Any, receipts: Any) -> None:
        given.append(list(receipts))
        gone.set()  # before any of the others has ended

    monkeypatch.setattr(past, "admit", admit, raising=False)
    _, said = admitting(past, at, key)
    assert "19 sealed updates are not in the store yet" in said
    assert given == [[honest.trainer]] and len(lost) == 19


def test_refusals_that_are_mined_end_the_program_too(past: Past, tmp_path: Path) -> None:
    """Each costs gas, and has another hash; what is waited for in between is no success."""
    made = desk_of(past, tmp_path, confirmations="3")
    for _ in range(10):
        past.chain.mine()
    lagging(past, made, 3)
    tries = itertools.count()

    def step(state: State) -> str | None:
        assert next(tries) < 20
        made.wallet.sent_block = past.chain.mine()
        raise TransactionReverted(f"start was reverted: transaction 0x{next(tries):064x}")

    with pytest.raises(TransactionReverted, match="start was reverted"):
        made.run(step)
