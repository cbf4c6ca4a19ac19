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
        assert [row["round"] for row in results["auditor"]["rounds"]] == [1, 2]
        assert all(row["verified"] and row["aggregate"] == "served" for row in results["auditor"]["rounds"])
        assert results["owner"]["rounds"] == 2 and Path(results["owner"]["model"]).is_file()
        theta = place.project.state().theta.hex()
        assert results["owner"]["theta"] == results["auditor"]["rounds"][-1]["theta"] == theta
        shown = ("--view", tmp_path / "owner/model.npz", "--json")
        checked = place.start("auditor", "auditor", "model", tmp_path / "owner/theta.npz", *shown)
        assert checked.wait() == 0 and checked.result() == {"round": 2, "theta": theta, "opens": True}
        first = place.start("auditor", "auditor", "model", tmp_path / "owner/theta.npz", "--round", 1)
        assert first.wait() == 1 and "does not open the model's commitment" in first.said()
        assert chain.balance(place.project.address) == 0
