"""Attacks on the decision: proofs of other matrices, rules and circuits, and updates made to win."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.attacks.forger import forge_round, with_settlement
from tests.conftest import PARAMS, TRAINERS, Round, build_for, honest_updates, submit
from zkmarket import backend
from zkmarket.backend import Proof
from zkmarket.build import Build, Manifest
from zkmarket.documents import write_json
from zkmarket.errors import ArtifactError, InputError, ProofRejected
from zkmarket.files import sha256_file
from zkmarket.round import Decision, RoundProof, Submission, open_aggregate, prove_round, settlement, verify_round
from zkmarket.rules import MultiKrum, krum_scores

pytestmark = [pytest.mark.proof, pytest.mark.usefixtures("remembered")]

N = TRAINERS
Q_AT, R_AT, BETA_AT, MASK_AT, SCORE_AT, NU_AT = 0, 1, N + 2, N + 3, 2 * N + 3, 3 * N + 3


def challenges(build: Build, proof: RoundProof) -> list[int]:
    return proof.transcript(build.manifest).slot_challenges(build.manifest.slots)


def settle(build: Build, matrix: list[list[int]], r: list[int], beta: int) -> tuple[Proof, tuple[int, int]]:
    """A settlement proof of any matrix with any challenges, and its C_G."""
    committed = settlement.commit_gram(build, matrix)
    return backend.prove([settlement.prove_job(build, committed, r, beta)])[0], committed.point


@pytest.fixture(scope="module")
def flattering() -> list[list[int]]:
    """A Gram matrix in which slot 5, the outlier, is accepted, and slot 1 is not."""
    matrix = [[10**6 + (i == j) * 1000 for j in range(N + 1)] for i in range(N + 1)]
    matrix[1][1] += 500
    return matrix


@pytest.fixture(scope="module")
def flattered(honest_round: Round, flattering: list[list[int]]) -> tuple[Proof, tuple[int, int]]:
    """A valid settlement proof of that matrix, with the round's own challenges and β."""
    build, proof = honest_round.build, honest_round.proof
    return settle(build, flattering, challenges(build, proof), proof.beta)


# ---------------------------------------------------------------- another matrix


def test_settlement_of_another_matrix(honest_round: Round, flattered: tuple[Proof, tuple[int, int]]) -> None:
    proof, _ = flattered
    assert proof.instances[MASK_AT + 4] == 1
    with pytest.raises(ProofRejected, match="another Gram matrix than the one committed before the challenges"):
        verify_round(honest_round.build, replace(honest_round.proof, settlement=proof))


def test_settlement_of_another_matrix_with_the_point_put_in(
    honest_round: Round, flattered: tuple[Proof, tuple[int, int]]
) -> None:
    proof, _ = flattered
    patched = Proof(honest_round.proof.settlement.data[:64] + proof.data[64:], proof.instances)
    with pytest.raises(ProofRejected, match="settlement proof does not verify"):
        verify_round(honest_round.build, replace(honest_round.proof, settlement=patched))


def test_settlement_of_another_matrix_with_its_own_point(
    honest_round: Round, flattered: tuple[Proof, tuple[int, int]]
) -> None:
    """C_G changed afterwards: the challenges are then others."""
    proof, point = flattered
    with pytest.raises(ProofRejected, match="answers other challenges"):
        verify_round(honest_round.build, replace(honest_round.proof, settlement=proof, gram_point=point))


def test_settlement_of_another_matrix_from_the_start(honest_round: Round, flattering: list[list[int]]) -> None:
    """Committed before the challenges, and the settlement proof is valid: then the Gram argument fails."""

    def change(matrix: list[list[int]]) -> None:
        matrix[:] = flattering

    forged = forge_round(honest_round.build, honest_round.submissions, change)
    with pytest.raises(ProofRejected, match="<W, W> is not the folded claim T"):
        verify_round(honest_round.build, forged)


# ---------------------------------------------------------------- instances


@pytest.mark.parametrize("slot", range(1, N + 1))
def test_mask_flipped(honest_round: Round, slot: int) -> None:
    at = MASK_AT + slot - 1
    flipped = with_settlement(honest_round.proof, **{f"i{at}": 1 - honest_round.proof.settlement.instances[at]})
    with pytest.raises(ProofRejected, match="settlement proof does not verify"):
        verify_round(honest_round.build, flipped)


