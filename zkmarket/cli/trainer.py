"""Verbs of a trainer."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..errors import InputError
from ..learning import Learn
from ..progress import Progress
from ..units import amount_text
from .account import add_withdraw_verb
from .desk import add_desk, add_keyring, add_loop, add_training, add_withdraw, import_keyring, open_desk
from .output import Answer
from .standing import trainer_text
from .verbs import Verbs

if TYPE_CHECKING:
    from ..roles import Desk


def add(verbs: Verbs) -> None:
    kinds = verbs.group(
        "trainer",
        "join a project, train on your own data and be paid",
        "zkmarket trainer run --state trainer --model zkmarket.learning:digits_mlp --data my-data.npz",
    )
    parser = kinds.add(
        "join",
        trainer_join,
        "inspect the project, then pay the stake in",
        "zkmarket trainer join --state trainer --project 0x5FbDB2315678afecb367f032d93F642f64180aa3"
        " --rpc http://127.0.0.1:8545 --store STORE --keystore my.json",
    )
    parser.add_argument(
        "--membership", metavar="HEX", help="the owner's signature, where only listed trainers may join; remembered"
    )
    add_desk(parser)
    parser = kinds.add(
        "run",
        trainer_run,
        "train and submit in every round until the project ends",
        "zkmarket trainer run --state trainer --model zkmarket.learning:digits_mlp --data my-data.npz",
        "The data stay on this machine; the aggregator alone sees the update.",
    )
    parser.add_argument(
        "--data",
        metavar="FILE.npz|package.module:callable[,k=v]",
        help="your data, x and y; they stay here; remembered",
    )
    add_training(parser)
    _add_flower(parser)
    parser.add_argument(
        "--join",
        action="store_true",
        help="also do what `trainer join` does, as soon as trainers can: pay the stake in",
    )
    parser.add_argument(
        "--membership", metavar="HEX", help="the owner's signature, where only listed trainers may join; remembered"
    )
    add_keyring(parser)
    add_withdraw(parser)
    add_loop(parser)
    parser = kinds.add(
        "status",
        trainer_status,
        "say what your rounds, scores, pay and stake are",
        "zkmarket trainer status --state trainer",
    )
    add_desk(parser)
    parser = kinds.add(
        "leave", trainer_leave, "stop being a trainer, which frees the stake", "zkmarket trainer leave --state trainer"
    )
    add_desk(parser)
    add_withdraw_verb(kinds, "trainer")


def _add_flower(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--flower",
        metavar="package.module:app",
        help="train with this Flower ClientApp, its mods and its data, in the place of --data and local options;"
        " remembered",
    )
    parser.add_argument(
        "--node-config", metavar="PAIRS", help="of the ClientApp, as `flower-supernode` takes it; remembered"
    )
    parser.add_argument(
        "--run-config",
        metavar="PAIRS",
        help="of the ClientApp, as `flwr run` takes it, over what ./pyproject.toml says; remembered",
    )


def trainer_join(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from ..roles import trainer

    with open_desk(arguments, progress) as desk:
        done = trainer.join(desk)
        result = {"project": desk.project.address, "trainer": desk.me, "joined": done is not None}
        if done:
            result |= {"gas": done.gas, "transaction": done.transaction}
    return result, f"{result['trainer']} is a trainer of {result['project']}"


def trainer_run(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from ..roles import learner, trainer

    with open_desk(arguments, progress) as desk:
        learn = _flower(arguments, desk) if desk.settings.get("flower") else learner(desk)
        import_keyring(arguments, desk)
        result = trainer.Trainer(desk, learn, arguments.join, arguments.withdraw).run()
    return result, trainer_text(result)


def _flower(arguments: argparse.Namespace, desk: Desk) -> Learn:
    """The ClientApp that the settings name. What does not fit ends the program, before any money moves."""
    from ..flower import LOCAL, flower_learner

    given = [f"--{name}" for name in LOCAL if getattr(arguments, name, None) is not None]
    if given:
        raise InputError(
            f"a Flower ClientApp has its own data and its own way of training: got --flower {desk.settings['flower']}"
            f" and {', '.join(given)}; set the app's with --node-config and --run-config"
        )
    learn = flower_learner(desk.settings["project"], desk.me, desk.settings.value, desk.progress)

    def fits() -> None:
        learn.fit(desk.prospectus.layout)
        desk.settings.accept()

    desk.checks.append(fits)
    return learn


def trainer_status(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from ..roles import trainer

    with open_desk(arguments, progress) as desk:
        result = trainer.status(desk)
    return result, trainer_text(result)


def trainer_leave(arguments: argparse.Namespace, progress: Progress) -> Answer:
    with open_desk(arguments, progress) as desk:
        done = desk.project.leave(desk.wallet)
        result = {"trainer": desk.me, "refund_wei": done.event("Left").arguments["refundWei"]}
    return result, f"{result['trainer']} has left; {amount_text(result['refund_wei'])} can be withdrawn"
