"""The backend's promises on real proofs: false statements, deadlines, children, one encoding of a proof."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tests.conftest import Round
from zkmarket import backend
from zkmarket.backend import CircuitFiles, Compilation, Proof, ProofJob, prover, srs
from zkmarket.build import Build
from zkmarket.crypto import P, random_scalars, scalar_hex, to_hex
from zkmarket.errors import BackendError, BackendTimeout, ProofRejected, StatementFalse

pytestmark = pytest.mark.proof


BOUND, VALUES = 508, 40


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> CircuitFiles:
    """A circuit that looks values of [−508, 508) up."""
    import torch

    class Table(torch.nn.Module):
        def example(self) -> tuple[torch.Tensor, ...]:
            return (torch.zeros(1, VALUES),)

        def forward(self, values: torch.Tensor) -> torch.Tensor:
            one = torch.index_select(torch.sigmoid(values), 1, torch.tensor([0]))
            return one * one - one

    folder = tmp_path_factory.mktemp("table")
    backend.export_onnx(Table(), folder / "circuit.onnx")
    backend.compile_circuit(folder / "circuit.onnx", Compilation(10, lookup_range=(-BOUND, BOUND - 1)), folder)
    files = CircuitFiles(folder, srs.generate().path(10))
    backend.setup(files)
    return files


def table_of(files: CircuitFiles, value: int) -> ProofJob:
    """A proof of values that start with `value`, in range or not."""
    return ProofJob("table proof", files, [[scalar_hex(value), *([scalar_hex(3)] * (VALUES - 1))]])


def base_of(build: Build) -> ProofJob:
    cells, point = build.manifest.columns.length, [1, 1] * build.manifest.logrows
    columns = [to_hex(random_scalars(cells)) for _ in range(3)]
    return ProofJob("base proof", build.files["base"], [*columns, [scalar_hex(one) for one in point]])


def prover_children() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children(recursive=True):
        try:
            if "zkmarket.backend.prover" in child.cmdline():
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


def test_true_statement(one_chunk_build: Build, table: CircuitFiles, temporary: Path) -> None:
    """The honest twin: every step is reported, in order, and nothing is left behind."""
    said: list[str] = []
    proofs = backend.prove([table_of(table, -BOUND), base_of(one_chunk_build)], said.append)
    assert said == [
        f"{name}: {step}" for name in ("table proof", "base proof") for step in ("witness", "mock", "prove", "verify")
    ]
    backend.verify(table, proofs[0])
    backend.verify(one_chunk_build.files["base"], proofs[1])
    assert prover_children() == [] and witness_folders(temporary) == []


@pytest.mark.parametrize("value", [BOUND, -BOUND - 1, 10**9, P // 2], ids=["Q", "-Q-1", "10^9", "p/2"])
def test_false_statement(table: CircuitFiles, temporary: Path, value: int) -> None:
    """ezkl's prove may hang on an unsatisfied lookup: mock is before it, and names the lookup."""
    said: list[str] = []
    start = time.monotonic()
    with pytest.raises(StatementFalse, match=r"table proof: mock: [^\n]*\nLookup \(index: \d\) is not satisfied"):
        backend.prove([table_of(table, value)], said.append)
    assert time.monotonic() - start < 60
    assert said == ["table proof: witness"]
    assert prover_children() == [] and witness_folders(temporary) == []


def test_false_statement_in_the_middle(one_chunk_build: Build, table: CircuitFiles) -> None:
    """The name of the job that failed is said; the others are not returned."""
    said: list[str] = []
    jobs = [base_of(one_chunk_build), replace(table_of(table, BOUND), name="second"), base_of(one_chunk_build)]
    with pytest.raises(StatementFalse, match="second: mock"):
        backend.prove(jobs, said.append)
    assert said == [*(f"base proof: {step}" for step in ("witness", "mock", "prove", "verify")), "second: witness"]


def test_mock_alone(table: CircuitFiles) -> None:
    job = table_of(table, BOUND - 1)
    assert backend.mock(job.files, job.inputs) == [0]
    job = table_of(table, BOUND)
    with pytest.raises(StatementFalse, match=r"Lookup \(index: \d\) is not satisfied"):
        backend.mock(job.files, job.inputs)