def test_masks_swapped(honest_round: Round) -> None:
    """The outlier's place for an accepted one's."""
    assert honest_round.proof.settlement.instances[MASK_AT : MASK_AT + N] == (1, 1, 1, 1, 0)
    swapped = with_settlement(honest_round.proof, **{f"i{MASK_AT}": 0, f"i{MASK_AT + 4}": 1})
    with pytest.raises(ProofRejected, match="settlement proof does not verify"):
        verify_round(honest_round.build, swapped)


@pytest.mark.parametrize("value", [2, -1])
def test_mask_that_is_no_bit(honest_round: Round, value: int) -> None:
    with pytest.raises(ProofRejected, match="neither 0 nor 1|not a canonical"):
        verify_round(honest_round.build, with_settlement(honest_round.proof, **{f"i{MASK_AT}": value}))


@pytest.mark.parametrize("amount", [1, -1])
@pytest.mark.parametrize("at", [Q_AT, SCORE_AT, SCORE_AT + 3, NU_AT], ids=["q", "score 1", "score 4", "nu"])
def test_output_off_by_one(honest_round: Round, at: int, amount: int) -> None:
    value = honest_round.proof.settlement.instances[at] + amount
    with pytest.raises(ProofRejected, match="settlement proof does not verify"):
        verify_round(honest_round.build, with_settlement(honest_round.proof, **{f"i{at}": value}))


@pytest.mark.parametrize("at", [SCORE_AT + 4, NU_AT], ids=["score", "nu"])
def test_output_beyond_its_range(honest_round: Round, at: int) -> None:
    with pytest.raises(ProofRejected, match="a score or ν is not below 2\\^64"):
        verify_round(honest_round.build, with_settlement(honest_round.proof, **{f"i{at}": 1 << 64}))


def test_echo_of_other_challenges(honest_round: Round) -> None:
    value = honest_round.proof.settlement.instances[R_AT + 2] + 1
    with pytest.raises(ProofRejected, match="answers other challenges"):
        verify_round(honest_round.build, with_settlement(honest_round.proof, **{f"i{R_AT + 2}": value}))


def test_proof_of_other_challenges(honest_round: Round, flattering: list[list[int]]) -> None:
    """Proven for challenges of the prover's choice; then with the right ones written over them."""
    build, proof = honest_round.build, honest_round.proof
    chosen, _ = settle(build, flattering, [1] * (N + 1), proof.beta)
    with pytest.raises(ProofRejected, match="answers other challenges"):
        verify_round(build, replace(proof, settlement=chosen))
    echoed = (chosen.instances[0], *challenges(build, proof), *chosen.instances[BETA_AT:])
    with pytest.raises(ProofRejected, match="another Gram matrix"):
        verify_round(build, replace(proof, settlement=Proof(chosen.data, echoed)))


# ---------------------------------------------------------------- the norm bound


def test_proof_of_another_bound(honest_round: Round, flattering: list[list[int]]) -> None:
    build, proof = honest_round.build, honest_round.proof
    other, point = settle(build, flattering, challenges(build, proof), proof.beta - 1)
    with pytest.raises(ProofRejected, match="uses another norm bound"):
        verify_round(build, replace(proof, settlement=other))
    with pytest.raises(ProofRejected, match="answers other challenges"):
        verify_round(build, replace(proof, settlement=other, beta=proof.beta - 1, gram_point=point))


def test_bound_written_over(honest_round: Round) -> None:
    proof = honest_round.proof
    with pytest.raises(ProofRejected, match="uses another norm bound"):
        verify_round(honest_round.build, with_settlement(proof, **{f"i{BETA_AT}": 1}))
    with pytest.raises(ProofRejected, match="answers other challenges"):
        verify_round(honest_round.build, replace(proof, beta=proof.beta - 1))


@pytest.mark.parametrize("beta", [-1, PARAMS * 4096**2 + 1, 1 << 300])
def test_bound_beyond_the_project_s(honest_round: Round, beta: int) -> None:
    with pytest.raises(ProofRejected, match="norm bound is from 0 to beta_max"):
        verify_round(honest_round.build, replace(honest_round.proof, beta=beta))
    with pytest.raises(InputError, match="norm bound is from 0 to beta_max"):
        prove_round(honest_round.build, honest_round.submissions, beta)


