"""base.verify, word by word: whatever is changed in what a prover sends is refused, each for its own reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.support.ideal import Ideal, Round, Sent, Update, small_updates, verify
from zkmarket.backend import Proof
from zkmarket.build import SUMS, Z_BITS, Z_BYTES, Shape
from zkmarket.crypto import GENERATOR, P, Point, Q, Transcript, decode_point, encode_point, multiply_add, to_ints
from zkmarket.errors import DomainError, ProofRejected
from zkmarket.round import BaseProof, Points, base, projection

pytestmark = pytest.mark.unit

SHAPE = Shape(slots=3, chunks=3, params=2 * 160 + 97, rows=11, width=16, sums=120)
FOLDED = "<W, W> is not the folded claim T"
CLAIM = "<U, V> is not the sumcheck's last claim"
POINT = "V is evaluated at another point than the transcript's"
BLOCK = "V is not the block that the rows' bits and challenges give"
COLUMNS = "its columns are not the combinations of the commitments"
UNPROVEN = "base proof does not verify"


@pytest.fixture(scope="module")
def ideal() -> Ideal:
    """Three trainers, and a last aggregate, which has no data blocks."""
    return Ideal(SHAPE, references=1)


@pytest.fixture(scope="module")
def honest(ideal: Ideal) -> Sent:
    last = Update.of(ideal, [value << 40 for value in range(SHAPE.params)])
    return Round(ideal, [*small_updates(ideal), last]).sent


def refused(ideal: Ideal, sent: Sent, reason: str) -> None:
    with pytest.raises(ProofRejected, match=reason):
        verify(ideal, sent)


def with_proof(honest: Sent, **changes: Any) -> Sent:
    return replace(honest, proof=replace(honest.proof, **changes))


def test_the_honest_twin(ideal: Ideal, honest: Sent) -> None:
    verify(ideal, honest)
    assert (len(honest.proof.claims), len(honest.proof.rounds)) == (2, 4)
    assert len(honest.points.flat()) == 4 * 3 + 3 + 5
    assert BaseProof.from_json(honest.proof.to_json()) == honest.proof
    assert honest.proof.salt_square == honest.proof.proof.instances[1] != 0


def test_prover_and_verifier_end_with_the_same_seed(ideal: Ideal, honest: Sent) -> None:
    """It has absorbed all that was sent, so whoever publishes it says which proof."""
    assert verify(ideal, honest) == verify(ideal, honest)
    again = Round(ideal, [*small_updates(ideal), Update.of(ideal, [0] * SHAPE.params)]).sent
    assert verify(ideal, again) != verify(ideal, honest)


# ---------------------------------------------------------------- every number


EARLIER = f"{FOLDED}|{CLAIM}|{POINT}|{BLOCK}"
"""A change moves later challenges, so that the first check that meets one refuses."""


@pytest.mark.parametrize("amount", [1, -1, 1 << 128])
def test_q_and_the_mask_claim(ideal: Ideal, honest: Sent, amount: int) -> None:
    refused(ideal, replace(honest, q=(honest.q + amount) % P), EARLIER)
    refused(ideal, with_proof(honest, t0=(honest.proof.t0 + amount) % P), EARLIER)


@pytest.mark.parametrize("name", ["claims", "rounds"])
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("amount", [1, -1])
def test_every_message(ideal: Ideal, honest: Sent, name: str, which: int, amount: int) -> None:
    pairs = getattr(honest.proof, name)
    for step, pair in enumerate(pairs):
        changed = list(pair)
        changed[which] = (changed[which] + amount) % P
        refused(ideal, with_proof(honest, **{name: (*pairs[:step], tuple(changed), *pairs[step + 1 :])}), EARLIER)


@pytest.mark.parametrize(
    "name, wanted", [("claims", "fold claims: wanted 2"), ("rounds", "rounds of the .*: wanted 4")]
)
def test_messages_more_or_fewer(ideal: Ideal, honest: Sent, name: str, wanted: str) -> None:
    pairs = getattr(honest.proof, name)
    for changed in ((), pairs[1:], pairs[:-1], (*pairs, pairs[0]), (*pairs, (0, 0)), pairs * 2):
        refused(ideal, with_proof(honest, **{name: changed}), f"base proof has {len(changed)} {wanted}")
    refused(ideal, with_proof(honest, **{name: (pairs[1], pairs[0], *pairs[2:])}), EARLIER)
    both = {"claims": honest.proof.claims[:1], "rounds": honest.proof.claims[1:] + honest.proof.rounds}
    refused(ideal, with_proof(honest, **both), "base proof has 1 fold claims: wanted 2")


@pytest.mark.parametrize("value", [P, P + 1, 2**256 - 1, -1])
def test_numbers_that_are_no_field_elements(ideal: Ideal, honest: Sent, value: int) -> None:
    """Also those that would be the right one if they were reduced."""
    canonical = "field element is not canonical: wanted 0 <= x < p"
    refused(ideal, replace(honest, q=value), canonical)
    refused(ideal, replace(honest, q=honest.q + P), canonical)
    refused(ideal, with_proof(honest, t0=honest.proof.t0 + P), canonical)
    for name in ("claims", "rounds"):
        first, *rest = getattr(honest.proof, name)
        for changed in ((value, first[1]), (first[0], value), (first[0] + P, first[1]), (first[0], first[1] + P)):
            refused(ideal, with_proof(honest, **{name: (changed, *rest)}), canonical)


# ---------------------------------------------------------------- the rows' answers


@pytest.mark.parametrize("row", [0, 1, 60, 119])
@pytest.mark.parametrize("amount", [1, -1, 1 << 80])
def test_every_answer(ideal: Ideal, honest: Sent, row: int, amount: int) -> None:
    answers = projection.unpack(honest.proof.z, SHAPE.sums)
    answers[row] += amount if abs(answers[row] + amount) < 1 << Z_BITS else -amount
    refused(ideal, with_proof(honest, z=projection.pack(answers)), EARLIER)


def test_answers_of_another_order(ideal: Ideal, honest: Sent) -> None:
    answers = projection.unpack(honest.proof.z, SHAPE.sums)
    refused(ideal, with_proof(honest, z=projection.pack([answers[1], answers[0], *answers[2:]])), EARLIER)
    refused(ideal, with_proof(honest, z=projection.pack(answers[::-1])), EARLIER)


def words(answers: list[int]) -> bytes:
    """As `projection.pack`, without its check."""
    return b"".join((value + (1 << Z_BITS)).to_bytes(Z_BYTES, "big") for value in answers)


BEYOND = [1 << Z_BITS, -(1 << Z_BITS), (1 << Z_BITS) + 1, (1 << 112) - 1 - (1 << Z_BITS)]


@pytest.mark.parametrize("row", [0, 57, 119])
@pytest.mark.parametrize("value", BEYOND, ids=["edge", "-edge", "past it", "all bits"])
def test_an_answer_out_of_range(ideal: Ideal, honest: Sent, row: int, value: int) -> None:
    answers = projection.unpack(honest.proof.z, SHAPE.sums)
    answers[row] = value
    with pytest.raises(DomainError, match=rf"row {row + 1} of the projection is below 2\^110 in absolute value: got"):
        projection.pack(answers)
    refused(ideal, with_proof(honest, z=words(answers)), f"row {row + 1} of the projection is out of range")


@pytest.mark.parametrize("value", [(1 << Z_BITS) - 1, 1 - (1 << Z_BITS), 0])
def test_an_answer_at_the_edge(ideal: Ideal, honest: Sent, value: int) -> None:
    """The honest twin: in range, and read as it was sent; only it is not what this flood and these updates make."""
    answers = projection.unpack(honest.proof.z, SHAPE.sums)
    answers[3] = value
    assert projection.unpack(projection.pack(answers), SHAPE.sums) == answers
    refused(ideal, with_proof(honest, z=projection.pack(answers)), EARLIER)


def test_answers_of_a_wrong_length(ideal: Ideal, honest: Sent) -> None:
    z = honest.proof.z
    for changed in (b"", z[:-1], z[1:], z + b"\0", z[:-14], z + z[:14], z * 2):
        wanted = f"z has {len(changed)} bytes, wanted {14 * 120}"
        refused(ideal, with_proof(honest, z=changed), wanted)


def test_all_520_answers_are_wanted() -> None:
    whole = projection.pack([0] * SUMS)
    assert len(whole) == 7280 and projection.unpack(whole) == [0] * SUMS
    with pytest.raises(ProofRejected, match="z has 1680 bytes, wanted 7280"):
        projection.unpack(whole[: 14 * 120])


# ---------------------------------------------------------------- the base proof


def test_every_instance(ideal: Ideal, honest: Sent) -> None:
    """o_1, o_2, o_3, every power of the point, o_4."""
    given = honest.proof.proof
    reasons = [FOLDED, FOLDED, CLAIM, *[POINT] * (len(given.instances) - 4), BLOCK]
    assert len(given.instances) == 4 + 2 * ideal.manifest.logrows
    for at, reason in enumerate(reasons):
        for amount in (1, -1, P):
            instances = list(given.instances)
            instances[at] += amount
            # o_2 + p is the same in what is computed of it: backend.verify refuses what is not canonical
            why = UNPROVEN if (at, amount) == (1, P) else reason
            refused(ideal, with_proof(honest, proof=Proof(given.data, tuple(instances))), why)


def test_both_norms_moved(ideal: Ideal, honest: Sent) -> None:
    """o_1 and o_2 by the same amount: their difference is right, and no proof says so."""
    one, two, *rest = honest.proof.proof.instances
    for amount in (1, -two):
        moved = ((one + amount) % P, (two + amount) % P, *rest)
        refused(ideal, with_proof(honest, proof=Proof(honest.proof.proof.data, moved)), UNPROVEN)


def test_instances_more_or_fewer(ideal: Ideal, honest: Sent) -> None:
    given = honest.proof.proof
    for changed in (given.instances[:-1], given.instances[1:], (*given.instances, 0), ()):
        refused(ideal, with_proof(honest, proof=Proof(given.data, changed)), f"has {len(changed)} instances: wanted 20")


@pytest.mark.parametrize("at", [0, 1, 2], ids=["W", "U", "V"])
def test_another_column(ideal: Ideal, honest: Sent, at: int) -> None:
    """A valid proof of one column changed in one cell."""
    columns = [list(column) for column in ideal.columns[int.from_bytes(honest.proof.proof.data[192:], "big")]]
    columns[at][5] += 1
    refused(ideal, with_proof(honest, proof=ideal.prove_columns(columns)), EARLIER)
    columns[at][5] -= 1
    verify(ideal, with_proof(honest, proof=ideal.prove_columns(columns)))


NOT_POINTS = [(0, 0), (1, 3), (Q, 2), (1, 2 + Q), (1 + Q, 2), ((1 << 256) - 1, 2)]


@pytest.mark.parametrize("at", [0, 1, 2], ids=["W", "U", "V"])
def test_points_of_the_proof(ideal: Ideal, honest: Sent, at: int) -> None:
    """Another point, or none: it is absorbed as it is written, and the challenges are then others."""
    data = honest.proof.proof.data
    for point in (GENERATOR, *NOT_POINTS):
        changed = data[: 64 * at] + encode_point(point) + data[64 * at + 64 :]
        refused(ideal, with_proof(honest, proof=replace(honest.proof.proof, data=changed)), EARLIER)


def test_a_point_off_the_curve_is_never_multiplied(ideal: Ideal, honest: Sent) -> None:
    """Past the checks before: the combination refuses it by itself."""
    shape = ideal.manifest.projection
    zeros = (0,) * len(honest.proof.claims), (0,) * shape.rounds
    opened = base.Coefficients.of(shape, ideal.manifest.slots, [0] * ideal.manifest.slots, *zeros)
    good = encode_point(GENERATOR)
    for bad in NOT_POINTS:
        for committed in ([encode_point(bad), good], [good, encode_point(bad)]):
            with pytest.raises(ProofRejected, match="point is not on BN254 G1|coordinate is not reduced"):
                base.check_combination(honest.points, opened, committed, 3, ideal.manifest.blinding)


def test_a_proof_that_is_too_short(ideal: Ideal, honest: Sent) -> None:
    for size in (0, 63, 64, 130, 191):
        short = replace(honest.proof.proof, data=honest.proof.proof.data[:size])
        refused(ideal, with_proof(honest, proof=short), "proof is too short")


def test_a_proof_that_is_none(ideal: Ideal, honest: Sent) -> None:
    other = replace(honest.proof.proof, data=honest.proof.proof.data[:192] + (1 << 20).to_bytes(64, "big"))
    refused(ideal, with_proof(honest, proof=other), UNPROVEN)


# ---------------------------------------------------------------- the commitments


def points_changed(points: Points) -> Iterator[tuple[str, Points]]:
    """Every point, one after the other, and points in other places."""
    other = multiply_add([GENERATOR], [123456789])
    for slot, own in enumerate(points.slots):
        for chunk in range(len(own)):
            slots = [list(held) for held in points.slots]
            slots[slot][chunk] = other
            yield f"slot {slot + 1}, chunk {chunk}", replace(points, slots=tuple(map(tuple, slots)))
    for name in ("mask", "projection"):
        held: tuple[Point, ...] = getattr(points, name)
        for at in range(len(held)):
            yield f"{name} {at}", replace(points, **{name: (*held[:at], other, *held[at + 1 :])})
    one, two, *rest = points.slots
    yield "two slots swapped", replace(points, slots=(two, one, *rest))
    yield "two chunks swapped", replace(points, slots=((one[1], one[0], one[2]), two, *rest))
    yield (
        "masks swapped",
        replace(points, mask=points.projection[:3], projection=(*points.mask, *points.projection[3:])),
    )


def test_every_commitment(ideal: Ideal, honest: Sent) -> None:
    for _, changed in points_changed(honest.points):
        refused(ideal, replace(honest, points=changed), EARLIER)


class Frozen(Transcript):
    """A deliberately weak transcript: nothing that is absorbed changes it."""

    @classmethod
    def start(cls, context: bytes, points: Any) -> Transcript:
        return cls(bytes(32))

    def absorb(self, *scalars: int) -> None:
        pass

    def absorb_projection(self, q: int, t0: int, z: bytes) -> None:
        pass

    def absorb_points(self, points: Any) -> None:
        pass


def test_every_commitment_takes_part_in_the_combination(ideal: Ideal) -> None:
    """With challenges that do not move, so that only the combination is left to refuse; the last aggregate's too."""
    last = Update.of(ideal, [value << 40 for value in range(SHAPE.params)])
    sent = Round(ideal, [*small_updates(ideal), last], Frozen).sent
    verify(ideal, sent, Frozen)
    for name, changed in points_changed(sent.points):
        with pytest.raises(ProofRejected, match=COLUMNS):
            verify(ideal, replace(sent, points=changed), Frozen)
            raise AssertionError(name)


