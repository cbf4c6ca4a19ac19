"""docs/deploy: what the containers run are commands of this program, and files of `zkmarket new`."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

import zkmarket
from zkmarket.cli import make_parser
from zkmarket.starter import write_starter

pytestmark = pytest.mark.unit

FOLDER = Path(zkmarket.__file__).parents[1] / "docs" / "deploy"
SERVICES = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]
SCRIPT = (FOLDER / "role.sh").read_text()
VARIABLES = {
    "desk": "--state S --rpc http://chain:8545 --store http://store:5001 --keystore K --password-file P",
    "TRAINERS": "3",
    "project": "0x" + "1" * 40,
    "membership": "0x00",
}


def commands() -> list[list[str]]:
    """What role.sh runs of this program, with its variables in their places."""
    lines = SCRIPT.replace("\\\n", " ").splitlines()
    found = []
    for line in lines:
        if match := re.search(r"\bzkmarket ((?:new|srs|owner|aggregator|trainer) .*)", line):
            text = re.sub(r"\$\((?:[^()]|\([^()]*\)|\(\([^()]*\)\))*\)", "0", match[1])  # what another command prints
            text = re.sub(r"\$(\w+)", lambda name: VARIABLES[name[1]], text)
            found.append(shlex.split(text.partition(" >")[0].partition(" #")[0]))
    return found


def test_every_command_of_a_role_is_one_of_this_program() -> None:
    parsed = [make_parser().parse_args(words) for words in commands()]
    assert [words[:2] for words in commands()] == [
        ["new", "."], ["srs", "generate"], ["owner", "create"], ["owner", "pay-in"], ["owner", "list"],
        ["owner", "receive"], ["aggregator", "run"], ["trainer", "run"],
    ]  # fmt: skip
    assert parsed[-1].join and parsed[-1].rpc == "http://chain:8545"


def test_the_shell_can_read_it() -> None:
    assert subprocess.run(["sh", "-n", FOLDER / "role.sh"], capture_output=True).returncode == 0


def test_every_container_has_a_role(tmp_path: Path) -> None:
    roles = {name: service["command"][-1] for name, service in SERVICES.items() if "role.sh" in str(service["command"])}
    assert roles == {name: name for name in ("owner", "aggregator", "trainer-1", "trainer-2", "trainer-3")}
    store = make_parser().parse_args(SERVICES["store"]["command"][1:])
    assert f"http://store:{store.port}" in SCRIPT and store.open_to_everyone
    assert f"http://chain:{SERVICES['chain']['command'][4]}" in SCRIPT
    assert not any("ports" in service for service in SERVICES.values())  # or the store would be open to everyone
    written = write_starter(tmp_path / "market", trainers=3)
    assert {f"keys/{name}.json" for name in roles} <= set(written)
    for module, name in re.findall(r"(my_\w+):(\w+)", SCRIPT):
        assert f"def {name}(" in (tmp_path / "market" / f"{module}.py").read_text()


def test_the_image_is_made_of_what_make_wheel_leaves() -> None:
    root = FOLDER.parents[1]
    copied = re.findall(r"^COPY (.*) \S+$", (FOLDER / "Containerfile").read_text(), re.M)
    recipe = (root / "Makefile").read_text()
    assert copied == ["constraints.txt zkmarket-*.whl"]
    assert "--wheel-dir dist" in recipe and "cp constraints.txt dist" in recipe
