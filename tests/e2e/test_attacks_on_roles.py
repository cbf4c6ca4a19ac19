"""What others can do to a role's program so that it loses bond, stake or place: nothing. By real processes."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import culprits
from tests.e2e.test_failures import EVERYBODY, Shop, ask, impatient, lines
from tests.e2e.test_parties import hasten, next_round, submitted
from tests.e2e.town import ETHER, TRAINERS, Town, town
from zkmarket.chain import Chain, Phase
from zkmarket.errors import StoreError

pytestmark = pytest.mark.e2e

FEE = ETHER // 10


def withdrawn(place: Town, name: str) -> int:
    taken = [event for event in place.log().of("Withdrawn") if event.arguments["who"] == place.addresses[name]]
    return sum(event.arguments["wei_"] for event in taken)


# ---------------------------------------------------------------- a store that takes nothing


@pytest.mark.exhaustive("tests/roles/test_aggregator.py plays it")
def test_a_store_that_takes_nothing_costs_the_aggregator_nothing(tmp_path: Path, chain: Chain, deployed: Path) -> None:
    """It answers 500 while the round is settled, hangs after the aggregator was killed, and refuses the keyring.

    The aggregator settles and starts in time, although its patience with a store is two seconds; what it has named on
    chain is in the store as soon as that recovers, and nobody claims.
    """
    shop = Shop(tmp_path / "store")
    with shop.open() as url, town(tmp_path, chain, rounds=2, deployed=deployed) as place:
        bond = place.project.terms().bond_wei
        more: dict[str, Any] = {"prepare": functools.partial(both, 3)}
        at = {name: ("--poll", 0.05, "--store", f"{url}/{name}") for name in EVERYBODY}

        def aggregator() -> Any:
            return place.aggregator("--patience", 2, *at["aggregator"], **more)

        def has(cid: str | None) -> bool:
            try:
                return bool(shop.store.get(cid or ""))
            except StoreError:
                return False

        killed = aggregator()
        owner, auditor = place.owner("receive", "--withdraw", *at["owner"]), place.auditor("watch", *at["auditor"])
        trainers = {name: place.trainer(name, *at[name], **more) for name in TRAINERS}

        # round 1: nothing is taken while the bond is at stake
        place.until_phase(Phase.SUBMIT)
        shop.puts["aggregator"] = "error"
        place.until_phase(Phase.SETTLED)
        (settled,) = place.log().settled()
        assert settled.cid and not has(settled.cid)
        place.until(lambda: lines(killed, f"the store does not take {settled.cid}: "))
        killed.kill()
        shop.puts["aggregator"] = "hang"
        again = aggregator()
        place.until(lambda: lines(again, "round 1 is settled"))
        place.until(lambda: lines(trainers["ann"], "the aggregate cannot be had yet: "))
        place.until(lambda: lines(again, f"the store does not take {settled.cid}: "))
        assert not has(settled.cid) and again.code is None
        shop.puts.clear()
        place.until(lambda: has(settled.cid))
        place.until(lambda: place.opened(1, "owner", *TRAINERS))
        place.until(lambda: lines(auditor, "round 1: verified"))

        # round 2: the keyring is not taken
        shop.puts["aggregator"] = "refuse"
        place.pass_deadline()
        place.until(lambda: place.project.state().round == 2)
        keyring = place.log().started(2).keyring
        assert keyring and not has(keyring)
        shop.puts.clear()
        place.until(lambda: has(keyring))
        place.conduct()

        assert again.result()["settled"] == 2
        assert withdrawn(place, "aggregator") == bond + 2 * FEE
        assert place.log().of("Claimed") == [] and place.log().of("Failed") == []
        assert [row["aggregate"] for row in auditor.result()["rounds"]] == ["served", "served"]
        assert owner.result()["rounds"] == 2 and owner.result()["theta"] == place.project.state().theta.hex()
        assert not list((tmp_path / "aggregator/outgoing").iterdir())


def both(seconds: float) -> None:
    """In a role: impatient, and joins without an inspection."""
    impatient(seconds)
    culprits.trusting()


# ---------------------------------------------------------------- ten confirmations, and somebody who is quicker


def test_a_lock_that_somebody_else_sends_ends_no_aggregator(tmp_path: Path, chain: Chain, deployed: Path) -> None:
    """With ten confirmations the aggregator sees for ten blocks that it could lock; the contract refuses each time."""
    with town(tmp_path, chain, deployed=deployed) as place:
        project, quick = place.project, {"prepare": culprits.trusting}
        soon = functools.partial(hasten, place, pace=0.2)  # each step waits for ten blocks
        bond = project.terms().bond_wei
        aggregator = place.aggregator("--confirmations", 10, **quick)
        trainers = {name: place.trainer(name, **quick) for name in TRAINERS}
        soon(place.submitted)
        soon(lambda: all(seat.admitted for seat in project.seats()))
        admitted = place.log().of("Admitted")[-1].block
        ask(chain.rpc_url, "anvil_mine", hex(admitted + 9 - chain.tip()[0]))
        project.lock(chain.accounts[5])  # anybody may; in this block the aggregator's own could have been
        refused = "lock was reverted: "
        soon(lambda: lines(aggregator, refused))
        soon(lambda: project.state().phase == Phase.SETTLED)
        (said,) = {line.split(";")[0] for line in lines(aggregator, refused)}
        assert "the project is in phase PROVE" in said
        soon(lambda: place.opened(1, *TRAINERS))
        place.pass_deadline()
        soon(lambda: aggregator.code is not None)
        assert aggregator.result()["settled"] == 1
        assert withdrawn(place, "aggregator") == bond + FEE
        for role in trainers.values():
            assert [row["accepted"] for row in role.result()["rounds"]] == [True]


# ---------------------------------------------------------------- one trainer who is left out


@pytest.mark.exhaustive("tests/roles/test_trainer.py plays it")
def test_a_trainer_that_is_left_out_keeps_its_place(tmp_path: Path, chain: Chain, deployed: Path) -> None:
    """Attack: aggregates and keyrings are sealed to all but cyd, which then has nothing to train from.

    A round takes three: without its zero update round 2 would be void, and cyd alone would pay for that. The zero is
    proven, admitted and settled as any other, earns nothing and leaves the others' pay to them. Then the owner's
    keyring lets cyd train again.
    """
    with town(tmp_path, chain, rounds=3, deployed=deployed) as place:
        project, quick = place.project, {"prepare": culprits.trusting}
        windows, cyd = project.terms().windows, place.addresses["cyd"]
        aggregator = place.aggregator(prepare=culprits.excluding, VICTIM=cyd)
        owner = place.owner()
        trainers = {name: place.trainer(name, **quick) for name in TRAINERS}
        place.until_phase(Phase.SETTLED)
        hasten(place, lambda: lines(trainers["cyd"], "the aggregate cannot be had yet: "))
        next_round(place, ("owner", "ann", "bob"))

        # round 2: cyd waits for half of the time, and then sends a zero
        submitted(place, 2)
        hasten(place, lambda: lines(trainers["cyd"], "round 2: nothing is submitted yet, a zero update is, when half"))
        assert not place.opened(1, "cyd")
        chain.pass_time(windows.submit // 2)
        hasten(place, lambda: project.state().phase == Phase.SETTLED)
        assert lines(trainers["cyd"], "round 2: WARNING: a zero update is submitted")
        settled = place.log().settled()[-1]
        slot = settled.trainers.index(cyd)
        assert settled.scores[slot] == settled.pay[slot] == 0 and sum(settled.pay) == pytest.approx(ETHER, abs=10)
        assert project.account(cyd).stake_wei == ETHER and cyd in place.log().members()
        hasten(place, lambda: lines(owner, "keyring of 2 rounds, sealed to 3 trainers: "))

        # round 3, with the owner's keyring
        trainers["cyd"].kill()
        cid = json.loads((tmp_path / "owner/members.json").read_text())["cid"]
        trainers["cyd"] = place.trainer("cyd", "--keyring", cid, **quick)
        next_round(place, ("owner", "ann", "bob", "cyd"))
        submitted(place, 3)
        theta = {lines(role, "round 3: training from the model ")[-1].split()[-1] for role in trainers.values()}
        assert len(theta) == 1
        place.until_phase(Phase.SETTLED)
        settled = place.log().settled()[-1]
        assert settled.pay[settled.trainers.index(cyd)] > 0
        hasten(place, lambda: place.opened(3, "owner", "ann", "bob"))
        place.pass_deadline()

        result = trainers["cyd"].result()
        assert list(result["zero_updates"]) == ["2"] and "without you" in result["zero_updates"]["2"]
        assert place.log().of("Skipped") == [] and place.log().of("Voided") == []
        assert aggregator.result()["settled"] == 3 and owner.result()["rounds"] == 3
