"""Workers of a Dask cluster, and how files get there."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import BackendError, InputError
from ...files import cache_folder, sha256_file
from .jobs import Answer, Job
from .local import Child

PIECE = 4 << 20
"""Bytes of a file that travel at once."""


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


def on_worker(function: str, digests: Mapping[str, str], arguments: tuple[Any, ...], seconds: float) -> Answer:
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
