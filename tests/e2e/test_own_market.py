"""`zkmarket new`, a model and data of one's own, `make up`: a round is trained, proven and paid by real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from zkmarket.processes import SOURCE_TREE

pytestmark = pytest.mark.e2e

MODEL = """
from torch import nn

class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(5, 12), nn.Linear(12, 3)

    def forward(self, x):
        return self.last(self.first(x).relu())

def model():
    return Own()
"""
DATA = """
import numpy as np

def blobs(seed, rows):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, rows)
    return rng.normal(size=(rows, 5)) + 2 * np.eye(5)[y], y

def share(part, of):
    return blobs(part, 90)

def held_out():
    return blobs(99, 300)
"""


def make(folder: Path, target: str) -> subprocess.CompletedProcess[str]:
    command = f"ZKMARKET={sys.executable} -m zkmarket"
    environment = os.environ | {"PYTHONPATH": str(SOURCE_TREE)}
    words = ["make", "--no-print-directory", target, command]
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)


def test_an_own_model_is_trained_and_paid(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    words = [sys.executable, "-m", "zkmarket", "new", str(folder), "--rounds", "1"]
    subprocess.run(words, check=True, capture_output=True, cwd=SOURCE_TREE)
    (folder / "my_model.py").write_text(MODEL)
    (folder / "my_data.py").write_text(DATA)
    plan = (folder / "PROJECT.toml").read_text()
    plan = plan.replace("[keys]", "[keys]\nlogrows = 10").replace('claim = "20s"', 'claim = "5s"')
    (folder / "PROJECT.toml").write_text(plan)

    done = make(folder, "up")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "1 rounds are settled and paid" in done.stdout
    pay = [float(line.split()[-2]) for line in done.stdout.splitlines() if " was paid " in line]
    assert len(pay) == 3 and sum(pay) == pytest.approx(1, abs=1e-3)
    (scores,) = [line for line in done.stdout.splitlines() if line.startswith("  accuracy on my_data:held_out")]
    before, after = float(scores.split()[3]), float(scores.split()[6])
    assert before < 0.6 and after > 0.7
    with np.load(folder / "run/owner/model.npz") as model:
        assert sorted(model) == ["first.bias", "first.weight", "last.bias", "last.weight"]
    log = (folder / "run/log").read_text()
    assert all(f"  {name} " in log for name in ("chain", "store", "owner", "aggregator", "trainer-1", "trainer-3"))
    assert (folder / "keys/password").read_text().strip() not in log + done.stderr
    assert json.loads((folder / "run/trainer-1/settings.json").read_text())["model"] == "my_model:model"
    assert make(folder, "down").stdout == "nothing runs here\n"
