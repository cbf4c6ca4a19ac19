"""Rounds that are compared with the owner's root update, by real processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e import culprits
from tests.e2e.town import ETHER, MODEL, TRAINERS, Town, town, town_chain
from zkmarket.escrow import Phase

pytestmark = pytest.mark.e2e

COSINE = "krum = false\ncosine = 0.1"
TRAINING = ("receive", "--withdraw", "--model", MODEL, "--epochs", 1, "--root-data")
DATA = "zkmarket.learning:digits,part=3,of=4"


def roots(place: Town) -> list[int]:
    """Numbers of the rounds that a root update was offered for."""
    return [event.arguments["round"] for event in place.log().of("RootOffered")]


def test_who_points_away_from_the_root_is_rejected_and_earns_nothing(tmp_path: Path) -> None:
    """The owner is killed between two rounds' offers, and makes none twice."""
    with (
        town_chain() as chain,
        town(tmp_path, chain, rounds=2, least=4, most=4, others=["dan"], rules=COSINE) as place,
    ):
        aggregator, auditor = place.aggregator(), place.auditor()
        trainers = {name: place.trainer(name) for name in TRAINERS}
        trainers["dan"] = place.trainer("dan", attack="sign-flip")
        owner = place.owner(*TRAINING, DATA)
        place.until(lambda: roots(place) == [1])
        owner.kill()
        owner = place.owner("receive", "--withdraw")  # what it trains with is remembered
        place.conduct(("owner", *TRAINERS, "dan"))

        results = {name: role.result() for name, role in trainers.items()}
        assert roots(place) == [1, 2]
        for name in TRAINERS:
            assert [row["accepted"] for row in results[name]["rounds"]] == [True, True]
            assert sum(row["pay"] for row in results[name]["rounds"]) > ETHER // 10
        assert [(row["accepted"], row["pay"]) for row in results["dan"]["rounds"]] == [(False, 0)] * 2
        audits = auditor.result()["rounds"]
        assert [(row["verified"], row["from_calldata"], row["root"]) for row in audits] == [(True, True, True)] * 2
        assert aggregator.result()["without_root"] == {}
        assert owner.result()["rounds"] == 2
        assert chain.balance(place.project.address) == 0


def test_an_owner_that_serves_no_opening_costs_the_aggregator_nothing(tmp_path: Path) -> None:
    """Half of the time to start is waited for it; then the round is one without a root update, proven as such."""
    with town_chain() as chain, town(tmp_path, chain, rules=COSINE) as place:
        owner = place.owner(*TRAINING, DATA, prepare=culprits.rootless)
        aggregator, auditor = place.aggregator(), place.auditor()
        trainers = {name: place.trainer(name, prepare=culprits.trusting) for name in TRAINERS}
        place.until(lambda: roots(place) == [1])
        place.until(lambda: "round 1: the root update is not in the store" in aggregator.said())
        assert place.project.state().phase == Phase.OPEN
        chain.pass_time(place.project.terms()["windows"]["start"] // 2)
        place.conduct()

        for role in trainers.values():
            assert [row["accepted"] for row in role.result()["rounds"]] == [True]
        (row,) = auditor.result()["rounds"]
        assert (row["verified"], row["from_calldata"], row["root"]) == (True, True, False)
        result = aggregator.result()
        (reason,) = result["without_root"].values()
        assert reason.startswith("the root update is not in the store: ")
        (taken,) = [e for e in place.log().of("Withdrawn") if e.arguments["who"] == result["aggregator"]]
        assert taken.arguments["wei_"] == place.project.terms()["bondWei"] + ETHER // 10  # bond and fee
        assert owner.result()["rounds"] == 1
