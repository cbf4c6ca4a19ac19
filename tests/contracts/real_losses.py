"""A real round that is paid by losses: a compiled model, its batch, a settled round, and every proof that is due."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.conftest import build_for
from tests.contracts.real import Real, RealProject
from tests.contracts.scoring import FLOOR, LOO, due
from zkmarket import backend
from zkmarket.backend import srs
from zkmarket.build import Build
from zkmarket.chain import Chain, Receipt, compile_verifier
from zkmarket.crypto import Point
from zkmarket.learning import load_dataset, load_model
from zkmarket.market import Log, LossModel, model_commitments, points_hash
from zkmarket.round import RoundProof, Submission, Theta
from zkmarket.rules import Filter
from zkmarket.updates import ParameterLayout
from zkmarket.utility import (
    BatchResult,
    Descriptor,
    GameTerms,
    Method,
    Options,
    UtilityBuild,
    Validation,
    commit_validation,
    compile_model,
    model_of,
    prove_utility,
    utility,
)

RATE = 10**9


@dataclass(frozen=True)
class Compiled:
    """A build whose settlement scores nobody, a model for it, the owner's batch, and the first model in integers."""

    build: Build
    model: UtilityBuild
    batch: Validation
    first: Theta

    @property
    def known(self) -> Descriptor:
        return Descriptor.of(self.model)

    @property
    def losses(self) -> LossModel:
        """What `inspect` compares a project with."""
        code, known = compile_verifier(backend.verifier_source(self.model.files)).runtime, self.known
        batch, salts = points_hash(self.batch.points), self.model.proofs
        return LossModel(code, known.digest(), batch, salts, known.proof_bytes, known.count)

    @property
    def words(self) -> list[int]:
        """Of the descriptor, as numbers."""
        return [int.from_bytes(word, "big") if isinstance(word, bytes) else word for word in self.known.words()]


def compiled(folder: Path, trainers: int, model: str, data: str, batch: int, **options: Any) -> Compiled:
    """`model` and `data` as `zkmarket compile` takes them."""
    tensors = load_model(model).state_dict()
    layout = ParameterLayout.of(tensors)
    rules: dict[str, Any] = {"filter": Filter.parse("norm"), "score": "equal", "salts": 8 + trainers}
    numbers = {"logrows": options.pop("logrows", None), "scale_bits": 9, "layout": layout}
    build = build_for(folder / "build", trainers=trainers, params=layout.size, **rules | numbers)
    options.setdefault("proofs", 2 * (3 + 3) * (trainers + 1))  # T + V of `Real`, each twice
    given = Options(model, data, build=folder / "build", batch=batch, **options)
    made = compile_model(given, srs.generate(), folder / "compiled").build
    samples = load_dataset(data)
    committed = commit_validation(made, samples.inputs[:batch], samples.targets[:batch])
    first = Theta.first(build.manifest, made.quantise_theta(layout.flatten(tensors)), made.theta_bits)
    return Compiled(build, made, committed, first)


class LossProject(RealProject):
    """With a model and updates of its own."""

    own: Compiled
    steps: Sequence[np.ndarray]

    def theta(self) -> tuple[Point, ...]:
        first = self.own.first.points(self.build)
        made = list(model_commitments(self.project.terms(), first, Log(self.project.events()).settled()))
        return made[-1].now if made else first

    def updates(self) -> list[np.ndarray]:
        return list(self.steps)


@dataclass
class Losses:
    """A settled round of such a project, every proof of it made, none of them sent."""

    project: LossProject
    terms: GameTerms
    results: dict[tuple[int, ...], BatchResult]
    proofs: dict[tuple[int, ...], bytes]
    foreign: bytes
    """Of all accepted, bound to something else."""

    def send(self, coalition: tuple[int, ...], proof: bytes | None = None, **claim: int) -> Receipt:
        said, accepted = self.results[coalition], tuple(range(1, len(self.terms.mask) + 1))
        return self.project.project.prove_utility(
            self.project.real.stranger,
            coalition,
            self.project.own.words,
            self.terms.points(accepted),
            (claim.get("correct", said.correct), claim.get("loss", said.loss)),
            self.proofs[coalition] if proof is None else proof,
        )


def opened(chain: Chain, own: Compiled, steps: Sequence[np.ndarray]) -> LossProject:
    """A project that pays by leave-one-out losses; update i of its first round is `steps[i]`."""
    real, manifest = Real.deploy(chain), own.build.manifest
    code = compile_verifier(backend.verifier_source(own.model.files))
    where = chain.deploy_verifier(code, real.owner).address
    terms = {
        "scoring": own.losses.scoring(where, LOO, FLOOR, 10**6),
        "theta": points_hash(own.first.points(own.build)),
        "theta_bits": own.model.theta_bits,
        "beta": manifest.beta_max,
        "beta_max": manifest.beta_max,
        "penalty_wei": 10**18 // 2,
    }
    made = real.open({manifest.trainers: own.build}, **terms)
    project = LossProject(**vars(made))
    project.own, project.steps = own, steps
    return project


def proven(project: LossProject, submissions: Sequence[Submission], proof: RoundProof) -> Losses:
    own, n = project.own, len(submissions)
    theta = own.first.points(own.build)
    terms = GameTerms(own.build, proof, (1,) * n, own.model, Method("loo"), bytes(32), theta, RATE, own.batch.points)
    results, proofs = {}, {}
    for coalition in due(LOO, terms.mask):
        model = model_of(terms, own.first, submissions, coalition)
        results[coalition] = utility(own.model, model, own.batch)
        proofs[coalition] = prove_utility(own.model, model, own.batch, terms.context(coalition)).proof.data
    whole = model_of(terms, own.first, submissions, terms.players)
    foreign = prove_utility(own.model, whole, own.batch, b"\5" * 32).proof.data
    return Losses(project, terms, results, proofs, foreign)


__all__ = ["Compiled", "LossProject", "Losses", "compiled", "opened", "proven"]
