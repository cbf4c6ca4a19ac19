"""Every word of a valid settlement, in one transaction and in two, changed: the contract refuses each, with its reason.

The calls run on the locked state without being mined. What may be changed without harm is pinned word by word: the
zeros behind `z`, `cid` and `publication`, which the ABI ignores and nothing reads. A submission and a root update are a
digest and a CID, their sender's own words: whatever they are, they cost it p if nothing opens them.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pytest

from tests.contracts.real import CID, Real, RealProject, encode_call, layout, made, params_of, real
from zkmarket.chain import Chain
from zkmarket.crypto import P, Q
from zkmarket.market import last_seed
from zkmarket.round import RoundProof

pytestmark = [pytest.mark.chain, pytest.mark.proof]
__all__ = ["real"]  # the fixture

CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""Of secp256k1, for signatures."""

NO_DATA = "no data: execution reverted"
"""What the ABI decoder and a missing function say; out of gas reads otherwise."""


@dataclass(frozen=True)
class Calldata:
    """A call that the project takes, its words by name, and how to ask."""

    data: bytes
    labels: list[str]
    ask: Callable[[bytes], str]

    def word(self, index: int) -> int:
        return int.from_bytes(self.data[4 + 32 * index : 36 + 32 * index], "big")

    def with_word(self, index: int, value: int) -> bytes:
        return self.data[: 4 + 32 * index] + value.to_bytes(32, "big") + self.data[36 + 32 * index :]

    def index(self, label: str) -> int:
        return self.labels.index(label)


@pytest.fixture(scope="module")
def locked(node: Chain, real: Real) -> RealProject:
    """N = 3, m = 2: with a fold. In PROVE."""
    project = real.open(made(3, 3, params_of(2)))
    project.to_prove()
    return project


@pytest.fixture(scope="module")
def proof(locked: RealProject) -> RoundProof:
    return locked.prove([locked.submission(trainer) for trainer in locked.members])[0]


@pytest.fixture(scope="module")
def settlement(locked: RealProject, proof: RoundProof) -> Calldata:
    arguments = (*locked.settle_words(proof), CID, locked.publication(proof))
    data = locked.settle_data_of(*arguments)
    return Calldata(data, layout(locked.project, "settle", *arguments), locked.answer)


@pytest.fixture(scope="module")
def first_half(locked: RealProject, proof: RoundProof) -> Calldata:
    base, _ = locked.settle_words(proof)
    data = encode_call(locked.project, "proveBase", base)
    return Calldata(data, layout(locked.project, "proveBase", base), locked.answer)


@pytest.fixture(scope="module")
def second_half(locked: RealProject, proof: RoundProof, first_half: Calldata) -> Iterator[Calldata]:
    """Of a project whose base proof was accepted."""
    base, decision = locked.settle_words(proof)
    arguments = (last_seed(proof), *base[:3], decision, CID, locked.publication(proof))
    data = encode_call(locked.project, "settleProven", *arguments)
    with locked.chain.rolled_back():
        locked.project.prove_base(locked.real.stranger, proof)
        yield Calldata(data, layout(locked.project, "settleProven", *arguments), locked.answer)


CALLS = ("settlement", "first_half", "second_half")


@pytest.fixture(params=CALLS)
def call(request: pytest.FixtureRequest) -> Calldata:
    return request.getfixturevalue(request.param)


def changes(word: int, rng: random.Random) -> list[int]:
    """The lowest bit, one more in the top byte, another word altogether."""
    top = (word >> 248) + 1 & 0xFF
    return [word ^ 1, top << 248 | word & (1 << 248) - 1, rng.getrandbits(256)]


def accepted_words(call: Calldata, reasons: Sequence[tuple[str, str]]) -> set[str]:
    """Change every word, each in three ways; every refusal must have the reason of its label. What was accepted?"""
    assert len(call.data) == 4 + 32 * len(call.labels)
    assert call.ask(call.data) == "", "the honest twin"
    rng = random.Random(1)
    accepted = set()
    for index, label in enumerate(call.labels):
        expected = next(reason for pattern, reason in reasons if re.fullmatch(pattern, label))
        for value in changes(call.word(index), rng):
            said = call.ask(call.with_word(index, value))
            if said == "":
                accepted.add(label)
            else:
                assert re.fullmatch(expected, said), (label, hex(value), said)
    return accepted


ANY = rf"{NO_DATA}|\w+\(.*\)"
"""An offset or a length: the data are then read elsewhere, or not at all."""

