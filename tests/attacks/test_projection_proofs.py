"""Forgeries of the projection argument with ezkl's own proofs: each base proof is valid, and the round is not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import pytest

from tests.attacks.plain import Clamped, Entries, Prover
from tests.attacks.test_projection_forgeries import (
    FALSE_BLOCK,
    FALSE_CLAIM,
    FALSE_COLUMNS,
    MovedBlock,
    MovedColumns,
    MovedMaskClaim,
    SolvedRound,
    WithoutMaskClaim,
    WithoutRounds,
    WithoutV,
    WithoutWAndU,
)
from tests.conftest import build_for
from tests.support.ideal import Ideal, Sent, small_updates, verify
from zkmarket import backend
from zkmarket.backend import Proof, ProofJob
from zkmarket.build import ENTRY_BITS, Build
from zkmarket.crypto import P, Point, Transcript, from_ints, to_hex
from zkmarket.errors import ProofRejected
from zkmarket.rules import MultiKrum

pytestmark = pytest.mark.proof

THIRD: Entries = {(2, 0, 40): pow(3, -1, P)}


class Real(Ideal):
    """A real build in the place of the ideal one: commitments and base proofs are ezkl's."""

    def __init__(self, build: Build):
        self.build, self.manifest = build, build.manifest
        self.shape, self.salts = build.manifest.projection, build.manifest.salts
        self.cells = self.shape.rows * self.shape.width

    @property
    def files(self) -> Mapping[str, backend.CircuitFiles]:  # type: ignore[override]
        return self.build.files

    def point(self, column: Sequence[int]) -> Point:
        return backend.commit(self.files["base"], self.manifest.logrows, [to_hex(from_ints(column))])[0]

    def prove_columns(self, columns: Sequence[Sequence[int]]) -> Proof:
        inputs = [to_hex(from_ints(column)) for column in columns]
        return backend.prove([ProofJob("base proof", self.files["base"], inputs)])[0]

    @contextmanager
    def in_place(self) -> Iterator[None]:
        yield


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Real:
    """N = 3, D = 1000 at K = 10: two chunks, the second one padded; one fold and four rounds."""
    folder = tmp_path_factory.mktemp("two") / "build"
    return Real(build_for(folder, trainers=3, params=1000, filter=MultiKrum(0, 3), score="leave-one-out"))


def sent_by(kind: type[Prover], real: Real, entries: Entries, transcript: type[Transcript] = Transcript) -> Sent:
    prover = kind(real, small_updates(real), entries)
    prover.kind = transcript
    return prover.sent()


def is_valid(real: Real, sent: Sent) -> None:
    """Raise ProofRejected unless the base proof by itself is one."""
    backend.verify(real.files["base"], sent.proof.proof, "base proof")


def test_the_definition_is_accepted(real: Real) -> None:
    """The prover from the definitions, with a real base proof, before the engine's verifier."""
    assert (real.shape.chunks, real.shape.rounds, real.shape.sums) == (2, 4, 520)
    verify(real, sent_by(Prover, real, {}))
    verify(real, sent_by(Prover, real, {(3, 1, 103): -(1 << 108)}))  # the last parameter, within what is shown


LIES: dict[str, tuple[type[Prover], Entries]] = {
    "1/3": (Clamped, THIRD),
    "2^113 beside the salts": (Clamped, {(1, 0, 895): 1 << ENTRY_BITS}),
    "-2^113 as the last parameter": (Clamped, {(3, 1, 103): -(1 << ENTRY_BITS)}),
    "energy in the padding": (Prover, {(1, 1, 104): 7}),
    "energy that cancels between slots": (Prover, {(1, 1, 895): 7, (2, 1, 895): -7}),
}


@pytest.mark.exhaustive("test_large_entries.py has all without proofs", but=2)
@pytest.mark.parametrize("kind, entries", LIES.values(), ids=LIES)
def test_a_lie_with_a_valid_base_proof(real: Real, kind: type[Prover], entries: Entries) -> None:
    sent = sent_by(kind, real, entries)
    is_valid(real, sent)
    with pytest.raises(ProofRejected, match=FALSE_CLAIM):
        verify(real, sent)


@pytest.mark.exhaustive("test_projection_forgeries.py has all without proofs", but=2)
@pytest.mark.parametrize(
    "forger, weak, reason",
    [
        (MovedMaskClaim, WithoutMaskClaim, FALSE_CLAIM),
        (SolvedRound, WithoutRounds, FALSE_CLAIM),
        (MovedBlock, WithoutV, f"{FALSE_BLOCK}|{FALSE_CLAIM}"),
        (MovedColumns, WithoutWAndU, FALSE_COLUMNS),
    ],
    ids=lambda part: getattr(part, "__name__", ""),
)
def test_a_missing_absorption(real: Real, forger: type[Prover], weak: type[Transcript], reason: str) -> None:
    """Works in earnest where it is missing: an entry of 1/3, a base proof that ezkl accepts."""
    verify(real, sent_by(forger, real, THIRD, weak), weak)
    sent = sent_by(forger, real, THIRD)
    is_valid(real, sent)
    with pytest.raises(ProofRejected, match=reason):
        verify(real, sent)
