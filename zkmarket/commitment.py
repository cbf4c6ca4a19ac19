"""Chunked, salted, homomorphic KZG commitments to updates, their openings, and their range proofs.

An update of D integers is cut into m chunks of C values, the last one padded with zeros; a chunk is
committed as C values ‖ S salts in one column of 2^K rows. With B = Com(0),

    Com(Σ a_j v_j) = Σ a_j Com(v_j) − (Σ a_j − 1)·B

because the unusable rows of every column hold 1. The salts hide the chunk and pay for the
evaluations that proofs reveal: one salt for each proof that opens the column, retries included.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from circuits import NOISE

from . import backend
from .artifacts import Build, Manifest, check_canonical, check_schema
from .backend import Progress, Proof, ProofJob, quiet
from .errors import DomainError, InputError, OpeningMismatch, ProofRejected
from .field import (
    P,
    Point,
    decode_point,
    encode_point,
    from_ints,
    multiply_add,
    random_scalars,
    scalar_hex,
    small_hex,
    to_hex,
)
from .files import load_npz, read_json, save_npz
from .statements import table_bound
from .transcript import chunk_tag

FORMAT = "zkmarket-commitment/1"
COMMITMENT_FILE, OPENING_FILE = "commitment.json", "opening.npz"


@dataclass(frozen=True)
class RoundId:
    """Where a commitment belongs: chain id, project address (160 bits) and round number; 0 off chain."""

    chain_id: int = 0
    project: int = 0
    round: int = 0

    def __post_init__(self) -> None:
        for name, bits in (("chain_id", 53), ("project", 160), ("round", 53)):
            value = getattr(self, name)
            if type(value) is not int or not 0 <= value < 1 << bits:
                raise InputError(f"{name} is an integer from 0 to 2^{bits} − 1: got {value!r}")


@dataclass(frozen=True)
class Opening:
    """What opens a commitment. Secret: it goes to the aggregator, encrypted, and to nobody else.

    Attributes:
        values: (D,) integers, any numpy integer type; may be memory-mapped.
        salts: (m, S, 32) uint8, field elements little-endian.
    """

    values: np.ndarray = field(repr=False)
    salts: np.ndarray = field(repr=False)

    def save(self, path: Path) -> None:
        """Write with mode 0600. Values are stored as the smallest integer type that holds them."""
        small = np.int16 if np.abs(self.values).max(initial=0) < 2**15 else np.int32
        save_npz(path, {"values": self.values.astype(small), "salts": self.salts}, mode=0o600)

    @classmethod
    def load(cls, path: Path, manifest: Manifest) -> Opening:
        """Read and check an opening; InputError if it does not fit the manifest."""
        opening = cls(**load_npz(path, "opening", manifest.array_limits))
        opening.check(manifest)
        return opening

    def check(self, manifest: Manifest) -> None:
        """Shapes, types and the range −Q <= v < Q; canonical salts."""
        if self.values.dtype.kind != "i" or self.values.shape != (manifest.params,):
            raise InputError(
                f"an opening holds {manifest.params} integers: got {self.values.dtype}{list(self.values.shape)}"
            )
        check_salts(self.salts, manifest)
        low, high = int(self.values.min()), int(self.values.max())
        bound = manifest.range_bound
        if low < -bound or high >= bound:
            raise DomainError(f"an update's values lie in [−{bound}, {bound}): got {low} to {high}")

    def column(self, chunk: int, size: int) -> list[str]:
        """Chunk `chunk` as ezkl field strings: C values (zeros past D) ‖ S salts."""
        return column_of(self.values, self.salts, chunk, size)


def column_of(values: np.ndarray, salts: np.ndarray, chunk: int, size: int) -> list[str]:
    """One column of an update or an aggregate: C values (zeros past D) ‖ S salts, as ezkl field strings."""
    part = values[chunk * size : (chunk + 1) * size]
    return small_hex(part) + [scalar_hex(0)] * (size - len(part)) + to_hex(salts[chunk])


def check_salts(salts: np.ndarray, manifest: Manifest) -> None:
    """Raise InputError unless there are S canonical field elements for each of the m chunks."""
    wanted = (manifest.chunks, manifest.salts, 32)
    if salts.dtype != np.uint8 or salts.shape != wanted:
        raise InputError(f"salts are uint8{list(wanted)}: got {salts.dtype}{list(salts.shape)}")
    if any(int.from_bytes(salt.tobytes(), "little") >= P for salt in salts.reshape(-1, 32)):
        raise InputError("a salt is not a field element: wanted salts below p")


@dataclass(frozen=True)
class Commitment:
    """What a trainer publishes: points, and a range proof of each chunk, tied to it and to the round.

    Attributes:
        round_id: chain, project and round that the tags are made of.
        trainer: address, 160 bits.
        points: m points of G1.
        range_proofs: m proofs; empty only inside the engine, before they are made.
    """

    round_id: RoundId
    trainer: int
    points: tuple[Point, ...]
    range_proofs: tuple[Proof, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "chain_id": self.round_id.chain_id,
            "project": address_text(self.round_id.project),
            "round": self.round_id.round,
            "trainer": address_text(self.trainer),
            "points": ["0x" + encode_point(point).hex() for point in self.points],
            "range_proofs": [proof.to_json() for proof in self.range_proofs],
        }

    @classmethod
    def from_json(cls, value: Any) -> Commitment:
        check_schema(value, "commitment", "commitment")
        commitment = cls(
            RoundId(value["chain_id"], int(value["project"], 16), value["round"]),
            int(value["trainer"], 16),
            tuple(decode_point(bytes.fromhex(point[2:])) for point in value["points"]),
            tuple(Proof.from_json(proof) for proof in value["range_proofs"]),
        )
        check_canonical(commitment.to_json(), value, "commitment")
        return commitment

    @classmethod
    def load(cls, path: Path, manifest: Manifest) -> Commitment:
        return cls.from_json(read_json(path, "commitment", manifest.commitment_limit))


def address_text(address: int) -> str:
    return f"0x{address:040x}"


def read_address(text: str) -> int:
    """20 bytes of hex, with or without 0x."""
    digits = text.removeprefix("0x")
    if len(digits) != 40 or not all(c in "0123456789abcdefABCDEF" for c in digits):
        raise InputError(f"an address is 20 bytes of hex: got {text!r}")
    return int(digits, 16)


def random_address() -> int:
    """An identity for use without a chain."""
    return secrets.randbits(160)


# ---------------------------------------------------------------- commit and open


def open_with_fresh_salts(values: np.ndarray, manifest: Manifest) -> Opening:
    """An opening of these values that was never used before: every salt is new."""
    salts = random_scalars(manifest.chunks * manifest.salts).reshape(manifest.chunks, manifest.salts, 32)
    opening = Opening(np.asarray(values), salts)
    opening.check(manifest)
    return opening


def commit(build: Build, opening: Opening) -> tuple[Point, ...]:
    """The m points of an opening, in one call to the backend."""
    manifest = build.manifest
    columns = [opening.column(chunk, manifest.chunk) for chunk in range(manifest.chunks)]
    return tuple(backend.commit(build.files("gram"), manifest.logrows, columns))


def check_opening(build: Build, opening: Opening, points: Sequence[Point], slot: int | None = None) -> None:
    """Raise OpeningMismatch unless `opening` opens `points`."""
    opening.check(build.manifest)
    actual = commit(build, opening)
    wrong = [chunk for chunk, pair in enumerate(zip(actual, points, strict=True)) if pair[0] != pair[1]]
    if wrong:
        who = f"trainer in slot {slot}" if slot else "opening"
        raise OpeningMismatch(f"{who}: the update does not open its commitment (chunks {wrong})", slot)


def combine(points: Sequence[Point], coefficients: Sequence[int], blinding: Point) -> Point:
    """Com(Σ a_j v_j) from the Com(v_j): Σ a_j C_j − (Σ a_j − 1)·B."""
    return multiply_add([*points, blinding], [*coefficients, 1 - sum(coefficients)])


# ---------------------------------------------------------------- range proofs


def range_job(build: Build, opening: Opening, round_id: RoundId, trainer: int, chunk: int) -> ProofJob:
    """The range proof of one chunk, with noise that is drawn here and never used again."""
    manifest = build.manifest
    tag = chunk_tag(round_id.chain_id, round_id.project, round_id.round, chunk, trainer)
    tagged = [scalar_hex(tag), *range_noise(table_bound(manifest.logrows)), *to_hex(random_scalars(manifest.salts))]
    return ProofJob(
        f"range proof of chunk {chunk}",
        build.files(manifest.range_circuit(chunk)),
        [opening.column(chunk, manifest.chunk), tagged],
    )


def range_noise(bound: int) -> list[str]:
    """Two sets of 128 values, uniform over the table [−Q, Q), from the secure source."""
    return [scalar_hex(secrets.randbelow(2 * bound) - bound) for _ in range(2 * NOISE)]


def prove_range(
    build: Build,
    opening: Opening,
    round_id: RoundId,
    trainer: int,
    chunks: Sequence[int],
    progress: Progress = quiet,
) -> Iterator[tuple[int, Proof]]:
    """Range proofs of the given chunks, yielded in small groups as they are done.

    Each attempt spends one salt of the chunk: a chunk that was proven is not proven again.
    """
    group = 16
    for start in range(0, len(chunks), group):
        part = chunks[start : start + group]
        jobs = [range_job(build, opening, round_id, trainer, chunk) for chunk in part]
        yield from zip(part, backend.prove(jobs, progress), strict=True)


def verify_range(build: Build, commitment: Commitment, slot: int | None = None) -> None:
    """Check that a commitment is well-formed, in range, and its trainer's own.

    Raises ProofRejected naming the chunk: wrong count, another's tag, energy in the padding, another
    chunk's point, or a proof that does not verify.
    """
    manifest = build.manifest
    who = f"slot {slot}, " if slot else ""
    for name, got in (("points", commitment.points), ("range proofs", commitment.range_proofs)):
        if len(got) != manifest.chunks:
            raise ProofRejected(f"{who}commitment has {len(got)} {name}: wanted {manifest.chunks}")
    rid = commitment.round_id
    for chunk, (point, proof) in enumerate(zip(commitment.points, commitment.range_proofs, strict=True)):
        what = f"{who}range proof of chunk {chunk}"
        tag = chunk_tag(rid.chain_id, rid.project, rid.round, chunk, commitment.trainer)
        name = manifest.range_circuit(chunk)
        wanted = (tag,) if name == "range" else (tag, 0)
        if len(proof.instances) != len(wanted):
            raise ProofRejected(f"{what} has {len(proof.instances)} instances: wanted {len(wanted)}")
        if proof.instances[0] != tag:
            raise ProofRejected(f"{what} carries another's tag: got {proof.instances[0]:#x}, wanted {tag:#x}")
        if proof.instances != wanted:
            raise ProofRejected(f"{what}: values past the last parameter are not zero (energy in the padding)")
        if proof.point(0) != encode_point(point):
            raise ProofRejected(f"{what} is of another column than the committed one")
        backend.verify(build.files(name), proof, what)


def sum_salts(salts: Sequence[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """The sum mod p of salts of each (m, S, 32); zeros for none."""
    totals = [0] * (shape[0] * shape[1])
    for array in salts:
        for at, salt in enumerate(array.reshape(-1, 32)):
            totals[at] = (totals[at] + int.from_bytes(salt.tobytes(), "little")) % P
    return from_ints(totals).reshape(*shape, 32)
