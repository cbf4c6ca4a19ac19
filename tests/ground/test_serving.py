"""HTTP by a WSGI function: where it listens, and that it ends with its block."""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import Any

import pytest

from zkmarket.errors import InputError
from zkmarket.serving import answer, read_place, serving

pytestmark = pytest.mark.unit


def app(environ: Any, start: Any) -> list[bytes]:
    return answer(environ, start, "200 OK", "text/plain", b"here", ("X-Path", environ["PATH_INFO"]))


def asked(url: str) -> tuple[str, str]:
    with urllib.request.urlopen(url, timeout=10) as got:
        return got.read().decode(), got.headers["X-Path"]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_it_answers_while_the_block_runs(host: str) -> None:
    shown = f"[{host}]" if ":" in host else host
    with serving(app, host, 0) as port:
        assert asked(f"http://{shown}:{port}/a") == ("here", "/a")
    with pytest.raises(urllib.error.URLError):
        asked(f"http://{shown}:{port}/a")


def test_a_port_that_is_taken() -> None:
    with serving(app, "127.0.0.1", 0) as port:
        taken = f"127.0.0.1:{port} cannot be served: Address already in use; give another port"
        with pytest.raises(InputError, match=taken), serving(app, "127.0.0.1", port):
            pass


@pytest.mark.parametrize(
    ("text", "place"),
    [("9100", ("127.0.0.1", 9100)), ("0.0.0.0:0", ("0.0.0.0", 0)), ("[::1]:9100", ("::1", 9100))],
)
def test_places(text: str, place: tuple[str, int]) -> None:
    assert read_place("--port", text) == place


@pytest.mark.parametrize("text", ["", "here", "host:", "-1", "65536", "٣"])
def test_no_places(text: str) -> None:
    with pytest.raises(InputError, match=r"--port wants PORT, or HOST:PORT: got "):
        read_place("--port", text)
