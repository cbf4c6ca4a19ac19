"""Tokens and TLS of `zkmarket store serve`, with clients that have neither, or are slow."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.e2e.shell import failed, succeeded, zkmarket
from tests.e2e.test_serve import (
    GOOD,
    SECONDS,
    Server,
    asked,
    connected,
    dripping,
    head,
    multipart,
    names,
    running,
    starting,
    until,
)
from zkmarket.errors import InputError, StoreError
from zkmarket.storage import Access, IpfsStore, certificate, cid_of, read_token, serving

pytestmark = pytest.mark.e2e

TOKEN = "correct-horse-battery-staple"
BEARER = f"Authorization: Bearer {TOKEN}"


def private(path: Path, text: str = f"{TOKEN}\n") -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


@dataclass(frozen=True)
class Certificate:
    """Of this machine's loopback, signed by itself."""

    cert: Path
    key: Path

    @property
    def options(self) -> tuple[object, ...]:
        return "--tls-cert", self.cert, "--tls-key", self.key


def certified(place: Path) -> Certificate:
    if not shutil.which("openssl"):
        pytest.skip("openssl makes the certificate")
    made = Certificate(place / "cert.pem", place / "key.pem")
    names = "subjectAltName=IP:127.0.0.1,DNS:localhost"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=store", "-addext", names, "-keyout", str(made.key), "-out", str(made.cert)]
    subprocess.run(command, check=True, capture_output=True)
    return made


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certified(tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """It wants the token, over plain HTTP."""
    place = tmp_path_factory.mktemp("guarded")
    with running(starting(place / "store", "--token-file", private(place / "token"))) as (server,):
        yield server


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory, pair: Certificate) -> Iterator[Server]:
    """It wants the token, over TLS; 2 seconds, 8 connections."""
    place = tmp_path_factory.mktemp("secure")
    strict = ("--seconds", SECONDS, "--connections", 8)
    with running(starting(place / "store", "--token-file", private(place / "token"), *pair.options, *strict)) as found:
        yield found[0]


@pytest.fixture
def trusting(pair: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pair.cert))


def client(server: Server, token: str | None = TOKEN) -> IpfsStore:
    return replace(server.store, token=token)


# ---------------------------------------------------------------- tokens


def test_who_has_the_token_may_do_everything(guarded: Server) -> None:
    cid = client(guarded).put(b"for members")
    client(guarded).pin(cid)
    assert client(guarded).get(cid) == b"for members"
    assert TOKEN not in guarded.log.read_text() and TOKEN not in repr(client(guarded))
    assert "at http://127.0.0.1:" in guarded.log.read_text() and "to who has the token" in guarded.log.read_text()
    assert TOKEN.encode() not in Path(f"/proc/{guarded.process.pid}/cmdline").read_bytes()


@pytest.mark.parametrize("token", [None, "wrong-horse-battery-staple", TOKEN[:-1], f"{TOKEN}x", TOKEN.upper()])
def test_nobody_else_may_do_anything(guarded: Server, token: str | None) -> None:
    kept = client(guarded).put(b"for members")
    before = names(guarded.folder)
    other = client(guarded, token)
    for ask in (lambda: other.put(b"from a stranger"), lambda: other.get(kept), lambda: other.pin(kept)):
        with pytest.raises(StoreError, match="failed 1 times.* 401 .*wanted the store's token"):
            ask()
    assert names(guarded.folder) == before


@pytest.mark.parametrize(
    "field", ["Authorization: Basic eDp5", f"Authorization: {TOKEN}", "Authorization: Bearer ", "X: y"]
)
def test_another_kind_of_authorization(guarded: Server, field: str) -> None:
    assert asked(guarded, head(0, f"/api/v0/cat?arg={cid_of(b'')}", field))[0] == 401
    assert asked(guarded, head(0, "/nowhere", field))[0] == 401  # nor what the commands are
    assert asked(guarded, head(len(GOOD), "/api/v0/add", BEARER) + GOOD) == (200, "")


def test_a_stranger_sends_no_body(guarded: Server) -> None:
    """It is refused before the body is there, and told so even if it sends all of it."""
    assert asked(guarded, head(50_000_000))[0] == 401
    with pytest.raises(StoreError, match="401"):
        client(guarded, None).put(bytes(20_000_000))


