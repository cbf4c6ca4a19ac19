"""`zkmarket store serve`: real processes, real connections, and clients and disks that misbehave."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.e2e.shell import failed, succeeded, zkmarket
from zkmarket.errors import InputError, StoreError
from zkmarket.storage import CHUNK, TEMPORARY, Access, IpfsStore, Limits, LocalStore, cid_of, only_file, serving
from zkmarket.storage.multipart import Stream

pytestmark = pytest.mark.e2e

SECONDS = 2.0
"""In which the strict server wants a request to be over."""


@dataclass
class Server:
    """A process of `zkmarket store serve`."""

    process: subprocess.Popen[str]
    folder: Path
    log: Path
    url: str = ""

    @property
    def store(self) -> IpfsStore:
        return IpfsStore(self.url, seconds=20, attempts=1)

    @property
    def port(self) -> int:
        port = urlsplit(self.url).port
        assert port
        return port

    def read_url(self) -> Server:
        """Its first line on stdout."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line, self.log.read_text()
        self.url = json.loads(line)["url"]
        return self

    def ended(self, number: int) -> int:
        """Its exit code after a signal; nothing more came on stdout, no traceback on stderr."""
        self.process.send_signal(number)
        code = self.process.wait(timeout=10)
        assert self.process.stdout
        assert self.process.stdout.read() == ""
        assert "Traceback" not in self.log.read_text()
        return code


def starting(folder: Path, *options: object, file_size: int | None = None) -> Server:
    """A server that may not be ready yet; `file_size`: the largest file that it may write."""
    log = folder.with_name(f"{folder.name}-{time.monotonic_ns()}.log")
    command = [sys.executable, "-m", "zkmarket", "store", "serve", str(folder), "--json", *map(str, options)]

    def limited() -> None:
        if file_size is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))

    with log.open("w") as err:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=err, text=True, preexec_fn=limited)
    return Server(process, folder, log)


@contextlib.contextmanager
def running(*servers: Server) -> Iterator[tuple[Server, ...]]:
    try:
        yield tuple(server.read_url() for server in servers)
    finally:
        for server in servers:
            server.process.kill()
            server.process.wait()
            assert server.process.stdout
            server.process.stdout.close()


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, ...]]:
    place = tmp_path_factory.mktemp("serve")
    strict = ("--seconds", SECONDS, "--limit", 20_000_000, "--connections", 8)
    with running(
        starting(place / "shared"), starting(place / "shared"), starting(place / "strict", *strict)
    ) as started:
        yield started


@pytest.fixture(scope="module")
def one(servers: tuple[Server, ...]) -> Server:
    return servers[0]


@pytest.fixture(scope="module")
def two(servers: tuple[Server, ...]) -> Server:
    """Another process on the same folder."""
    return servers[1]


@pytest.fixture(scope="module")
def strict(servers: tuple[Server, ...]) -> Server:
    """20,000,000 bytes, 2 seconds, 8 connections."""
    return servers[2]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


FIELD = b'Content-Disposition: form-data; name="f"\r\n'


def multipart(data: bytes, boundary: bytes = b"xyz", head: bytes = FIELD) -> bytes:
    return b"--" + boundary + b"\r\n" + head + b"\r\n" + data + b"\r\n--" + boundary + b"--\r\n"


def head(length: object, path: str = "/api/v0/add", *more: str) -> bytes:
    fields = (f"Content-Length: {length}", "Content-Type: multipart/form-data; boundary=xyz", *more)
    return "\r\n".join((f"POST {path} HTTP/1.1", "Host: x", *fields, "", "")).encode()


