"""Projects with other rules than Multi-Krum and Shapley, by real processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.town import ETHER, TRAINERS, town, town_chain

pytestmark = pytest.mark.e2e

NOVEL = 'score = "novel"\nthree_sigma = "off"'
"""Multi-Krum alone: with f = 0 it accepts all of four, the free rider too, and the score must see to it that it is not
paid. The default filter rejects what it sends."""


@pytest.mark.exhaustive("test_rules_circuit.py has the score, test_references.py the slot")
def test_a_free_rider_earns_nothing_from_the_second_round_on(tmp_path: Path) -> None:
    """Score `novel`: each round is compared with the last aggregate, by everybody, and verified from calldata."""
    with (
        town_chain() as chain,
        town(tmp_path, chain, rounds=2, least=4, most=4, others=["dan"], rules=NOVEL) as place,
    ):
        roles = place.everybody() | {"dan": place.trainer("dan", attack="free-ride")}
        place.conduct(("owner", *TRAINERS, "dan"))
        results = {name: role.result() for name, role in roles.items()}
        audits = results["auditor"]["rounds"]
        assert [row["round"] for row in audits] == [1, 2]
        assert all(row["verified"] and row["from_calldata"] for row in audits)
        dan = {row["round"]: row for row in results["dan"]["rounds"]}
        # what it sends is the mean, rounded: not quite a multiple of the sum
        assert dan[2]["accepted"] and dan[2]["pay"] < ETHER // 100
        paid = [row["pay"] for name in TRAINERS for row in results[name]["rounds"] if row["round"] == 2]
        assert sum(paid) > ETHER * 98 // 100 and min(paid) > ETHER // 10
        assert results["owner"]["rounds"] == 2
