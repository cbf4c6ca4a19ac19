"""What the command line prints: answers, failures, progress."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import threading
from collections.abc import Iterator
from typing import Any

from ..errors import TransactionReverted
from ..progress import Progress, quiet

Answer = tuple[dict[str, Any], str]
"""What a verb returns: the object for --json, and the text for people."""


def fail(arguments: argparse.Namespace, error: Exception, code: int) -> int:
    if arguments.json:
        told = {"error": type(error).__name__, "message": str(error), "exit_code": code}
        if isinstance(error, TransactionReverted):
            told["reason"] = error.reason  # as the contract said it; the message is a sentence
        print(json.dumps(told))
    print(f"zkmarket {arguments.verb}: {error}", file=sys.stderr)
    return code


class Reporter:
    """Progress on stderr: a line a step; on a terminal, below them, what is waited for and for how long.

    Args:
        live: display of a terminal.
        events: also a line of JSON for each event (see ../progress.py).
    """

    def __init__(self, live: Any = None, events: bool = False):
        self.live, self.task, self.events = live, None, events
        self.lock = threading.RLock()  # blobs are put, and their fate told, in the background

    def __call__(self, text: str) -> None:
        self._print(f"· {text}")
        if self.live is not None:
            self._show(text)

    def event(self, facts: dict[str, Any]) -> None:
        if self.events:
            self._print(json.dumps(facts))

    def waiting(self, text: str) -> None:
        """What is waited for: a line where there is no terminal, else what stands beside the clock."""
        if self.live is None:
            self(text)
        else:
            self._show(text)

    def _print(self, line: str) -> None:
        with self.lock:  # a line is whole
            if self.live is None:
                print(line, file=sys.stderr, flush=True)
            else:
                self.live.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _show(self, text: str) -> None:
        with self.lock:
            if self.task is not None:
                self.live.remove_task(self.task)
            self.task = self.live.add_task(text, total=None)


@contextlib.contextmanager
def progress_on(silent: bool, events: bool = False) -> Iterator[Progress]:
    if silent or not sys.stderr.isatty():
        yield quiet if silent else Reporter(events=events)
        return
    from rich.console import Console
    from rich.progress import Progress as Live
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = SpinnerColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False)
    with Live(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as live:
        yield Reporter(live, events)
