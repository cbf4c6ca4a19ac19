"""The verb `doctor`: what this machine has and what it lacks."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import shutil
import sys
from importlib.metadata import version

from ..backend import srs
from ..errors import ZkmarketError
from ..files import cache_folder
from ..progress import Progress
from .output import Answer
from .verbs import Verbs


def add(verbs: Verbs) -> None:
    verbs.add(
        "doctor",
        doctor,
        "check that this machine has what zkmarket needs",
        "zkmarket doctor",
        "The exit code is 3 if anything is missing.",
    )


def doctor(arguments: argparse.Namespace, progress: Progress) -> Answer:
    """Check what this machine has; exit code 3 if something that is needed is missing."""
    checks: list[tuple[str, bool, str]] = []
    python = platform.python_version()
    checks.append(("python", (3, 11) <= sys.version_info < (3, 13), python))
    for name, module in (("ezkl", "ezkl"), ("torch", "torch"), ("numpy", "numpy"), ("py_ecc", "py_ecc")):
        try:
            importlib.import_module(module)
            checks.append((name, True, version(name)))
        except Exception as error:  # a broken wheel raises anything
            checks.append((name, False, str(error)))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    checks.append(("memory", memory >= 2, f"{memory:.1f} GiB, {os.cpu_count()} cores"))
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free / 2**30
        checks.append(("cache", os.access(folder, os.W_OK) and free >= 2, f"{folder}, {free:.0f} GiB free"))
    except OSError as error:
        checks.append(("cache", False, str(error)))
    ceremonies = srs.installed()
    about = "; ".join(f"{s.kind} {s.id[:8]} of 2^{s.sizes()} rows" for s in ceremonies)
    checks.append(("srs", bool(ceremonies), about or "none: run `zkmarket srs fetch` or `zkmarket srs generate`"))
    try:
        from ..chain import tools

        checks.append(("market", True, tools()))
    except (ZkmarketError, ImportError) as error:
        checks.append(("market", False, str(error)))
    good = all(passed for _, passed, _ in checks)
    result = {
        "ok": good,
        "checks": [{"name": name, "ok": passed, "found": found} for name, passed, found in checks],
    }
    lines = [f"{'ok     ' if passed else 'MISSING'}  {name:7} {found}" for name, passed, found in checks]
    if any(ceremony.insecure for ceremony in ceremonies):
        lines.append(f"note: {srs.WARNING}")
    return result | ({} if good else {"exit_code": 3}), "\n".join(lines)
