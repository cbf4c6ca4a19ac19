"""What a report says, in words and numbers."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ...backend import WARNING
from ...errors import InputError

SHOWN_ROUNDS = 6
NAME = 24
ETHER_DIGITS = 18
ETHER = 10**ETHER_DIGITS
FATES = {"accepted": "✓", "rejected": "✗", "refused": "⊘", "missing": "–"}
"""Accepted or rejected by the proven filter; refused: not admitted before it; missing: nothing was submitted."""
SERIES = {
    "accuracy": "this market, filtered",
    "accuracy_unfiltered": "plain average, unfiltered",
    "accuracy_centralised": "centralised training",
}
TOTAL = "total"
"""Of the seconds by step: their sum, and no step."""
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


def checked(result: Mapping[str, Any]) -> dict[str, Any]:
    """The result with its optional parts present and its strings fit to be shown."""
    missing = REQUIRED - result.keys()
    if missing:
        raise InputError(f"the demo's result has no {', '.join(sorted(missing))}: nothing to report from")
    cleaned: dict[str, Any] = _clean(OPTIONAL | dict(result))
    return cleaned


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return "".join("\ufffd" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") else c for c in value)
    if isinstance(value, Mapping):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, list | tuple) else value


def _updates(result: Mapping[str, Any], honest: bool) -> list[str]:
    """The fates of all updates that were sent by the honest, or by the attackers."""
    rows = (row for trainer in result["trainers"] if trainer["honest"] == honest for row in trainer["rounds"])
    return [end for end in map(fate, rows) if end != "missing"]


def _pay(result: Mapping[str, Any], honest: bool) -> list[int]:
    return [trainer["paid_wei"] for trainer in result["trainers"] if trainer["honest"] == honest]


def attackers_pay(result: Mapping[str, Any]) -> int:
    return sum(_pay(result, honest=False))


def verdict(result: Mapping[str, Any]) -> list[str]:
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
    lost = [end for end in _updates(result, honest=True) if end != "accepted"]
    if lost:
        out.append(f"{_many(len(lost), 'update')} of honest trainers {'was' if len(lost) == 1 else 'were'} kept out.")
    last = rounds[-1]
    sentence = f"Test accuracy went from {percent(result['accuracy_at_start'])} to {percent(last.get('accuracy'))}"
    if known(result, "accuracy_unfiltered"):
        sentence += f"; a plain average of the same updates ended at {percent(last.get('accuracy_unfiltered'))}"
    if known(result, "accuracy_centralised"):
        sentence += f"; centralised training at {percent(last.get('accuracy_centralised'))}"
    return [*out, sentence + "."]


def _verdict_on_attackers(result: Mapping[str, Any]) -> str:
    sent = _updates(result, honest=False)
    accepted, pay, total = (
        sent.count("accepted"),
        attackers_pay(result),
        sum(t["paid_wei"] for t in result["trainers"]),
    )
    if not sent and not pay:
        return "The attackers submitted nothing and were paid nothing."
    if not accepted and not pay:
        return f"The attackers sent {_many(len(sent), 'update')}: none was accepted, and they were paid nothing."
    paid = f"{amount(pay)}, {percent(pay / total)} of all pay" if pay else "nothing"
    end = " This attack was not defeated." if pay else ""
    return f"Of the attackers' {_many(len(sent), 'update')} {accepted} were accepted, and they were paid {paid}.{end}"


def warnings(result: Mapping[str, Any]) -> list[str]:
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
        short = trainer["paid_wei"] - trainer.get("pay_withdrawn_wei", trainer["paid_wei"])
        if short > 0:
            out.append(f"{shortened(trainer['name'])} has not withdrawn {amount(short)} of its pay")
    return out


def refusals(result: Mapping[str, Any]) -> list[str]:
    """Why updates did not get in, each reason once."""
    reasons: dict[str, list[str]] = {}
    for trainer in result["trainers"]:
        for row in trainer["rounds"]:
            if row.get("reason"):
                reasons.setdefault(row["reason"], []).append(f"{shortened(trainer['name'])} in round {row['round']}")
    return [f"{', '.join(who[:3])}{' and others' if len(who) > 3 else ''}: {why}" for why, who in reasons.items()]


def played(result: Mapping[str, Any]) -> str:
    """When, and with which seed; nothing where neither is known."""
    when = f"on {result['date']}" if "date" in result else ""
    seed = f"with seed {result['seed']}" if "seed" in result else ""
    return " ".join(part for part in ("Played", when, seed) if part) + "." if when or seed else ""


def trainer_cells(trainer: Mapping[str, Any], result: Mapping[str, Any]) -> list[Cell | None]:
    """In the order of the result's rounds; None where the trainer was not there."""
    rows = {row["round"]: row for row in trainer["rounds"]}
    out: list[Cell | None] = []
    for number in headline(result):
        row = rows.get(number)
        if row is None:
            out.append(None)
            continue
        scores = [r["score"] for t in result["trainers"] for r in t["rounds"] if r["round"] == number]
        share = float(Decimal(row["score"]) / Decimal(sum(scores))) if sum(scores) > 0 else None
        out.append(Cell(fate(row), row["score"], share, row["pay_wei"], row.get("reason")))
    return out


def row(trainer: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    """A trainer as the page's table shows it."""
    score = sum(row["score"] for row in trainer["rounds"])
    return dict(trainer) | {"cells": trainer_cells(trainer, result), "score": score}


def pay_by_kind(result: Mapping[str, Any]) -> list[tuple[str, int, int, int]]:
    """Kind, how many, their mean pay in wei (rounded down), the most that one got."""
    kinds = (("honest", _pay(result, honest=True)), ("attacker", _pay(result, honest=False)))
    return [(kind, len(pay), sum(pay) // len(pay), max(pay)) for kind, pay in kinds if pay]


def headline(result: Mapping[str, Any]) -> list[int]:
    """The rounds that were settled, then any other that a trainer took part in, in order."""
    of_trainers = (row["round"] for trainer in result["trainers"] for row in trainer["rounds"])
    return sorted({row["round"] for row in result["rounds"]} | set(of_trainers))


def known(result: Mapping[str, Any], key: str) -> bool:
    return any(share_of(row.get(key)) is not None for row in result["rounds"])


def share_of(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


def shortened(name: str, length: int = NAME) -> str:
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
    ratio = share_of(share)
    return "–" if ratio is None else f"{ratio:.1%}"


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
