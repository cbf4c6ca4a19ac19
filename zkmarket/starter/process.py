"""Commands of this program as processes of one terminal, and the log that they share."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from queue import Queue
from typing import Any

from ..errors import BackendError
from ..processes import dying_with_us
from ..progress import Progress

WIDTH = 110
"""Characters of a line on the terminal."""


class Log:
    """What all processes say, with the time and who says it: every line in a file, on the terminal what is new.

    Attributes:
        names: texts, such as addresses, and what people call them.
    """

    def __init__(self, path: Path, progress: Progress):
        self.file = path.open("w")
        self.progress, self.lock, self.began = progress, threading.Lock(), time.monotonic()
        self.names: dict[str, str] = {}
        self.shown: set[str] = set()

    def line(self, who: str, text: str) -> None:
        with self.lock:
            if self.file.closed:
                return
            head = f"{time.monotonic() - self.began:6.1f} s  {who:10}  "
            print(head + text, file=self.file, flush=True)
            for long, name in self.names.items():
                text = text.replace(long, name)
            if text not in self.shown and not _waits(text):
                self.shown.add(text)
                line = head + text
                self.progress(line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…")

    def close(self) -> None:
        with self.lock:
            self.file.close()


def _waits(text: str) -> bool:
    """Whether something is said again and again until it has come: what is waited for, what a store is asked for."""
    return "waiting for" in text or "are not in the store yet" in text or text.startswith("127.0.0.1: ")


class Process:
    """A `zkmarket` command. It ends with this process, whatever ends that; the terminal's Ctrl-C does not reach it."""

    def __init__(self, name: str, words: Sequence[str], folder: Path, log: Log):
        self.name, self.words, self.log = name, words, log
        self.last = "it said nothing"
        self.output: list[str] = []
        self.lines: Queue[str] = Queue()
        log.line(name, f"$ zkmarket {shlex.join(words)}")
        self.process = subprocess.Popen(
            dying_with_us([sys.executable, "-m", "zkmarket", *words, "--json"]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            text=True,
            start_new_session=True,
        )
        self.readers = [threading.Thread(target=read, daemon=True) for read in (self._read_log, self._read_output)]
        for reader in self.readers:
            reader.start()

    def _read_log(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            text = line.rstrip("\n").removeprefix("· ")
            if text and not text.startswith('{"event"'):
                self.last = text
                self.log.line(self.name, text)

    def _read_output(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.output.append(line)
            self.lines.put(line)
        self.lines.put("")

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def check(self) -> None:
        """Raise BackendError if it has failed."""
        if self.process.poll() not in (None, 0):
            for reader in self.readers:
                reader.join(timeout=5)
            code = self.process.returncode
            raise BackendError(f"{self.name} failed with exit code {code}: {self.last}")

    def first_line(self) -> str:
        """The first line that it prints: its object, of a server."""
        line = self.lines.get()
        if not line:
            self.process.wait()
            self.check()
        found: dict[str, str] = json.loads(line)
        return found["url"]

    def result(self) -> dict[str, Any]:
        """What it came to, once it has ended."""
        self.process.wait()
        self.check()
        for reader in self.readers:
            reader.join()
        found: dict[str, Any] = json.loads("".join(self.output))
        return found

    def stop(self) -> None:
        """End it, and its children by the pipe that they read."""
        if self.running:
            self.process.terminate()
            try:
                self.process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()
        for reader in self.readers:
            reader.join(timeout=5)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream:
                stream.close()
