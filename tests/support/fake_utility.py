"""A utility without a circuit, for tests of the round around it: its "proof" is a digest of the whole statement.

Anyone can make one, so it proves nothing; but it is of one statement only, and commits to sums as real proofs do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from eth_hash.auto import keccak

from zkmarket.backend import Proof
from zkmarket.build import Build
from zkmarket.crypto import Point, digest_words
from zkmarket.errors import ProofRejected
from zkmarket.networks import root
from zkmarket.round import commit_vector
from zkmarket.utility import BatchResult, Coalition, UtilityProof, Validation, words_of
from zkmarket.utility.workers import Job


@dataclass(frozen=True)
class FakeModel:
    """Loss: distance of θ + Agg_S/|S| from the validation values, in units of 1/60."""

    build: Build
    params: int
    chunk: int
    salts: int
    scale_bits: int
    trainers: int
    update_bound: int
    proofs: int = 64
    digest: bytes = bytes(31) + b"\x01"
    loss_unit: float = 1 / 60

    @classmethod
    def of(cls, build: Build) -> FakeModel:
        m = build.manifest
        return cls(build, m.params, m.chunk, m.salts, m.fixed_point.scale_bits, m.trainers, root(m.beta_max))

    def quantise_theta(self, theta: np.ndarray) -> np.ndarray:
        return np.rint(np.asarray(theta, np.float64) * 2**self.scale_bits).astype(np.int64)


def utility(model: FakeModel, theta: np.ndarray, coalition: Coalition, validation: Validation) -> BatchResult:
    away = 60 * (model.quantise_theta(theta) - validation.values)
    if coalition.size:
        away = away + 60 // coalition.size * coalition.values
    return BatchResult(int((away == 0).sum()), int(np.abs(away).sum()))


def prove_job(model: FakeModel, theta: np.ndarray, coalition: Coalition, validation: Validation, context: bytes) -> Job:
    """A job that a process of its own does."""
    points = commit_vector(model.build, coalition.values, coalition.salts)
    found = utility(model, theta, coalition, validation)
    return Job(
        "fake",
        "tests.support.fake_utility:make",
        {},
        (statement(model, theta, points, coalition.size, validation.points, context), found.correct, found.loss),
    )


def make(folder: Path, words: bytes, correct: int, loss: int) -> Proof:
    return Proof(2 * keccak(words + digest_words([correct, loss])), (correct, loss))


def statement(
    model: FakeModel, theta: np.ndarray, points: Sequence[Point], size: int, validation: Sequence[Point], context: bytes
) -> bytes:
    numbers = keccak(model.quantise_theta(theta).tobytes())
    return digest_words([model.digest, numbers, size, context, *words_of(points), "validation", *words_of(validation)])


def verify_utility(
    model: FakeModel,
    proof: UtilityProof,
    theta: np.ndarray,
    coalition_points: Sequence[Point],
    size: int,
    validation_points: Sequence[Point],
    context: bytes,
) -> BatchResult:
    correct, loss = proof.proof.instances
    words = statement(model, theta, coalition_points, size, validation_points, context)
    if make(Path(), words, correct, loss) != proof.proof:
        raise ProofRejected("utility proof does not verify")
    return BatchResult(correct, loss)
