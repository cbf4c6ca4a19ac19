"""The one file of a multipart body, read as it arrives."""

from __future__ import annotations

import io
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from email.parser import BytesHeaderParser
from typing import Any

PART = 1 << 16
"""Bytes that are read or written at once."""
_PART_HEAD = 1 << 13  # longest head of the file in a multipart body


class Stream(io.RawIOBase):
    """A connection's bytes, in and out, until a deadline: one byte now and then does not put it off."""

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self._connection = connection
        self.allow(seconds)

    def allow(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds

    def shake_hands(self) -> None:
        """TLS, if it is spoken here. OSError: the client speaks something else, or not in time."""
        if isinstance(self._connection, ssl.SSLSocket):
            self._set_timeout()
            self._connection.do_handshake()  # its timeout is that of the whole

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._set_timeout()
        return self._connection.recv_into(buffer)

    def write(self, data: Any) -> int:
        left = memoryview(data)
        while left:  # not sendall: under TLS its time-out begins anew with each record
            self._set_timeout()
            left = left[self._connection.send(left) :]
        return len(data)

    def _set_timeout(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("too slow")
        self._connection.settimeout(left)


# ---------------------------------------------------------------- a request


class Refused(Exception):
    """Why a request is not done, and the status of the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


# ---------------------------------------------------------------- multipart


class Body:
    """The body of a request, part by part, no further than its length."""

    def __init__(self, file: io.BufferedIOBase, length: int) -> None:
        self._file, self._left = file, length

    def more(self) -> bytes:
        """Some bytes; none at the end."""
        if not self._left:
            return b""
        part = self._file.read1(min(PART, self._left))
        if not part:
            raise Refused(400, f"the body ends {self._left} bytes early")
        self._left -= len(part)
        return part


class Counted:
    """Parts of a blob, and how many bytes have come."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts, self.total = parts, 0

    def __iter__(self) -> Iterator[bytes]:
        for part in self._parts:
            self.total += len(part)
            yield part


def only_file(more: Callable[[], bytes], boundary: bytes) -> Iterator[bytes]:
    """The one file of a multipart body, in parts; `more` gives some of the body, nothing at its end.

    Anything else is refused, some of it only after the last part.
    """
    opening, closing = b"--" + boundary + b"\r\n", b"\r\n--" + boundary
    held = bytearray()
    while (end := held.find(b"\r\n\r\n")) < 0 and len(held) < _PART_HEAD and (part := more()):
        held += part
    if end < 0 or not held.startswith(opening):
        raise Refused(400, "the multipart body does not begin with its boundary and a file's head")
    _check_head(bytes(held[len(opening) : end + 2]))
    del held[: end + 4]
    while (end := held.find(closing)) < 0:
        if len(held) >= len(closing):  # its last bytes may be the beginning of the closing
            cut = len(held) - len(closing) + 1
            yield bytes(held[:cut])
            del held[:cut]
        part = more()
        if not part:
            raise Refused(400, "the multipart body does not end with its boundary")
        held += part
    if end:
        yield bytes(held[:end])
    del held[: end + len(closing)]
    while len(held) <= 4 and (part := more()):
        held += part
    if bytes(held) not in (b"--", b"--\r\n"):
        raise Refused(400, "after the file there is something else: wanted one file")


def _check_head(head: bytes) -> None:
    fields = BytesHeaderParser().parsebytes(head)
    if fields.get("Content-Transfer-Encoding", "binary").strip().lower() not in ("binary", "8bit", "7bit"):
        raise Refused(400, "the file is encoded: wanted its bytes as they are")
    if fields.get("Content-Type", "").strip().lower() in ("application/x-directory", "application/symlink"):
        raise Refused(400, "wanted a file, not a folder or a link")
