"""The recorded market in artifacts/market: one round of three trainers, and the page that runs it again.

.venv/bin/python artifacts/make_market.py                  plays it anew: result, recording and what the page knows
.venv/bin/python artifacts/make_market.py --page FILE      writes the page of what is there
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from zkmarket.chain import anvil_node
from zkmarket.demo import run_demo
from zkmarket.demo.report import write_report
from zkmarket.documents import write_json
from zkmarket.page import Replay

FOLDER = Path(__file__).parent / "market"


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / name).read_text())
    return found


def play() -> None:
    """A demo on a chain that outlives it, so that it can be recorded."""
    from zkmarket.chain import connect
    from zkmarket.market import Project, Prospectus, known_code, make_builds, record

    with tempfile.TemporaryDirectory(prefix="zkmarket-market-") as name, anvil_node() as rpc:
        place = Path(name) / "demo"
        result, _ = run_demo(rounds=1, trainers=3, attackers=0, chain=rpc, folder=place, progress=print)
        builds = make_builds(Prospectus.from_bytes((place / "owner/prospectus").read_bytes()), place / "owner/builds")
        with connect(rpc) as chain:
            recording = record(Project(chain, result["addresses"]["project"]))
        known = known_code(builds)  # compiles from the keys, which go with the folder
    FOLDER.mkdir(exist_ok=True)
    write_json(FOLDER / "result.json", result)
    for file, value in (("recording", recording), ("known", known)):  # a machine's, without a space
        (FOLDER / f"{file}.json").write_text(json.dumps(value, separators=(",", ":")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    if arguments.page is None:
        play()
    else:
        write_report(read("result.json"), arguments.page, Replay(read("recording.json"), read("known.json")))


if __name__ == "__main__":
    main()
