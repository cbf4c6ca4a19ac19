"""Real utility proofs on the engine's commitments, and lies about them."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.circuits.leak import Basis, Table, points_of
from tests.circuits.utility_nets import BATCH, network_named, sizes
from zkmarket import backend, utility
from zkmarket.backend import srs
from zkmarket.circuits.plan import CircuitPlan
from zkmarket.crypto import P, Point, points_hash, random_scalars, scalar_hex
from zkmarket.errors import ArtifactError, DomainError, InputError, OpeningMismatch, ProofRejected
from zkmarket.networks import make_plan
from zkmarket.round import Aggregate, Theta, combine, moved
from zkmarket.utility import (
    BatchResult,
    Descriptor,
    UtilityBuild,
    UtilityProof,
    Validation,
    instances_of,
    proof,
    write_build,
)

pytestmark = pytest.mark.proof

CONTEXT = b"\1" * 32


@dataclass(frozen=True)
class Proven:
    build: UtilityBuild
    theta: Theta
    points: tuple[Point, ...]
    validation: Validation
    proof: UtilityProof

    def verify(self, proof: UtilityProof | None = None, **changes) -> BatchResult:
        values = {
            "points": self.points,
            "validation_points": self.validation.points,
            "context": CONTEXT,
        }
        return utility.verify_utility(self.build, proof or self.proof, **(values | changes))

    def with_instance(self, at: int, value: int) -> UtilityProof:
        instances = list(self.proof.proof.instances)
        instances[at] = value
        return UtilityProof(replace(self.proof.proof, instances=tuple(instances)))


W = 7
"""What one unit of an update moves the model."""


def commit(build: UtilityBuild, values: np.ndarray, salts: np.ndarray) -> list[Point]:
    return backend.commit(build.files, build.logrows, utility.columns_of(build.plan, "theta", values, salts))


def salts_of(build: UtilityBuild) -> np.ndarray:
    return random_scalars(build.chunks * build.salts).reshape(build.chunks, build.salts, 32)


@pytest.fixture(scope="module")
def proven(tmp_path_factory: pytest.TempPathFactory) -> Proven:
    """A network with every kind of layer at K = 10; a first model, moved by three updates."""
    network = network_named("residual")
    plan = make_plan(network, sizes("cross-entropy"))
    build = write_build(plan, network, srs.generate(), tmp_path_factory.mktemp("utility") / "build")
    rng = np.random.default_rng(3)
    first = build.quantise_theta(network.theta)
    nothing = np.zeros((build.chunks, build.salts, 32), np.uint8)
    theta, points = Theta(first, nothing, build.theta_bits), [commit(build, first, nothing)]
    for _ in range(3):
        update = Aggregate(rng.integers(-20, 21, build.params), salts_of(build))
        points.append(commit(build, update.values, update.salts))
        theta = moved(theta, update, W)
    blinding = backend.commit(build.files, build.logrows, [[scalar_hex(0)]])[0]
    combined = tuple(combine(column, [1, W, W, W], blinding) for column in zip(*points, strict=True))
    validation = utility.commit_validation(build, rng.random((BATCH, 1, 4, 4)), np.array([0, 2, 1]))
    proof = utility.prove_utility(build, theta, validation, CONTEXT)
    return Proven(build, theta, combined, validation, proof)


def test_a_utility_is_proven_on_the_sum_of_commitments(proven: Proven):
    wanted = utility.utility(proven.build, proven.theta, proven.validation)
    assert proven.verify() == wanted and 0 <= wanted.correct <= BATCH and wanted.loss > 0
    again = UtilityProof.from_json(json.loads(json.dumps(proven.proof.to_json())))
    assert proven.verify(again) == wanted
    build = pickle.loads(pickle.dumps(UtilityBuild.load(proven.build.folder)))
    known = proven.validation.public().points
    assert utility.verify_utility(build, again, proven.points, known, CONTEXT) == wanted


def test_lies_about_a_utility_are_refused(proven: Proven):
    build, other = proven.build, commit(proven.build, proven.theta.values, salts_of(proven.build))
    start = build.plan.public["noise"][0]
    with pytest.raises(ProofRejected, match="of another theta than the committed one"):
        proven.verify(points=other)
    with pytest.raises(ProofRejected, match="takes 1 commitments of theta: got 2"):
        proven.verify(points=other * 2)
    with pytest.raises(ProofRejected, match="of another validation"):
        proven.verify(validation_points=other)
    with pytest.raises(ProofRejected, match="takes 1 commitments of validation: got 2"):
        proven.verify(validation_points=proven.validation.points * 2)
    with pytest.raises(ProofRejected, match="uses another a"):
        proven.verify(context=b"\2" * 32)
    with pytest.raises(ProofRejected, match="does not verify"):
        proven.verify(proven.with_instance(-1, proven.proof.proof.instances[-1] - 1))
    with pytest.raises(ProofRejected, match="does not verify"):
        proven.verify(proven.with_instance(-2, 0 if proven.proof.proof.instances[-2] else 1))
    with pytest.raises(ProofRejected, match="are no result of a batch"):
        proven.verify(proven.with_instance(-1, 1 << 130))
    with pytest.raises(ProofRejected, match=r"E\(0\) is 2"):
        proven.verify(proven.with_instance(start, 2))
    for index, name in enumerate(utility.check_names(build.plan)):
        with pytest.raises(ProofRejected, match=f"the check of {name} fails"):
            proven.verify(proven.with_instance(start + 1 + index, 1))
    for index in range(start):  # every public value is compared
        with pytest.raises(ProofRejected, match=rf"public value {index}\)"):
            proven.verify(proven.with_instance(index, proven.proof.proof.instances[index] ^ 1))
    short = replace(proven.proof.proof, instances=proven.proof.proof.instances[:-1])
    with pytest.raises(ProofRejected, match="instances: wanted"):
        proven.verify(UtilityProof(short))
    longer = replace(proven.proof.proof, data=proven.proof.proof.data + b"\0")
    with pytest.raises(ProofRejected, match="bytes: wanted"):
        proven.verify(UtilityProof(longer))


def test_a_contract_builds_every_instance_of_a_proof(proven: Proven):
    """From its descriptor, two hashes and two claims."""
    inner, known = proven.proof.proof, Descriptor.of(proven.build)
    result = proven.verify()
    batch = points_hash(proven.validation.points)
    given = known, proven.points, batch, CONTEXT, inner.data
    assert instances_of(*given, result.correct, result.loss) == inner.instances
    assert known.count == len(inner.instances)
    with pytest.raises(ProofRejected, match="does not verify"):
        claimed = instances_of(*given, result.correct, result.loss - 1)
        backend.verify(proven.build.files, replace(inner, instances=claimed), "utility proof")


def test_challenges_come_after_the_witness(proven: Proven):
    """A proof with another witness's commitment in its place has other challenges."""
    at = 64 * (1 + 1)
    data = bytearray(proven.proof.proof.data)
    data[at : at + 64] = data[:64]  # the model's point: a point of the curve, too
    with pytest.raises(ProofRejected, match="uses another a"):
        proven.verify(UtilityProof(replace(proven.proof.proof, data=bytes(data))))


