"""Attacks on the folded Gram argument, each with a verifier weak enough for it beside ours."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import pytest

from tests.attacks.forger import Matrix, add_to, all_of, check, column_of, commit_column, forge_round, with_base
from tests.conftest import Round
from zkmarket.backend import Proof
from zkmarket.build import masked_chunks
from zkmarket.crypto import P, Transcript, dot, from_ints, to_hex
from zkmarket.errors import BackendError, ProofRejected, StatementFalse
from zkmarket.round import (
    Attempt,
    Decision,
    Mask,
    Products,
    RoundProof,
    combine,
    commit_columns,
    prove_round,
    verify_round,
)
from zkmarket.round import proof as proof_module

pytestmark = [pytest.mark.proof, pytest.mark.usefixtures("remembered")]

FALSE_CLAIM = "<W, W> is not the folded claim T"
Change = Callable[[Matrix], None]


# ---------------------------------------------------------------- a false matrix

CHANGES = {
    "G_22 + 1": add_to(2, 2, 1),
    "G_15 - 1": add_to(1, 5, -1),
    "mask G_03 + 1": add_to(0, 3, 1),
    "sum kept": all_of(add_to(1, 2, 1), add_to(3, 4, -1)),
}


@pytest.fixture(scope="module")
def another(honest_round: Round) -> RoundProof:
    """The same round proven again by the forger's means, with nothing false in it."""
    return forge_round(honest_round.build, honest_round.submissions, solve=None)


def with_matrix(monkeypatch: pytest.MonkeyPatch, change: Change) -> None:
    """Let the prover's own Gram matrix be false."""
    honest = Products.gram

    def matrix(self: Products) -> Matrix:
        out = honest(self)
        change(out)
        return out

    monkeypatch.setattr(Products, "gram", matrix)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_false_matrix_stops_the_prover(honest_round: Round, monkeypatch: pytest.MonkeyPatch, change: Change) -> None:
    """A wrong native computation never becomes a round proof."""
    with_matrix(monkeypatch, change)
    with pytest.raises(BackendError, match="the last claim is not the folded column's inner product"):
        prove_round(honest_round.build, honest_round.submissions)


@pytest.mark.exhaustive("other entries", but=1)
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_false_matrix_is_rejected(honest_round: Round, change: Change) -> None:
    """Past that check, with a settlement proof that verifies and honest claims."""
    forged = forge_round(honest_round.build, honest_round.submissions, change, solve=None)
    with pytest.raises(ProofRejected, match=FALSE_CLAIM):
        check(honest_round.build, forged.to_json())


def test_true_matrix_is_accepted(honest_round: Round, another: RoundProof) -> None:
    """The honest twin: another mask, other challenges, the same decision."""
    assert another.settlement.instances[1:7] != honest_round.proof.settlement.instances[1:7]
    assert check(honest_round.build, another.to_json()) == verify_round(honest_round.build, honest_round.proof)


def asymmetric(matrix: Matrix) -> None:
    """G_12 + 1, G_21 − 1: q stays, but a settlement circuit takes the upper triangle for both."""
    matrix[1][2] += 1
    matrix[2][1] -= 1


def one_sided(matrix: Matrix) -> None:
    matrix[1][2] += 1


def test_asymmetric_matrix(honest_round: Round, monkeypatch: pytest.MonkeyPatch) -> None:
    forged = forge_round(honest_round.build, honest_round.submissions, asymmetric, solve=None)
    with pytest.raises(ProofRejected, match=FALSE_CLAIM):
        check(honest_round.build, forged.to_json())
    with_matrix(monkeypatch, asymmetric)
    with pytest.raises(StatementFalse, match="the circuit and the integer oracle disagree"):
        prove_round(honest_round.build, honest_round.submissions)


def test_one_sided_matrix(honest_round: Round, monkeypatch: pytest.MonkeyPatch) -> None:
    """G_12 + 1 alone changes q, so the fold already misses it."""
    with_matrix(monkeypatch, one_sided)
    with pytest.raises(BackendError, match="the last claim is not"):
        prove_round(honest_round.build, honest_round.submissions)


# ---------------------------------------------------------------- what the argument sends


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize("which", [0, 1], ids=["A", "X"])
@pytest.mark.parametrize("amount", [1, -1])
def test_fold_claim_changed(honest_round: Round, step: int, which: int, amount: int) -> None:
    claims = [list(pair) for pair in honest_round.proof.base.claims]
    claims[step][which] = (claims[step][which] + amount) % P
    with pytest.raises(ProofRejected, match=FALSE_CLAIM):
        verify_round(honest_round.build, with_base(honest_round.proof, claims=tuple(map(tuple, claims))))


