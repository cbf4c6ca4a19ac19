"""Calls into ezkl: its output kept off ours, its exceptions turned into ours."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

from ..errors import BackendError

_STREAMS = threading.RLock()
"""Only one thread at a time may have the process's standard streams turned away."""

_TABLES: list[str] = []
"""This process's folder for ezkl's tables, once there is one."""


def fetch_srs(logrows: int, path: Path) -> None:
    """Download the ceremony's file of one size with ezkl's own downloader. The caller checks its digest."""
    import asyncio

    async def download() -> None:
        result = library().get_srs(settings_path=None, logrows=logrows, srs_path=str(path))
        if asyncio.iscoroutine(result) or asyncio.isfuture(result) or hasattr(result, "__await__"):
            await result

    with foreign("get_srs"):
        asyncio.run(download())


# ---------------------------------------------------------------- inside


def library() -> Any:
    """ezkl, which keeps its tables in a folder that this process has made and nobody else writes to."""
    with _STREAMS:
        if not _TABLES:
            sweep()
            folder = tempfile.mkdtemp(prefix=f"zkmarket-{os.getpid()}-ezkl-")  # mode 0700
            os.environ["EZKL_REPO_PATH"] = folder  # read when ezkl looks its first table up
            Finalize(None, shutil.rmtree, (folder, True), exitpriority=0)  # in workers too, whose atexit does not run
            _TABLES.append(folder)
    import ezkl

    return ezkl


def from_le(text: str) -> int:
    return int.from_bytes(bytes.fromhex(text.removeprefix("0x")), "little")


@contextlib.contextmanager
def foreign(step: str) -> Iterator[None]:
    """Map whatever ezkl raises, its Rust panics (a BaseException) included, to BackendError.

    Its chatter on both standard streams is dropped: what matters of it is in the exception.
    """
    with _STREAMS:
        yield from _silenced(step)


def _silenced(step: str) -> Iterator[None]:
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        raise BackendError(f"ezkl {step}: {error}") from error
    finally:
        os.dup2(kept[0], 1)
        os.dup2(kept[1], 2)
        for descriptor in (*kept, nowhere):
            os.close(descriptor)


def sweep() -> None:
    """Remove the folders of processes that no longer run (killed before they could clean up)."""
    for folder in Path(tempfile.gettempdir()).glob("zkmarket-*-*"):
        pid = folder.name.split("-")[1]
        if not pid.isdigit() or not folder.is_dir() or folder.stat().st_uid != os.getuid():
            continue
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(int(pid), 0)
            continue
        shutil.rmtree(folder, ignore_errors=True)
