"""The verb `demo`: a whole market on this machine."""

from __future__ import annotations

import argparse
import contextlib
import functools
import threading
from pathlib import Path
from typing import Any

from ..learning import ATTACKS
from ..progress import Progress, tell
from ..rules import SCORES
from .desk import add_store_token, read_store_token
from .options import amount
from .output import Answer
from .verbs import Verbs


def add(verbs: Verbs) -> None:
    parser = verbs.add(
        "demo",
        demo_verb,
        "play a whole market on this machine, with attackers, and write a report",
        "zkmarket demo --attack collude --rounds 2",
        "Every role is a process of its own, on a real chain with real proofs and a development SRS. It takes minutes.",
    )
    parser.add_argument("--rounds", type=int, default=3, metavar="COUNT", help="rounds to play (3)")
    parser.add_argument("--trainers", type=int, default=8, metavar="N", help="trainers of a round (8)")
    parser.add_argument(
        "--attackers",
        type=int,
        metavar="COUNT",
        help="how many of the trainers attack (default: 2; for collude one more than Multi-Krum tolerates)",
    )
    parser.add_argument("--attack", choices=ATTACKS, default="sign-flip", help="what the attackers do (sign-flip)")
    parser.add_argument("--filter", metavar="FILTER", help="who is accepted, as of `zkmarket build` (its default)")
    parser.add_argument("--score", choices=SCORES, default="shapley", help="what an accepted update is worth (shapley)")
    parser.add_argument("--reward", type=amount, default=10**18, metavar="WEI", help="reward of a round (10^18)")
    parser.add_argument(
        "--split", choices=("iid", "dirichlet"), default="iid", help="how the data are split: equally or not (iid)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="INT", help="seed of data and attacks (0)")
    parser.add_argument("--chain", metavar="URL", help="a development node to use (default: an anvil of its own)")
    parser.add_argument(
        "--store",
        default="folder",
        metavar="folder|ipfs|URL",
        help="where blobs are kept; ipfs is a real node of its own on this machine (folder)",
    )
    add_store_token(parser)
    parser.add_argument(
        "--keep-running",
        action="store_true",
        help="keep chain and store after the last round, with commands that check the market, until Ctrl-C",
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="where the report goes (report.html)")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="DIR", help="keep all files here (default: a temporary folder)"
    )


def demo_verb(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from ..demo import run_demo

    names = ["rounds", "trainers", "attackers", "attack", "reward", "split", "seed", "filter", "score"]
    names += ["chain", "store", "report"]
    given = {name: getattr(arguments, name) for name in names}
    token = read_store_token(arguments.store_token_file)
    hold = functools.partial(_hold, arguments.json, progress) if arguments.keep_running else None
    return run_demo(**given, store_token=token, folder=arguments.output, progress=progress, hold=hold)


def _hold(json: bool, progress: Progress, result: dict[str, Any], text: str) -> None:
    """Say how to look at the market, and keep it until Ctrl-C."""
    lines = [
        "", "The market is kept running. In another terminal, these lines check it:", "", *result["commands"], "",
        "Ctrl-C ends its chain and store, and removes its temporary files.",
    ]  # fmt: skip
    if not json:
        print("\n".join([text, *lines]), flush=True)
    tell(progress, "kept", commands=result["commands"])
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()
