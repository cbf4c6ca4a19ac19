"""Every word of a valid settlement, submission and root update, changed: the contract refuses each, with its reason.

The calls run on the locked state without being mined. What may be changed without harm is pinned word by word: the
zeros behind `cid` and `publication`, which the ABI ignores and nothing reads; and in a submission or root update the
CID, which is the sender's own word, signed with its transaction.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from tests.contracts.real import CID, Real, RealProject, compared, encode_call, layout, made, params_of, real
from zkmarket.escrow import settle_words, submit_words
from zkmarket.field import P, Q
from zkmarket.market import Chain

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
def submitting(locked: RealProject) -> RealProject:
    """A second project like it, in SUBMIT."""
    project = locked.real.open(locked.builds, verifiers=locked.verifiers)
    project.start()
    return project


@pytest.fixture(scope="module")
def submission(submitting: RealProject) -> Calldata:
    project, trainer = submitting, submitting.members[2]
    commitment = project.submission(trainer).commitment
    data = project.submit_data(commitment)
    points, proofs = submit_words(commitment)
    labels = layout(project.project, "submit", points, CID, proofs)
    return Calldata(data, labels, lambda changed: project.answer(changed, trainer))


@pytest.fixture(scope="module")
def settlement(locked: RealProject) -> Calldata:
    proof, _ = locked.prove([locked.submission(trainer) for trainer in locked.members])
    publication = locked.publication(proof)
    data = locked.settle_data(proof, publication=publication)
    labels = layout(locked.project, "settle", settle_words(proof), CID, publication)
    return Calldata(data, labels, locked.answer)


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


@pytest.fixture(scope="module")
def root(locked: RealProject) -> Calldata:
    """A third project, whose rules compare with the owner's root update, in OPEN."""
    project = locked.real.open(compared())
    update = project.root(project.updates()[0])
    data = project.root_data(update.commitment)
    points, proofs = submit_words(update.commitment)
    labels = layout(project.project, "offerRoot", points, proofs, CID)
    return Calldata(data, labels, lambda changed: project.answer(changed, project.real.owner))


ANY = rf"{NO_DATA}|\w+\(.*\)"
"""An offset or a length: the data are then read elsewhere, or not at all."""

SETTLE_REASONS = [
    (r".*: (offset|length)", ANY),
    (r"proof\.points\[([0-9]|1[01])\]", r"WrongPoints\(.*\)"),  # 3 trainers of 2 chunks, x and y
    (r"proof\.points\[1[2-7]\]", r"PointNotOnCurve\(.*\)"),  # the mask's chunks, C_G
    (r"proof\.q", r"ProofRejected\(settlement\)|ScalarNotCanonical\(.*\)"),
    (r"proof\.folds\[.*\]", r"WrongProofPoint\(gram, .*\)|ScalarNotCanonical\(.*\)"),
    (r"proof\.mask", r"ProofRejected\(settlement\)|OutOfBounds\(mask, .*\)"),
    (r"proof\.scores\[.*\]", r"ProofRejected\(settlement\)|OutOfBounds\(score, .*\)"),
    (r"proof\.nu", r"ProofRejected\(settlement\)|OutOfBounds\(nu, .*\)"),
    (r"proof\.gram word [01]", r"WrongProofPoint\(gram, .*\)"),
    (r"proof\.gram word .*", r"ProofRejected\(gram\)"),
    (r"proof\.settlement word [01]", r"WrongProofPoint\(settlement, .*\)"),
    (r"proof\.settlement word .*", r"ProofRejected\(settlement\)"),
    (r"(cid|publication) word .*", r"WrongSigner\(.*\)"),
]

SUBMIT_REASONS = [
    (r".*: (offset|length)", ANY),
    (r"points\[.*\]", r"PointNotOnCurve\(.*\)"),
    (r"proofs\[.\] word [01]", r"WrongProofPoint\(range, .*\)"),
    (r"proofs\[.\] word .*", r"ProofRejected\(range\)"),
    (r"cid word .*", r"nothing: it is the sender's own word"),
]


