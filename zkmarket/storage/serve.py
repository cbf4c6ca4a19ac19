"""A folder as a store for other machines, by the three commands of Kubo's RPC that `store.IpfsStore` uses.

    POST /api/v0/add          multipart/form-data with one file → {"Name": CID, "Hash": CID}
    POST /api/v0/cat?arg=CID  the blob's bytes
    POST /api/v0/pin/add?arg=CID → {"Pins": [CID]}, if the blob is here and whole

Whoever reaches the address, and has the token if there is one, can read every blob whose CID he knows, and fill the
disk. So it listens on loopback unless it is told otherwise, and beyond it only with a token, or when it is said that
everybody may. Blobs are not checked here when they are read: whoever reads them checks them against their CIDs, since
no store is trusted.

An answer to `add` means that the blob is on disk under its name. Blobs go from connection to disk and back in parts, a
request has a deadline, and only so many are under way at once; others wait for their turn.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

from ..errors import InputError, StoreError
from ..progress import Progress, quiet
from .access import Access
from .folder import LocalStore
from .server import Limits, Server


@contextlib.contextmanager
def serving(
    folder: Path, host: str = "127.0.0.1", port: int = 0, limits: Limits | None = None, progress: Progress = quiet,
    access: Access | None = None,
) -> Iterator[str]:  # fmt: skip
    """A server for as long as the block runs; gives its address, http(s)://HOST:PORT. Port 0 is any that is free.

    At the end, what is under way may take two seconds more; then it is cut off, and leaves nothing in the folder.
    InputError, StoreError: the folder cannot be, nobody can listen there, or it would be open to everybody unsaid.
    """
    store = LocalStore(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file: wanted a folder")
    removed = store.sweep()
    if removed:
        progress(f"removed {removed} half-written blobs of processes that were killed")
    server = _listening(store, host, port, limits or Limits(), access or Access(), progress)
    loop = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    loop.start()
    try:
        yield server.url
    finally:
        server.stop()


def run(
    folder: Path, host: str, port: int, limits: Limits, access: Access, announce: Callable[[str], None],
    progress: Progress,
) -> NoReturn:  # fmt: skip
    """Serve until SIGTERM, which is exit code 0, or SIGINT, which is KeyboardInterrupt."""

    def terminated(*_: object) -> NoReturn:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, terminated)
    with serving(folder, host, port, limits, progress, access) as url:
        announce(url)
        progress(f"serving {folder} at {url}, {access}")
        while True:
            signal.pause()


def _listening(store: LocalStore, host: str, port: int, limits: Limits, access: Access, progress: Progress) -> Server:
    if not 0 <= port < 1 << 16:
        raise InputError(f"a port is 0 to 65535: got {port}")
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        for warning in access.check(str(address[0])):
            progress(warning)
        return Server(family, (str(address[0]), int(address[1])), store, limits, access, progress)
    except (OSError, UnicodeError) as error:
        raise StoreError(f"cannot listen on {host}, port {port}: {error}") from error
