"""Verbs of the aggregator."""

from __future__ import annotations

import argparse

from ..progress import Progress
from .account import add_withdraw_verb
from .desk import add_desk, add_keyring, add_loop, add_withdraw, import_keyring, open_desk
from .output import Answer
from .standing import aggregator_text
from .verbs import Verbs


def add(verbs: Verbs) -> None:
    kinds = verbs.group(
        "aggregator",
        "start rounds, check the updates, prove the result and have it paid",
        "zkmarket aggregator run --state aggregator",
    )
    parser = kinds.add(
        "run",
        aggregator_run,
        "hold the aggregator's office until the project ends",
        "zkmarket aggregator run --state aggregator --project 0x5FbDB2315678afecb367f032d93F642f64180aa3"
        " --rpc http://127.0.0.1:8545 --store STORE --keystore my.json",
    )
    parser.add_argument(
        "--trainers",
        type=int,
        metavar="N",
        help="trainers to wait for before a round; fewer do when half of the time is gone (default: the most)",
    )
    add_keyring(parser)
    add_withdraw(parser)
    add_loop(parser)
    parser = kinds.add(
        "status",
        aggregator_status,
        "say how office, bond and fees stand, and who was refused why",
        "zkmarket aggregator status --state aggregator",
    )
    add_desk(parser)
    add_withdraw_verb(kinds, "aggregator")


def aggregator_run(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from ..roles import aggregator

    with open_desk(arguments, progress) as desk:
        import_keyring(arguments, desk)
        result = aggregator.Aggregator(desk, arguments.trainers, arguments.withdraw).run()
    return result, aggregator_text(result)


def aggregator_status(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from ..roles import aggregator

    with open_desk(arguments, progress) as desk:
        result = aggregator.status(desk)
    return result, aggregator_text(result)
