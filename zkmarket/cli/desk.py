"""What the roles' verbs share: their options, and how arguments become a desk.

Options are remembered in the role's folder, so later commands need only --state.
"""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..learning import TRAINING
from ..progress import Progress
from ..round import read_address

if TYPE_CHECKING:
    from ..roles import Desk

REMEMBERED = (
    "rpc",
    "store",
    "store_token_file",
    "keystore",
    "project",
    "membership",
    "factory",
    "confirmations",
)
LEARNING = ("model", "data", "root_data", "flower", "node_config", "run_config", *TRAINING)
"""Remembered, too, once model and data have been found to fit the project."""

PASSWORD_VARIABLE = "ZKMARKET_PASSWORD"
STORE_TOKEN_VARIABLE = "ZKMARKET_STORE_TOKEN"


# ---------------------------------------------------------------- from arguments to a desk


def open_desk(arguments: argparse.Namespace, progress: Progress, account: bool = True) -> AbstractContextManager[Desk]:
    from ..roles import Settings, at_desk  # Brownie takes a second to import

    given: dict[str, Any] = {name: getattr(arguments, name, None) for name in REMEMBERED + LEARNING}
    for name in ("project", "factory"):
        if given[name]:
            given[name] = address(given[name])
    for name in ("keystore", "store_token_file"):
        if given[name]:
            given[name] = str(Path(given[name]).resolve())
    if given["store"] and not given["store"].startswith(("http://", "https://")):
        given["store"] = str(Path(given["store"]).resolve())
    settings = Settings.of(arguments.state.resolve(), LEARNING, **given)
    options = {
        name: getattr(arguments, name) for name in ("poll", "patience", "grace", "metrics") if hasattr(arguments, name)
    }
    options = {name: value for name, value in options.items() if value is not None}
    options["store_token"] = read_store_token(settings.get("store_token_file"))
    ask = (lambda path: read_password(path, arguments.password_file)) if account else None
    return at_desk(settings, ask, progress, **options)


def address(text: str) -> str:
    from ..market import address_of

    return address_of(read_address(text))


def read_password(keystore: Path, file: Path | None) -> str:
    """From a file, from $ZKMARKET_PASSWORD, or asked for; never from an argument, which other users can see.

    The variable is taken out of the environment: provers and compilers are children of ours, and need no password.
    """
    given = os.environ.pop(PASSWORD_VARIABLE, None)
    if file is not None:
        try:
            return file.read_text().rstrip("\r\n")
        except OSError as error:
            raise InputError(f"no password can be read from {file}: {error}") from error
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise InputError(f"{keystore} needs a password: give --password-file, or set {PASSWORD_VARIABLE}")
    return getpass.getpass(f"password of {keystore}: ")


def read_store_token(file: Path | str | None) -> str | None:
    """From a file, or from $ZKMARKET_STORE_TOKEN, or none; as a password, never from an argument."""
    given = os.environ.pop(STORE_TOKEN_VARIABLE, None)
    if file is None and given is None:
        return None
    from ..storage import checked_token, read_token  # its HTTP and CID libraries would slow other verbs down

    return read_token(Path(file)) if file is not None else checked_token(given or "", f"${STORE_TOKEN_VARIABLE}")


def import_keyring(arguments: argparse.Namespace, desk: Desk) -> None:
    if arguments.keyring is not None:
        desk.history.import_keyring(arguments.keyring)


# ---------------------------------------------------------------- options


def add_desk(parser: argparse.ArgumentParser, account: bool = True) -> None:
    """Options of every verb of a role; without `account` of one that sends no transactions."""
    parser.add_argument(
        "--state", type=Path, required=True, metavar="DIR", help="this role's own folder; secrets are in it"
    )
    once = "remembered in the folder"
    parser.add_argument("--rpc", metavar="URL", help=f"RPC address of the chain; {once}")
    parser.add_argument("--store", metavar="WHERE", help=f"a folder, or http(s)://… of a store or IPFS node; {once}")
    add_store_token(parser, f"; its path is {once}")
    parser.add_argument("--project", metavar="ADDRESS", help=f"address of the project's contract; {once}")
    parser.add_argument(
        "--confirmations",
        metavar="BLOCKS",
        help=f"blocks that must be on top of what is believed (2; on development chains 0); {once}",
    )
    if account:
        parser.add_argument("--keystore", metavar="FILE", help=f"keystore of the account; {once}")
        add_password(parser)


def add_password(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--password-file",
        type=Path,
        metavar="FILE",
        help=f"file with the keystore's password (default: ${PASSWORD_VARIABLE}, or it is asked for)",
    )


def add_store_token(parser: argparse.ArgumentParser, remembered: str = "") -> None:
    parser.add_argument(
        "--store-token-file",
        metavar="FILE",
        help=f"file with the token that the store wants (default: ${STORE_TOKEN_VARIABLE}, or none){remembered}",
    )


def add_loop(parser: argparse.ArgumentParser, account: bool = True) -> None:
    """Options of a program that runs until the project ends."""
    add_desk(parser, account)
    parser.add_argument(
        "--poll", type=float, metavar="SECONDS", help="time between two looks at the chain (4; development chains 0.25)"
    )
    parser.add_argument(
        "--patience", type=float, metavar="SECONDS", help="how long a chain or store may fail before it ends (3600)"
    )
    parser.add_argument(
        "--grace",
        type=float,
        metavar="SECONDS",
        help="how long others have to call a time-out first (120; development chains 20)",
    )
    parser.add_argument(
        "--metrics",
        metavar="[HOST:]PORT",
        help="serve metrics for Prometheus at /metrics, and /healthz; without HOST for this machine alone",
    )


def add_withdraw(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--withdraw", action="store_true", help="take out what is owed when the project has ended")


def add_training(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", metavar="package.module:factory[,k=v]", help="your code that makes the torch module; remembered"
    )
    add_lessons(parser)


def add_lessons(parser: argparse.ArgumentParser) -> None:
    """How to train, whatever model."""
    parser.add_argument("--epochs", metavar="COUNT", help="local epochs of a round (5)")
    parser.add_argument("--batch", metavar="COUNT", help="samples of a batch (32); a torch DataLoader decides itself")
    parser.add_argument("--optimiser", choices=("sgd", "adam"), help="local optimiser (sgd)")
    parser.add_argument("--rate", metavar="X", help="local learning rate (0.2)")
    parser.add_argument("--momentum", metavar="X", help="momentum of sgd (0.5)")
    parser.add_argument("--loss", choices=("auto", "cross-entropy", "mse"), help="loss (auto: by the targets)")
    parser.add_argument("--seed", metavar="INT", help="seed of batches and dropout (0)")
    parser.add_argument(
        "--device",
        metavar="auto|cpu|cuda[:N]|mps",
        help="where to train; auto is a GPU where torch has one, else the CPU (auto)",
    )


def add_keyring(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--keyring",
        metavar="FILE|CID",
        help="from the owner: keys of rounds that you cannot open; a file is read anew by every run",
    )
