"""Both arguments on columns of any size: with commitments whose exponents are known, and an ideal base proof.

A point here is (Σ_d λ_d v_d + β)·G with known random λ and β: as homomorphic as KZG, β being what the unusable rows are
there. `Ideal.verify` opens the base proof's three columns and looks whether everything is as the proof says: what it
accepts is a true statement of the base circuit, and nothing is assumed of ezkl. So base.prove_job and base.verify
run on columns of a hundred cells as they do on real ones.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from zkmarket import backend
from zkmarket.backend import Proof, ProofJob
from zkmarket.build import Shape
from zkmarket.crypto import (
    GENERATOR,
    P,
    Point,
    Transcript,
    dot,
    encode_point,
    from_ints,
    hash_words,
    multiply_add,
    random_scalars,
)
from zkmarket.errors import ProofRejected
from zkmarket.round import Attempt, BaseProof, Digits, Points, base, gram, settlement

CONTEXT = hash_words("a round")
GRAM_POINT = multiply_add([GENERATOR], [77])
"""Stands for C_G: the settlement proof, which ties it to q, has no part here."""


class Ideal:
    """Stands for a build, and for ezkl.

    Args:
        references: slots after those with data blocks: 1 for a last aggregate.
    """

    def __init__(self, shape: Shape, salts: int = 2, references: int = 0):
        self.shape, self.salts = shape, salts
        self.cells = shape.rows * shape.width
        self.weights = [secrets.randbelow(P) for _ in range(self.cells)]
        self.rest = secrets.randbelow(P)
        self.columns: list[list[list[int]]] = []
        high = (shape.rows - 1).bit_length()
        self.manifest: Any = SimpleNamespace(
            projection=shape,
            slots=1 + shape.slots + references,
            chunks=shape.chunks,
            chunk=shape.values,
            salts=salts,
            logrows=high + shape.width.bit_length() - 1,
            blinding=self.point([]),
        )

    @property
    def files(self) -> dict[str, str]:
        return {name: name for name in ("base", "settlement")}

    # what ezkl does

    def exponent(self, column: Sequence[int]) -> int:
        return (dot(self.weights[: len(column)], column) + self.rest) % P

    def point(self, column: Sequence[int]) -> Point:
        return multiply_add([GENERATOR], [self.exponent(column)])

    def points(self, columns: Sequence[Sequence[int]]) -> list[bytes]:
        """As they stand in a proof."""
        return [encode_point(self.point(column)) for column in columns]

    def commit(self, files: str, logrows: int, columns: Sequence[Sequence[str]]) -> list[Point]:
        return [self.point(numbers(column)) for column in columns]

    def outputs(self, columns: Sequence[Sequence[int]]) -> tuple[int, ...]:
        """The relation of circuits/base.py."""
        w, u, v, point = columns
        salts = w[self.shape.values :]
        value = sum(cell * pow(point[-1], at, P) for at, cell in enumerate(v)) % P
        return (dot(w, w), dot(salts, salts), dot(u, v), *point, value)

    def prove(self, job: ProofJob) -> Proof:
        return self.prove_columns([numbers(column) for column in job.inputs])

    def prove_columns(self, columns: Sequence[Sequence[int]]) -> Proof:
        """Args: columns: W, U, V of L cells and the point's powers."""
        self.columns.append([list(column) for column in columns])
        return Proof(
            b"".join(self.points(columns[:3])) + (len(self.columns) - 1).to_bytes(64, "big"), self.outputs(columns)
        )

    def verify(self, files: str, proof: Proof, what: str = "proof") -> None:
        at = int.from_bytes(proof.data[192:], "big")
        known = len(proof.data) == 256 and at < len(self.columns)
        if not known or self.prove_columns(self.columns[at]) != replace_tail(proof, len(self.columns)):
            raise ProofRejected(f"{what} does not verify")

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Put this in the place of ezkl."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(backend, "commit", self.commit)
            patch.setattr(backend, "verify", self.verify)
            yield


