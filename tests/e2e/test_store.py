"""The store against a real IPFS node, and against servers that are slow, broken or lie."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.e2e.shell import failed, succeeded, zkmarket
from zkmarket.errors import StoreError
from zkmarket.storage import CHUNK, IpfsStore, cid_of, kubo_node, started, stopped

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with kubo_node(tmp_path_factory.mktemp("ipfs") / "repository") as url:
        yield url


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK + 17, 175 * CHUNK])
def test_a_node_and_we_give_the_same_cid(node: str, size: int) -> None:
    """One leaf, many, and more than a node has links."""
    data = os.urandom(size)
    store = IpfsStore(node)
    cid = store.put(data)
    assert cid == cid_of(data) and store.get(cid) == data
    store.pin(cid)


def test_a_blob_outlives_the_node(tmp_path: Path) -> None:
    first, url = started(tmp_path / "repository")
    cid = IpfsStore(url).put(b"kept")
    stopped(first)  # kill -9
    second, url = started(tmp_path / "repository")
    try:
        assert IpfsStore(url).get(cid) == b"kept"
    finally:
        stopped(second)


def test_a_blob_that_nobody_has(node: str) -> None:
    store = IpfsStore(node, seconds=3, attempts=1)
    with pytest.raises(StoreError, match="failed 1 times"):
        store.get(cid_of(b"nobody has this"))


def test_the_command_line(node: str, tmp_path: Path) -> None:
    """The same CID in a folder and in a node; other bytes are exit code 3 and leave no file."""
    (tmp_path / "blob").write_bytes(b"some bytes")
    for where in ("folder", node):
        cid = succeeded(zkmarket(tmp_path, "store", "put", "blob", "--store", where)).out.strip()
        assert cid == cid_of(b"some bytes")
        succeeded(zkmarket(tmp_path, "store", "pin", cid, "--store", where, "--json"))
        succeeded(zkmarket(tmp_path, "store", "get", cid, "--store", where, "-o", "again"))
        assert (tmp_path / "again").read_bytes() == b"some bytes"
    (tmp_path / "folder" / cid).write_bytes(b"other")
    failed(zkmarket(tmp_path, "store", "get", cid, "--store", "folder", "-o", "no", "--json"), 3, "other bytes")
    failed(zkmarket(tmp_path, "store", "get", "../x", "--store", "folder", "-o", "no", "--json"), 2, "not a CID")
    failed(zkmarket(tmp_path, "store", "put", "nothing", "--store", "folder", "--json"), 2, "no such file")
    assert not (tmp_path / "no").exists()


# ---------------------------------------------------------------- servers that misbehave

Answer = Callable[[BaseHTTPRequestHandler, int], None]
RIGHT = b"the right bytes"
CID = cid_of(RIGHT)


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], str]]:
    """Start a server that answers the n-th request with `answer(handler, n)`; its address."""
    servers = []

    def start(answer: Answer) -> str:
        asked = itertools.count(1)

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                answer(self, next(asked))

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients go away here
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def body(handler: BaseHTTPRequestHandler, data: bytes, status: int = 200, length: int | None = None) -> None:
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(data) if length is None else length))
    handler.end_headers()
    handler.wfile.write(data)


def test_other_bytes(serve: Callable[[Answer], str]) -> None:
    store = IpfsStore(serve(lambda handler, n: body(handler, b"the wrong bytes")))
    with pytest.raises(StoreError, match=f"gives other bytes for {CID}: they are {cid_of(b'the wrong bytes')}"):
        store.get(CID)


def test_truncated_bytes(serve: Callable[[Answer], str]) -> None:
    store = IpfsStore(serve(lambda handler, n: body(handler, RIGHT[:4], length=len(RIGHT))), attempts=2)
    with pytest.raises(StoreError, match="failed 2 times"):
        store.get(CID)
    short = IpfsStore(serve(lambda handler, n: body(handler, RIGHT[:4])))
    with pytest.raises(StoreError, match="other bytes"):
        short.get(CID)


def test_an_endless_stream(serve: Callable[[Answer], str]) -> None:
    def endless(handler: BaseHTTPRequestHandler, n: int) -> None:
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(bytes(1 << 16))

    start = time.monotonic()
    with pytest.raises(StoreError, match=f"more than 1000000 bytes for {CID}"):
        IpfsStore(serve(endless)).get(CID, limit=1_000_000)
    assert time.monotonic() - start < 10


def test_a_stream_that_drips(serve: Callable[[Answer], str]) -> None:
    """Never quiet for long, so that no timeout of a single read ends it."""

    def drip(handler: BaseHTTPRequestHandler, n: int) -> None:
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(b"." * (1 << 16))
            time.sleep(0.2)

    with pytest.raises(StoreError, match="too slow"):
        IpfsStore(serve(drip), seconds=1).get(CID)


def test_a_node_that_recovers(serve: Callable[[Answer], str]) -> None:
    url = serve(lambda handler, n: body(handler, b"busy", 500) if n < 3 else body(handler, RIGHT))
    assert IpfsStore(url).get(CID) == RIGHT


def test_a_node_that_does_not(serve: Callable[[Answer], str]) -> None:
    url = serve(lambda handler, n: body(handler, b"broken", 500))
    with pytest.raises(StoreError, match="failed 2 times, at last with: 500 broken"):
        IpfsStore(url, attempts=2).get(CID)


def test_nobody_listens() -> None:
    with pytest.raises(StoreError, match=r"get Qm.*: http://127.0.0.1:9 failed 1 times"):
        IpfsStore("http://127.0.0.1:9", attempts=1).get(CID)


def test_the_deadline_holds_for_all_attempts_together(serve: Callable[[Answer], str]) -> None:
    url = serve(lambda handler, n: time.sleep(5))
    start = time.monotonic()
    with pytest.raises(StoreError, match="failed"):
        IpfsStore(url, seconds=1, attempts=10).get(CID)
    assert time.monotonic() - start < 4


def test_a_node_that_answers_nonsense(serve: Callable[[Answer], str]) -> None:
    for answer in (b"[", b"{}", b'{"Hash": 7}'):
        with pytest.raises(StoreError, match="failed 1 times|calls the blob 7"):
            IpfsStore(serve(lambda handler, n, answer=answer: body(handler, answer)), attempts=1).put(RIGHT)


def test_a_node_that_chunks_in_another_way(serve: Callable[[Answer], str]) -> None:
    other = cid_of(b"other")
    with pytest.raises(StoreError, match=f"calls the blob {other}: wanted {CID}"):
        IpfsStore(serve(lambda handler, n: body(handler, b'{"Hash": "%s"}' % other.encode()))).put(RIGHT)


def test_a_redirection_is_not_followed(serve: Callable[[Answer], str]) -> None:
    """A node that sends us elsewhere could make us post to a service of our own machine."""

    def redirect(handler: BaseHTTPRequestHandler, n: int) -> None:
        handler.send_response(307)
        handler.send_header("Location", "http://127.0.0.1:9/")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    with pytest.raises(StoreError, match="307"):
        IpfsStore(serve(redirect), attempts=1).get(CID)
