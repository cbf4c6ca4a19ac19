"""Options and kinds of arguments that verbs share. Those of the roles are in desk.py."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..backend import srs

MODEL = "FILE.onnx|package.module:factory[,key=value]"


def add_build(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("build", type=Path, metavar="BUILD", help="folder that `zkmarket build` has made")


def add_srs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--srs", choices=srs.KINDS, help="kind of SRS to use (default: the most trustworthy that is installed)"
    )


def amount(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 40):
        raise argparse.ArgumentTypeError(f"an amount in wei is a whole number: got {text!r}")
    return int(text)
