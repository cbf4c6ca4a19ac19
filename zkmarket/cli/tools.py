"""Verbs about this machine and its stores: doctor, srs, store, inspect, demo."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import shutil
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from ..backend import srs
from ..build import Build
from ..errors import InputError, ZkmarketError
from ..files import atomic_write, cache_folder
from ..progress import Progress
from ..round import read_address
from .output import Answer

if TYPE_CHECKING:
    from ..storage import Store


# ---------------------------------------------------------------- verbs


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


def srs_generate(arguments: argparse.Namespace, progress: Progress) -> Answer:
    progress(srs.WARNING)
    return _srs_answer(srs.generate(arguments.logrows, progress))


def srs_fetch(arguments: argparse.Namespace, progress: Progress) -> Answer:
    return _srs_answer(srs.fetch(arguments.logrows, progress))


def srs_import(arguments: argparse.Namespace, progress: Progress) -> Answer:
    return _srs_answer(srs.import_file(arguments.file, arguments.digest))


def srs_info(arguments: argparse.Namespace, progress: Progress) -> Answer:
    found = srs.installed()
    rows = [_srs_row(item) for item in found]
    return {"srs": rows}, "\n".join(map(_srs_text, rows)) or "no SRS installed"


def _srs_answer(item: srs.Srs) -> Answer:
    row = _srs_row(item)
    return row, _srs_text(row)


def _srs_row(item: srs.Srs) -> dict[str, Any]:
    return {
        "kind": item.kind,
        "id": item.id,
        "insecure": item.insecure,
        "logrows": item.sizes(),
        "folder": str(item.folder),
    }


def _srs_text(row: dict[str, Any]) -> str:
    mark = f"\n  {srs.WARNING}" if row["insecure"] else ""
    return f"{row['kind']} SRS {row['id'][:16]}, sizes 2^{row['logrows']}, in {row['folder']}{mark}"


def inspect_verb(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from ..chain import connect  # Brownie takes a second to import
    from ..market import address_of, inspection

    builds: dict[int, Build] = {}
    for folder in arguments.build:
        made = Build.load(folder)
        if made.manifest.trainers in builds:
            raise InputError(f"two builds for {made.manifest.trainers} trainers: give one for each number")
        builds[made.manifest.trainers] = made
    address = address_of(read_address(arguments.project))
    with connect(arguments.rpc) as chain:
        found = inspection.inspect(chain, address, builds, progress)
    lines = [f"right    {text}" for text in found.checked] if arguments.verbose else []
    lines += [f"note     {text}" for text in found.money]
    lines += [f"warning  {text}" for text in found.warnings]
    lines += [f"WRONG    {text}" for text in found.wrong]
    lines.append(
        f"{len(found.wrong)} things are wrong: stay away" if found.wrong else f"{len(found.checked)} checks, all right"
    )
    return found.to_json() | {"exit_code": 1 if found.wrong else 0}, "\n".join(lines)


def _open_store(arguments: argparse.Namespace) -> Store:
    from ..storage import open_store  # its HTTP and CID libraries would slow every other verb down

    return open_store(arguments.store)


def store_put(arguments: argparse.Namespace, progress: Progress) -> Answer:
    if not arguments.file.is_file():
        raise InputError(f"no such file: {arguments.file}")
    cid = _open_store(arguments).put(arguments.file.read_bytes())
    return {"cid": cid}, cid


def store_get(arguments: argparse.Namespace, progress: Progress) -> Answer:
    data = _open_store(arguments).get(arguments.cid)
    atomic_write(arguments.output, data)
    return {"cid": arguments.cid, "file": str(arguments.output), "bytes": len(data)}, f"{len(data)} bytes"


def store_pin(arguments: argparse.Namespace, progress: Progress) -> Answer:
    _open_store(arguments).pin(arguments.cid)
    return {"cid": arguments.cid}, f"{arguments.cid} is kept"


def store_serve(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from ..storage import Limits, serve

    def announce(url: str) -> None:
        text = json.dumps({"url": url}) if arguments.json else url
        print(text, file=sys.__stdout__, flush=True)  # past what a live display puts in the place of sys.stdout

    limits = Limits(arguments.limit, arguments.seconds, arguments.connections)
    serve.run(arguments.folder, arguments.host, arguments.port, limits, announce, progress)


def demo_verb(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from ..demo import run_demo

    names = ["rounds", "trainers", "attackers", "attack", "reward", "split", "seed", "filter", "score"]
    names += ["chain", "store", "report"]
    given = {name: getattr(arguments, name) for name in names}
    return run_demo(**given, folder=arguments.output, progress=progress)


def add_store(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--store", required=True, metavar="WHERE", help="a folder, or http://… of an IPFS node's RPC")


def amount(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 40):
        raise argparse.ArgumentTypeError(f"an amount in wei is a whole number: got {text!r}")
    return int(text)
