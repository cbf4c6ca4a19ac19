"""Child processes that do not outlive the one which started them, and where the package is."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any


def die_with(source: Any) -> None:
    """The pipe closes when whoever started this process ends, by kill -9 too."""
    source.read()
    if os.getpgrp() == os.getpid():  # as `Child` starts it
        os.killpg(0, signal.SIGKILL)


SOURCE_TREE = Path(__file__).resolve().parents[1]
"""The folder that holds the package: the root of the source tree, or where a wheel was installed."""


def python_module(name: str) -> list[str]:
    """To start a module of ours with the folder above as working directory: in the source tree it is found there.

    Where a wheel is installed are others' modules, too, which must not stand before Python's own (-P).
    """
    return [sys.executable, *([] if (SOURCE_TREE / "pyproject.toml").is_file() else ["-P"]), "-m", name]


# The shell becomes the command. Its helper waits for the end of our pipe, which even kill -9 of this process brings.
_KEEPER = 'exec 3<&0; (read -r _ <&3; kill -9 $$) >/dev/null 2>&1 & exec 3<&- </dev/null; exec "$@"'


def dying_with_us(command: list[str]) -> list[str]:
    """A command to start with ``stdin=PIPE``: it ends when this process does, whatever ends that."""
    return ["/bin/sh", "-c", _KEEPER, "sh", *command]
