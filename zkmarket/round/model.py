"""The model itself as integers, its commitment, and how both move when a round is closed.

Θ holds the model's parameters times 2^(s + ρ), s being the updates' scale bits. With w = 2^ρ · rate / n, rounded half
up, and n accepted updates,

    Θ ← Θ + w·Agg,   salts ← salts + w·(salts of Agg),   C_Θ ← C_Θ + w·(C_Agg − B)

so that the commitment follows from what is proven, and nobody names it. The first model's salts are 0. The contract
does the same (contracts/lib/Model.sol), bit for bit.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..build import Build, Manifest
from ..crypto import Point, from_ints, to_ints
from ..errors import DomainError, InputError
from ..files import load_npz, save_npz
from ..rules import MOST_THETA_BITS
from ..updates import MODEL_LIMIT, model_floats
from .commitment import check_salts, combine, commit_vector
from .proof import Aggregate


@dataclass(frozen=True)
class Theta:
    """A model as integers, with what opens its commitment.

    Attributes:
        values: (D,) int64, each below 2^62 in absolute value.
        salts: (m, S, 32) uint8.
        bits: ρ.
    """

    values: np.ndarray = field(repr=False)
    salts: np.ndarray = field(repr=False)
    bits: int

    @classmethod
    def first(cls, manifest: Manifest, values: np.ndarray, bits: int) -> Theta:
        """The model before the first round, whose salts are 0: everybody knows it."""
        theta = cls(values, np.zeros((manifest.chunks, manifest.salts, 32), np.uint8), bits)
        theta.check(manifest)
        return theta

    def check(self, manifest: Manifest) -> None:
        """Raise InputError unless it is a model of this build."""
        values = self.values
        if values.dtype != np.int64 or values.shape != (manifest.params,):
            raise InputError(
                f"a model in integers has {manifest.params} of int64: got {values.dtype}{list(values.shape)}"
            )
        check_theta_bits(self.bits)
        largest = self.largest
        if largest >= MODEL_LIMIT:
            raise DomainError(f"a model's integers are below 2^62: got {largest}; take fewer theta_bits or scale_bits")
        check_salts(self.salts, manifest)

    @property
    def largest(self) -> int:
        """max |Θ|."""
        return max(int(self.values.max()), -int(self.values.min()))

    def floats(self, manifest: Manifest) -> np.ndarray:
        """(D,) float64: what local training starts from, and what an owner's file shows of it."""
        return model_floats(self.values, manifest.fixed_point.scale_bits + self.bits)

    def points(self, build: Build) -> tuple[Point, ...]:
        """C_Θ, one point a chunk."""
        return commit_vector(build, self.values, self.salts)

    def save(self, path: Path) -> None:
        """Write with mode 0600: whoever holds it knows the model, and can show that it is the chain's."""
        arrays = {"values": self.values, "salts": self.salts, "bits": np.array([self.bits], np.uint8)}
        save_npz(path, arrays, mode=0o600)

    @classmethod
    def load(cls, path: Path, manifest: Manifest) -> Theta:
        """Read a model in integers; InputError if it is none of this build."""
        limits = manifest.array_limits | {"bits": 1}
        arrays = load_npz(path, "model in integers", limits)
        bits = arrays["bits"]
        if bits.dtype != np.uint8 or bits.shape != (1,):
            raise InputError(f"{path}: bits is one uint8: got {bits.dtype}{list(bits.shape)}")
        theta = cls(arrays["values"], arrays["salts"], int(bits[0]))
        theta.check(manifest)
        return theta


def is_theta_file(path: Path) -> bool:
    """Whether a file holds a model in integers, by the names of its arrays."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return {name.removesuffix(".npy") for name in archive.namelist()} == {"values", "salts", "bits"}


def check_theta_bits(bits: int) -> None:
    if not 0 <= bits <= MOST_THETA_BITS:
        raise InputError(f"a model has from 0 to {MOST_THETA_BITS} theta_bits: got {bits}")


def moved(theta: Theta, aggregate: Aggregate, w: int) -> Theta:
    """Θ + w·Agg and what opens its commitment; DomainError if it outgrows 62 bits."""
    step = max(int(aggregate.values.max()), -int(aggregate.values.min()))
    check_room(theta.largest, w * step)
    salts = [
        old + w * new for old, new in zip(to_ints(theta.salts), to_ints(aggregate.salts), strict=True)
    ]  # reduced mod p below
    values = theta.values + w * aggregate.values if step else theta.values  # w alone may be beyond int64
    return Theta(values, from_ints(salts).reshape(theta.salts.shape), theta.bits)


def moved_points(theta: Sequence[Point], aggregate: Sequence[Point], w: int, blinding: Point) -> tuple[Point, ...]:
    """C_Θ + w·(C_Agg − B) of every chunk: no opening, anyone can compute it."""
    return tuple(combine([own, summed], [1, w], blinding) for own, summed in zip(theta, aggregate, strict=True))


def check_room(largest: int, step: int) -> None:
    """Raise DomainError unless a model whose largest entry is this can move by so much."""
    if largest + step >= MODEL_LIMIT:
        raise DomainError(
            f"the model would outgrow its integers, which are below 2^62: its largest is {largest}, and this can add"
            f" {step}; end the project, and create one with fewer theta_bits or scale_bits, or a lower rate"
        )
