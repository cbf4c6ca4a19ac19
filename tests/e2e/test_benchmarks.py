"""Benchmarks start, and their rows are what they say: each at its smallest size, as a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.proof]

ROOT = Path(__file__).parents[2]
SMALL_ROUND = ("--trainers", 3, "--params", 40, "--repeat", 1)


def output_of(name: str, *words: object) -> str:
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *map(str, words), "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def rows_of(name: str, *words: object) -> dict[str, dict[str, Any]]:
    return {row["step"]: row for row in map(json.loads, output_of(name, *words).splitlines())}


def test_every_benchmark_is_run_here():
    """Each at its smallest size; `bench_rules`, which proves nothing, by tests/benchmarks."""
    text = Path(__file__).read_text()
    for path in (ROOT / "benchmarks").glob("bench_*.py"):
        assert f'"{path.stem}"' in text or (ROOT / f"tests/benchmarks/test_{path.stem}.py").exists(), path.name


def test_what_a_round_costs():
    rows = rows_of("bench_round", *SMALL_ROUND, "--logrows", 10, "--filter", "multi-krum:f=0,m=3")
    steps = ["masks", "inner_products", "projection_and_folds", "base_proof", "settlement_proof"]
    assert list(rows) == ["build", "commit_one_trainer", "admit_one_trainer", *steps, "aggregator_total", "verify"]
    assert all(row["seconds"] > 0 for row in rows.values())
    assert rows["verify"]["bytes"] == rows["aggregator_total"]["bytes"] > rows["base_proof"]["bytes"] > 0


@pytest.mark.exhaustive("the same that is stopped; tests/circuits has direct proofs")
def test_what_the_direct_circuit_costs():
    rows = rows_of("bench_direct", *SMALL_ROUND, "--output", "committed")
    assert "folded" in rows and rows["direct_committed"]["seconds"] > 0, rows


def test_a_direct_proof_that_takes_too_long_is_stopped():
    rows = rows_of("bench_direct", *SMALL_ROUND, "--output", "committed", "--limit", 1)
    assert rows["folded"]["seconds"] > 0
    assert rows["direct_committed"]["failed"].startswith("BackendTimeout")


@pytest.mark.parametrize("step", ["estimate", "prove"])
def test_what_a_game_costs(step: str):
    small = ("--trainers", 3, "--hidden", 4, "--batch", 8, "--rounds", 0, "--draws", 1)
    rows = rows_of("bench_games", step, *small)
    wanted = ["oracle", "estimate"] if step == "estimate" else ["round_proof", "prove_utilities", "verify_utilities"]
    assert list(rows) == wanted


def test_what_gas_a_project_costs_and_that_the_snapshot_is_not_stale():
    """One small settlement, measured here. All of them: python -m benchmarks.bench_gas --check"""
    result = json.loads(output_of("bench_gas", "--check", "--project", "N3_m1"))
    (gas,), (parts,) = result["settle"].values(), result["settle_parts"].values()
    assert sum(parts.values()) == gas
    assert 0.3 * gas < parts["base"] + parts["settlement"] < 0.6 * gas  # the verifiers; else the rows' look-ups


def test_what_circuits_cost():
    rows = rows_of("bench_circuits", "--logrows", 10, "--trainers", 3, "--params", 40, "--repeat", 1)
    assert {"prove base", "verify base", "prove settlement N=3 multi-krum:f=0,m=3"} <= set(rows)
    assert rows["prove base"]["blocks"] == 3
    assert all(row["seconds"] > 0 for row in rows.values())


def test_what_a_utility_costs():
    rows = rows_of("bench_utility", "--model", "linear", "--batch", 4)
    assert list(rows) == ["compile", "prove", "verify", "on chain"]
    there = rows["on chain"]
    assert there["estimated_bytes"] == pytest.approx(there["verifier_bytes"], rel=0.02)
    assert there["estimated_proof_gas"] == pytest.approx(there["proof_gas"], rel=0.02)
    assert rows["prove"]["bytes"] > 0 and rows["prove"]["rows"] == rows["compile"]["rows"]


@pytest.mark.exhaustive("tests/contracts/test_real_scores.py takes the same way with the same figures")
def test_what_a_round_that_losses_pay_costs():
    rows = rows_of("bench_score", "--model", "linear", "--trainers", 3, "--batch", 4)
    assert list(rows) == ["round", "losses"]
    losses = rows["losses"]
    assert losses["coalition_gas"] == pytest.approx(losses["estimated_coalition_gas"], rel=0.05)
    assert losses["proofs"] == 4
