"""Real proofs of the direct circuits on the engine's commitments, beside the folded path; and lies about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from tests.circuits.leak import Basis, Table, points_of
from tests.conftest import build_for, submit
from zkmarket.backend import Proof
from zkmarket.build import Build
from zkmarket.crypto import P, encode_point
from zkmarket.errors import DomainError, InputError, OpeningMismatch, ProofRejected, RuleError, StatementFalse
from zkmarket.round import Aggregate, Outcome, Submission, direct, prove_round, verify_round
from zkmarket.round.direct import Direct, Rule, aggregation_keys, check_result, prove, round_keys
from zkmarket.rules import MultiKrum

pytestmark = pytest.mark.proof

WEIGHTS = (3, 1, 65535)


@dataclass(frozen=True)
class Proven:
    direct: Direct
    submissions: Sequence[Submission]
    proof: Proof
    result: Aggregate

    @property
    def openings(self):
        return [s.opening for s in self.submissions]

    @property
    def commitments(self):
        return [s.commitment for s in self.submissions]

    def with_instance(self, at: int, value: int) -> Proof:
        instances = list(self.proof.instances)
        instances[at] = value % P
        return replace(self.proof, instances=tuple(instances))


def updates(n: int, d: int, length: int = 60) -> np.ndarray:
    return np.random.default_rng(7).integers(-length, length + 1, (n, d))


# ---------------------------------------------------------------- weighted sum, committed


@pytest.fixture(scope="module")
def weighted(tmp_path_factory: pytest.TempPathFactory) -> Proven:
    """N = 3, D = 40, K = 10, values of 9 bits."""
    folder = tmp_path_factory.mktemp("builds") / "weighted"
    build = build_for(folder, trainers=3, params=40, filter=MultiKrum(0, 3), value_bits=9)
    made = aggregation_keys(build, Rule("mean"))
    submissions = [submit(build, u, 0x2000 + i) for i, u in enumerate(updates(3, 40))]
    openings, commitments = [s.opening for s in submissions], [s.commitment for s in submissions]
    return Proven(made, submissions, *direct.prove_aggregation(made, openings, commitments, WEIGHTS))


def test_a_weighted_sum_is_proven_on_the_engines_commitments(weighted: Proven):
    combined = direct.verify_aggregation(weighted.direct, weighted.commitments, weighted.proof, WEIGHTS)
    assert (combined.weights, combined.divisor, combined.values) == (WEIGHTS, sum(WEIGHTS), None)
    assert np.array_equal(weighted.result.values, WEIGHTS @ updates(3, 40))
    check_result(weighted.direct.build, combined.point, weighted.result)
    for slot, commitment in enumerate(weighted.commitments):
        assert weighted.proof.point(slot) == encode_point(commitment.points[0])
    changed = weighted.result.values + (np.arange(40) == 39)
    with pytest.raises(OpeningMismatch, match="does not open the commitment that was proven"):
        check_result(weighted.direct.build, combined.point, Aggregate(changed, weighted.result.salts))


def test_lies_about_a_weighted_sum_are_refused(weighted: Proven):
    made, commitments = weighted.direct, weighted.commitments
    chunk = made.build.manifest.chunk

    def refused(reason: str, proof: Proof = weighted.proof, by=commitments, weights=None) -> None:
        with pytest.raises(ProofRejected, match=reason):
            direct.verify_aggregation(made, by, proof, weights)

    refused("uses other weights", weights=(3, 1, 65534))
    refused("weights are 3 integers from 0 to 65535", weighted.with_instance(2, 65536))
    refused("weights are 3 integers from 0 to 65535", weighted.with_instance(0, -3))
    refused("at least 3 weights are not 0", weighted.with_instance(1, 0))
    refused("does not verify", weighted.with_instance(0, 4))
    refused(f"holds the result in {chunk - 1} rows, wanted all {chunk}", weighted.with_instance(3, chunk - 1))
    refused("of another update than the one committed in slot 1", by=commitments[::-1])
    refused("settles exactly N=3 trainers: got 2", by=commitments[:2])
    refused("is about commitments: got none", by=[])
    refused("has 3 instances: wanted 4", replace(weighted.proof, instances=weighted.proof.instances[:3]))
    other = bytearray(weighted.proof.data)
    other[64 * 3 : 64 * 4] = encode_point(commitments[0].points[0])  # another column than the proven one
    refused("does not verify", replace(weighted.proof, data=bytes(other)))
    refused("slots 1 and 2: the same trainer twice", by=[commitments[0], *commitments[:2]])


def test_a_build_whose_values_may_be_beyond_the_table_has_no_direct_circuits(one_chunk_build: Build):
    """An honest update with such a value would make the proof impossible: said before anything is proven."""
    reason = (
        r"in a table of \[−508, 508\) at 2\^10 rows, and this build's are in \[−4096, 4096\): .*--value-bits 9 or fewer"
    )
    with pytest.raises(DomainError, match=reason):
        aggregation_keys(one_chunk_build, Rule("mean"))
    with pytest.raises(DomainError, match=reason):
        round_keys(one_chunk_build)


def test_an_update_beyond_the_table_has_no_proof(weighted: Proven):
    """Its commitment opens, its aggregator took it: the table still refuses it, and `prove` says so in time."""
    values = weighted.openings[0].values.copy()
    values[7] = 508
    beyond = replace(weighted.openings[0], values=values)
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch, pytest.raises(StatementFalse, match=r"Lookup \(index: 0\) is not satisfied"):
        patch.setattr(prove, "check_opening", lambda *_: None)
        direct.prove_aggregation(weighted.direct, [beyond, *weighted.openings[1:]], weighted.commitments, WEIGHTS)


def test_a_false_result_cannot_be_proven_as_the_right_one(weighted: Proven, monkeypatch: pytest.MonkeyPatch):
    """A prover who commits to another vector can prove only that it differs: in how many rows is an output."""
    honest = direct.combine_updates

    def lie(*arguments) -> np.ndarray:
        return honest(*arguments) + (np.arange(40) == 5)

    monkeypatch.setattr("zkmarket.round.direct.prove.combine_updates", lie)
    with pytest.raises(ProofRejected, match="holds the result in 895 rows, wanted all 896"):
        direct.prove_aggregation(weighted.direct, weighted.openings, weighted.commitments, WEIGHTS)


def test_what_must_not_be_combined_is_refused_before_it_is_proven(weighted: Proven):
    made, openings, commitments = weighted.direct, weighted.openings, weighted.commitments
    with pytest.raises(RuleError, match="weights are 3 integers from 0 to 65535"):
        direct.prove_aggregation(made, openings, commitments, (1, 2, 65536))
    with pytest.raises(RuleError, match="at least 3 weights are not 0"):
        direct.prove_aggregation(made, openings, commitments, (1, 2, 0))
    with pytest.raises(InputError, match="takes 3 updates: got 2 openings"):
        direct.prove_aggregation(made, openings[:2], commitments[:2])
    with pytest.raises(OpeningMismatch, match="slot 1: the update does not open its commitment"):
        direct.prove_aggregation(made, openings[::-1], commitments)


# ---------------------------------------------------------------- round, opened, beside the folded path

PARAMS = 650
"""Some comparisons would lie in a block without noise, if nothing moved them: test_direct_mutants.py."""


@pytest.fixture(scope="module")
def round_build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    folder = tmp_path_factory.mktemp("builds") / "direct"
    return build_for(folder, trainers=3, params=PARAMS, filter=MultiKrum(0, 3), logrows=13, value_bits=12)


@pytest.fixture(scope="module")
def noises() -> list[list[int]]:
    return []


@pytest.fixture(scope="module")
def played(round_build: Build, noises: list[list[int]]) -> Proven:
    made = round_keys(round_build, "opened")
    assert made.circuit.numbers["pad"] > 0
    submissions = [submit(round_build, u, 0x3000 + i) for i, u in enumerate(updates(3, PARAMS))]
    openings, commitments = [s.opening for s in submissions], [s.commitment for s in submissions]
    honest = prove.noise
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prove, "noise", lambda circuit: noises.append(honest(circuit)) or noises[-1])
        return Proven(made, submissions, *direct.prove_direct_round(made, openings, commitments))


@pytest.mark.exhaustive("test_direct_round.py: the circuit is the oracle, which the folded path is, too")
def test_the_direct_round_decides_what_the_folded_path_decides(played: Proven):
    """Mask, scores, ν and aggregate on the same openings; the sum of the salts opens the folded path's commitment."""
    build = played.direct.build
    folded, aggregate = prove_round(build, played.submissions)
    decision = verify_round(build, folded)
    plain = direct.verify_direct_round(played.direct, played.commitments, build.manifest.beta_max, played.proof)
    assert plain.outcome == Outcome(decision.mask, decision.scores, decision.nu)
    assert sum(decision.mask) == 3 and max(decision.scores) > 0
    assert plain.values == tuple(aggregate.values.tolist()) == tuple(played.result.values.tolist())
    assert np.array_equal(played.result.salts, aggregate.salts)
    check_result(build, decision.aggregate[0], played.result)


