"""The folded Gram argument: all inner products of N committed updates, with one small proof.

Slots 1..N are updates of m chunks of C small integers, slots after them, if a project's rules need any, the reference
vectors that updates are compared with (below, N counts those too); slot 0 is the aggregator's *mask*, uniform
over the field in every value and salt of every chunk, fresh for each attempt, so that whatever is sent
is uniform. The commitments and C_G, a commitment to the Gram matrix of all slots, come first; then:

    r_0..r_N  ← transcript                      independent, 128 bits (powers of one r are unsound)
    w_c       = Σ_i r_i u_{i,c}                 claim: Σ_c <w_c, w_c> = q = Σ_ij r_i r_j G_ij =: T
    while chunks are left to pair (h = half of the next power of two):
        A = Σ_{c<h} <w_c, w_c>,  X = Σ_{c<h} <w_c, w_{c+h}>    sent, absorbed
        ρ ← transcript
        w_c ← w_c + ρ·w_{c+h},   T ← A + 2ρX + ρ²(T − A)
    base proof: y = <W, W> for the one column W that is left, committed in the proof

The verifier checks y = T and that W's commitment is Σ k_{i,c} C_{i,c} − (Σ k − 1)·B, where k_{i,c} is r_i
times the ρ's that multiplied chunk c. That q is right for the G inside C_G is settlement.py's part.

Soundness error: at most 2/2^128 a challenge, times the prover's hash queries, plus binding of KZG.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import mul
from typing import Any, NoReturn, Protocol

import numpy as np

from . import backend
from .artifacts import Build
from .backend import Proof, ProofJob
from .commitment import check_opening, combine
from .errors import BackendError, DomainError, OpeningMismatch, ProofRejected
from .field import P, Point, dot, encode_point, from_ints, random_scalars, to_hex, to_ints
from .transcript import Transcript

LIMB = 1 << 16
CHALLENGE_LIMBS = 8
BLOCK = 1 << 15
"""Columns of one float64 product, at most. Values of updates are below 2^19 (K <= 20), limbs below 2^16, so every sum
stays below 2^53 and is exact. An aggregate's values may be larger, and its blocks are smaller then."""


class Vector(Protocol):
    """What a slot holds: an opening, or an aggregate.

    Attributes:
        values: (D,) integers. salts: (m, S, 32) uint8.
    """

    values: np.ndarray
    salts: np.ndarray


@dataclass(frozen=True)
class Mask:
    """Slot 0: (m, C + S, 32) uint8, uniform field elements. Secret, and used for one attempt only."""

    columns: np.ndarray = field(repr=False)

    @classmethod
    def fresh(cls, build: Build) -> Mask:
        manifest = build.manifest
        size = manifest.chunk + manifest.salts
        return cls(random_scalars(manifest.chunks * size).reshape(manifest.chunks, size, 32))

    def commit(self, build: Build) -> tuple[Point, ...]:
        columns = [to_hex(column) for column in self.columns]
        return tuple(backend.commit(build.files("gram"), build.manifest.logrows, columns))


@dataclass(frozen=True)
class GramProof:
    """What the argument sends: the fold's claims (A, X), one pair a round, and the base proof."""

    claims: tuple[tuple[int, int], ...]
    base: Proof

    def to_json(self) -> dict[str, Any]:
        claims = [[f"0x{a:064x}", f"0x{x:064x}"] for a, x in self.claims]
        return {"claims": claims, "base": self.base.to_json()}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> GramProof:
        claims = tuple((int(a, 16), int(x, 16)) for a, x in value["claims"])
        return cls(claims, Proof.from_json(value["base"]))


@dataclass(frozen=True)
class Folded:
    """Where the fold ends: its claims and challenges, the last claim T, and the one column W that is left."""

    claims: tuple[tuple[int, int], ...]
    rhos: tuple[int, ...]
    claim: int
    column: list[int] = field(repr=False)


# ---------------------------------------------------------------- prove


