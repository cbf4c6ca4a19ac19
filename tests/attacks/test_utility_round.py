"""A round scored by utility: what a prover could leave out, replace or try again. Its proofs are of fake_utility."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.conftest import ROUND, build_for, honest_updates, submit
from tests.support import fake_utility
from tests.support.documents import proof as some_proof
from tests.support.fake_utility import FakeModel
from zkmarket.build import Build, Manifest
from zkmarket.crypto import GENERATOR, Q
from zkmarket.errors import BackendError, InputError, ProofRejected
from zkmarket.round import BaseProof, RoundId, RoundProof, Submission, Theta, open_with_fresh_salts
from zkmarket.round.commitment import commit
from zkmarket.rules import MultiKrum
from zkmarket.utility import (
    GameTerms,
    Method,
    UtilityProof,
    UtilityRound,
    Validation,
    check_builds,
    model_of,
    play,
    prove_utilities,
    score,
    verify_utilities,
)
from zkmarket.utility import terms as terms_module
from zkmarket.utility.workers import Job

pytestmark = pytest.mark.proof

N, D = 5, 1000  # two chunks
MASK = (1, 1, 0, 1, 1)
BEACON = bytes(range(32))
ADDRESSES = (0x50, 0x40, 0x10, 0x30, 0x20)  # slots in another order than addresses
TARGET = -honest_updates(N, D)[-1].astype(np.int32)  # what all but the last move towards
RATE = 10**9
EPSILON = 1_000_000
GTG = Method("gtg", 6, EPSILON)  # an order that begins with 1, 2 or 4 ends there


@dataclasses.dataclass(frozen=True)
class Scene:
    build: Build
    submissions: tuple[Submission, ...]
    validation: Validation
    theta: Theta
    terms: GameTerms
    made: UtilityRound


@pytest.fixture(scope="module")
def salted(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Enough salts for exact Shapley among five."""
    folder = tmp_path_factory.mktemp("builds") / "salted"
    return build_for(folder, trainers=N, params=D, filter=MultiKrum(1, 4), logrows=10, salts=24, score="equal")


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score, "utility", fake_utility.utility)
    monkeypatch.setattr(score, "prove_job", fake_utility.prove_job)
    monkeypatch.setattr(terms_module, "verify_utility", fake_utility.verify_utility)
    monkeypatch.setattr(score, "proof_job", lambda job: job)


def some_base(*instances: int) -> BaseProof:
    return BaseProof(0, b"", (), (), some_proof(*instances))


