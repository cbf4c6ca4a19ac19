"""A round that is paid by losses, with real proofs: commitments, settlement, one utility proof a coalition, pay.

The smallest of everything: three trainers, a linear model of eight parameters, a batch of four. That the contract asks
for the right instances is in test_score.py; here a verifier that ezkl wrote is asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from eth_hash.auto import keccak

from tests.conftest import build_for
from tests.contracts.real import Real, RealProject
from tests.contracts.scoring import bits
from tests.contracts.world import refused, refused_like
from zkmarket import backend
from zkmarket.backend import srs
from zkmarket.build import Build
from zkmarket.chain import Chain, Phase, compile_verifier
from zkmarket.crypto import Point
from zkmarket.learning import Dataset
from zkmarket.market import Log, Scoring, Verifier, model_commitments, pay_of, points_hash
from zkmarket.round import Submission, Theta, moved, sum_updates
from zkmarket.rules import Filter
from zkmarket.updates import ParameterLayout
from zkmarket.utility import (
    Descriptor,
    GameTerms,
    Method,
    Options,
    UtilityBuild,
    Validation,
    commit_validation,
    compile_model,
    prove_utility,
    utility,
)

pytestmark = [pytest.mark.chain, pytest.mark.proof]

HERE = "tests.contracts.test_real_scores"
N, BATCH, FLOOR = 3, 4, 250_000_000
DUE = [(1, 2, 3), (2, 3), (1, 3), (1, 2)]


def model() -> torch.nn.Module:
    torch.manual_seed(1)
    return torch.nn.Linear(3, 2)


def data() -> Dataset:
    x = np.random.default_rng(5).uniform(-1, 1, (24, 3)).astype(np.float32)
    return Dataset(x, (x @ np.array([1.0, -2.0, 0.5]) > 0).astype(np.int64))


class Project(RealProject):
    """With a model of its own."""

    first: Theta
    good: np.ndarray

    def theta(self) -> tuple[Point, ...]:
        first = self.first.points(self.build)
        made = list(model_commitments(self.project.terms(), first, Log(self.project.events()).settled()))
        return made[-1].now if made else first

    def updates(self) -> list[np.ndarray]:
        """Two that help, the second by half, and one that does harm."""
        return [self.good, self.good // 2, -self.good // 3]


@dataclass
class Scored:
    """A settled round, every proof of it made, none of them sent."""

    project: Project
    known: Descriptor
    after: tuple[Point, ...]
    losses: dict[tuple[int, ...], Any]
    proofs: dict[tuple[int, ...], bytes]
    other: bytes  # A's, of another round's context

    def words(self) -> list[int]:
        return [int.from_bytes(w, "big") if isinstance(w, bytes) else w for w in self.known.words()]

    def send(self, coalition: tuple[int, ...], proof: bytes | None = None, **claim: int) -> Any:
        said = self.losses[coalition]
        numbers = (claim.get("correct", said.correct), claim.get("loss", said.loss))
        sent = self.proofs[coalition] if proof is None else proof
        stranger = self.project.real.stranger
        return self.project.project.prove_utility(stranger, coalition, self.words(), self.after, numbers, sent)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Build, UtilityBuild, Validation]:
    place = tmp_path_factory.mktemp("scored")
    build = build_for(
        place / "build", trainers=N, params=8, logrows=10, filter=Filter.parse("norm"), score="equal", salts=8 + N,
        layout=layout(), scale_bits=9,
    )  # fmt: skip
    options = Options(f"{HERE}:model", f"{HERE}:data", build=place / "build", batch=BATCH, tolerance=0.05)
    made = compile_model(options, srs.generate(), place / "compiled").build
    samples = data()
    return build, made, commit_validation(made, samples.inputs[:BATCH], samples.targets[:BATCH])


def layout() -> ParameterLayout:
    return ParameterLayout.of(model().state_dict())


@pytest.fixture(scope="module")
def settled(node: Chain, compiled: Any) -> Iterator[Scored]:
    build, made, batch = compiled
    verifier = compile_verifier(backend.verifier_source(made.files))
    real = Real.deploy(node)
    where = node.deploy_verifier(verifier, real.owner).address
    known = Descriptor.of(made)
    parameters = build.manifest.layout.flatten(model().state_dict())
    first = Theta.first(build.manifest, made.quantise_theta(parameters), made.theta_bits)
    scoring = Scoring(
        Verifier(where, keccak(verifier.runtime)), known.digest(), points_hash(batch.points), 1, FLOOR, 10**6,
        made.proofs, known.proof_bytes, known.count,
    )  # fmt: skip
    opened = real.open(
        {N: build}, scoring=scoring, theta=points_hash(first.points(build)), theta_bits=made.theta_bits,
        beta=build.manifest.beta_max, beta_max=build.manifest.beta_max,
    )  # fmt: skip
    project = Project(**vars(opened))
    project.first = first
    step = np.array([-0.5, 0.9, -0.2, 0.5, -0.9, 0.2, 0.0, 0.0])
    project.good = np.rint(step * 2**build.manifest.fixed_point.scale_bits).astype(np.int64)
    submissions = project.to_prove()
    proof, _ = project.prove(submissions)
    project.settle(proof)
    yield proven(project, made, batch, first, submissions, proof, known)


def proven(
    project: Project,
    made: UtilityBuild,
    batch: Validation,
    first: Theta,
    submissions: list[Submission],
    proof: Any,
    known: Descriptor,
) -> Scored:
    build, rate = project.build, 10**9
    terms = GameTerms(build, proof, (1,) * N, made, Method("loo"), bytes(32), first.points(build), rate, batch.points)
    losses, proofs = {}, {}
    for coalition in DUE:
        mask = [slot in coalition for slot in range(1, N + 1)]
        own = moved(first, sum_updates(build.manifest, [s.opening for s in submissions], mask), terms.weight)
        losses[coalition] = utility(made, own, batch)
        proofs[coalition] = prove_utility(made, own, batch, terms.context(coalition)).proof.data
        if coalition == DUE[0]:
            other = prove_utility(made, own, batch, b"\5" * 32).proof.data
    return Scored(project, known, terms.points(DUE[0]), losses, proofs, other)


@pytest.fixture
def scored(settled: Scored, chain: Chain) -> Scored:
    """Whatever a test sends is rolled back."""
    return settled


def test_a_round_is_paid_by_what_its_proofs_say(scored: Scored, compiled: Any) -> None:
    project = scored.project.project
    for coalition in DUE[::-1]:
        assert project.state().phase == Phase.SCORE
        done = scored.send(coalition)
        assert done.gas < 1_100_000
    assert project.state().phase == Phase.SETTLED
    (one,) = Log(project.events()).settled()
    loss = {bits(coalition): said.loss for coalition, said in scored.losses.items()}
    scores = tuple(max(0, loss[0b111 ^ 1 << slot] - loss[0b111]) for slot in range(N))
    assert one.scores == scores and scores[0] > scores[1] > scores[2] == 0
    assert one.pay == pay_of(project.terms(), one) and one.pay[2] == 10**18 // 4 // 3
    assert {coalition: loss for coalition, _, loss in one.losses} == loss
    credits = [project.account(who).credit for who in scored.project.members]
    assert tuple(credits) == one.pay


def test_what_the_verifier_refuses(scored: Scored) -> None:
    """Attack (foreign_proof, forged loss): another loss, another round's proof, another coalition's, one byte more."""
    coalition, honest = DUE[0], scored.proofs[DUE[0]]
    said = scored.losses[coalition]
    with refused("ProofRejected(proof=utility)"):
        scored.send(coalition, loss=said.loss - 1)
    with refused("ProofRejected(proof=utility)"):
        scored.send(coalition, correct=said.correct - 1 if said.correct else 1)
    with refused("ProofRejected(proof=utility)"):
        scored.send(coalition, scored.other)
    with refused("ProofRejected(proof=utility)"):
        scored.send(coalition, honest[:-1] + bytes([honest[-1] ^ 1]))
    with refused_like(r"WrongModel\(.*\)"):
        scored.send(coalition, scored.proofs[DUE[1]])
    scored.send(coalition)


def test_another_proof_of_what_is_proven(scored: Scored, compiled: Any) -> None:
    """Attack (front_run_proof): whoever is first has it proven; the other hears that it is."""
    scored.send(DUE[1])
    with refused(f"AlreadyProven(round=1, coalition={bits(DUE[1])})"):
        scored.send(DUE[1])
