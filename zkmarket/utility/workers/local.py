"""Workers that are processes of this machine: `python -m zkmarket.utility.workers.local`."""

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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import InputError, ZkmarketError
from ...processes import SOURCE_TREE, die_with, python_module
from .jobs import Answer, Job

# ---------------------------------------------------------------- a process for a job


class Child:
    """A job in a process of its own, with a folder that goes when it ends."""

    def __init__(self, function: str, files: Mapping[str, Path], arguments: tuple[Any, ...]):
        self.folder = tempfile.TemporaryDirectory(prefix="zkmarket-job-")
        self.output, self.errors = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 (see close)
        for name, path in files.items():
            (Path(self.folder.name) / name).symlink_to(Path(path).resolve())
        self.process = subprocess.Popen(
            python_module("zkmarket.utility.workers.local"),
            stdin=subprocess.PIPE,
            stdout=self.output,
            stderr=self.errors,
            cwd=SOURCE_TREE,
            start_new_session=True,
        )
        assert self.process.stdin
        self.stdin = self.process.stdin
        data = pickle.dumps((function, Path(self.folder.name), arguments))
        with contextlib.suppress(BrokenPipeError):  # it is dead already: `poll` says how
            self.stdin.write(len(data).to_bytes(8, "big") + data)
            self.stdin.flush()

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
            answer: Answer = pickle.loads(data)
            return answer
        return "lost", f"the process ended with {code}; it may have run out of memory. {said[-300:]}".strip()

    def close(self) -> None:
        """End the process and whatever it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        with contextlib.suppress(BrokenPipeError):
            self.stdin.close()
        self.output.close()
        self.errors.close()
        self.folder.cleanup()


def _child_main() -> None:
    """The other end of `Child`."""
    source = sys.stdin.buffer
    data = source.read(int.from_bytes(source.read(8), "big"))
    threading.Thread(target=die_with, args=(source,), daemon=True).start()
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


if __name__ == "__main__":
    _child_main()
