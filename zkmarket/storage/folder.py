"""Content-addressed blobs: sealed updates, models, proofs.

A store is never trusted: every blob is checked against its CID. A CID is what `ipfs add` gives with its
defaults (version 0: UnixFS in dag-pb, chunks of 262,144 bytes, at most 174 links a node), computed here from the
bytes, so that a folder and an IPFS node know a blob by the same name, and a node that returns other bytes is
found out.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..errors import StoreError
from .cid import CHUNK, MAX_BLOB, checked, cid_of, cid_of_parts, cid_to_bytes, slices

# ---------------------------------------------------------------- a folder


TEMPORARY = ".add."
"""What the names of blobs that are being written begin with."""

_ABANDONED = 24 * 3600.0
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # no link leads out, no pipe holds us up


@dataclass(frozen=True)
class LocalStore:
    """Blobs in a folder, one file each, named by CID.

    Any number of processes may use a folder at once: a blob is written under a name of its own and renamed when it is
    whole and on disk, so that a CID names a whole blob or nothing, whatever is killed when.
    """

    folder: Path

    def put(self, data: bytes) -> str:
        cid = cid_of(data)
        if self._has(cid):
            with self._writing():
                self._sync()  # whoever put it may be about to
            return cid
        return self.put_parts(slices(data))

    def put_parts(self, parts: Iterable[bytes]) -> str:
        """Keep a blob that comes in parts, and is never held as a whole. If the parts end with an error, nothing stays.

        StoreError, with the OSError as its cause, if the folder cannot be written to or the disk is full.
        """
        with self._writing():
            self.folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=TEMPORARY, dir=self.folder)
        try:
            with open(handle, "wb", buffering=0) as file:  # noqa: PTH123  # mkstemp gives a handle
                cid = cid_of_parts(self._written(file.fileno(), parts))
                with self._writing():
                    os.fchmod(file.fileno(), 0o644)
                    os.fsync(file.fileno())
            with self._writing():
                Path(name).replace(self._path(cid))
                self._sync()
            return cid
        finally:
            Path(name).unlink(missing_ok=True)

    def get(self, cid: str, limit: int = MAX_BLOB) -> bytes:
        with self.open(cid) as file, self._reading(cid):
            data = file.read(limit + 1)
        return checked(cid, data, limit, str(self.folder))

    def open(self, cid: str) -> BinaryIO:
        """The file of a blob, to read and not checked. StoreError if it is not there."""
        path = self._path(cid)
        try:
            file = open(path, "rb", opener=lambda name, _: os.open(name, _READ))  # noqa: PTH123, SIM115
        except OSError as error:
            raise StoreError(f"no blob {cid} in {self.folder}: {error.strerror}") from error
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            file.close()
            raise StoreError(f"no blob {cid} in {self.folder}: what has its name is no file")
        return file

    def pin(self, cid: str) -> None:
        with self.open(cid) as file, self._reading(cid):
            actual = cid_of_parts(iter(lambda: file.read(CHUNK), b""))
        if actual != cid:
            raise StoreError(f"{self.folder} gives other bytes for {cid}: they are {actual}")

    def sweep(self) -> int:
        """Remove what killed processes were writing a day ago and longer; how many."""
        removed = 0
        with self._writing():
            self.folder.mkdir(parents=True, exist_ok=True)
            for path in self.folder.glob(f"{TEMPORARY}*"):
                with contextlib.suppress(FileNotFoundError):  # another process sweeps too
                    if path.lstat().st_mtime < time.time() - _ABANDONED:
                        path.unlink()
                        removed += 1
        return removed

    def _has(self, cid: str) -> bool:
        try:
            self.pin(cid)
        except StoreError:
            return False
        return True

    def _written(self, handle: int, parts: Iterable[bytes]) -> Iterator[bytes]:
        for part in parts:
            left = memoryview(part)
            while left:
                with self._writing():
                    left = left[os.write(handle, left) :]
            yield part

    def _sync(self) -> None:
        """The folder's names to disk."""
        handle = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        except OSError as error:
            if error.errno != errno.EINVAL:  # a file system that cannot
                raise
        finally:
            os.close(handle)

    @contextlib.contextmanager
    def _reading(self, cid: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(f"blob {cid} in {self.folder} cannot be read: {error.strerror}") from error

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(f"cannot write to the store {self.folder}: {error.strerror}") from error

    def _path(self, cid: str) -> Path:
        cid_to_bytes(cid)  # refuses what is not a CID: a name such as ../x never becomes a path
        return self.folder / cid
