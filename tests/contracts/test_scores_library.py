"""Scores.sol by itself: word for word what the engine computes, and vectors that were made without either."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contracts.harness import Harness, Refused, number, numbers, quick, raw, words_of
from tests.contracts.scoring import LOO, SHAPLEY, bits, due
from tests.contracts.world import point
from tests.vectors import make_utility
from zkmarket.crypto import multiply_add

pytestmark = pytest.mark.chain

CASES = json.loads(make_utility.FILE.read_text())
ACCEPTED = [(1, 2, 3, 4, 5, 6, 7, 8), (2, 4, 7), (1, 2, 4, 5, 8)]
"""Who is accepted in each of them: as many as it says, its coalition among them."""


def given_to(case: dict[str, Any]) -> dict[str, Any]:
    return {
        "words": numbers(case["descriptor"]),
        "points": words_of(case["model"]),
        "batch": raw(case["batch"]),
        "context": raw(case["context"]),
        "proof": raw(case["proof"]),
        "correct": case["correct"],
        "loss": case["loss"],
    }


@pytest.mark.parametrize("case, accepted", list(zip(CASES, ACCEPTED, strict=True)), ids=["one", "none", "two"])
def test_the_vectors(harness: Harness, case: dict[str, Any], accepted: tuple[int, ...]) -> None:
    """The coalition's model follows from that of all accepted by who is left out; and every instance."""
    assert len(accepted) == case["accepted"] and set(case["slots"]) <= set(accepted)
    (blinding,) = [words_of([case["blinding"]])]
    members = [words_of(case["updates"][str(slot)]) for slot in accepted]
    w, width = case["weight"], len(case["model"])

    def pair(words: list[int], at: int) -> tuple[int, int]:
        return words[2 * at], words[2 * at + 1]

    theta = words_of(case["theta"])
    full = [
        multiply_add(
            [pair(theta, c), *(pair(one, c) for one in members), pair(blinding, 0)],
            [1, *[w] * len(members), -w * len(members)],
        )
        for c in range(width)
    ]
    left = [word for slot in accepted if slot not in case["slots"] for word in words_of(case["updates"][str(slot)])]
    words = [word for one in full for word in one]
    assert harness.without(words, left, w, tuple(blinding)) == tuple(words_of(case["model"]))
    assert harness.instancesOf(*given_to(case).values()) == tuple(number(word) for word in case["instances"])
    assert harness.digest(list(numbers(case["descriptor"]))) == raw(case["descriptor_digest"])


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["slots"]))
def test_what_is_of_something_else_is_refused(harness: Harness, case: dict[str, Any]) -> None:
    honest, proof = given_to(case), raw(case["proof"])
    end = 64 * honest["words"][2]
    flipped = [proof[:at] + bytes([proof[at] ^ 1]) + proof[at + 1 :] for at in (0, end)]
    for changes, reason in (
        ({"proof": proof + b"\0"}, "WrongLength"),
        ({"proof": flipped[0]}, "WrongModel"),
        ({"proof": flipped[1]}, "WrongBatch"),
        ({"points": honest["points"][:-2]}, "WrongLength"),
        ({"batch": bytes(32)}, "WrongBatch"),
        ({"correct": honest["words"][5] + 1}, "OutOfBounds"),
        ({"loss": 1 << 120}, "OutOfBounds"),
        ({"words": honest["words"][:10]}, "WrongLength"),
    ):
        with pytest.raises(Refused, match=reason):
            harness.instancesOf(*(honest | changes).values())
    assert harness.instancesOf(*(honest | {"correct": honest["words"][5], "loss": (1 << 120) - 1}).values())


def test_nobody_left_out_is_the_model_itself(harness: Harness) -> None:
    words = [word for at in range(3) for word in point(at)]
    assert harness.without(words, [], 77, point(9)) == tuple(words)


@quick
@given(st.integers(1, 31), st.sampled_from([LOO, SHAPLEY]))
def test_what_is_due_has_places_of_its_own(harness: Harness, mask: int, method: int) -> None:
    wanted = [bits(one) for one in due(method, [mask >> slot & 1 for slot in range(5)])]
    places = [harness.placeOf(method, mask, coalition) for coalition in wanted]
    assert len(set(places)) == len(wanted) and harness.dueOf(method, mask) == sum(1 << place for place in places)
    for coalition in set(range(64)) - set(wanted):
        with pytest.raises(Refused, match="NotDue"):
            harness.placeOf(method, mask, coalition)


def test_sixty_four_trainers(harness: Harness) -> None:
    """The widest mask: 65 places, the last of them 64."""
    mask = (1 << 64) - 1
    assert harness.placeOf(LOO, mask, mask ^ 1 << 63) == 64 and harness.dueOf(LOO, mask) == (1 << 65) - 1
