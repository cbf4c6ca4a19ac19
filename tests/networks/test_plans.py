"""A plan is written as it always was: its text decides keys, and the digest that proofs are bound to."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.circuits.utility_nets import NETS, network_named, plan_of
from zkmarket import utility
from zkmarket.circuits.plan import View
from zkmarket.documents import canonical_json
from zkmarket.utility import UtilityBuild

pytestmark = pytest.mark.unit

GOLDEN = Path(__file__).with_name("plans.json")
"""Of each small network: SHA-256 of the plan's text and of the recipe's numbers; the digest of a build without keys."""


def value_of(name: str) -> dict[str, Any]:
    return {
        "srs": {"kind": "development", "id": "ab" * 32},
        "plan": plan_of(name).to_json(),
        "layout": network_named(name).layout.to_json(),
        "circuit": {"files": {"vk.key": "01" * 32, "settings.json": "02" * 32}, "proof_bytes": 1000},
    }


def texts_of(name: str) -> dict[str, str]:
    value = value_of(name)
    numbers = canonical_json(utility.statement(plan_of(name)).numbers)
    return {
        "plan": hashlib.sha256(canonical_json(value["plan"]).encode()).hexdigest(),
        "numbers": hashlib.sha256(numbers.encode()).hexdigest(),
        "digest": UtilityBuild(Path(), value).digest.hex(),
    }


@pytest.mark.parametrize("name", NETS)
def test_a_plan_is_written_as_it_was(name: str) -> None:
    assert texts_of(name) == json.loads(GOLDEN.read_text())[name]


def test_a_weight_has_as_many_values_as_its_shape() -> None:
    """`count` follows from the shape, and is written all the same: a plan in which they differ is none."""
    view = View(3, (2, 5), (1, 0))
    assert View.from_json(view.to_json()) == view
    with pytest.raises(ValueError, match=r"a weight of shape \[2, 5\] has 10 values: got 9"):
        View.from_json(view.to_json() | {"count": 9})
