"""Verbs of an auditor."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..progress import Progress
from .desk import add_desk, add_loop, open_desk
from .output import Answer
from .verbs import Verbs


def add(verbs: Verbs) -> None:
    kinds = verbs.group(
        "auditor",
        "verify settled rounds again, from chain and store alone",
        "zkmarket auditor verify 1 --state audit",
    )
    parser = kinds.add(
        "watch",
        auditor_watch,
        "verify every round as it is settled, until the project ends",
        "zkmarket auditor watch --state audit --project 0x5FbDB2315678afecb367f032d93F642f64180aa3"
        " --rpc http://127.0.0.1:8545 --store STORE",
        "It needs no account.",
    )
    add_loop(parser, account=False)
    parser = kinds.add("verify", auditor_verify, "verify one round", "zkmarket auditor verify 1 --state audit")
    parser.add_argument("round", type=int, metavar="ROUND", help="number of the round, from 1")
    add_desk(parser, account=False)
    parser = kinds.add(
        "model",
        auditor_model,
        "check that a file holds the model whose commitment the chain has",
        "zkmarket auditor model owner/theta.npz --view owner/model.npz --state audit",
    )
    parser.add_argument(
        "integers", type=Path, metavar="FILE", help="the model's integers: theta.npz of `zkmarket owner receive`"
    )
    parser.add_argument("--view", type=Path, metavar="FILE", help="and that this file shows these integers as floats")
    parser.add_argument("--round", type=int, metavar="ROUND", help="the model after this round (default: the last)")
    add_desk(parser, account=False)


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


def auditor_model(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from ..roles import auditor

    with open_desk(arguments, progress, account=False) as desk:
        result = auditor.Auditor(desk).model(arguments.integers, arguments.view, arguments.round)
    shown = ", and the floats are those integers" if arguments.view else ""
    after = f"after round {result['round']}" if result["round"] else "before the first round"
    return result, f"the model {after}: it opens the chain's commitment {result['theta']}{shown}"


def _audit_text(row: dict[str, Any]) -> str:
    accepted = sum(trainer["accepted"] for trainer in row["trainers"])
    how = "verified from calldata" if row["from_calldata"] else "taken on the contract's word"
    root = {None: "", True: ", compared with the owner's root update", False: ", without a root update"}[row["root"]]
    who = f"{accepted} of {len(row['trainers'])} accepted{root}"
    return f"round {row['round']}: {how}, {who}, aggregate {row['aggregate']}"
