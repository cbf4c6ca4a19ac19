"""A whole market on this machine, with attackers, and its report."""

from .cast import MODEL, Cast
from .run import default_attackers, run_demo
from .tally import undefeated

__all__ = [
    "Cast",
    "MODEL",
    "default_attackers",
    "run_demo",
    "undefeated",
]
