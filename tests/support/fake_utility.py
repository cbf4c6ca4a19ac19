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
from zkmarket.round import Theta
from zkmarket.utility import BatchResult, UtilityProof, Validation, words_of
from zkmarket.utility.workers import Job


@dataclass(frozen=True)
class FakeModel:
    """Loss: distance of a model from the validation values, in units of the model's scale."""

    build: Build
    params: int
    chunk: int
    salts: int
    scale_bits: int
    theta_bits: int = 8
    proofs: int = 64
    digest: bytes = bytes(31) + b"\x01"
    loss_unit: float = 1 / 256

    @classmethod
    def of(cls, build: Build) -> FakeModel:
        m = build.manifest
        return cls(build, m.params, m.chunk, m.salts, m.fixed_point.scale_bits)


def utility(model: FakeModel, theta: Theta, validation: Validation) -> BatchResult:
    away = theta.values - (validation.values.astype(np.int64) << model.theta_bits)
    return BatchResult(int((away == 0).sum()), int(np.abs(away).sum()))


def prove_job(model: FakeModel, theta: Theta, validation: Validation, context: bytes) -> Job:
    """A job that a process of its own does."""
    points = theta.points(model.build)
    found = utility(model, theta, validation)
    return Job(
        "fake",
        "tests.support.fake_utility:make",
        {},
        (statement(model, points, validation.points, context), found.correct, found.loss),
    )


def make(folder: Path, words: bytes, correct: int, loss: int) -> Proof:
    return Proof(2 * keccak(words + digest_words([correct, loss])), (correct, loss))


def statement(model: FakeModel, points: Sequence[Point], validation: Sequence[Point], context: bytes) -> bytes:
    return digest_words([model.digest, context, *words_of(points), "validation", *words_of(validation)])


def verify_utility(
    model: FakeModel,
    proof: UtilityProof,
    points: Sequence[Point],
    validation_points: Sequence[Point],
    context: bytes,
) -> BatchResult:
    correct, loss = proof.proof.instances
    words = statement(model, points, validation_points, context)
    if make(Path(), words, correct, loss) != proof.proof:
        raise ProofRejected("utility proof does not verify")
    return BatchResult(correct, loss)
