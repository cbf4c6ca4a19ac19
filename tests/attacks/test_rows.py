"""How often a row lets a too large block pass, and what a wrong layout of a row's bits would cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.attacks.plain import Clamped, Entries, Prover
from tests.support.ideal import Ideal, small_updates, verify
from zkmarket.build import ENTRY_BITS, FLOOD_BITS, SUMS, WINDOW, Z_BITS, Shape
from zkmarket.crypto import P, Transcript, digest_int, hash_words
from zkmarket.errors import DomainError, ProofRejected
from zkmarket.round import Weights

pytestmark = pytest.mark.unit

ROWS = 8000
SHAPE = Shape(slots=4, chunks=1, params=100, rows=9, width=16, sums=ROWS)
LARGE = {
    "2^113": 1 << ENTRY_BITS,
    "1/3": pow(3, -1, P),
    "(p-1)/2": (P - 1) // 2,
    "1/5": pow(5, -1, P),
    "-2^113": -(1 << ENTRY_BITS),
}


@pytest.fixture(scope="module")
def bits() -> Weights:
    """Many rows of one seed: what a block meets if it was committed to before."""
    return Weights.of(SHAPE, Transcript(hash_words("rows", 1)))


# ---------------------------------------------------------------- how often a row passes


def zeros() -> np.ndarray:
    return np.zeros((SHAPE.blocks, SHAPE.rows - 1, SHAPE.width), np.int64)


def lone() -> np.ndarray:
    out = zeros()
    out[2, 7, 15] = 1
    return out


def rank_one() -> np.ndarray:
    out = zeros()
    out[1] = np.outer([1, 2, -1, 0, 3, 1, -2, 1], np.arange(16) - 7)
    return out


def all_ones() -> np.ndarray:
    out = zeros()
    out[0] = 1
    return out


def checkerboard() -> np.ndarray:
    out = zeros()
    out[3] = 1 - 2 * (np.indices((8, 16)).sum(0) % 2)
    return out


def opposite_blocks() -> np.ndarray:
    out = zeros()
    out[0], out[3] = checkerboard()[3] + 2, -checkerboard()[3] - 2
    return out


def equal_blocks() -> np.ndarray:
    out = zeros()
    out[:] = rank_one()[1]
    return out


def opposite_rows() -> np.ndarray:
    out = zeros()
    out[1, 2, :], out[1, 5, :] = 1, -1
    return out


def opposite_columns() -> np.ndarray:
    out = zeros()
    out[1, :, 3], out[1, :, 4] = 1, -1
    return out


def antisymmetric() -> np.ndarray:
    out = zeros()
    out[0, 1, 2], out[0, 2, 1] = 1, -1
    return out


def random_signs() -> np.ndarray:
    return np.random.default_rng(5).choice([-1, 1], zeros().shape)


BLOCKS = [
    lone, rank_one, all_ones, checkerboard, opposite_blocks, equal_blocks, opposite_rows, opposite_columns,
    antisymmetric, random_signs,
]  # fmt: skip


def passing(bits: Weights, blocks: np.ndarray, entry: int, flood: int) -> float:
    """Share of the rows whose answer is in range, for blocks of `entry` times small integers."""
    parts = np.einsum("aj,bac,cj->jb", bits.left, blocks, bits.right, optimize=True)
    counts = (bits.blocks * parts).sum(1)
    small = {}
    for times in set(counts.tolist()):
        value = (flood + entry * times) % P
        small[times] = min(value, P - value) < 1 << Z_BITS
    return sum(small[times] for times in counts.tolist()) / len(counts)


LIMIT = 7 / 8
SPREAD = 5 * (LIMIT * (1 - LIMIT) / ROWS) ** 0.5
"""Five standard deviations of the share at 7/8. The seeds are fixed: these tests pass always or never."""


@pytest.mark.parametrize("entry", LARGE.values(), ids=LARGE)
@pytest.mark.parametrize("blocks", BLOCKS, ids=lambda make: make.__name__)
def test_a_row_passes_with_probability_at_most_seven_eighths(
    bits: Weights, blocks: Callable[[], np.ndarray], entry: int
) -> None:
    """For whatever value the flood has there, which is committed before the rows are known."""
    for flood in (0, 1 << FLOOD_BITS, -(1 << FLOOD_BITS), -entry, entry, P // 2):
        share = passing(bits, blocks(), entry, flood)
        assert share <= LIMIT + SPREAD, f"flood {flood}"


def test_one_entry_passes_just_so_often(bits: Weights) -> None:
    """The bound is met: three bits weight it, and it is missed in one row of eight."""
    for entry in LARGE.values():
        assert abs(passing(bits, lone(), entry, 0) - LIMIT) < SPREAD
    assert LIMIT**SUMS < 2.0**-100 < LIMIT ** (SUMS - 1)


def test_a_small_entry_passes_always(bits: Weights) -> None:
    """The honest twin: the largest values of a real update, everywhere."""
    for blocks in BLOCKS:
        assert passing(bits, blocks(), 1 << 18, (1 << FLOOD_BITS) - 1) == 1.0


def test_signs_would_pass_always() -> None:
    """Why the weights are bits: with ±1 a pair of halves mod p has an integer sum in every row."""
    half = pow(2, -1, P)
    sums = [(a * half + b * half) % P for a in (1, -1) for b in (1, -1)]
    assert all(min(value, P - value) <= 1 for value in sums)


# ---------------------------------------------------------------- the layout of the bits


def test_bits_are_fair_and_independent(bits: Weights) -> None:
    """No two bits of a row are the same bit, in any part; each is as often 0 as 1."""
    columns = np.hstack([bits.blocks, bits.left.T, bits.right.T]).astype(np.float64) - 0.5
    correlations = 4 * columns.T @ columns / ROWS
    assert np.abs(correlations - np.eye(len(correlations))).max() < 6 / ROWS**0.5
    assert np.abs(columns.mean(0)).max() < 3 / ROWS**0.5


@pytest.mark.parametrize("chunks", [1, 100, 300])
def test_bits_of_wide_rows_are_independent(chunks: int) -> None:
    """Also where a row's bits are several hashes'."""
    shape = Shape(slots=1, chunks=chunks, params=1, rows=30, width=256, sums=2000)
    bits = Weights.of(shape, Transcript(hash_words("wide", chunks)))
    columns = np.hstack([bits.blocks, bits.left.T, bits.right.T]).astype(np.float64) - 0.5
    correlations = 4 * columns.T @ columns / shape.sums
    assert np.abs(correlations - np.eye(len(correlations))).max() < 7 / shape.sums**0.5


def overlapping(starts: tuple[int, int, int]) -> Callable[[Shape, Transcript], Weights]:
    """Weights read from one hash a row, s, a and b from these bits on: where parts overlap, bits are shared."""

    def of(shape: Shape, transcript: Transcript) -> Weights:
        words = [digest_int(transcript.row_hash(row, 0)) for row in range(1, shape.sums + 1)]
        stream = np.array([[word >> at & 1 for at in range(256)] for word in words], np.uint8)
        sizes = (shape.blocks, shape.rows - 1, shape.width)
        parts = [stream[:, at : at + size] for at, size in zip(starts, sizes, strict=True)]
        return Weights(parts[0], *(np.ascontiguousarray(part.T) for part in parts[1:]))

    return of


def windows(*sizes: int) -> tuple[int, int, int]:
    """Where the parts of these sizes start in the protocol's layout."""
    first, second, _ = (-(-size // WINDOW) * WINDOW for size in sizes)
    return 0, first, first + second


THIRD = pow(3, -1, P)
NARROW = Shape(slots=12, chunks=1, params=140, rows=11, width=16, sums=120)
WIDE = Shape(slots=2, chunks=1, params=1000, rows=3, width=512, sums=120)

OVERLAPS: dict[str, tuple[tuple[int, int, int], Entries]] = {
    "s and a share": ((0, 0, 24), {(2, 0, 2 * 16 + 5): THIRD, (3, 0, 1 * 16 + 5): -THIRD}),
    "a and b share": ((0, 12, 12), {(1, 0, 1 * 16 + 2): THIRD, (1, 0, 2 * 16 + 1): -THIRD}),
    "s and b share": ((0, 24, 0), {(2, 0, 4 * 16 + 7): THIRD, (8, 0, 4 * 16 + 1): -THIRD}),
    "a starts before s ends": ((0, 8, 24), {(10, 0, 2 * 16): THIRD, (11, 0, 1 * 16): -THIRD}),
}


@pytest.mark.parametrize("name", OVERLAPS)
def test_a_bit_that_is_used_twice(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Two entries of ±1/3 whose weights are then the same in every row: they cancel always."""
    starts, entries = OVERLAPS[name]
    ideal = Ideal(NARROW)
    with monkeypatch.context() as weak:
        weak.setattr(Weights, "of", staticmethod(overlapping(starts)))
        verify(ideal, Prover(ideal, small_updates(ideal), entries).sent())
        weak.setattr(Weights, "of", staticmethod(overlapping(windows(12, 10, 16))))  # disjoint, by the same means
        with pytest.raises(DomainError, match="of the projection is below"):
            Prover(ideal, small_updates(ideal), entries).sent()
    refused(ideal, entries)


class OneHash(Transcript):
    """A deliberately weak transcript: the counter of a row's hashes is ignored, so that its bits come again."""

    def row_hash(self, row: int, counter: int) -> bytes:
        return super().row_hash(row, 0)


class OneRow(Transcript):
    """The number of a row is ignored: all rows are one."""

    def row_hash(self, row: int, counter: int) -> bytes:
        return super().row_hash(1, counter)


def test_a_hash_that_is_used_twice() -> None:
    """42 windows on, the same 252 bits: columns so far apart have the same weight."""
    ideal = Ideal(WIDE)
    entries: Entries = {(1, 0, 512 + 100): THIRD, (1, 0, 512 + 352): -THIRD}
    prover = Prover(ideal, small_updates(ideal), entries)
    prover.kind = OneHash
    verify(ideal, prover.sent(), OneHash)
    refused(ideal, entries)


def test_rows_that_are_one_row() -> None:
    """Passes as often as one row does, so that a forger has it after a few attempts."""
    ideal = Ideal(NARROW)
    entries: Entries = {(1, 0, 5): THIRD}

    def attempts() -> Any:
        for _ in range(100):
            prover = Prover(ideal, small_updates(ideal), entries)
            prover.kind = OneRow
            try:
                return prover.sent()
            except DomainError:
                pass
        raise AssertionError("no attempt passed")

    verify(ideal, attempts(), OneRow)
    refused(ideal, entries)


def refused(ideal: Ideal, entries: Entries) -> None:
    """By the layout of the protocol; and without the entries it is accepted."""
    with pytest.raises(DomainError, match="of the projection is below"):
        Prover(ideal, small_updates(ideal), entries).sent()
    with pytest.raises(ProofRejected, match="is not the sumcheck's last claim"):
        verify(ideal, Clamped(ideal, small_updates(ideal), entries).sent())
    verify(ideal, Prover(ideal, small_updates(ideal)).sent())
