"""Answers HTTP with a WSGI function, in threads, while a block runs."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from .errors import InputError


def read_place(option: str, text: str) -> tuple[str, int]:
    """`PORT`, on this machine alone, or `HOST:PORT`. InputError for anything else.

    Args:
        option: that it was given to, for the message.
    """
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdecimal() and 0 <= int(port) < 1 << 16):
        raise InputError(f"{option} wants PORT, or HOST:PORT: got {text!r}")
    return host.strip("[]") or "127.0.0.1", int(port)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Quiet(WSGIRequestHandler):
    timeout = 10  # seconds that a request may take to arrive

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextlib.contextmanager
def serving(app: Callable[..., Any], host: str, port: int) -> Iterator[int]:
    """Answer while the block runs; the port, which the system chooses for 0. InputError if it cannot be had."""
    try:
        server = make_server(host, port, app, _Server6 if ":" in host else _Server, _Quiet)
    except OSError as error:
        raise InputError(f"{host}:{port} cannot be served: {error.strerror or error}; give another port") from error
    thread = threading.Thread(target=server.serve_forever, name="serving", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def answer(
    environ: Any, start: Callable[..., Any], status: str, kind: str, body: bytes, *headers: tuple[str, str]
) -> list[bytes]:
    """A whole answer; HEAD gets no body."""
    start(status, [("Content-Type", kind), ("Content-Length", str(len(body))), *headers])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]
