"""What the live page's server answers, and whose turn it is."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.past import TERMS, state_of
from zkmarket.chain import Phase
from zkmarket.errors import ChainError
from zkmarket.live import LivePage, app
from zkmarket.live.snapshot import turn

pytestmark = pytest.mark.unit


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> LivePage:
    monkeypatch.setattr(app, "script", lambda: "run()")
    return LivePage(SimpleNamespace(terms=lambda: TERMS))  # type: ignore[arg-type]


def asked(page: LivePage, path: str, method: str = "GET") -> tuple[str, dict[str, str], bytes]:
    got: list[Any] = []
    body = page.app({"PATH_INFO": path, "REQUEST_METHOD": method}, lambda *given: got.extend(given))
    return got[0], dict(got[1]), b"".join(body)


def test_the_document_may_run_its_script_and_ask_its_server_alone(page: LivePage) -> None:
    status, headers, body = asked(page, "/")
    policy = headers["Content-Security-Policy"].split("; ")
    assert status == "200 OK" and b'<script id="replay-code">run()</script>' in body
    assert {"default-src 'none'", "connect-src 'self'", "base-uri 'none'", "frame-ancestors 'none'"} <= set(policy)
    assert [part for part in policy if part.startswith("script-src")][0].startswith("script-src 'sha256-")


def test_many_readers_are_one_at_the_node(page: LivePage, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter(range(100))
    monkeypatch.setattr(app, "snapshot", lambda *_: {"block": next(looks)})
    answers = [json.loads(asked(page, "/live.json")[2])["block"] for _ in range(5)]
    assert answers == [0] * 5
    monkeypatch.setattr(app, "FRESH", 0.0)
    assert json.loads(asked(page, "/live.json")[2])["block"] == 1


def test_a_node_that_fails_is_said(page: LivePage, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> None:
        raise ChainError("no answer")

    monkeypatch.setattr(app, "snapshot", failing)
    status, headers, body = asked(page, "/live.json")
    assert status.startswith("503") and headers["Content-Type"] == "application/json"
    assert json.loads(body) == {"error": "ChainError", "message": "no answer"}


def test_other_requests(page: LivePage) -> None:
    assert asked(page, "/../etc/passwd")[0] == "404 Not Found"
    assert asked(page, "/", "POST")[0] == "405 Method Not Allowed"
    assert asked(page, "/", "HEAD")[2] == b""


@pytest.mark.parametrize("phase", Phase)
def test_every_phase_has_a_next_step(phase: Phase) -> None:
    sentence = turn(state_of(phase), TERMS, members=4, admitted=2, submitted=3)
    assert sentence[0].isupper() and sentence.endswith(".")


def test_a_deadline_that_is_over_is_anybodys() -> None:
    late = state_of(Phase.PROVE, now=2000, deadline=1000)
    assert turn(late, TERMS, 4, 2, 3) == "The deadline is over: anybody may call the time-out."
