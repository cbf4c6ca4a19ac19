"""A round that is paid by losses, with real proofs: commitments, settlement, one utility proof a coalition, pay.

The smallest of everything: three trainers, a linear model of eight parameters, a batch of four. That the contract asks
for the right instances is in test_score.py; here a verifier that ezkl wrote is asked.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.contracts.real_losses import Compiled, Losses, compiled, opened, proven
from tests.contracts.scoring import bits
from tests.contracts.world import refused, refused_like
from zkmarket.backend import Proof
from zkmarket.chain import Chain, Phase
from zkmarket.learning import Dataset
from zkmarket.market import Inspection, Log, LossModel, inspect, pay_of, points_hash, scores_by_loss
from zkmarket.market.losses import loss_warnings
from zkmarket.utility import Method, OnChain, UtilityProof, instances_of

pytestmark = [pytest.mark.chain, pytest.mark.proof]

HERE = "tests.contracts.test_real_scores"
N, BATCH = 3, 4
DUE = [(1, 2, 3), (1, 2), (1, 3), (2, 3)]


def model() -> torch.nn.Module:
    torch.manual_seed(1)
    return torch.nn.Linear(3, 2)


def data() -> Dataset:
    x = np.random.default_rng(5).uniform(-1, 1, (24, 3)).astype(np.float32)
    return Dataset(x, (x @ np.array([1.0, -2.0, 0.5]) > 0).astype(np.int64))


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    place = tmp_path_factory.mktemp("scored")
    return compiled(place, N, f"{HERE}:model", f"{HERE}:data", BATCH, logrows=10, tolerance=0.05)


@pytest.fixture(scope="module")
def settled(node: Chain, own: Compiled) -> Losses:
    """Two updates help, the second by half, and one does harm."""
    good = np.rint(np.array([-0.5, 0.9, -0.2, 0.5, -0.9, 0.2, 0.0, 0.0]) * 2**9).astype(np.int64)
    project = opened(node, own, [good, good // 2, -good // 3])
    submissions = project.to_prove()
    proof, _ = project.prove(submissions)
    project.settle(proof)
    return proven(project, submissions, proof)


@pytest.fixture
def scored(settled: Losses, chain: Chain) -> Losses:
    """Whatever a test sends is rolled back."""
    return settled


def test_a_round_is_paid_by_what_its_proofs_say(scored: Losses, own: Compiled) -> None:
    project = scored.project.project
    estimate = OnChain.of(own.model.plan, Method("loo"), N).coalition_gas
    assert list(scored.results) == DUE
    for coalition in DUE[::-1]:
        assert project.state().phase == Phase.SCORE
        assert 0.95 * estimate < scored.send(coalition).gas < 1.2 * estimate
    assert project.state().phase == Phase.SETTLED
    (one,) = Log(project.events()).settled()
    loss = {bits(coalition): said.loss for coalition, said in scored.results.items()}
    scores = tuple(max(0, loss[0b111 ^ 1 << slot] - loss[0b111]) for slot in range(N))
    assert one.scores == scores and scores[0] > scores[1] > scores[2] == 0
    assert one.pay == pay_of(project.terms(), one) and one.pay[2] == 10**18 // 4 // 3
    assert {coalition: said for coalition, _, said in one.losses} == loss
    assert tuple(project.account(who).credit for who in scored.project.members) == one.pay
    assert scores_by_loss(project.terms(), one) == one.scores
    for coalition, said in scored.results.items():  # and so everybody can check again, from the chain alone
        correct, known, proof = project.loss_proofs(1)[bits(coalition)]
        terms, batch = scored.terms, points_hash(own.batch.points)
        context, points = terms.context(coalition), terms.points(coalition)
        instances = instances_of(own.known, points, batch, context, proof, correct, known)
        assert terms.verify(coalition, UtilityProof(Proof(proof, instances))) == said


def test_what_the_verifier_refuses(scored: Losses) -> None:
    """Attack (foreign_proof, a forged loss): another loss, another context, another coalition's proof, another byte."""
    coalition, honest = DUE[0], scored.proofs[DUE[0]]
    said = scored.results[coalition]
    changes: list[dict[str, Any]] = [
        {"loss": said.loss - 1},
        {"correct": said.correct - 1 if said.correct else 1},
        {"proof": scored.foreign},
        {"proof": honest[:-1] + bytes([honest[-1] ^ 1])},
    ]
    for change in changes:
        with refused("ProofRejected(proof=utility)"):
            scored.send(coalition, **change)
    with refused_like(r"WrongModel\(.*\)"):
        scored.send(coalition, scored.proofs[DUE[1]])
    scored.send(coalition)


def test_another_proof_of_what_is_proven(scored: Losses) -> None:
    """Attack (front_run_proof): whoever is first has it proven; the other hears that it is."""
    scored.send(DUE[1])
    with refused(f"AlreadyProven(round=1, coalition={bits(DUE[1])})"):
        scored.send(DUE[1])


def test_inspect_compares_what_losses_are_proven_by(scored: Losses, own: Compiled, chain: Chain) -> None:
    """Attack (foreign verifier, another batch or model): named before anybody pays in."""
    where, mine = scored.project.project.address, own.losses

    def found(losses: LossModel | None, chain: Chain = chain) -> Inspection:
        return inspect(chain, where, {N: own.build}, losses=losses)

    assert found(mine).wrong == [] and any("reward is shared equally" in line for line in found(mine).warnings)
    assert len(found(None).wrong) == 1 and found(None).wrong[0].startswith("it pays by the model's own loss, which no")
    for change, said in (
        ({"code": mine.code[:-1]}, "the verifier of losses at"),
        ({"descriptor": bytes(32)}, "the description of the compiled model is"),
        ({"batch": bytes(32)}, "the commitment of the validation batch is"),
        ({"salts": 1}, "the number of the batch's salts is"),
        ({"proof_bytes": 1}, "the length of a proof is"),
        ({"instances": 1}, "the number of a proof's public instances is"),
    ):
        (wrong,) = found(replace(mine, **change)).wrong
        assert wrong.startswith(said)


def test_a_warning_where_refusing_the_best_may_pay(scored: Losses) -> None:
    """Attack (refuse_the_best): an aggregator with a trainer of its own gives the best update no receipt, for p."""
    terms = scored.project.project.terms()
    said = "a penalty is less than half of the reward"
    assert not any(line.startswith(said) for line in loss_warnings(terms))
    below = replace(terms, penalty_wei=terms.reward // 2 - 1)
    assert any(line.startswith(said) for line in loss_warnings(below))