def prove_job(
    build: Build,
    openings: Sequence[Vector],
    commitments: Sequence[Sequence[Point]],
    mask: Mask,
    mask_points: Sequence[Point],
    transcript: Transcript,
    q: int,
) -> tuple[tuple[tuple[int, int], ...], ProofJob]:
    """All of the prover's work but the base proof, which `backend.prove` makes from the returned job.

    Args:
        openings, commitments: of slots 1..N and the references, in the same order.
        transcript: has absorbed the commitments and nothing else.
        q: Σ_ij r_i r_j G_ij.

    Raises:
        OpeningMismatch: an update does not open its commitment; names the trainer's slot.
    """
    manifest = build.manifest
    r = transcript.slot_challenges(len(openings) + 1)
    transcript.absorb(q)
    folded = fold(combine_slots(openings, mask, manifest.chunk, r), manifest.chunk, transcript, q)
    column = to_hex(from_ints(folded.column))
    actual = backend.commit(build.files("gram"), manifest.logrows, [column])[0]
    if actual != folded_commitment([mask_points, *commitments], r, folded.rhos, manifest.blinding):
        trace(build, openings, commitments)
    values = folded.column[: manifest.chunk]
    if dot(values, values) != folded.claim:
        raise BackendError("the last claim is not the folded column's inner product: the native arithmetic is wrong")
    return folded.claims, ProofJob("gram proof", build.files("gram"), [column])


def trace(build: Build, openings: Sequence[Vector], commitments: Sequence[Sequence[Point]]) -> NoReturn:
    """Find the trainer's slot whose update does not open its commitment, and raise OpeningMismatch."""
    trainers = build.manifest.trainers
    for slot, (opening, points) in enumerate(zip(openings[:trainers], commitments[:trainers], strict=True), start=1):
        check_opening(build, opening, points, slot)
    raise OpeningMismatch("the mask does not open its commitment")


