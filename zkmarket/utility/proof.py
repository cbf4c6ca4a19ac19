"""Utility of a coalition: the user's own model, evaluated in a circuit on a committed validation batch.

    parameters = θ + Agg_S / |S|        Agg_S = Σ_{i in S} u_i, whose commitment is homomorphic

The proof says how many predictions are correct and what the loss is, in integer units of `UtilityBuild.loss_unit`.
What both are, exactly, is said in zkmarket/networks, and computed there; the circuit is circuits/utility.py.

The proof's first points are commitments: θ (public, without salts), Agg_S, the validation batch, the prover's
witness, and a last input of public values and noise. The verifier knows all but the witness's and the last. The
challenges come from a transcript that has absorbed the context, the build's digest, |S| and every point but the last,

    seed = H("utility" ‖ context ‖ digest ‖ |S| ‖ points)          challenge = low128 H(seed ‖ name)

and the circuit echoes every public value, so that the verifier compares them with its own.

Each proof opens every column that it takes: it spends one salt of each member's chunks and of each validation chunk,
retries included. Whoever proves knows the coalition's sum, its salts and the batch, as an aggregator does.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import backend
from ..backend import Proof, ProofJob
from ..crypto import Point, decode_point, encode_point, hash_words
from ..errors import BackendError, DomainError, InputError, OpeningMismatch, ProofRejected
from ..networks import evaluate
from ..progress import Progress, quiet
from ..round import squared_length
from .batch import Validation, check_validation, theta_points
from .build import MAX_LOSS, UtilityBuild
from .statements import Coalition, check_names, columns_of, last_column, public_values, witness_cells

UTILITY_PROOF_FORMAT = "zkmarket-utility-proof/1"


@dataclass(frozen=True)
class BatchResult:
    """What a proof says of a coalition: correct predictions of the batch, and the batch's summed loss in units."""

    correct: int
    loss: int


@dataclass(frozen=True)
class UtilityProof:
    """One Halo2 proof; its first points are the commitments of θ, Agg_S, validation, witness, and the last input."""

    proof: Proof

    def to_json(self) -> dict[str, Any]:
        return {"format": UTILITY_PROOF_FORMAT, **self.proof.to_json()}

    @classmethod
    def from_json(cls, value: Any) -> UtilityProof:
        word = re.compile("0x[0-9a-f]{64}")
        fits = isinstance(value, dict) and set(value) == {"format", "proof", "instances"}
        if not fits or value["format"] != UTILITY_PROOF_FORMAT or not isinstance(value["proof"], str):
            raise InputError(f"not a utility proof: wanted an object of format {UTILITY_PROOF_FORMAT}")
        if not re.fullmatch("0x(?:[0-9a-f]{2})+", value["proof"]):
            raise InputError("not a utility proof: its bytes are not hex")
        numbers = value["instances"]
        if not isinstance(numbers, list) or not all(isinstance(n, str) and word.fullmatch(n) for n in numbers):
            raise InputError("not a utility proof: its instances are not 32-byte words")
        return cls(Proof.from_json(value))


def _seed(build: UtilityBuild, context: bytes, size: int, points: Sequence[Point]) -> bytes:
    words = [part for point in points for part in point]
    return hash_words("utility", context, build.digest, size, *words)


# ---------------------------------------------------------------- prove


def utility(build: UtilityBuild, theta: np.ndarray, coalition: Coalition, validation: Validation) -> BatchResult:
    """The definition, in integers; bit by bit what the circuit proves. Fast, no proof.

    Raises InputError or DomainError for what is not the build's.
    """
    theta_q = build.quantise_theta(theta)
    _check_coalition(build, coalition)
    check_validation(build, validation)
    evaluated = evaluate(build.plan, theta_q, coalition.values, coalition.size, validation.values, witness=False)
    return BatchResult(evaluated.correct, evaluated.loss)


def _check_coalition(build: UtilityBuild, coalition: Coalition) -> None:
    values, salts, size = coalition.values, coalition.salts, coalition.size
    if type(size) is not int or not 0 <= size <= build.trainers:
        raise InputError(f"a coalition has 0 to {build.trainers} members: got {size!r}")
    if values.shape != (build.params,) or values.dtype.kind != "i":
        raise InputError(f"a coalition's sum has {build.params} integers: got {values.dtype}{list(values.shape)}")
    if salts.dtype != np.uint8 or salts.shape != (build.chunks, build.salts, 32):
        raise InputError(f"its salts are uint8{[build.chunks, build.salts, 32]}: got {salts.dtype}{list(salts.shape)}")
    bound = size * build.update_bound
    largest = max(-int(values.min()), int(values.max()))
    square = largest * largest if largest > bound else squared_length(values)
    if square > bound * bound:
        raise DomainError(
            f"the sum of {size} accepted updates has at most the length {bound}: got {math.isqrt(square)} or more;"
            " compile with a larger --beta-max"
        )


