"""The backend's promises on real proofs: false statements, deadlines, children, one encoding of a proof."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.conftest import ROUND, Round, honest_updates
from zkmarket import backend
from zkmarket.artifacts import Build
from zkmarket.backend import CircuitFiles, Proof, ProofJob
from zkmarket.commitment import open_with_fresh_salts, range_job
from zkmarket.errors import BackendError, BackendTimeout, ProofRejected, StatementFalse
from zkmarket.field import P, random_scalars, scalar_hex, to_hex

pytestmark = pytest.mark.proof


def range_of(build: Build, value: int) -> ProofJob:
    """The range proof of a one-chunk update that starts with `value`, in range or not."""
    opening = open_with_fresh_salts(honest_updates(2, 40)[0].astype(np.int32), build.manifest)
    job = range_job(build, opening, ROUND, 1, 0)
    job.inputs[0][0] = scalar_hex(value)
    return job


def gram_of(build: Build) -> ProofJob:
    size = build.manifest.chunk + build.manifest.salts
    return ProofJob("gram proof", build.files("gram"), [to_hex(random_scalars(size))])


def prover_children() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children(recursive=True):
        try:
            if "zkmarket.backend" in child.cmdline():
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found


def witness_folders(place: Path) -> list[Path]:
    return list(place.glob(f"zkmarket-{os.getpid()}-*"))


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


# ---------------------------------------------------------------- false statements


def test_true_statement(one_chunk_build: Build, temporary: Path) -> None:
    """The honest twin: every step is reported, in order, and nothing is left behind."""
    said: list[str] = []
    bound = one_chunk_build.manifest.range_bound
    proofs = backend.prove([range_of(one_chunk_build, -bound), gram_of(one_chunk_build)], said.append)
    assert said == [
        f"{name}: {step}"
        for name in ("range proof of chunk 0", "gram proof")
        for step in ("witness", "mock", "prove", "verify")
    ]
    backend.verify(one_chunk_build.files("range-last"), proofs[0])
    backend.verify(one_chunk_build.files("gram"), proofs[1])
    assert prover_children() == [] and witness_folders(temporary) == []


@pytest.mark.parametrize("beyond", [0, -1, 10**9, P // 2], ids=["Q", "-Q-1", "10^9", "p/2"])
def test_false_statement(one_chunk_build: Build, temporary: Path, beyond: int) -> None:
    """ezkl's prove hangs on an unsatisfied lookup: mock is before it, and names the lookup."""
    bound = one_chunk_build.manifest.bound
    value = {0: bound, -1: -bound - 1}.get(beyond, beyond)
    said: list[str] = []
    start = time.monotonic()
    with pytest.raises(
        StatementFalse, match=r"range proof of chunk 0: mock: [^\n]*\nLookup \(index: \d\) is not satisfied"
    ):
        backend.prove([range_of(one_chunk_build, value)], said.append)
    assert time.monotonic() - start < 60
    assert said == ["range proof of chunk 0: witness"]
    assert prover_children() == [] and witness_folders(temporary) == []


def test_false_statement_in_the_middle(one_chunk_build: Build) -> None:
    """The name of the job that failed is said; the others are not returned."""
    said: list[str] = []
    jobs = [gram_of(one_chunk_build), replace(range_of(one_chunk_build, 508), name="second"), gram_of(one_chunk_build)]
    with pytest.raises(StatementFalse, match="second: mock"):
        backend.prove(jobs, said.append)
    assert said == [
        "gram proof: witness",
        "gram proof: mock",
        "gram proof: prove",
        "gram proof: verify",
        "second: witness",
    ]


def test_mock_alone(one_chunk_build: Build) -> None:
    job = range_of(one_chunk_build, 507)
    tag = int.from_bytes(bytes.fromhex(job.inputs[1][0]), "little")
    assert backend.mock(job.files, job.inputs) == [tag, 0]
    with pytest.raises(StatementFalse, match=r"Lookup \(index: \d\) is not satisfied"):
        job = range_of(one_chunk_build, 508)
        backend.mock(job.files, job.inputs)


def test_missing_circuit_is_no_false_statement(one_chunk_build: Build, tmp_path: Path) -> None:
    """What the machine lacks is never blamed on the statement."""
    job = gram_of(one_chunk_build)
    settings = tmp_path / "settings.json"
    settings.write_bytes(job.files.settings.read_bytes())
    job.files = CircuitFiles(tmp_path, job.files.srs, job.files.proof_bytes)
    with pytest.raises(BackendError, match=r"gram proof: witness: .*\[io\]") as caught:
        backend.prove([job])
    assert not isinstance(caught.value, BackendTimeout)


def test_wrong_number_of_inputs(one_chunk_build: Build) -> None:
    job = gram_of(one_chunk_build)
    job.inputs[0] = job.inputs[0][:-1]
    with pytest.raises((StatementFalse, BackendError), match="gram proof: witness"):
        backend.prove([job])


# ---------------------------------------------------------------- deadlines


