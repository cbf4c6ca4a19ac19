"""The live page of a project: what happens in it now, and a replay of all that happened."""

from .app import LivePage
from .snapshot import snapshot

__all__ = ["LivePage", "snapshot"]
