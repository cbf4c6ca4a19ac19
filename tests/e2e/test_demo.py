"""The main job: a whole market by its command, on a chain and a store of its own, and on others'."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.shell import SECONDS, Done, failed, succeeded, zkmarket
from zkmarket.chain import LIBRARIES, anvil_node

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]


SMALL = ("demo", "--rounds", 1, "--trainers", 5, "--json")


def demo(
    place: Path, *arguments: object, refused: int = 0, run: Callable[..., Done] = zkmarket
) -> tuple[Done, dict[str, Any]]:
    """Run it, and look at what is true of every demo.

    Args:
        refused: submissions without a receipt: each burns a penalty of the trainer's stake, and of the bond.
    """
    done = succeeded(run(place, *SMALL, *arguments))
    result = done.json
    assert (place / result["report"]).is_file()
    assert result["insecure"] and result["params"] == 2410
    assert [row["audited"] for row in result["rounds"]] == [True]
    money = result["money"]
    penalty = -(-(10**18) // (5 - refused))
    burnt = refused * penalty
    assert money["left_in_contract_wei"] == money["burnt_wei"] == 2 * burnt
    paid = money["paid_to_trainers_wei"] + money["aggregator_wei"] + money["owner_back_wei"]
    assert money["paid_in_wei"] == paid + burnt and money["aggregator_wei"] == 10**17 - burnt
    assert 0 <= money["owner_back_wei"] < 5  # dust
    for trainer in result["trainers"]:
        stake = 10**18 if trainer["rounds"][0]["admitted"] else 10**18 - penalty
        assert (trainer["stake_back_wei"], trainer["pay_withdrawn_wei"]) == (stake, trainer["paid_wei"])
    return done, result


def kept_running(place: Path, *arguments: object) -> Done:
    """Run it with --keep-running, check the market by the lines that it prints, and press Ctrl-C."""
    words = [sys.executable, "-m", "zkmarket", *map(str, arguments), "--keep-running"]
    logs = place.with_name(f"{place.name}-logs")
    logs.mkdir()
    with (logs / "out").open("w") as out, (logs / "err").open("w") as err:
        child = subprocess.Popen(words, cwd=place, stdout=out, stderr=err, start_new_session=True)
    try:
        end = time.monotonic() + SECONDS
        while not (kept := [line for line in (logs / "err").read_text().splitlines() if '"event": "kept"' in line]):
            assert child.poll() is None and time.monotonic() < end, (logs / "err").read_text()[-2000:]
            time.sleep(0.2)
        verify, *stands = json.loads(kept[0])["commands"]
        checked = succeeded(zkmarket(place, *shlex.split(verify)[1:], "--json")).json
        assert (checked["round"], checked["verified"], checked["from_calldata"]) == (1, True, True)
        for line in stands:
            said = succeeded(zkmarket(place, *shlex.split(line)[1:], ZKMARKET_PASSWORD="demo")).out
            assert "has ended after round 1" in said
        assert "these lines do so" in (place / "report.html").read_text()
        os.killpg(child.pid, signal.SIGINT)
        code = child.wait(60)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    at = dict(itertools.pairwise(shlex.split(verify)))
    assert not Path(at["--store"]).exists()
    with socket.socket() as caller:
        assert caller.connect_ex(("127.0.0.1", int(at["--rpc"].rpartition(":")[2]))) != 0
    return Done(code, (logs / "out").read_text(), (logs / "err").read_text())


def test_sign_flip(tmp_path: Path) -> None:
    """Five trainers, one of which sends the opposite of what it should: no pay, and no harm. The market is kept running
    until somebody has looked at it from the outside.
    """
    done, result = demo(tmp_path, run=kept_running)
    *honest, attacker = result["trainers"]
    assert [trainer["honest"] for trainer in result["trainers"]] == [True] * 4 + [False]
    assert attacker["rounds"][0] == {
        "round": 1, "submitted": True, "admitted": True, "accepted": False, "score": 0, "pay_wei": 0, "reason": None,
    }  # fmt: skip
    for trainer in honest:
        assert trainer["rounds"][0]["accepted"] and trainer["paid_wei"] > 0
    report = result["rounds"][0]
    assert report["accuracy"] > report["accuracy_unfiltered"] and report["accuracy"] > result["accuracy_at_start"] + 0.2
    assert result["undefeated"] == [] and "PROVE" in done.err
    assert result["gas"]["settle"] > 10**6 and result["gas"].keys() >= {"create", "join", "submit", "withdraw"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html"]
    page = (tmp_path / "report.html").read_text()
    for wanted in (result["addresses"]["project"], report["cid"], report["transaction"], report["theta"]):
        assert wanted in page
    replayed(tmp_path / "report.html")


def replayed(page: Path) -> None:
    """Chromium runs the market again, with this version's contracts and verifiers."""
    if shutil.which("chromium") is None:
        assert not os.environ.get("CI"), "CI wants a real browser"
        return
    words = ["node", "tests/page/open.mjs", str(page)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    verdict = json.loads(done.stdout)
    assert verdict["kind"] == "same", verdict["text"]
    assert "not known" not in verdict["code"]
    assert verdict["code"].count("✓ known") == 3 + len(LIBRARIES)  # the factory, both verifiers


@pytest.mark.exhaustive("tests/cli/test_attacker.py has the thief, test_store.py the node")
def test_copy_on_another_chain_and_an_ipfs_node(tmp_path: Path) -> None:
    """A thief's digest is another's: it gets no receipt, which costs both sides a penalty. Chain and store are others'
    here, and stay for an auditor."""
    with anvil_node() as rpc:
        _, result = demo(tmp_path, "--attack", "copy", "--chain", rpc, "--store", "ipfs", "-o", "kept", refused=1)
        *honest, thief = result["trainers"]
        (row,) = thief["rounds"]
        assert not thief["honest"] and row["submitted"] and not row["admitted"]
        assert row["reason"] == "OpeningMismatch: its points are others than those whose digest was submitted"
        assert all(trainer["rounds"][0]["accepted"] for trainer in honest)
        again = zkmarket(tmp_path, "demo", "-o", "kept", "--json")
        failed(again, 2, "is not empty")


@pytest.mark.exhaustive("tests/cli/test_attacker.py has the attacker, test_sign_flip the demo")
def test_a_value_out_of_range(tmp_path: Path) -> None:
    """With it the round could not be proven: it gets no receipt."""
    _, result = demo(tmp_path, "--attack", "out-of-range", refused=1)
    *honest, attacker = result["trainers"]
    (row,) = attacker["rounds"]
    assert row["submitted"] and not row["admitted"]
    assert row["reason"].startswith("DomainError: an update's values lie in [−4096, 4096): got ")
    assert all(trainer["rounds"][0]["accepted"] for trainer in honest)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--trainers", 2), "multi-krum needs"),
        (("--attackers", 9), "from 0 to 8 attackers: got 9"),
        (("--rounds", 0), "from 1 to 100 rounds: got 0"),
        (("--attack", "copy", "--attackers", 6), "at least 3 honest trainers"),
    ],
)
def test_wrong_numbers(tmp_path: Path, arguments: tuple[object, ...], reason: str) -> None:
    failed(zkmarket(tmp_path, "demo", *arguments, "--json"), 2, reason)
    assert list(tmp_path.iterdir()) == []
