"""What a document needs to run a recorded market again: three elements, and leave to run one script."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ArtifactError

SCRIPT = Path(__file__).parent / "dist" / "replay.js"
"""Made by `make page` from src/, and shipped in the wheel."""


@dataclass(frozen=True)
class Replay:
    """What the page is given.

    Attributes:
        recording: a project's transactions (`market.record`).
        known: code and words of this version's contracts, which the page trusts (`market.known_code`).
    """

    recording: Mapping[str, Any]
    known: Mapping[str, Any]

    def packed_recording(self) -> str:
        """Deflated JSON in base64: no character of it is markup."""
        text = json.dumps(self.recording, separators=(",", ":")).encode()
        return base64.b64encode(zlib.compress(text, 9)).decode()

    def known_json(self) -> str:
        """JSON that can stand in a script element: no `<` in it, and ASCII only."""
        return json.dumps(self.known, separators=(",", ":")).replace("<", "\\u003c")


def script() -> str:
    """The page's script, whole. ArtifactError if it was not built."""
    try:
        text = SCRIPT.read_text("ascii")
    except FileNotFoundError as error:
        raise ArtifactError("the page's script is not built: run `make page`, which needs Node.js") from error
    if "</script" in text.lower() or "<!--" in text:
        raise ArtifactError(f"{SCRIPT.name} cannot stand in a document: it ends its own element; build it again")
    return text


def style() -> str:
    """What report and live page look like."""
    return (Path(__file__).parent / "style.css").read_text()


def csp(text: str) -> str:
    """What a content security policy says of this script: it and the worker made of it may run, nothing else."""
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"script-src 'sha256-{digest}' blob:; worker-src blob:"