def replace_tail(proof: Proof, count: int) -> Proof:
    """The same proof as the one that `prove_columns` has just made of the same columns."""
    return Proof(proof.data[:192] + (count - 1).to_bytes(64, "big"), proof.instances)


def numbers(column: Sequence[str]) -> list[int]:
    return [int.from_bytes(bytes.fromhex(text), "little") for text in column]


@dataclass(frozen=True)
class Update:
    """What a slot holds, as the engine takes it."""

    values: np.ndarray
    salts: np.ndarray

    @classmethod
    def of(cls, ideal: Ideal, values: Sequence[int] | np.ndarray, salted: bool = True) -> Update:
        """With fresh salts; without, an absent reference."""
        chunks = ideal.shape.chunks
        salts = random_scalars(chunks * ideal.salts) if salted else from_ints([0] * chunks * ideal.salts)
        return cls(np.asarray(values, np.int64), salts.reshape(chunks, ideal.salts, 32))

    def columns(self, ideal: Ideal) -> list[list[int]]:
        """m columns of C + S field elements."""
        size, out = ideal.shape.values, []
        for chunk, salts in enumerate(self.salts):
            part = [int(value) % P for value in self.values[chunk * size : (chunk + 1) * size]]
            own = [int.from_bytes(salt.tobytes(), "little") for salt in salts]
            out.append([*part, *[0] * (size - len(part)), *own])
        return out


@dataclass(frozen=True)
class Sent:
    """What a verifier is given: the commitments, the base proof, and q, which a settlement proof would show."""

    points: Points
    proof: BaseProof
    q: int


@dataclass
class Round:
    """The honest prover, by the engine's own functions."""

    ideal: Ideal
    vectors: Sequence[Update]
    kind: type[Transcript] = Transcript

    @cached_property
    def attempt(self) -> Attempt:
        with self.ideal.in_place():
            return Attempt.fresh(self.ideal)  # type: ignore[arg-type]

    @cached_property
    def points(self) -> Points:
        slots = tuple(tuple(map(self.ideal.point, vector.columns(self.ideal))) for vector in self.vectors)
        return Points(slots, self.attempt.mask_points, self.attempt.projection_points)

    @cached_property
    def sent(self) -> Sent:
        ideal, manifest = self.ideal, self.ideal.manifest
        transcript, r = started(ideal, self.points, self.kind)
        digits = [Digits.of(vector.values) for vector in self.vectors]
        products = gram.Products.of(digits, self.attempt.mask, manifest.chunk, manifest.chunks)
        q = settlement.combined(products.gram(), r)
        given: Any = (ideal, base.Slots(self.vectors, digits, products, self.points), self.attempt, transcript, r, q)
        with ideal.in_place():
            unproven = base.prove_job(*given)
        return Sent(self.points, unproven.proven(ideal.prove(unproven.job)), q)


def started(ideal: Ideal, points: Points, kind: type[Transcript] = Transcript) -> tuple[Transcript, list[int]]:
    transcript = kind.start(CONTEXT, [*points.flat(), GRAM_POINT])
    return transcript, transcript.slot_challenges(ideal.manifest.slots)


def verify(ideal: Ideal, sent: Sent, kind: type[Transcript] = Transcript) -> bytes:
    """base.verify; the last seed. Raises ProofRejected."""
    transcript, r = started(ideal, sent.points, kind)
    with ideal.in_place():
        base.verify(ideal, sent.proof, sent.points, transcript, r, sent.q)  # type: ignore[arg-type]
    return transcript.seed


def small_updates(ideal: Ideal, bound: int = 4096, seed: int = 1) -> list[Update]:
    """One for each slot with data blocks."""
    rng = np.random.default_rng(seed)
    shape = ideal.shape
    return [Update.of(ideal, rng.integers(-bound, bound, shape.params)) for _ in range(shape.slots)]
