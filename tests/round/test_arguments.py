"""Prover and verifier of both arguments, of any shape: the engine's, and a prover made from the definitions alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.attacks.plain import Prover
from tests.support.ideal import Ideal, Round, Update, verify
from tests.support.tiers import examples
from zkmarket.build import CELLS_BITS, ENTRY_BITS, ROWS, SUMS, Z_BITS, Columns, Shape
from zkmarket.crypto import P, Transcript, to_ints
from zkmarket.errors import DomainError, ProofRejected
from zkmarket.round import Weights, projection

pytestmark = pytest.mark.unit

LARGEST = 1 << 18


@st.composite
def rounds(draw) -> Round:
    """One to five slots of one to four chunks, the padding from none to all but one cell, references or none.

    Values at the edges of what a build allows; a slot may be absent, the zero vector with salts 0; the last aggregate
    has values that no update may have.
    """
    slots, chunks = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    rows, width = draw(st.sampled_from([(4, 16), (6, 8), (3, 32)]))
    size = (rows - 1) * width
    tail = draw(st.one_of(st.sampled_from([1, size - 1, size]), st.integers(1, size)))
    shape = Shape(slots, chunks, (chunks - 1) * size + tail, rows, width, draw(st.integers(1, 20)))
    held = draw(st.integers(0, 1))
    ideal = Ideal(shape, salts=draw(st.integers(1, 3)), references=held)
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    kinds = {
        "any": lambda: rng.integers(-LARGEST, LARGEST, shape.params),
        "lowest": lambda: np.full(shape.params, -LARGEST),
        "highest": lambda: np.full(shape.params, LARGEST - 1),
        "absent": lambda: np.zeros(shape.params, np.int64),
        "long": lambda: rng.integers(-(1 << 60), 1 << 60, shape.params),
    }
    names = [draw(st.sampled_from(["any", "lowest", "highest", "absent"])) for _ in range(slots)]
    names += [draw(st.sampled_from(["absent", "long"]))] * held
    return Round(ideal, [Update.of(ideal, kinds[name](), salted=name != "absent") for name in names])


@examples(20)
@given(rounds())
def test_the_verifier_accepts_the_honest_prover(case: Round):
    verify(case.ideal, case.sent)


@examples(12)
@given(rounds())
def test_the_prover_sends_what_is_defined(case: Round):
    """Given the same masks, every message and all three columns are those of big integers, cell by cell."""
    plain = Prover(case.ideal, case.vectors)
    attempt = case.attempt
    plain.mask = {chunk: to_ints(column) for chunk, column in attempt.mask.columns.items()}
    plain.masks = [to_ints(column) for column in attempt.masks.columns]
    plain.points = case.points
    ours, theirs = case.sent, plain.sent()
    assert ours.q == theirs.q
    for name in ("t0", "z", "claims", "rounds"):
        assert getattr(ours.proof, name) == getattr(theirs.proof, name), name
    assert ours.proof.proof.instances == theirs.proof.proof.instances
    assert case.ideal.columns[0][:3] == case.ideal.columns[-1][:3]


@examples(12)
@given(rounds(), st.sampled_from([1, -1, 1 << 200]))
def test_the_verifier_rejects_another_q(case: Round, error: int):
    """A wrong Gram entry shows as a wrong q."""
    with pytest.raises(ProofRejected, match="base proof"):
        verify(case.ideal, replace(case.sent, q=(case.sent.q + error) % P))


@examples(12)
@given(rounds())
def test_the_verifier_rejects_swapped_commitments(case: Round):
    points = case.points
    assume(len(points.slots) > 1 and points.slots[0] != points.slots[1])
    swapped = replace(points, slots=(points.slots[1], points.slots[0], *points.slots[2:]))
    with pytest.raises(ProofRejected, match="base proof"):
        verify(case.ideal, replace(case.sent, points=swapped))


# ---------------------------------------------------------------- shapes


@given(st.integers(1, 5000), st.integers(1, 40))
def test_positions(slots: int, chunks: int):
    """Masks at 0 and the powers of two, each block at a position of its own, and no fewer rounds would do."""
    shape = Shape(slots, chunks, 1, 2, 8)
    mu, masks, data = shape.rounds, shape.mask_positions, shape.data_positions
    assert masks == [0, *(1 << t for t in range(mu))] and len(data) == slots * chunks == shape.blocks
    assert data == sorted(set(data)) and not set(data) & set(masks)
    assert max(*data, *masks) < 1 << mu
    assert mu == 1 or (1 << (mu - 1)) - mu < shape.blocks
    assert [data[at] for at in shape.last_chunks] == data[chunks - 1 :: chunks]


@given(st.lists(st.integers(0, P - 1), min_size=1, max_size=8))
def test_equalities_are_a_partition_of_one(sigmas: list[int]):
    eq = projection.equalities(sigmas)
    assert len(eq) == 1 << len(sigmas) and sum(eq) % P == 1
    for at, value in enumerate(eq):
        product = 1
        for sigma, bit in zip(sigmas, f"{at:0{len(sigmas)}b}", strict=True):
            product = product * (sigma if bit == "1" else 1 - sigma) % P
        assert value == product


@given(st.lists(st.integers(1 - (1 << Z_BITS), (1 << Z_BITS) - 1), max_size=20))
def test_answers_are_read_as_they_were_packed(answers: list[int]):
    packed = projection.pack(answers)
    assert len(packed) == 14 * len(answers)
    assert projection.unpack(packed, len(answers)) == answers


@pytest.mark.parametrize("logrows", ROWS)
def test_every_k_has_room_for_the_masks_own_cells(logrows: int):
    """As far as its chunks go: at K = 10 a chunk has 896 values, 521 + μ of them masks' own."""
    columns = Columns(logrows)
    Shape(4096, 1, columns.values, columns.rows, columns.width).check()


