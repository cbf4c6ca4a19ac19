"""What a run of `zkmarket demo` came to: one terminal screen, and a page that needs nothing but itself.

Both say the same things from the same result. Nothing of the result is trusted to be harmless text: names and reasons
come from other people, so control characters are replaced here, and markup is escaped by the page's template.
"""

from __future__ import annotations

import io
import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from .errors import ArtifactError, InputError
from .files import atomic_write
from .plots import Bar, Plot, bars, lines
from .srs import WARNING

COLUMNS = 100
"""Of the terminal screen."""
WORDED_ROUNDS = 4
"""With more rounds than this a trainer's fates are letters on the terminal."""
SHOWN_ROUNDS = 6
SHOWN_NOTES = 6
NAME = 24
VERIFY = "zkmarket auditor verify ROUND --state DIR --rpc URL --store WHERE --project"
TEMPLATE = "report.html.jinja"
ETHER_DIGITS = 18
ETHER = 10**ETHER_DIGITS
FATES = {"accepted": "✓", "rejected": "✗", "refused": "⊘", "missing": "–"}
"""Accepted or rejected by the proven filter; refused: not admitted before it; missing: nothing was submitted."""
SERIES = {
    "accuracy": "this market, filtered",
    "accuracy_unfiltered": "plain average, unfiltered",
    "accuracy_centralised": "centralised training",
}
MONEY = {
    "paid_in_wei": "paid in by the owner",
    "paid_to_trainers_wei": "paid to trainers",
    "aggregator_wei": "paid to the aggregator",
    "owner_back_wei": "back to the owner",
    "burnt_wei": "burnt",
    "left_in_contract_wei": "left in the contract",
}
REQUIRED = {"data", "params", "filter", "attack", "chain_id", "insecure", "accuracy_at_start", "trainers", "rounds"}
OPTIONAL: dict[str, Any] = {
    "money": {}, "gas": {}, "seconds": {}, "addresses": {}, "cids": {}, "undefeated": [], "versions": {},
}  # fmt: skip


def summary(result: Mapping[str, Any]) -> str:
    """One terminal screen of at most 100 columns, without colour: about 50 lines for 8 trainers and 3 rounds."""
    result = _checked(result)
    console = Console(
        width=COLUMNS, file=io.StringIO(), record=True, markup=False, emoji=False, highlight=False, color_system=None
    )
    console.print(" ".join(_verdict(result)), end="\n\n")
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
    notes = _warnings(result) + _refusals(result)
    for note in notes[:SHOWN_NOTES]:
        console.print(f"! {note}")
    if len(notes) > SHOWN_NOTES:
        console.print(f"! and {len(notes) - SHOWN_NOTES} more, in the report")
    return "\n".join(line.rstrip() for line in console.export_text().rstrip().splitlines())


def write_report(result: Mapping[str, Any], path: Path) -> None:
    """The page as one file that a browser shows without any other, from a disk or from a server."""
    atomic_write(Path(path), page(result).encode())


def page(result: Mapping[str, Any]) -> str:
    """The report as HTML."""
    try:
        import jinja2
        import matplotlib  # noqa: F401 (the plots import what they use of it)
        from markupsafe import Markup
    except ImportError as error:
        raise ArtifactError("the report needs Jinja2 and matplotlib: pip install 'zkmarket[demo]'") from error
    result = _checked(result)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"amount": amount, "count": count, "percent": percent}
    return environment.get_template(TEMPLATE).render(
        result=result,
        earned=_attackers_pay(result) > 0,
        verdict=_verdict(result),
        warnings=_warnings(result),
        plots=[(plot, Markup(plot.body)) for plot in _plots(result)],
        numbers=_numbers(result),
        trainers=[_row(trainer, result) for trainer in result["trainers"]],
        pay_by_kind=_pay_by_kind(result),
        symbols=FATES,
        series={key: label for key, label in SERIES.items() if _known(result, key)},
        money={MONEY.get(key, key): wei for key, wei in result["money"].items()},
        addresses=_addresses(result),
        verify=f"{VERIFY} {result['addresses'].get('project', 'ADDRESS')}",
    )


