"""Forgeries of the base proof, sent to a project: real commitments, real base proofs, each refused for what it broke.

The forgers are those of tests/attacks, where a verifier that leaves one thing out takes each of them. A colluding
aggregator has given false receipts, so that only `proveBase` is between them and the reward. What the engine's own
verifier says of them is tested there; here it is the contract that is asked.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from eth_hash.auto import keccak

from tests.attacks.forger import commit_column
from tests.attacks.plain import Clamped, Entries, Prover
from tests.attacks.test_projection_forgeries import (
    BlockWithSalts,
    MovedAnswers,
    MovedBlock,
    MovedColumns,
    MovedMaskClaim,
    SolvedFold,
    SolvedRound,
)
from tests.contracts.real import CHUNK, CID, Real, RealProject, encode_call, made, params_of, real
from tests.support.ideal import Sent, Update
from zkmarket import backend
from zkmarket.backend import Proof, ProofJob
from zkmarket.build import Build
from zkmarket.chain import Chain
from zkmarket.crypto import GENERATOR, P, Point, Transcript, encode_point, from_ints, multiply_add, to_hex
from zkmarket.market import point_words
from zkmarket.round import Commitment, Points, start_transcript

pytestmark = [pytest.mark.chain, pytest.mark.proof]
__all__ = ["real"]  # the fixture

N, M = 3, 2
USED = params_of(M) - CHUNK
"""Values of the last chunk; the padding stands behind them."""

GRAM_POINT = multiply_add([GENERATOR], [77])
"""Stands for C_G: the settlement proof, which ties it to q, is the second transaction's."""


class Engine:
    """Real commitments and real proofs, where tests/support/ideal.py has ideal ones."""

    def __init__(self, build: Build):
        self.build, self.manifest = build, build.manifest
        self.shape, self.salts = build.manifest.projection, build.manifest.salts
        self.cells = self.shape.rows * self.shape.width

    def point(self, column: list[int]) -> Point:
        return commit_column(self.build, "base", column)

    def points(self, columns: list[list[int]]) -> list[bytes]:
        return [encode_point(self.point(column)) for column in columns]

    def prove_columns(self, columns: list[list[int]]) -> Proof:
        inputs = [to_hex(from_ints(column)) for column in columns]
        return backend.prove([ProofJob("base proof", self.build.files["base"], inputs)])[0]


@dataclass
class Round:
    """A project in SUBMIT: for every forgery the same, rolled back behind it."""

    project: RealProject

    @functools.cached_property
    def engine(self) -> Any:
        return Engine(self.project.build)

    def updates(self) -> list[Update]:
        rng = np.random.default_rng(5)
        return [Update.of(self.engine, rng.integers(-60, 60, self.engine.shape.params)) for _ in range(N)]

    def answer(self, forger: type[Prover], entries: Entries) -> str:
        """What the project says to a base proof of these updates with these entries, all of them admitted."""
        project = self.project
        trainers = [int(str(who), 16) for who in project.members]
        round_id, beta = project.round_id, project.project.state().beta

        class OnChain(forger):  # type: ignore[misc, valid-type]
            def started(self) -> tuple[Transcript, list[int]]:
                points: Points = self.points
                manifest = self.ideal.manifest
                transcript = start_transcript(manifest, round_id, beta, trainers, points, GRAM_POINT)
                return transcript, transcript.slot_challenges(manifest.slots)

        prover = OnChain(self.engine, self.updates(), entries)
        with project.chain.rolled_back():
            for who, trainer, points in zip(project.members, trainers, prover.points.slots, strict=True):
                project.project.submit(who, Commitment(round_id, trainer, points), CID)
            project.pass_deadline()
            project.admit(project.members)
            project.project.lock(project.real.stranger)
            return project.answer(encode_call(project.project, "proveBase", words(prover.sent())))


def words(sent: Sent) -> tuple[Any, ...]:
    """`BaseProof` of Types.sol."""
    proof = sent.proof
    return (
        point_words([*sent.points.flat(), GRAM_POINT]),
        [keccak(CID)] * N,
        sent.q,
        proof.t0,
        proof.z,
        [word for claim in proof.claims for word in claim],
        [word for message in proof.rounds for word in message],
        proof.salt_square,
        proof.proof.data,
    )


@pytest.fixture(scope="module")
def submitting(node: Chain, real: Real) -> Iterator[Round]:
    project = real.open(made(N, N, params_of(M)))
    project.start()
    yield Round(project)


def test_the_definition_is_accepted(submitting: Round) -> None:
    """The honest twin of all that follows, by the same means."""
    assert submitting.answer(Prover, {}) == ""


REJECTED = "ProofRejected(base)"

LARGE: dict[str, Entries] = {
    "2^113, the first value": {(1, 0, 0): 1 << 113},
    "−2^113, beside the salts": {(2, 0, CHUNK - 1): -(1 << 113)},
    "1/3, in the last chunk": {(3, 1, USED - 1): pow(3, -1, P)},
    "(p − 1)/2, one block of many": {(2, 1, 400): (P - 1) // 2},
}


@pytest.mark.exhaustive("other entries", but=2)
@pytest.mark.parametrize("entries", LARGE.values(), ids=LARGE)
def test_attack_a_large_entry(submitting: Round, entries: Entries) -> None:
    """Rows that are too large cannot be sent; with others in their place <U, V> is not the last claim."""
    assert submitting.answer(Clamped, entries) == REJECTED


PADDING: dict[str, Entries] = {
    "one cell": {(1, 1, USED): 7},
    "the last cell": {(3, 1, CHUNK - 1): -1},
    "cancelling between slots": {(1, 1, USED + 2): 7, (2, 1, USED + 2): -7},
    "cancelling between cells": {(1, 1, USED + 2): 7, (1, 1, USED + 3): -7},
}


@pytest.mark.exhaustive("other cells", but=2)
@pytest.mark.parametrize("entries", PADDING.values(), ids=PADDING)
def test_attack_energy_in_the_padding(submitting: Round, entries: Entries) -> None:
    """It would carry score that never touches the model."""
    assert submitting.answer(Prover, entries) == REJECTED


TOO_LARGE: Entries = {(2, 0, 40): pow(3, -1, P)}

FORGERIES: dict[type[Prover], str] = {
    MovedMaskClaim: REJECTED,
    MovedAnswers: REJECTED,
    SolvedRound: REJECTED,
    MovedBlock: REJECTED,
    BlockWithSalts: REJECTED,
    MovedColumns: "WrongProofPoint(base, ",
}


@pytest.mark.exhaustive("tests/attacks/test_projection_forgeries.py has all", but=3)
@pytest.mark.parametrize("forger", FORGERIES, ids=lambda forger: forger.__name__)
def test_attack_what_a_missing_absorption_would_allow(submitting: Round, forger: type[Prover]) -> None:
    assert submitting.answer(forger, TOO_LARGE).startswith(FORGERIES[forger])


def test_attack_a_false_matrix(submitting: Round) -> None:
    """q of another Gram matrix, with the fold's claim X solved for the last claim, if ρ did not depend on it."""
    assert submitting.answer(SolvedFold, {}) == REJECTED