# ---------------------------------------------------------------- other builds and circuits


@pytest.fixture(scope="module")
def tiny_round(one_chunk_build: Build) -> Round:
    """An honest round of N = 3, D = 40, leave-one-out."""
    subs = tuple(submit(one_chunk_build, v, 0x1000 + i) for i, v in enumerate(honest_updates(3, 40)))
    proof, aggregate = prove_round(one_chunk_build, subs)
    return Round(one_chunk_build, subs, proof, aggregate)


def test_round_of_another_build(honest_round: Round, tiny_round: Round) -> None:
    verify_round(tiny_round.build, tiny_round.proof)
    for build, proof, why in (
        (tiny_round.build, honest_round.proof, "settles exactly N=3 trainers: got 5"),
        (honest_round.build, tiny_round.proof, "settles exactly N=5 trainers: got 3"),
    ):
        with pytest.raises(ProofRejected, match="round proof is of another build"):
            verify_round(build, proof)
        with pytest.raises(ProofRejected, match=why):
            verify_round(build, replace(proof, manifest_digest=build.manifest.digest()))


def test_settlement_of_another_number_of_trainers(honest_round: Round, tiny_round: Round) -> None:
    other = tiny_round.proof.settlement
    with pytest.raises(ProofRejected, match="has 13 instances: wanted 19 for N=5"):
        verify_round(honest_round.build, replace(honest_round.proof, settlement=other))
    dressed = Proof(honest_round.proof.settlement.data[:64] + other.data[64:], honest_round.proof.settlement.instances)
    with pytest.raises(ProofRejected, match="settlement proof (has .* bytes: wanted|does not verify)"):
        verify_round(honest_round.build, replace(honest_round.proof, settlement=dressed))


def test_base_proof_of_another_number_of_chunks(honest_round: Round, tiny_round: Round) -> None:
    with pytest.raises(ProofRejected, match="has 0 fold claims: wanted 2 for m=3"):
        verify_round(honest_round.build, replace(honest_round.proof, base=tiny_round.proof.base))
    with pytest.raises(ProofRejected, match="has 2 fold claims: wanted 0 for m=1"):
        verify_round(tiny_round.build, replace(tiny_round.proof, base=honest_round.proof.base))


@pytest.fixture(scope="module")
def looser_build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """The same project under a rule that accepts everybody: the same shapes, another settlement key."""
    return build_for(tmp_path_factory.mktemp("looser") / "build", filter=MultiKrum(1, 5))


def test_settlement_under_a_looser_rule(honest_round: Round, looser_build: Build) -> None:
    """Valid under its own key, with the right matrix, challenges and β: but not under the project's."""
    build, submissions = honest_round.build, honest_round.submissions
    loose, _ = prove_round(looser_build, submissions)
    assert verify_round(looser_build, loose).mask == (1, 1, 1, 1, 1)
    with pytest.raises(ProofRejected, match="of another build"):
        verify_round(build, loose)
    pretending = Build(looser_build.folder, build.manifest)  # the looser keys under the project's own digest
    forged = forge_round(pretending, submissions, solve=None)
    assert forged.manifest_digest == build.manifest.digest()
    assert forged.settlement.instances[MASK_AT : MASK_AT + N] == (1, 1, 1, 1, 1)
    with pytest.raises(ProofRejected, match="settlement proof does not verify"):
        verify_round(build, forged)


def copied(build: Build, folder: Path) -> Path:
    """A copy to tamper with: builds share their key files with the user's cache."""
    shutil.copytree(build.folder, folder, ignore=shutil.ignore_patterns("pk.key"))
    return folder


def rewrite(folder: Path, name: str, file: str, data: bytes, hashes: bool) -> None:
    """Replace one file of a circuit; with `hashes` the manifest is made to agree."""
    path = folder / "circuits" / name / file
    path.unlink()
    path.write_bytes(data)
    if hashes:
        value = json.loads((folder / "manifest.json").read_text())
        value["circuits"][name]["files"][file] = sha256_file(path)
        write_json(folder / "manifest.json", value | {"digest": "0x" + Manifest(value).digest().hex()})


