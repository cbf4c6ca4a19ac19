"""Gas: the snapshot of benchmarks/gas.json keeps to the budgets, and is not stale."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from benchmarks import bench_gas
from tests.contracts.real import Real, real
from zkmarket.market import Chain

__all__ = ["real"]  # the fixture

SNAPSHOT: dict[str, Any] = json.loads(bench_gas.SNAPSHOT.read_text())
BLOCK_PART = 14_000_000
"""What the factory takes for the most that a submission or a settlement may need."""


@pytest.mark.unit
@pytest.mark.parametrize(
    "group, name, most", [("settle", "N8_m1", 1_750_000), ("settle", "N10_m4", 2_050_000), ("submit", "m1", 1_100_000)]
)
def test_budgets(group: str, name: str, most: int) -> None:
    assert SNAPSHOT[group][name] <= most


@pytest.mark.unit
def test_budget_of_a_further_trainer() -> None:
    """7,000 for each chunk's point, and 30,000."""
    settle = SNAPSHOT["settle"]
    assert (settle["N16_m1"] - settle["N8_m1"]) / 8 <= 7_000 + 30_000


@pytest.mark.unit
def test_the_factory_estimates_no_less_than_what_was_measured() -> None:
    """Its upper estimates decide which projects it refuses: they must be upper."""
    source = (bench_gas.market.ROOT / "contracts" / "Factory.sol").read_text()

    def constant(name: str) -> int:
        return int(source.partition(f"constant {name} = ")[2].partition(";")[0].replace("_", ""))

    assert constant("GAS_LIMIT") == BLOCK_PART
    for name, (n, params, logrows) in bench_gas.PROJECTS.items():
        chunks = -(-params // ((1 << logrows) - 16))
        estimate = constant("SETTLE_GAS") + n * constant("TRAINER_GAS") + (n + 2) * chunks * constant("POINT_GAS")
        assert SNAPSHOT["settle"][name] <= estimate, name
    for name, chunks in (("m1", 1), ("m4", 4)):
        assert SNAPSHOT["submit"][name] <= constant("SUBMIT_GAS") + chunks * constant("RANGE_PROOF_GAS"), name


@pytest.mark.unit
def test_a_difference_is_named() -> None:
    assert bench_gas.compared(SNAPSHOT, SNAPSHOT) == []
    other = copy.deepcopy(SNAPSHOT)
    other["settle"]["N8_m1"] = SNAPSHOT["settle"]["N8_m1"] * 102 // 100
    other["next"] = SNAPSHOT["next"] * 9 // 10
    other["submit"]["m1"] += SNAPSHOT["submit"]["m1"] // 200  # within the tolerance
    del other["deploy"]["gram"]
    grown, shrunk = (f"{value:,}" for value in (other["settle"]["N8_m1"], other["next"]))
    assert bench_gas.compared(other, SNAPSHOT) == [
        "deploy.gram: in one of the two only",
        f"next shrank from {SNAPSHOT['next']:,} to {shrunk} gas (-10.0%)",
        f"settle.N8_m1 grew from {SNAPSHOT['settle']['N8_m1']:,} to {grown} gas (+2.0%)",
    ]


@pytest.mark.chain
@pytest.mark.proof
def test_the_snapshot_is_not_stale(chain: Chain, real: Real) -> None:
    """One small settlement, measured here. All of them: python -m benchmarks.bench_gas --check"""
    project = bench_gas.settled(real, "N3_m1")
    want = SNAPSHOT["settle"]["N3_m1"]
    assert abs(project.receipts["settle"].gas - want) <= SNAPSHOT["tolerance"] * want
    parts = bench_gas.parts_of_settle(project)
    assert sum(parts.values()) == project.receipts["settle"].gas
    assert parts["gram"] + parts["settlement"] > 0.6 * want  # the verifiers: most of it