def test_every_word_of_a_root_update(root: Calldata) -> None:
    """The CID is the sender's own word: with another one no opening is found, and no root taken."""
    assert accepted_words(root, SUBMIT_REASONS) == {"cid word 0", "cid word 1 and padding", "cid: length"}
    assert len(root.labels) > 70
    assert root.ask(root.data[:-28]) == "" and root.ask(root.data[:-29]) != ""


def test_every_word_of_a_settlement(settlement: Calldata) -> None:
    """CID of 36 bytes and signature of 65: 28 and 31 zeros behind them. Proofs end on a word: no padding."""
    accepted = accepted_words(settlement, SETTLE_REASONS)
    assert accepted == {"cid word 1 and padding", "publication word 2 and padding"}
    assert len(settlement.labels) > 200


def test_every_word_of_a_submission(submission: Calldata) -> None:
    accepted = accepted_words(submission, SUBMIT_REASONS)
    assert accepted == {"cid word 0", "cid word 1 and padding", "cid: length"}
    assert len(submission.labels) > 180


@pytest.mark.parametrize("label, used", [("cid word 1 and padding", 4), ("publication word 2 and padding", 1)])
def test_only_the_zeros_behind_may_change(settlement: Calldata, label: str, used: int) -> None:
    """Byte by byte: what is read is refused, and what is not read is free."""
    word = settlement.word(settlement.index(label))
    for byte in range(32):
        said = settlement.ask(settlement.with_word(settlement.index(label), word ^ 1 << 8 * (31 - byte)))
        assert said.startswith("WrongSigner") if byte < used else said == "", byte


def test_another_length_of_a_submission_s_cid_is_another_cid(submission: Calldata) -> None:
    """Up to 96 bytes of it, read from what follows; no trainer has a reason to, and it hurts nobody else."""
    at = submission.index("cid: length")
    for length in (1, 35, 37, 64, 96):
        assert submission.ask(submission.with_word(at, length)) == ""
    for length in (0, 97, 128, 2**64, 2**256 - 1):
        said = submission.ask(submission.with_word(at, length))
        assert said == NO_DATA or said == f"WrongCid({length}, 96)"


@pytest.mark.parametrize("method", ["settle", "submit"])
def test_every_selector_but_its_own(method: str, request: pytest.FixtureRequest) -> None:
    call = request.getfixturevalue("settlement" if method == "settle" else "submission")
    for byte in range(4):
        for bit in range(8):
            selector = bytearray(call.data[:4])
            selector[byte] ^= 1 << bit
            assert call.ask(bytes(selector) + call.data[4:]) == NO_DATA
    assert call.ask(b"") == NO_DATA and call.ask(call.data[:3]) == NO_DATA and call.ask(call.data[4:]) == NO_DATA


