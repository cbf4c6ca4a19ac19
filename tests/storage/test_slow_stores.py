"""Stores that answer a byte now and then: an operation ends when its time is over, wherever the bytes drip."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from zkmarket.errors import StoreError
from zkmarket.storage import IpfsStore, cid_of

pytestmark = pytest.mark.unit

RIGHT = b"the right bytes"
CID = cid_of(RIGHT)
DRIP = 0.05
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n"


class Server:
    """Answers every request with some bytes at once, and then others, a byte every 50 ms, for 4 s."""

    def __init__(self, at_once: bytes, dripping: bytes):
        self.at_once, self.dripping, self.asked = at_once, dripping, 0
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.over = threading.Event()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                self.asked += 1
                threading.Thread(target=self.answer, args=(connection,), daemon=True).start()

    def answer(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(10)
            said = b""
            while RIGHT not in said and b"arg=" not in said:  # the blob, or a question that names it
                said += connection.recv(1 << 16)
            connection.sendall(self.at_once)
            end = time.monotonic() + 4  # so that a reader who waits fails, and does not hang
            while self.dripping and not self.over.wait(DRIP) and time.monotonic() < end:
                connection.sendall(self.dripping)

    def close(self) -> None:
        self.over.set()
        self.socket.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(at_once: bytes, dripping: bytes = b"") -> Server:
        servers.append(Server(at_once, dripping))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


ACTS: dict[str, Callable[[IpfsStore], object]] = {
    "get": lambda store: store.get(CID),
    "put": lambda store: store.put(RIGHT),
    "pin": lambda store: store.pin(CID),
}


@pytest.mark.parametrize(
    "act, at_once, dripping",
    [
        pytest.param("get", HEAD + b"\r\n", b".", id="body"),
        pytest.param("get", b"HTTP/1.1 200 OK\r\nX-Slow: ", b".", id="head"),
        pytest.param("get", b"HTTP/1.1 500 No\r\nContent-Length: 1000000\r\n\r\n", b".", id="reason"),
        pytest.param("put", HEAD + b"\r\n", b" ", id="answer to a put"),
        pytest.param("pin", b"HTTP/1.1 200 OK\r\nX-Slow: ", b".", id="answer to a pin"),
    ],
)
def test_a_store_that_drips_holds_nobody(
    act: str, at_once: bytes, dripping: bytes, serve: Callable[..., Server]
) -> None:
    """Attack: a byte every 50 ms, so that no time-out of a connection is ever reached."""
    store = IpfsStore(serve(at_once, dripping).url, seconds=1)
    start = time.monotonic()
    with pytest.raises(StoreError, match=f"{act} {CID}: .* failed 1 times, at last with: it is too slow"):
        ACTS[act](store)
    assert 0.9 < time.monotonic() - start < 2


@pytest.mark.parametrize("status, asked", [(413, 1), (404, 1), (429, 2), (408, 2), (500, 2)])
def test_a_blob_that_is_too_large_is_sent_once(status: int, asked: int, serve: Callable[..., Server]) -> None:
    """What no repetition changes is final; a store that is busy is asked again."""
    reason = b"too large"
    server = serve(
        b"HTTP/1.1 %d No\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % (status, len(reason)) + reason
    )
    with pytest.raises(StoreError, match=f"failed {asked} times, at last with: {status} too large"):
        IpfsStore(server.url, attempts=2).put(RIGHT)
    assert server.asked == asked
