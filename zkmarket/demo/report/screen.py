"""The report as tables for a terminal."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from .words import (
    FATES,
    MONEY,
    SERIES,
    SHOWN_ROUNDS,
    amount,
    checked,
    count,
    headline,
    known,
    percent,
    played,
    refusals,
    shortened,
    trainer_cells,
    verdict,
    warnings,
)

COLUMNS = 100
"""Of the terminal screen."""
WORDED_ROUNDS = 4
"""With more rounds than this a trainer's fates are letters on the terminal."""
SHOWN_NOTES = 6


def summary(result: Mapping[str, Any]) -> str:
    """One terminal screen of at most 100 columns, without colour: about 50 lines for 8 trainers and 3 rounds."""
    result = checked(result)
    console = Console(
        width=COLUMNS, file=io.StringIO(), record=True, markup=False, emoji=False, highlight=False, color_system=None
    )
    console.print(" ".join([*verdict(result), played(result)]).rstrip(), end="\n\n")
    console.print(_trainer_table(result))
    if len(result["rounds"]) > WORDED_ROUNDS:
        console.print("rounds: " + ", ".join(f"{_letter(fate)} {fate}" for fate in FATES) + "; · not there")
    console.print()
    console.print(_accuracy_table(result))
    console.print()
    steps = Table.grid(padding=(0, 3))
    tables = [_pairs("gas", {step: f"{gas:,}" for step, gas in result["gas"].items()})]
    tables.append(_pairs("seconds", {step: f"{seconds:,.1f}" for step, seconds in result["seconds"].items()}))
    tables.append(_pairs("money", {MONEY.get(key, key): amount(wei) for key, wei in result["money"].items()}))
    steps.add_row(*(table for table in tables if table.row_count))
    console.print(steps)
    console.print()
    for sentence in result["undefeated"]:
        console.print(f"NOT DEFEATED: {sentence}")
    notes = warnings(result) + refusals(result)
    for note in notes[:SHOWN_NOTES]:
        console.print(f"! {note}")
    if len(notes) > SHOWN_NOTES:
        console.print(f"! and {len(notes) - SHOWN_NOTES} more, in the report")
    return "\n".join(line.rstrip() for line in console.export_text().rstrip().splitlines())


# ---------------------------------------------------------------- the terminal's tables


def _table(columns: Sequence[str], left: int) -> Table:
    """A table without side borders, its first `left` columns ranged left and the others right."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), show_edge=False)
    for i, name in enumerate(columns):
        table.add_column(name, justify="left" if i < left else "right", overflow="fold")
    return table


def _trainer_table(result: Mapping[str, Any]) -> Table:
    numbers = headline(result)
    worded = len(numbers) <= WORDED_ROUNDS
    fates = [f"round {number}" for number in numbers] if worded else ["rounds"]
    table = _table(["trainer", "is", *fates, "score", "paid"], left=2 + len(fates))
    for trainer in result["trainers"]:
        cells = trainer_cells(trainer, result)
        words = [cell.fate if cell else "·" for cell in cells]
        table.add_row(
            shortened(trainer["name"]),
            "honest" if trainer["honest"] else "ATTACKER",
            *(words if worded else ["".join(map(_letter, words))]),
            count(sum(row["score"] for row in trainer["rounds"])),
            amount(trainer["paid_wei"]),
        )
    return table


def _accuracy_table(result: Mapping[str, Any]) -> Table:
    rows = _spread(result["rounds"])
    table = _table(["test accuracy", "start", *(f"round {row['round']}" for row in rows)], left=1)
    for key, label in SERIES.items():
        if key == "accuracy" or known(result, key):
            table.add_row(label, percent(result["accuracy_at_start"]), *(percent(row.get(key)) for row in rows))
    return table


def _pairs(title: str, rows: Mapping[str, str]) -> Table:
    table = _table([title, ""], left=1)
    for name, text in rows.items():
        table.add_row(shortened(name), text)
    return table


def _spread(rows: Sequence[Any]) -> list[Any]:
    """At most SHOWN_ROUNDS of them, evenly spread, the first and the last among them."""
    if len(rows) <= SHOWN_ROUNDS:
        return list(rows)
    return [rows[i * (len(rows) - 1) // (SHOWN_ROUNDS - 1)] for i in range(SHOWN_ROUNDS)]


def _letter(word: str) -> str:
    return {"accepted": "A", "rejected": "r", "refused": "n", "missing": "-"}.get(word, "·")