@pytest.mark.parametrize("method", ["settle", "submit"])
def test_truncated_and_extended_calldata(method: str, request: pytest.FixtureRequest) -> None:
    """Bytes behind the last argument are not read; of the last argument none may be missing, but its padding may."""
    call = request.getfixturevalue("settlement" if method == "settle" else "submission")
    padding = 31 if method == "settle" else 0  # the signature has 65 bytes; range proofs end on a word
    for less in (1, 31, 32, 33, 64, 1000, len(call.data) // 2, len(call.data) - 4, len(call.data) - 36):
        said = call.ask(call.data[:-less])
        assert (said == "") == (less <= padding), less
        assert re.fullmatch(rf"|{NO_DATA}|WrongPhase.*", said), (less, said)
    for more in (bytes(1), b"\xff", bytes(32), b"\xff" * 32, call.data, bytes(1000)):
        assert call.ask(call.data + more) == ""


@pytest.mark.parametrize("method", ["settle", "submit"])
@pytest.mark.parametrize("amount", [-32, -1, 1, 32])
def test_proofs_of_another_length(method: str, amount: int, request: pytest.FixtureRequest) -> None:
    """Declared so, in an encoding that is otherwise right: verifiers take one length only."""
    call = request.getfixturevalue("settlement" if method == "settle" else "submission")
    project: RealProject = request.getfixturevalue("locked" if method == "settle" else "submitting")

    def other(data: bytes) -> bytes:
        return data[:amount] if amount < 0 else data + bytes(amount)

    if method == "settle":
        proof, _ = project.prove([project.submission(trainer) for trainer in project.members])
        words, publication = settle_words(proof), project.publication(proof)
        for at, what in ((6, "gram"), (7, "settlement")):
            changed = (*words[:at], other(words[at]), *words[at + 1 :])
            assert call.ask(project.settle_data_of(changed, CID, publication)) == f"ProofRejected({what})"
    else:
        points, proofs = submit_words(project.submission(project.members[2]).commitment)
        for at in range(2):
            changed = [other(data) if index == at else data for index, data in enumerate(proofs)]
            data = encode_call(project.project, "submit", points, CID, changed)
            assert call.ask(data) == "ProofRejected(range)"


STRIDE = 11
"""Coprime to 32, so that every place within a word has its turn."""


@pytest.mark.parametrize("label", ["proof.gram", "proof.settlement"])
def test_single_bytes_of_a_proof(settlement: Calldata, label: str) -> None:
    what = label.rpartition(".")[2]
    start = 4 + 32 * settlement.index(f"{label} word 0")
    end = 36 + 32 * max(i for i, name in enumerate(settlement.labels) if name.startswith(f"{label} word"))
    rng = random.Random(2)
    places = range(start, end, STRIDE)
    assert len(places) > 170
    for place in places:
        data = bytearray(settlement.data)
        data[place] ^= 1 << rng.randrange(8)
        first_point = place < start + 64
        want = rf"WrongProofPoint\({what}, .*\)" if first_point else rf"ProofRejected\({what}\)"
        assert re.fullmatch(want, settlement.ask(bytes(data))), place - start


def test_single_bytes_of_a_range_proof(submission: Calldata) -> None:
    start = 4 + 32 * submission.index("proofs[1] word 0")
    rng = random.Random(3)
    for place in range(start, len(submission.data), STRIDE):
        data = bytearray(submission.data)
        data[place] ^= 1 << rng.randrange(8)
        want = r"WrongProofPoint\(range, .*\)" if place < start + 64 else r"ProofRejected\(range\)"
        assert re.fullmatch(want, submission.ask(bytes(data))), place - start


def test_every_evaluation_and_coordinate_plus_its_modulus(settlement: Calldata) -> None:
    """A word of a proof is a coordinate or a field element: with q or p added it is the same one, and refused."""
    for index, label in enumerate(settlement.labels):
        match = re.fullmatch(r"proof\.(gram|settlement) word (\d+)", label)
        if not match or int(match[2]) < 2:
            continue
        for modulus in (P, Q):
            word = settlement.word(index) + modulus
            assert word < 2**256
            said = settlement.ask(settlement.with_word(index, word))
            assert said == f"ProofRejected({match[1]})", (label, said)


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


def test_compact_signatures_are_refused(locked: RealProject) -> None:
    """EIP-2098 would give a second encoding of the same signature."""
    proof, _ = locked.prove([locked.submission(trainer) for trainer in locked.members])
    signature = locked.publication(proof)
    r, s, v = signature[:32], int.from_bytes(signature[32:64], "big"), signature[64]
    compact = r + (s | (v - 27) << 255).to_bytes(32, "big")
    nobody = "WrongSigner(0x0000000000000000000000000000000000000000, "
    assert locked.answer(locked.settle_data(proof, publication=signature)) == ""
    for wrong in (compact, signature + b"\0", signature[:64], b"", bytes(65)):
        assert locked.answer(locked.settle_data(proof, publication=wrong)).startswith(nobody)
