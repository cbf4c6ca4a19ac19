"""The process in which one proof is made: `python -m zkmarket.backend.prover`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from queue import Empty, Queue
from typing import IO, Any

from ..errors import BackendError, BackendTimeout, StatementFalse
from ..processes import SOURCE_TREE, python_module
from ..progress import Progress
from .ezkl import library


def run_child(tasks: list[dict[str, Any]], folder: Path, progress: Progress) -> None:
    """Run `_child_main` over the tasks, watching every step's deadline; what the child leaves is in `folder`."""
    child = subprocess.Popen(
        python_module("zkmarket.backend.prover"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=SOURCE_TREE,
        env={**os.environ, "TMPDIR": str(folder)},
    )
    assert child.stdin and child.stdout
    lines: Queue[str | None] = Queue()

    def pump(stream: IO[str]) -> None:
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
    ezkl = library()
    steps: dict[str, Callable[[dict[str, Any]], Any]] = {
        "witness": lambda t: ezkl.gen_witness(t["input"], t["compiled"], t["witness"]),
        "mock": lambda t: ezkl.mock(t["witness"], t["compiled"]),
        "prove": lambda t: ezkl.prove(t["witness"], t["compiled"], t["pk"], t["proof"], t["srs"]),
        "verify": lambda t: ezkl.verify(t["proof"], t["settings"], t["vk"], t["srs"], True),
    }
    for task in json.load(sys.stdin):
        for step, run in steps.items():
            try:
                run(task)
            except BaseException as error:
                print(json.dumps({"step": step, "error": f"{step}: {error}"}), file=answers)
                answers.flush()
                os._exit(1)
            print(json.dumps({"step": step}), file=answers)
    answers.flush()
    os._exit(0)  # ezkl sometimes crashes in the interpreter's own exit


if __name__ == "__main__":
    _child_main()
