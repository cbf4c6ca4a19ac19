"""Rounds that are compared with the owner's root update, by real processes."""

from __future__ import annotations

import re
import urllib.request
from pathlib import Path

import pytest

from tests.e2e import culprits
from tests.e2e.town import ETHER, MODEL, TRAINERS, Town, town, town_chain
from zkmarket.chain import Phase

pytestmark = pytest.mark.e2e

COSINE = "krum = false\ncosine = 0.1"
TRAINING = ("receive", "--withdraw", "--model", MODEL, "--epochs", 1, "--root-data")
DATA = "zkmarket.learning:digits,part=3,of=4"
PENALTY = 4 * ETHER // 10


def roots(place: Town, event: str = "RootOffered") -> list[int]:
    """Numbers of the rounds that a root update was offered for, or admitted to."""
    return [event.arguments["round"] for event in place.log().of(event)]


def test_who_points_away_from_the_root_is_rejected_and_earns_nothing(tmp_path: Path) -> None:
    """The owner is killed between two rounds' offers, and makes none twice."""
    with (
        town_chain() as chain,
        town(tmp_path, chain, rounds=2, least=4, most=4, others=["dan"], rules=COSINE) as place,
    ):
        aggregator, auditor = place.aggregator("--metrics", 0), place.auditor()
        trainers = {name: place.trainer(name) for name in TRAINERS}
        trainers["dan"] = place.trainer("dan", attack="sign-flip")
        owner = place.owner(*TRAINING, DATA)
        place.until(lambda: roots(place) == [1])
        url = place.until(lambda: re.search(r"metrics at (http\S+)", aggregator.said()))[1]
        with urllib.request.urlopen(url, timeout=60) as answer:
            told = answer.read().decode()
        assert "zkmarket_round 0.0" in told and 'zkmarket_transactions_total{status="done"} ' in told
        owner.kill()
        owner = place.owner("receive", "--withdraw")  # what it trains with is remembered
        place.conduct(("owner", *TRAINERS, "dan"))

        results = {name: role.result() for name, role in trainers.items()}
        assert roots(place) == roots(place, "RootAdmitted") == [1, 2]
        for name in TRAINERS:
            assert [row["accepted"] for row in results[name]["rounds"]] == [True, True]
            assert sum(row["pay"] for row in results[name]["rounds"]) > ETHER // 10
        assert [(row["accepted"], row["pay"]) for row in results["dan"]["rounds"]] == [(False, 0)] * 2
        audits = auditor.result()["rounds"]
        assert [(row["verified"], row["from_calldata"], row["root"]) for row in audits] == [(True, True, True)] * 2
        assert aggregator.result()["without_root"] == {}
        assert owner.result()["rounds"] == 2
        assert chain.balance(place.project.address) == 0


@pytest.mark.exhaustive("test_offer_root.py has the penalties, test_root_updates.py the roles")
def test_an_owner_that_serves_no_root_update_pays_for_it(tmp_path: Path) -> None:
    """It is asked for until the time to admit is over; then the round is one without a root update, proven as such, and
    owner and aggregator have lost a penalty each."""
    with town_chain() as chain, town(tmp_path, chain, rules=COSINE) as place:
        owner = place.owner(*TRAINING, DATA, prepare=culprits.rootless)
        aggregator, auditor = place.aggregator(), place.auditor()
        trainers = {name: place.trainer(name, prepare=culprits.trusting) for name in TRAINERS}
        place.until(lambda: roots(place) == [1])
        place.until(lambda: "1 sealed updates are not in the store yet" in aggregator.said())
        place.until(lambda: all(seat.admitted for seat in place.project.seats()))
        assert place.project.state().phase == Phase.ADMIT, "an early lock would spare both the penalty"
        place.pass_deadline()
        place.until_phase(Phase.PROVE)
        bond = place.project.terms().bond_wei
        assert place.project.state().bond_wei == bond - PENALTY
        place.conduct()

        for role in trainers.values():
            assert [row["accepted"] for row in role.result()["rounds"]] == [True]
        (row,) = auditor.result()["rounds"]
        assert (row["verified"], row["from_calldata"], row["root"]) == (True, True, False)
        result = aggregator.result()
        (reason,) = result["without_root"].values()
        assert reason.startswith("it gets no receipt: StoreError: no blob ")
        (taken,) = [e for e in place.log().of("Withdrawn") if e.arguments["who"] == result["aggregator"]]
        assert taken.arguments["wei_"] == bond - PENALTY + ETHER // 10  # what is left of the bond, and the fee
        assert owner.result()["rounds"] == 1
        assert chain.balance(place.project.address) == place.project.state().unburnt_wei == 2 * PENALTY


@pytest.mark.exhaustive("tests/roles/test_root_updates.py")
def test_a_round_whose_owner_offers_nothing_starts_late(tmp_path: Path) -> None:
    with town_chain() as chain, town(tmp_path, chain, rules=COSINE) as place:
        owner = place.owner()
        aggregator = place.aggregator()
        trainers = [place.trainer(name, prepare=culprits.trusting) for name in TRAINERS]
        place.until(lambda: "round 1: the owner has offered no root update; " in aggregator.said())
        assert place.project.state().phase == Phase.OPEN
        chain.pass_time(place.project.terms().windows.start // 2)
        place.conduct()
        assert [role.result()["rounds"][0]["accepted"] for role in trainers] == [True] * 3
        assert list(aggregator.result()["without_root"].values()) == ["the owner has offered no root update"]
        assert owner.result()["rounds"] == 1 and chain.balance(place.project.address) == 0