@pytest.mark.exhaustive("test_lies_about_a_weighted_sum_are_refused; tests/round/test_direct.py")
def test_lies_about_a_round_are_refused(played: Proven):
    made, commitments, beta = played.direct, played.commitments, played.direct.build.manifest.beta_max

    def refused(reason: str, proof: Proof = played.proof, by=commitments, bound: int = beta) -> None:
        with pytest.raises(ProofRejected, match=reason):
            direct.verify_direct_round(made, by, bound, proof)

    refused("uses another norm bound", bound=beta - 1)
    refused("the norm bound is from 0 to beta_max", bound=beta + 1)
    refused("of another update than the one committed in slot 1", by=[commitments[1], commitments[0], commitments[2]])
    refused("a mask entry is neither 0 nor 1", played.with_instance(1, 2))
    refused("opens an aggregate of 2 updates: wanted at least 3", played.with_instance(1, 0))
    refused("a score or ν is not below 2", played.with_instance(4, 2**64))
    refused("does not verify", played.with_instance(4, played.proof.instances[4] + 1))
    refused("does not verify", played.with_instance(-1, played.proof.instances[-1] + 1))
    refused("a value of the result is beyond", played.with_instance(-1, 3 * 4092 + 1))
    refused("a value of the result is beyond", played.with_instance(-1, -3 * 4092 - 1))