@pytest.mark.parametrize("victim, other", [("base", "settlement"), ("settlement", "base")])
def test_verifying_key_of_another_circuit(honest_round: Round, tmp_path: Path, victim: str, other: str) -> None:
    """Alone it fails its hash; with the manifest's hashes it is another build, or none; it verifies nothing of ours."""
    key = (honest_round.build.folder / "circuits" / other / "vk.key").read_bytes()
    plain = copied(honest_round.build, tmp_path / "plain")
    rewrite(plain, victim, "vk.key", key, hashes=False)
    with pytest.raises(ArtifactError, match=f"circuits/{victim}/vk.key is not the file of this build"):
        Build.load(plain)

    hashed = copied(honest_round.build, tmp_path / "hashed")
    rewrite(hashed, victim, "vk.key", key, hashes=True)
    if victim == "base":  # updates are committed to with it: it has another K here
        with pytest.raises(ArtifactError, match="ezkl cannot read the build's settings or verifying key"):
            Build.load(hashed)
        return
    swapped = Build.load(hashed)
    with pytest.raises(ProofRejected, match="of another build"):
        verify_round(swapped, honest_round.proof)
    relabelled = replace(honest_round.proof, manifest_digest=swapped.manifest.digest())
    with pytest.raises(ProofRejected, match="answers other challenges"):
        verify_round(swapped, relabelled)


def test_copied_build_verifies(honest_round: Round, tmp_path: Path) -> None:
    """The honest twin: the copy is a build, and needs no proving key to verify."""
    folder = copied(honest_round.build, tmp_path / "copy")
    assert verify_round(Build.load(folder), honest_round.proof) == verify_round(honest_round.build, honest_round.proof)
    with pytest.raises(ArtifactError, match="pk.key is missing"):
        Build.load(folder, prover=True)


def test_looser_key_with_the_manifest_s_hashes(honest_round: Round, looser_build: Build, tmp_path: Path) -> None:
    """The whole settlement circuit of the looser rule put into the project's build."""
    folder = copied(honest_round.build, tmp_path / "build")
    shutil.rmtree(folder / "circuits/settlement")
    shutil.copytree(looser_build.folder / "circuits/settlement", folder / "circuits/settlement")
    value = json.loads((folder / "manifest.json").read_text())
    value["circuits"]["settlement"] = looser_build.manifest.value["circuits"]["settlement"]
    write_json(folder / "manifest.json", value | {"digest": "0x" + Manifest(value).digest().hex()})
    digest = Build.load(folder).manifest.digest()
    assert digest not in (honest_round.build.manifest.digest(), looser_build.manifest.digest())


# ---------------------------------------------------------------- updates made to win


def round_of(build: Build, updates: list[np.ndarray], beta: int | None = None) -> tuple[Decision, RoundProof]:
    """Prove and verify a round."""
    subs = [submit(build, values, 0x3000 + i) for i, values in enumerate(updates)]
    proof, aggregate = prove_round(build, subs, beta)
    decision = verify_round(build, proof)
    if aggregate is not None:
        open_aggregate(build, decision, aggregate)
    return decision, proof


@pytest.fixture(scope="module")
def clones() -> list[np.ndarray]:
    """Three honest updates and two clones of a long one, closer to each other than the honest are."""
    updates = honest_updates(4, PARAMS, seed=3, spread=100, length=40)
    long = -4 * updates[3]
    return [*updates[:3], long, long]


def inner_products(updates: list[np.ndarray]) -> list[list[int]]:
    return [[int(np.dot(a, b)) for b in updates] for a in updates]


@pytest.mark.exhaustive("why there is a bound; that it works is the next test")
def test_long_clones_win_without_a_bound(small_build: Build, clones: list[np.ndarray]) -> None:
    """What the norm bound is for: the clones have the best Krum scores and take most of the reward."""
    ranks = krum_scores(inner_products(clones), small_build.manifest.filter.f)
    assert max(ranks[3:]) < min(ranks[:3])
    decision, _ = round_of(small_build, clones)
    paid, _ = decision.shares(10**6)
    assert decision.mask[3:] == (1, 1) and sum(paid[3:]) > 10**6 // 2


