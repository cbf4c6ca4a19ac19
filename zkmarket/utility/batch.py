"""The owner's validation batch: quantised, committed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .. import backend
from ..circuits.plan import CircuitPlan
from ..crypto import Point, decode_point, encode_point, random_scalars
from ..errors import DomainError, InputError, OpeningMismatch, ProofRejected
from ..files import load_npz, save_npz
from ..round import Theta
from .build import UtilityBuild, target_scale
from .statements import columns_of

MAX_VALIDATION = 1 << 31


@dataclass(frozen=True)
class Validation:
    """The owner's batch, as it was committed before the round. The points are public, the rest is for provers.

    Attributes:
        values: (n,) int64: the inputs sample by sample, then the labels, or targets.
        salts: (chunks, salts, 32) uint8.
        points: commitments, one a chunk. Whoever verifies has these alone, see `public`.
    """

    values: np.ndarray = field(repr=False)
    salts: np.ndarray = field(repr=False)
    points: tuple[Point, ...]

    def save(self, path: Path, mode: int = 0o600) -> None:
        points = b"".join(encode_point(point) for point in self.points)
        arrays = {"values": self.values, "salts": self.salts, "points": np.frombuffer(points, np.uint8)}
        save_npz(Path(path), arrays, mode=mode)

    def public(self) -> Validation:
        """The commitments alone, for whoever verifies."""
        return Validation(np.zeros(0, np.int64), np.zeros((0, 0, 32), np.uint8), self.points)

    @classmethod
    def load(cls, path: Path) -> Validation:
        """Read a batch; InputError if it is none. Whether it is a build's, and opens its points, `utility` looks."""
        arrays = load_npz(Path(path), "validation batch", dict.fromkeys(("values", "salts", "points"), MAX_VALIDATION))
        values, salts, points = arrays["values"], arrays["salts"], arrays["points"]
        if values.dtype != np.int64 or values.ndim != 1 or salts.dtype != np.uint8 or salts.ndim != 3:
            raise InputError(f"{path} is no validation batch: wanted int64 values and uint8 salts")
        if points.dtype != np.uint8 or points.ndim != 1 or len(points) % 64 or not len(points) or salts.shape[2] != 32:
            raise InputError(f"{path} is no validation batch: wanted points of 64 bytes and salts of 32")
        try:
            commitments = tuple(decode_point(points[i : i + 64].tobytes()) for i in range(0, len(points), 64))
        except ProofRejected as error:
            raise InputError(f"{path} is no validation batch: {error}") from error
        return cls(values, salts, commitments)


# ---------------------------------------------------------------- commitments


def theta_points(build: UtilityBuild, theta: Theta) -> tuple[Point, ...]:
    """Commitment of a model, a point for each chunk."""
    columns = columns_of(build.plan, "theta", theta.values, theta.salts)
    return tuple(backend.commit(build.files, build.logrows, columns))


def commit_validation(build: UtilityBuild, inputs: np.ndarray, labels: np.ndarray) -> Validation:
    """Quantise a batch, draw salts and commit.

    Args:
        inputs: (B, …) floats.
        labels: (B,) classes; for mse (B, outputs) floats.

    Raises:
        InputError: another number of samples or values than the build's.
        DomainError: a value beyond the build's bounds.
    """
    plan = build.plan
    values = quantise_batch(plan, inputs, labels)
    chunks, salts = len(plan.columns["validation"]), plan.chunks["validation"][1]
    drawn = random_scalars(chunks * salts).reshape(chunks, salts, 32)
    points = backend.commit(build.files, build.logrows, columns_of(plan, "validation", values, drawn))
    return Validation(values, drawn, tuple(points))


def quantise_batch(plan: CircuitPlan, inputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(B·inputs + labels,) int64."""
    batch, bounds = plan.batch, plan.bounds
    exact = np.asarray(inputs, np.float64)
    if len(exact) != batch or exact.size != batch * plan.inputs or not np.isfinite(exact).all():
        raise InputError(f"a batch is {batch} samples of {plan.inputs} finite values: got shape {list(exact.shape)}")
    scaled = np.rint(np.ldexp(exact.reshape(-1), plan.input_bits))
    if np.abs(scaled).max() > bounds.input:
        most = math.ldexp(bounds.input, -plan.input_bits)
        raise DomainError(f"inputs reach {np.abs(exact).max():.6g}: this build takes up to {most:.6g}")
    labels = np.asarray(labels)
    if plan.loss == "cross-entropy":
        good = labels.shape == (batch,) and labels.dtype.kind in "iu"
        if not good or labels.min() < 0 or labels.max() >= plan.outputs:
            raise InputError(f"labels are {batch} classes from 0 to {plan.outputs - 1}: got shape {list(labels.shape)}")
        return np.concatenate([scaled, labels]).astype(np.int64)
    targets = labels.astype(np.float64).reshape(-1)
    if targets.size != batch * plan.outputs or not np.isfinite(targets).all():
        raise InputError(f"targets are {batch} × {plan.outputs} finite numbers: got shape {list(labels.shape)}")
    targets = np.rint(targets * target_scale(plan))
    if np.abs(targets).max() > bounds.target:
        raise DomainError(f"targets reach {np.abs(labels).max():.6g}, beyond this build's bound")
    return np.concatenate([scaled, targets]).astype(np.int64)


def check_opened(build: UtilityBuild, validation: Validation, points: Sequence[Point]) -> None:
    """Refuse a batch that cannot be proven with: whoever takes an office asks this before it puts money in.

    Args: points: the commitment that is known of it.

    Raises:
        InputError, DomainError: not of this build, or a value beyond its bounds.
        OpeningMismatch: it does not open this commitment.
    """
    check_validation(build, validation)
    columns = columns_of(build.plan, "validation", validation.values, validation.salts)
    if not backend.commit(build.files, build.logrows, columns) == list(validation.points) == list(points):
        raise OpeningMismatch("the validation batch does not open the commitment that is known of it")


def check_validation(build: UtilityBuild, validation: Validation) -> None:
    """Refuse a batch that is not of this build, or has a value beyond its bounds."""
    plan = build.plan
    count = plan.counts["validation"]
    shape = (len(plan.columns["validation"]), plan.chunks["validation"][1], 32)
    if validation.values.shape != (count,) or validation.salts.shape != shape or len(validation.points) != shape[0]:
        raise InputError(f"the validation batch is not of this build: wanted {count} values, salts {list(shape)}")
    inputs = validation.values[: plan.batch * plan.inputs]
    rest = validation.values[plan.batch * plan.inputs :]
    most = plan.outputs - 1 if plan.loss == "cross-entropy" else plan.bounds.target
    least = 0 if plan.loss == "cross-entropy" else -most
    if np.abs(inputs).max() > plan.bounds.input or rest.min() < least or rest.max() > most:
        raise DomainError("a value of the validation batch is beyond the build's bounds")
