"""What the tests of the executor let workers do."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from zkmarket.errors import StatementFalse
from zkmarket.files import sha256_file


def square(folder: Path, number: int) -> int:
    return number * number


def read(folder: Path, seconds: float = 0) -> dict[str, str]:
    """Digests of the job's files."""
    time.sleep(seconds)
    return {path.name: sha256_file(path) for path in folder.iterdir()}


def note(folder: Path, marks: Path, name: str, seconds: float) -> tuple[str, int]:
    """Leave a mark with the process that started this one, then take a while."""
    (marks / f"{name}.{os.getpid()}").write_text(str(os.getppid()))
    time.sleep(seconds)
    return name, os.getpid()


def die_once(folder: Path, marks: Path, name: str) -> str:
    """Be killed in the first attempt."""
    mark = marks / name
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return name


def lie(folder: Path, marks: Path, name: str, times: int) -> str:
    """Answer wrongly so many times."""
    told = len(list(marks.glob(f"{name}.*")))
    (marks / f"{name}.{told}").touch()
    return "wrong" if told < times else name


def refuse(folder: Path) -> None:
    raise StatementFalse("this does not hold")


def stumble(folder: Path) -> None:
    raise ValueError("a bug")


def chatter(folder: Path) -> str:
    print("not an answer")
    os.write(1, b"nor this")
    return "answer"
