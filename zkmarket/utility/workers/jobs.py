"""Independent jobs on many workers: processes of this machine, or of a Dask cluster.

A job names a function, gives it files and a few arguments, and is done anywhere. What can go wrong is this module's
business: a worker that dies or does not answer has its job done again elsewhere, and so has one that answers
wrongly, which is seen because the caller checks every result (`accept` verifies a proof). Each job runs in a
process of its own, `python -m zkmarket.utility.workers.local`, which dies with whoever started it.

Files, such as proving keys, are known by their SHA-256. They reach a Dask worker's cache folder once, in
pieces, and are checked on arrival; a job carries only their names.

Whom this trusts: a worker learns what the job holds (for a utility proof the updates of a coalition and their salts,
which also open their commitments), and Dask's wire is pickle, so that scheduler and workers can run code here and
here can run code there. A cluster must be the aggregator's own; between machines use `tls://` with Dask's
configuration. Verification of results is against faults, not against a cluster of others.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ... import backend, errors
from ...backend import CircuitFiles, Proof, ProofJob
from ...errors import BackendError, BackendTimeout, ProofRejected, ZkmarketError
from ...progress import Progress, quiet

ATTEMPTS = 3
"""How often a job is tried before its last failure is the caller's."""

PATIENCE = 60
"""Seconds to wait for a worker when there is none."""

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
    arguments: tuple[Any, ...] = field(repr=False)
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
                if worker not in running and (next_one := _next_for(worker, waiting, workers)):
                    next_one.tries += 1
                    job = jobs[next_one.index]()
                    running[worker] = next_one, job, time.monotonic()
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
