"""The program: its verbs by group, its help page, and how errors become exit codes.

Results go to stdout (one object with --json), progress to stderr (with --json also events, a line of JSON each).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from ..errors import ZkmarketError
from . import (
    account,
    aggregator,
    auditor,
    build,
    compile,
    demo,
    doctor,
    inspect,
    owner,
    page,
    round,
    srs,
    starter,
    store,
    trainer,
)
from .output import Answer, fail, progress_on
from .verbs import HelpPage, Verbs

GROUPS: dict[str, tuple[Any, ...]] = {
    "engine (one proven round from files, without a chain)": (build, compile, round),
    "market (projects on a chain; each role is a program with a folder of its own)": (
        owner,
        trainer,
        aggregator,
        auditor,
        inspect,
        page,
        account,
    ),
    "tools (this machine and its stores)": (starter, doctor, srs, store, demo),
}
"""The files of a group, in the order of the help page; each adds its own verbs."""

ABOUT = """\
Proves rounds of federated learning in zero knowledge, and has them verified and paid by a contract: filter, scores and
aggregate of the trainers' updates follow from what they have committed to."""

LETTERS = """\
letters in the options:
  N   trainers of a round
  D   parameters of the model
  K   rows of a circuit, 2^K (logrows): a larger K takes fewer chunks, and more time and memory for each
  m   chunks of an update, about D / 2^K; in --filter: how many updates Multi-Krum selects
  S   salts of a chunk: random numbers that hide its values"""

CODES = """\
exit codes:
  0    done
  1    the statement is false, a proof is rejected, or a project is not what it says
  2    wrong usage or input
  3    a tool, artifact or SRS is missing or does not match
  4    a transaction was reverted
  130  interrupted
  141  nobody reads the output any more"""


def main(argv: list[str] | None = None, run: Callable[..., Answer] | None = None) -> int:
    """Run a verb; `run` in its place, if given."""
    try:
        try:
            return _run(argv, run)
        finally:  # here, where it can be caught; a help page ends by SystemExit
            sys.stdout.flush()
            sys.stderr.flush()
    except BrokenPipeError:
        return _nobody_reads()


def _run(argv: list[str] | None, run: Callable[..., Answer] | None) -> int:
    arguments = make_parser().parse_args(argv)
    run = run or arguments.run
    try:
        with progress_on(arguments.quiet, events=arguments.json) as progress:
            result, text = run(arguments, progress)
    except ZkmarketError as error:
        return fail(arguments, error, error.exit_code)
    except KeyboardInterrupt:
        print("interrupted; the same command can be run again", file=sys.stderr)
        return 130
    except OSError as error:
        return fail(arguments, error, 3)
    except Exception as error:  # a bug: never the exit code of a rejected proof
        traceback.print_exc()
        return fail(arguments, error, 3)
    print(json.dumps(result, indent=1) if arguments.json else text)
    return int(result.get("exit_code", 0))


def _nobody_reads() -> int:
    """Quietly, as programs that the signal ends: who reads our output (`… | head`) has had enough of it.

    The interpreter flushes both streams once more when it ends; they go nowhere from here on.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
    return 128 + signal.SIGPIPE


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="zkmarket", description=ABOUT, formatter_class=HelpPage)
    parser.add_argument(
        "--version", action="version", version=f"zkmarket {version('zkmarket')}", help="print the version and exit"
    )
    parsers = parser.add_subparsers(
        dest="verb",
        required=True,
        metavar="VERB",
        help="one of the verbs below; `zkmarket VERB --help` says more, with an example",
    )
    sections = []
    for title, files in GROUPS.items():
        verbs = Verbs(parsers, listed=False)
        for file in files:
            file.add(verbs)
        sections.append("\n".join([f"{title}:", *(f"  {name:11} {text}" for name, text in verbs.purposes.items())]))
    parser.epilog = "\n\n".join([*sections, LETTERS, CODES, "example:\n  zkmarket demo --rounds 1 --trainers 5"])
    return parser
