"""Both arguments on updates in one: the folded Gram argument, the projection argument, and the base proof they share.

    commitments absorbed → r, bits of rows → q, t_0, z → η → folds (A, X) → sumcheck (g_0, x)
    → W, U, V committed → τ, y → base proof of <W, W>, its salts' part, <U, V>, and V at y

The verifier wants o_1 − o_2 = T of the folds (o_1 is not sent: T + o_2), o_3 = the sumcheck's last claim, o_4 = V at y,
the echoed powers of y, and for both columns at once, with a challenge τ that comes after them,

    P_W + τ·P_U = Σ_b (k_b + τ·eq_b)·C_b − (Σ_b (k_b + τ·eq_b) − 1 − τ)·B.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from .. import backend
from ..backend import Proof, ProofJob
from ..build import Build, Manifest, Shape, masked_chunks
from ..crypto import P, Point, Transcript, decode_point, encode_point, from_ints, multiply_add, to_hex, to_ints
from ..errors import ProofRejected
from ..progress import Progress, quiet
from . import gram, native, projection
from .commitment import combine, commit_columns
from .native import Digits
from .projection import Rounds, Weights


class Vector(Protocol):
    """What a slot holds: an opening, or an aggregate.

    Attributes:
        values: (D,) integers. salts: (m, S, 32) uint8.
    """

    @property
    def values(self) -> np.ndarray: ...

    @property
    def salts(self) -> np.ndarray: ...


@dataclass(frozen=True)
class Points:
    """Commitments of a round in the order in which they are absorbed and stand in calldata.

    Attributes:
        slots: 1..N+R, m points each: trainers, root reference, last aggregate.
        mask: slot 0's chunks. projection: P_0..P_μ.
    """

    slots: tuple[tuple[Point, ...], ...]
    mask: tuple[Point, ...]
    projection: tuple[Point, ...]

    def flat(self) -> list[Point]:
        return [*(point for slot in self.slots for point in slot), *self.mask, *self.projection]


@dataclass(frozen=True)
class BaseProof:
    """What both arguments send, besides q, which the settlement proof shows.

    Attributes:
        t0: claim of the projection's masks. z: the rows' answers, 14 bytes each.
        claims: (A, X) of each fold. rounds: (g_0, x) of each round of the sumcheck.
        proof: the base proof, with its instances.
    """

    t0: int
    z: bytes = field(repr=False)
    claims: gram.Claims
    rounds: Rounds
    proof: Proof

    @property
    def salt_square(self) -> int:
        """o_2: the part of <W, W> that is the salts'."""
        return self.proof.instances[1]

    @property
    def columns(self) -> list[bytes]:
        """Commitments of W, U and V, as the base proof begins with them."""
        return [self.proof.point(at) for at in range(3)]

    def to_json(self) -> dict[str, Any]:
        return {
            "t0": _hex(self.t0),
            "z": "0x" + self.z.hex(),
            "claims": [[_hex(a), _hex(x)] for a, x in self.claims],
            "rounds": [[_hex(g0), _hex(x)] for g0, x in self.rounds],
            "proof": self.proof.to_json(),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> BaseProof:
        pairs = {name: tuple((int(a, 16), int(b, 16)) for a, b in value[name]) for name in ("claims", "rounds")}
        proof = Proof.from_json(value["proof"])
        return cls(int(value["t0"], 16), bytes.fromhex(value["z"][2:]), pairs["claims"], pairs["rounds"], proof)


def _hex(value: int) -> str:
    return f"0x{value:064x}"


# ---------------------------------------------------------------- prove


@dataclass(frozen=True)
class Attempt:
    """The aggregator's secrets of one attempt, and their commitments. Never used under a second seed, never stored."""

    mask: gram.Mask
    masks: projection.Masks
    mask_points: tuple[Point, ...]
    projection_points: tuple[Point, ...]

    @classmethod
    def fresh(cls, build: Build) -> Attempt:
        manifest = build.manifest
        mask = gram.Mask.fresh(manifest.chunks, manifest.chunk + manifest.salts)
        masks = projection.Masks.fresh(manifest.projection, manifest.salts)

        points = commit_columns(build, map(to_hex, [*mask.columns.values(), *masks.columns]))
        return cls(mask, masks, points[: len(mask.columns)], points[len(mask.columns) :])


@dataclass(frozen=True)
class Unproven:
    """Everything of a base proof but the proof, which `backend.prove` makes of `job`."""

    t0: int
    z: bytes = field(repr=False)
    claims: gram.Claims
    rounds: Rounds
    job: ProofJob

    def proven(self, proof: Proof) -> BaseProof:
        return BaseProof(self.t0, self.z, self.claims, self.rounds, proof)


@dataclass(frozen=True)
class Slots:
    """All that the prover holds of slots 1..N+R. Secret.

    Attributes:
        vectors, digits: what each opens to, and the same as rows of digits.
        products: inner products of their chunks, and of the mask's.
        points: commitments of the slots and the masks.
    """

    vectors: Sequence[Vector] = field(repr=False)
    digits: Sequence[Digits] = field(repr=False)
    products: gram.Products = field(repr=False)
    points: Points


def prove_job(
    build: Build,
    slots: Slots,
    attempt: Attempt,
    transcript: Transcript,
    r: Sequence[int],
    q: int,
    progress: Progress = quiet,
) -> Unproven:
    """All of the prover's work but the base proof itself.

    Args:
        transcript: has absorbed the commitments and nothing else. r: drawn from it. q: Σ_ij r_i r_j G_ij.

    Raises:
        ProofRejected: the columns are not the combination of the commitments: some update does not open its own.
    """
    manifest = build.manifest
    shape = manifest.projection
    size = shape.values
    progress("projecting the updates")
    weights = Weights.of(shape, transcript)
    vectors, digits = slots.vectors, slots.digits
    data = digits[: shape.slots]
    projected = projection.project(shape, weights, data, attempt.masks)
    transcript.absorb_projection(q, projected.t0, projected.z)
    eta = transcript.challenge("eta")
    progress("folding the chunks")
    claims, rhos, _ = gram.fold(slots.products.of_chunks(r), q, transcript)
    progress("summing over the blocks")
    tables = projection.Tables.of(shape, weights, projected, data, attempt.masks, eta)
    claim = projection.first_claim(shape, projected.z, projected.t0, eta)
    rounds, sigmas, _ = projection.prove_rounds(tables, claim, transcript)

    factors = [int(value) for value in tables.weights[:, 0]]
    opened = Coefficients.of(shape, manifest.slots, r, rhos, sigmas)
    progress("combining the columns")
    columns = [
        opened_column(vectors, digits, opened.gram, list(attempt.mask.columns.values()), opened.gram_masks, size),
        opened_column(vectors, digits, opened.slots, list(attempt.masks.columns), opened.masks, size),
        projection.public_block(shape, weights, factors, eta),
    ]
    padded = [to_hex(pad(column, shape.rows * shape.width)) for column in columns]
    del columns
    committed = [encode_point(backend.commit(build.files["base"], manifest.logrows, [column])[0]) for column in padded]
    transcript.absorb_points(committed)
    tau, y = transcript.challenge("tau"), transcript.challenge("y")
    check_combination(slots.points, opened, committed, tau, manifest.blinding)
    point = to_hex(from_ints(powers_of(y, manifest.logrows)))
    job = ProofJob("base proof", build.files["base"], [*padded, point])
    return Unproven(projected.t0, projected.z, claims, rounds, job)


def opened_column(
    vectors: Sequence[Vector],
    digits: Sequence[Digits],
    coefficients: Sequence[Sequence[int]],
    masks: Sequence[np.ndarray],
    weights: Sequence[int],
    size: int,
) -> np.ndarray:
    """Σ coefficients[i][c]·chunk c of slot i + Σ weights_t·mask_t, values and salts: (C + S, 32) field elements.

    `coefficients` may be of fewer slots than there are: the others take no part.
    """
    count = len(coefficients)
    values = native.combine(digits[:count], coefficients, [mask[:size] for mask in masks], weights, size)
    salts = [0] * (len(masks[0]) - size)
    parts = [(k, mask[size:]) for k, mask in zip(weights, masks, strict=True)]
    for vector, own in zip(vectors, coefficients, strict=False):
        parts += [(k, vector.salts[chunk]) for chunk, k in enumerate(own)]
    for factor, part in parts:
        salts = [total + factor * salt for total, salt in zip(salts, to_ints(np.ascontiguousarray(part)), strict=True)]
    return np.concatenate([values, from_ints(salts)])


def pad(column: np.ndarray, cells: int) -> np.ndarray:
    return np.concatenate([column, np.zeros((cells - len(column), 32), np.uint8)])


# ---------------------------------------------------------------- verify


def verify(build: Build, proof: BaseProof, points: Points, transcript: Transcript, r: Sequence[int], q: int) -> None:
    """Check that q = Σ_ij r_i r_j <u_i, u_j> for the committed updates and mask, and that updates have small entries.

    `transcript` has absorbed the commitments and nothing else, and r was drawn from it; q comes from the settlement
    proof. At the end it has absorbed all that the prover sent. Raises ProofRejected with the reason.
    """
    manifest = build.manifest
    replayed = replay(manifest, transcript, q, proof)
    check_outputs(manifest, proof, replayed)
    opened = Coefficients.of(manifest.projection, manifest.slots, r, replayed.asked.rhos, replayed.asked.sigmas)
    check_combination(points, opened, proof.columns, replayed.asked.tau, manifest.blinding)
    backend.verify(build.files["base"], proof.proof, "base proof")


@dataclass(frozen=True)
class Challenges:
    """What the prover is asked after its messages: η after z, ρ after each fold, σ after each round, then τ and y."""

    eta: int
    rhos: tuple[int, ...]
    sigmas: tuple[int, ...]
    tau: int
    y: int

    @classmethod
    def replayed(cls, transcript: Transcript, q: int, proof: BaseProof) -> Challenges:
        """Absorb all that the prover sent, in its order, and draw each challenge after its message.

        `transcript` has absorbed the commitments and nothing else. `proof` may have no instances yet.
        """
        transcript.absorb_projection(q, proof.t0, proof.z)
        eta = transcript.challenge("eta")
        rhos, sigmas = [], []
        for step, message in enumerate(proof.claims):
            transcript.absorb(*message)
            rhos.append(transcript.short_challenge("rho", step))
        for step, message in enumerate(proof.rounds):
            transcript.absorb(*message)
            sigmas.append(transcript.challenge("sigma", step))
        transcript.absorb_points(proof.columns)
        return cls(eta, tuple(rhos), tuple(sigmas), transcript.challenge("tau"), transcript.challenge("y"))


@dataclass(frozen=True)
class Replay:
    """The verifier's side of the transcript: its challenges, and the claims that the messages come to.

    Attributes:
        folded: T, the last claim of the folds. claim: the sumcheck's last claim. value: V at y.
    """

    asked: Challenges
    folded: int
    claim: int
    value: int

    def outputs(self, salt_square: int, logrows: int) -> tuple[int, ...]:
        """The instances of a base proof that shows all of this; `salt_square` is the salts' part of <W, W>."""
        return ((self.folded + salt_square) % P, salt_square, self.claim, *powers_of(self.asked.y, logrows), self.value)


def replay(manifest: Manifest, transcript: Transcript, q: int, proof: BaseProof) -> Replay:
    """Absorb what the prover sends, draw what it was asked, and follow its claims to the last ones.

    `transcript` has absorbed the commitments and nothing else. `proof` may have no instances yet. Raises ProofRejected
    for messages of a wrong number or size.
    """
    shape = manifest.projection
    weights = Weights.of(shape, transcript)
    asked = Challenges.replayed(transcript, q, proof)
    folded = gram.check_folds(proof.claims, q, manifest.chunks, asked.rhos)
    first = projection.first_claim(shape, proof.z, proof.t0, asked.eta)
    claim = projection.check_rounds(proof.rounds, first, shape, asked.sigmas)
    value = projection.evaluate(shape, weights, asked.sigmas, asked.eta, asked.y)
    return Replay(asked, folded, claim, value)


def check_outputs(manifest: Manifest, proof: BaseProof, replayed: Replay) -> None:
    """Raise ProofRejected unless the base proof shows both last claims, and V at the point y."""
    given, wanted = proof.proof.instances, 4 + 2 * manifest.logrows
    if len(given) != wanted:
        raise ProofRejected(f"base proof has {len(given)} instances: wanted {wanted}")
    if given[0] != (replayed.folded + given[1]) % P:
        raise ProofRejected("base proof: <W, W> is not the folded claim T (a fold claim or the Gram matrix is false)")
    if given[2] != replayed.claim:
        raise ProofRejected("base proof: <U, V> is not the sumcheck's last claim (an update's entries are not as sent)")
    if given[3:-1] != tuple(powers_of(replayed.asked.y, manifest.logrows)):
        raise ProofRejected("base proof: V is evaluated at another point than the transcript's")
    if given[-1] != replayed.value:
        raise ProofRejected("base proof: V is not the block that the rows' bits and challenges give")


def check_combination(
    points: Points, opened: Coefficients, committed: Sequence[bytes], tau: int, blinding: Point
) -> None:
    """Raise ProofRejected unless W and U are the combinations of the commitments that the challenges give."""
    coefficients = opened.together(tau)
    expected = combine(points.flat(), coefficients, blinding, constant=(1 + tau) % P)
    if multiply_add([decode_point(data) for data in committed[:2]], [1, tau]) != expected:
        raise ProofRejected("base proof: its columns are not the combinations of the commitments")


# ---------------------------------------------------------------- both


@dataclass(frozen=True)
class Coefficients:
    """What each commitment counts for in W (gram) and in U (slots, masks).

    Attributes:
        gram: k_{i,c} of slots 1..N+R. gram_masks: of slot 0's chunks.
        slots: eq_b of slots with data blocks. masks: eq_b of P_0..P_μ.
    """

    gram: list[list[int]]
    gram_masks: list[int]
    slots: list[list[int]]
    masks: list[int]

    @classmethod
    def of(cls, shape: Shape, slots: int, r: Sequence[int], rhos: Sequence[int], sigmas: Sequence[int]) -> Coefficients:
        factors = gram.chunk_factors(shape.chunks, rhos)
        eq = projection.equalities(sigmas)
        data = [eq[at] for at in shape.data_positions]
        return cls(
            [[r[slot] * factor % P for factor in factors] for slot in range(1, slots)],
            [r[0] * factors[chunk] % P for chunk in masked_chunks(shape.chunks)],
            [data[slot * shape.chunks : (slot + 1) * shape.chunks] for slot in range(shape.slots)],
            [eq[at] for at in shape.mask_positions],
        )

    def together(self, tau: int) -> list[int]:
        """k_b + τ·eq_b, in the order of `Points.flat`."""
        out = []
        for slot, own in enumerate(self.gram):
            other = self.slots[slot] if slot < len(self.slots) else [0] * len(own)
            out += [(k + tau * eq) % P for k, eq in zip(own, other, strict=True)]
        return [*out, *self.gram_masks, *(tau * eq % P for eq in self.masks)]


def powers_of(y: int, logrows: int) -> list[int]:
    """The point as the circuit takes it: (1, y^(2^k)) for k = K − 1 down to 0."""
    out: list[int] = []
    power = y
    for _ in range(logrows):
        out = [1, power, *out]
        power = power * power % P
    return out
