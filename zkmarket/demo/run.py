"""The demo: a cast, a stage, a tally and a report."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import check_writable
from ..learning import ATTACKS, REFUSED
from ..page import script
from ..progress import Progress, quiet
from ..rules import MIN_ACCEPTED, Filter, check_score
from .cast import ETHER, Cast
from .stage import Stage
from .tally import Tally


def default_attackers(attack: str, trainers: int) -> int:
    """Two, or for clones one more than Multi-Krum bears."""
    bears = Filter.default(trainers).f
    return bears + 1 if attack == "collude" else min(2, bears)


def run_demo(
    rounds: int = 3,
    trainers: int = 8,
    attackers: int | None = None,
    attack: str = "sign-flip",
    reward: int = ETHER,
    split: str = "iid",
    seed: int = 0,
    filter: str | None = None,
    score: str = "shapley",
    chain: str | None = None,
    store: str = "folder",
    store_token: str | None = None,
    folder: Path | None = None,
    report: Path | None = None,
    progress: Progress = quiet,
    hold: Callable[[dict[str, Any], str], None] | None = None,
) -> tuple[dict[str, Any], str]:
    """Run the whole market. Returns the object for --json and the closing screen; writes report.html.

    Args:
        attackers: default two, for `collude` one more than Multi-Krum bears.
        filter: as `zkmarket build` takes it; default `Filter.default`.
        chain: RPC address of a development node to use; default an anvil of its own.
        store: "folder", "ipfs" (a real node of its own), or the address of a store.
        store_token: what the store wants as a bearer token.
        folder: keeps all files of all roles; default a temporary one.
        report: where the page goes; default report.html in `folder`, or in the current folder.
        hold: is called with what is returned while chain, store and files are still there; with `commands` in the
            object, command lines that check the market from the outside.
    """
    rule = Filter.parse(filter) if filter else Filter.default(trainers)
    rule.check(trainers)
    check_score(score)
    if attack not in ATTACKS:
        raise InputError(f"unknown attack {attack!r}: wanted one of {', '.join(ATTACKS)}")
    attackers = default_attackers(attack, trainers) if attackers is None else attackers
    if not 0 <= attackers <= trainers:
        raise InputError(f"a demo of {trainers} trainers has from 0 to {trainers} attackers: got {attackers}")
    if attack in REFUSED and trainers - attackers < MIN_ACCEPTED:
        raise InputError(f"{attack} gets no receipt: at least {MIN_ACCEPTED} honest trainers are wanted")
    if not 1 <= rounds <= 100:
        raise InputError(f"a demo has from 1 to 100 rounds: got {rounds}")
    if folder is not None and folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty: a demo wants a new folder, salts are never used twice")
    page = report or (folder or Path()) / "report.html"
    check_writable(page, "the report")
    from .report import check_libraries, summary, write_report

    check_libraries()
    script()  # refused now if it is not built, not after the run
    with contextlib.ExitStack() as stack:
        place = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="zkmarket-demo-")))
        cast = Cast(trainers, attackers, attack, rounds, reward, split, seed, rule if filter else None, score)
        stage = Stage(cast, place.resolve(), chain, store, store_token, progress)
        project, outputs = stage.play(stack)
        tally = Tally(stage, project, outputs)
        result, replay = tally.result(), tally.replay()
        if hold is not None:
            result["commands"] = stage.checks(row["round"] for row in result["rounds"])
        write_report(result, page, replay)
        answer = result | {"report": str(page)}, f"{summary(result)}\nreport in {page}"
        if hold is not None:
            hold(*answer)
    return answer


__all__ = ["ATTACKS", "run_demo"]