def test_the_blinding_point_counts(ideal: Ideal, honest: Sent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ideal.manifest, "blinding", multiply_add([GENERATOR], [ideal.rest + 1]))
    refused(ideal, honest, COLUMNS)
    assert decode_point(honest.proof.proof.point(0))


# ---------------------------------------------------------------- where the geometric sums are none


class Inverse(Transcript):
    """y = 1/η, which no honest transcript gives."""

    def challenge(self, label: str, index: int = 0) -> int:
        if label == "y":
            return pow(self.eta, -1, P)
        value = super().challenge(label, index)
        if label == "eta":
            self.eta = value
        return value


def test_a_point_that_is_the_inverse_of_eta(ideal: Ideal) -> None:
    """Refused with a sentence, though everything else is true, and nobody divides by zero."""
    last = Update.of(ideal, [0] * SHAPE.params)
    sent = Round(ideal, [*small_updates(ideal), last], Inverse).sent
    with pytest.raises(ProofRejected, match="η·y is 1, which no honest transcript gives"):
        verify(ideal, sent, Inverse)


def naive_value(shape: Shape, weights: projection.Weights, sigmas: list[int], eta: int, y: int) -> int:
    """V at y, cell by cell, from what `public_block` makes of the factors of S."""
    eq = projection.equalities(sigmas)
    rows = [sum(int(bit) * eq[at] for bit, at in zip(row, shape.data_positions, strict=True)) for row in weights.blocks]
    tail = sum(
        factor * eq[shape.data_positions[at]]
        for factor, at in zip(projection.tail_factors(shape, eta), shape.last_chunks, strict=True)
    )
    masks = [eq[at] for at in shape.mask_positions]
    block = projection.public_block(shape, weights, [v % P for v in (*rows, tail, *masks)], eta)
    return sum(cell * pow(y, at, P) for at, cell in enumerate(to_ints(block))) % P


EDGES: list[Callable[[int], int]] = [lambda v: 0, lambda v: 1, lambda v: P - 1, lambda v: v]


@pytest.mark.parametrize("tail", [1, 97, 160])
def test_the_value_at_edges_of_the_field(tail: int) -> None:
    """y and σ of 0, 1 and −1 are points as any other; η of 1 leaves plain sums."""
    shape = replace(SHAPE, params=2 * 160 + tail)
    weights = projection.Weights.of(shape, Transcript(bytes(range(32))))
    drawn = Transcript(bytes(32))
    for edge in EDGES:
        sigmas = [edge(drawn.challenge("sigma", at)) for at in range(shape.rounds)]
        for eta, y in ((drawn.challenge("eta"), edge(drawn.challenge("y"))), (1, 5), (P - 1, 2), (0, 3)):
            value = projection.evaluate(shape, weights, sigmas, eta, y)
            assert value == naive_value(shape, weights, sigmas, eta, y)
    for eta, y in ((1, 1), (P - 1, P - 1), (2, (P + 1) // 2)):
        with pytest.raises(ProofRejected, match="η·y is 1"):
            projection.evaluate(shape, weights, [3] * shape.rounds, eta, y)
