"""A round with every reference, from the command line to the decision; and lies about what it is compared with."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import isqrt
from pathlib import Path

import numpy as np
import pytest

from tests.attacks.forger import add_to, check, forge_round, tampered, with_settlement
from tests.conftest import PARAMS, ROUND, TRAINERS, Round, build_for, honest_updates, submit
from zkmarket.build import Build
from zkmarket.cli import main
from zkmarket.crypto import encode_point
from zkmarket.documents import write_json
from zkmarket.errors import InputError, OpeningMismatch, ProofRejected
from zkmarket.round import (
    COMMITMENT_FILE,
    NO_REFERENCES,
    Aggregate,
    Commitment,
    Digits,
    KnownReferences,
    RoundProof,
    Submission,
    aggregate_points,
    check_last,
    commit_vector,
    open_aggregate,
    prove_round,
    settlement,
    sum_updates,
    verify_round,
)
from zkmarket.rules import Filter

pytestmark = [pytest.mark.proof, pytest.mark.usefixtures("remembered")]

FILTER = "norm,multi-krum:f=1,m=3,three-sigma:lambda=3,cosine:tau=0.1"
OWNER = 0x07E2
N = TRAINERS
SCORE_AT = 2 * N + 5  # q, r_0..r_7, β, mask_1..5


@dataclass(frozen=True)
class Referred:
    """A proven round, and everything that its parties hold."""

    build: Build
    submissions: tuple[Submission, ...]
    root: Submission
    last: Aggregate
    known: KnownReferences
    proof: RoundProof
    folder: Path


def save(submission: Submission, folder: Path) -> None:
    folder.mkdir(parents=True)
    write_json(folder / COMMITMENT_FILE, submission.commitment.to_json())
    submission.opening.save(folder)


def answer_of(points: tuple[tuple[int, int], ...]) -> dict[str, list[str]]:
    """The part of what ``verify --json`` says that ``--last`` reads."""
    return {"aggregate": ["0x" + encode_point(point).hex() for point in points]}


@pytest.fixture(scope="module")
def referred(honest_round: Round, tmp_path_factory: pytest.TempPathFactory) -> Referred:
    """The honest round's updates, settled by all references: the root is the common direction, P is an earlier sum."""
    folder = tmp_path_factory.mktemp("referred")
    build = build_for(folder / "build", filter=Filter.parse(FILTER), score="novel")
    submissions = honest_round.submissions
    root = submit(build, -honest_updates(N, PARAMS)[-1] // 2, OWNER)
    earlier = [1, 1, 1, 0, 0]
    last = sum_updates(build.manifest, [s.opening for s in submissions], earlier)
    points = aggregate_points(build.manifest, [s.commitment for s in submissions], earlier)
    for at, submission in enumerate(submissions):
        save(submission, folder / "updates" / str(at))
    save(root, folder / "root")
    last.save(folder / "last.npz")
    write_json(folder / "last.json", answer_of(points))
    files = ("--updates", folder / "updates", "--root", folder / "root", "--last", folder / "last.npz")
    assert main(list(map(str, ("prove", build.folder, *files, "-o", folder / "round.json", "--quiet")))) == 0
    proof = RoundProof.load(folder / "round.json", build.manifest)
    return Referred(build, submissions, root, last, KnownReferences(root.commitment, points), proof, folder)


def verify_by(referred: Referred, *words: object) -> int:
    return main(list(map(str, ("verify", referred.build.folder, referred.folder / "round.json", *words, "--json"))))


# ---------------------------------------------------------------- the honest round


def test_the_decision_is_the_oracle_s(referred: Referred) -> None:
    build, known = referred.build, referred.known
    decision = verify_round(build, referred.proof, expected=ROUND, references=known)
    vectors = [*(s.opening.values for s in referred.submissions), referred.root.opening.values, referred.last.values]
    wide = [[int(x) for x in v] for v in vectors]
    gram = [[sum(a * b for a, b in zip(u, v, strict=True)) for v in wide] for u in wide]
    outcome = settlement.decide(build.manifest, gram, build.manifest.beta_max)
    assert build.manifest.score_shift > 0, "or the shift is not tried"
    assert (decision.mask, decision.scores, decision.nu) == (outcome.mask, outcome.kept(build.manifest), outcome.nu)
    assert outcome.mask == (1, 1, 1, 1, 0) and referred.proof.settlement.instances[SCORE_AT:-1] == outcome.scores
    assert outcome.scores[3] > 10 * max(outcome.scores[:3]), "P is the sum of the first three"
    aggregate = Aggregate.load(referred.folder / "round.aggregate.npz", build.manifest)
    open_aggregate(build, decision, aggregate)


def test_the_command_line_needs_to_know_the_references(
    referred: Referred, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    root, last = referred.folder / "root" / COMMITMENT_FILE, referred.folder / "last.json"
    assert verify_by(referred, "--root", root, "--last", last) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [row["score"] for row in answer["trainers"]] == list(
        verify_round(referred.build, referred.proof, references=referred.known).scores
    )
    for words, missing in ((("--root", root), "last aggregate"), (("--last", last), "root update")):
        assert verify_by(referred, *words) == 1
        assert f"another {missing} than the known one: the verifier has none" in capsys.readouterr().out
    write_json(tmp_path / "this.json", answer)
    assert verify_by(referred, "--root", root, "--last", tmp_path / "this.json") == 1, "this round's, not the last's"
    assert "another last aggregate than the known one: they differ" in capsys.readouterr().out
    write_json(tmp_path / "odd.json", {"aggregate": ["0xzz"]})
    assert verify_by(referred, "--root", root, "--last", tmp_path / "odd.json") == 2


def test_the_round_reads_back_as_it_was_written(referred: Referred) -> None:
    value = referred.proof.to_json()
    assert RoundProof.from_json(value) == referred.proof
    assert list(value["references"]) == ["root", "last"]
    for wrong in ({}, {"first": value["references"]["last"]}, {"last": []}):
        with pytest.raises(InputError, match="does not fit its schema at references"):
            RoundProof.from_json(tampered(value, "references", to=wrong))


# ---------------------------------------------------------------- other references


def other_last(referred: Referred) -> KnownReferences:
    """This round's aggregate in the place of the last one's."""
    points = aggregate_points(referred.build.manifest, referred.proof.commitments, [1, 1, 1, 1, 0])
    return replace(referred.known, last=points)


def other_root(referred: Referred) -> KnownReferences:
    """A trainer's commitment as the owner's root: whoever is like it is accepted and paid."""
    return replace(referred.known, root=referred.submissions[0].commitment)


def other_owner(referred: Referred) -> KnownReferences:
    """The owner's points under another name."""
    return replace(referred.known, root=replace(referred.root.commitment, trainer=OWNER + 1))


def swapped(referred: Referred) -> KnownReferences:
    known = referred.known
    assert known.root and known.last
    return KnownReferences(replace(known.root, points=known.last), known.root.points)


OTHERS = [other_last, other_root, other_owner, swapped]


@pytest.mark.parametrize("change", OTHERS)
def test_the_proof_claims_other_references(referred: Referred, change: Callable[[Referred], KnownReferences]) -> None:
    lie = replace(referred.proof, references=change(referred))
    with pytest.raises(ProofRejected, match="another (last aggregate|root update) than the known one: they differ"):
        verify_round(referred.build, lie, references=referred.known)


@pytest.mark.parametrize("change", [other_last, other_root, swapped])
def test_the_proof_is_of_other_references_than_it_claims(
    referred: Referred, change: Callable[[Referred], KnownReferences]
) -> None:
    """The prover compared with something else and writes the right points over it: the challenges come from them."""
    claimed = change(referred)
    with pytest.raises(ProofRejected, match="answers other challenges"):
        verify_round(referred.build, replace(referred.proof, references=claimed), references=claimed)


@pytest.mark.parametrize("name", ["root", "last"])
def test_a_reference_is_said_to_be_absent(referred: Referred, name: str) -> None:
    """It is there, and the prover would do without it; or nobody knows of it, and the prover brings it."""
    without = replace(referred.known, **{name: None})
    with pytest.raises(ProofRejected, match="than the known one: the proof has none"):
        verify_round(referred.build, replace(referred.proof, references=without), references=referred.known)
    with pytest.raises(ProofRejected, match="than the known one: the verifier has none"):
        verify_round(referred.build, referred.proof, references=without)
    with pytest.raises(ProofRejected, match="answers other challenges"):
        verify_round(referred.build, replace(referred.proof, references=without), references=without)


def test_a_root_of_another_round(referred: Referred) -> None:
    old = replace(referred.root.commitment, round_id=replace(ROUND, round=ROUND.round - 1))
    known = replace(referred.known, root=old)
    with pytest.raises(ProofRejected, match="the root update is of another round"):
        verify_round(referred.build, replace(referred.proof, references=known), references=known)
    with pytest.raises(ProofRejected, match="the root update is of another round"):
        prove_round(referred.build, referred.submissions, root=replace(referred.root, commitment=old))


def test_too_few_points(referred: Referred) -> None:
    assert referred.known.last
    short = replace(referred.known, last=referred.known.last[:-1])
    with pytest.raises(ProofRejected, match="the last reference has 2 points: wanted 3"):
        verify_round(referred.build, replace(referred.proof, references=short), references=short)


# ---------------------------------------------------------------- other matrices


def test_a_lie_about_an_inner_product_with_a_reference(referred: Referred) -> None:
    """G_1P = 0, "all of mine is new", and P's own norm: the settlement proof is valid, the Gram argument is not."""

    def nothing_old(matrix: list[list[int]]) -> None:
        add_to(1, 7, -matrix[1][7])(matrix)

    forged = forge_round(referred.build, referred.submissions, nothing_old, root=referred.root, last=referred.last)
    assert forged.settlement.instances[SCORE_AT] > referred.proof.settlement.instances[SCORE_AT]
    with pytest.raises(ProofRejected, match="<W, W> is not the folded claim T"):
        verify_round(referred.build, forged, references=referred.known)


@pytest.mark.exhaustive("tests/crypto/test_transcript.py: references are absorbed")
def test_without_references_it_is_another_round(referred: Referred) -> None:
    """No root: everybody passes the cosine. No last aggregate: the scores are Shapley's. So says the verifier, too."""
    proof, _ = prove_round(referred.build, referred.submissions)
    decision = verify_round(referred.build, proof)
    assert proof.references == NO_REFERENCES and "references" not in proof.to_json()
    shift = referred.build.manifest.score_shift
    updates = [[int(x) for x in s.opening.values] for s in referred.submissions]
    total = [sum(column) for column in zip(*(u for u, b in zip(updates, decision.mask, strict=True) if b), strict=True)]
    phi = [
        sum(a * b for a, b in zip(u, total, strict=True)) * bit for u, bit in zip(updates, decision.mask, strict=True)
    ]
    assert decision.scores == tuple(max(0, p) >> shift for p in phi)
    with pytest.raises(ProofRejected, match="the proof has none"):
        verify_round(referred.build, proof, references=referred.known)
    with pytest.raises(ProofRejected, match="answers other challenges"):
        verify_round(referred.build, replace(proof, references=referred.known), references=referred.known)


@pytest.mark.parametrize("slot", range(N))
def test_a_score_with_other_low_bits(referred: Referred, slot: int) -> None:
    """The bits that are dropped are proven all the same."""
    at = SCORE_AT + slot
    changed = with_settlement(referred.proof, **{f"i{at}": referred.proof.settlement.instances[at] ^ 1})
    with pytest.raises(ProofRejected, match="settlement proof does not verify"):
        verify_round(referred.build, changed, references=referred.known)


def test_a_score_whose_high_bits_are_too_many(referred: Referred) -> None:
    shift = referred.build.manifest.score_shift
    for value, why in ((1 << 64 + shift, "not below 2\\^64"), ((1 << 64 + shift) - 1, "does not verify")):
        with pytest.raises(ProofRejected, match=why):
            changed = with_settlement(referred.proof, **{f"i{SCORE_AT}": value})
            verify_round(referred.build, changed, references=referred.known)


def test_a_round_with_references_is_not_one_without(referred: Referred, honest_round: Round) -> None:
    """Where the rules compare with nothing, a reference is refused, by prover and verifier."""
    with pytest.raises(ProofRejected, match="uses no root reference"):
        prove_round(honest_round.build, honest_round.submissions, root=referred.root)
    lie = replace(honest_round.proof, references=referred.known)
    with pytest.raises(ProofRejected, match="uses no root reference"):
        verify_round(honest_round.build, lie, references=referred.known)
    with pytest.raises(ProofRejected, match="of another build"):
        check(referred.build, honest_round.json())


# ---------------------------------------------------------------- what the prover is given


def test_what_the_aggregator_is_given_is_checked(referred: Referred) -> None:
    build, manifest = referred.build, referred.build.manifest
    values = referred.root.opening.values.copy()
    values[0] += 1
    wrong = replace(referred.root, opening=replace(referred.root.opening, values=values))
    with pytest.raises(OpeningMismatch, match="root update: .*does not open its commitment"):
        prove_round(build, referred.submissions, root=wrong, last=referred.last)
    too_long = np.full(PARAMS, N * isqrt(manifest.beta_max // PARAMS), np.int64)
    check_last(manifest, replace(referred.last, values=too_long))
    too_long[7] += 2 * N
    with pytest.raises(InputError, match="longer than the sum of 5 updates"):
        prove_round(build, referred.submissions, root=referred.root, last=replace(referred.last, values=too_long))


# ---------------------------------------------------------------- a last aggregate that is hard to work with


def longest(build: Build, at: int) -> np.ndarray:
    """All of N·√β_max in one entry: what N accepted updates can sum to, if they want to."""
    values = np.zeros(PARAMS, np.int64)
    values[at] = -isqrt(N * N * build.manifest.beta_max)
    return values


@pytest.mark.exhaustive("other places", but=1)
@pytest.mark.parametrize("at", [0, 895, PARAMS - 1], ids=["first", "beside the salts", "last"])
def test_the_longest_last_aggregate(referred: Referred, at: int) -> None:
    """Its entries are beyond any update's: it is settled all the same, or a predecessor could stop its successor."""
    build = referred.build
    last = replace(referred.last, values=longest(build, at))
    assert Digits.of(last.values).count == 2 and abs(int(last.values[at])) > 1 << 19
    check_last(build.manifest, last)
    proof, _ = prove_round(build, referred.submissions, root=referred.root, last=last)
    known = KnownReferences(referred.root.commitment, commit_vector(build, last.values, last.salts))
    decision = verify_round(build, proof, expected=ROUND, references=known)
    assert decision.mask == (1, 1, 1, 1, 0)
    last.values[at] -= 1
    with pytest.raises(InputError, match="longer than the sum of 5 updates"):
        check_last(build.manifest, last)


def test_slots_with_data_blocks(referred: Referred, honest_round: Round) -> None:
    """Trainers' and the root's entries are shown to be small; the last aggregate's follow from theirs."""
    shape = referred.build.manifest.projection
    assert referred.build.manifest.references == ("root", "last")
    assert (shape.slots, referred.build.manifest.slots) == (N + 1, 1 + N + 2)
    assert honest_round.build.manifest.projection.slots == N
    assert len(referred.proof.projection_points) == len(shape.mask_positions) == shape.rounds + 1


def test_an_absent_root_has_data_blocks(referred: Referred) -> None:
    """It is the blinding point in each chunk: nobody can put something else there."""
    build = referred.build
    proof, _ = prove_round(build, referred.submissions, last=referred.last)
    known = replace(referred.known, root=None)
    verify_round(build, proof, references=known)
    slots = proof.points(build.manifest).slots
    assert slots[N] == (build.manifest.blinding,) * 3 and slots[N + 1] == known.last
    with pytest.raises(ProofRejected, match="answers other challenges"):
        verify_round(build, replace(proof, references=referred.known), references=referred.known)


def test_commitments_of_the_prover_are_those_of_the_verifier(referred: Referred) -> None:
    """P's points come of the aggregate's opening here, and of the trainers' commitments there."""
    assert referred.proof.references == referred.known
    assert isinstance(referred.known.root, Commitment)
