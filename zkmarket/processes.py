"""Child processes that do not outlive the one which started them, and where the source tree is."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any


def die_with(source: Any) -> None:
    """The pipe closes when whoever started this process ends, by kill -9 too."""
    source.read()
    if os.getpgrp() == os.getpid():  # as `Child` starts it
        os.killpg(0, signal.SIGKILL)


SOURCE_TREE = Path(__file__).resolve().parents[1]
"""Where contracts/, node_modules/ and brownie-config.yaml are: zkmarket runs from its source tree."""


# The shell becomes the command. Its helper waits for the end of our pipe, which even kill -9 of this process brings.
_KEEPER = 'exec 3<&0; (read -r _ <&3; kill -9 $$) >/dev/null 2>&1 & exec 3<&- </dev/null; exec "$@"'


def dying_with_us(command: list[str]) -> list[str]:
    """A command to start with ``stdin=PIPE``: it ends when this process does, whatever ends that."""
    return ["/bin/sh", "-c", _KEEPER, "sh", *command]