def connected(server: Server, sent: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    connection.sendall(sent)
    return connection


def answer(connection: socket.socket) -> tuple[int, str]:
    """Status and message of a connection's answer; no connection is left open after it."""
    data = b""
    while part := connection.recv(1 << 16):
        data += part
    connection.close()
    top, _, body = data.partition(b"\r\n\r\n")
    value = json.loads(body)
    if not top.startswith(b"HTTP/1.1 200"):
        assert value["Type"] == "error"
    return int(top.split()[1]), value.get("Message", "")


def asked(server: Server, sent: bytes) -> tuple[int, str]:
    return answer(connected(server, sent))


# ---------------------------------------------------------------- blobs


TRICKY = [b"", b"\r\n", b"\r\n--", b"--xyz--\r\n", b"\r\n\r\n" * 3, b"\r\n--xy\r\n--xz", b"\r\n--" * 50_000]


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK + 17, 20 * CHUNK])
def test_the_same_cid_as_everywhere(one: Server, two: Server, tmp_path: Path, size: int) -> None:
    """Through one process in, through another out."""
    data = os.urandom(size)
    cid = one.store.put(data)
    assert cid == cid_of(data) == LocalStore(tmp_path).put(data)
    assert two.store.get(cid) == data == (one.folder / cid).read_bytes() == LocalStore(one.folder).get(cid)
    two.store.pin(cid)
    assert one.store.put(data) == cid


@pytest.mark.parametrize("data", TRICKY)
def test_bytes_that_look_like_a_boundary(one: Server, data: bytes) -> None:
    assert one.store.get(one.store.put(data)) == data
    assert asked(one, head(len(multipart(data))) + multipart(data)) == (200, "") or b"\r\n--xyz" in data


@pytest.mark.parametrize("data", [b"", b"a", b"\r\n--xy\r\n--xz", b"\r" * 9, bytes(range(256)), b"\r\n\r\n-"])
@pytest.mark.parametrize("piece", [1, 2, 3, 5, 7, 64, 10_000])
def test_a_body_in_pieces_of_any_size(data: bytes, piece: int) -> None:
    body = multipart(data)
    pieces = iter([body[at : at + piece] for at in range(0, len(body), piece)])
    assert b"".join(only_file(lambda: next(pieces, b""), b"xyz")) == data


