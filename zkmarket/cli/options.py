"""Options and kinds of arguments that verbs share. Those of the roles are in desk.py."""

from __future__ import annotations

import argparse
from decimal import Decimal, InvalidOperation
from pathlib import Path

from ..backend import srs
from ..rules import RATE_UNIT

MODEL = "FILE.onnx|package.module:factory[,key=value]"


def add_build(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("build", type=Path, metavar="BUILD", help="folder that `zkmarket build` has made")


def add_srs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--srs", choices=srs.KINDS, help="kind of SRS to use (default: the most trustworthy that is installed)"
    )


def rate(text: str) -> int:
    """A learning rate in billionths, exactly."""
    try:
        exact = Decimal(text) * RATE_UNIT
        if exact == exact.to_integral_value() and 0 <= exact < 1 << 64:
            return int(exact)
    except InvalidOperation:
        pass
    raise argparse.ArgumentTypeError(f"a learning rate is a number from 0 on, exact to a billionth: got {text!r}")


def part(text: str) -> int:
    """A part of something in billionths, exactly."""
    billionths = rate(text)
    if billionths > RATE_UNIT:
        raise argparse.ArgumentTypeError(f"a part is a number from 0 to 1: got {text!r}")
    return billionths


def amount(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 40):
        raise argparse.ArgumentTypeError(f"an amount in wei is a whole number: got {text!r}")
    return int(text)
