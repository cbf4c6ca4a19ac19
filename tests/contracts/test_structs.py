"""The dataclasses that mirror Types.sol have its fields, in its order: a change there fails here."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from zkmarket.chain import Phase, compile_contracts
from zkmarket.crypto import Point
from zkmarket.market import (
    Account,
    Outcome,
    Plan,
    Root,
    Seat,
    Settlement,
    State,
    Terms,
    Verifier,
    read_struct,
    solidity_name,
    struct_words,
)

pytestmark = pytest.mark.chain

OURS = {Account: ["refund_wei"], State: ["block"]}
"""Fields that we add at the end: what is read with a struct."""

WORDS = {"address": str, "bool": bool, "bytes": bytes, "bytes32": bytes}


def components(contract: str, name: str) -> list[dict[str, Any]]:
    """Of what a view returns, or an event logs as its only struct."""
    item = next(item for item in compile_contracts()[contract].abi if item.get("name") == name)
    if item["type"] == "event":
        return next(one["components"] for one in item["inputs"] if one["type"] == "tuple")
    outputs = item["outputs"]
    return outputs[0]["components"] if len(outputs) == 1 else outputs


def fits(hint: Any, component: dict[str, Any]) -> bool:
    """Whether a field has the type of a component."""
    kind = component["type"]
    if kind.endswith("[]"):
        inner = component | {"type": kind.removesuffix("[]")}
        return get_origin(hint) is tuple and get_args(hint)[1:] == (...,) and fits(get_args(hint)[0], inner)
    if hint is Phase:
        return component["internalType"] == "enum Phase"
    if kind == "tuple" and hint == Point:
        return [one["name"] for one in component["components"]] == ["x", "y"]
    if kind == "tuple":
        return is_dataclass(hint) and mirrors(hint, component["components"])
    return hint is WORDS.get(kind, int)


def mirrors(kind: Any, listed: list[dict[str, Any]]) -> bool:
    hints = get_type_hints(kind)
    names = [item.name for item in fields(kind) if item.name not in OURS.get(kind, [])]
    assert [solidity_name(name) for name in names] == [one["name"] for one in listed]
    assert [item.name for item in fields(kind)] == names + OURS.get(kind, [])
    return all(fits(hints[name], one) for name, one in zip(names, listed, strict=True))


@pytest.mark.parametrize(
    "kind, where",
    [(Terms, "terms"), (Plan, "plan"), (State, "state"), (Account, "account"), (Seat, "seats"), (Root, "root"),
     (Outcome, "outcome"), (Settlement, "Settled")],
)  # fmt: skip
def test_a_struct_is_the_contracts(kind: type, where: str) -> None:
    assert mirrors(kind, components("Project", where))


@pytest.mark.parametrize("kind, at", [(Terms, 0), (Plan, 1)])
def test_what_the_factory_takes_is_the_same(kind: type, at: int) -> None:
    create = next(item for item in compile_contracts()["Factory"].abi if item.get("name") == "create")
    assert mirrors(kind, create["inputs"][at]["components"])


@pytest.mark.parametrize("change", ["another name", "another order", "one more", "one less", "another type"])
def test_a_change_of_the_contract_is_seen(change: str) -> None:
    listed = components("Project", "plan")
    first, *rest = listed
    changed = {
        "another name": [first | {"name": "verifier"}, *rest],
        "another order": [*rest, first],
        "one more": [*listed, {"name": "more", "type": "uint8"}],
        "one less": rest,
        "another type": [*listed[:-1], listed[-1] | {"type": "bytes32"}],
    }[change]
    if change == "another type":
        assert not mirrors(Plan, changed)
    else:
        with pytest.raises(AssertionError):
            mirrors(Plan, changed)


def test_a_struct_is_read_and_sent() -> None:
    verifier = {"deployed": "0x1", "codehash": b"h"}
    said = {"shift": 4, "settlement": verifier, "manifest": b"m", "f": 1, "m": 2, "references": 3}
    plan = read_struct(Plan, said)
    assert plan == Plan(Verifier("0x1", b"h"), b"m", f=1, m=2, references=3, shift=4)
    assert struct_words(plan) == (("0x1", b"h"), b"m", 1, 2, 3, 4)
    assert [solidity_name(name) for name in ("reward", "stake_wei", "last_round", "now")] == [
        "reward", "stakeWei", "lastRound", "now_",
    ]  # fmt: skip
