"""A whole project by real processes: two rounds, everybody paid, and nothing left over."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.town import ETHER, TRAINERS, town, town_chain

pytestmark = pytest.mark.e2e


@pytest.mark.exhaustive("test_killed.py counts the same to the wei, with deaths")
def test_two_rounds(tmp_path: Path) -> None:
    with town_chain() as chain, town(tmp_path, chain, rounds=2) as place:
        roles = place.everybody()
        place.conduct()
        results = {name: role.result() for name, role in roles.items()}
        pay = place.pay()
        assert sum(pay.values()) == pytest.approx(2 * ETHER, abs=10)
        for name in TRAINERS:
            rounds = results[name]["rounds"]
            assert [row["round"] for row in rounds] == [1, 2]
            assert sum(row["pay"] for row in rounds) == pay[place.addresses[name]]
            assert results[name]["disagreements"] == {}
        assert [row["round"] for row in results["auditor"]["rounds"]] == [1, 2]
        assert all(row["verified"] and row["aggregate"] == "served" for row in results["auditor"]["rounds"])
        assert results["owner"]["rounds"] == 2 and Path(results["owner"]["model"]).is_file()
        assert chain.balance(place.project.address) == 0
