"""`status` for people: sentences, amounts in ether, deadlines as dates with what is left; raw values in its result."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from tests.support.desks import at, past
from tests.support.past import ETHER, ME, OTHER, TERMS, Past, state_of
from zkmarket.chain import Phase
from zkmarket.cli.standing import aggregator_text, owner_text, trainer_text
from zkmarket.documents import write_json
from zkmarket.market import State, until, without_countdown
from zkmarket.roles import Desk, aggregator, owner, trainer

__all__ = ["at", "past"]

pytestmark = pytest.mark.unit

NOW = 1_800_000_000


def standing(past: Past, phase: Phase = Phase.SUBMIT, **changes: Any) -> None:
    state = state_of(phase, now=NOW, deadline=NOW + 200, aggregator=ME, bond_wei=3 * ETHER, **changes)
    past.state = lambda depth=0: state  # type: ignore[attr-defined]
    past.own = replace(past.own, credit=ETHER // 4, refund_wei=ETHER // 2)


def no_raw_values(text: str) -> None:
    without_addresses = re.sub(r"0x\w{40}", "", text)
    assert not re.search(r"\d{10}|[\[\]{}]|\bNone\b|\b(True|False)\b|\bwei\b", without_addresses), text


def test_a_trainer(past: Past, at: Desk) -> None:
    past.started(1)
    past.settled(1, at.sealing_key)
    write_json(at.round_folder(2) / trainer.ZERO_FILE, {"reason": "it was served to the others alone"})
    past.log("Refused", round=3, trainer=ME, burntWei=1)
    standing(past, round=4)
    found = trainer.status(at)
    assert (found["deadline"], found["now"], found["credit"], found["token"]) == (NOW + 200, NOW, ETHER // 4, None)
    text = trainer_text(found)
    assert text.splitlines() == [
        f"project {at.project.address}: round 4, phase SUBMIT: trainers submit their updates, until 2027-01-15 08:03:20"
        " UTC by the chain's clock, in 3 min",
        f"account {ME} has a stake of 1 ether",
        "owed to this account: 0.75 ether; `zkmarket trainer withdraw` takes it out",
        "round 1: accepted, score 1, paid 1000 wei",
        "round 3: the aggregator gave no receipt for the update, which cost a penalty",
        "round 2: a zero update was committed to: it was served to the others alone",
    ]


def test_an_aggregator(past: Past, at: Desk) -> None:
    write_json(at.round_folder(1) / aggregator.REFUSALS_FILE, {OTHER: "SealError: it is damaged"})
    write_json(at.round_folder(2) / aggregator.NO_ROOT_FILE, {"reason": "the owner has offered none"})
    standing(past, Phase.OPEN, settled=1)
    text = aggregator_text(aggregator.status(at))
    no_raw_values(text)
    for said in (
        "phase OPEN: the next round has not been started yet, until",
        f"aggregator {ME} holds the office; the bond there is 3 ether",
        "1 round settled",
        f"round 1: refused {OTHER}: SealError: it is damaged",
        "round 2: without a root update: the owner has offered none",
    ):
        assert said in text


def test_an_owner(past: Past, at: Desk) -> None:
    past.log("Joined", trainer=OTHER, encryptionKey=b"\1" * 32, stakeWei=ETHER)
    standing(past, Phase.SETTLED, settled=2, voids=1, pool=3 * ETHER // 2, claimed=True, ending=True)
    text = owner_text(owner.status(at))
    no_raw_values(text)
    for said in (
        "2 rounds settled, 1 came to nothing",
        f"1 trainer: {OTHER}",
        f"aggregator {ME}",
        "in escrow for rounds to come: 1.5 ether",
        "the last aggregate counts as not served: fee and bond are held longer",
        "its end is announced: no further round opens",
    ):
        assert said in text
    standing(past, Phase.ENDED)
    assert "has ended after round 1" in owner_text(owner.status(at))


def test_an_owner_that_has_not_paid_in(past: Past, at: Desk) -> None:
    del at.settings.value["project"]
    assert owner_text(owner.status(at)).endswith("nobody can join it yet; made so far: nothing")
    write_json(at.folder / "deployed.json", {"factory": OTHER, "verifiers": {"base": ME, "settlement-3": ME}})
    assert owner_text(owner.status(at)).endswith(f"made so far: factory {OTHER}, 2 verifiers")


def test_a_reward_in_a_token(past: Past, at: Desk) -> None:
    at.terms = replace(TERMS, token=OTHER)
    standing(past)
    found = trainer.status(at)
    assert found["token"] == OTHER
    assert f"owed to this account: {ETHER // 4:,} units of the token and 0.5 ether;" in trainer_text(found)
    past.own = replace(past.own, credit=0, refund_wei=0, stake_wei=0)
    text = trainer_text(trainer.status(at))
    assert f"account {ME} is no trainer now" in text and "nothing is owed to this account now" in text


def test_what_is_left_of_a_phase() -> None:
    state = state_of(Phase.SUBMIT, now=NOW, deadline=NOW + 7199)
    assert until(state) == "until 2027-01-15 09:59:59 UTC by the chain's clock, in 119 min"
    assert until(replace(state, now=state.deadline)).endswith("by the chain's clock, in 0 s")
    assert until(replace(state, now=state.deadline + 1)).endswith("by the chain's clock, which is over")


def test_what_is_waited_for_is_said_once_whatever_time_is_left(past: Past, at: Desk) -> None:
    """Not a line every second; but another deadline is another thing."""

    def wait(state: State) -> None:
        at.waits(f"waiting for the others, {until(state)}")

    first = state_of(Phase.SUBMIT, now=NOW, deadline=NOW + 30)
    for now in range(NOW, NOW + 31):
        wait(replace(first, now=now))
    assert len(at.progress) == 1  # type: ignore[arg-type]
    wait(replace(first, deadline=NOW + 31))
    assert len(at.progress) == 2  # type: ignore[arg-type]
    assert without_countdown("in 3 rounds, in 4 days") == "in 3 rounds, in 4 days"