def test_missing_circuit_is_no_false_statement(one_chunk_build: Build, tmp_path: Path) -> None:
    """What the machine lacks is never blamed on the statement."""
    job = base_of(one_chunk_build)
    settings = tmp_path / "settings.json"
    settings.write_bytes(job.files.settings.read_bytes())
    job.files = CircuitFiles(tmp_path, job.files.srs, job.files.proof_bytes)
    with pytest.raises(BackendError, match=r"base proof: witness: .*\[io\]") as caught:
        backend.prove([job])
    assert not isinstance(caught.value, BackendTimeout)


def test_wrong_number_of_inputs(one_chunk_build: Build) -> None:
    job = base_of(one_chunk_build)
    job.inputs[0] = job.inputs[0][:-1]
    with pytest.raises((StatementFalse, BackendError), match="base proof: witness"):
        backend.prove([job])


# ---------------------------------------------------------------- deadlines


def test_deadline(one_chunk_build: Build, temporary: Path) -> None:
    """A step that does not answer is killed, with its process and its witness."""
    start = time.monotonic()
    with pytest.raises(BackendTimeout, match="base proof: ezkl gave no answer for 0 s and was stopped"):
        backend.prove([base_of(one_chunk_build)], seconds=0.01)
    assert time.monotonic() - start < 30
    assert prover_children() == [] and witness_folders(temporary) == []


def test_deadline_of_a_prover_that_hangs(
    table: CircuitFiles, temporary: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As ezkl's prove can on an unsatisfied lookup; here it does on any statement."""
    module = tmp_path / "hanging.py"
    module.write_text(
        "import ezkl, time\nezkl.prove = lambda *a: time.sleep(600)\n"
        "from zkmarket.backend.prover import _child_main\n_child_main()\n"
    )
    real = prover.subprocess.Popen

    def popen(command: list[str], **kwargs):
        assert command[1:] == ["-m", "zkmarket.backend.prover"]
        return real([command[0], str(module)], **kwargs)

    monkeypatch.setattr(prover.subprocess, "Popen", popen)
    said: list[str] = []
    with pytest.raises(BackendTimeout, match="table proof: ezkl gave no answer for 10 s and was stopped"):
        backend.prove([table_of(table, 0)], said.append, seconds=10)
    assert said == ["table proof: witness", "table proof: mock"]
    assert not any("hanging.py" in " ".join(child.cmdline()) for child in psutil.Process().children(recursive=True))
    assert witness_folders(temporary) == []


def test_prover_that_dies(
    one_chunk_build: Build, temporary: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A child that ends early (out of memory, say) is an error of the machine."""
    module = tmp_path / "dying.py"
    module.write_text("import os, sys\nsys.stdin.read()\nos.kill(os.getpid(), 9)\n")
    real = prover.subprocess.Popen
    monkeypatch.setattr(prover.subprocess, "Popen", lambda command, **kw: real([command[0], str(module)], **kw))
    with pytest.raises(BackendError, match=r"base proof: the prover process ended early \(exit code -9\)"):
        backend.prove([base_of(one_chunk_build)])
    assert witness_folders(temporary) == []


def test_nothing_to_prove() -> None:
    assert backend.prove([]) == []


def test_deadline_grows_with_the_rows() -> None:
    assert backend.deadline(10) == backend.deadline(13) < backend.deadline(15) < backend.deadline(17)


# ---------------------------------------------------------------- one proof, one encoding


@pytest.fixture(scope="module")
def settled(honest_round: Round) -> tuple[CircuitFiles, Proof]:
    return honest_round.build.files["settlement"], honest_round.proof.settlement


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
    files = honest_round.build.files["settlement"]
    with pytest.raises(ProofRejected, match="bytes: wanted"):
        backend.verify(files, honest_round.proof.base.proof)
    with pytest.raises(ProofRejected, match="proof does not verify"):
        backend.verify(replace(files, proof_bytes=None), honest_round.proof.base.proof)


def test_proof_without_a_point() -> None:
    with pytest.raises(ProofRejected, match="too short: got 63 bytes, no point 0"):
        Proof(bytes(63), (1,)).point(0)