def test_long_clones_lose_with_the_bound(small_build: Build, clones: list[np.ndarray]) -> None:
    """The bound is inside the ranking: the honest are selected in their place."""
    norms = [row[i] for i, row in enumerate(inner_products(clones))]
    beta = max(norms[:3])
    assert min(norms[3:]) > beta
    decision, _ = round_of(small_build, clones, beta)
    paid, _ = decision.shares(10**6)
    assert decision.mask == (1, 1, 1, 0, 0)
    assert paid[3:] == [0, 0] and min(paid[:3]) > 0


@pytest.mark.exhaustive("test_settlement_circuit.py, without a proof")
def test_a_majority_of_long_clones_gets_nothing(small_build: Build, clones: list[np.ndarray]) -> None:
    """Beyond f nothing is promised, but the round can be settled, and not in their favour."""
    beta = max(row[i] for i, row in enumerate(inner_products(clones[:3])))
    decision, _ = round_of(small_build, [*clones[:2], *clones[3:], clones[3]], beta)
    assert decision.mask == (1, 1, 0, 0, 0) and decision.aggregate == ()
    paid, _ = decision.shares(10**6)
    assert min(paid[:2]) > 0 and paid[2:] == [0, 0, 0]


def test_zero_updates(small_build: Build) -> None:
    """All scores are 0: the reward is split equally, and the aggregate is zero."""
    decision, proof = round_of(small_build, [np.zeros(PARAMS, int)] * N)
    assert decision.mask == (1,) * N and decision.scores == (0,) * N and decision.nu == 0
    assert decision.shares(1003) == ([200] * N, 3)
    assert proof.settlement.instances[NU_AT] == 0


@pytest.mark.exhaustive("test_zero_updates")
def test_one_zero_update(small_build: Build) -> None:
    """A free rider earns nothing, accepted or not."""
    updates = honest_updates(N, PARAMS)
    updates[4] = np.zeros(PARAMS, int)
    decision, _ = round_of(small_build, updates)
    assert decision.scores[4] == 0 and min(decision.scores[:4]) > 0
    assert decision.shares(10**18)[0][4] == 0


def test_negative_contribution_is_paid_nothing(honest_round: Round) -> None:
    """The outlier of the honest round points the other way: its score is 0, not p − x."""
    decision = verify_round(honest_round.build, honest_round.proof)
    assert decision.mask[4] == 0 and decision.scores[4] == 0
    assert decision.shares(10**18)[0][4] == 0


def bound_for(submissions: tuple[Submission, ...], count: int) -> int:
    """A norm bound that exactly `count` of the updates meet."""
    return sorted(int(np.dot(v := s.opening.values.astype(np.int64), v)) for s in submissions)[count - 1]


@pytest.mark.exhaustive("other numbers", but=1)
@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_within_the_bound(honest_round: Round, count: int) -> None:
    """Fewer than three would learn each other's updates: the round is proven and paid, its aggregate withheld."""
    build, submissions = honest_round.build, honest_round.submissions
    beta = bound_for(submissions, count) if count else 0
    proof, aggregate = prove_round(build, submissions, beta)
    decision = verify_round(build, proof)
    assert aggregate is None and decision.aggregate == () and sum(decision.mask) == count
    paid, dust = decision.shares(10**6)
    assert sum(paid) + dust == 10**6
    assert [pay > 0 for pay in paid] == ([bool(bit) for bit in decision.mask] if count else [True] * len(paid))
    with pytest.raises(InputError, match=f"no aggregate: {count} updates are accepted, wanted at least 3"):
        open_aggregate(build, decision, honest_round.aggregate)


@pytest.mark.exhaustive("the circuit's tests have it without a proof")
def test_three_within_the_bound(honest_round: Round) -> None:
    """The honest twin, at the edge."""
    beta = bound_for(honest_round.submissions, 3)
    proof, _ = prove_round(honest_round.build, honest_round.submissions, beta)
    decision = verify_round(honest_round.build, proof)
    assert sum(decision.mask) == 3 and proof.beta == beta


def test_identity_matrix_is_decided_as_the_oracle_does(small_build: Build) -> None:
    """Ties everywhere: all are accepted, by circuit and oracle alike."""
    updates = [np.zeros(PARAMS, int) for _ in range(N)]
    for i, update in enumerate(updates):
        update[i] = 3
    decision, _ = round_of(small_build, updates)
    assert (decision.mask, decision.scores, decision.nu) == ((1,) * N, (9,) * N, 9)
