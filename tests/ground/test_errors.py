"""The exception tree is the one that is drawn, and the modules stand on each other without a circle."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import zkmarket
from zkmarket import errors
from zkmarket.errors import OpeningMismatch, ZkmarketError

pytestmark = pytest.mark.unit

PACKAGE = Path(zkmarket.__file__).parent


def drawn() -> dict[str, tuple[str | None, int]]:
    """Class → (parent, exit code) as the docstring of errors.py draws them."""
    tree: dict[str, tuple[str | None, int]] = {}
    above: list[tuple[int, str]] = []
    for line in errors.__doc__.splitlines():
        match = re.match(r"^ {4}([│ ]*(?:[├└]── )?)([A-Z]\w+)(?: +(\d))?(?: |$)", line)
        if not match:
            continue
        depth, name = len(match[1]), match[2]
        above = [(d, n) for d, n in above if d < depth]
        tree[name] = (above[-1][1] if above else None, int(match[3] or ZkmarketError.exit_code))
        above.append((depth, name))
    return tree


def test_the_drawn_tree_is_the_tree():
    classes = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, BaseException)]
    actual = {c.__name__: (c.__base__.__name__ if c is not ZkmarketError else None, c.exit_code) for c in classes}
    assert drawn() == actual
    assert len(actual) == 17
    assert ZkmarketError.__bases__ == (Exception,)


def test_the_exit_codes_are_those_of_the_command_line():
    """1 false or rejected, 2 usage, 3 a tool or artifact, 4 a transaction; 0 is no error's."""
    assert {code for _, code in drawn().values()} <= {1, 2, 3, 4}
    assert {
        name: drawn()[name][1]
        for name in ("StatementFalse", "ProofRejected", "InputError", "SrsError", "TransactionReverted")
    } == {
        "StatementFalse": 1,
        "ProofRejected": 1,
        "InputError": 2,
        "SrsError": 3,
        "TransactionReverted": 4,
    }


def test_an_opening_mismatch_names_its_slot():
    assert OpeningMismatch("wrong", 3).slot == 3
    assert OpeningMismatch("wrong").slot is None
    assert str(OpeningMismatch("wrong", 3)) == "wrong"


def test_every_error_is_raised_or_has_children():
    """No class that nothing raises."""
    source = "\n".join(path.read_text() for path in PACKAGE.rglob("*.py") if path.stem != "errors")
    parents = {parent for parent, _ in drawn().values()}
    for name in drawn():
        assert name in parents or f"raise {name}(" in source, name