def test_deadline(one_chunk_build: Build, temporary: Path) -> None:
    """A step that does not answer is killed, with its process and its witness."""
    start = time.monotonic()
    with pytest.raises(BackendTimeout, match="gram proof: ezkl gave no answer for 0 s and was stopped"):
        backend.prove([gram_of(one_chunk_build)], seconds=0.01)
    assert time.monotonic() - start < 30
    assert prover_children() == [] and witness_folders(temporary) == []


def test_deadline_of_a_prover_that_hangs(
    one_chunk_build: Build, temporary: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The real hang: ezkl's prove on a value outside the table, with the mock taken out of the child."""
    module = tmp_path / "hanging.py"
    module.write_text(
        "import ezkl\nezkl.mock = lambda *a: True\nfrom zkmarket.backend import _child_main\n_child_main()\n"
    )
    real = backend.subprocess.Popen

    def popen(command: list[str], **kwargs):
        assert command[1:] == ["-m", "zkmarket.backend"]
        return real([command[0], str(module)], **kwargs)

    monkeypatch.setattr(backend.subprocess, "Popen", popen)
    said: list[str] = []
    with pytest.raises(BackendTimeout, match="range proof of chunk 0: ezkl gave no answer for 10 s and was stopped"):
        backend.prove([range_of(one_chunk_build, 508)], said.append, seconds=10)
    assert said == ["range proof of chunk 0: witness", "range proof of chunk 0: mock"]
    assert not any("hanging.py" in " ".join(child.cmdline()) for child in psutil.Process().children(recursive=True))
    assert witness_folders(temporary) == []


def test_prover_that_dies(
    one_chunk_build: Build, temporary: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A child that ends early (out of memory, say) is an error of the machine."""
    module = tmp_path / "dying.py"
    module.write_text("import os, sys\nsys.stdin.read()\nos.kill(os.getpid(), 9)\n")
    real = backend.subprocess.Popen
    monkeypatch.setattr(backend.subprocess, "Popen", lambda command, **kw: real([command[0], str(module)], **kw))
    with pytest.raises(BackendError, match=r"gram proof: the prover process ended early \(exit code -9\)"):
        backend.prove([gram_of(one_chunk_build)])
    assert witness_folders(temporary) == []


def test_nothing_to_prove() -> None:
    assert backend.prove([]) == []


def test_deadline_grows_with_the_rows() -> None:
    assert backend.deadline(10) == backend.deadline(13) < backend.deadline(15) < backend.deadline(17)


# ---------------------------------------------------------------- one proof, one encoding


@pytest.fixture(scope="module")
def settled(honest_round: Round) -> tuple[CircuitFiles, Proof]:
    return honest_round.build.files("settlement"), honest_round.proof.settlement


@pytest.mark.parametrize("more", [b"\0", b"\0" * 32, b"\1" * 64, b"same"])
def test_bytes_after_a_proof(settled: tuple[CircuitFiles, Proof], more: bytes) -> None:
    """ezkl ignores them, so that one proof would have many encodings; the length is checked here."""
    files, proof = settled
    backend.verify(files, proof)
    longer = Proof(proof.data + (proof.data if more == b"same" else more), proof.instances)
    backend.verify(replace(files, proof_bytes=None), longer)  # upstream's own verifier accepts
    with pytest.raises(ProofRejected, match=f"has {len(longer.data)} bytes: wanted {len(proof.data)}"):
        backend.verify(files, longer, "settlement proof")


@pytest.mark.parametrize("less", [1, 32, 64])
def test_cut_proof(settled: tuple[CircuitFiles, Proof], less: int) -> None:
    files, proof = settled
    shorter = Proof(proof.data[:-less], proof.instances)
    with pytest.raises(ProofRejected, match=f"has {len(shorter.data)} bytes: wanted"):
        backend.verify(files, shorter)
    with pytest.raises(ProofRejected, match="proof does not verify"):
        backend.verify(replace(files, proof_bytes=None), shorter)


@pytest.mark.parametrize("amount", [P, -P])
def test_instance_outside_the_field(settled: tuple[CircuitFiles, Proof], amount: int) -> None:
    files, proof = settled
    moved = Proof(proof.data, (proof.instances[0] + amount, *proof.instances[1:]))
    with pytest.raises(ProofRejected, match="an instance that is not a canonical field element"):
        backend.verify(files, moved)


@pytest.mark.parametrize("instances", [(), (0,), "one more", "one less"])
def test_number_of_instances(settled: tuple[CircuitFiles, Proof], instances) -> None:
    files, proof = settled
    others = {"one more": (*proof.instances, 0), "one less": proof.instances[:-1]}
    with pytest.raises(ProofRejected, match="proof does not verify"):
        backend.verify(files, Proof(proof.data, others.get(instances, instances)))


def test_proof_for_another_circuit(honest_round: Round) -> None:
    files = honest_round.build.files("settlement")
    with pytest.raises(ProofRejected, match="bytes: wanted"):
        backend.verify(files, honest_round.proof.gram.base)
    with pytest.raises(ProofRejected, match="proof does not verify"):
        backend.verify(replace(files, proof_bytes=None), honest_round.proof.gram.base)


def test_proof_without_a_point() -> None:
    with pytest.raises(ProofRejected, match="too short: got 63 bytes, no point 0"):
        Proof(bytes(63), (1,)).point(0)