def test_the_command_line(one: Server, tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(b"some bytes")
    cid = succeeded(zkmarket(tmp_path, "store", "put", "blob", "--store", one.url)).out.strip()
    assert cid == cid_of(b"some bytes")
    succeeded(zkmarket(tmp_path, "store", "get", cid, "--store", one.url, "-o", "again"))
    assert (tmp_path / "again").read_bytes() == b"some bytes"
    assert f"127.0.0.1: put {cid}, 10 bytes" in one.log.read_text()


def test_a_damaged_blob(one: Server) -> None:
    """It is served as it is: the reader finds out. It is not pinned, and putting it again repairs it."""
    cid = one.store.put(b"right, once")
    (one.folder / cid).write_bytes(b"wrong")
    with pytest.raises(StoreError, match=f"gives other bytes for {cid}"):
        one.store.get(cid)
    with pytest.raises(StoreError, match=r"500 .*is damaged here"):
        one.store.pin(cid)
    assert one.store.put(b"right, once") == cid
    one.store.pin(cid)
    assert one.store.get(cid) == b"right, once"


def test_no_blob_is_held_in_memory(one: Server) -> None:
    """One of 60 MB in and out: the process's peak grows by a fraction of it."""

    def peak() -> int:
        status = Path(f"/proc/{one.process.pid}/status").read_text()
        return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024

    before, data = peak(), bytes(60_000_000)
    cid = one.store.put(data)
    one.store.pin(cid)
    assert one.store.get(cid) == data
    assert peak() - before < 8_000_000


def test_fifty_at_once_in_two_processes(one: Server, two: Server) -> None:
    """More than may be under way at once; half of them are the same blob, through both."""
    blobs = [os.urandom(100_000) if i % 2 else b"the same" * 50_000 for i in range(50)]
    with ThreadPoolExecutor(50) as pool:
        cids = list(pool.map(lambda i: (one, two)[i // 2 % 2].store.put(blobs[i]), range(50)))
        assert cids == [cid_of(blob) for blob in blobs]
        assert list(pool.map(lambda i: (two, one)[i // 2 % 2].store.get(cids[i]), range(50))) == blobs
    assert not list(one.folder.glob(f"{TEMPORARY}*"))


def test_processes_that_write_the_same_blob(tmp_path: Path) -> None:
    """Whoever looks meanwhile finds the whole blob or none."""
    data = bytes(40 * CHUNK)
    code = f"""
import sys; from pathlib import Path; from zkmarket.storage import LocalStore
store, data = LocalStore(Path({str(tmp_path / "store")!r})), bytes({len(data)})
for i in range(8):
    cid = store.put(data)
    if i < 7: (store.folder / cid).unlink(missing_ok=True)
"""
    writers = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    sizes = set()
    name = tmp_path / "store" / cid_of(data)
    while any(writer.poll() is None for writer in writers):
        with contextlib.suppress(FileNotFoundError):
            sizes.add(name.stat().st_size)
        time.sleep(0.0005)
    assert [writer.returncode for writer in writers] == [0, 0]
    assert sizes == {len(data)} and LocalStore(tmp_path / "store").get(cid_of(data)) == data
    assert names(tmp_path / "store") == [cid_of(data)]


# ---------------------------------------------------------------- what is refused


def test_a_blob_that_is_not_there(one: Server) -> None:
    for command in ("cat", "pin/add"):
        cid = cid_of(b"nobody has this")
        assert asked(one, head(0, f"/api/v0/{command}?arg={cid}")) == (500, f"no blob {cid}")
    with pytest.raises(StoreError, match="500 .*no blob"):
        one.store.get(cid_of(b"nobody has this"))


@pytest.mark.parametrize("command", ["cat", "pin/add"])
@pytest.mark.parametrize("argument", ["../x", "..%2Fx", "%2Fetc%2Fpasswd", "", ".", "x%00y", ".add.s", "Qm", "%FF"])
def test_a_path_is_not_a_cid(one: Server, command: str, argument: str) -> None:
    (one.folder.parent / "x").write_text("secret")
    (one.folder / ".add.s").write_text("half a blob")
    code, message = asked(one, head(0, f"/api/v0/{command}?arg={argument}"))
    assert code == 400 and message.startswith("not a CID")
    (one.folder / ".add.s").unlink()


@pytest.mark.parametrize("command", ["cat", "pin/add"])
def test_a_name_that_leads_elsewhere(one: Server, command: str) -> None:
    """A link out of the folder, a pipe on which nobody writes, a folder."""
    secret = one.folder.parent / "secret"
    secret.write_bytes(b"secret")
    odd = [one.folder / cid_of(name) for name in (b"secret", b"pipe", b"folder")]
    odd[0].symlink_to(secret)
    os.mkfifo(odd[1])
    odd[2].mkdir()
    for path in odd:
        assert asked(one, head(0, f"/api/v0/{command}?arg={path.name}")) == (500, f"no blob {path.name}")
    odd[0].unlink()
    odd[1].unlink()
    odd[2].rmdir()


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "post"])
def test_only_post(one: Server, method: str) -> None:
    sent = f"{method} /api/v0/cat?arg={cid_of(b'')} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    assert asked(one, sent) == (405, "only POST")


def test_head_has_no_body(one: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", one.port)
    connection.request("HEAD", "/")
    response = connection.getresponse()
    assert (response.status, response.headers["Allow"], response.read()) == (405, "POST", b"")
    connection.close()


CID = cid_of(b"")


@pytest.mark.parametrize(
    "path, more, code, reason",
    [
        ("/", (), 404, "the commands are"),
        ("/api/v0/repo/gc", (), 404, "the commands are"),
        ("/api/v0/add/", (), 404, "the commands are"),
        ("/api/v0/cat", (), 400, "wanted one arg"),
        (f"/api/v0/cat?arg={CID}&arg={CID}", (), 400, "more than one arg"),
        (f"/api/v0/cat?arg={CID}&offset=1", (), 400, "option offset=1: wanted no option"),
        ("/api/v0/add?cid-version=1", (), 400, "option cid-version=1: wanted pin=true, cid-version=0"),
        ("/api/v0/add?chunker=size-1", (), 400, "option chunker=size-1"),
        ("/api/v0/add?" + "&".join("pin=true" for _ in range(30)), (), 400, "too many options"),
        (f"/api/v0/cat?arg={CID}", ("Origin: http://evil.example",), 403, "a web page"),
        (f"/api/v0/cat?arg={CID}", ("Transfer-Encoding: chunked",), 411, "no Transfer-Encoding"),
    ],
)
def test_other_requests(one: Server, path: str, more: tuple[str, ...], code: int, reason: str) -> None:
    found, message = asked(one, head(0, path, *more))
    assert found == code and message.startswith(reason) or reason in message


@pytest.mark.parametrize(
    "sent, code",
    [
        (b"hello\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),  # TLS
        (b"POST / HTTP/2.0\r\n\r\n", 505),
        (b"POST /\r\n\r\n", 400),
        (b"POST /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"POST / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
        (b"POST / HTTP/1.1\r\nA: " + b"a" * 70_000 + b"\r\n\r\n", 431),
    ],
)
def test_what_is_no_request(one: Server, sent: bytes, code: int) -> None:
    assert asked(one, sent)[0] == code


@pytest.mark.parametrize("length", ["-1", "+5", "1e3", "five", "5, 5", "", "0x10", "9" * 30, "٣"])
def test_odd_lengths(one: Server, length: str) -> None:
    assert asked(one, head(length))[0] == 400


def test_no_length(one: Server) -> None:
    sent = b"POST /api/v0/add HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=xyz\r\n"
    assert asked(one, sent + b"\r\n")[0] == 411
    assert asked(one, sent + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n")[0] == 411
    assert asked(one, sent + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n")[0] == 400


GOOD = multipart(b"garbage test")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"garbage",
        os.urandom(300_000),
        b"--xyz--\r\n",
        b"--xyz\r\n",
        GOOD[:-4],  # no --
        GOOD[:-10],  # half a boundary
        GOOD.replace(b"xyz", b"abc"),
        b"preamble\r\n" + GOOD,
        GOOD + GOOD,
        GOOD + b"more",
        GOOD[:-4] + b"\r\n" + GOOD[7:],  # two files
        multipart(b"x", head=b"Content-Transfer-Encoding: base64\r\n"),
        multipart(b"x", head=b"Content-Type: application/x-directory\r\n"),
        multipart(b"x", head=b"A: b\r\n" * 20_000),
    ],
    ids=itertools.count(),  # some are random, and workers must agree on names
)
def test_garbage_in_a_body(one: Server, body: bytes) -> None:
    before = names(one.folder)
    assert asked(one, head(len(body)) + body)[0] == 400
    assert names(one.folder) == before
    assert asked(one, head(len(GOOD)) + GOOD)[0] == 200
    (one.folder / cid_of(b"garbage test")).unlink()


@pytest.mark.parametrize("kind", ["multipart/form-data", "multipart/mixed; boundary=xyz", "text/plain", "", "a;b=c"])
def test_another_kind_of_body(one: Server, kind: str) -> None:
    sent = f"POST /api/v0/add HTTP/1.1\r\nContent-Length: {len(GOOD)}\r\nContent-Type: {kind}\r\n\r\n".encode()
    assert asked(one, sent + GOOD) == (400, "wanted multipart/form-data with a boundary")


def test_too_large(strict: Server) -> None:
    """Refused before a byte of it is there; a client that sends it all the same reads why. At the limit it is kept."""
    assert asked(strict, head(20_000_001)) == (413, "the body has 20000001 bytes: wanted at most 20000000")
    waiting = connected(strict, head(20_000_001, "/api/v0/add", "Expect: 100-continue"))
    assert answer(waiting)[0] == 413
    assert asked(strict, head(30_000_000) + bytes(30_000_000))[0] == 413
    with pytest.raises(StoreError, match="413 .*wanted at most 20000000"):
        strict.store.put(bytes(30_000_000))
    body = multipart(bytes(20_000_000 - len(multipart(b""))))
    assert len(body) == 20_000_000
    assert asked(strict, head(len(body)) + body)[0] == 200


def test_a_client_that_goes_away(one: Server) -> None:
    """In the middle of its body: nothing of it is kept."""
    before = names(one.folder)
    connection = connected(one, head(500_000) + multipart(bytes(400_000))[:300_000])
    until(lambda: any(name.startswith(TEMPORARY) for name in names(one.folder)))
    connection.close()
    until(lambda: names(one.folder) == before)
    half_closed = connected(one, head(500_000) + multipart(b"")[:60])
    half_closed.shutdown(socket.SHUT_WR)
    code, message = answer(half_closed)
    assert code == 400 and "bytes early" in message and names(one.folder) == before


def until(true: object, seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not true():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)


# ---------------------------------------------------------------- slow clients


def dripping(connection: socket.socket, data: bytes = b"a") -> float:
    """Send a byte now and then until the server hangs up; seconds until then."""
    start = time.monotonic()
    connection.settimeout(0.1)
    while time.monotonic() - start < 10:
        try:
            connection.sendall(data)
            if not connection.recv(1 << 16):
                break
        except TimeoutError:
            continue
        except OSError:
            break
    connection.close()
    return time.monotonic() - start


def test_slow_clients_are_dropped_and_hold_nobody_up(strict: Server) -> None:
    """Nothing, half a head, half a body, a body that nobody takes: each holds its own thread until its time is up."""
    big = bytes(10_000_000)  # more than the buffers between two sockets hold
    cid = strict.store.put(big)
    before = names(strict.folder)
    taker = socket.socket()
    taker.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    taker.connect(("127.0.0.1", strict.port))
    taker.sendall(head(0, f"/api/v0/cat?arg={cid}"))
    slow = [
        connected(strict),
        connected(strict, b"POST /api/v0/a"),
        connected(strict, head(5000)[:-2] + b"X: "),
        connected(strict, head(5000)),
        connected(strict, head(5000) + GOOD[:50]),
    ]
    with ThreadPoolExecutor(8) as pool:
        times = [pool.submit(dripping, connection, b"" if i == 0 else b"a") for i, connection in enumerate(slow)]
        data = os.urandom(100_000)
        assert strict.store.get(strict.store.put(data)) == data
        assert not any(future.done() for future in times)  # it was served beside them, not after them
        assert all(SECONDS - 0.5 < future.result() < SECONDS + 2 for future in times)
    got = 0
    with contextlib.suppress(OSError):
        while part := taker.recv(4096):
            got += len(part)
    taker.close()
    assert got < len(big)  # it was cut off
    assert names(strict.folder) == sorted([*before, cid_of(data)])


def test_more_connections_than_there_may_be(strict: Server) -> None:
    """The ninth waits for its turn, and gets it."""
    idle = [connected(strict) for _ in range(8)]
    time.sleep(0.3)
    start = time.monotonic()
    assert strict.store.put(b"patient") == cid_of(b"patient")
    assert SECONDS - 1 < time.monotonic() - start < SECONDS + 2
    for connection in idle:
        connection.close()


class Trickle:
    """A connection that takes ten bytes at a time."""

    def settimeout(self, seconds: float) -> None:
        assert 0 < seconds <= 0.5

    def send(self, data: memoryview) -> int:
        time.sleep(0.05)
        return min(10, len(data))


def test_an_answer_that_trickles_away_has_one_deadline() -> None:
    """Not one for every piece of it, or every record of TLS."""
    start = time.monotonic()
    with pytest.raises(TimeoutError):
        Stream(Trickle(), 0.5).write(bytes(10_000))  # type: ignore[arg-type]
    assert 0.4 < time.monotonic() - start < 2
    assert Stream(Trickle(), 0.5).write(b"a little") == 8  # type: ignore[arg-type]


# ---------------------------------------------------------------- kill, stop


def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """And what was half-sent leaves no blob; what it leaves is swept away a day later, not before."""
    data = [os.urandom(200_000) for _ in range(20)]
    with running(starting(tmp_path / "store")) as (server,):
        half = connected(server, head(500_000) + multipart(bytes(400_000))[:300_000])
        until(lambda: len(names(tmp_path / "store")) == 1)
        acknowledged = []

        def put(blob: bytes) -> None:
            with contextlib.suppress(StoreError):
                acknowledged.append((server.store.put(blob), blob))

        with ThreadPoolExecutor(4) as pool:
            puts = [pool.submit(put, blob) for blob in data]
            until(lambda: len(acknowledged) >= 3)
            server.process.kill()
            for future in puts:
                future.result()
        half.close()
    assert 3 <= len(acknowledged) < 20
    for name in names(tmp_path / "store"):
        assert name.startswith(TEMPORARY) or LocalStore(tmp_path / "store").get(name) in data
    left = sorted((tmp_path / "store").glob(f"{TEMPORARY}*"))
    os.utime(left[0], (1, 1))
    with running(starting(tmp_path / "store", "--port", server.port)) as (again,):
        assert again.port == server.port
        for cid, blob in acknowledged:
            assert again.store.get(cid) == blob
        assert sorted((tmp_path / "store").glob(f"{TEMPORARY}*")) == left[1:]
        assert "removed 1 half-written blobs" in again.log.read_text()
        assert again.store.put(data[-1]) == cid_of(data[-1])


def test_a_signal_ends_it_cleanly(tmp_path: Path) -> None:
    """SIGTERM is 0, SIGINT 130. What is nearly done is done; what hangs is cut off, and nothing of it is left."""
    with running(starting(tmp_path / "a"), starting(tmp_path / "b")) as (one, two):
        hanging = connected(one, head(5000) + GOOD[:60])
        nearly = connected(one, head(len(GOOD)) + GOOD[:60])
        until(lambda: len(names(tmp_path / "a")) == 2)
        late = threading.Timer(0.5, lambda: nearly.sendall(GOOD[60:]))
        late.start()
        assert one.ended(signal.SIGTERM) == 0
        assert answer(nearly) == (200, "")
        hanging.close()
        assert names(tmp_path / "a") == [cid_of(b"garbage test")]
        start = time.monotonic()
        assert two.ended(signal.SIGINT) == 130
        assert time.monotonic() - start < 2
        assert "interrupted" in two.log.read_text()


def test_a_start_that_fails(one: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    failed(zkmarket(tmp_path, "store", "serve", "s", "--port", one.port, "--json"), 3, "cannot listen on 127.0.0.1")
    with pytest.raises(InputError, match="is a file: wanted a folder"), serving(tmp_path / "file"):
        pass


def test_limits_that_make_no_sense(tmp_path: Path) -> None:
    for wrong in ({"body": 0}, {"seconds": 0}, {"seconds": float("nan")}, {"seconds": 1e9}, {"connections": 0}):
        with pytest.raises(InputError, match="a server takes bodies of 1 byte or more"):
            Limits(**wrong)
    with pytest.raises(InputError, match="a port is 0 to 65535"), serving(tmp_path, port=70_000):
        pass
    with (
        pytest.raises(StoreError, match="cannot listen on 192.0.2.1"),
        serving(tmp_path, "192.0.2.1", access=Access(everyone=True)),
    ):
        pass


def test_within_a_process(tmp_path: Path) -> None:
    """A block of code long; open to others only if that is said, and with a warning."""
    said: list[str] = []
    threads = threading.active_count()
    with serving(tmp_path / "s", progress=said.append) as url:
        assert url.startswith("http://127.0.0.1:")
        cid = IpfsStore(url).put(b"here")
        assert IpfsStore(url).get(cid) == b"here"
    assert not any("warning" in line for line in said)
    until(lambda: threading.active_count() == threads)
    with pytest.raises(StoreError, match="failed 1 times"):
        IpfsStore(url, attempts=1).get(cid)
    with pytest.raises(InputError, match="0.0.0.0 can be reached from other machines"), serving(tmp_path, "0.0.0.0"):
        pass
    with serving(tmp_path / "s", "0.0.0.0", progress=said.append, access=Access(everyone=True)) as url:
        assert IpfsStore(url).get(cid) == b"here"
    assert any(line.startswith("warning: no authentication") for line in said)


# ---------------------------------------------------------------- disks


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root can mount a disk: a limit of file sizes is tested in its place")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_full_disk(disk: Path, tmp_path: Path) -> None:
    """507, nothing half-written, and what fits is still kept; the same in a folder of one's own."""
    folder = LocalStore(disk / "store")
    with running(starting(disk / "store")) as (server,):
        kept = server.store.put(b"a" * 300_000)
        with pytest.raises(StoreError, match=r"507 .*No space left on device"):
            server.store.put(b"b" * 900_000)
        assert names(disk / "store") == [kept]
        with pytest.raises(StoreError, match=f"cannot write to the store {disk}/store: No space left on device"):
            folder.put(b"b" * 900_000)
        assert names(disk / "store") == [kept]
        (tmp_path / "blob").write_bytes(b"b" * 900_000)
        failed(zkmarket(tmp_path, "store", "put", "blob", "--store", disk / "store", "--json"), 3, "No space left")
        fits = server.store.put(b"c" * 500_000)
        assert names(disk / "store") == sorted([kept, fits])
        assert server.store.get(fits) == b"c" * 500_000
        assert folder.put(b"a" * 300_000) == kept  # what is there needs no room
        assert server.process.poll() is None


def test_a_disk_that_may_not_be_written(disk: Path, tmp_path: Path) -> None:
    """What is there can be had, and put again; nothing else can be put."""
    kept = LocalStore(disk / "store").put(b"kept")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    folder = LocalStore(disk / "store")
    assert folder.put(b"kept") == kept and folder.get(kept) == b"kept"
    with pytest.raises(StoreError, match=r"cannot write to the store .*/store: Read-only file system"):
        folder.put(b"new")
    with pytest.raises(StoreError, match="Read-only file system"):
        LocalStore(disk / "another").put(b"new")
    with serving(disk / "store") as url:
        node = IpfsStore(url, attempts=1)
        assert node.get(kept) == b"kept"
        with pytest.raises(StoreError, match=r"500 .*the store cannot keep the blob: Read-only file system"):
            node.put(b"new")


def test_a_file_in_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write to the store .*file: (Not a directory|File exists)"):
        LocalStore(tmp_path / "file").put(b"x")
    with pytest.raises(StoreError, match="no blob .*: Not a directory"):
        LocalStore(tmp_path / "file").get(CID)


def test_files_that_may_not_grow(tmp_path: Path) -> None:
    """A quota stops a write in its middle, as a full disk does, for who cannot mount one."""
    with running(starting(tmp_path / "store", file_size=400_000)) as (server,):
        kept = server.store.put(b"a" * 300_000)
        with pytest.raises(StoreError, match=r"507 .*File too large"):
            server.store.put(b"b" * 900_000)
        assert names(tmp_path / "store") == [kept] and server.store.get(kept) == b"a" * 300_000
