"""The verbs of `zkmarket srs`: the structured reference string that every key is made from."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..backend import srs
from ..progress import Progress
from .output import Answer
from .verbs import Verbs


def add(verbs: Verbs) -> None:
    kinds = verbs.group(
        "srs", "install the structured reference string (SRS) that all keys are made from", "zkmarket srs fetch"
    )
    parser = kinds.add(
        "generate",
        srs_generate,
        "make a development SRS, which is INSECURE: its trapdoor is public",
        "zkmarket srs generate",
        "Whoever knows a trapdoor can prove anything. Use it for tests and demos.",
    )
    parser.add_argument(
        "--logrows", type=int, choices=range(6, 21), metavar="K", help="make the file of 2^K rows now (default: later)"
    )
    parser = kinds.add(
        "fetch",
        srs_fetch,
        "download a file of the public ceremony and check its published digest",
        "zkmarket srs fetch --logrows 17",
    )
    parser.add_argument(
        "--logrows", type=int, default=17, metavar="K", help="size of the file, 2^K rows; it serves all smaller K (17)"
    )
    parser = kinds.add(
        "import",
        srs_import,
        "install a file that you have, if its digest is published or is the one that you give",
        "zkmarket srs import kzg17.srs",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the SRS in ezkl's format")
    parser.add_argument("--digest", metavar="SHA256", help="SHA-256 of a file that is not published but you vouch for")
    kinds.add("info", srs_info, "list what is installed", "zkmarket srs info")


def srs_generate(arguments: argparse.Namespace, progress: Progress) -> Answer:
    progress(srs.WARNING)
    return _srs_answer(srs.generate(arguments.logrows, progress))


def srs_fetch(arguments: argparse.Namespace, progress: Progress) -> Answer:
    return _srs_answer(srs.fetch(arguments.logrows, progress))


def srs_import(arguments: argparse.Namespace, progress: Progress) -> Answer:
    return _srs_answer(srs.import_file(arguments.file, arguments.digest))


def srs_info(arguments: argparse.Namespace, progress: Progress) -> Answer:
    rows = [_srs_row(item) for item in srs.installed()]
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
