"""Verbs of a trainer."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ..progress import Progress
from ..roles import learner
from .desk import Answer, lines, open_desk

if TYPE_CHECKING:
    from ..roles import Desk


# ---------------------------------------------------------------- trainer


def trainer_join(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from ..roles import trainer

    with open_desk(arguments, progress) as desk:
        done = trainer.join(desk)
        result = {"project": desk.project.address, "trainer": desk.me, "joined": done is not None}
        if done:
            result |= {"gas": done.gas, "transaction": done.transaction}
    return result, f"{result['trainer']} is a trainer of {result['project']}"


def trainer_run(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from ..roles import trainer

    with open_desk(arguments, progress) as desk:
        learn = learner(desk)
        import_keyring(arguments, desk)
        result = trainer.Trainer(desk, learn, arguments.join, arguments.withdraw).run()
    return result, _trainer_text(result)


def trainer_status(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from ..roles import trainer

    with open_desk(arguments, progress) as desk:
        result = trainer.status(desk)
    return result, _trainer_text(result)


def _trainer_text(result: dict[str, Any]) -> str:
    head = {name: value for name, value in result.items() if name != "rounds"}
    rows = [
        f"round {row['round']}: {'accepted' if row['accepted'] else 'rejected'}, score {row['score']},"
        f" paid {row['pay']}"
        for row in result["rounds"]
    ]
    return "\n".join([lines(head), *rows])


def trainer_leave(arguments: argparse.Namespace, progress: Progress) -> Answer:
    with open_desk(arguments, progress) as desk:
        done = desk.project.leave(desk.wallet)
        result = {"trainer": desk.me, "refund_wei": done.event("Left").arguments["refundWei"]}
    return result, f"{result['trainer']} has left; {result['refund_wei']} wei can be withdrawn"


def import_keyring(arguments: argparse.Namespace, desk: Desk) -> None:
    if arguments.keyring is not None:
        desk.history.import_keyring(arguments.keyring)


def verbs_of(verbs: Any, role: str, about: str) -> Any:
    parser = verbs.add_parser(role, help=about, description=about)
    return parser.add_subparsers(dest=f"{role}_verb", required=True, metavar="VERB")


def add_training(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="package.module:factory[,k=v]", help="makes the torch module")
    parser.add_argument("--epochs", help="local epochs a round (5)")
    parser.add_argument("--batch", help="batch size (32)")
    parser.add_argument("--optimiser", choices=("sgd", "adam"), help="(sgd)")
    parser.add_argument("--rate", help="local learning rate (0.2)")
    parser.add_argument("--momentum", help="of sgd (0.5)")
    parser.add_argument("--loss", choices=("auto", "cross-entropy", "mse"), help="(auto: by the targets)")
    parser.add_argument("--seed", help="of batches and dropout (0)")


def add_keyring(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--keyring", metavar="FILE|CID", help="from the owner: keys of rounds that you cannot open; a file is read anew"
    )