def prove_job(
    build: UtilityBuild, theta: np.ndarray, coalition: Coalition, validation: Validation, context: bytes
) -> ProofJob:
    """What `backend.prove` needs to prove one coalition's utility: for callers that spread proofs over workers.

    Every call draws salts, noise and so challenges of its own. The result is to be checked with `verify_utility`.
    """
    plan = build.plan
    theta_q = build.quantise_theta(theta)
    _check_coalition(build, coalition)
    check_validation(build, validation)
    evaluated = evaluate(plan, theta_q, coalition.values, coalition.size, validation.values)
    columns = columns_of(plan, "theta", theta_q)
    columns += columns_of(plan, "update", coalition.values, coalition.salts)
    columns += columns_of(plan, "validation", validation.values, validation.salts)
    columns += columns_of(plan, "witness", witness_cells(plan, evaluated.cells))
    points = backend.commit(build.files, build.logrows, columns)
    first = len(plan.columns["theta"]) + build.chunks
    if points[first : first + len(validation.points)] != list(validation.points):
        raise OpeningMismatch("the validation batch does not open its own points")
    public = public_values(plan, coalition.size, _seed(build, context, coalition.size, points))
    return ProofJob("utility proof", build.files, [*columns, last_column(plan, public)])


def prove_utility(
    build: UtilityBuild,
    theta: np.ndarray,
    coalition: Coalition,
    validation: Validation,
    context: bytes,
    progress: Progress = quiet,
) -> UtilityProof:
    """Prove one coalition's utility.

    Args:
        theta: (D,) float32.
        context: 32 bytes that the proof is bound to.

    Each call spends one salt of every member's chunks and of every validation chunk.

    Raises:
        InputError, DomainError: what is given is not the build's.
        OpeningMismatch: the validation batch does not open its points.
    """
    job = prove_job(build, theta, coalition, validation, context)
    progress("utility proof: witness committed")
    proof = UtilityProof(backend.prove([job], progress)[0])
    update = backend.commit(
        build.files, build.logrows, columns_of(build.plan, "update", coalition.values, coalition.salts)
    )
    known = theta_points(build, build.quantise_theta(theta))
    result = _read(build, proof, known, update, coalition.size, validation.points, context)
    wanted = utility(build, theta, coalition, validation)
    if result != wanted:
        raise BackendError(f"the circuit and the integer oracle disagree: got {result}, wanted {wanted}")
    return proof


# ---------------------------------------------------------------- verify


def verify_utility(
    build: UtilityBuild,
    proof: UtilityProof,
    theta: np.ndarray,
    coalition_points: Sequence[Point],
    size: int,
    validation_points: Sequence[Point],
    context: bytes,
) -> BatchResult:
    """Check a proof against commitments.

    Args:
        theta: (D,) float32, the round's parameters.
        coalition_points: of the sum of the coalition's updates, one a chunk, by homomorphism: these must be
            accepted by a verified round, which proves ‖u‖² <= β, and β at most what the model was compiled for.
        size: |S|.
        validation_points: as the owner published them before the round.
        context: 32 bytes that the proof must be bound to.

    Raises ProofRejected with the reason.
    """
    if type(size) is not int or not 0 <= size <= build.trainers:
        raise ProofRejected(f"a coalition has 0 to {build.trainers} members: got {size!r}")
    known = theta_points(build, build.quantise_theta(theta))
    result = _read(build, proof, known, coalition_points, size, validation_points, context)
    backend.verify(build.files, proof.proof, "utility proof")
    return result


def _read(
    build: UtilityBuild,
    proof: UtilityProof,
    theta: Sequence[Point],
    update: Sequence[Point],
    size: int,
    validation: Sequence[Point],
    context: bytes,
) -> BatchResult:
    """Everything that is checked of a proof besides the proof itself."""
    plan, what, inner = build.plan, "utility proof", proof.proof
    names = check_names(plan)
    start = plan.public["noise"][0]
    if len(inner.instances) != start + 1 + len(names) + 2:
        raise ProofRejected(f"{what} has {len(inner.instances)} instances: wanted {start + 1 + len(names) + 2}")
    at, points = 0, []
    for kind, given in (("theta", theta), ("update", update), ("validation", validation)):
        many = len(plan.columns[kind])
        if len(given) != many:
            raise ProofRejected(f"{what} takes {many} commitments of {kind}: got {len(given)}")
        for chunk, point in enumerate(given):
            if inner.point(at) != encode_point(point):
                raise ProofRejected(f"{what} is of another {kind} than the committed one (chunk {chunk})")
            points.append(point)
            at += 1
    points += [decode_point(inner.point(at + i)) for i in range(len(plan.columns["witness"]))]
    wanted = public_values(plan, size, _seed(build, context, size, points))
    for index, (got, value) in enumerate(zip(inner.instances, wanted, strict=False)):
        if got != value:
            name = next((n for n, (first, count) in plan.public.items() if first <= index < first + count), "?")
            raise ProofRejected(f"{what} uses another {name}: got {got:#x}, wanted {value:#x} (public value {index})")
    known, *checks = inner.instances[start : start + 1 + len(names)]
    if known != 1:
        raise ProofRejected(f"{what}: E(0) is {known}, wanted 1")
    for name, value in zip(names, checks, strict=True):
        if value != 0:
            raise ProofRejected(f"{what}: the check of {name} fails")
    correct, loss = inner.instances[-2:]
    if correct > plan.batch or loss >= MAX_LOSS:
        raise ProofRejected(f"{what}: {correct} correct predictions and a loss of {loss} are no result of a batch")
    return BatchResult(correct, loss)
