"""What a contract computes of a utility proof, against vectors of another implementation, and every word of it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.circuits.utility_nets import NETS, plan_of
from tests.vectors import make_utility
from zkmarket import utility
from zkmarket.crypto import Point, decode_point
from zkmarket.errors import ProofRejected
from zkmarket.rules import weight
from zkmarket.utility import Descriptor, instances_of
from zkmarket.utility.instances import head_of

pytestmark = pytest.mark.unit

CASES = json.loads(make_utility.FILE.read_text())


def raw(text: str) -> bytes:
    return bytes.fromhex(text[2:])


def points(texts: list[str]) -> tuple[Point, ...]:
    return tuple(decode_point(raw(text)) for text in texts)


def descriptor(case: dict[str, Any]) -> Descriptor:
    model, *rest = (raw(word) for word in case["descriptor"])
    size, theta, batch, witness, a, c, e, f, ties, checks, *head = (int.from_bytes(word, "big") for word in rest)
    return Descriptor(model, size, theta, batch, witness, (a, c, e, f), ties, checks, tuple(head))


def given(case: dict[str, Any]) -> dict[str, Any]:
    return {
        "known": descriptor(case),
        "points": points(case["model"]),
        "batch": raw(case["batch"]),
        "context": raw(case["context"]),
        "proof": raw(case["proof"]),
        "correct": case["correct"],
        "loss": case["loss"],
    }


@pytest.mark.exhaustive("the file is compared with our functions; its maker changes with the protocol only")
def test_the_file_is_what_its_maker_makes() -> None:
    assert make_utility.document() == CASES


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["slots"]))
def test_the_vectors(case: dict[str, Any]) -> None:
    known = descriptor(case)
    assert known.digest() == raw(case["descriptor_digest"]) and known.count == len(case["instances"])
    w = weight(case["rate"], case["accepted"], case["theta_bits"])
    assert w == case["weight"]
    members = [points(case["updates"][str(slot)]) for slot in case["slots"]]
    (blinding,) = points([case["blinding"]])
    assert utility.coalition_points(points(case["theta"]), members, w, blinding) == points(case["model"])
    assert utility.context_of(raw(case["base"]), tuple(case["slots"])) == raw(case["context"])
    assert instances_of(**given(case)) == tuple(int(value, 16) for value in case["instances"])


@pytest.mark.parametrize("case", CASES[:2], ids=lambda case: str(case["slots"]))
def test_challenges_depend_on_every_word_before_them(case: dict[str, Any]) -> None:
    honest, known = given(case), descriptor(case)
    wanted, at = instances_of(**honest), len(known.head) + 1  # a^1
    end = 64 * (known.theta + known.validation)
    for name, value in (
        ("context", bytes(32)),
        ("known", replace(known, model=bytes(32))),
        ("proof", honest["proof"][:end] + honest["proof"][end + 64 :] + bytes(64)),  # another witness
    ):
        assert instances_of(**honest | {name: value})[at] != wanted[at], name
    rest = honest["proof"][:-1] + bytes(1)
    assert instances_of(**honest | {"proof": rest}) == wanted  # what stands behind the points, the verifier reads


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["slots"]))
def test_what_is_of_something_else_is_refused(case: dict[str, Any]) -> None:
    honest, known = given(case), descriptor(case)
    proof = honest["proof"]
    for at, reason in ((0, "another model"), (64 * known.theta, "another batch")):
        for place in (at, at + 63):
            moved = bytearray(proof)
            moved[place] ^= 1
            with pytest.raises(ProofRejected, match=reason):
                instances_of(**honest | {"proof": bytes(moved)})
    for changes, reason in (
        ({"proof": proof + bytes(1)}, f"has {len(proof) + 1} bytes: wanted {len(proof)}"),
        ({"proof": proof[:-1]}, "bytes: wanted"),
        ({"batch": bytes(32)}, "another batch"),
        ({"points": honest["points"][::-1] if known.theta > 1 else ()}, "another model"),
        ({"correct": known.powers[0] + 1}, "no result of a batch"),
        ({"correct": -1}, "no result of a batch"),
        ({"loss": 1 << 120}, "no result of a batch"),
        ({"loss": -1}, "no result of a batch"),
    ):
        with pytest.raises(ProofRejected, match=reason):
            instances_of(**honest | changes)


def test_every_field_of_a_descriptor_is_in_its_digest() -> None:
    known = descriptor(CASES[0])
    others = {
        replace(known, **change).digest()
        for change in (
            {"model": bytes(32)},
            {"proof_bytes": 1},
            {"theta": 9},
            {"validation": 9},
            {"witness": 9},
            *({"powers": tuple(99 if i == at else n for i, n in enumerate(known.powers))} for at in range(4)),
            {"ties": 0},
            {"checks": 9},
            {"head": known.head[:-1]},
        )
    }
    assert len(others | {known.digest()}) == 13


@pytest.mark.parametrize("name", NETS)
def test_the_head_is_the_same_for_all_challenges(name: str) -> None:
    plan = plan_of(name)
    head = head_of(plan)
    for seed in (bytes(32), b"\7" * 32):
        assert tuple(utility.public_values(plan, seed)[: len(head)]) == head
