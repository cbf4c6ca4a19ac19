"""Gas: the snapshot of benchmarks/gas.json keeps to the budgets; tests/e2e/test_benchmarks.py: it is not stale."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from benchmarks import bench_gas
from tests.contracts.real import real
from zkmarket.market import settlement_work

__all__ = ["real"]  # the fixture

SNAPSHOT: dict[str, Any] = json.loads(bench_gas.SNAPSHOT.read_text())


@pytest.mark.unit
@pytest.mark.parametrize(
    "group, name, most",
    [
        ("submit", "first", 110_000),
        ("submit", "later", 75_000),
        ("settle", "N8_m1", 2_800_000),
        ("settle", "N10_m13", 5_300_000),
        ("settle", "N32_m8", 12_000_000),
    ],
)
def test_budgets(group: str, name: str, most: int) -> None:
    assert SNAPSHOT[group][name] <= most


@pytest.mark.unit
def test_budget_of_a_further_trainer() -> None:
    """Its credit and its seat; a point; a sixth of a window of the projection; now and then a mask."""
    settle = SNAPSHOT["settle"]
    assert (settle["N16_m1"] - settle["N8_m1"]) / 8 <= 30_000 + 11_000 + 5_000


@pytest.mark.unit
def test_the_factory_estimates_no_less_than_what_was_measured() -> None:
    """Its upper estimates decide which projects it refuses: they must be upper."""
    for name, shape in bench_gas.PROJECTS.items():
        work = settlement_work(*shape, 0)
        assert SNAPSHOT["settle"][name] <= work.base_gas + work.decision_gas, name
    for name, parts in SNAPSHOT["settle_in_two"].items():
        work = settlement_work(*bench_gas.PROJECTS[name], 0)
        assert parts["prove base"] <= work.base_gas and parts["settle"] <= work.decision_gas, name


@pytest.mark.unit
def test_a_difference_is_named() -> None:
    assert bench_gas.compared(SNAPSHOT, SNAPSHOT) == []
    assert bench_gas.compared({"next": SNAPSHOT["next"]}, SNAPSHOT, partial=True) == []
    other = copy.deepcopy(SNAPSHOT)
    other["settle"]["N8_m1"] = SNAPSHOT["settle"]["N8_m1"] * 102 // 100
    other["next"] = SNAPSHOT["next"] * 9 // 10
    other["submit"]["first"] += SNAPSHOT["submit"]["first"] // 200  # within the tolerance
    del other["deploy"]["base"]
    grown, shrunk = (f"{value:,}" for value in (other["settle"]["N8_m1"], other["next"]))
    assert bench_gas.compared(other, SNAPSHOT) == [
        "deploy.base: in one of the two only",
        f"next shrank from {SNAPSHOT['next']:,} to {shrunk} gas (-10.0%)",
        f"settle.N8_m1 grew from {SNAPSHOT['settle']['N8_m1']:,} to {grown} gas (+2.0%)",
    ]
