"""What long work says while it runs: a callback that takes one line of text.

Text is for people. To other programs the roles tell events: dictionaries such as ``{"event": "verified", "round": 1}``,
for which the callback may have a method `event`. With --json the command line writes each as a line on stderr.

    refused     the aggregator refuses the update of `trainer` for good
    verified    this role has verified the proof of a settled round
    kept        a demo keeps its market running, with `commands` that check it
    received    this role has opened a round's aggregate, or there is nothing to open
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Progress = Callable[[str], None]


def tell(progress: Progress, event: str, **facts: Any) -> None:
    """Tell an event to a callback that takes events."""
    if listener := getattr(progress, "event", None):
        listener({"event": event, **facts})


def quiet(_: str) -> None:
    """Discards progress."""
