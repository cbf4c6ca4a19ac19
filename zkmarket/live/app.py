"""The page's server: one document, its data, and nothing else. It reads the chain; it writes nothing anywhere."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import ZkmarketError
from ..market import Project, known_contracts, record
from ..page import Replay, csp, script, style
from ..serving import answer
from .snapshot import snapshot

FRESH = 1.0
"""Seconds for which an answer of the chain is given again: readers do not add up at the node."""

DOCUMENT = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>zkmarket: a market, live</title>
<style>{style}</style>
</head>
<body>
<main id="live"><p>Reading the chain …</p></main>
<script id="replay-code">{script}</script>
</body>
</html>
"""


class LivePage:
    """Of one project. Brownie has one connection a process, so the chain is asked by one thread at a time."""

    def __init__(self, project: Project):
        self._project, self._terms = project, project.terms()
        self._lock = threading.Lock()
        self._kept: tuple[float, bytes] = (0.0, b"")
        self._replayed: tuple[Any, bytes] = (None, b"")
        text = script()
        self._document = DOCUMENT.format(style=style(), script=text).encode()
        self._policy = (
            f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; connect-src 'self'; {csp(text)};"
            " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )

    def app(self, environ: Mapping[str, Any], start: Callable[..., Any]) -> list[bytes]:
        """As WSGI."""
        path, kind = environ["PATH_INFO"], "application/json"
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return answer(environ, start, "405 Method Not Allowed", "text/plain", b"wanted GET\n")
        try:
            if path == "/":
                headers = ("Content-Security-Policy", self._policy)
                return answer(environ, start, "200 OK", "text/html; charset=utf-8", self._document, headers)
            if path == "/live.json":
                return answer(environ, start, "200 OK", kind, self._live(), ("Cache-Control", "no-store"))
            if path == "/replay.json":
                return answer(environ, start, "200 OK", kind, self._replay(), ("Cache-Control", "no-store"))
        except ZkmarketError as error:
            body = json.dumps({"error": type(error).__name__, "message": str(error)}).encode()
            return answer(environ, start, "503 Service Unavailable", kind, body)
        return answer(environ, start, "404 Not Found", "text/plain", b"wanted /, /live.json or /replay.json\n")

    def _live(self) -> bytes:
        with self._lock:
            made, body = self._kept
            if time.monotonic() - made >= FRESH or not body:
                body = json.dumps(snapshot(self._project, self._terms)).encode()
                self._kept = (time.monotonic(), body)
            return body

    def _replay(self) -> bytes:
        """All transactions until now. Of the verifiers the page knows no digest: they are the project's own."""
        with self._lock:
            tip, (made_at, body) = self._project.chain.tip(), self._replayed
            if tip != made_at:
                replay = Replay(record(self._project), known_contracts())
                body = json.dumps({"recording": replay.packed_recording(), "known": replay.known}).encode()
                self._replayed = (tip, body)
            return body
