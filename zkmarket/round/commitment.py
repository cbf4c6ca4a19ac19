"""Chunked, salted, homomorphic KZG commitments to updates, and their openings.

An update of D integers is cut into m chunks of C values, the last one padded with zeros; a chunk is
committed as C values ‖ S salts in one column of 2^K rows. With B = Com(0),

    Com(Σ a_j v_j) = Σ a_j Com(v_j) − (Σ a_j − 1)·B

because the unusable rows of every column hold 1. The salts hide the chunk and pay for the
evaluations that proofs reveal: one salt for each proof that opens the column unmasked, retries included.
That an update's values are small is proven for all trainers at once, by whoever aggregates (projection.py).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from .. import backend
from ..build import Build, Manifest
from ..crypto import (
    P,
    Point,
    decode_point,
    encode_point,
    multiply_add,
    random_scalars,
    scalar_hex,
    small_hex,
    to_hex,
    to_ints,
    update_digest,
)
from ..documents import check_canonical, check_schema, read_json
from ..errors import DomainError, InputError, OpeningMismatch, demand
from ..files import load_npy, save_npy

COMMITMENT_FORMAT = "zkmarket-commitment/2"
COMMITMENT_FILE, VALUES_FILE, SALTS_FILE = "commitment.json", "values.npy", "salts.npy"


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

    def save(self, folder: str | Path) -> None:
        """Write both arrays with mode 0600, the salts first: values without their salts open nothing.

        Values are stored as the smallest integer type that holds them.
        """
        folder = Path(folder)
        small = np.int16 if np.abs(self.values).max(initial=0) < 2**15 else np.int32
        save_npy(folder / SALTS_FILE, self.salts, mode=0o600)
        save_npy(folder / VALUES_FILE, self.values.astype(small, copy=False), mode=0o600)

    @classmethod
    def load(cls, folder: str | Path, manifest: Manifest) -> Opening:
        """Read and check an opening, its values memory-mapped; InputError if it does not fit the manifest."""
        folder = Path(folder)
        demand(manifest, Manifest, "the manifest of a build")
        limits = manifest.array_limits
        values = load_npy(folder / VALUES_FILE, "values of the opening", limits["values"], mapped=True)
        opening = cls(values, load_npy(folder / SALTS_FILE, "salts of the opening", limits["salts"]))
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
        bound = manifest.bound
        if low < -bound or high >= bound:
            raise DomainError(f"an update's values lie in [−{bound}, {bound}): got {low} to {high}")


def column_of(values: np.ndarray, salts: np.ndarray, chunk: int, size: int) -> list[str]:
    """One column of an update or an aggregate: C values (zeros past D) ‖ S salts, as ezkl field strings."""
    part = values[chunk * size : (chunk + 1) * size]
    return small_hex(part) + [scalar_hex(0)] * (size - len(part)) + to_hex(salts[chunk])


def check_salts(salts: np.ndarray, manifest: Manifest) -> None:
    """Raise InputError unless there are S canonical field elements for each of the m chunks."""
    wanted = (manifest.chunks, manifest.salts, 32)
    if salts.dtype != np.uint8 or salts.shape != wanted:
        raise InputError(f"salts are uint8{list(wanted)}: got {salts.dtype}{list(salts.shape)}")
    if any(salt >= P for salt in to_ints(salts)):
        raise InputError("a salt is not a field element: wanted salts below p")


@dataclass(frozen=True)
class Commitment:
    """What a trainer is held to: the points of its update, for one round of one project.

    Nobody sees them before all have submitted: on chain goes their digest.

    Attributes:
        round_id: chain, project and round.
        trainer: address, 160 bits; of a root update, the owner's.
        points: m points of G1.
    """

    round_id: RoundId
    trainer: int
    points: tuple[Point, ...]

    def __repr__(self) -> str:
        rid = self.round_id
        place = f"round {rid.round} of {address_text(rid.project)} on chain {rid.chain_id}"
        return f"Commitment({address_text(self.trainer)}, {place}, {len(self.points)} points)"

    def digest(self, label: str = "update") -> bytes:
        """What is submitted of an update, or with label "root" of a root update."""
        rid = self.round_id
        return update_digest(label, rid.chain_id, rid.project, rid.round, self.trainer, self.points)

    def to_json(self) -> dict[str, Any]:
        return {
            "format": COMMITMENT_FORMAT,
            "chain_id": self.round_id.chain_id,
            "project": address_text(self.round_id.project),
            "round": self.round_id.round,
            "trainer": address_text(self.trainer),
            "points": ["0x" + encode_point(point).hex() for point in self.points],
        }

    @classmethod
    def from_json(cls, value: Any) -> Commitment:
        if isinstance(value, dict) and "range_proofs" in value:
            raise InputError(
                "the commitment is of a version whose trainers proved ranges: commit the update again, in a new folder"
            )
        check_schema(value, "commitment", "commitment")
        commitment = cls(
            RoundId(value["chain_id"], int(value["project"], 16), value["round"]),
            int(value["trainer"], 16),
            tuple(decode_point(bytes.fromhex(point[2:])) for point in value["points"]),
        )
        check_canonical(commitment.to_json(), value, "commitment")
        return commitment

    @classmethod
    def load(cls, path: str | Path, manifest: Manifest) -> Commitment:
        demand(manifest, Manifest, "the manifest of a build")
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


CELLS_AT_ONCE = 1 << 20
"""Cells that are handed to ezkl at once, as text of 64 characters each."""


def commit(build: Build, opening: Opening) -> tuple[Point, ...]:
    """The m points of an opening."""
    return commit_vector(build, opening.values, opening.salts)


def commit_vector(build: Build, values: np.ndarray, salts: np.ndarray) -> tuple[Point, ...]:
    """The m points of an update or an aggregate."""
    size, chunks = build.manifest.chunk, range(build.manifest.chunks)
    return commit_columns(build, (column_of(values, salts, chunk, size) for chunk in chunks))


def commit_columns(build: Build, columns: Iterable[list[str]]) -> tuple[Point, ...]:
    """Their commitments; few columns at a time are in memory as text."""
    logrows = build.manifest.logrows
    points: list[Point] = []
    left = iter(columns)
    while some := list(islice(left, max(1, CELLS_AT_ONCE >> logrows))):
        points += backend.commit(build.files["base"], logrows, some)
    return tuple(points)


def check_opening(build: Build, opening: Opening, points: Sequence[Point], slot: int | None = None) -> None:
    """Raise OpeningMismatch unless `opening` opens `points`."""
    opening.check(build.manifest)
    who = f"trainer in slot {slot}" if slot else "opening"
    if len(points) != build.manifest.chunks:
        raise OpeningMismatch(f"{who}: the commitment has {len(points)} points: wanted {build.manifest.chunks}", slot)
    actual = commit(build, opening)
    wrong = [chunk for chunk, pair in enumerate(zip(actual, points, strict=True)) if pair[0] != pair[1]]
    if wrong:
        raise OpeningMismatch(f"{who}: the update does not open its commitment (chunks {wrong})", slot)


def combine(points: Sequence[Point], coefficients: Sequence[int], blinding: Point, constant: int = 1) -> Point:
    """Com(Σ a_j v_j) from the Com(v_j): Σ a_j C_j − (Σ a_j − 1)·B.

    `constant` stands for the 1 where the result is a combination of commitments whose own coefficients add up to it.
    """
    return multiply_add([*points, blinding], [*coefficients, constant - sum(coefficients)])