def test_shapes_that_the_argument_says_nothing_of():
    """A chunk without room for what the masks claim, and inner products that may pass p/2."""
    Shape(3, 1, 100, 132, 4).check()  # 524 values: 520 of the flood, and one of each of four masks
    with pytest.raises(DomainError, match=f"a chunk has at least {SUMS + 1 + 3} values here: got 523"):
        Shape(3, 1, 100, 524, 1).check()
    chunks = (1 << CELLS_BITS) // 1024
    Shape(1, chunks, 1024 * chunks, 33, 32).check()
    with pytest.raises(DomainError, match="an update has at most 2\\^26 values with its padding: got 67109888"):
        Shape(1, chunks + 1, 1024 * chunks + 1, 33, 32).check()
    # so that |<u_i, u_j>| ≤ 2^26·(2^113)² = 2^252 < p/2 for entries of which the projection says that they are small
    assert (1 << CELLS_BITS + 2 * ENTRY_BITS) < P // 2


@examples(30)
@given(st.integers(1, 300), st.integers(2, 70), st.sampled_from([8, 32, 128, 512]), st.binary(min_size=32, max_size=32))
def test_bits_are_those_of_the_hashes_each_once(blocks: int, rows: int, width: int, seed: bytes):
    """Window by window from the definition: part after part in whole windows, 42 windows a hash, lowest bit first."""
    shape = Shape(1, blocks, 1, rows, width, sums=2)
    weights = Weights.of(shape, Transcript(seed))
    used: set[tuple[int, int]] = set()
    for row in (1, 2):
        window = 0
        parts = (weights.blocks[row - 1], weights.left[:, row - 1], weights.right[:, row - 1])
        for part, size in zip(parts, (blocks, rows - 1, width), strict=True):
            for k in range(size):
                at = 6 * window + k
                number = int.from_bytes(Transcript(seed).row_hash(row, at // 252), "big")
                assert int(part[k]) == number >> (at % 252) & 1
                used.add((row, at))
            window += -(-size // 6)
    assert len(used) == 2 * (blocks + rows - 1 + width)
