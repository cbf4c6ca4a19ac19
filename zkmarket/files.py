"""Files that are never half-written, and where they are kept."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from platformdirs import user_cache_path

from .errors import InputError

NPY_HEADER = 4096


def cache_folder() -> Path:
    """Keys and SRS files, shared by all projects of the user: $ZKMARKET_CACHE or the user's cache folder."""
    given = os.environ.get("ZKMARKET_CACHE")
    return Path(given).resolve() if given else user_cache_path("zkmarket")


def sha256_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def replacing(path: str | Path, mode: int = 0o644) -> Iterator[Path]:
    """A temporary name beside `path`; renamed to it when the block ends well, removed when it does not."""
    path = Path(path)
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
    except OSError as error:
        if error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error  # of a full disk: say which
    finally:
        temporary.unlink(missing_ok=True)


def atomic_write(path: str | Path, data: bytes, mode: int = 0o644) -> None:
    with replacing(path, mode) as temporary:
        temporary.write_bytes(data)


def check_writable(path: Path, what: str) -> None:
    """InputError if a file cannot be written there: to be asked before the work that fills it."""
    try:
        if path.is_dir():
            raise OSError("it is a folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise InputError(f"{what} cannot be written to {path}: {error.strerror or error}; name another file") from error


def save_npz(path: str | Path, arrays: Mapping[str, np.ndarray], mode: int = 0o644) -> None:
    """Arrays by any name, uncompressed, atomically."""
    with replacing(path, mode) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)


def save_npy(path: str | Path, array: np.ndarray, mode: int = 0o644) -> None:
    """One array, atomically."""
    with replacing(path, mode) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array(file, array, allow_pickle=False)


def load_npy(path: str | Path, what: str, limit: int, mapped: bool = False) -> np.ndarray:
    """One array of at most so many bytes; memory-mapped, read-only, if asked."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no {what} at {path}")
    size = path.stat().st_size
    if size > limit + NPY_HEADER:
        raise InputError(f"{what} {path} has {size} bytes, wanted at most {limit}")
    try:
        array = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except Exception as error:  # numpy raises a dozen kinds for a damaged file
        raise InputError(f"{what} {path} cannot be read: {error}") from error
    if not isinstance(array, np.ndarray):
        raise InputError(f"{what} {path} is not an array")
    return array


def load_npz(path: str | Path, what: str, limits: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Exactly these arrays, each of at most so many bytes: looked up before anything is unpacked."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no {what} at {path}")
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {info.filename.removesuffix(".npy"): info.file_size for info in archive.infolist()}
            if set(sizes) != set(limits) or len(archive.infolist()) != len(limits):
                raise InputError(f"{what} {path} holds {sorted(sizes)}: wanted {sorted(limits)}")
            for name, size in sizes.items():
                if size > limits[name] + NPY_HEADER:
                    raise InputError(f"{what} {path}: {name} has {size} bytes, wanted at most {limits[name]}")
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in limits}
        for name, array in arrays.items():
            if not isinstance(array, np.ndarray):
                raise InputError(f"{what} {path}: {name} is not an array")
        return arrays
    except InputError:
        raise
    except Exception as error:  # numpy and zipfile raise a dozen kinds for a damaged file
        raise InputError(f"{what} {path} cannot be read: {error}") from error


@contextlib.contextmanager
def new_folder(path: Path, replace: bool = False) -> Iterator[Path]:
    """A folder that appears under its name only when the block has filled it.

    A folder that is there already must be empty, unless the caller knows it for an older result of the
    same command and says `replace`; anything else is refused before work begins.
    """
    if path.exists() and not replace and not (path.is_dir() and not any(path.iterdir())):
        raise InputError(f"{path} exists and holds something else: choose a new folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        if path.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
            path.replace(old / "old")
            temporary.replace(path)
            shutil.rmtree(old, ignore_errors=True)
        else:
            temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


_TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}")  # as tempfile ends the names that are given to it above


def sweep(folder: Path) -> None:
    """Remove what `replacing` and `new_folder` left in a folder when they were killed.

    Call it while no other process can be writing there.
    """
    for path in folder.glob(".*"):
        if not _TEMPORARY.fullmatch(path.name):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def link_or_copy(source: Path, target: Path) -> None:
    """The same bytes under another name, without a copy where the file system can."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


@contextlib.contextmanager
def locked(path: Path, otherwise: str | None = None) -> Iterator[None]:
    """Hold a lock file, so that two processes do not make the same thing at once. Freed even by kill -9.

    Waits for another process that holds it, or, with `otherwise`, raises InputError with that text.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (fcntl.LOCK_NB if otherwise else 0))
        except BlockingIOError:
            raise InputError(otherwise) from None
        yield
