"""The page on which a market is run again: its script, and how it stands in a document."""

from .embed import Replay, csp, script, style

__all__ = ["Replay", "csp", "script", "style"]
