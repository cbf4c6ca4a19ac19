"""The main job: real training with attackers, filtered, paid, proven, and verified by another process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.e2e.shell import succeeded, zkmarket
from zkmarket.demo import ATTACKS, poison

pytestmark = pytest.mark.e2e

TOP = {
    "data", "params", "filter", "attack", "attackers", "accuracy_at_start", "rounds", "seconds", "insecure",
}  # fmt: skip
ROUND = {"round", "beta", "nu", "trainers", "accuracy", "accuracy_without_filter"}


def demo(place: Path, attack: str, *arguments: object) -> dict:
    done = succeeded(zkmarket(place, "demo", "--rounds", 1, "--attack", attack, "--json", *arguments))
    result = done.json
    assert result.keys() >= TOP and len(result["rounds"]) == 1
    assert result["rounds"][0].keys() >= ROUND
    assert (result["attack"], result["insecure"], result["params"]) == (attack, True, 2410)
    assert result["seconds"].keys() >= {"build", "train", "prove", "open"}
    assert "round 1: training" in done.err
    return result


def test_sign_flip(tmp_path: Path) -> None:
    """Eight trainers, two of them send the opposite of what they should: no pay, and no harm."""
    result = demo(tmp_path, "sign-flip")
    report = result["rounds"][0]
    honest = [row for row in report["trainers"] if row["honest"]]
    attackers = [row for row in report["trainers"] if not row["honest"]]
    assert (len(honest), len(attackers)) == (6, 2)
    for row in attackers:
        assert (row["admitted"], row["accepted"], row["score"], row["share_wei"]) == (True, False, 0, 0)
    for row in honest:
        assert row["accepted"] and row["score"] > 0 and row["share_wei"] > 0
    assert 0 <= 10**18 - sum(row["share_wei"] for row in report["trainers"]) < 8
    assert report["accuracy"] >= report["accuracy_without_filter"]
    assert report["accuracy"] > result["accuracy_at_start"] + 0.2
    assert list(tmp_path.iterdir()) == []


def test_copy(tmp_path: Path) -> None:
    """One of five republishes another's commitment under its own name: not admitted, with the reason."""
    result = demo(tmp_path, "copy", "--trainers", 5, "--attackers", 1, "-o", "kept", "--reward", 1000)
    *honest, thief = result["rounds"][0]["trainers"]
    assert not thief["honest"] and not thief["admitted"]
    assert (thief["accepted"], thief["score"], thief["share_wei"]) == (False, 0, 0)
    assert "carries another's tag" in thief["refused"]
    assert all(row["accepted"] for row in honest)
    assert 0 <= 1000 - sum(row["share_wei"] for row in honest) < 4
    assert (tmp_path / "kept/round-1/round.json").is_file()
    again = zkmarket(tmp_path, "demo", "--rounds", 1, "-o", "kept", "--json")
    assert again.code == 2 and "is not empty" in again.json["message"]


@pytest.mark.parametrize("attack", ATTACKS)
def test_poison(attack: str) -> None:
    """What each attacker sends instead of the honest update."""
    honest = np.random.default_rng(0).normal(size=2410)
    sent = poison(attack, honest, np.random.default_rng(1))
    length = np.linalg.norm(honest)
    assert sent.shape == honest.shape and np.isfinite(sent).all()
    if attack == "sign-flip":
        np.testing.assert_array_equal(sent, -honest)
    elif attack == "scale":
        assert np.linalg.norm(sent) > 4 * length and sent @ honest < 0
    elif attack == "noise":
        assert np.linalg.norm(sent) == pytest.approx(length)
        assert abs(sent @ honest) < 0.1 * length**2
    elif attack == "free-ride":
        assert np.linalg.norm(sent) < 0.01 * length
    else:  # the labels are poisoned, or a commitment is taken: the update itself is honest
        np.testing.assert_array_equal(sent, honest)
