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


def rows_of(name: str, *words: object) -> dict[str, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *map(str, words), "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return {row["step"]: row for row in map(json.loads, done.stdout.splitlines())}


def test_what_circuits_cost():
    rows = rows_of("bench_circuits", "--logrows", 10, "--trainers", 3, "--params", 40, "--repeat", 1)
    assert {"prove base", "verify base", "prove settlement N=3 multi-krum:f=0,m=3"} <= set(rows)
    assert rows["prove base"]["blocks"] == 3
    assert all(row["seconds"] > 0 for row in rows.values())


def test_what_a_utility_costs():
    rows = rows_of("bench_utility", "--model", "linear", "--batch", 4)
    assert list(rows) == ["compile", "prove", "verify"]
    assert rows["prove"]["bytes"] > 0 and rows["prove"]["rows"] == rows["compile"]["rows"]