@pytest.fixture(scope="module")
def scene(salted: Build) -> Scene:
    """Five commitments, of which four are accepted; what a round proof holds besides them plays no part here."""
    submissions = tuple(
        submit(salted, values, who) for who, values in zip(ADDRESSES, honest_updates(N, D), strict=True)
    )
    proof = RoundProof(
        salted.manifest.digest(),
        ROUND,
        10**6,
        tuple(s.commitment for s in submissions),
        (GENERATOR,) * 2,
        (GENERATOR,) * 5,
        GENERATOR,
        some_base(),
        some_proof(),
    )
    batch = open_with_fresh_salts(TARGET, salted.manifest)
    validation = Validation(batch.values, batch.salts, commit(salted, batch))
    model = FakeModel.of(salted)
    theta = Theta.first(salted.manifest, np.arange(-D // 2, D // 2) * 8, model.theta_bits)
    terms = GameTerms(salted, proof, MASK, model, GTG, BEACON, theta.points(salted), RATE, validation.points)
    return Scene(salted, submissions, validation, theta, terms, prove_all(terms, theta, submissions, validation))


class Here:
    """A pool of one worker, without a process (tests/utility/test_workers.py has them)."""

    def __init__(self, most: int = 99):
        self.most, self.answers = most, []

    def workers(self) -> list[str]:
        return ["here"]

    def start(self, worker: str, job: Job) -> None:
        self.most -= 1
        if self.most < 0:
            raise BackendError("the power went")
        self.answers.append((worker, ("done", fake_utility.make(Path(), *job.arguments))))

    def poll(self) -> list:
        answers, self.answers = self.answers, []
        return answers

    def stop(self, worker: str) -> None:
        self.answers = []


def prove_all(terms: GameTerms, theta: Theta, submissions: Any, validation: Validation) -> UtilityRound:
    """Every due coalition's proof, made here."""
    proofs: dict = {}
    losses: dict = {}
    while missing := terms.play(losses).missing:
        for s in missing:
            model = model_of(terms, theta, submissions, s)
            job = fake_utility.prove_job(terms.model, model, validation, terms.context(s))
            proofs[s] = UtilityProof(fake_utility.make(Path(), *job.arguments))
            losses[s] = job.arguments[-1]
    return UtilityRound(terms.method, terms.beacon, terms.base, proofs)


# ---------------------------------------------------------------- an honest round


@pytest.mark.parametrize("text", ["loo", "shapley", "permutations:2", "gtg:6,eps=1000000"])
def test_a_round_is_scored_as_its_game_says(scene: Scene, text: str, tmp_path: Path) -> None:
    terms = replace(scene.terms, method=Method.parse(f"utility:{text}"))
    told: list[str] = []
    made = prove_utilities(
        terms, scene.theta, scene.submissions, scene.validation, Here(), tmp_path / "kept", told.append
    )
    made.save(tmp_path / "utility.json")
    decision = verify_utilities(terms, UtilityRound.load(tmp_path / "utility.json"))
    losses = {s: u.loss for s, u in decision.utilities.items()}
    updates = [s.opening.values.astype(np.int64) for s in scene.submissions]
    for s, loss in losses.items():  # the definition, written out: a quarter of the rate for each of four accepted
        moved = scene.theta.values + 64 * sum(updates[slot - 1] for slot in s)
        assert loss == np.abs(moved - 256 * TARGET.astype(np.int64)).sum()
    game = play(terms.method, (5, 4, 2, 1), terms.seed, losses)  # by address; slot 3 is rejected
    assert decision.game == game
    assert decision.scores == tuple(max(0, game.raw.get(slot, 0)) for slot in range(1, 6))
    assert decision.scores[2] == 0 and any(decision.scores)
    assert decision.trainers == ADDRESSES
    assert f"{len(losses)} coalitions are due, {len(losses)} are to be proven" in told
    report = json.loads(json.dumps(decision.to_json(reward=10**18)))
    assert sum(row["share_wei"] for row in report["trainers"]) + report["dust_wei"] == 10**18
    assert [row["slots"] for row in report["coalitions"]] == [list(s) for s in game.due]


def test_a_round_in_which_nobody_is_accepted(scene: Scene, tmp_path: Path) -> None:
    """No coalition, no proof, and the pay is split."""
    terms = replace(scene.terms, mask=(0,) * N)
    made = prove_utilities(terms, scene.theta, scene.submissions, scene.validation, Here(most=0), tmp_path)
    decision = verify_utilities(terms, made)
    assert (decision.scores, made.proofs, decision.shares(10)) == ((0,) * N, {}, ([2] * N, 0))


def test_an_interrupted_round_goes_on(scene: Scene, tmp_path: Path) -> None:
    """Finished proofs are kept; one that was damaged, or is of another coalition, is made again."""
    kept = tmp_path / "kept"

    with pytest.raises(BackendError, match="the power went"):
        prove_utilities(scene.terms, scene.theta, scene.submissions, scene.validation, Here(most=3), kept)
    first, second, third = sorted(kept.iterdir())
    first.write_text(second.read_text())
    second.write_bytes(second.read_bytes()[:50])
    before = third.read_text()
    told: list[str] = []
    made = prove_utilities(scene.terms, scene.theta, scene.submissions, scene.validation, Here(), kept, told.append)
    due = len(made.proofs)
    assert f"{due} coalitions are due, {due - 1} are to be proven" in told
    assert sum("is not kept" in text for text in told) == 2
    assert third.read_text() == before
    verify_utilities(scene.terms, made)


def test_a_wrong_proof_of_a_worker_is_made_again(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that answers with another coalition's proof, once."""
    terms = replace(scene.terms, method=Method("loo"))
    real, wrong = score.run, []

    def run(pool: Any, jobs: Any, accept: Callable, progress: Any) -> None:
        def swapped(index: int, value: Any) -> None:
            if not wrong and index == 1:
                wrong.append(1)
                value = fake_utility.make(Path(), *jobs[0]().arguments)
            accept(index, value)

        real(pool, jobs, swapped, progress)

    monkeypatch.setattr(score, "run", run)
    made = prove_utilities(terms, scene.theta, scene.submissions, scene.validation, Here(), tmp_path)
    assert wrong
    verify_utilities(terms, made)


# ---------------------------------------------------------------- attacks


def refused(scene: Scene, made: UtilityRound, reason: str, terms: GameTerms | None = None) -> None:
    with pytest.raises(ProofRejected, match=reason):
        verify_utilities(terms or scene.terms, made)


def test_the_honest_round_passes(scene: Scene) -> None:
    decision = verify_utilities(scene.terms, scene.made)
    assert 2 < len(decision.game.due) < 16  # truncated, and not all


def test_every_missing_proof_is_missed(scene: Scene) -> None:
    for s in scene.made.proofs:
        less = {k: v for k, v in scene.made.proofs.items() if k != s}
        refused(scene, replace(scene.made, proofs=less), "is due and has no proof")


def test_a_proof_of_another_coalition_is_refused(scene: Scene) -> None:
    first, *others = scene.made.proofs
    for other in others:
        swapped = scene.made.proofs | {first: scene.made.proofs[other], other: scene.made.proofs[first]}
        refused(scene, replace(scene.made, proofs=swapped), "does not verify")


def test_a_proof_that_was_not_due_is_refused(scene: Scene) -> None:
    """Not even an honest one: it would let a prover say that it proved what suits it."""
    everything = prove_all(
        replace(scene.terms, method=Method("shapley")), scene.theta, scene.submissions, scene.validation
    )
    honest = {s: proof for s, proof in everything.proofs.items() if s not in scene.made.proofs}
    assert honest
    for s, proof in honest.items():
        refused(scene, replace(scene.made, proofs=scene.made.proofs | {s: proof}), "was not due")


def test_a_coalition_with_the_rejected_is_refused(scene: Scene) -> None:
    everybody = replace(scene.terms, mask=(1,) * N)
    made = prove_all(everybody, scene.theta, scene.submissions, scene.validation)
    refused(scene, made, "another context")
    refused(scene, replace(made, base=scene.terms.base), "does not verify|has no proof")


@pytest.mark.parametrize("change", ["loss", "correct"])
def test_an_edited_utility_is_refused(scene: Scene, change: str) -> None:
    for s, proof in scene.made.proofs.items():
        correct, loss = proof.proof.instances
        numbers = (correct, loss - 1) if change == "loss" else (correct + 1, loss)
        edited = scene.made.proofs | {s: UtilityProof(replace(proof.proof, instances=numbers))}
        refused(scene, replace(scene.made, proofs=edited), "does not verify")


def other_terms(scene: Scene) -> dict[str, GameTerms]:
    terms, proof = scene.terms, scene.terms.proof
    return {
        "round": replace(terms, proof=replace(proof, round_id=RoundId(31337, 0xABCDEF, 8))),
        "mask slot": replace(terms, proof=replace(proof, mask_points=((1, Q - 2),) * 2)),
        "model": replace(terms, model=replace(terms.model, digest=bytes(32))),
        "theta": replace(terms, theta=terms.theta[::-1]),
        "rate": replace(terms, rate=RATE // 2),
        "validation": replace(terms, validation=((1, Q - 2),)),
        "beacon": replace(terms, beacon=bytes(32)),
        "commitments": replace(
            terms, proof=replace(proof, commitments=(*proof.commitments[:4], replace(proof.commitments[4], trainer=9)))
        ),
    }


@pytest.mark.parametrize(
    "name", ["round", "mask slot", "model", "theta", "rate", "validation", "beacon", "commitments"]
)
def test_proofs_of_other_terms_are_refused(scene: Scene, name: str) -> None:
    """As they are, and relabelled to what the verifier wants: the file's own words are not believed."""
    terms = other_terms(scene)[name]
    refused(scene, scene.made, "of another (context|beacon)", terms)
    relabelled = replace(scene.made, base=terms.base, beacon=terms.beacon)
    refused(scene, relabelled, "does not verify|has no proof", terms)


def test_a_beacon_is_part_of_proofs_whose_orders_are_drawn(scene: Scene) -> None:
    """A contract has none, and draws nothing."""
    for method in (Method("loo"), Method("shapley"), Method("permutations", 2), GTG):
        mine = replace(scene.terms, method=method)
        assert (mine.base == replace(mine, beacon=bytes(32)).base) == method.exact


def test_another_method_is_refused(scene: Scene) -> None:
    for method in (Method("loo"), Method("gtg", 6, EPSILON - 1), Method("gtg", 5, EPSILON), Method("permutations", 6)):
        refused(scene, replace(scene.made, method=method), "another method")
        terms = replace(scene.terms, method=method)
        refused(scene, scene.made, "another method", terms)
    many = Method("permutations", 60)  # of six, one run in a hundred draws only coalitions that GTG asks for, too
    few = replace(scene.made, method=many)
    refused(scene, few, "is due and has no proof", replace(scene.terms, method=many))


def test_the_file_has_one_form(scene: Scene, tmp_path: Path) -> None:
    def load(change: Callable[[dict], None]) -> None:
        value = json.loads(json.dumps(scene.made.to_json()))
        change(value)
        (tmp_path / "utility.json").write_text(json.dumps(value))
        UtilityRound.load(tmp_path / "utility.json")

    load(lambda value: None)
    with pytest.raises(InputError, match="divided a coalition's updates by its own size: compile the model again"):
        load(lambda value: value.update(format="zkmarket-utility/1"))
    for name, change in {
        "another order": lambda value: value["proofs"].reverse(),
        "a proof twice": lambda value: value["proofs"].append(value["proofs"][-1]),
        "a member twice": lambda value: value["proofs"][-1]["coalition"].append(1),
        "a word more": lambda value: value.update(more=1),
        "another spelling": lambda value: value.update(method="utility:gtg:06,eps=1000000"),
        "another format": lambda value: value.update(format="zkmarket-utility/3"),
        "capitals": lambda value: value.update(beacon=value["beacon"].upper()),
        "a newline": lambda value: value.update(context=value["context"] + "\n"),
    }.items():
        try:
            load(change)
        except InputError:
            continue
        if name == "a member twice":  # it reads; nothing of the kind is due
            refused(scene, UtilityRound.load(tmp_path / "utility.json"), "due")
        else:
            pytest.fail(f"{name} was read")


# ---------------------------------------------------------------- who can move the orders


def test_the_prover_cannot_grind_the_orders(scene: Scene) -> None:
    """Nothing that it can draw again, or choose, after the freeze."""
    terms, proof = scene.terms, scene.terms.proof
    same = {
        "mask slot": replace(proof, mask_points=((1, Q - 2),) * 2),
        "salts of the Gram matrix": replace(proof, gram_point=(1, Q - 2)),
        "masks of the projection": replace(proof, projection_points=((1, Q - 2),) * 5),
        "proofs": replace(proof, settlement=some_proof(3), base=some_base(4)),
        "norm bound": replace(proof, beta=proof.beta - 1),
        "order of slots": replace(proof, commitments=proof.commitments[::-1]),
    }
    for name, other in same.items():
        assert replace(terms, proof=other).seed == terms.seed, name
    turned = replace(terms, proof=same["order of slots"], mask=MASK[::-1])
    leaders = [proof.commitments[slot - 1].trainer for slot in terms.players]
    assert [turned.proof.commitments[slot - 1].trainer for slot in turned.players] == leaders
    assert len({replace(terms, proof=other).base for name, other in same.items()}) == len(same)


def test_the_orders_follow_the_freeze_and_the_beacon(scene: Scene) -> None:
    terms, proof = scene.terms, scene.terms.proof
    seeds = {terms.seed, replace(terms, beacon=bytes(32)).seed}
    for slot, commitment in enumerate(proof.commitments):
        for other in (
            replace(commitment, points=(commitment.points[0], (1, Q - 2))),
            replace(commitment, trainer=0x99),
        ):
            changed = (*proof.commitments[:slot], other, *proof.commitments[slot + 1 :])
            seeds.add(replace(terms, proof=replace(proof, commitments=changed)).seed)
    for rid in (RoundId(1, 0xABCDEF, 7), RoundId(31337, 1, 7), RoundId(31337, 0xABCDEF, 8)):
        seeds.add(replace(terms, proof=replace(proof, round_id=rid)).seed)
    assert len(seeds) == 2 + 2 * N + 3


# ---------------------------------------------------------------- what does not go together


def test_a_model_for_other_updates_is_refused(scene: Scene) -> None:
    for name, change in {
        "parameters": {"params": D + 1},
        "values of a chunk": {"chunk": 1},
        "salts": {"salts": 8},
        "scale bits": {"scale_bits": 1},
        "26 proofs a round: .* last for 25": {"proofs": 25},
    }.items():
        with pytest.raises(InputError, match=name):
            replace(scene.terms, model=replace(scene.terms.model, **change))


def test_a_build_with_too_few_salts_is_refused(scene: Scene) -> None:
    """Four of five accepted or all five: a trainer can be in 16 coalitions; 8 salts are for other proofs."""
    few = Manifest(scene.build.manifest.value | {"salts": 23})
    model = replace(scene.terms.model, salts=23)
    check_builds(few, model, Method("permutations", 3))  # 8 + 11
    for text in ("shapley", "gtg:6,eps=1000000"):
        with pytest.raises(InputError, match="can spend 24 salts of a chunk: this build has 23; build with --salts 24"):
            check_builds(few, model, Method.parse(f"utility:{text}"))


def test_a_build_with_scores_of_its_own_is_refused(scene: Scene) -> None:
    """One kind of score a round: <u_i, Agg> is an exact equation on u_i."""
    other = Manifest(scene.build.manifest.value | {"score": "shapley"})
    with pytest.raises(InputError, match="publishes shapley scores.*build with --score utility:loo"):
        check_builds(other, scene.terms.model, Method("loo"))


def test_what_no_beacon_is(scene: Scene) -> None:
    with pytest.raises(InputError, match="32 bytes"):
        replace(scene.terms, beacon=b"short")


def test_the_batch_must_be_the_committed_one(scene: Scene, tmp_path: Path) -> None:
    other = replace(scene.validation, points=((1, Q - 2),))
    with pytest.raises(InputError, match="validation batch is not the committed one"):
        prove_utilities(scene.terms, scene.theta, scene.submissions, other, SimpleNamespace(), tmp_path)


def test_the_model_must_be_the_committed_one(scene: Scene, tmp_path: Path) -> None:
    """Its salts, too: those of a later round are not 0."""
    other = replace(scene.theta, values=scene.theta.values + 1)
    with pytest.raises(InputError, match="model is not the committed one"):
        prove_utilities(scene.terms, other, scene.submissions, scene.validation, SimpleNamespace(), tmp_path)
