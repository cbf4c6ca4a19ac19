"""The sum of the accepted updates: made, opened, applied."""

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


def open_aggregate(
    build: Build, decision: Decision, aggregate: Aggregate, model: np.ndarray | None = None, rate: float = 1.0
) -> np.ndarray:
    """Check a received aggregate against its proven commitment, and apply it.

    Args:
        decision: from `verify_round`.
        aggregate: as received.
        model: (D,) float parameters θ of the round; default zeros.
        rate: server learning rate.

    Returns:
        (D,) float64: θ + rate · Agg / (accepted · 2^s).

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
    return apply_aggregate(manifest, sum(decision.mask), aggregate, model, rate)


def apply_aggregate(
    manifest: Manifest, accepted: int, aggregate: Aggregate, model: np.ndarray | None, rate: float
) -> np.ndarray:
    """θ + rate · Agg / (accepted · 2^s) of an aggregate that was checked; the same bits on every machine."""
    if not np.isfinite(rate):
        raise InputError(f"the learning rate is a finite number: got {rate}")
    mean = dequantise(aggregate.values, manifest.fixed_point) / accepted
    base = np.zeros(manifest.params) if model is None else np.asarray(model, np.float64)
    if base.shape != (manifest.params,):
        raise InputError(f"the model has {base.shape} parameters: wanted ({manifest.params},)")
    return base + rate * mean


def sum_salts(salts: Sequence[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """The sum mod p of salts of each (m, S, 32); zeros for none."""
    totals = [0] * (shape[0] * shape[1])
    for array in salts:
        totals = [total + salt for total, salt in zip(totals, to_ints(array), strict=True)]
    return from_ints(totals).reshape(*shape, 32)