WRONG_POINT = r"PointNotOnCurve\(.*\)"
CANONICAL = r"ScalarNotCanonical\(.*\)"
COLUMNS = r"WrongProofPoint\(base, .*\)"

REASONS = [
    # 3 trainers of 2 chunks, slot 0's 2, P_0..P_4, C_G: x and y of each
    (r".*: (offset|length)", ANY),
    (r"(base\.)?points\[.*\]", WRONG_POINT),
    (r"(base\.)?cids\[.*\]", r"WrongPoints\(.*\)"),
    (r"base\.(q|t0|folds\[.*\]|rounds\[.*\])", rf"{COLUMNS}|{CANONICAL}"),
    (r"base\.z word .*", rf"{COLUMNS}|OutOfBounds\(z, .*\)"),
    (r"base\.saltSquare", rf"ProofRejected\(base\)|{CANONICAL}"),
    (r"base\.proof word [0-5]", WRONG_POINT),
    (r"base\.proof word .*", r"ProofRejected\(base\)"),
    (r"seed|q", r"NotProven\(.*\)"),
    (r"decision\.mask", r"ProofRejected\(settlement\)|OutOfBounds\(mask, .*\)"),
    (r"decision\.scores\[.*\]", r"ProofRejected\(settlement\)|OutOfBounds\(score, .*\)"),
    (r"decision\.theta\[.*\]", r"WrongModel\(.*\)"),
    (r"decision\.nu", r"ProofRejected\(settlement\)|OutOfBounds\(nu, .*\)"),
    (r"decision\.proof word [01]", r"WrongProofPoint\(settlement, .*\)"),
    (r"decision\.proof word .*", r"ProofRejected\(settlement\)"),
    (r"(cid|publication) word .*", r"WrongSigner\(.*\)"),
]


ENDS = {"cid word 1 and padding", "publication word 2 and padding"}
"""CID of 36 bytes and signature of 65: 28 and 31 zeros behind them. Proofs end on a word: no padding."""

LAST_OF_Z = "base.z word 227 and padding"
"""7,280 bytes: 16 zeros behind them."""


@pytest.mark.parametrize(
    "call, free, least",
    [("settlement", ENDS | {LAST_OF_Z}, 550), ("first_half", {LAST_OF_Z}, 430), ("second_half", ENDS, 150)],
    indirect=["call"],
    ids=CALLS,
)
def test_every_word(call: Calldata, free: set[str], least: int) -> None:
    assert accepted_words(call, REASONS) == free
    assert len(call.labels) > least


@pytest.mark.parametrize(
    "label, used, reason",
    [
        ("cid word 1 and padding", 4, "WrongSigner"),
        ("publication word 2 and padding", 1, "WrongSigner"),
        (LAST_OF_Z, 16, "WrongProofPoint"),
    ],
)
def test_only_the_zeros_behind_may_change(settlement: Calldata, label: str, used: int, reason: str) -> None:
    """Byte by byte: what is read is refused, and what is not read is free."""
    word = settlement.word(settlement.index(label))
    for byte in range(32):
        said = settlement.ask(settlement.with_word(settlement.index(label), word ^ 1 << 8 * (31 - byte)))
        assert said.startswith((reason, "OutOfBounds")) if byte < used else said == "", byte


def test_every_selector_but_its_own(call: Calldata) -> None:
    for byte in range(4):
        for bit in range(8):
            selector = bytearray(call.data[:4])
            selector[byte] ^= 1 << bit
            assert call.ask(bytes(selector) + call.data[4:]) == NO_DATA
    assert call.ask(b"") == NO_DATA and call.ask(call.data[:3]) == NO_DATA and call.ask(call.data[4:]) == NO_DATA


