"""Independent jobs on many workers: processes of this machine, or of a Dask cluster.

A job names a function, gives it files and a few arguments, and is done anywhere. What can go wrong is this module's
business: a worker that dies or does not answer has its job done again elsewhere, and so has one that answers
wrongly, which is seen because the caller checks every result (`accept` verifies a proof). Each job runs in a
process of its own, `python -m zkmarket.executor`, which dies with whoever started it.

Files, such as proving keys, are known by their SHA-256. They reach a Dask worker's cache folder once, in
pieces, and are checked on arrival; a job carries only their names.

Whom this trusts: a worker learns what the job holds (for a utility proof the updates of a coalition and their salts,
which also open their commitments), and Dask's wire is pickle, so that scheduler and workers can run code here and
here can run code there. A cluster must be the aggregator's own; between machines use `tls://` with Dask's
configuration. Verification of results is against faults, not against a cluster of others.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from . import backend, errors
from .backend import CircuitFiles, Progress, Proof, ProofJob, quiet
from .errors import BackendError, BackendTimeout, InputError, ProofRejected, ZkmarketError
from .files import cache_folder, sha256_file

ATTEMPTS = 3
"""How often a job is tried before its last failure is the caller's."""

PATIENCE = 60
"""Seconds to wait for a worker when there is none."""

PIECE = 4 << 20
"""Bytes of a file that travel at once."""

Answer = tuple[str, Any]
"""("done", result), ("failed", (class of zkmarket.errors, text)) or ("lost", why)."""


@dataclass(frozen=True)
class Job:
    """Something to do.

    Attributes:
        name: for people.
        function: "package.module:function", called with the job's folder and the arguments.
        files: by the name that they have in that folder.
        arguments: picklable.
        seconds: after which it is taken for hung.
    """

    name: str
    function: str
    files: Mapping[str, Path]
    arguments: tuple = field(repr=False)
    seconds: float = 3600


def proof_job(job: ProofJob) -> Job:
    """A proof to be made by a worker: four files of the circuit, and the SRS."""
    files, seconds = job.files, backend.step_seconds(job.files)
    parts = {path.name: path for path in (files.settings, files.compiled, files.vk, files.pk)}
    return Job(job.name, f"{__name__}:prove", {**parts, _SRS: files.srs}, (job.name, job.inputs), 2 * seconds)


_SRS = "kzg.srs"


def prove(folder: Path, name: str, inputs: list[list[str]]) -> Proof:
    """What a worker does for `proof_job`."""
    return backend.prove([ProofJob(name, CircuitFiles(folder, folder / _SRS), inputs)])[0]


# ---------------------------------------------------------------- the loop


class Pool(Protocol):
    """Workers by name, each with one job at a time."""

    def workers(self) -> Sequence[str]:
        """Those that live."""

    def start(self, worker: str, job: Job) -> None: ...

    def poll(self) -> list[tuple[str, Answer]]:
        """Answers that came, one for each job that ended."""

    def stop(self, worker: str) -> None:
        """Forget the worker's job."""


@dataclass
class _Work:
    """A job on its way: how often it was tried, and the workers that it should not go to again."""

    index: int
    tries: int = 0
    avoid: set[str] = field(default_factory=set)


