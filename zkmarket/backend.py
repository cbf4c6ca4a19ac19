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

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from multiprocessing.util import Finalize
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from .errors import ArtifactError, BackendError, BackendTimeout, InputError, ProofRejected, StatementFalse
from .field import P, Point, scalar_hex

UNUSABLE_ROWS = 6
"""Rows of a column that hold blinding, in every circuit seen; `check_settings` asserts it at build time."""

_STREAMS = threading.RLock()
"""Only one thread at a time may have the process's standard streams turned away."""

_TABLES: list[str] = []
"""This process's folder for ezkl's tables, once there is one."""

Progress = Callable[[str], None]


def quiet(_: str) -> None:
    """The progress callback of who wants none."""


@dataclass(frozen=True)
class Compilation:
    """How a torch module becomes a circuit.

    Attributes:
        logrows: K; a column has 2^K rows.
        lookup_range: (low, high) of the static table, both included; None for a circuit without one.
        decomp_base, decomp_legs: digits of a comparison; values below base^legs can be compared.
    """

    logrows: int
    lookup_range: tuple[int, int] | None = None
    decomp_base: int = 2
    decomp_legs: int = 1


@dataclass(frozen=True)
class CircuitFiles:
    """A compiled circuit and its keys in one folder, and the SRS file that they were made with.

    Attributes:
        proof_bytes: the length of every proof of this circuit; None while it is being built.
    """

    folder: Path
    srs: Path
    proof_bytes: int | None = None

    @property
    def settings(self) -> Path:
        return self.folder / "settings.json"

    @property
    def compiled(self) -> Path:
        return self.folder / "circuit.ezkl"

    @property
    def vk(self) -> Path:
        return self.folder / "vk.key"

    @property
    def pk(self) -> Path:
        return self.folder / "pk.key"


@dataclass(frozen=True)
class Proof:
    """A Halo2 proof and its public instances (field elements, in the order of the circuit's outputs)."""

    data: bytes
    instances: tuple[int, ...]

    def point(self, index: int) -> bytes:
        """Commitment of input tensor `index`: they are the first points of the proof, 64 bytes each."""
        point = self.data[64 * index : 64 * index + 64]
        if len(point) != 64:
            raise ProofRejected(f"proof is too short: got {len(self.data)} bytes, no point {index} in it")
        return point

    def to_json(self) -> dict:
        return {"proof": "0x" + self.data.hex(), "instances": [f"0x{v:064x}" for v in self.instances]}

    @classmethod
    def from_json(cls, value: dict) -> Proof:
        return cls(bytes.fromhex(value["proof"][2:]), tuple(int(v, 16) for v in value["instances"]))

    def to_ezkl(self) -> dict:
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


def versions() -> dict[str, str]:
    """Versions of what decides the bytes of a key."""
    return {name: version(name) for name in ("ezkl", "torch", "onnx")}


# ---------------------------------------------------------------- building


def export_onnx(module, path: Path) -> None:
    """Write a torch module (with an `example()` of its inputs) as ONNX."""
    import torch

    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")  # the exporter that ezkl was tried with is the legacy one, which says so
        torch.onnx.export(module.eval(), module.example(), str(path), dynamo=False, opset_version=17)


def compile_circuit(onnx: Path, how: Compilation, folder: Path, rows: int | None = None) -> dict:
    """Write settings.json (canonical) and circuit.ezkl into `folder`; returns the settings.

    Args:
        rows: that the circuit lays out in a proof (`placement.lay_out`). Without, they are ezkl's own count, in which
            inputs and slices have rows too, so that there are blocks of columns which nothing lies in and everybody
            pays for. Too few make no wrong circuit: `setup` fails.
    """
    ezkl = _ezkl()
    args = ezkl.PyRunArgs()
    args.input_visibility, args.output_visibility, args.param_visibility = "polycommit", "public", "fixed"
    args.input_scale = args.param_scale = 0  # integers and field elements, nothing is rescaled
    args.scale_rebase_multiplier = 10**6
    args.ignore_range_check_inputs_outputs = True  # inputs are arbitrary field elements
    args.disable_freivalds = True
    args.num_inner_cols = 1  # cost follows columns; wider was slower for every circuit here
    args.logrows = how.logrows
    args.decomp_base, args.decomp_legs = how.decomp_base, how.decomp_legs
    args.lookup_range = how.lookup_range or (0, 1)
    settings_path = folder / "settings.json"
    with _foreign("gen_settings"):
        ezkl.gen_settings(str(onnx), str(settings_path), args)
    settings = json.loads(settings_path.read_text())
    settings["required_range_checks"].sort()
    settings["required_lookups"].sort(key=json.dumps)
    settings["timestamp"] = 0
    if rows is not None:
        settings["num_rows"] = settings["total_assignments"] = rows
    settings_path.write_text(json.dumps(settings, indent=1, sort_keys=True) + "\n")
    with _foreign("compile_circuit"):
        ezkl.compile_circuit(str(onnx), str(folder / "circuit.ezkl"), str(settings_path))
    return settings


