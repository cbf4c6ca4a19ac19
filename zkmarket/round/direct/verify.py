"""Verification of direct rounds: outputs read, points checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ... import backend
from ...backend import Proof
from ...build import Build
from ...build.statements import table_bound
from ...crypto import P, Point, decode_point, encode_point
from ...errors import DomainError, OpeningMismatch, ProofRejected, RuleError
from ...rules import SCORE_LIMIT
from .. import settlement
from ..commitment import Commitment, commit_vector
from ..proof import Aggregate, check_slots
from ..settlement import Outcome
from .keys import Direct
from .rules import Rule, check_weights

# ---------------------------------------------------------------- verify


@dataclass(frozen=True)
class Combined:
    """What a verified aggregation proof says.

    Attributes:
        weights: of a mean; None otherwise.
        divisor: what the result is to be divided by.
        values, point: the result, opened or committed; the other is None.
    """

    rule: Rule
    weights: tuple[int, ...] | None
    divisor: int
    values: tuple[int, ...] | None
    point: Point | None


@dataclass(frozen=True)
class DirectDecision:
    """What a verified round proof says: mask, scores and ν as from a settlement, and the sum of the accepted."""

    outcome: Outcome
    values: tuple[int, ...] | None
    point: Point | None


def verify_aggregation(
    direct: Direct, commitments: Sequence[Commitment], proof: Proof, weights: Sequence[int] | None = None
) -> Combined:
    """Check an aggregation proof.

    Args:
        weights: those that the caller wants; None takes the proof's, and the caller must look at them.

    Raises ProofRejected with the reason.
    """
    _check_commitments(direct, commitments)
    combined = read_aggregation(direct, commitments, proof, weights)
    backend.verify(direct.files, proof, "aggregation proof")
    return combined


def verify_direct_round(direct: Direct, commitments: Sequence[Commitment], beta: int, proof: Proof) -> DirectDecision:
    """Check a round proof. Raises ProofRejected with the reason."""
    _check_commitments(direct, commitments)
    try:
        settlement.check_beta(direct.build.manifest, beta)
    except DomainError as error:
        raise ProofRejected(str(error)) from error
    decision = read_round(direct, commitments, beta, proof)
    backend.verify(direct.files, proof, "round proof")
    return decision


def check_result(build: Build, point: Point, result: Aggregate) -> None:
    """Raise OpeningMismatch unless a received result opens the commitment that was proven."""
    if commit_vector(build, result.values, result.salts) != (point,):
        raise OpeningMismatch("the result does not open the commitment that was proven")


def _check_commitments(direct: Direct, commitments: Sequence[Commitment]) -> None:
    if not commitments:
        raise ProofRejected("a direct proof is about commitments: got none")
    check_slots(direct.build, commitments, commitments[0].round_id)


def read_aggregation(
    direct: Direct, commitments: Sequence[Commitment], proof: Proof, weights: Sequence[int] | None
) -> Combined:
    n, rule = direct.build.manifest.trainers, direct.rule
    assert rule is not None
    what = "aggregation proof"
    _check_points(direct, commitments, proof, what)
    mean = rule.name == "mean"
    if not mean and weights is not None:
        raise RuleError(f"only a mean has weights: the rule is {rule}")
    used = proof.instances[:n] if mean else None
    if used is not None:
        if weights is not None and used != tuple(weights):
            raise ProofRejected(f"{what} uses other weights: got {list(used)[:8]}, wanted {list(weights)[:8]}")
        try:
            check_weights(used, n)
        except RuleError as error:
            raise ProofRejected(f"{what}: {error}") from error
    most = (sum(used) if used else rule.divisor(n)) * table_bound(direct.build.manifest.logrows)
    values, point = _read_result(direct, proof, n if mean else 0, most, what)
    return Combined(rule, used, rule.divisor(n, used), values, point)


def read_round(direct: Direct, commitments: Sequence[Commitment], beta: int, proof: Proof) -> DirectDecision:
    manifest, what = direct.build.manifest, "round proof"
    n = manifest.trainers
    _check_points(direct, commitments, proof, what)
    if proof.instances[0] != beta:
        raise ProofRejected(f"{what} uses another norm bound: got {proof.instances[0]}, wanted {beta}")
    rest = proof.instances[1:]
    outcome = Outcome(rest[:n], rest[n : 2 * n], rest[2 * n])
    if any(bit not in (0, 1) for bit in outcome.mask):
        raise ProofRejected(f"{what}: a mask entry is neither 0 nor 1")
    if any(value >= SCORE_LIMIT for value in (*outcome.scores, outcome.nu)):
        raise ProofRejected(f"{what}: a score or ν is not below 2^64")
    if not direct.committed and sum(outcome.mask) < manifest.min_accepted:
        raise ProofRejected(
            f"{what} opens an aggregate of {sum(outcome.mask)} updates: wanted at least {manifest.min_accepted}"
        )
    values, point = _read_result(direct, proof, 2 * n + 2, n * table_bound(manifest.logrows), what)
    return DirectDecision(outcome, values, point)


def _check_points(direct: Direct, commitments: Sequence[Commitment], proof: Proof, what: str) -> None:
    """The proof is about these commitments, slot by slot, and has as many outputs as it should."""
    if len(proof.instances) != direct.circuit.instances:
        raise ProofRejected(f"{what} has {len(proof.instances)} instances: wanted {direct.circuit.instances}")
    n = direct.build.manifest.trainers
    if len(commitments) != n:
        raise ProofRejected(f"{what} is about {n} updates: got {len(commitments)} commitments")
    for slot, commitment in enumerate(commitments, start=1):
        if len(commitment.points) != 1 or proof.point(slot - 1) != encode_point(commitment.points[0]):
            raise ProofRejected(f"{what} is of another update than the one committed in slot {slot}")


def _read_result(
    direct: Direct, proof: Proof, start: int, most: int, what: str
) -> tuple[tuple[int, ...] | None, Point | None]:
    """The opened values, or the commitment of which the circuit says that every row is right."""
    manifest = direct.build.manifest
    if direct.committed:
        if proof.instances[start] != manifest.chunk:
            raise ProofRejected(
                f"{what}: the committed column holds the result in {proof.instances[start]} rows,"
                f" wanted all {manifest.chunk}"
            )
        return None, decode_point(proof.point(manifest.trainers))
    values = tuple(v if v <= P // 2 else v - P for v in proof.instances[start:])
    if any(abs(v) > most for v in values):
        raise ProofRejected(f"{what}: a value of the result is beyond {most}")
    return values, None
