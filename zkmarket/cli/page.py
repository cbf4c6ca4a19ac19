"""The verb `page`: a market live in a browser, and run again there."""

from __future__ import annotations

import argparse
import threading

from ..errors import InputError
from ..progress import Progress
from ..round import read_address
from .output import Answer
from .verbs import Verbs


def add(verbs: Verbs) -> None:
    parser = verbs.add(
        "page",
        page_verb,
        "serve a page that shows a project live, and runs all of it again in the reader's browser",
        "zkmarket page --project 0x5FbDB2315678afecb367f032d93F642f64180aa3 --rpc http://127.0.0.1:8545",
        "It reads the chain, and has no key of anybody. Ctrl-C ends it.",
    )
    parser.add_argument("--project", required=True, metavar="ADDRESS", help="address of the project's contract")
    parser.add_argument("--rpc", required=True, metavar="URL", help="RPC address of the chain")
    parser.add_argument(
        "--port",
        default="8080",
        metavar="[HOST:]PORT",
        help="where to serve it (8080); without HOST for this machine alone, 0: a free port",
    )


def page_verb(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from ..chain import connect  # Brownie takes a second to import
    from ..live import LivePage
    from ..market import Project, address_of, inspect_origin
    from ..serving import read_place, serving

    host, port = read_place("--port", arguments.port)
    address = address_of(read_address(arguments.project))
    with connect(arguments.rpc) as chain:
        wrong = inspect_origin(chain, address).wrong
        if wrong:
            raise InputError(f"{address} is no project of this version: {'; '.join(wrong)}")
        page = LivePage(Project(chain, address))
        with serving(page.app, host, port) as chosen:
            progress(f"the market is at http://{host}:{chosen}/ until Ctrl-C")
            threading.Event().wait()
    return {}, ""
