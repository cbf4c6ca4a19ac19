"""Utility of a model: the user's own, evaluated in a circuit on a committed validation batch.

The model is a vector of integers Θ, of which whoever verifies knows the commitment. That of a coalition S is
Θ + w·Σ_{i in S} u_i, whose commitment follows from those of the round's model and of the updates (`GameTerms.points`).
The proof says how many predictions are correct and what the loss is, in integer units of `UtilityBuild.loss_unit`.
What both are, exactly, is said in zkmarket/networks, and computed there; the circuit is circuits/utility.py.

The proof's first points are commitments: the model, the validation batch, the prover's witness, and a last input of
public values and noise. The verifier knows those of model and batch. The challenges come from a transcript that has
absorbed the context, the build's digest and every point but the last,

    seed = H("utility" ‖ context ‖ digest ‖ points)          challenge = low128 H(seed ‖ name)

and the circuit echoes every public value, so that the verifier compares them with its own.

Each proof opens every column that it takes: it spends a salt of each validation chunk, and one of what the model's
chunks hide, retries included. Whoever proves knows the model's opening and the batch, as an aggregator does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .. import backend
from ..backend import Proof, ProofJob
from ..crypto import Point, decode_point, encode_point, hash_words
from ..errors import BackendError, InputError, OpeningMismatch, ProofRejected
from ..networks import evaluate
from ..progress import Progress, quiet
from ..round import Theta
from .batch import Validation, check_validation, theta_points
from .build import MAX_LOSS, UtilityBuild
from .statements import check_names, columns_of, last_column, public_values, witness_cells

UTILITY_PROOF_FORMAT = "zkmarket-utility-proof/2"


@dataclass(frozen=True)
class BatchResult:
    """What a proof says of a model: correct predictions of the batch, and the batch's summed loss in units."""

    correct: int
    loss: int


@dataclass(frozen=True)
class UtilityProof:
    """One Halo2 proof; its first points are the commitments of model, validation, witness, and the last input."""

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


def _seed(build: UtilityBuild, context: bytes, points: Sequence[Point]) -> bytes:
    words = [part for point in points for part in point]
    return hash_words("utility", context, build.digest, *words)


# ---------------------------------------------------------------- prove


def utility(build: UtilityBuild, theta: Theta, validation: Validation) -> BatchResult:
    """The definition, in integers; bit by bit what the circuit proves. Fast, no proof.

    Raises InputError or DomainError for what is not the build's.
    """
    build.check_theta(theta)
    check_validation(build, validation)
    evaluated = evaluate(build.plan, theta.values, validation.values, witness=False)
    return BatchResult(evaluated.correct, evaluated.loss)


def prove_job(build: UtilityBuild, theta: Theta, validation: Validation, context: bytes) -> ProofJob:
    """What `backend.prove` needs to prove one model's utility: for callers that spread proofs over workers.

    Every call draws salts, noise and so challenges of its own. The result is to be checked with `verify_utility`.
    """
    plan = build.plan
    build.check_theta(theta)
    check_validation(build, validation)
    evaluated = evaluate(plan, theta.values, validation.values)
    columns = columns_of(plan, "theta", theta.values, theta.salts)
    columns += columns_of(plan, "validation", validation.values, validation.salts)
    columns += columns_of(plan, "witness", witness_cells(plan, evaluated.cells))
    points = backend.commit(build.files, build.logrows, columns)
    first = build.chunks
    if points[first : first + len(validation.points)] != list(validation.points):
        raise OpeningMismatch("the validation batch does not open its own points")
    public = public_values(plan, _seed(build, context, points))
    return ProofJob("utility proof", build.files, [*columns, last_column(plan, public)])


def prove_utility(
    build: UtilityBuild, theta: Theta, validation: Validation, context: bytes, progress: Progress = quiet
) -> UtilityProof:
    """Prove one model's utility.

    Args:
        context: 32 bytes that the proof is bound to.

    Each call spends a salt of every validation chunk, and one of what hides the model.

    Raises:
        InputError, DomainError: what is given is not the build's.
        OpeningMismatch: the validation batch does not open its points.
    """
    job = prove_job(build, theta, validation, context)
    progress("utility proof: witness committed")
    proof = UtilityProof(backend.prove([job], progress)[0])
    result = _read(build, proof, theta_points(build, theta), validation.points, context)
    wanted = utility(build, theta, validation)
    if result != wanted:
        raise BackendError(f"the circuit and the integer oracle disagree: got {result}, wanted {wanted}")
    return proof


# ---------------------------------------------------------------- verify


def verify_utility(
    build: UtilityBuild,
    proof: UtilityProof,
    points: Sequence[Point],
    validation_points: Sequence[Point],
    context: bytes,
) -> BatchResult:
    """Check a proof against commitments.

    Args:
        points: of the model, one a chunk: of a coalition's by homomorphism, from updates that a verified round accepts.
        validation_points: as the owner published them before the round.
        context: 32 bytes that the proof must be bound to.

    Raises ProofRejected with the reason.
    """
    result = _read(build, proof, points, validation_points, context)
    backend.verify(build.files, proof.proof, "utility proof")
    return result


def _read(
    build: UtilityBuild,
    proof: UtilityProof,
    theta: Sequence[Point],
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
    for kind, given in (("theta", theta), ("validation", validation)):
        many = len(plan.columns[kind])
        if len(given) != many:
            raise ProofRejected(f"{what} takes {many} commitments of {kind}: got {len(given)}")
        for chunk, point in enumerate(given):
            if inner.point(at) != encode_point(point):
                raise ProofRejected(f"{what} is of another {kind} than the committed one (chunk {chunk})")
            points.append(point)
            at += 1
    points += [decode_point(inner.point(at + i)) for i in range(len(plan.columns["witness"]))]
    wanted = public_values(plan, _seed(build, context, points))
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