@pytest.mark.parametrize(
    "call, padding", [("settlement", 31), ("first_half", 0), ("second_half", 31)], indirect=["call"], ids=CALLS
)
def test_truncated_and_extended_calldata(call: Calldata, padding: int) -> None:
    """Bytes behind the last argument are not read; of the last argument none may be missing, but its padding may."""
    for less in (1, 31, 32, 33, 64, 1000, len(call.data) // 2, len(call.data) - 4, len(call.data) - 36):
        said = call.ask(call.data[:-less])
        assert (said == "") == (less <= padding), less  # the signature has 65 bytes; a base proof ends on a word
        assert re.fullmatch(rf"|{NO_DATA}|WrongPhase.*", said), (less, said)
    for more in (bytes(1), b"\xff", bytes(32), b"\xff" * 32, call.data, bytes(1000)):
        assert call.ask(call.data + more) == ""


@pytest.mark.parametrize("amount", [-32, -1, 1, 32])
def test_proofs_of_another_length(locked: RealProject, proof: RoundProof, amount: int) -> None:
    """Declared so, in an encoding that is otherwise right: verifiers take one length only."""

    def other(data: bytes) -> bytes:
        return data[:amount] if amount < 0 else data + bytes(amount)

    honest, publication = locked.settle_words(proof), locked.publication(proof)
    for at, what in enumerate(("base", "settlement")):
        words = list(honest)
        words[at] = (*words[at][:-1], other(words[at][-1]))
        assert locked.answer(locked.settle_data_of(*words, CID, publication)) == f"ProofRejected({what})"


STRIDE = 11
"""Coprime to 32, so that every place within a word has its turn."""


@pytest.mark.parametrize("label", ["base.proof", "decision.proof"])
def test_single_bytes_of_a_proof(settlement: Calldata, label: str) -> None:
    what = "base" if label == "base.proof" else "settlement"
    start = 4 + 32 * settlement.index(f"{label} word 0")
    end = 36 + 32 * max(i for i, name in enumerate(settlement.labels) if name.startswith(f"{label} word"))
    rng = random.Random(2)
    places = range(start, end, STRIDE)
    assert len(places) > 170
    for place in places:
        data = bytearray(settlement.data)
        data[place] ^= 1 << rng.randrange(8)
        said = settlement.ask(bytes(data))
        if what == "base" and place < start + 192:
            assert re.fullmatch(WRONG_POINT, said), place - start
        elif place < start + 64:
            assert re.fullmatch(r"WrongProofPoint\(settlement, .*\)", said), place - start
        else:
            assert said == f"ProofRejected({what})", place - start


def test_every_evaluation_and_coordinate_plus_its_modulus(settlement: Calldata) -> None:
    """A word of a proof is a coordinate or a field element: with q or p added it is the same one, and refused."""
    for index, label in enumerate(settlement.labels):
        match = re.fullmatch(r"(base|decision)\.proof word (\d+)", label)
        if not match or int(match[2]) < (6 if match[1] == "base" else 2):
            continue
        for modulus in (P, Q):
            word = settlement.word(index) + modulus
            assert word < 2**256
            said = settlement.ask(settlement.with_word(index, word))
            what = "base" if match[1] == "base" else "settlement"
            assert said == f"ProofRejected({what})", (label, said)


def test_malleable_signatures(settlement: Calldata) -> None:
    """For every signature (r, s, v) there is (r, n − s, v'): refused, so that a publication has one encoding."""
    at = settlement.index("publication word 0")
    r, s, last = (settlement.word(at + i) for i in range(3))
    v = last >> 248
    assert v in (27, 28) and s <= CURVE_ORDER // 2

    def signed(r: int, s: int, v: int) -> bytes:
        data = settlement.data[: 4 + 32 * at] + r.to_bytes(32, "big") + s.to_bytes(32, "big")
        return data + bytes([v]) + bytes(31)

    assert settlement.ask(signed(r, s, v)) == ""
    other = 55 - v
    nobody = "WrongSigner(0x0000000000000000000000000000000000000000, "
    assert settlement.ask(signed(r, CURVE_ORDER - s, other)).startswith(nobody)
    for wrong in (
        signed(r, CURVE_ORDER - s, v),
        signed(r, CURVE_ORDER // 2 + 1, v),
        signed(CURVE_ORDER, s, v),
        *(signed(r, s, v) for v in (0, 1, v - 27, 29, 35, 37, 255)),
        signed(0, 0, v),
    ):
        assert settlement.ask(wrong).startswith(nobody)
    assert settlement.ask(signed(r, s, other)).startswith("WrongSigner(0x")


def test_compact_signatures_are_refused(locked: RealProject, proof: RoundProof) -> None:
    """EIP-2098 would give a second encoding of the same signature."""
    signature = locked.publication(proof)
    r, s, v = signature[:32], int.from_bytes(signature[32:64], "big"), signature[64]
    compact = r + (s | (v - 27) << 255).to_bytes(32, "big")
    nobody = "WrongSigner(0x0000000000000000000000000000000000000000, "
    assert locked.answer(locked.settle_data(proof, publication=signature)) == ""
    for wrong in (compact, signature + b"\0", signature[:64], b"", bytes(65)):
        assert locked.answer(locked.settle_data(proof, publication=wrong)).startswith(nobody)
