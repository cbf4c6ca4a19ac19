"""The aggregator's round, in one straight line: from opened updates to a proof and an aggregate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import backend, base, gram, settlement
from .artifacts import Build, Manifest
from .backend import Progress, quiet
from .base import Attempt, Points
from .commitment import (
    COMMITMENT_FILE,
    VALUES_FILE,
    Commitment,
    Opening,
    RoundId,
    check_opening,
    commit_vector,
    sum_salts,
)
from .errors import InputError, OpeningMismatch, ProofRejected, SaltReuse, StatementFalse
from .native import Digits, squared_length
from .round import Aggregate, References, RoundProof, check_slots, is_withheld, start_transcript


@dataclass(frozen=True)
class Submission:
    """What the aggregator holds of one trainer."""

    commitment: Commitment
    opening: Opening


def load_submissions(build: Build, folder: Path) -> list[Submission]:
    """Read one folder a trainer, in order of their names.

    Raises InputError naming the trainer's folder.
    """
    folders = sorted(path for path in Path(folder).glob("*") if path.is_dir() and not path.name.startswith("."))
    if not folders:
        raise InputError(f"{folder} holds no trainers' folders, each with {COMMITMENT_FILE} and {VALUES_FILE}")
    return [load_submission(build, place) for place in folders]


def load_submission(build: Build, folder: Path) -> Submission:
    """Read one folder that `zkmarket commit` wrote; errors name it."""
    try:
        commitment = Commitment.load(folder / COMMITMENT_FILE, build.manifest)
        return Submission(commitment, Opening.load(folder, build.manifest))
    except (InputError, ProofRejected) as error:
        raise type(error)(f"{folder.name}: {error}") from error


def prove_round(
    build: Build,
    submissions: Sequence[Submission],
    beta: int | None = None,
    progress: Progress = quiet,
    root: Submission | None = None,
    last: Aggregate | None = None,
) -> tuple[RoundProof, Aggregate | None]:
    """Filter, score and aggregate a round of exactly N updates, and prove it.

    Args:
        build: loaded with ``prover=True``.
        submissions: slots 1..N in order, opened.
        beta: the round's bound on squared norms; default the project's largest.
        root, last: the owner's root update and the last settled aggregate, where the build's rules compare with
            them and the round has them.

    Returns:
        The proof, and the aggregate or, with too few accepted, None: it would reveal them to each other.

    Raises:
        ProofRejected: some update does not open its commitment; `admit`, which asks each, names it.
        StatementFalse, BackendTimeout, BackendError: no proof could be made.
    """
    manifest = build.manifest
    beta = manifest.beta_max if beta is None else beta
    settlement.check_beta(manifest, beta)
    commitments = [s.commitment for s in submissions]
    openings = [s.opening for s in submissions]
    if not submissions:
        raise InputError("a round has trainers: got none")
    round_id = commitments[0].round_id
    check_slots(build, commitments, round_id)
    references = references_of(build, round_id, root, last)
    slots = (*(c.points for c in commitments), *references.points(manifest))
    vectors = [*openings, *reference_vectors(manifest, root, last)]

    progress("committing to the masks")
    attempt = Attempt.fresh(build)
    progress("computing the Gram matrix")
    digits = [Digits.of(vector.values) for vector in vectors]
    products = gram.Products.of(digits, attempt.mask, manifest.chunk, manifest.chunks)
    matrix = products.gram()
    outcome = settlement.decide(manifest, [row[1:] for row in matrix[1:]], beta)
    committed = settlement.commit_gram(build, matrix)

    points = Points(slots, attempt.mask_points, attempt.projection_points)
    trainers = [commitment.trainer for commitment in commitments]
    transcript = start_transcript(manifest, round_id, beta, trainers, points, committed.point)
    r = transcript.slot_challenges(manifest.slots)
    q = settlement.combined(matrix, r)
    unproven = base.prove_job(build, vectors, digits, products, points, attempt, transcript, r, q, progress)
    settlement_job = settlement.prove_job(build, committed, r, beta, outcome.scores)
    shown, settled = backend.prove([unproven.job, settlement_job], progress)
    proof = RoundProof(
        bytes.fromhex(manifest.value["digest"][2:]),
        round_id,
        beta,
        tuple(commitments),
        attempt.mask_points,
        attempt.projection_points,
        committed.point,
        unproven.proven(shown),
        settled,
        references,
    )
    proven = settlement.verify(build, settled, committed.point, r, beta)
    if proven != (q, outcome):
        raise StatementFalse(f"the circuit and the integer oracle disagree: got {proven}, wanted {(q, outcome)}")
    aggregate = None if is_withheld(manifest, outcome.mask) else sum_updates(manifest, openings, outcome.mask)
    return proof, aggregate


def references_of(build: Build, round_id: RoundId, root: Submission | None, last: Aggregate | None) -> References:
    """The references of a round by their commitments.

    Raises ProofRejected, OpeningMismatch, or InputError for an aggregate that is no sum of a round's updates.
    """
    manifest = build.manifest
    points = None
    if last is not None:
        check_last(manifest, last)
        points = commit_vector(build, last.values, last.salts)
    references = References(root.commitment if root else None, points)
    references.check(manifest, round_id)
    if root is not None:
        try:
            check_opening(build, root.opening, root.commitment.points)
        except OpeningMismatch as error:
            raise OpeningMismatch(f"root update: {error}") from error
    return references


def check_last(manifest: Manifest, last: Aggregate) -> None:
    """Raise InputError unless it can be a sum of accepted updates, from which the circuit's bounds follow."""
    most = manifest.most_trainers or manifest.trainers
    within = min(manifest.beta_max, manifest.norm_bound)
    largest = max(-int(last.values.min(initial=0)), int(last.values.max(initial=0)))
    if largest**2 > most * most * within or squared_length(last.values) > most * most * within:
        raise InputError(
            f"the last aggregate is longer than the sum of {most} updates can be:"
            " is it this project's? build with --most-trainers if its round had more"
        )


