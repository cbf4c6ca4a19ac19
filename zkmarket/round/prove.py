"""The aggregator's round, in one straight line: from opened updates to a proof and an aggregate."""

from __future__ import annotations

from collections.abc import Sequence

from .. import backend
from ..build import Build
from ..errors import InputError, StatementFalse, demand
from ..progress import Progress, quiet
from . import base, gram, settlement
from .aggregate import sum_updates
from .base import Attempt, Points, Slots
from .commitment import check_opening
from .native import Digits
from .proof import Aggregate, RoundProof, check_slots, is_withheld, start_transcript
from .references import reference_vectors, references_of
from .submission import Submission, check_salts_once


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
    demand(build, Build, "the build")
    for submission in submissions:
        demand(submission, Submission, "a submission of `load_submissions`")
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
    unproven = base.prove_job(build, Slots(vectors, digits, products, points), attempt, transcript, r, q, progress)
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


def admit(build: Build, submission: Submission, slot: int | None = None) -> None:
    """What an aggregator checks before it takes a trainer into the round, and gives a receipt for.

    That the update opens its commitment, with values in [−Q, Q), and that no salt is used twice. Once a set of trainers
    is admitted nothing that one of them does can stop the round: `prove_round` asks for no more.

    Raises InputError, OpeningMismatch or SaltReuse.
    """
    demand(build, Build, "the build")
    demand(submission, Submission, "a submission of `load_submissions`")
    check_opening(build, submission.opening, submission.commitment.points, slot)
    check_salts_once(submission.opening, slot)
