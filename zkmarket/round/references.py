"""The vectors that a round compares updates with."""

from __future__ import annotations

import numpy as np

from ..build import Build, Manifest
from ..errors import InputError, OpeningMismatch
from .commitment import Opening, RoundId, check_opening, commit_vector
from .native import squared_length
from .proof import Aggregate, KnownReferences
from .submission import Submission


def references_of(build: Build, round_id: RoundId, root: Submission | None, last: Aggregate | None) -> KnownReferences:
    """The references of a round by their commitments.

    Raises ProofRejected, OpeningMismatch, or InputError for an aggregate that is no sum of a round's updates.
    """
    manifest = build.manifest
    points = None
    if last is not None:
        check_last(manifest, last)
        points = commit_vector(build, last.values, last.salts)
    references = KnownReferences(root.commitment if root else None, points)
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
    known = {"root": root.opening if root else None, "last": last}
    return [known[name] or absent for name in manifest.references]
