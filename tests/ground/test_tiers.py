"""What `make test` leaves out is listed with its reason, and no attack's only test is among it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "tests").rglob("test_*.py"))
ROW = re.compile(r"^\| (.+) \| (.+) \| (.+) \|$", re.M)
NAMED = re.compile(r"`([\w/.]+)`(?:: ([^`;]*))?")
"""A test file or folder, and the phrases after it."""


def section(document: Path, heading: str) -> list[tuple[str, ...]]:
    """Rows of the table under a heading, without its head."""
    (text,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", document.read_text(), re.M | re.S)
    return list(ROW.findall(text))[1:]


def exhaustive(node: ast.AST) -> bool:
    """Whether a marker stands in a piece of code."""
    return any(isinstance(one, ast.Attribute) and one.attr == "exhaustive" for one in ast.walk(node))


def whole(mark: ast.AST) -> bool:
    """Whether a decorator leaves out all cases of a test."""
    return exhaustive(mark) and "parametrize" not in ast.unparse(mark) and "but=" not in ast.unparse(mark)


def left_out_of(path: Path) -> dict[str, bool]:
    """Tests of a file, and whether `make test` leaves out the whole of each: not some of its cases only."""
    tree = ast.parse(path.read_text())
    file = any(exhaustive(node) for node in tree.body if ast.unparse(node).startswith("pytestmark"))
    return {
        node.name: file or any(map(whole, node.decorator_list))
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


ATTACKS = section(ROOT / "contracts" / "README.md", "Attacks, and what closes them")


@pytest.mark.parametrize("row", ATTACKS, ids=[row[0][:60] for row in ATTACKS])
def test_every_attack_has_its_tests_in_make_test(row: tuple[str, ...]) -> None:
    """Each file that the row names is there; each phrase is in the name of a test of it that is not exhaustive."""
    named = NAMED.findall(row[2])
    assert named, "no test"
    for name, phrases in named:
        if (ROOT / name).is_dir():
            continue
        (path,) = (file for file in FILES if name in (file.stem, str(file.relative_to(ROOT))))
        run = [test for test, left_out in left_out_of(path).items() if not left_out]
        assert run, f"nothing of {name} is in `make test`"
        for phrase in filter(None, (part.strip(" …") for part in phrases.split(","))):
            words = re.sub(r"\W+", "_", phrase)
            assert any(words in test for test in run), f"no test of {name} in `make test` is called …{words}…"


def test_what_is_exhaustive_is_listed() -> None:
    """In tests/README.md: every test that `make test` leaves out, the whole of it or some cases; and no other."""
    marked = set()
    for path in FILES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and any(map(exhaustive, node.decorator_list)):
                marked.add(f"{path.relative_to(ROOT / 'tests')} {node.name}")
            elif exhaustive(node):
                assert isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark", (
                    f"{path}: write the marker into the test's decorators"
                )
                marked.add(f"{path.relative_to(ROOT / 'tests')} all")
    listed = [re.findall(r"`([^`]+)`", row[0]) for row in section(ROOT / "tests" / "README.md", "Only in test-all")]
    assert {f"{file} {test}" for file, *tests in listed for test in tests or ["all"]} == marked