def reference_vectors(manifest: Manifest, root: Submission | None, last: Aggregate | None) -> list[Opening | Aggregate]:
    """What opens the reference slots, in their order."""
    salts = np.zeros((manifest.chunks, manifest.salts, 32), np.uint8)
    absent = Aggregate(np.zeros(manifest.params, np.int64), salts)
    held = {"root": root.opening if root else None, "last": last}
    return [held[name] or absent for name in manifest.references]


def admit(build: Build, submission: Submission, slot: int | None = None) -> None:
    """What an aggregator checks before it takes a trainer into the round, and gives a receipt for.

    That the update opens its commitment, with values in [−Q, Q), and that no salt is used twice. Once a set of trainers
    is admitted nothing that one of them does can stop the round: `prove_round` asks for no more.

    Raises InputError, OpeningMismatch or SaltReuse.
    """
    check_opening(build, submission.opening, submission.commitment.points, slot)
    check_salts_once(submission.opening, slot)


def check_salts_once(opening: Opening, slot: int | None = None) -> None:
    """Raise SaltReuse if an opening uses a salt twice."""
    salts = opening.salts.reshape(-1, 32)
    if len({salt.tobytes() for salt in salts}) != len(salts):
        who = f"slot {slot}: " if slot else ""
        raise SaltReuse(f"{who}the opening uses a salt twice: every salt must be fresh")


def sum_updates(manifest: Manifest, openings: Sequence[Opening], mask: Sequence[int]) -> Aggregate:
    """Agg and its salts, which open the aggregate's commitment."""
    accepted = [opening for opening, bit in zip(openings, mask, strict=True) if bit]
    values = np.zeros(manifest.params, np.int64)
    for opening in accepted:
        values += opening.values
    return Aggregate(values, sum_salts([opening.salts for opening in accepted], (manifest.chunks, manifest.salts)))