def test_data_and_noise_are_in_one_argument_in_every_block(proven: Proven):
    """The multiplicities that a proof commits to are those of data and noise together; none are of data alone."""
    build, plan = proven.build, proven.build.plan
    job = utility.prove_job(build, proven.theta, proven.validation, CONTEXT)
    proof = backend.prove([job])[0]
    assert proven.verify(UtilityProof(proof)) == utility.utility(build, proven.theta, proven.validation)
    points = points_of(proof)
    blocks = looked_up_by_block(plan, job.inputs)
    table = Table(Basis(build.files.srs, build.logrows), -(plan.radix // 2), plan.radix)
    assert len(blocks) > 1
    for values in blocks.values():
        assert sum(kind == "noise" for kind, _ in values) >= 128
        assert table.commit(value for _, value in values) in points
        assert table.commit(value for kind, value in values if kind != "noise") not in points


def looked_up_by_block(plan: CircuitPlan, inputs: Sequence[Sequence[str]]) -> dict[int, list[tuple[str, int]]]:
    """What the circuit looks up in each block of columns: (kind, value)."""
    everything = [small(cell) for column in inputs for cell in column]
    cells = {
        kind: [cell for start, count in plan.columns[kind] for cell in everything[start : start + count]]
        for kind in ("public", "witness")
    }
    noise, below = plan.public["noise"][0], plan.witness["lambda"][0]
    cells["noise"] = cells["public"][noise:]
    cells["below"] = [value - 1 for value in cells["witness"][below : below + BATCH]]
    values = [(kind, cells[kind][at]) for kind, first, count in plan.sequence for at in range(first, first + count)]
    blocks: dict[int, list[tuple[str, int]]] = {}
    for row, pair in enumerate(values, start=plan.first_lookup):
        blocks.setdefault(row // backend.usable_rows(plan.logrows), []).append(pair)
    return blocks


def small(cell: str) -> int:
    value = int.from_bytes(bytes.fromhex(cell), "little")
    return value if value < P // 2 else value - P


# ---------------------------------------------------------------- what is given


def test_what_is_not_the_builds_is_refused(proven: Proven):
    build, theta, validation = proven.build, proven.theta, proven.validation
    one = np.eye(1, build.params, dtype=np.int64)[0]  # a parameter that counts
    room = build.plan.bounds.theta - int(np.abs(theta.values[build.used]).max())
    for bad, reason in (
        (replace(theta, values=theta.values[1:]), "int64 and 4 theta_bits"),
        (replace(theta, values=theta.values.astype(np.int32)), "int64 and 4 theta_bits"),
        (replace(theta, bits=5), "int64 and 4 theta_bits"),
        (replace(theta, salts=theta.salts[:, 1:]), "salts are uint8"),
        (replace(theta, values=one * (build.plan.bounds.theta + 1)), r"θ reaches 4.0001\d*: this build takes 4"),
        (replace(theta, values=-one * (build.plan.bounds.theta + 1)), r"θ reaches 4.0001\d*: this build takes 4"),
    ):
        with pytest.raises(InputError, match=reason):
            utility.utility(build, bad, validation)
    build.check_theta(replace(theta, values=one * build.plan.bounds.theta))
    build.check_theta(theta, step=room)
    with pytest.raises(DomainError, match=r"a round can move it by .*compile with a larger --theta-bound"):
        build.check_theta(theta, step=room + 1)
    unused = theta.values.copy()
    unused[~build.used] = 1 << 40  # statistics of the batch-norm
    build.check_theta(replace(theta, values=unused))
    network = network_named("residual")
    for bad in (network.theta[1:], network.theta * np.nan, network.theta + 1000):
        with pytest.raises(InputError, match="θ"):
            build.quantise_theta(bad)
    with pytest.raises(InputError, match="not of this build"):
        utility.utility(build, theta, validation.public())
    beyond = validation.values.copy()
    beyond[0] = 65
    with pytest.raises(DomainError, match="beyond the build's bounds"):
        utility.utility(build, theta, replace(validation, values=beyond))
    other = validation.values.copy()
    other[0] ^= 1
    with pytest.raises(OpeningMismatch, match="does not open its own points"):
        utility.prove_job(build, theta, replace(validation, values=other), CONTEXT)
    with pytest.raises(InputError, match="32 bytes"):
        utility.prove_job(build, theta, validation, b"short")
    inputs = np.zeros((BATCH, 16))
    for bad, labels, reason in (
        (inputs[:2], [0, 1], "a batch is 3 samples"),
        (inputs + 2, [0, 1, 2], "inputs reach 2"),
        (inputs, [0, 1, 3], "labels are 3 classes"),
        (inputs, [0.0, 1.0, 2.0], "labels are 3 classes"),
    ):
        with pytest.raises(InputError, match=reason):
            utility.commit_validation(build, bad, np.array(labels))


def test_a_batch_nobody_can_prove_is_refused_before_an_office_is_taken(proven: Proven):
    """Values beyond the plan's bounds, another batch under the known commitment, and another commitment."""
    build, validation = proven.build, proven.validation
    utility.check_opened(build, validation, validation.points)
    for at, value in ((0, 65), (0, -65), (-1, 3), (-1, -1)):  # an input, a label
        values = validation.values.copy()
        values[at] = value
        with pytest.raises(DomainError, match="beyond the build's bounds"):
            utility.check_opened(build, replace(validation, values=values), validation.points)
    values = validation.values.copy()
    values[0] ^= 1
    other = utility.commit_validation(build, np.zeros((BATCH, 1, 4, 4)), np.array([0, 0, 0]))
    for batch, points in (
        (replace(validation, values=values), validation.points),
        (replace(validation, salts=other.salts), validation.points),
        (validation, other.points),
        (replace(validation, points=other.points), validation.points),
        (replace(validation, points=other.points), other.points),
    ):
        with pytest.raises(OpeningMismatch, match="does not open the commitment that is known"):
            utility.check_opened(build, batch, points)


def test_a_batch_is_kept_and_published(proven: Proven, tmp_path: Path):
    path = tmp_path / "batch.npz"
    proven.validation.save(path)
    assert path.stat().st_mode & 0o777 == 0o600
    read = Validation.load(path)
    assert read.points == proven.validation.points and np.array_equal(read.values, proven.validation.values)
    assert np.array_equal(read.salts, proven.validation.salts)
    proven.validation.public().save(path, mode=0o644)
    public = Validation.load(path)
    assert public.points == proven.validation.points and not public.values.size and not public.salts.size
    np.savez(path, values=np.zeros(3), salts=proven.validation.salts, points=np.zeros(64, np.uint8))
    with pytest.raises(InputError, match="no validation batch"):
        Validation.load(path)
    np.savez(path, values=proven.validation.values, salts=proven.validation.salts, points=np.zeros(64, np.uint8))
    with pytest.raises(InputError, match="not on BN254"):
        Validation.load(path)


@pytest.mark.parametrize(
    "change", ["plan", "layout", "digest", "key", "settings", "format", "rows", "blocks", "counted_rows"]
)
def test_a_build_that_was_changed_is_refused(change: str, proven: Proven, tmp_path: Path):
    folder = tmp_path / "build"
    shutil.copytree(proven.build.folder, folder)
    value = json.loads((folder / "utility.json").read_text())
    if change == "plan":
        value["plan"]["bounds"]["theta"] += 1
    elif change == "layout":
        value["layout"][0]["name"] = "other"
    elif change == "digest":
        value["digest"] = "0x" + "0" * 64
    elif change in ("rows", "blocks", "counted_rows"):  # not of the digest: they follow from settings and plan
        value["circuit"][change] *= 2
    elif change == "format":
        value["format"] = "zkmarket-manifest/1"
    else:
        path = folder / "circuit" / ("vk.key" if change == "key" else "settings.json")
        data = bytearray(path.read_bytes())
        data[-5] ^= 1
        path.write_bytes(bytes(data))
    (folder / "utility.json").write_text(json.dumps(value))
    with pytest.raises(ArtifactError):
        UtilityBuild.load(folder)


def in_another_order(value: dict[str, Any], name: str) -> dict[str, Any]:
    """The same utility.json with one mapping of its plan the other way round, and the digest that goes with it."""
    plan = value["plan"] if name == "plan" else {**value["plan"], name: dict(reversed(value["plan"][name].items()))}
    if name == "plan":
        plan = dict(reversed(plan.items()))
    value = {**value, "plan": plan}
    return {**value, "digest": "0x" + UtilityBuild(Path(), value).digest.hex()}


@pytest.mark.parametrize("name", ["constants", "vectors", "public", "witness", "columns", "plan", "bounds"])
def test_a_digest_is_of_one_meaning_of_the_constants(name: str, proven: Proven, tmp_path: Path):
    """With another order of its names a plan kept its digest, and a verifier took a cell of 0 for one that holds 2."""
    honest = json.loads((proven.build.folder / "utility.json").read_text())
    other = in_another_order(honest, name)
    assert other["plan"] == honest["plan"] and other["digest"] != honest["digest"]
    seed = proof._seed(proven.build, CONTEXT, proven.points)
    values = [utility.public_values(CircuitPlan.from_json(value["plan"]), seed) for value in (other, honest)]
    assert values[0] == values[1]
    if name != "bounds":  # read by its names alone
        folder = tmp_path / "build"
        shutil.copytree(proven.build.folder, folder)
        (folder / "utility.json").write_text(json.dumps(other))
        with pytest.raises(ArtifactError, match="canonical order|in this order"):
            UtilityBuild.load(folder)
    same = UtilityBuild(proven.build.folder, other)
    with pytest.raises(ProofRejected, match="uses another a"):  # challenges come from the digest
        utility.verify_utility(same, proven.proof, proven.points, proven.validation.public().points, CONTEXT)


@pytest.mark.parametrize(
    ("place", "reason"), [(["kappa0", 0], "two public values in one place"), (["f", 1], "says what .* of its")]
)
def test_a_plan_must_say_once_what_each_public_value_is(place: list, reason: str, proven: Proven):
    name, at = place
    plan = json.loads(json.dumps(proven.build.value["plan"]))
    plan["public"][name][at] = 2 if at == 0 else plan["public"][name][at] - 1
    with pytest.raises(ArtifactError, match=reason):
        utility.public_values(CircuitPlan.from_json(plan), CONTEXT)


def test_odd_proofs_are_refused(proven: Proven):
    good = proven.proof.to_json()
    for change in ({"format": "x"}, {"proof": "0xz"}, {"proof": 5}, {"instances": ["0x1"]}, {"instances": 3}, {"a": 1}):
        with pytest.raises(InputError, match="not a utility proof"):
            UtilityProof.from_json(good | change)
