"""The only file that knows ezkl: compile, set up, commit, prove, verify.

What ezkl does by itself is not safe enough to build on, so this file closes it in:

- `prove` accepts a false statement and hangs on an unsatisfied lookup. Here every proof is
  witness → mock → prove → verify, in a child process under a deadline; no option skips a step.
- The order of `required_range_checks` in its settings is random from run to run and *changes the
  verifying key*. Settings are made canonical before the circuit is compiled, so that keys are
  reproducible and a digest of one means something.
- `kzg_commit` gives one point too many when a message fills the usable rows exactly: refused.
- It takes lookup and range tables from a cache in the user's home, unverified: whatever lies there decides what a key
  accepts. Every process that uses ezkl gives it an empty folder of its own instead.

Witness files hold secrets. They live in a folder of mode 0700 that is removed when the job ends; a
job that was killed leaves one behind, which the next job sweeps away.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..crypto import P, Point, scalar_hex
from ..errors import BackendError, InputError, ProofRejected, StatementFalse
from ..progress import Progress, quiet
from .compilation import CircuitFiles, usable_rows
from .ezkl import foreign, from_le, library, sweep
from .prover import run_child


@dataclass(frozen=True)
class Proof:
    """A Halo2 proof and its public instances (field elements, in the order of the circuit's outputs)."""

    data: bytes = field(repr=False)
    instances: tuple[int, ...] = field(repr=False)

    def point(self, index: int) -> bytes:
        """Commitment of input tensor `index`: they are the first points of the proof, 64 bytes each."""
        point = self.data[64 * index : 64 * index + 64]
        if len(point) != 64:
            raise ProofRejected(f"proof is too short: got {len(self.data)} bytes, no point {index} in it")
        return point

    def to_json(self) -> dict[str, Any]:
        return {"proof": "0x" + self.data.hex(), "instances": [f"0x{v:064x}" for v in self.instances]}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Proof:
        return cls(bytes.fromhex(value["proof"][2:]), tuple(int(v, 16) for v in value["instances"]))

    def to_ezkl(self) -> dict[str, Any]:
        """The same proof as ezkl writes it, so that `ezkl verify` can check it."""
        return {
            "protocol": None,
            "instances": [[scalar_hex(v) for v in self.instances]],
            "proof": list(self.data),
            "hex_proof": "0x" + self.data.hex(),
            "split": None,
            "pretty_public_inputs": None,
            "timestamp": None,
            "version": None,
        }


# ---------------------------------------------------------------- commitments


def commit(files: CircuitFiles, logrows: int, columns: Sequence[Sequence[str]]) -> list[Point]:
    """KZG commitments of columns of field elements (`field.to_hex`), all in one call.

    Each column is at most one less than the usable rows; shorter ones are filled with zeros. The
    result depends on the SRS, K and the number of unusable rows only, not on the circuit.
    """
    rows = usable_rows(logrows)
    zero = scalar_hex(0)
    message: list[str] = []
    for column in columns:
        if len(column) >= rows:
            raise InputError(f"a committed column has fewer than {rows} values: got {len(column)}")
        message += column
        message += [zero] * (rows - len(column))
    message.pop()  # a message that fills its rows exactly gives a point too many
    with foreign("kzg_commit"):
        points = library().kzg_commit(message, str(files.vk), str(files.settings), str(files.srs))
    if len(points) != len(columns):
        raise BackendError(f"kzg_commit gave {len(points)} points: wanted {len(columns)}")
    return [(from_le(p.x), from_le(p.y)) for p in points]


# ---------------------------------------------------------------- proofs


@dataclass
class ProofJob:
    """One proof to make: the circuit and its input tensors as ezkl field strings."""

    name: str
    files: CircuitFiles
    inputs: list[list[str]] = field(repr=False)


def deadline(logrows: int) -> float:
    """Seconds that one step of one proof may take before it is taken for hung: ~50 times what was measured."""
    return 120 + 30 * (1 << max(0, logrows - 13))


def step_seconds(files: CircuitFiles) -> float:
    """`deadline` of the rows of all blocks of columns of a circuit."""
    settings = json.loads(files.settings.read_text())
    rows = max(settings["num_rows"], 1 << settings["run_args"]["logrows"])
    return deadline((rows - 1).bit_length())


def prove(jobs: Sequence[ProofJob], progress: Progress = quiet, seconds: float | None = None) -> list[Proof]:
    """Make and check proofs, one after the other, in one child process.

    Args:
        jobs: the proofs to make.
        progress: told "name: step" as each step ends.
        seconds: deadline of every single step; default `step_seconds`.

    Raises:
        StatementFalse: the witness does not satisfy the circuit; the message names the gate or lookup.
        BackendTimeout: a step took longer than its deadline; the child was killed.
        BackendError: ezkl failed otherwise.
    """
    if not jobs:
        return []
    sweep()
    with tempfile.TemporaryDirectory(prefix=f"zkmarket-{os.getpid()}-") as name:  # mode 0700
        folder = Path(name)
        tasks: list[dict[str, Any]] = []
        for index, job in enumerate(jobs):
            given = folder / f"{index}.input.json"
            given.write_text(json.dumps({"input_data": job.inputs}))
            tasks.append(
                {
                    "name": job.name,
                    "input": str(given),
                    "witness": str(folder / f"{index}.witness.json"),
                    "proof": str(folder / f"{index}.proof.json"),
                    "compiled": str(job.files.compiled),
                    "settings": str(job.files.settings),
                    "pk": str(job.files.pk),
                    "vk": str(job.files.vk),
                    "srs": str(job.files.srs),
                    "seconds": seconds or step_seconds(job.files),
                }
            )
        run_child(tasks, folder, progress)
        return [_read_proof(Path(task["proof"])) for task in tasks]


def verify(files: CircuitFiles, proof: Proof, what: str = "proof") -> None:
    """Check a proof against its verifying key. Raises ProofRejected; never returns False.

    The length is checked here because ezkl's verifier ignores bytes after the proof: without it one
    proof would have many encodings.
    """
    if any(not 0 <= value < P for value in proof.instances):
        raise ProofRejected(f"{what} has an instance that is not a canonical field element")
    if files.proof_bytes is not None and len(proof.data) != files.proof_bytes:
        raise ProofRejected(f"{what} has {len(proof.data)} bytes: wanted {files.proof_bytes}")
    with tempfile.TemporaryDirectory(prefix=f"zkmarket-{os.getpid()}-") as name:
        path = Path(name) / "proof.json"
        path.write_text(json.dumps(proof.to_ezkl()))
        verify_file(files, path, what)


def verify_file(files: CircuitFiles, path: Path, what: str = "proof") -> None:
    try:
        with foreign("verify"):
            # reduced_srs: read only the few points that verification needs (same ceremony, same result)
            good = library().verify(str(path), str(files.settings), str(files.vk), str(files.srs), True)
    except BackendError as error:
        raise ProofRejected(f"{what} does not verify: {error}") from error
    if good is not True:
        raise ProofRejected(f"{what} does not verify")


def mock(files: CircuitFiles, inputs: list[list[str]]) -> list[int]:
    """Check every constraint without keys (0.1 s to 0.3 s) and return the public outputs.

    Raises StatementFalse with the gate or lookup that failed.
    """
    ezkl = library()
    with tempfile.TemporaryDirectory(prefix=f"zkmarket-{os.getpid()}-") as name:
        given, witness = Path(name) / "input.json", Path(name) / "witness.json"
        given.write_text(json.dumps({"input_data": inputs}))
        try:
            with foreign("gen_witness"):
                made = ezkl.gen_witness(str(given), str(files.compiled), str(witness))
            with foreign("mock"):
                ezkl.mock(str(witness), str(files.compiled))
        except BackendError as error:
            raise StatementFalse(f"the statement does not hold: {error}") from error
        return [from_le(value) for output in made["outputs"] for value in output]


def _read_proof(path: Path) -> Proof:
    value = json.loads(path.read_text())
    return Proof(bytes(value["proof"]), tuple(from_le(v) for v in value["instances"][0]))
