"""The sum of the accepted updates: made and opened."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..build import Build, Manifest
from ..crypto import from_ints, to_ints
from ..errors import InputError, OpeningMismatch, demand
from ..updates import dequantise
from .commitment import Opening, commit_vector
from .proof import Aggregate, Decision, is_withheld


def sum_updates(manifest: Manifest, openings: Sequence[Opening], mask: Sequence[int]) -> Aggregate:
    """Agg and its salts, which open the aggregate's commitment."""
    accepted = [opening for opening, bit in zip(openings, mask, strict=True) if bit]
    values = np.zeros(manifest.params, np.int64)
    for opening in accepted:
        values += opening.values
    return Aggregate(values, sum_salts([opening.salts for opening in accepted], (manifest.chunks, manifest.salts)))


def open_aggregate(build: Build, decision: Decision, aggregate: Aggregate) -> np.ndarray:
    """Check a received aggregate against its proven commitment.

    Args:
        decision: from `verify_round`.
        aggregate: as received.

    Returns:
        (D,) float64: the accepted updates' mean. A model moves by the integers, see `model.moved`.

    Raises:
        OpeningMismatch: the aggregate is not the one that was proven.
    """
    demand(build, Build, "the build")
    demand(decision, Decision, "the decision of `verify_round`")
    demand(aggregate, Aggregate, "the aggregate")
    manifest = build.manifest
    if is_withheld(manifest, decision.mask):
        raise InputError(
            f"this round has no aggregate: {sum(decision.mask)} updates are accepted, wanted at least"
            f" {manifest.min_accepted}; the model stays as it is"
        )
    if commit_vector(build, aggregate.values, aggregate.salts) != decision.aggregate:
        raise OpeningMismatch("the aggregate does not open the commitment that was proven")
    return mean_update(manifest, aggregate, sum(decision.mask))


def mean_update(manifest: Manifest, aggregate: Aggregate, accepted: int) -> np.ndarray:
    """(D,) float64 of an aggregate that was checked."""
    return dequantise(aggregate.values, manifest.fixed_point) / accepted


def sum_salts(salts: Sequence[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """The sum mod p of salts of each (m, S, 32); zeros for none."""
    totals = [0] * (shape[0] * shape[1])
    for array in salts:
        totals = [total + salt for total, salt in zip(totals, to_ints(array), strict=True)]
    return from_ints(totals).reshape(*shape, 32)
