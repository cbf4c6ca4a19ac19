"""What long work says while it runs: a callback that takes one line of text."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str], None]


def quiet(_: str) -> None:
    """The progress callback of who wants none."""
