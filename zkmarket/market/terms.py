"""What a project's contract is told and what it says: terms, calldata, signed messages, phases.

Pure: nothing here talks to a chain (market.py does) or proves anything. Addresses are 20-byte integers in
the engine and checksummed text on chain; this file turns one into the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..build import Build, Manifest
from ..chain import NOBODY
from ..errors import ArtifactError, InputError
from ..rules import RATE_UNIT
from .structs import NO_SCORING, Plan, Scoring, Terms, Verifier, Windows

REFERENCES = ("root", "last")
"""Bits of `Plan.references`, the lowest first."""


@dataclass(frozen=True)
class Offer:
    """What the owner decides, and cannot change afterwards. The rest of the terms follows from the builds.

    Attributes:
        aggregator: address of who is to accept the office.
        rounds: T.
        reward, fee: of one round, in wei or the token's smallest unit.
        stake_wei, bond_wei, penalty_wei: native coin. The bond is at least reward + fee + one penalty for every trainer
            between the least and the most, and for a root update if the rules use one (a token's reward and fee do not
            count); twice the reward is better. The penalty is at least the reward / the least number of trainers,
            unless the reward is a token, and at most the stake.
        beta, beta_min, beta_max: bound on squared norms at first, and its limits; beta_min at least D.
        theta_bits: ρ: the model's scale is 2^ρ times the updates'.
        theta: `points_hash` of the initial model's commitment.
        kappa: thousandths; next bound = kappa · median squared norm.
        rates: learning rate of each round in billionths; the last holds for all later ones.
        model, cid: SHA-256 of the prospectus, and where it is.
        void_limit: rounds that may come to nothing before the project ends.
        token: ERC-20 of the reward; default native coin.
        open_admission: anyone may join; default only whom the owner has signed for.
        scoring: by the model's own loss; default by the scores that settlements prove.
        nonce: tells projects apart that are the same in all else; the address commits to it too.
    """

    aggregator: str
    rounds: int
    reward: int
    fee: int
    stake_wei: int
    bond_wei: int
    penalty_wei: int
    beta: int
    beta_min: int
    beta_max: int
    theta_bits: int
    theta: bytes
    kappa: int = 2000
    rates: tuple[int, ...] = (RATE_UNIT,)
    model: bytes = bytes(32)
    cid: bytes = b"none"
    void_limit: int = 3
    token: str = NOBODY
    open_admission: bool = False
    windows: Windows = Windows()
    scoring: Scoring = NO_SCORING
    nonce: int = 0

    @property
    def pool(self) -> int:
        """What the owner pays in: T · (R + F)."""
        return self.rounds * (self.reward + self.fee)


@dataclass(frozen=True)
class Verifiers:
    """The verifiers of a project: one of the settlement for every number of trainers."""

    base: Verifier
    settlement: Mapping[int, Verifier]


def check_builds(builds: Mapping[int, Build]) -> list[int]:
    """The numbers of trainers, in order; ArtifactError unless the builds are those of one project.

    All keys of a project come from one SRS, and commitments must mean the same whatever N is: the builds
    differ in the number of trainers, the rule's numbers and the settlement circuit, and in nothing else.
    """
    numbers = sorted(builds)
    if not numbers:
        raise ArtifactError("a project has a build for each number of trainers: got none")
    if numbers != list(range(numbers[0], numbers[-1] + 1)):
        raise ArtifactError(f"a project has a build for each number of trainers from least to most: got {numbers}")
    first = builds[numbers[0]].manifest
    for n in numbers:
        manifest = builds[n].manifest
        if manifest.trainers != n:
            raise ArtifactError(f"the build for {n} trainers is one for {manifest.trainers}")
        for name, value in _shared(first).items():
            if _shared(manifest)[name] != value:
                raise ArtifactError(f"builds for {numbers[0]} and {n} trainers are not of one project: {name} differs")
        most = manifest.most_trainers or 0
        if "last" in manifest.references and most < numbers[-1]:
            raise ArtifactError(
                f"the build for {n} trainers compares with a last aggregate of at most {most}"
                f" updates: rounds have up to {numbers[-1]}, so build it with --most-trainers {numbers[-1]}"
            )
    return numbers


def _shared(manifest: Manifest) -> dict[str, Any]:
    value = manifest.value
    names = ("params", "logrows", "salts", "chunks", "blinding_point", "srs", "layout", "score", "fixed_point")
    shared = {name: value[name] for name in (*names, "min_accepted", "beta_max")}
    shared["references of filter and score"] = manifest.references
    return shared | {name: circuit for name, circuit in value["circuits"].items() if name != "settlement"}


def terms_of(offer: Offer, owner: str, builds: Mapping[int, Build], verifiers: Verifiers) -> Terms:
    """What the contract is told of an offer and its builds."""
    numbers = check_builds(builds)
    manifest = builds[numbers[0]].manifest
    if offer.beta_max > manifest.beta_max:
        raise InputError(f"the builds settle norm bounds up to {manifest.beta_max}: got beta_max {offer.beta_max}")
    return Terms(
        owner=owner,
        stake_wei=offer.stake_wei,
        aggregator=offer.aggregator,
        bond_wei=offer.bond_wei,
        token=offer.token,
        penalty_wei=offer.penalty_wei,
        reward=offer.reward,
        fee=offer.fee,
        rounds=offer.rounds,
        void_limit=offer.void_limit,
        min_trainers=numbers[0],
        max_trainers=numbers[-1],
        min_accepted=manifest.min_accepted,
        open_admission=offer.open_admission,
        params=manifest.params,
        logrows=manifest.logrows,
        rows=manifest.columns.rows,
        value_bits=manifest.fixed_point.value_bits,
        salts=manifest.salts,
        chunks=manifest.chunks,
        theta_bits=offer.theta_bits,
        kappa=offer.kappa,
        beta=offer.beta,
        beta_min=offer.beta_min,
        beta_max=offer.beta_max,
        blinding=manifest.blinding,
        windows=offer.windows,
        base=verifiers.base,
        model=offer.model,
        theta=offer.theta,
        scoring=offer.scoring,
    )


def plans_of(builds: Mapping[int, Build], verifiers: Verifiers) -> list[Plan]:
    """For every number of trainers, in order."""
    return [plan_of(builds[n].manifest, verifiers.settlement[n]) for n in check_builds(builds)]


def plan_of(manifest: Manifest, settlement: Verifier) -> Plan:
    """A filter without Multi-Krum is f = 0, m = N in the contract."""
    rule = manifest.filter
    references = sum(1 << REFERENCES.index(name) for name in manifest.references)
    return Plan(settlement, manifest.digest(), rule.f, rule.m or manifest.trainers, references, manifest.score_shift)