def test_the_command_line_brings_a_token(guarded: Server, tmp_path: Path) -> None:
    """From a file or the environment; a user's .netrc does not get in its way."""
    (tmp_path / "blob").write_bytes(b"by hand")
    put = ("store", "put", "blob", "--store", guarded.url)
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b\n")
    (tmp_path / ".netrc").chmod(0o600)
    file = ("--store-token-file", private(tmp_path / "token"))
    home = {"HOME": str(tmp_path)}
    cid = succeeded(zkmarket(tmp_path, *put, *file, **home)).out.strip()
    get = ("store", "get", cid, "--store", guarded.url, "-o", "again")
    succeeded(zkmarket(tmp_path, *get, **home, ZKMARKET_STORE_TOKEN=TOKEN))
    assert (tmp_path / "again").read_bytes() == b"by hand"
    failed(zkmarket(tmp_path, *put, "--json"), 3, "401", "wanted the store's token")
    failed(zkmarket(tmp_path, *put, "--json", ZKMARKET_STORE_TOKEN="short"), 2, "$ZKMARKET_STORE_TOKEN holds no token")
    private(tmp_path / "token").chmod(0o644)
    failed(zkmarket(tmp_path, *put, *file, "--json"), 2, "has mode 644", "chmod 600")


def test_files_that_are_no_token(tmp_path: Path) -> None:
    for text in (
        "",
        "short",
        "two words that are long",
        "a" * 5000,
        "ünüsual-ünüsual-ünüsual",
        "line\nline-line-line-line",
    ):
        with pytest.raises(InputError, match="holds no token: wanted one word"):
            read_token(private(tmp_path / "token", text))
    for mode in (0o640, 0o604, 0o620, 0o777):
        (tmp_path / "token").chmod(mode)
        with pytest.raises(InputError, match=f"has mode {mode:o}, so that others may read"):
            read_token(tmp_path / "token")
    for wrong in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(InputError, match="no token can be read"):
            read_token(wrong)
    failed(zkmarket(tmp_path, "store", "serve", "s", "--token-file", "nowhere", "--json"), 2, "no token can be read")
    failed(zkmarket(tmp_path, "store", "serve", "s", "--token-file", "token", "--json"), 2, "has mode 777")


# ---------------------------------------------------------------- beyond this machine


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_beyond_this_machine(tmp_path: Path, pair: Certificate, host: str) -> None:
    """Refused before it listens; with a token, a word or both it listens, and says what is missing."""
    token, tls = TOKEN, certificate(pair.cert, pair.key)
    with pytest.raises(InputError, match=f"{host} can be reached .*--token-file, or say --open-to-everyone"):
        Access(tls=tls).check(host)
    assert Access(token, tls).check(host) == []
    assert "no TLS: whoever is on the way" in Access(token).check(host)[0]
    assert "no authentication" in Access(everyone=True).check(host)[0]
    assert Access().check("127.0.0.1") == Access().check("::1") == []
    if host == "0.0.0.0":
        failed(zkmarket(tmp_path, "store", "serve", "s", "--host", host, "--json"), 2, "--open-to-everyone")
        with running(starting(tmp_path / "s", "--host", host, "--open-to-everyone")) as (server,):
            assert "warning: no authentication" in server.log.read_text()
            assert server.store.put(b"by anybody") == cid_of(b"by anybody")


# ---------------------------------------------------------------- TLS


