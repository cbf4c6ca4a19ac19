"""The verbs `new`, `up` and `down`: a market of one's own on this machine."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..learning import TRAINING
from ..progress import Progress
from .desk import add_lessons
from .output import Answer
from .verbs import Verbs


def add(verbs: Verbs) -> None:
    parser = verbs.add(
        "new",
        new_verb,
        "write a folder with a project of your own: model, data, keys, and a Makefile that plays it",
        "zkmarket new my-market",
        "`make up` in that folder trains, proves and pays it on a development chain of its own.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="folder to make, or one that is empty")
    parser.add_argument("--trainers", type=int, default=3, metavar="COUNT", help="trainers of a round (3)")
    parser.add_argument("--rounds", type=int, default=2, metavar="COUNT", help="rounds that are played (2)")
    parser = verbs.add(
        "up",
        up_verb,
        "play the project of the current folder: chain, store and every role, in this terminal",
        "zkmarket up --data my_data:share --test my_data:held_out --epochs 5",
        "The folder is one of `zkmarket new`, whose Makefile runs this. It ends by itself after the last round.",
    )
    parser.add_argument(
        "--data",
        default="my_data:share",
        metavar="package.module:callable[,k=v]",
        help="makes the data of each trainer from two numbers, `part` and `of` (my_data:share)",
    )
    parser.add_argument(
        "--test",
        metavar="FILE.npz|package.module:callable[,k=v]",
        help="held-out data, to say how good the model is (default: it is not said)",
    )
    add_lessons(parser)
    verbs.add("down", down_verb, "stop what `zkmarket up` runs in the current folder", "zkmarket down")


def new_verb(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from ..starter import write_starter

    files = write_starter(arguments.folder, arguments.trainers, arguments.rounds)
    lines = [
        f"{arguments.folder} has a project of {arguments.rounds} rounds with {arguments.trainers} trainers:",
        "  PROJECT.toml   rules, money and windows",
        "  my_model.py    the model: put your own here",
        "  my_data.py     each trainer's data, and rows to test with: put your own here",
        "  keys/          an account for each role, of development chains; SECRET, not for git",
        f"train, prove and pay it here: cd {arguments.folder} && make up",
    ]
    return {"folder": str(arguments.folder), "files": files}, "\n".join(lines)


def up_verb(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from ..starter import bring_up

    training = {name: value for name in TRAINING if (value := getattr(arguments, name)) is not None}
    return bring_up(Path.cwd(), arguments.data, arguments.test, training, progress)


def down_verb(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from ..starter import bring_down

    stopped = bring_down(Path.cwd())
    return {"stopped": stopped}, "stopped" if stopped else "nothing runs here"
