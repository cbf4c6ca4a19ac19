"""A market of one's own on this machine: the folder that `zkmarket new` writes, and the processes that play it."""

from .folder import write_starter
from .market import bring_down, bring_up

__all__ = ["bring_down", "bring_up", "write_starter"]
