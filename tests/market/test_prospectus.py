"""The prospectus: what is read is what was written, and a stranger's blob is refused with the reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from zkmarket.build import Spec
from zkmarket.errors import InputError, RuleError
from zkmarket.market import Prospectus, digest_of
from zkmarket.processes import SOURCE_TREE
from zkmarket.rules import MultiKrum
from zkmarket.updates import LAYOUT_RULES, ParameterLayout

pytestmark = pytest.mark.unit

LAYOUT = ParameterLayout.of({"weight": np.zeros((2, 3), np.float32), "bias": np.zeros(2, np.float64)})
THETA = np.array([1, 0, -1, 2**62 - 1, -(2**62) + 1, 1 << 40, 3, -5])


def prospectus(**changes: Any) -> Prospectus:
    specs = {
        n: Spec(n, LAYOUT.size, MultiKrum.default(n), "shapley", logrows=11, beta_max=2**70, layout=LAYOUT)
        for n in (3, 4, 5)
    }
    values: dict[str, Any] = {"name": "digits ✓", "specs": specs, "srs_id": "ab" * 32, "theta": THETA, "theta_bits": 9}
    return Prospectus(**(values | {"owner_key": bytes(range(32)), "advice": {"loss": "mse"}} | changes))


def test_it_comes_back_bit_for_bit() -> None:
    sent = prospectus()
    got = Prospectus.from_bytes(sent.to_bytes())
    assert got.theta.tobytes() == THETA.tobytes() and got.theta_bits == 9
    assert (got.name, got.srs_id, got.owner_key, got.advice) == (
        sent.name, sent.srs_id, sent.owner_key, sent.advice,
    )  # fmt: skip
    assert dict(got.specs) == dict(sent.specs) and got.layout == LAYOUT and got.rule == "requires-grad"
    assert got.to_bytes() == sent.to_bytes() and digest_of(got.to_bytes()) == digest_of(sent.to_bytes())


def test_it_names_the_rule_by_which_the_layout_was_made() -> None:
    """What of a model is in an update, so that a trainer knows which of its tensors are not."""
    schema = json.loads((SOURCE_TREE / "zkmarket/schemas/prospectus.schema.json").read_text())
    assert schema["properties"]["layout_rule"]["enum"] == list(LAYOUT_RULES)
    for rule in LAYOUT_RULES:
        assert Prospectus.from_bytes(prospectus(rule=rule).to_bytes()).rule == rule
    with pytest.raises(InputError, match="does not fit its schema at layout_rule"):
        Prospectus.from_bytes(prospectus(rule="all").to_bytes())


def test_a_project_of_default_numbers() -> None:
    spec = Spec(3, LAYOUT.size, MultiKrum(0, 3), layout=LAYOUT)
    got = Prospectus.from_bytes(prospectus(specs={3: spec}).to_bytes())
    assert got.specs == {3: spec}


@pytest.mark.parametrize(
    "theta", [np.zeros(7, np.int64), np.zeros(8), np.zeros(8, np.int32), np.zeros((2, 4), np.int64)]
)
def test_a_model_that_is_none(theta: np.ndarray) -> None:
    with pytest.raises(InputError, match="the initial model is 8 integers of 64 bits"):
        prospectus(theta=theta)


def test_more_theta_bits_than_the_contract_takes() -> None:
    with pytest.raises(InputError, match="a model has from 0 to 32 theta_bits: got 33"):
        prospectus(theta_bits=33)


def changed(change: Callable[[dict[str, Any]], None], body: bytes | None = None) -> bytes:
    head, _, rest = prospectus().to_bytes().partition(b"\n")
    value = json.loads(head)
    change(value)
    return json.dumps(value).encode() + b"\n" + (rest if body is None else body)


@pytest.mark.parametrize(
    ("blob", "reason"),
    [
        (b"", "no JSON header"),
        (b"\n" + bytes(64), "no JSON header"),
        (b"[" * 100_000 + b"\n", "no JSON header"),
        (b" " * (1 << 21) + b"\n", "header has at most"),
        (changed(lambda v: v.update(format="zkmarket-prospectus/1")), "does not fit its schema at format"),
        (changed(lambda v: v.update(extra=1)), "does not fit its schema"),
        (changed(lambda v: v.update(owner_key="0x00")), "does not fit its schema at owner_key"),
        (changed(lambda v: v.update(filters={})), "does not fit its schema at filters"),
        (changed(lambda v: v.update(filters={"03": "multi-krum:f=0,m=3"})), "does not fit its schema at filters"),
        (changed(lambda v: v.update(params=9)), "of 9 parameters: its layout has 8"),
        (changed(lambda v: None, bytes(63)), "its model 63 bytes"),
        (changed(lambda v: None, bytes(72)), "its model 72 bytes"),
        (changed(lambda v: v.update(theta_bits=33)), "does not fit its schema at theta_bits"),
        (changed(lambda v: v["layout"][0].update(dtype="object")), "not a layout"),
        (changed(lambda v: v["layout"][1].update(name="weight")), "not a layout"),
        (changed(lambda v: v.update(params=8.0)), "does not fit its schema at params"),
        (changed(lambda v: v["layout"][1].update(shape=[2.0])), "does not fit its schema at layout"),
        (changed(lambda v: v.update(name=v.pop("name"))), "not in canonical form"),  # another order of the names
        (prospectus().to_bytes().replace(b'": ', b'":', 1), "not in canonical form"),
        (prospectus().to_bytes().replace(b'"advice"', b'"advice": {}, "advice"'), "the same key twice"),
    ],
)
def test_a_strangers_blob(blob: bytes, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        Prospectus.from_bytes(blob)


def test_a_filter_that_is_unknown() -> None:
    with pytest.raises(RuleError, match="unknown filter"):
        Prospectus.from_bytes(changed(lambda v: v.update(filters={"3": "none"})))