def run(
    pool: Pool, jobs: Sequence[Callable[[], Job]], accept: Callable[[int, Any], None], progress: Progress = quiet
) -> None:
    """Do every job and hand its result to `accept`, in the order in which they end.

    Args:
        jobs: each made when a worker is free for it, and made anew when it is tried again: they may be large, and
            noise is drawn for one attempt.
        accept: given the job's index and its result; raises ProofRejected for a wrong one, which is then made again.

    Raises:
        ZkmarketError: what a job raised, if trying again cannot help (a false statement, wrong input).
        BackendError, BackendTimeout, ProofRejected: a job failed `ATTEMPTS` times, or no worker is left.
    """
    waiting = deque(_Work(index) for index in range(len(jobs)))
    running: dict[str, tuple[_Work, Job, float]] = {}
    seen = time.monotonic()
    try:
        while waiting or running:
            workers = pool.workers()
            if workers:
                seen = time.monotonic()
            elif time.monotonic() - seen > PATIENCE:
                raise BackendError(f"no worker is left: waited {PATIENCE} s for one")
            ended = pool.poll()
            answered = {worker for worker, _ in ended}
            for worker, (_, job, since) in running.items():
                late = time.monotonic() - since > job.seconds
                if worker not in answered and (late or worker not in workers):
                    pool.stop(worker)
                    ended.append((worker, ("late", "no answer in time") if late else ("lost", "the worker is gone")))
            for worker, answer in ended:
                work, job, since = running.pop(worker)
                problem = _judge(work, job, answer, accept)
                if problem is None:
                    left = len(waiting) + len(running)
                    progress(f"{job.name}: {time.monotonic() - since:.0f} s on {worker}, {left} to go")
                else:
                    progress(f"{job.name}: {problem}; again, not on {worker} if there is another")
                    work.avoid.add(worker)
                    waiting.appendleft(work)
            for worker in workers:
                if worker not in running and (work := _next_for(worker, waiting, workers)):
                    work.tries += 1
                    job = jobs[work.index]()
                    running[worker] = work, job, time.monotonic()
                    pool.start(worker, job)
            if running or waiting:
                time.sleep(0.05)
    finally:
        for worker in running:
            pool.stop(worker)


def _next_for(worker: str, waiting: deque[_Work], workers: Sequence[str]) -> _Work | None:
    """The first job that may go to this worker: any, but one that it failed only if no other lives."""
    for work in waiting:
        if worker not in work.avoid or work.avoid.issuperset(workers):
            waiting.remove(work)
            return work
    return None


def _judge(work: _Work, job: Job, answer: Answer, accept: Callable[[int, Any], None]) -> str | None:
    """None if the job is done; why it is to be done again; or raises."""
    kind, value = answer
    error: ZkmarketError
    if kind == "done":
        try:
            accept(work.index, value)
            return None
        except ProofRejected as rejected:
            error = rejected
    elif kind == "failed":
        name, text = value
        error = getattr(errors, name, BackendError)(text)
        if not isinstance(error, BackendError):
            raise error
    else:
        error = (BackendTimeout if kind == "late" else BackendError)(f"{job.name}: {value}")
    if work.tries >= ATTEMPTS:
        raise error
    return str(error)


# ---------------------------------------------------------------- a process for a job