def setup(files: CircuitFiles) -> None:
    """Write the proving and the verifying key."""
    with _foreign("setup"):
        _ezkl().setup(str(files.compiled), str(files.vk), str(files.pk), str(files.srs))


def usable_rows(logrows: int) -> int:
    return (1 << logrows) - UNUSABLE_ROWS


def blocks_of(rows: int, logrows: int) -> int:
    """Blocks of columns that ezkl gives a circuit whose settings say so many rows.

    It keeps a row of every block for a copy of the one before, so that one more is needed from two rows before the last
    usable one on (tests/circuits/test_blocks.py).
    """
    usable = usable_rows(logrows)
    return (rows + rows // usable + 1) // usable + 1


def block_rows(logrows: int) -> int:
    """Most rows of a circuit that has one block of columns."""
    return usable_rows(logrows) - 2


def run_args(how: Compilation) -> dict[str, Any]:
    """What ezkl's settings say of a circuit that `compile_circuit` has compiled: all of it decides the circuit."""
    return {
        "bounded_log_lookup": False,
        "check_mode": "UNSAFE",
        "decomp_base": how.decomp_base,
        "decomp_legs": how.decomp_legs,
        "disable_freivalds": True,
        "epsilon": sys.float_info.epsilon,
        "ignore_range_check_inputs_outputs": True,
        "input_scale": 0,
        "input_visibility": "KZGCommit",
        "logrows": how.logrows,
        "lookup_range": list(how.lookup_range or (0, 1)),
        "num_inner_cols": 1,
        "output_visibility": "Public",
        "param_scale": 0,
        "param_visibility": "Fixed",
        "rebase_frac_zero_constants": False,
        "rebase_scale": None,
        "scale_rebase_multiplier": 10**6,
        "variables": [["batch_size", 1]],
    }


def fetch_srs(logrows: int, path: Path) -> None:
    """Download the ceremony's file of one size with ezkl's own downloader. The caller checks its digest."""
    import asyncio

    async def download() -> None:
        result = _ezkl().get_srs(settings_path=None, logrows=logrows, srs_path=str(path))
        if asyncio.iscoroutine(result) or asyncio.isfuture(result) or hasattr(result, "__await__"):
            await result

    with _foreign("get_srs"):
        asyncio.run(download())


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
    with _foreign("kzg_commit"):
        points = _ezkl().kzg_commit(message, str(files.vk), str(files.settings), str(files.srs))
    if len(points) != len(columns):
        raise BackendError(f"kzg_commit gave {len(points)} points: wanted {len(columns)}")
    return [(_from_le(p.x), _from_le(p.y)) for p in points]


# ---------------------------------------------------------------- proofs


@dataclass
class ProofJob:
    """One proof to make: the circuit and its input tensors as ezkl field strings."""

    name: str
    files: CircuitFiles
    inputs: list[list[str]] = field(repr=False)


def deadline(logrows: int) -> float:
    """Seconds that one step of one proof may take before it is taken for hung: ~50 times what was measured."""
    return 120 + 30 * 2 ** max(0, logrows - 13)


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
    _sweep()
    with tempfile.TemporaryDirectory(prefix=f"zkmarket-{os.getpid()}-") as name:  # mode 0700
        folder = Path(name)
        tasks = []
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
        _run_child(tasks, folder, progress)
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
        with _foreign("verify"):
            # reduced_srs: read only the few points that verification needs (same ceremony, same result)
            good = _ezkl().verify(str(path), str(files.settings), str(files.vk), str(files.srs), True)
    except BackendError as error:
        raise ProofRejected(f"{what} does not verify: {error}") from error
    if good is not True:
        raise ProofRejected(f"{what} does not verify")


def mock(files: CircuitFiles, inputs: list[list[str]]) -> list[int]:
    """Check every constraint without keys (0.1 s to 0.3 s) and return the public outputs.

    Raises StatementFalse with the gate or lookup that failed.
    """
    ezkl = _ezkl()
    with tempfile.TemporaryDirectory(prefix=f"zkmarket-{os.getpid()}-") as name:
        given, witness = Path(name) / "input.json", Path(name) / "witness.json"
        given.write_text(json.dumps({"input_data": inputs}))
        try:
            with _foreign("gen_witness"):
                made = ezkl.gen_witness(str(given), str(files.compiled), str(witness))
            with _foreign("mock"):
                ezkl.mock(str(witness), str(files.compiled))
        except BackendError as error:
            raise StatementFalse(f"the statement does not hold: {error}") from error
        return [_from_le(value) for output in made["outputs"] for value in output]


# ---------------------------------------------------------------- on chain


def verifier_source(files: CircuitFiles, seconds: float = 60) -> str:
    """Solidity of the contract `Halo2Verifier` that checks proofs of this circuit; the same text every time.

    ezkl writes the source, then wants one particular compiler, only for an ABI that nobody needs. It
    is given one that fails at once: with none it would look for one on the network. So its error says
    nothing, and what counts is that the source is there to its last brace.

    Raises:
        ArtifactError: a key, the settings or the SRS is missing.
        BackendTimeout: ezkl gave no answer within `seconds` and was stopped.
        BackendError: ezkl wrote no complete source.
    """
    for path, what in ((files.vk, "verifying key"), (files.settings, "settings"), (files.srs, "SRS")):
        require(path, what)
    with tempfile.TemporaryDirectory(prefix=f"zkmarket-{os.getpid()}-") as name:
        folder = Path(name)
        compiler = folder / ".svm" / "0.8.20" / "solc-0.8.20"
        compiler.parent.mkdir(parents=True)
        compiler.write_text("#!/bin/sh\nexit 1\n")
        compiler.chmod(0o700)
        written = folder / "verifier.sol"
        words = [files.vk, files.settings, written, folder / "abi.json", files.srs]
        try:
            done = subprocess.run(
                [sys.executable, "-c", _WRITE_VERIFIER, *map(str, words)],
                env={**os.environ, "HOME": name, "EZKL_REPO_PATH": name},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=seconds,
            )
        except subprocess.TimeoutExpired:
            raise BackendTimeout(f"ezkl wrote no verifier contract within {seconds:.0f} s and was stopped") from None
        source = written.read_text() if written.is_file() else ""
    if not _is_whole_verifier(source):
        raise BackendError(f"ezkl wrote no complete verifier contract: {done.stderr.strip() or 'it said nothing'}")
    return source.rstrip() + "\n"


_WRITE_VERIFIER = """
import asyncio, os, sys, ezkl
async def write():
    vk, settings, source, abi, srs = sys.argv[1:]
    await ezkl.create_evm_verifier(vk, settings, source, abi, srs, False)
try:
    asyncio.run(write())
except BaseException as error:
    print(error, file=sys.stderr)
sys.stderr.flush()
os._exit(0)  # ezkl's EVM functions sometimes crash in the interpreter's own exit
"""


def _is_whole_verifier(source: str) -> bool:
    """Every brace that opens closes, the last one ends the text, and the parts that matter are there."""
    depth, last = 0, False
    for brace in re.findall(r"[{}]", source):
        depth += 1 if brace == "{" else -1
        if depth < 0 or last:
            return False
        last = depth == 0
    parts = ("contract Halo2Verifier {", "function verifyProof(", "// vk_digest", "success := ec_pairing(")
    return last and source.rstrip().endswith("}") and all(part in source for part in parts)


# ---------------------------------------------------------------- inside


def _ezkl():
    """ezkl, which keeps its tables in a folder that this process has made and nobody else writes to."""
    with _STREAMS:
        if not _TABLES:
            _sweep()
            folder = tempfile.mkdtemp(prefix=f"zkmarket-{os.getpid()}-ezkl-")  # mode 0700
            os.environ["EZKL_REPO_PATH"] = folder  # read when ezkl looks its first table up
            Finalize(None, shutil.rmtree, (folder, True), exitpriority=0)  # in workers too, whose atexit does not run
            _TABLES.append(folder)
    import ezkl

    return ezkl


def _from_le(text: str) -> int:
    return int.from_bytes(bytes.fromhex(text.removeprefix("0x")), "little")


@contextlib.contextmanager
def _foreign(step: str) -> Iterator[None]:
    """Map whatever ezkl raises, its Rust panics (a BaseException) included, to BackendError.

    Its chatter on both standard streams is dropped: what matters of it is in the exception.
    """
    with _STREAMS:
        yield from _silenced(step)


def _silenced(step: str) -> Iterator[None]:
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        raise BackendError(f"ezkl {step}: {error}") from error
    finally:
        os.dup2(kept[0], 1)
        os.dup2(kept[1], 2)
        for descriptor in (*kept, nowhere):
            os.close(descriptor)


def _read_proof(path: Path) -> Proof:
    value = json.loads(path.read_text())
    return Proof(bytes(value["proof"]), tuple(_from_le(v) for v in value["instances"][0]))


def _run_child(tasks: list[dict], folder: Path, progress: Progress) -> None:
    """Run `_child_main` over the tasks, watching every step's deadline; what the child leaves is in `folder`."""
    child = subprocess.Popen(
        [sys.executable, "-m", "zkmarket.backend"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=Path(__file__).resolve().parents[1],
        env={**os.environ, "TMPDIR": str(folder)},
    )
    assert child.stdin and child.stdout
    lines: Queue[str | None] = Queue()

    def pump(stream) -> None:
        for line in stream:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=pump, args=(child.stdout,), daemon=True).start()
    try:
        child.stdin.write(json.dumps(tasks))
        child.stdin.close()
        done = 0
        while done < len(tasks):
            try:
                line = lines.get(timeout=tasks[done]["seconds"])
            except Empty:
                raise BackendTimeout(
                    f"{tasks[done]['name']}: ezkl gave no answer for {tasks[done]['seconds']:.0f} s and was stopped"
                ) from None
            if line is None:
                raise BackendError(
                    f"{tasks[done]['name']}: the prover process ended early (exit code {child.wait()});"
                    " it may have run out of memory"
                )
            answer = json.loads(line)
            if "error" in answer:
                false = answer["step"] in ("witness", "mock") and "[io]" not in answer["error"]
                kind = StatementFalse if false else BackendError
                raise kind(f"{tasks[done]['name']}: {answer['error']}")
            progress(f"{tasks[done]['name']}: {answer['step']}")
            if answer["step"] == "verify":
                done += 1
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def _child_main() -> None:
    """Child process: tasks as JSON on stdin, one JSON line a step on stdout."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever ezkl prints must not mix with the answers
    ezkl = _ezkl()
    for task in json.load(sys.stdin):
        steps = {
            "witness": lambda t=task: ezkl.gen_witness(t["input"], t["compiled"], t["witness"]),
            "mock": lambda t=task: ezkl.mock(t["witness"], t["compiled"]),
            "prove": lambda t=task: ezkl.prove(t["witness"], t["compiled"], t["pk"], t["proof"], t["srs"]),
            "verify": lambda t=task: ezkl.verify(t["proof"], t["settings"], t["vk"], t["srs"], True),
        }
        for step, run in steps.items():
            try:
                run()
            except BaseException as error:
                print(json.dumps({"step": step, "error": f"{step}: {error}"}), file=answers)
                answers.flush()
                os._exit(1)
            print(json.dumps({"step": step}), file=answers)
    answers.flush()
    os._exit(0)  # ezkl sometimes crashes in the interpreter's own exit


def _sweep() -> None:
    """Remove the folders of processes that no longer run (killed before they could clean up)."""
    for folder in Path(tempfile.gettempdir()).glob("zkmarket-*-*"):
        pid = folder.name.split("-")[1]
        if not pid.isdigit() or not folder.is_dir() or folder.stat().st_uid != os.getuid():
            continue
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(int(pid), 0)
            continue
        shutil.rmtree(folder, ignore_errors=True)


def require(path: Path, what: str) -> Path:
    if not path.exists():
        raise ArtifactError(f"{what} is missing: {path}")
    return path


if __name__ == "__main__":
    _child_main()