# ---------------------------------------------------------------- what the result says


@dataclass(frozen=True)
class Cell:
    """One trainer in one round; `share` of that round's scores, None where nobody scored."""

    fate: str
    score: int
    share: float | None
    pay_wei: int
    reason: str | None


def fate(row: Mapping[str, Any]) -> str:
    if not row["submitted"]:
        return "missing"
    if not row["admitted"]:
        return "refused"
    return "accepted" if row["accepted"] else "rejected"


def _checked(result: Mapping[str, Any]) -> dict[str, Any]:
    """The result with its optional parts present and its strings fit to be shown."""
    missing = REQUIRED - result.keys()
    if missing:
        raise InputError(f"the demo's result has no {', '.join(sorted(missing))}: nothing to report from")
    return _clean(OPTIONAL | dict(result))


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return "".join("\ufffd" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") else c for c in value)
    if isinstance(value, Mapping):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, list | tuple) else value


def _updates(result: Mapping[str, Any], honest: bool) -> list[str]:
    """The fates of all updates that were sent by the honest, or by the attackers."""
    rows = (row for trainer in result["trainers"] if trainer["honest"] == honest for row in trainer["rounds"])
    return [found for found in map(fate, rows) if found != "missing"]


def _pay(result: Mapping[str, Any], honest: bool) -> list[int]:
    return [trainer["paid_wei"] for trainer in result["trainers"] if trainer["honest"] == honest]


def _attackers_pay(result: Mapping[str, Any]) -> int:
    return sum(_pay(result, honest=False))


def _verdict(result: Mapping[str, Any]) -> list[str]:
    """Sentences, each from the numbers alone."""
    rounds, trainers = result["rounds"], result["trainers"]
    attackers = sum(not trainer["honest"] for trainer in trainers)
    settled = sum(bool(row.get("transaction")) for row in rounds)
    audited = sum(bool(row["audited"]) for row in rounds)
    kind = f"{_many(attackers, 'attacker')} ({result['attack']}) among them" if attackers else "no attacker among them"
    out = [
        f"{_many(len(trainers), 'trainer')}, {kind}, trained {_many(result['params'], 'parameter')} on"
        f" {result['data']}, filter {result['filter']}, on chain {result['chain_id']}."
    ]
    if not rounds:
        return [*out, "No round was settled: there is nothing to judge."]
    out.append(
        f"Of {_many(len(rounds), 'round')}, {settled} settled on chain with a proof, {audited} verified again by the"
        " auditor."
    )
    if attackers:
        out.append(_verdict_on_attackers(result))
    lost = [found for found in _updates(result, honest=True) if found != "accepted"]
    if lost:
        out.append(f"{_many(len(lost), 'update')} of honest trainers {'was' if len(lost) == 1 else 'were'} kept out.")
    last = rounds[-1]
    sentence = f"Test accuracy went from {percent(result['accuracy_at_start'])} to {percent(last.get('accuracy'))}"
    if _known(result, "accuracy_unfiltered"):
        sentence += f"; a plain average of the same updates ended at {percent(last.get('accuracy_unfiltered'))}"
    if _known(result, "accuracy_centralised"):
        sentence += f"; centralised training at {percent(last.get('accuracy_centralised'))}"
    return [*out, sentence + "."]


def _verdict_on_attackers(result: Mapping[str, Any]) -> str:
    sent = _updates(result, honest=False)
    accepted, pay, total = (
        sent.count("accepted"),
        _attackers_pay(result),
        sum(t["paid_wei"] for t in result["trainers"]),
    )
    if not sent and not pay:
        return "The attackers submitted nothing and were paid nothing."
    if not accepted and not pay:
        return f"The attackers sent {_many(len(sent), 'update')}: none was accepted, and they were paid nothing."
    paid = f"{amount(pay)}, {percent(pay / total)} of all pay" if pay else "nothing"
    end = " This attack was not defeated." if pay else ""
    return f"Of the attackers' {_many(len(sent), 'update')} {accepted} were accepted, and they were paid {paid}.{end}"