def combine_slots(openings: Sequence[Vector], mask: Mask, chunk_size: int, r: Sequence[int]) -> list[list[int]]:
    """w_c = Σ_i r_i u_{i,c} for every chunk: m columns of C + S field elements.

    The updates' part is one float64 product of 16-bit limbs of the challenges with a block of values.
    """
    limbs = np.array([[c // LIMB**k % LIMB for c in r[1:]] for k in range(CHALLENGE_LIMBS)], np.float64)
    columns = []
    for chunk, masked in enumerate(mask.columns):
        column = [r[0] * value for value in to_ints(masked)]
        first = chunk * chunk_size
        last = min(first + chunk_size, len(openings[0].values))
        for start in range(first, last, BLOCK):
            stop = min(start + BLOCK, last)
            product = (limbs @ block(openings, start, stop)).astype(np.int64)
            words = [(product[k] + product[k + 1] * LIMB).tolist() for k in range(0, CHALLENGE_LIMBS, 2)]
            for at, (a, b, c, d) in enumerate(zip(*words, strict=True), start - first):
                column[at] += a + (b << 32) + (c << 64) + (d << 96)
        for k in range(len(column) - chunk_size):
            salts = (int.from_bytes(opening.salts[chunk, k].tobytes(), "little") for opening in openings)
            column[chunk_size + k] += sum(map(mul, r[1:], salts))
        columns.append([value % P for value in column])
    return columns


def fold(columns: list[list[int]], chunk_size: int, transcript: Transcript, q: int) -> Folded:
    """Fold the chunks into one column. Consumes `columns`; `transcript` has absorbed q."""
    claim = q
    claims, rhos = [], []
    for step, half in enumerate(halves(len(columns))):
        low = [column[:chunk_size] for column in columns[:half]]
        high = [column[:chunk_size] for column in columns[half:]]
        a = sum(dot(values, values) for values in low) % P
        x = sum(map(dot, low, high)) % P  # a chunk without a partner pairs with zeros
        transcript.absorb(a, x)
        rho = transcript.fold_challenge(step)
        claim = next_claim(claim, a, x, rho)
        for column, other in zip(columns, columns[half:], strict=False):
            column[:] = [(v + rho * w) % P for v, w in zip(column, other, strict=True)]
        del columns[half:]
        claims.append((a, x))
        rhos.append(rho)
    return Folded(tuple(claims), tuple(rhos), claim, columns[0])


def matrix(openings: Sequence[Vector], mask: Mask, chunk_size: int) -> list[list[int]]:
    """Gram matrix of slots 0..N: integers for slots 1..N, field elements in row and column 0.

    Exact: every float64 product stays below 2^53 (see BLOCK); sums over blocks are Python integers.
    Memory: one block of all slots at a time.
    """
    n = len(openings)
    inner = np.zeros((n, n), object)
    cross = np.zeros(n, object)
    own = 0
    width = exact_width(openings)
    for chunk, masked in enumerate(mask.columns):
        values = to_ints(masked[:chunk_size])
        own += dot(values, values)
        first = chunk * chunk_size
        last = min(first + chunk_size, len(openings[0].values))
        for start in range(first, last, width):
            stop = min(start + width, last)
            updates = block(openings, start, stop)
            inner += (updates @ updates.T).astype(np.int64).astype(object)
            limbs = masked[start - first : stop - first].copy().view("<u2").astype(np.float64)
            products = (updates @ limbs).astype(np.int64).astype(object)
            cross += products @ np.array([LIMB**k for k in range(limbs.shape[1])], object)
    top = [own % P, *(int(v) % P for v in cross)]
    return [top, *([top[i + 1], *map(int, inner[i])] for i in range(n))]


def exact_width(openings: Sequence[Vector]) -> int:
    """How many products of two values, or of a value and a limb, can be added in float64. DomainError if not even one:
    only an aggregate of hundreds of updates of the largest K has such values."""
    largest = max(max(-int(v.values.min(initial=0)), int(v.values.max(initial=0))) for v in openings)
    width = (1 << 53) // max(1, largest * max(largest, LIMB))
    if not width:
        raise DomainError(f"values of an aggregate are below 2^26 here: got {largest}; lower logrows or trainers")
    return min(BLOCK, width)


def block(openings: Sequence[Vector], start: int, stop: int) -> np.ndarray:
    """Values start..stop of every slot as float64 (N, stop − start)."""
    return np.stack([np.asarray(opening.values[start:stop], np.float64) for opening in openings])


# ---------------------------------------------------------------- verify


def verify(
    build: Build,
    proof: GramProof,
    commitments: Sequence[Sequence[Point]],
    mask_points: Sequence[Point],
    transcript: Transcript,
    q: int,
) -> None:
    """Check that q = Σ_ij r_i r_j <u_i, u_j> for the committed updates and mask.

    `transcript` has absorbed the commitments and nothing else; q comes from the settlement proof.
    Raises ProofRejected with the reason.
    """
    manifest = build.manifest
    r = transcript.slot_challenges(len(commitments) + 1)
    steps = len(halves(manifest.chunks))
    if len(proof.claims) != steps:
        raise ProofRejected(f"gram proof has {len(proof.claims)} fold claims: wanted {steps} for m={manifest.chunks}")
    transcript.absorb(q)
    claim = q
    rhos = []
    for step, (a, x) in enumerate(proof.claims):
        transcript.absorb(a, x)
        rhos.append(transcript.fold_challenge(step))
        claim = next_claim(claim, a, x, rhos[-1])
    if proof.base.instances != (claim,):
        raise ProofRejected("gram proof: y is not the folded claim T (a fold claim or the Gram matrix is false)")
    expected = folded_commitment([mask_points, *commitments], r, rhos, manifest.blinding)
    if proof.base.point(0) != encode_point(expected):
        raise ProofRejected("gram proof: its column is not the folded combination of the commitments")
    backend.verify(build.files("gram"), proof.base, "gram proof")


# ---------------------------------------------------------------- both


def halves(chunks: int) -> list[int]:
    """Sizes of the lower half in each fold: m padded to a power of two, halved until one chunk is left."""
    out = []
    while chunks > 1:
        chunks = 1 << ((chunks - 1).bit_length() - 1)
        out.append(chunks)
    return out


def next_claim(claim: int, a: int, x: int, rho: int) -> int:
    """T ← A + 2ρX + ρ²(T − A)."""
    return (a + 2 * rho * x + rho * rho * (claim - a)) % P


def folded_commitment(
    slots: Sequence[Sequence[Point]], r: Sequence[int], rhos: Sequence[int], blinding: Point
) -> Point:
    """Commitment of W: Σ k_{i,c} C_{i,c} − (Σ k − 1)·B, over slots 0..N."""
    chunks = len(slots[0])
    of_chunk = []
    for chunk in range(chunks):
        product = 1
        for half, rho in zip(halves(chunks), rhos, strict=True):
            if chunk >= half:
                chunk -= half
                product = product * rho % P
        of_chunk.append(product)
    coefficients = [challenge * k % P for challenge in r for k in of_chunk]
    return combine([point for slot in slots for point in slot], coefficients, blinding)
