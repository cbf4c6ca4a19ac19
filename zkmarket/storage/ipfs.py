"""A store behind an IPFS node's RPC interface, which is believed in nothing."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from queue import Empty, Queue
from typing import Any

import requests

from ..errors import StoreError
from .cid import CHUNK, MAX_BLOB, Made, checked, cid_of, cid_to_bytes

MAX_ANSWER = 1 << 16
"""Largest answer to a put that is read, in bytes."""


# ---------------------------------------------------------------- an IPFS node


@dataclass(frozen=True)
class IpfsStore:
    """An IPFS node by its RPC address, such as http://127.0.0.1:5001.

    Attributes:
        url: without /api/v0.
        seconds: in which an operation must end, all attempts together.
        attempts: how often it is tried while the node cannot be reached, is slow, or says that it has failed.
        token: what it wants as a bearer token. Over http:// whoever is on the way can read it.
    """

    url: str
    seconds: float = 60
    attempts: int = 4
    token: str | None = field(default=None, repr=False)

    def put(self, data: bytes) -> str:
        cid = cid_of(data)
        options = {"pin": "true", "cid-version": 0, "raw-leaves": "false", "chunker": f"size-{CHUNK}"}

        def add(left: float) -> str:
            with self._ask("add", options, left, files={"file": data}) as answer:
                said = b"".join(_until(answer.iter_content(1 << 12), MAX_ANSWER, time.monotonic() + left))
            return str(json.loads(said)["Hash"])

        found = self._tried(f"put {cid}", add)
        if found != cid:
            raise StoreError(f"{self.url} calls the blob {found}: wanted {cid}; does it chunk in another way?")
        return cid

    def get(self, cid: str, limit: int = MAX_BLOB) -> bytes:
        cid_to_bytes(cid)

        def cat(left: float) -> bytes:
            deadline = time.monotonic() + left
            with self._ask("cat", {"arg": cid}, left) as answer:
                return b"".join(_until(answer.iter_content(1 << 16), limit, deadline))

        return checked(cid, self._tried(f"get {cid}", cat), limit, self.url)

    def pin(self, cid: str) -> None:
        cid_to_bytes(cid)
        self._tried(f"pin {cid}", lambda left: self._ask("pin/add", {"arg": cid}, left).close())

    def _ask(self, command: str, options: dict[str, Any], seconds: float, **more: Any) -> requests.Response:
        url = f"{self.url.rstrip('/')}/api/v0/{command}"
        auth = self._bear if self.token else None  # as `auth`, since a user's .netrc would replace a field
        answer = requests.post(
            url, params=options, timeout=seconds, allow_redirects=False, stream=True, auth=auth, **more
        )
        if answer.status_code != 200:
            reason = next(answer.iter_content(300), b"").decode("utf-8", "replace")
            raise requests.HTTPError(f"{answer.status_code} {reason}", response=answer)
        return answer

    def _bear(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self.token}"
        return request

    def _tried(self, what: str, step: Callable[[float], Made]) -> Made:
        """Run a step until it works, with pauses that double, within the deadline of all attempts together."""
        deadline = time.monotonic() + self.seconds
        for attempt in range(1, self.attempts + 1):
            try:
                return _within(max(0.1, deadline - time.monotonic()), step)
            except (requests.RequestException, KeyError, ValueError) as error:
                pause = 0.2 * 2**attempt
                status = getattr(getattr(error, "response", None), "status_code", 500)
                final = 400 <= status < 500 and status not in (408, 429)
                if final or attempt == self.attempts or time.monotonic() + pause > deadline:
                    raise StoreError(f"{what}: {self.url} failed {attempt} times, at last with: {error}") from error
                time.sleep(pause)
        raise AssertionError("not reached")


def _within(seconds: float, step: Callable[[float], Made]) -> Made:
    """Run a step in a thread, and leave it behind when the time is over.

    A node that sends a byte now and then, in a head or a body, holds whoever reads for as long as it likes: a time-out
    of the connection starts anew with each byte.
    """
    done: Queue[Made | Exception] = Queue(1)

    def work() -> None:
        try:
            done.put(step(seconds))
        except Exception as error:
            done.put(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        made = done.get(timeout=seconds)
    except Empty:
        raise requests.Timeout("it is too slow") from None
    if isinstance(made, Exception):
        raise made
    return made


def _until(parts: Iterator[bytes], limit: int, deadline: float) -> Iterator[bytes]:
    """Parts of a body up to a little more than `limit` bytes: whoever streams for ever is left."""
    total = 0
    for part in parts:
        if time.monotonic() > deadline:
            raise requests.Timeout("it is too slow")
        yield part
        total += len(part)
        if total > limit:
            return