def _warnings(result: Mapping[str, Any]) -> list[str]:
    out = [WARNING] if result["insecure"] else []
    for row in result["rounds"]:
        if not row.get("transaction"):
            out.append(f"round {row['round']} was not settled on chain")
        elif not row["audited"]:
            out.append(f"round {row['round']} was not verified by the auditor")
        if row["withheld"]:
            out.append(
                f"round {row['round']}: {_many(row['accepted'], 'update')} accepted, so no aggregate was published and"
                " the model stayed as it was"
            )
    for trainer in result["trainers"]:
        short = trainer["paid_wei"] - trainer.get("withdrawn_wei", trainer["paid_wei"])
        if short > 0:
            out.append(f"{_short(trainer['name'])} has not withdrawn {amount(short)} of its pay")
    return out


def _refusals(result: Mapping[str, Any]) -> list[str]:
    """Why updates did not get in, each reason once."""
    found: dict[str, list[str]] = {}
    for trainer in result["trainers"]:
        for row in trainer["rounds"]:
            if row.get("reason"):
                found.setdefault(row["reason"], []).append(f"{_short(trainer['name'])} in round {row['round']}")
    return [f"{', '.join(who[:3])}{' and others' if len(who) > 3 else ''}: {why}" for why, who in found.items()]


def _cells(trainer: Mapping[str, Any], result: Mapping[str, Any]) -> list[Cell | None]:
    """In the order of the result's rounds; None where the trainer was not there."""
    rows = {row["round"]: row for row in trainer["rounds"]}
    out: list[Cell | None] = []
    for number in _numbers(result):
        row = rows.get(number)
        if row is None:
            out.append(None)
            continue
        scores = [r["score"] for t in result["trainers"] for r in t["rounds"] if r["round"] == number]
        share = float(Decimal(row["score"]) / Decimal(sum(scores))) if sum(scores) > 0 else None
        out.append(Cell(fate(row), row["score"], share, row["pay_wei"], row.get("reason")))
    return out