class Child:
    """A job in a process of its own, with a folder that goes when it ends."""

    def __init__(self, function: str, files: Mapping[str, Path], arguments: tuple):
        self.folder = tempfile.TemporaryDirectory(prefix="zkmarket-job-")
        self.output, self.errors = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 (see close)
        for name, path in files.items():
            (Path(self.folder.name) / name).symlink_to(Path(path).resolve())
        self.process = subprocess.Popen(
            [sys.executable, "-m", "zkmarket.executor"],
            stdin=subprocess.PIPE,
            stdout=self.output,
            stderr=self.errors,
            cwd=Path(__file__).resolve().parents[1],
            start_new_session=True,
        )
        data = pickle.dumps((function, Path(self.folder.name), arguments))
        with contextlib.suppress(BrokenPipeError):  # it is dead already: `poll` says how
            self.process.stdin.write(len(data).to_bytes(8, "big") + data)
            self.process.stdin.flush()

    def poll(self) -> Answer | None:
        """The answer once the process has ended."""
        code = self.process.poll()
        if code is None:
            return None
        self.output.seek(0)
        self.errors.seek(0)
        data, said = self.output.read(), self.errors.read().decode(errors="replace").strip()
        self.close()
        if code == 0 and data:
            return pickle.loads(data)
        return "lost", f"the process ended with {code}; it may have run out of memory. {said[-300:]}".strip()

    def close(self) -> None:
        """End the process and whatever it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.output.close()
        self.errors.close()
        self.folder.cleanup()


def _child_main() -> None:
    """The other end of `Child`."""
    source = sys.stdin.buffer
    data = source.read(int.from_bytes(source.read(8), "big"))
    threading.Thread(target=_die_with, args=(source,), daemon=True).start()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a job prints must not mix with its answer
    function, folder, arguments = pickle.loads(data)
    try:
        module, name = function.split(":")
        answer = "done", getattr(importlib.import_module(module), name)(folder, *arguments)
    except Exception as error:
        answer = "failed", (type(error).__name__, f"{error}" if isinstance(error, ZkmarketError) else repr(error))
    pickle.dump(answer, answers)
    answers.flush()
    os._exit(0)


def _die_with(source: Any) -> None:
    """The pipe closes when whoever started this process ends, by kill -9 too."""
    source.read()
    if os.getpgrp() == os.getpid():  # as `Child` starts it
        os.killpg(0, signal.SIGKILL)


# ---------------------------------------------------------------- this machine


class LocalPool:
    """Processes of this machine, so many at a time."""

    def __init__(self, count: int):
        if count < 1:
            raise InputError(f"a pool has at least one worker: got {count}")
        self.names = tuple(f"process {number}" for number in range(1, count + 1))
        self.children: dict[str, Child] = {}

    def workers(self) -> Sequence[str]:
        return self.names

    def start(self, worker: str, job: Job) -> None:
        self.children[worker] = Child(job.function, job.files, job.arguments)

    def poll(self) -> list[tuple[str, Answer]]:
        ended = [(name, answer) for name, child in self.children.items() if (answer := child.poll())]
        for name, _ in ended:
            del self.children[name]
        return ended

    def stop(self, worker: str) -> None:
        if child := self.children.pop(worker, None):
            child.close()

    def close(self) -> None:
        for worker in list(self.children):
            self.stop(worker)


# ---------------------------------------------------------------- Dask


class DaskPool:
    """The workers of a Dask scheduler, one job each. They may come and go."""

    def __init__(self, scheduler: str, seconds: float = 10):
        try:
            from distributed import Client
        except ImportError as error:
            raise InputError("--scheduler needs Dask: pip install 'zkmarket[dask]'") from error
        try:
            self.client = Client(scheduler, timeout=seconds, set_as_default=False)
        except (OSError, ValueError) as error:
            raise BackendError(f"no Dask scheduler answers at {scheduler}: {error}") from error
        self.futures: dict[str, Any] = {}
        self.refused: dict[str, str] = {}
        self.sent: dict[str, set[str]] = {}
        self.living: tuple[float, Sequence[str]] = (0.0, ())

    def workers(self) -> Sequence[str]:
        if time.monotonic() - self.living[0] > 0.5:
            try:
                self.living = time.monotonic(), sorted(self.client.nthreads())
            except OSError as error:
                raise BackendError(f"the Dask scheduler is gone: {error}") from error
        return self.living[1]

    def start(self, worker: str, job: Job) -> None:
        import dask

        digests = {name: _digest(path) for name, path in job.files.items()}
        try:
            self._send(worker, {digests[name]: path for name, path in job.files.items()})
        except Exception as error:  # Dask raises a dozen kinds for a worker that goes away
            self.refused[worker] = f"files did not reach the worker: {error}"
            return
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1GB"}):
            self.futures[worker] = self.client.submit(
                on_worker,
                job.function,
                digests,
                job.arguments,
                max(1.0, job.seconds - 5),
                workers=[worker],
                pure=False,
                key=f"zkmarket-{os.urandom(8).hex()}",
            )

    def _send(self, worker: str, files: Mapping[str, Path]) -> None:
        """Give a worker the files that its machine has not got."""
        unsure = set(files) - self.sent.setdefault(worker, set())
        if not unsure:
            return
        for digest in self._call(worker, missing, sorted(unsure)):
            with files[digest].open("rb") as source:
                name = os.urandom(8).hex()
                while piece := source.read(PIECE):
                    self._call(worker, receive, name, piece)
            self._call(worker, arrived, name, digest)
        self.sent[worker] |= unsure

    def _call(self, worker: str, function: Callable[..., Any], *arguments: Any) -> Any:
        return self.client.run(function, *arguments, workers=[worker])[worker]

    def poll(self) -> list[tuple[str, Answer]]:
        ended = [(worker, ("lost", why)) for worker, why in self.refused.items()]
        self.refused = {}
        for worker, future in list(self.futures.items()):
            if future.done():
                ended.append((worker, self._answer(worker, future)))
                del self.futures[worker]
        return ended

    def _answer(self, worker: str, future: Any) -> Answer:
        try:
            kind, value = future.result()
        except Exception as error:
            kind, value = "lost", f"{type(error).__name__}: {error}"
        finally:
            future.release()
        if kind != "done":
            self.sent.pop(worker, None)  # look again what it has
        return kind, value

    def stop(self, worker: str) -> None:
        self.refused.pop(worker, None)
        self.sent.pop(worker, None)
        if future := self.futures.pop(worker, None):
            future.cancel(force=True)

    def close(self) -> None:
        for worker in list(self.futures):
            self.stop(worker)
        self.client.close()


_digests: dict[tuple[Path, int, int], str] = {}


def _digest(path: Path) -> str:
    """SHA-256 of a file, looked up as long as it is the same file."""
    state = path.stat()
    key = path, state.st_mtime_ns, state.st_size
    if key not in _digests:
        _digests[key] = sha256_file(path)
    return _digests[key]


# What follows runs on a Dask worker.


def worker_folder() -> Path:
    """A worker's files, by their SHA-256. They are never removed: a file may be in use."""
    return cache_folder() / "worker"


