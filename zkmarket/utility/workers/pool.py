"""The pool that an address means."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from .cluster import DaskPool
from .jobs import Pool
from .local import LocalPool

# ---------------------------------------------------------------- choice


@contextlib.contextmanager
def open_pool(workers: int = 1, scheduler: str | None = None) -> Iterator[Pool]:
    """So many processes of this machine, or the workers of a Dask scheduler. Ended with the block."""
    pool = DaskPool(scheduler) if scheduler else LocalPool(workers)
    try:
        yield pool
    finally:
        pool.close()
