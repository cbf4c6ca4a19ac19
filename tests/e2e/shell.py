"""The command line as a user runs it: another process, another working directory, files by relative names."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SECONDS = 240


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one JSON object on stdout: parsing fails if there is anything else."""
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value


def zkmarket(place: Path, *arguments: object, **environment: str) -> Done:
    """Run `zkmarket ARGUMENTS` in `place`; environment variables by name."""
    command = [sys.executable, "-m", "zkmarket", *map(str, arguments)]
    done = subprocess.run(
        command, cwd=place, env=os.environ | environment, capture_output=True, text=True, timeout=SECONDS
    )
    return Done(done.returncode, done.stdout, done.stderr)


def succeeded(done: Done) -> Done:
    assert done.code == 0, done.err
    return done


def failed(done: Done, code: int, *reasons: str) -> None:
    """The code, one line of reason on stderr, the same in the JSON object, and no traceback."""
    assert done.code == code, done.err
    for reason in reasons:
        assert reason in done.err
    assert "Traceback" not in done.err
    value = done.json
    assert value["exit_code"] == code and value["message"] in done.err


def killed_at(
    place: Path, line: str, *arguments: object, when: Callable[[], bool] = lambda: True, **environment: str
) -> int:
    """Run a command and kill -9 its whole process group once a progress line on stderr contains `line`.

    And once `when` is true after that. Returns the process id; fails if the command ends by itself first.
    """
    command = [sys.executable, "-m", "zkmarket", *map(str, arguments)]
    child = subprocess.Popen(
        command,
        cwd=place,
        env=os.environ | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert child.stderr
    watchdog = threading.Timer(SECONDS, lambda: os.killpg(child.pid, signal.SIGKILL))
    watchdog.start()
    seen = []
    try:
        for text in child.stderr:
            seen.append(text)
            if line in text:
                break
        else:
            raise AssertionError(f"{line!r} was never said: {seen}")
        while not when() and child.poll() is None:
            time.sleep(0.01)
        assert child.poll() is None
        os.killpg(child.pid, signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
    finally:
        watchdog.cancel()
        child.stderr.close()
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    return child.pid
