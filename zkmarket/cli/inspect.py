"""The verb `inspect`: what somebody should know of a project before paying anything into it."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..build import Build
from ..errors import InputError
from ..progress import Progress
from ..round import read_address
from .output import Answer
from .verbs import Verbs


def add(verbs: Verbs) -> None:
    parser = verbs.add(
        "inspect",
        inspect_verb,
        "check a project's code, verifiers and terms before paying",
        "zkmarket inspect 0x5FbDB2315678afecb367f032d93F642f64180aa3 --rpc http://127.0.0.1:8545 --build BUILD",
        "It says what is wrong, and what the terms mean for your money and time. The exit code is 1 if anything is"
        " wrong. Without --build the project's verifiers are not compared with yours.",
    )
    parser.add_argument("project", metavar="ADDRESS", help="address of the project's contract")
    parser.add_argument("--rpc", required=True, metavar="URL", help="RPC address of the chain")
    parser.add_argument(
        "--build",
        type=Path,
        action="append",
        default=[],
        metavar="BUILD",
        help="your own build of the project; give one for each number of trainers that it settles",
    )
    parser.add_argument(
        "--prospectus",
        type=Path,
        metavar="FILE",
        help="as published: its model is compared with the commitment on chain",
    )
    parser.add_argument("--verbose", action="store_true", help="list what is right, too")


def inspect_verb(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from ..chain import connect  # Brownie takes a second to import
    from ..market import Prospectus, address_of, inspection

    builds: dict[int, Build] = {}
    for folder in arguments.build:
        build = Build.load(folder)
        if build.manifest.trainers in builds:
            raise InputError(f"two builds for {build.manifest.trainers} trainers: give one for each number")
        builds[build.manifest.trainers] = build
    prospectus = None
    if arguments.prospectus:
        if not arguments.prospectus.is_file():
            raise InputError(f"no prospectus at {arguments.prospectus}")
        prospectus = Prospectus.from_bytes(arguments.prospectus.read_bytes())
    address = address_of(read_address(arguments.project))
    with connect(arguments.rpc) as chain:
        report = inspection.inspect(chain, address, builds, progress, prospectus)
    lines = [f"right    {text}" for text in report.checked] if arguments.verbose else []
    lines += [f"note     {text}" for text in report.money]
    lines += [f"warning  {text}" for text in report.warnings]
    lines += [f"WRONG    {text}" for text in report.wrong]
    lines.append(
        f"{len(report.wrong)} things are wrong: stay away"
        if report.wrong
        else f"{len(report.checked)} checks, all right"
    )
    return report.to_json() | {"exit_code": 1 if report.wrong else 0}, "\n".join(lines)
