"""One connection of the store's server: the request, the verbs and their refusals."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import socket
import sys
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, NoReturn
from urllib.parse import parse_qsl

from ..errors import InputError, StoreError
from ..progress import Progress
from .access import Access
from .cid import CHUNK
from .folder import LocalStore
from .multipart import PART, Body, Counted, Refused, Stream, only_file

LIMIT = 64 << 20

_LINE = 1 << 13  # longest request line
_HEAD_SECONDS = 10.0  # in which a client must have said what it wants
_LINGER_SECONDS = 2.0
_GRACE_SECONDS = 2.0
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_OPTIONS = {
    "/api/v0/add": {"pin": "true", "cid-version": "0", "raw-leaves": "false", "chunker": f"size-{CHUNK}"},
    "/api/v0/cat": {},
    "/api/v0/pin/add": {},
}
"""Commands, and the options that change nothing here; another would mean another CID or other bytes."""


@dataclass(frozen=True)
class Limits:
    """What clients may take.

    Attributes:
        body: largest body of an `add`, in bytes: the file and its multipart frame of some 200 bytes.
        seconds: in which a request must come whole, and its answer be taken.
        connections: at once; more wait.
    """

    body: int = LIMIT
    seconds: float = 60
    connections: int = 32

    def __post_init__(self) -> None:
        if self.body < 1 or not 0 < self.seconds <= 86_400 or not 0 < self.connections <= 1000:
            raise InputError(
                "a server takes bodies of 1 byte or more, up to 86400 seconds, 1 to 1000 connections: got"
                f" {self.body} bytes, {self.seconds} seconds, {self.connections} connections"
            )


# ---------------------------------------------------------------- connections


class Server(ThreadingMixIn, TCPServer):
    """A thread for each connection, so many at once and no more; a connection is one request."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(
        self, family: int, address: tuple[str, int], store: LocalStore, limits: Limits, access: Access,
        progress: Progress,
    ) -> None:  # fmt: skip
        self.address_family = family
        self.store, self.limits, self.access = store, limits, access
        self._progress = progress
        self._saying = threading.Lock()
        self._changed = threading.Condition()
        self._open: set[socket.socket] = set()
        self._stopping = False
        super().__init__(address, _Handler)

    @property
    def url(self) -> str:
        host, port = str(self.server_address[0]), self.server_address[1]
        return f"{'https' if self.access.tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"

    def say(self, text: str) -> None:
        with self._saying, contextlib.suppress(Exception):  # a closed stderr is no reason to stop
            self._progress("".join(letter if letter.isprintable() else "?" for letter in text))

    def get_request(self) -> tuple[socket.socket, Any]:
        """A connection. TLS shakes hands in the connection's thread, where it holds nobody up."""
        accepted, address = super().get_request()
        if self.access.tls is None:
            return accepted, address
        try:
            return self.access.tls.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False), address
        except BaseException:
            accepted.close()
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start the connection's thread when there is room for it. Meanwhile others wait to be accepted."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or len(self._open) < self.limits.connections)
            stopping = self._stopping
            if not stopping:
                self._open.add(request)
        if stopping:
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:  # no more threads
            self._leave(request)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._leave(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        self.say(f"{client_address[0]}: failed: {sys.exception()!r}")

    def stop(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self.shutdown()
        self.server_close()
        if not self._emptied():
            with self._changed:
                for connection in self._open:
                    with contextlib.suppress(OSError):
                        connection.shutdown(socket.SHUT_RDWR)
            self._emptied()

    def _emptied(self) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not self._open, _GRACE_SECONDS)

    def _leave(self, request: Any) -> None:
        with self._changed:
            self._open.discard(request)
            self._changed.notify_all()


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        self.connection = self.request
        self._stream = Stream(self.connection, min(_HEAD_SECONDS, self.server.limits.seconds))
        self.rfile = io.BufferedReader(self._stream, PART)
        self.wfile = self._stream  # type: ignore[assignment]  # not buffered, but it writes all that it is given
        self._answered = False

    def handle(self) -> None:
        try:
            self._stream.shake_hands()
            try:
                if self._read_head():
                    self._stream.allow(self.server.limits.seconds)
                    self._run()
            except Refused as refusal:
                self._refuse(refusal.status, str(refusal))
            except TimeoutError:
                self._refuse(408, "too slow", linger=False)
            except StoreError as error:
                self._refuse(*_store_failed(error))
        except OSError as error:
            self._say(f"lost: {error}")
        except Exception as error:  # a bug: it must end this request only
            self._say(f"failed: {type(error).__name__}: {error}")
            with contextlib.suppress(OSError, Refused):
                self._refuse(500, "it failed")

    def _read_head(self) -> bool:
        """Read request line and headers. False if the client has gone without a word."""
        self.requestline, self.request_version, self.command = "", self.protocol_version, ""
        self.raw_requestline = self.rfile.readline(_LINE + 1)
        if len(self.raw_requestline) > _LINE:
            raise Refused(414, f"the request line is longer than {_LINE} bytes")
        return bool(self.raw_requestline) and self.parse_request()

    def _run(self) -> None:
        path, _, query = self.path.partition("?")
        if self.command != "POST":
            raise Refused(405, "only POST")
        if "Origin" in self.headers:  # a page in a browser of this machine reaches loopback, too
            raise Refused(403, "a web page has no business here")
        if not self.server.access.admits(self.headers.get("Authorization", "")):
            raise Refused(401, "wanted the store's token, as Authorization: Bearer TOKEN")
        if path not in _OPTIONS:
            raise Refused(404, f"the commands are {', '.join(_OPTIONS)}")
        argument = _argument(query, _OPTIONS[path])
        if path == "/api/v0/add":
            self._add(argument)
            return
        if self._length(0):
            raise Refused(400, "a body is for add only")
        if argument is None:
            raise Refused(400, "wanted one arg, a CID")
        if path == "/api/v0/cat":
            self._cat(argument)
        else:
            self._pin(argument)

    def _add(self, argument: str | None) -> None:
        if argument is not None:
            raise Refused(400, "add takes no arg")
        length = self._length()
        if length > self.server.limits.body:
            raise Refused(413, f"the body has {length} bytes: wanted at most {self.server.limits.body}")
        boundary = self.headers.get_boundary("") or ""
        if self.headers.get_content_type() != "multipart/form-data" or not (boundary.isascii() and boundary):
            raise Refused(400, "wanted multipart/form-data with a boundary")
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        counted = Counted(only_file(Body(self.rfile, length).more, boundary.encode()))
        cid = self.server.store.put_parts(counted)
        self._answer(200, {"Name": cid, "Hash": cid})
        self._say(f"put {cid}, {counted.total} bytes")

    def _cat(self, cid: str) -> None:
        with _open(self.server.store, cid) as file:
            size = os.fstat(file.fileno()).st_size
            self._head(200, "application/octet-stream", size)
            while part := file.read(min(PART, size)):
                self.wfile.write(part)
                size -= len(part)
        self._say(f"got {cid}")

    def _pin(self, cid: str) -> None:
        _open(self.server.store, cid).close()
        try:
            self.server.store.pin(cid)
        except StoreError as error:
            raise Refused(500, f"the blob {cid} is damaged here: put it again") from error
        self._answer(200, {"Pins": [cid]})
        self._say(f"pinned {cid}")

    def _length(self, otherwise: int | None = None) -> int:
        """Content-Length, or what it is when there is none."""
        found = self.headers.get_all("Content-Length", [])
        if "Transfer-Encoding" in self.headers or (not found and otherwise is None):
            raise Refused(411, "say how long the body is: Content-Length, no Transfer-Encoding")
        if not found:
            return otherwise or 0
        text = found[0].strip()
        if len(found) > 1 or not (text.isascii() and text.isdigit() and len(text) < 20):
            raise Refused(400, "Content-Length is one whole number")
        return int(text)

    # ---- answers

    def _refuse(self, status: int, message: str, linger: bool = True) -> None:
        """An answer as Kubo gives it; then what still comes is thrown away for a moment.

        A connection that is closed on unread bytes is reset, and its client might never see the answer.
        """
        if not self._answered:
            self._stream.allow(_LINGER_SECONDS)
            self._answer(status, {"Message": message, "Code": 0, "Type": "error"})
        self._say(f"refused, {status}: {message}")
        if not linger:
            return
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            while self.rfile.read1(PART):
                pass

    def _answer(self, status: int, value: dict[str, Any]) -> None:
        body = json.dumps(value).encode() + b"\n"
        self._head(status, "application/json", len(body))
        if self.command != "HEAD":
            self.wfile.write(body)

    def _head(self, status: int, kind: str, length: int) -> None:
        self._answered = True
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Connection", "close")
        if status == 401:
            self.send_header("WWW-Authenticate", "Bearer")
        if status == 405:
            self.send_header("Allow", "POST")
        self.end_headers()

    def _say(self, text: str) -> None:
        self.server.say(f"{self.client_address[0]}: {text}")

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> NoReturn:
        """What the parser of the head finds wrong."""
        self.request_version = self.protocol_version  # it sets it to one that has no status line
        raise Refused(int(code), f"this is not a request: {(message or '')[:100]}")

    def handle_expect_100(self) -> bool:
        return True  # add says it, once it knows that it wants the body

    def version_string(self) -> str:
        return "zkmarket"

    def log_message(self, *_: object) -> None:
        pass


def _open(store: LocalStore, cid: str) -> Any:
    """A blob's file, without the store's own messages: they name its folder."""
    try:
        return store.open(cid)
    except InputError as error:
        raise Refused(400, f"not a CID: {cid[:100]!r}") from error
    except StoreError as error:
        raise Refused(500, f"no blob {cid}") from error


def _store_failed(error: StoreError) -> tuple[int, str]:
    cause = error.__cause__
    reason = cause.strerror if isinstance(cause, OSError) else "it failed"
    status = 507 if isinstance(cause, OSError) and cause.errno in _FULL else 500
    return status, f"the store cannot keep the blob: {reason}"


def _argument(query: str, allowed: dict[str, str]) -> str | None:
    """`arg` of a query. Refused: another option, unless it asks for what is done anyway."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=20)
    except ValueError as error:
        raise Refused(400, "too many options") from error
    for name, value in pairs:
        if name != "arg" and allowed.get(name) != value:
            known = ", ".join(f"{key}={wanted}" for key, wanted in allowed.items()) or "no option"
            raise Refused(400, f"option {name[:40]}={value[:40]}: wanted {known}")
    found = [value for name, value in pairs if name == "arg"]
    if len(found) > 1:
        raise Refused(400, "more than one arg")
    return found[0] if found else None
