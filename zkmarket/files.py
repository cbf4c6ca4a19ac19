"""Files that are never half-written, and where they are kept."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from .errors import InputError

MAX_JSON = 1 << 30


def cache_folder() -> Path:
    """Keys and SRS files, shared by all projects of the user: $ZKMARKET_CACHE or the user's cache folder."""
    given = os.environ.get("ZKMARKET_CACHE")
    return Path(given) if given else user_cache_path("zkmarket")


def sha256_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def replacing(path: Path, mode: int = 0o644) -> Iterator[Path]:
    """A temporary name beside `path`; renamed to it when the block ends well, removed when it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(mode)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def atomic_write(path: Path, data: bytes, mode: int = 0o644) -> None:
    with replacing(path, mode) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, value: Any) -> None:
    atomic_write(path, (json.dumps(value, indent=1) + "\n").encode())


def read_json(path: Path, what: str) -> Any:
    """Parse a JSON file of the outside world; InputError says what is wrong with it."""
    if not path.is_file():
        raise InputError(f"no {what} at {path}")
    size = path.stat().st_size
    if not 0 < size <= MAX_JSON:
        raise InputError(f"{what} {path} has {size} bytes: wanted 1 to {MAX_JSON}")
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{what} {path} is not JSON: {error}") from error


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder that appears under its name only when the block has filled it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        try:
            temporary.replace(path)
        except OSError:  # there is one already
            if not path.is_dir():
                raise
            old = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
            path.replace(old / "old")
            temporary.replace(path)
            shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def link_or_copy(source: Path, target: Path) -> None:
    """The same bytes under another name, without a copy where the file system can."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file, so that two processes do not make the same thing at once. Freed even by kill -9."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