def missing(digests: Sequence[str]) -> list[str]:
    """Which of these files are not there."""
    return [digest for digest in digests if not (worker_folder() / digest).is_file()]


def receive(name: str, piece: bytes) -> None:
    """Append to a file that is on its way."""
    worker_folder().mkdir(parents=True, exist_ok=True)
    with (worker_folder() / f".{name}").open("ab") as file:
        file.write(piece)


def arrived(name: str, digest: str) -> None:
    """Check a file and give it its name; raises if it is another one."""
    path = worker_folder() / f".{name}"
    actual = sha256_file(path)
    if actual != digest:
        path.unlink()
        raise ValueError(f"a file arrived damaged: got SHA-256 {actual}, wanted {digest}")
    path.replace(worker_folder() / digest)


def on_worker(function: str, digests: Mapping[str, str], arguments: tuple, seconds: float) -> Answer:
    """Do a job in a process that dies with this one."""
    files = {name: worker_folder() / digest for name, digest in digests.items()}
    if gone := [name for name, path in files.items() if not path.is_file()]:
        return "lost", f"the worker has not got {', '.join(gone)}"
    child, end = Child(function, files, arguments), time.monotonic() + seconds
    while (answer := child.poll()) is None:
        if time.monotonic() > end:
            child.close()
            return "late", f"no answer for {seconds:.0f} s"
        time.sleep(0.05)
    return answer


# ---------------------------------------------------------------- choice


@contextlib.contextmanager
def open_pool(workers: int = 1, scheduler: str | None = None) -> Iterator[Pool]:
    """So many processes of this machine, or the workers of a Dask scheduler. Ended with the block."""
    pool = DaskPool(scheduler) if scheduler else LocalPool(workers)
    try:
        yield pool
    finally:
        pool.close()


if __name__ == "__main__":
    _child_main()
