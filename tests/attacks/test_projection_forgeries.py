"""What each missing absorption, or each check left out, would allow: a forgery that a weak verifier takes and ours not.

One entry of one update is 1/3. An honest prover cannot even send its rows; a forger sends others in their place, and
then some equation is false, which it tries to repair where the repair is not bound yet.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from eth_hash.auto import keccak

from tests.attacks.equations import isotropic, short_solution, uniform_in_kernel
from tests.attacks.plain import Clamped, Column, Prover
from tests.support.ideal import Ideal, Sent, small_updates, verify
from zkmarket.build import Shape
from zkmarket.crypto import P, Transcript, dot, hash_words, scalar
from zkmarket.errors import DomainError, ProofRejected
from zkmarket.round import Weights, gram, projection

pytestmark = pytest.mark.unit

SHAPE = Shape(slots=3, chunks=2, params=160 + 97, rows=11, width=16, sums=120)
THIRD = pow(3, -1, P)
TOO_LARGE = {(2, 0, 40): THIRD}

FALSE_CLAIM = "<U, V> is not the sumcheck's last claim"
FALSE_BLOCK = "V is not the block that the rows' bits and challenges give"
FALSE_COLUMNS = "its columns are not the combinations of the commitments"


@pytest.fixture(scope="module")
def ideal() -> Ideal:
    return Ideal(SHAPE)


def sent_by(kind: type[Prover], ideal: Ideal, transcript: type[Transcript] = Transcript, **changes: Any) -> Sent:
    prover = kind(ideal, small_updates(ideal), **{"entries": TOO_LARGE} | changes)
    prover.kind = transcript
    return prover.sent()


def test_the_definition_is_accepted(ideal: Ideal) -> None:
    """The honest twin of all that follows, by the same means."""
    verify(ideal, sent_by(Prover, ideal, entries={}))


def test_an_honest_answer_cannot_be_sent(ideal: Ideal) -> None:
    with pytest.raises(DomainError, match=r"row \d+ of the projection is below 2\^110 in absolute value: got"):
        sent_by(Prover, ideal)


# ---------------------------------------------------------------- the forgers


class MovedMaskClaim(Clamped):
    """Lets t_0 take the difference, if η is known before t_0 is sent."""

    def first_mask_claim(self, t0: int, true: list[int], sent: list[int], transcript: Transcript) -> int:
        eta = guess(transcript, lambda t: t.absorb_projection(self.sent_q, t0, projection.pack(sent))).challenge("eta")
        return (t0 + sum(pow(eta, j, P) * (a - b) for j, (a, b) in enumerate(zip(true, sent, strict=True), 1))) % P


class MovedAnswers(Clamped):
    """Spreads the difference over three answers, if η is known before z: that has short solutions mod p."""

    def answers(self, true: list[int], transcript: Transcript) -> list[int]:
        sent = super().answers(true, transcript)
        t0 = sum(mask[self.shape.sums + t] for t, mask in enumerate(self.masks)) % P
        eta = guess(transcript, lambda t: t.absorb_projection(self.sent_q, t0, projection.pack(sent))).challenge("eta")
        missing = sum(pow(eta, j, P) * (a - b) for j, (a, b) in enumerate(zip(true, sent, strict=True), 1)) % P
        first = [m + s for m, s in zip(short_solution(eta, missing), sent, strict=False)]
        return [*first, *sent[3:]]


class SolvedRound(Clamped):
    """Solves x of a round for the true value at σ, if σ does not depend on x."""

    def message(self, g0: int, x: int, g1: int, claim: int, step: int, transcript: Transcript) -> tuple[int, int]:
        sigma = guess(transcript, lambda t: t.absorb(g0, x)).challenge("sigma", step)
        other = 1 - sigma
        true = g0 * other * other + g1 * sigma * sigma + x * sigma * other
        return g0, (true - g0 * other * other - (claim - g0) * sigma * sigma) * pow(sigma * other, -1, P) % P


class MovedBlock(Clamped):
    """V + f with f(y) = 0 and <U, f> the difference, if y is known before V."""

    def columns(self, w: Column, u: Column, v: Column, claim: int, transcript: Transcript) -> list[Column]:
        points = self.ideal.points([w, u, v])
        y = guess(transcript, lambda t: t.absorb_points(points)).challenge("y")
        inverse = pow(y, -1, P)
        amount = (claim - dot(u, v)) * pow(u[0] - u[1] * inverse, -1, P)
        return [w, u, [(v[0] + amount) % P, (v[1] - amount * inverse) % P, *v[2:]]]


class BlockWithSalts(Clamped):
    """V with the difference in its last row, where V_b have nothing."""

    def columns(self, w: Column, u: Column, v: Column, claim: int, transcript: Transcript) -> list[Column]:
        at = self.shape.values
        amount = (claim - dot(u, v)) * pow(u[at], -1, P)
        return [w, u, [*v[:at], (v[at] + amount) % P, *v[at + 1 :]]]


class MovedColumns(Clamped):
    """U + e and W − τe, right only together, if τ is known before P_W.

    <e, V> is the difference, and W − τe is as long as W.
    """

    def columns(self, w: Column, u: Column, v: Column, claim: int, transcript: Transcript) -> list[Column]:
        size = self.shape.values
        e = [*isotropic(v[:size], w[:size], (claim - dot(u, v)) % P), *[0] * (len(u) - size)]
        moved = [(a + b) % P for a, b in zip(u, e, strict=True)]
        points = self.ideal.points([w, moved, v])
        tau = guess(transcript, lambda t: t.absorb_points(points)).challenge("tau")
        return [[(a - tau * b) % P for a, b in zip(w, e, strict=True)], moved, v]


class SolvedFold(Prover):
    """q + 1, a false Gram matrix, with X of the only fold solved for <W, W>, if ρ does not depend on X."""

    def q(self, q: int) -> int:
        return (q + 1) % P

    def fold(self, columns: list[Column], q: int, transcript: Transcript) -> tuple[gram.Claims, Column]:
        size = self.shape.values
        low, high = columns
        a, x = dot(low[:size], low[:size]), dot(low[:size], high[:size])
        rho = guess(transcript, lambda t: t.absorb(a, x)).short_challenge("rho", 0)
        x = (x - rho * pow(2, -1, P)) % P  # ρ²·1 too much in the claim, 2ρX for it
        transcript.absorb(a, x)
        rho = transcript.short_challenge("rho", 0)
        return ((a, x),), [(one + rho * two) % P for one, two in zip(low, high, strict=True)]


def guess(transcript: Transcript, absorb: Callable[[Transcript], None]) -> Transcript:
    """The transcript as it will be, if it does not depend on what was not chosen yet."""
    out = copy.copy(transcript)
    absorb(out)
    return out


# ---------------------------------------------------------------- the weak verifiers


class WithoutAnswersAndClaim(Transcript):
    """η comes before z and t_0."""

    def absorb_projection(self, q: int, t0: int, z: bytes) -> None:
        self.seed = keccak(self.seed + scalar(q))


class WithoutMaskClaim(Transcript):
    """η comes before t_0."""

    def absorb_projection(self, q: int, t0: int, z: bytes) -> None:
        self.seed = keccak(self.seed + scalar(q) + keccak(z))


class WithoutAnswers(Transcript):
    """η comes before z."""

    def absorb_projection(self, q: int, t0: int, z: bytes) -> None:
        self.seed = keccak(self.seed + scalar(q) + scalar(t0))


@dataclass
class Counting(Transcript):
    """Knows which pair is absorbed: SHAPE has one fold, then four rounds."""

    pairs: int = 0

    def absorb(self, *scalars: int) -> None:
        self.pairs += 1
        super().absorb(*self.kept(*scalars))

    def kept(self, *scalars: int) -> Sequence[int]:
        return scalars


class WithoutRounds(Counting):
    """σ comes before g_0 and x."""

    def kept(self, *scalars: int) -> Sequence[int]:
        return scalars if self.pairs == 1 else ()


class WithoutOneX(Counting):
    """σ comes before x in the last round alone."""

    def kept(self, *scalars: int) -> Sequence[int]:
        return scalars if self.pairs < 5 else scalars[:1]


class WithoutFolds(Counting):
    """ρ comes before A and X."""

    def kept(self, *scalars: int) -> Sequence[int]:
        return scalars if self.pairs > 1 else ()


class WithoutV(Transcript):
    """y comes before P_V."""

    def absorb_points(self, points: Any) -> None:
        super().absorb_points(list(points)[:2])


class WithoutW(Transcript):
    """τ comes before P_W."""

    def absorb_points(self, points: Any) -> None:
        super().absorb_points(list(points)[1:])


class WithoutWAndU(Transcript):
    """τ comes before P_W and P_U."""

    def absorb_points(self, points: Any) -> None:
        super().absorb_points(list(points)[2:])


FORGERIES: list[tuple[type[Prover], type[Transcript], str]] = [
    (MovedMaskClaim, WithoutAnswersAndClaim, FALSE_CLAIM),
    (MovedMaskClaim, WithoutMaskClaim, FALSE_CLAIM),
    (MovedAnswers, WithoutAnswers, FALSE_CLAIM),
    (SolvedRound, WithoutRounds, FALSE_CLAIM),
    (SolvedRound, WithoutOneX, FALSE_CLAIM),
    (MovedBlock, WithoutV, f"{FALSE_BLOCK}|{FALSE_CLAIM}"),
    (MovedColumns, WithoutW, FALSE_COLUMNS),
    (MovedColumns, WithoutWAndU, FALSE_COLUMNS),
    (SolvedFold, WithoutFolds, "<W, W> is not the folded claim T"),
]


@pytest.mark.parametrize("forger, weak, reason", FORGERIES, ids=lambda part: getattr(part, "__name__", ""))
def test_a_missing_absorption(ideal: Ideal, forger: type[Prover], weak: type[Transcript], reason: str) -> None:
    """The forgery works where its absorption is missing, and is refused where it is not, for the equation it broke."""
    entries = {} if forger is SolvedFold else TOO_LARGE
    verify(ideal, sent_by(forger, ideal, weak, entries=entries), weak)
    with pytest.raises(ProofRejected, match=reason):
        verify(ideal, sent_by(forger, ideal, entries=entries))


@pytest.mark.parametrize("weak", dict.fromkeys(weak for _, weak, _ in FORGERIES), ids=lambda weak: weak.__name__)
def test_a_weak_verifier_is_not_simply_blind(ideal: Ideal, weak: type[Transcript]) -> None:
    """It takes the honest proof, and refuses clamped answers without more."""
    verify(ideal, sent_by(Prover, ideal, weak, entries={}), weak)
    with pytest.raises(ProofRejected, match=FALSE_CLAIM):
        verify(ideal, sent_by(Clamped, ideal, weak), weak)


def test_clamped_answers(ideal: Ideal) -> None:
    with pytest.raises(ProofRejected, match=FALSE_CLAIM):
        verify(ideal, sent_by(Clamped, ideal))


class ShortSight(Ideal):
    """An ideal proof of a mutant of the base circuit: V is not evaluated in its last row."""

    def outputs(self, columns: Sequence[Sequence[int]]) -> tuple[int, ...]:
        w, u, v, point = columns
        values = [*v[: self.shape.values], *[0] * (len(v) - self.shape.values)]
        return (*super().outputs(columns)[:-1], super().outputs([w, u, values, point])[-1])


def test_the_salts_row_of_v_is_evaluated(ideal: Ideal) -> None:
    weak = ShortSight(SHAPE)
    verify(weak, sent_by(BlockWithSalts, weak))
    with pytest.raises(ProofRejected, match=FALSE_BLOCK):
        verify(ideal, sent_by(BlockWithSalts, ideal))


# ---------------------------------------------------------------- rows before commitments


class EarlyRows(Transcript):
    """A deliberately weak transcript: the bits of rows do not depend on the commitments."""

    def row_hash(self, row: int, counter: int) -> bytes:
        return hash_words("fixed", row, counter)


class InTheKernel(Prover):
    """A block of uniform field elements with a zero sum in every row, if the rows are known before."""

    def __init__(self, ideal: Ideal, updates: Any, **changes: Any):
        shape = ideal.shape
        bits = Weights.of(shape, EarlyRows(bytes(32)))
        block = 1  # slot 1, chunk 1
        rows = [
            [int(s) * int(a) * int(b) for a in left for b in right]
            for s, left, right in zip(bits.blocks[:, block], bits.left.T, bits.right.T, strict=True)
        ]
        first = shape.tail[0]
        kernel = uniform_in_kernel([row[:first] for row in rows if any(row[:first])])
        super().__init__(ideal, updates, entries={(1, 1, cell): value for cell, value in enumerate(kernel)})


def test_rows_are_drawn_after_the_commitments(ideal: Ideal) -> None:
    """Known before, they are a few dozen equations: a block may hold anything that fulfils them."""
    verify(ideal, sent_by(InTheKernel, ideal, EarlyRows), EarlyRows)
    with pytest.raises(DomainError, match="of the projection is below"):
        sent_by(InTheKernel, ideal)
