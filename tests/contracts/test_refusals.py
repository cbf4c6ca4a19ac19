"""What a contract refuses is told as a sentence: every error that our contracts have, by their ABI."""

from __future__ import annotations

import re
from typing import Any

import pytest

from zkmarket.chain import NOBODY, Phase, compile_contracts
from zkmarket.chain.refusals import PHASES, SENTENCES, sentence

pytestmark = pytest.mark.chain

ANN, BOB = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8", "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"


def our_errors() -> dict[str, list[dict[str, Any]]]:
    """Arguments by name, of contracts/ and of the libraries' errors that are in our contracts' ABI."""
    ours = [one for one in compile_contracts() if one._build["sourcePath"].startswith("contracts/")]
    return {item["name"]: item["inputs"] for one in ours for item in one.abi if item["type"] == "error"}


def some(item: dict[str, Any], place: int) -> str:
    if item.get("internalType") == "enum Phase":
        return Phase(place).name
    words = {"address": ANN.lower(), "bytes32": "void limit" if item["name"] in ("what", "proof") else "0x" + "ab" * 32}
    return words.get(item["type"], str(1_800_000_000 + place))


def test_every_error_of_the_contracts_has_a_sentence() -> None:
    errors = our_errors()
    assert set(SENTENCES) == set(errors) and len(errors) > 35
    for name, items in errors.items():
        shown = re.findall(r"{(\w+)", SENTENCES[name])
        assert {item["name"] for item in items} <= set(shown), f"{name} leaves something out"
        values = ", ".join(f"{item['name']}={some(item, place)}" for place, item in enumerate(items))
        for call in ("join", "settle", "withdraw"):
            said = sentence(call, f"{name}({values})" if items else name)
            assert len(said.split()) > 8 and name not in said and "{" not in said


def test_phases_by_name_with_what_they_are() -> None:
    assert set(PHASES) == {phase.name for phase in Phase}
    join = "WrongPhase(have=CREATED, want=SUBMIT)"
    assert sentence("join", join) == (
        "the project is in phase CREATED (the aggregator has not accepted its office yet); this is taken in OPEN or"
        " SUBMIT; wait, or leave it to `zkmarket trainer run --join`, which joins as soon as it can"
    )
    assert "this is taken in SUBMIT; wait, or leave it to the role's `run`" in sentence("submit", join)
    ended = sentence("join", join.replace("CREATED", "ENDED"))
    assert "ENDED" in ended and "zkmarket ROLE withdraw" in ended and "wait" not in ended


@pytest.mark.parametrize(
    ("call", "reason", "said"),
    [
        ("submit", "TooLate(have=1800000000, want=1799999999)", "it is 2027-01-15 08:00:00 UTC by the chain's clock"),
        ("submit", "TooLate(have=1800000000, want=1799999999)", "was taken until 2027-01-15 07:59:59 UTC"),
        ("join", f"WrongValue(have={10**18}, want={10**17})", "1 ether came with it, 0.1 ether are wanted"),
        ("submit", f"StakeNotFull(have={6 * 10**17}, want={10**18})", "the stake is 0.6 ether, 1 ether are wanted"),
        ("join", f"WrongSigner(have={NOBODY}, want={ANN.lower()})", f"is signed by nobody, not by {ANN}"),
        ("join", f"WrongSigner(have={BOB.lower()}, want={ANN.lower()})", f"by {BOB}, not by {ANN}"),
        ("join", f"WrongSigner(have={BOB.lower()}, want={ANN.lower()})", "ask for what `zkmarket owner list"),
        ("admit", f"NoSuchSeat(trainer={NOBODY}, round=2)", "the owner's root update has no submission in round 2"),
        ("create", "OutOfBounds(what=void limit, have=65, least=1, most=64)", "`void limit` is 65: it is from 1 to 64"),
        ("accept", f"TooEarly(have=1, want={2**255})", f"from second {2**255} on"),
    ],
)
def test_what_got_wanted(call: str, reason: str, said: str) -> None:
    assert said in sentence(call, reason)


@pytest.mark.parametrize("reason", ["", "five", "TooMuch: 11, 10", "Elsewhere(have=1)"])
def test_what_is_not_ours_stays_as_it_is(reason: str) -> None:
    assert sentence("join", reason) == reason