def _row(trainer: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    """A trainer as the page's table shows it."""
    score = sum(row["score"] for row in trainer["rounds"])
    return dict(trainer) | {"cells": _cells(trainer, result), "score": score}


def _pay_by_kind(result: Mapping[str, Any]) -> list[tuple[str, int, int, int]]:
    """Kind, how many, their mean pay in wei (rounded down), the most that one got."""
    kinds = (("honest", _pay(result, honest=True)), ("attacker", _pay(result, honest=False)))
    return [(kind, len(pay), sum(pay) // len(pay), max(pay)) for kind, pay in kinds if pay]


def _numbers(result: Mapping[str, Any]) -> list[int]:
    """The rounds that were settled, then any other that a trainer took part in, in order."""
    of_trainers = (row["round"] for trainer in result["trainers"] for row in trainer["rounds"])
    return sorted({row["round"] for row in result["rounds"]} | set(of_trainers))


def _known(result: Mapping[str, Any], key: str) -> bool:
    return any(_share(row.get(key)) is not None for row in result["rounds"])


def _share(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


def _addresses(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Every address by what it is, the verifiers' last."""
    given = dict(result["addresses"])
    verifiers = given.pop("verifiers", {})
    return [*given.items(), *((f"verifier: {name}", address) for name, address in verifiers.items())]


# ---------------------------------------------------------------- plots


def _plots(result: Mapping[str, Any]) -> list[Plot]:
    """Those for which the result has something to show."""
    out = [_accuracy_plot(result)] if result["rounds"] else []
    if result["trainers"]:
        out.append(_pay_plot(result))
    for name, title, form in (("gas", "Gas by step", count), ("seconds", "Seconds by step", "{:,.1f}".format)):
        steps: Mapping[str, float] = result[name]
        if steps:
            alt = _alt(f"{title}, as bars", {step: form(value) for step, value in steps.items()})
            out.append(bars(name, title, alt, [Bar(step, float(value), form(value)) for step, value in steps.items()]))
    return out


def _accuracy_plot(result: Mapping[str, Any]) -> Plot:
    start, rounds = _share(result["accuracy_at_start"]), result["rounds"]
    series = {
        label: [start, *(_share(row.get(key)) for row in rounds)]
        for key, label in SERIES.items()
        if _known(result, key)
    }
    xs = [0, *(row["round"] for row in rounds)]
    words = {label: ", ".join(percent(y) for y in ys) for label, ys in series.items()}
    return lines(
        "accuracy", "Test accuracy by round", _alt("Test accuracy before and after each round", words), xs, series
    )


def _pay_plot(result: Mapping[str, Any]) -> Plot:
    rows = []
    for trainer in result["trainers"]:
        attacker = not trainer["honest"]
        label = f"{_short(trainer['name'], 11)} (attacker)" if attacker else trainer["name"]
        rows.append(Bar(label, float(trainer["paid_wei"]), amount(trainer["paid_wei"], 4), attacker))
    alt = _alt("Paid to each trainer, as bars; those of attackers are hatched", {row.label: row.text for row in rows})
    return bars("paid", "Paid by trainer", alt, rows, ("honest", "attacker"))


def _alt(what: str, values: Mapping[str, str]) -> str:
    return f"{what}. " + "; ".join(f"{label}: {text}" for label, text in values.items()) + "."


# ---------------------------------------------------------------- the terminal's tables


def _table(columns: Sequence[str], left: int) -> Table:
    """A table without side borders, its first `left` columns ranged left and the others right."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), show_edge=False)
    for i, name in enumerate(columns):
        table.add_column(name, justify="left" if i < left else "right", overflow="fold")
    return table


def _trainer_table(result: Mapping[str, Any]) -> Table:
    numbers = _numbers(result)
    worded = len(numbers) <= WORDED_ROUNDS
    fates = [f"round {number}" for number in numbers] if worded else ["rounds"]
    table = _table(["trainer", "is", *fates, "score", "paid"], left=2 + len(fates))
    for trainer in result["trainers"]:
        cells = _cells(trainer, result)
        words = [cell.fate if cell else "·" for cell in cells]
        table.add_row(
            _short(trainer["name"]),
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
        if key == "accuracy" or _known(result, key):
            table.add_row(label, percent(result["accuracy_at_start"]), *(percent(row.get(key)) for row in rows))
    return table


def _pairs(title: str, rows: Mapping[str, str]) -> Table:
    table = _table([title, ""], left=1)
    for name, text in rows.items():
        table.add_row(_short(name), text)
    return table


def _spread(rows: Sequence[Any]) -> list[Any]:
    """At most SHOWN_ROUNDS of them, evenly spread, the first and the last among them."""
    if len(rows) <= SHOWN_ROUNDS:
        return list(rows)
    return [rows[i * (len(rows) - 1) // (SHOWN_ROUNDS - 1)] for i in range(SHOWN_ROUNDS)]


def _letter(word: str) -> str:
    return {"accepted": "A", "rejected": "r", "refused": "n", "missing": "-"}.get(word, "·")


def _short(name: str, length: int = NAME) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"


# ---------------------------------------------------------------- numbers as text


def amount(wei: int, places: int = 6) -> str:
    """Ether, or wei where ether would round it away."""
    if abs(wei) < 10 ** (ETHER_DIGITS - places):
        return "0" if wei == 0 else f"{wei:,} wei"
    if abs(wei) >= 10**9 * ETHER:
        return f"{Decimal(wei) / ETHER:.3e} ETH"
    return f"{Decimal(wei) / ETHER:,.{places}f} ETH"


def count(value: int) -> str:
    """All digits of a number that a reader can take in; three places of a larger one."""
    return f"{value:,}" if abs(value) < 10**12 else f"{Decimal(value):.3e}"


def percent(share: float | None) -> str:
    found = _share(share)
    return "–" if found is None else f"{found:.1%}"


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