def test_blobs_over_tls(secure: Server, trusting: None, tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    assert secure.url.startswith("https://127.0.0.1:")
    cid = client(secure).put(data)
    client(secure).pin(cid)
    assert client(secure).get(cid) == data
    with pytest.raises(StoreError, match="401 .*wanted the store's token"):
        client(secure, None).put(bytes(5_000_000))
    blobs = [b"%d" % i for i in range(24)]
    with ThreadPoolExecutor(12) as pool:  # more than may be connected at once
        assert list(pool.map(client(secure).put, blobs)) == [cid_of(blob) for blob in blobs]
    (tmp_path / "blob").write_bytes(b"by hand")
    put = ("store", "put", "blob", "--store", secure.url, "--store-token-file", private(tmp_path / "token"))
    succeeded(zkmarket(tmp_path, *put))


def test_a_certificate_that_nobody_vouches_for(secure: Server, tmp_path: Path) -> None:
    """The client hangs up before it has shown its token."""
    with pytest.raises(StoreError, match="CERTIFICATE_VERIFY_FAILED"):
        client(secure).put(b"x")
    stranger = certified(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REQUESTS_CA_BUNDLE", str(stranger.cert))
        with pytest.raises(StoreError, match="CERTIFICATE_VERIFY_FAILED"):
            client(secure).put(b"x")
    until(lambda: "lost: [SSL" in secure.log.read_text())


def test_plain_http_where_tls_is_spoken(secure: Server) -> None:
    connection = connected(secure, head(0, "/api/v0/cat", BEARER))
    with contextlib.suppress(OSError):
        assert b"HTTP/1.1 200" not in connection.recv(1 << 16)
    connection.close()


def test_certificates_that_are_none(pair: Certificate, tmp_path: Path) -> None:
    other = certified(tmp_path)
    (tmp_path / "text").write_text("-----BEGIN CERTIFICATE-----\n")
    for cert, key in ((pair.cert, other.key), (tmp_path / "text", pair.key), (pair.cert, tmp_path / "nowhere")):
        with pytest.raises(InputError, match="no certificate and its key can be read"):
            certificate(cert, key)
    serve = ("store", "serve", "s", "--json")
    failed(zkmarket(tmp_path, *serve, "--tls-cert", pair.cert), 2, "both --tls-cert and --tls-key")
    failed(zkmarket(tmp_path, *serve, "--tls-cert", pair.cert, "--tls-key", other.key), 2, "no certificate")


def greeted(server: Server, pair: Certificate, sent: bytes) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=str(pair.cert))
    connection = context.wrap_socket(connected(server), server_hostname="127.0.0.1")
    connection.sendall(sent)
    return connection


def test_slow_clients_under_tls(secure: Server, pair: Certificate, trusting: None) -> None:
    """A handshake, a head, a body that drip: each is cut off in its time, and holds nobody up meanwhile."""
    before = names(secure.folder)
    body = head(5000, "/api/v0/add", BEARER) + multipart(bytes(4000))[:100]
    slow = [
        connected(secure),
        connected(secure, b"\x16\x03\x01\x02\x00\x01\x00"),  # the beginning of a ClientHello
        greeted(secure, pair, b"POST /api/v0/a"),
        greeted(secure, pair, body),
    ]
    with ThreadPoolExecutor(8) as pool:
        times = [pool.submit(dripping, connection, b"" if i == 0 else b"a") for i, connection in enumerate(slow)]
        cid = client(secure).put(b"meanwhile")
        assert client(secure).get(cid) == b"meanwhile"
        assert not any(future.done() for future in times)
        assert all(SECONDS - 0.5 < future.result() < SECONDS + 2 for future in times)
    assert names(secure.folder) == sorted({*before, cid})


def test_a_client_that_does_not_take_what_it_asked_for(secure: Server, pair: Certificate, trusting: None) -> None:
    cid = client(secure).put(bytes(10_000_000))
    taker = socket.socket()
    taker.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    taker.connect(("127.0.0.1", secure.port))
    secret = ssl.create_default_context(cafile=str(pair.cert)).wrap_socket(taker, server_hostname="127.0.0.1")
    secret.sendall(head(0, f"/api/v0/cat?arg={cid}", BEARER))
    before = secure.log.read_text().count("408: too slow")
    until(lambda: secure.log.read_text().count("408: too slow") == before + 1, SECONDS + 2)
    total = 0
    with contextlib.suppress(OSError):
        while part := secret.recv(1 << 16):
            total += len(part)
    secret.close()
    assert total < 10_000_000 and f"got {cid}" not in secure.log.read_text()


def test_a_signal_ends_it_under_tls(pair: Certificate, tmp_path: Path) -> None:
    with running(starting(tmp_path / "a", *pair.options)) as (server,):
        handshake, halfway = connected(server), greeted(server, pair, head(5000) + GOOD[:60])
        until(lambda: len(names(tmp_path / "a")) == 1)
        start = time.monotonic()
        assert server.ended(signal.SIGTERM) == 0
        assert time.monotonic() - start < 6
        assert names(tmp_path / "a") == []
        handshake.close()
        halfway.close()


def test_within_a_process_under_tls(pair: Certificate, trusting: None, tmp_path: Path) -> None:
    with serving(tmp_path / "s", access=Access(TOKEN, certificate(pair.cert, pair.key))) as url:
        node = IpfsStore(url, token=TOKEN)
        assert node.get(node.put(b"here")) == b"here"
