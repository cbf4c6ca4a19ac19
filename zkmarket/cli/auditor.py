"""Verbs of an auditor."""

from __future__ import annotations

import argparse
from typing import Any

from ..progress import Progress
from .desk import Answer, open_desk


def auditor_watch(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from ..roles import auditor

    with open_desk(arguments, progress, account=False) as desk:
        result = auditor.Auditor(desk).run()
    return result, "\n".join(map(_audit_text, result["rounds"])) or "no round was settled"


def auditor_verify(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from ..roles import auditor

    with open_desk(arguments, progress, account=False) as desk:
        result = auditor.Auditor(desk).verify(arguments.round)
    return result, _audit_text(result)


def _audit_text(row: dict[str, Any]) -> str:
    accepted = sum(trainer["accepted"] for trainer in row["trainers"])
    how = "verified from calldata" if row["from_calldata"] else "taken on the contract's word"
    root = {None: "", True: ", compared with the owner's root update", False: ", without a root update"}[row["root"]]
    who = f"{accepted} of {len(row['trainers'])} accepted{root}"
    return f"round {row['round']}: {how}, {who}, aggregate {row['aggregate']}"
