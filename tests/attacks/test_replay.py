"""A round proof is of one round, project, chain, number of trainers and build, and of no other."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.forger import forge_round
from tests.conftest import ROUND, Round, build_for
from zkmarket.build import Build
from zkmarket.errors import ProofRejected, SrsError
from zkmarket.round import RoundId, RoundProof, Submission, prove_round, settlement, verify_round

pytestmark = [pytest.mark.proof, pytest.mark.usefixtures("remembered")]

OTHERS = {
    "round": replace(ROUND, round=8),
    "project": replace(ROUND, project=0xABCDE0),
    "chain": replace(ROUND, chain_id=1),
    "off chain": RoundId(),
}


@pytest.fixture(params=OTHERS.values(), ids=OTHERS)
def other(request: pytest.FixtureRequest) -> RoundId:
    return request.param


def moved(proof: RoundProof, round_id: RoundId) -> RoundProof:
    """The proof and all its commitments relabelled as another round's."""
    commitments = tuple(replace(commitment, round_id=round_id) for commitment in proof.commitments)
    return replace(proof, round_id=round_id, commitments=commitments)


def test_honest_twin(honest_round: Round) -> None:
    verify_round(honest_round.build, honest_round.proof, expected=ROUND)


def test_presented_as_another(honest_round: Round, other: RoundId) -> None:
    with pytest.raises(ProofRejected, match="round proof is of another round"):
        verify_round(honest_round.build, honest_round.proof, expected=other)


def test_head_relabelled(honest_round: Round, other: RoundId) -> None:
    with pytest.raises(ProofRejected, match="slot 1: commitment is of another round"):
        verify_round(honest_round.build, replace(honest_round.proof, round_id=other), expected=other)


def test_wholly_relabelled(honest_round: Round, other: RoundId) -> None:
    """The challenges are of where the round was proven."""
    with pytest.raises(ProofRejected, match="answers other challenges"):
        verify_round(honest_round.build, moved(honest_round.proof, other), expected=other)


def test_one_commitment_of_an_old_round(honest_round: Round, other: RoundId) -> None:
    """An aggregator may not mix rounds, either."""
    first, *rest = honest_round.submissions
    old = Submission(replace(first.commitment, round_id=other), first.opening)
    with pytest.raises(ProofRejected, match="slot 2: commitment is of another round"):
        prove_round(honest_round.build, [old, *rest])
    commitments = (*honest_round.proof.commitments[:4], replace(honest_round.proof.commitments[4], round_id=other))
    with pytest.raises(ProofRejected, match="slot 5: commitment is of another round"):
        verify_round(honest_round.build, replace(honest_round.proof, commitments=commitments))


def test_old_arguments_on_a_new_round(honest_round: Round) -> None:
    """The two arguments of an old round beside the commitments of another, of the same trainers."""
    submissions = honest_round.submissions
    reordered = (submissions[1], submissions[0], *submissions[2:])
    new = forge_round(honest_round.build, reordered, solve=None)
    verify_round(honest_round.build, new)
    old = honest_round.proof
    names = ("settlement", "base", "gram_point", "mask_points", "projection_points")
    for name in names:
        with pytest.raises(ProofRejected, match="other challenges|another Gram matrix|not the folded"):
            verify_round(honest_round.build, replace(new, **{name: getattr(old, name)}))
    together = replace(new, **{name: getattr(old, name) for name in names})
    with pytest.raises(ProofRejected, match="answers other challenges"):
        verify_round(honest_round.build, together)


# ---------------------------------------------------------------- another manifest


VARIANTS: dict[str, dict[str, Any]] = {
    "scale": {"scale_bits": 5},
    "beta_max": {"beta_max": 10**8},
}
"""Builds with the very same keys: only the manifest tells them apart."""