@pytest.mark.exhaustive("tests/round/test_direct.py")
def test_too_few_accepted_are_not_opened(played: Proven):
    with pytest.raises(InputError, match="0 updates are accepted, wanted at least 3, or it reveals them"):
        direct.prove_direct_round(played.direct, played.openings, played.commitments, beta=0)


# ---------------------------------------------------------------- what the lookups tell


CONSTANTS = (1, 2)
"""ezkl decomposes each constant once, whatever the data."""


def steps(values: Sequence[int]) -> list[int]:
    """What a sort decomposes: neighbours as b − a + 1."""
    ordered = sorted(values)
    return [b - a + 1 for a, b in zip(ordered, ordered[1:], strict=False)]


def decomposed_data(gram: list[list[int]], beta: int, played: Proven, outcome: Outcome) -> list[int]:
    """Every integer of the data that the round circuit decomposes: what an attacker computes from a guess of G."""
    rule, n = played.direct.build.manifest.filter, len(gram)
    norms = [gram[i][i] for i in range(n)]

    def decisions(values: Sequence[int]) -> list[int]:
        return [2 * abs(2 * value + 1) + 1 for value in values]

    out, ranked = decisions([beta - norm for norm in norms]) + steps(norms), []
    for i in range(n):
        distances = [norms[i] + norms[j] - 2 * gram[i][j] for j in range(n) if j != i]
        out += steps(distances)
        ranked.append(sum(sorted(distances)[: n - rule.f - 2]))  # all are inside β here
    phi = [sum(g * bit for g, bit in zip(row, outcome.mask, strict=True)) for row in gram]
    out += steps(ranked) + decisions([sorted(ranked)[rule.m - 1] - score for score in ranked]) + decisions(phi)
    return out


@pytest.mark.exhaustive("test_histogram_attack.py has it of the settlement")
def test_all_digits_are_in_one_argument_together_with_the_noise(played: Proven, noises: list[list[int]]):
    """Whoever knows every update finds no commitment without the noise; with it there is one of all digits together.

    A digit that was looked up in another block of columns would be missing in it.
    """
    made, manifest = played.direct, played.direct.build.manifest
    domain = made.circuit.domain
    rows = updates(3, PARAMS).tolist()
    gram = [[sum(a * b for a, b in zip(u, v, strict=True)) for v in rows] for u in rows]
    outcome = direct.decide(manifest, updates(3, PARAMS), manifest.beta_max)
    data = decomposed_data(gram, manifest.beta_max, played, outcome)
    noise = noises[0]
    assert len(set(noise)) > 120 and min(noise) < 0 < max(noise)
    drawn = noise[: made.circuit.numbers["sorted_noise"]]
    everything = [*noise, *steps(drawn), min(drawn), *data]

    def found(values: list[int]) -> bool:
        last = (1 << domain.digit_bits) - 1
        digits = [abs(v) >> domain.digit_bits * k & last for v in [*CONSTANTS, *values] for k in range(domain.digits)]
        return table.commit(digits) in points

    table = Table(Basis(made.files.srs, 13), 0, 1 << domain.digit_bits)
    points = points_of(played.proof)
    assert found(everything), "the model is right: with the noise it is found"
    assert not found(data)
    assert not found(everything[1:]), "all but one noise value do not help"
    assert not found(everything[:-1]), "nor does a proof of other data"


@pytest.mark.exhaustive("a fact about ezkl, which is pinned")
def test_blocks_without_lookups_lay_the_running_sums_bare(played: Proven):
    """Why no sign may depend on data, not even in its place: circuits/round.py. Equal running sums have equal blinding,
    so the difference of another one and of this one, which everybody can compute, has none."""
    made = played.direct
    nothing = Table(Basis(made.files.srs, 13), 0, 1 << made.circuit.domain.digit_bits).commit([])
    times = Counter(points_of(played.proof))
    assert times.pop(nothing) > 1, "multiplicities of blocks that look nothing up"
    assert sum(count > 1 for count in times.values()) > 0, "their running sums"