def test_base_proof_of_other_columns(honest_round: Round, another: RoundProof) -> None:
    """A valid base proof, but of columns that nobody committed to; also with the instances that are wanted."""
    honest, other = honest_round.proof.base.proof, another.base.proof
    for proof in (other, Proof(other.data, honest.instances)):
        with pytest.raises(ProofRejected, match=f"{FALSE_CLAIM}|V is evaluated at another point"):
            verify_round(honest_round.build, with_base(honest_round.proof, proof=proof))


def test_points_of_the_right_columns_in_another_proof(honest_round: Round, another: RoundProof) -> None:
    """The expected points put in front of the rest of another valid proof."""
    honest, other = honest_round.proof.base.proof, another.base.proof
    mixed = Proof(honest.data[:192] + other.data[192:], honest.instances)
    with pytest.raises(ProofRejected, match="base proof does not verify"):
        verify_round(honest_round.build, with_base(honest_round.proof, proof=mixed))


# ---------------------------------------------------------------- C_0 without a free mask


@pytest.mark.exhaustive("another mask for the same gap", but=1)
@pytest.mark.parametrize("weights", [(-1, -1, -1, -1, -1), (3, P // 2, 0, 7, 11)], ids=["minus all", "any"])
def test_mask_chosen_from_the_others(honest_round: Round, weights: tuple[int, ...]) -> None:
    """C_0 as a combination of the others' commitments: no secret, but no forgery either."""
    build, submissions = honest_round.build, honest_round.submissions
    manifest = build.manifest
    columns, points = {}, []
    for chunk in masked_chunks(manifest.chunks):
        parts = zip(*(column_of(s, chunk, manifest.chunk) for s in submissions), strict=True)
        columns[chunk] = from_ints(dot(weights, values) for values in parts)
        of_chunk = [s.commitment.points[chunk] for s in submissions]
        points.append(combine(of_chunk, weights, manifest.blinding))
    assert tuple(points) == commit_columns(build, map(to_hex, columns.values()))
    chosen = replace(Attempt.fresh(build), mask=Mask(columns), mask_points=tuple(points))
    verify_round(build, forge_round(build, submissions, attempt=chosen))
    with pytest.raises(ProofRejected, match=FALSE_CLAIM):
        verify_round(build, forge_round(build, submissions, add_to(1, 2, 1), attempt=chosen))


# ---------------------------------------------------------------- challenges that are powers of one r


class PowersOfOne(Transcript):
    """A deliberately weak transcript: r_i = r^i. 24 bits of r, so that r^5 still has the 128 that the prover takes."""

    def slot_challenges(self, count: int) -> list[int]:
        r = super().slot_challenges(2)[1] & (1 << 24) - 1
        return [r**i for i in range(count)]


def colliding(amount: int) -> Change:
    """G_14 + t, G_23 − t: both are multiplied by r^5. Slots 1 and 4 gain what 2 and 3 lose."""
    return all_of(add_to(1, 4, amount), add_to(2, 3, -amount))


def colliding_with_the_diagonal(amount: int) -> Change:
    """G_22 + 2t, G_13 − t: r^4 once and r^4 twice. A norm that is not the update's."""
    return all_of(add_to(2, 2, 2 * amount), add_to(1, 3, -amount))


@pytest.fixture(params=[colliding(10**6), colliding_with_the_diagonal(10**6)], ids=["pairs", "diagonal"])
def collision(request: pytest.FixtureRequest) -> Change:
    return request.param


@pytest.mark.exhaustive("another matrix for the same gap", but=1)
def test_powers_of_one_challenge(honest_round: Round, monkeypatch: pytest.MonkeyPatch, collision: Change) -> None:
    """The weak verifier accepts a false matrix and pays for it; ours refuses the same matrix."""
    build, submissions = honest_round.build, honest_round.submissions
    truth = verify_round(build, honest_round.proof)
    with monkeypatch.context() as weak:
        weak.setattr(proof_module, "Transcript", PowersOfOne)
        forged = forge_round(build, submissions, collision, solve=None)
        paid = verify_round(build, forged)
    assert paid.mask == truth.mask
    assert differences(paid, truth) in ([10**6, -(10**6), -(10**6), 10**6, 0], [-(10**6), 2 * 10**6, -(10**6), 0, 0])
    with pytest.raises(ProofRejected, match=FALSE_CLAIM):
        verify_round(build, forge_round(build, submissions, collision, solve=None))
    with pytest.raises(ProofRejected, match="answers other challenges"):
        verify_round(build, forged)


@pytest.mark.exhaustive("the prover of test_powers_of_one_challenge")
def test_powers_of_one_challenge_through_the_prover(honest_round: Round, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even the prover's own checks pass with weak challenges: it is the challenges that have to be right."""
    with_matrix(monkeypatch, colliding(10**6))
    with monkeypatch.context() as weak:
        weak.setattr(proof_module, "Transcript", PowersOfOne)
        proof, _ = prove_round(honest_round.build, honest_round.submissions)
        verify_round(honest_round.build, proof)
    with pytest.raises(BackendError, match="the last claim is not"):
        prove_round(honest_round.build, honest_round.submissions)


def differences(left: Decision, right: Decision) -> list[int]:
    return [a - b for a, b in zip(left.scores, right.scores, strict=True)]


# ---------------------------------------------------------------- a seed that is not chained


@dataclass
class Unchained(Transcript):
    """A deliberately weak transcript: the claims of fold `missing` are not absorbed; everything else is."""

    missing = 0
    folds: int = 0

    def absorb(self, *scalars: int) -> None:
        self.folds += 1
        if self.folds != self.missing + 1:
            super().absorb(*scalars)


class Labelled(Transcript):
    """One fixed seed with labels: nothing is absorbed after the commitments."""

    def absorb(self, *scalars: int) -> None:
        pass

    def absorb_projection(self, q: int, t0: int, z: bytes) -> None:
        pass

    def absorb_points(self, points: Iterable[bytes]) -> None:
        pass


def missing(step: int) -> type[Transcript]:
    return type(f"Missing{step}", (Unchained,), {"missing": step})


RICHER = add_to(1, 1, 5 * 10**6)
"""Slot 1 claims a longer update than it has: a higher score."""


@pytest.mark.exhaustive("other places", but=1)
@pytest.mark.parametrize(
    "weak_transcript, solve", [(missing(0), 0), (missing(1), 1), (Labelled, 0)], ids=["first", "last", "labels"]
)
def test_unchained_seed(
    honest_round: Round, monkeypatch: pytest.MonkeyPatch, weak_transcript: type[Transcript], solve: int
) -> None:
    """If one ρ does not depend on the X before it, that X is solved for, and any matrix passes."""
    build = honest_round.build
    with monkeypatch.context() as weak:
        weak.setattr(proof_module, "Transcript", weak_transcript)
        forged = forge_round(build, honest_round.submissions, RICHER, solve=solve)
        paid = verify_round(build, forged)
    assert differences(paid, verify_round(build, honest_round.proof)) == [5 * 10**6, 0, 0, 0, 0]
    with pytest.raises(ProofRejected, match=FALSE_CLAIM):
        verify_round(build, forged)


@pytest.mark.exhaustive("another entry", but=1)
@pytest.mark.parametrize("solve", [0, 1])
def test_chained_seed(honest_round: Round, solve: int) -> None:
    """The same forgery against ours: solving for X moves every ρ that it was solved with."""
    with pytest.raises(ProofRejected, match=FALSE_CLAIM):
        verify_round(honest_round.build, forge_round(honest_round.build, honest_round.submissions, RICHER, solve=solve))


@pytest.mark.exhaustive("the honest twin of test_unchained_seed; test_true_matrix_is_accepted")
def test_unchained_seed_is_no_excuse(honest_round: Round, monkeypatch: pytest.MonkeyPatch) -> None:
    """The weak verifier is not simply blind: with honest claims it refuses the false matrix too."""
    monkeypatch.setattr(proof_module, "Transcript", Labelled)
    forged = forge_round(honest_round.build, honest_round.submissions, RICHER, solve=None)
    with pytest.raises(ProofRejected, match=FALSE_CLAIM):
        verify_round(honest_round.build, forged)


# ---------------------------------------------------------------- C_G and the order of things


def test_gram_point_chosen_after_the_challenges(honest_round: Round) -> None:
    """C_G is absorbed before r exists: another one afterwards gives other challenges."""
    build = honest_round.build
    point = commit_column(build, "settlement", [1, 2, 3])
    with pytest.raises(ProofRejected, match="answers other challenges"):
        verify_round(build, replace(honest_round.proof, gram_point=point))


@pytest.mark.parametrize("name", ["mask_points", "projection_points"])
def test_masks_chosen_after_the_challenges(honest_round: Round, name: str) -> None:
    build = honest_round.build
    other = getattr(Attempt.fresh(build), name)
    with pytest.raises(ProofRejected, match="answers other challenges"):
        verify_round(build, replace(honest_round.proof, **{name: other}))


@pytest.mark.parametrize("name", ["mask", "masks"])
def test_wrong_mask_opening_is_found(honest_round: Round, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The prover says that it cannot be right before it proves anything."""
    build = honest_round.build
    wrong = replace(Attempt.fresh(build), **{name: getattr(Attempt.fresh(build), name)})
    monkeypatch.setattr(Attempt, "fresh", lambda build: wrong)
    with pytest.raises(ProofRejected, match="its columns are not the combinations of the commitments"):
        prove_round(build, honest_round.submissions)
