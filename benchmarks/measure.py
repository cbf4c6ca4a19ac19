"""Seconds, CPU seconds and peak memory of a piece of work and of all its child processes."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import psutil

MEGABYTE = 1e6


@dataclass
class Measured:
    """One run. `peak_rss_mb` is the largest sum over the process tree, sampled every 20 ms."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_rss_mb: float = 0.0
    start_rss_mb: float = 0.0


@contextmanager
def measured() -> Iterator[Measured]:
    """Measure the block. Children are counted, ended ones too."""
    me = psutil.Process()
    result = Measured(start_rss_mb=_tree_rss(me))
    done = threading.Event()

    def sample() -> None:
        while not done.wait(0.02):
            result.peak_rss_mb = max(result.peak_rss_mb, _tree_rss(me))

    sampler = threading.Thread(target=sample, daemon=True)
    cpu, start = _cpu(), time.perf_counter()
    sampler.start()
    try:
        yield result
    finally:
        result.seconds = time.perf_counter() - start
        result.cpu_seconds = _cpu() - cpu
        done.set()
        sampler.join()
        result.peak_rss_mb = max(result.peak_rss_mb, _tree_rss(me))


def _cpu() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _tree_rss(process: psutil.Process) -> float:
    total = 0.0
    for one in [process, *process.children(recursive=True)]:
        try:
            total += one.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / MEGABYTE


@dataclass
class Rows:
    """JSON rows on stdout, one a step, each complete in itself."""

    common: dict[str, Any]
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, step: str, runs: list[Measured], size: int = 0, **more: Any) -> None:
        row = {
            "step": step,
            **self.common,
            "seconds": round(statistics.median(run.seconds for run in runs), 3),
            "cpu_seconds": round(statistics.median(run.cpu_seconds for run in runs), 3),
            "peak_rss_mb": round(max(run.peak_rss_mb for run in runs), 1),
            "bytes": size,
            "runs": len(runs),
            **more,
        }
        self.rows.append(row)
        print(json.dumps(row), flush=True)


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    return {
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores,"
        f" {psutil.virtual_memory().total / 2**30:.0f} GiB",
        "python": platform.python_version(),
        **{name: version(name) for name in ("zkmarket", "ezkl", "numpy")},
    }


def say(text: str) -> None:
    print(f"· {text}", file=sys.stderr, flush=True)