@pytest.fixture(scope="module", params=VARIANTS.values(), ids=VARIANTS)
def sibling(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Build:
    return build_for(tmp_path_factory.mktemp("sibling") / "build", **request.param)


@pytest.mark.exhaustive("another word of the manifest", but=1)
def test_another_manifest_with_the_same_keys(honest_round: Round, sibling: Build) -> None:
    digests = [
        {name: circuit["files"]["vk.key"] for name, circuit in build.manifest.value["circuits"].items()}
        for build in (sibling, honest_round.build)
    ]
    assert digests[0] == digests[1]
    with pytest.raises(ProofRejected, match="round proof is of another build"):
        verify_round(sibling, honest_round.proof)
    relabelled = replace(honest_round.proof, manifest_digest=sibling.manifest.digest())
    reason = "answers other challenges|norm bound is from 0 to beta_max"
    with pytest.raises(ProofRejected, match=reason):
        verify_round(sibling, relabelled)
    proof, _ = prove_round(sibling, honest_round.submissions)
    verify_round(sibling, proof)


def test_another_bound_of_values_is_another_settlement(honest_round: Round, tmp_path: Path) -> None:
    """Q is a constant of the settlement circuit, D·Q², and of no other."""
    keys = [
        {name: circuit["files"]["vk.key"] for name, circuit in build.manifest.value["circuits"].items()}
        for build in (build_for(tmp_path / "build", value_bits=9), honest_round.build)
    ]
    assert {name for name in keys[0] if keys[0][name] != keys[1][name]} == {"settlement"}


def changed_manifest(build: Build, folder: Path, *path: str, to: Any) -> Build:
    """The same build with one place of its manifest changed, not loaded anew."""
    value = copy.deepcopy(build.manifest.value)
    place = value
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    return Build(folder, replace(build.manifest, value=value))


@pytest.mark.parametrize(
    "path, to",
    [
        (("salts",), 9),
        (("min_accepted",), 4),
        (("score",), "leave-one-out"),
        (("filter",), "multi-krum:f=1,m=5"),
        (("filter",), "norm"),
        (("filter",), "multi-krum:f=1,m=4,three-sigma:lambda=3"),
        (("filter",), "multi-krum:f=1,m=4,cosine:tau=1/10"),
        (("srs", "id"), "0" * 64),
        (("circuits", "base", "files", "vk.key"), "0" * 64),
        (("circuits", "base", "files", "settings.json"), "0" * 64),
        (("circuits", "settlement", "files", "vk.key"), "0" * 64),
        (("circuits", "settlement", "files", "settings.json"), "0" * 64),
        (("circuits", "settlement", "logrows"), 19),
        (("blinding_point",), "0x" + f"{1:064x}{2:064x}"),
        (("beta_max",), "1000000000"),
        (("fixed_point", "scale_bits"), -3),
        (("fixed_point", "value_bits"), 8),
        (("circuits", "base", "proof_bytes"), 1),
        (("circuits", "settlement", "proof_bytes"), 1),
        (("layout",), [{"name": "w", "shape": [2500], "dtype": "float32"}]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
def test_every_rule_is_in_the_digest(honest_round: Round, path: tuple[str, ...], to: Any) -> None:
    other = changed_manifest(honest_round.build, honest_round.build.folder, *path, to=to)
    with pytest.raises(ProofRejected, match="round proof is of another build"):
        verify_round(other, honest_round.proof)


@pytest.mark.parametrize("name, to", [("trainers", 6), ("params", 2501), ("logrows", 11)])
def test_every_size_is_in_the_digest(honest_round: Round, name: str, to: int) -> None:
    other = changed_manifest(honest_round.build, honest_round.build.folder, name, to=to)
    with pytest.raises(ProofRejected, match="round proof is of another build"):
        verify_round(other, honest_round.proof)


def test_another_ceremony_is_not_found(honest_round: Round) -> None:
    """A build of an SRS that is not here verifies nothing, not even with the challenges that are answered."""
    other = changed_manifest(honest_round.build, honest_round.build.folder, "srs", "id", to="0" * 64)
    proof = honest_round.proof
    with pytest.raises(ProofRejected, match="answers other challenges"):
        verify_round(other, replace(proof, manifest_digest=other.manifest.digest()))
    r = proof.settlement.instances[1 : other.manifest.slots + 1]
    settlement.verify(honest_round.build, proof.settlement, proof.gram_point, r, proof.beta)
    with pytest.raises(SrsError, match="SRS 00000000 of this build is not in"):
        settlement.verify(other, proof.settlement, proof.gram_point, r, proof.beta)
