"""Accounts: the verb `account`, and `withdraw` of every role."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import InputError
from ..progress import Progress
from ..units import amount_text
from .desk import add_desk, add_password, open_desk, read_password
from .output import Answer
from .verbs import Verbs


def add(verbs: Verbs) -> None:
    parser = verbs.add(
        "account",
        account_verb,
        "make an account of the chain: a key in an encrypted keystore file",
        "zkmarket account my.json",
        "Each role needs one, with some coin on it.",
    )
    parser.add_argument("keystore", type=Path, metavar="KEYSTORE", help="file to make")
    add_password(parser)


def add_withdraw_verb(verbs: Verbs, role: str) -> None:
    add_desk(
        verbs.add(
            "withdraw",
            withdraw_verb,
            "take out what the contract owes to this account",
            f"zkmarket {role} withdraw --state {role}",
        )
    )


def account_verb(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from ..chain import Wallet

    password = read_password(arguments.keystore, arguments.password_file)
    if not password:
        raise InputError("a keystore wants a password: it was empty")
    address = Wallet.create(arguments.keystore, password)
    return {"address": address, "keystore": str(arguments.keystore)}, f"{address}, key in {arguments.keystore}"


def withdraw_verb(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from ..roles import withdraw

    with open_desk(arguments, progress) as desk:
        wei = withdraw(desk)
        result = {"account": desk.me, "withdrawn_wei": wei}
    return result, f"{amount_text(wei)} withdrawn to {result['account']}"
