"""Utility of a coalition: the user's own model, evaluated in a circuit on a committed validation batch.

    parameters = θ + Agg_S / |S|        Agg_S = Σ_{i in S} u_i, committed homomorphically

The proof says how many predictions are correct and what the loss is, in integer units of `UtilityBuild.loss_unit`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .backend import Progress, Proof, quiet
from .field import Point


@dataclass(frozen=True)
class Utility:
    """What a proof says of a coalition: correct predictions of the batch, and the batch's summed loss in units."""

    correct: int
    loss: int


@dataclass(frozen=True)
class Coalition:
    """Members' updates added up. Secret, like the aggregate that it is.

    Attributes:
        values: (D,) int64, the sum of the members' updates.
        salts: (m, S, 32) uint8, the sum of their salts mod p.
        size: how many members; 0 is the empty coalition, whose values and salts are 0.
    """

    values: np.ndarray
    salts: np.ndarray
    size: int


@dataclass(frozen=True)
class Validation:
    """The owner's batch, as it was committed before the round. Points are public, the rest is the owner's and provers'.

    Attributes:
        values: integers of all chunks, the labels at their end.
        salts: (chunks, salts, 32) uint8.
        points: commitments, one a chunk.
    """

    values: np.ndarray
    salts: np.ndarray
    points: tuple[Point, ...]

    def save(self, path: Path) -> None: ...

    @classmethod
    def load(cls, path: Path) -> Validation: ...


@dataclass(frozen=True)
class UtilityProof:
    """One Halo2 proof; its first points are the commitments of θ, Agg_S, validation, witness, and the last input."""

    proof: Proof

    def to_json(self) -> dict: ...

    @classmethod
    def from_json(cls, value: dict) -> UtilityProof: ...


@dataclass(frozen=True)
class UtilityBuild:
    """A compiled model: what `zkmarket compile` writes. Loading checks every hash."""

    folder: Path

    @classmethod
    def load(cls, folder: Path, prover: bool = False) -> UtilityBuild: ...

    @property
    def digest(self) -> bytes: ...

    @property
    def params(self) -> int: ...

    @property
    def chunks(self) -> int: ...

    @property
    def chunk(self) -> int: ...

    @property
    def salts(self) -> int:
        """Salts of each chunk of an update."""

    @property
    def trainers(self) -> int:
        """The largest coalition."""

    @property
    def scale_bits(self) -> int: ...

    @property
    def loss_unit(self) -> float:
        """What one unit of loss is, as a float (nats for cross-entropy)."""

    def quantise_theta(self, theta: np.ndarray) -> np.ndarray:
        """(D,) floats to (D,) int64 at the updates' scale. DomainError if one is beyond the build's bound."""


def theta_points(build: UtilityBuild, theta_q: np.ndarray) -> tuple[Point, ...]:
    """Commitments of the quantised parameters, without salts: anybody recomputes them."""


def commit_validation(build: UtilityBuild, inputs: np.ndarray, labels: np.ndarray) -> Validation:
    """Quantise a batch, draw salts and commit. Inputs: (B, ...) floats; labels: (B,) classes, or (B, outputs) for mse."""


def utility(build: UtilityBuild, theta: np.ndarray, coalition: Coalition, validation: Validation) -> Utility:
    """The definition, in integers; bit by bit what the circuit proves. Fast, no proof."""


def prove_utility(
    build: UtilityBuild,
    theta: np.ndarray,
    coalition: Coalition,
    validation: Validation,
    context: bytes,
    progress: Progress = quiet,
) -> UtilityProof:
    """Prove one coalition's utility. θ is a float32 (D,) vector; `context` is 32 bytes that the proof is bound to.

    Each call spends one salt of every member's chunks and of every validation chunk.
    """


def verify_utility(
    build: UtilityBuild,
    proof: UtilityProof,
    theta: np.ndarray,
    coalition_points: Sequence[Point],
    size: int,
    validation_points: Sequence[Point],
    context: bytes,
) -> Utility:
    """Check a proof against commitments; ProofRejected otherwise."""
