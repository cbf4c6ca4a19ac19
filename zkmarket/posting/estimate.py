"""What a project will cost in time, gas and money: `zkmarket owner plan`, before anything is sent.

Gas is what was measured and straight lines through it (see gas.py); seconds are "about", for the machine of the
benchmarks. Both are estimates. Amounts, windows and chunks are exact: they are what the contract will be told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from ..build import Columns, candidate, keys_seconds
from ..build.statements import value_bound
from ..chain import outage_warning
from ..rules import FINEST, MIN_ACCEPTED, RATE_UNIT, weight
from ..units import DAY, HOUR, amount_text, duration_text, reward_text
from ..updates import ParameterLayout
from .estimate_text import rounded
from .gas import GAS, ROOT_GAS, RoundShape, admit_gas, create_gas, fits_one, lock_gas, settle_gas

if TYPE_CHECKING:
    from .project_file import ProjectFile


# Seconds on the reference machine (2 cores): benchmarks/results/, as straight lines in 2^K rows.
SETTLEMENT_S, SETTLEMENT_S_PER_ROW = 0.39, 8.37 / 49_152  # 3.18 s at K = 14, 11.55 s at K = 16
VERIFY_S = 0.105  # besides what points take


# ---------------------------------------------------------------- the plan


def estimate_cost(
    file: ProjectFile,
    layout: ParameterLayout,
    gas_price_wei: int | None = None,
    start: datetime | None = None,
    chain: int | None = None,
) -> dict[str, Any]:
    """Everything that an owner should know before money moves, as one JSON object; amounts in wei are text.

    Args:
        layout: of the model.
        gas_price_wei: also say what the gas costs.
        start: when the project is created; also say the dates of its first round.
        chain: id of the chain that it will be on, where that is known.

    Raises InputError: something in the file that creation would refuse, with its line.
    """
    spec = file.specs(layout)[file.most]
    logrows, params = spec.logrows, layout.size
    assert logrows is not None
    columns = Columns(logrows)
    keys = _keys(file, params, logrows)
    seconds = _seconds(file, params, logrows, keys)
    shapes = {"least": file.shape(file.least, params, logrows), "most": file.shape(file.most, params, logrows)}
    gas = _gas(file, shapes)
    result = {
        "project": file.name,
        "params": params,
        "trainers": {"least": file.least, "most": file.most},
        "filters": {str(n): str(rule) for n, rule in file.filters.items()},
        "score": file.score,
        "rounds": file.rounds,
        "logrows": logrows,
        "rows": columns.rows,
        "chunk": columns.values,
        "chunks": columns.chunks(params),
        "values": _values(file),
        "keys": keys,
        "seconds": seconds,
        "gas": gas,
        "transactions": {name: 1 if fits_one(shape) else 2 for name, shape in shapes.items()},
        "cost": _cost(file, gas, gas_price_wei),
        "money": _money(file),
        "worst": _worst(file),
        "deadlines": _deadlines(file, start),
    }
    return result | {"warnings": _warnings(file, result, chain)}


def _keys(file: ProjectFile, params: int, logrows: int) -> list[dict[str, Any]]:
    """What is built: shared circuits once, a settlement for each number of trainers."""
    keys = []
    for n in file.filters:
        for name, circuit in file.circuits(params, logrows, n).items():
            if name == "settlement" or n == file.least:
                named = f"settlement of {n}" if name == "settlement" else name
                keys.append({"name": named, "logrows": circuit.how.logrows, "rows": 1 << circuit.how.logrows})
    return keys


def _values(file: ProjectFile) -> dict[str, Any]:
    scale, bound = file.scale, value_bound(file.bits)
    return {
        "value_bits": file.bits,
        "scale_bits": scale,
        "bound": bound,
        "step": 2.0**-scale,
        "largest": (bound - 1) * 2.0**-scale,
        "theta_bits": file.theta_bits,
        "rate_error": _rate_error(file),
    }


def _rate_error(file: ProjectFile) -> float:
    """What rounding the weight of a round changes a learning rate by at most, as a part of it; 0 for rates of 0."""

    def error(rate: int, n: int) -> float:
        exact = Fraction(rate << file.theta_bits, n * RATE_UNIT)
        return float(abs(weight(rate, n, file.theta_bits) - exact) / exact)

    accepted = range(MIN_ACCEPTED, file.most + 1)
    return max((error(rate, n) for rate in file.rates if rate for n in accepted), default=0.0)


def _seconds(file: ProjectFile, params: int, logrows: int, keys: list[dict[str, Any]]) -> dict[str, Any]:
    """About; on two cores, without training and without waiting."""
    rows = {key["name"]: key["rows"] for key in keys}

    def of(n: int) -> dict[str, float]:
        cost = candidate(logrows, n, params)
        settlement = SETTLEMENT_S + rows[f"settlement of {n}"] * SETTLEMENT_S_PER_ROW
        openings = n * cost.trainer_ms  # an update is committed to again before it gets a receipt
        return {
            "aggregator": round((openings + cost.aggregator_ms) / 1000 + settlement, 1),
            "verifier": round(VERIFY_S + cost.verify_ms / 1000, 2),
        }

    return {
        "keys": round(keys_seconds(key["rows"] for key in keys), 1),
        "trainer": round(candidate(logrows, file.most, params).trainer_ms / 1000, 2),
        "least": of(file.least),
        "most": of(file.most),
    }


def _gas(file: ProjectFile, shapes: Mapping[str, RoundShape]) -> dict[str, Any]:
    verifiers = {"base": GAS["deploy.base"]} | {f"settlement of {n}": GAS["deploy.settlement"] for n in file.filters}
    root = int("root" in file.references)
    return {
        "market": {"factory and project": GAS["deploy.factory+project"], "libraries": GAS["deploy.libraries"]},
        "verifiers": verifiers,
        "create": create_gas(len(file.filters), len(file.rates)),
        "accept": GAS["accept"],
        "join": GAS["join"],
        **({"offer root": GAS["submit.later"] + ROOT_GAS} if root else {}),
        "start": GAS["start"],
        "submit": GAS["submit.later"],
        "submit, in the first round": GAS["submit.first"],
        "admit all": {name: admit_gas(shape.trainers + root) for name, shape in shapes.items()},
        "lock": {name: lock_gas(shape.trainers) for name, shape in shapes.items()},
        "settle": {name: settle_gas(shape) for name, shape in shapes.items()},
        "next": GAS["next"],
        "withdraw": GAS["withdraw"],
    }


def _cost(file: ProjectFile, gas: dict[str, Any], gas_price_wei: int | None) -> dict[str, Any]:
    """Gas by who pays it, in wei too where a price is given."""
    a_round = {
        name: sum(step if isinstance(step, int) else step[name] for step in (gas[what] for what in _ROUND))
        for name in ("least", "most")
    }
    first = gas["submit, in the first round"]
    owner, root = sum(gas["verifiers"].values()) + gas["create"], gas.get("offer root", 0)
    trainer_once, aggregator_once = gas["join"] + gas["withdraw"], gas["accept"] + gas["withdraw"]
    parts = {
        "market, if the chain has none": sum(gas["market"].values()),
        "owner, once": owner,
        **({"owner, a round": root} if root else {}),
        "trainer, once": trainer_once,
        "trainer, a round": gas["submit"],
        "trainer, the first round": first,
        "aggregator, once": aggregator_once,
        "aggregator, a round of the least": a_round["least"],
        "aggregator, a round of the most": a_round["most"],
        "all together": owner
        + aggregator_once
        + file.rounds * (a_round["most"] + root)
        + file.most * (trainer_once + first + (file.rounds - 1) * gas["submit"]),
    }
    price = None if gas_price_wei is None else str(gas_price_wei)
    wei = {} if gas_price_wei is None else {name: str(used * gas_price_wei) for name, used in parts.items()}
    return {"gas_price_wei": price, "gas": parts, "wei": wei}


_ROUND = ("start", "admit all", "lock", "settle", "next")


# ---------------------------------------------------------------- money


def _money(file: ProjectFile) -> dict[str, str]:
    return {
        "token": file.token,
        "reward": str(file.reward),
        "fee": str(file.fee),
        "pool": str(file.pool),
        "bond_wei": str(file.bond_wei),
        "least_bond_wei": str(file.least_bond),
        "stake_wei": str(file.stake_wei),
        "penalty_wei": str(file.penalty_wei),
    }


def _coin(file: ProjectFile, amount: int) -> str:
    return reward_text(amount, file.native)


def _slash(file: ProjectFile) -> int:
    """What a failed admission burns of the bond."""
    return min(file.bond_wei, file.reward) if file.native else file.bond_wei // 2


def _worst(file: ProjectFile) -> list[str]:
    """The worst case of everybody, in words."""
    p = amount_text(file.penalty_wei)
    root = f"; {p} for each root update that is offered and gets no receipt" if "root" in file.references else ""
    return [
        f"owner: all of {_coin(file, file.pool)} is paid out for {file.rounds} rounds, whatever the model is then"
        f" worth; if {file.void_limit} rounds fail, the project ends and what is left of it comes back{root}",
        f"trainer: loses {p} for a submission that gets no receipt, and for a void round that it sat out (twice: it is"
        f" put out); at most its stake of {amount_text(file.stake_wei)}. An update beyond the norm bound or outside"
        " the filter earns nothing",
        f"aggregator: loses its bond of {amount_text(file.bond_wei)} to the trainers if it does not settle in time,"
        f" {p} for each submission without receipt, and {amount_text(_slash(file))} if fewer than {file.least} get one",
    ]


# ---------------------------------------------------------------- time


def _deadlines(file: ProjectFile, start: datetime | None) -> dict[str, Any]:
    windows = asdict(file.windows)
    work = windows["submit"] + windows["admit"] + windows["prove"]
    a_round = windows["start"] + work + windows["claim"]
    # each round but the last failure may be followed by a vacancy; a claim may hold every settled round
    failure = windows["start"] + work + windows["vacancy"] + windows["exit"]
    project = windows["accept"] + file.rounds * (a_round + windows["lock"]) + (file.void_limit - 1) * failure
    return {
        "windows": windows,
        "round_at_least": windows["submit"] + windows["claim"],
        "round_at_most": a_round,
        "round_claimed_at_most": a_round + windows["lock"],
        "project_at_least": file.rounds * (windows["submit"] + windows["claim"]),
        "project_at_most": project,
        "stake_bound_at_most": work,
        "dates": _dates(windows, start) if start else [],
    }


def _dates(windows: Mapping[str, int], start: datetime) -> list[dict[str, str]]:
    """The first round, if everybody waits until the last second."""
    steps = {
        "the aggregator accepts": "accept",
        "the first round starts": "start",
        "trainers have submitted": "submit",
        "updates have receipts": "admit",
        "the round is settled and paid": "prove",
        "its aggregate is accepted, the fee is paid": "claim",
    }
    out, when = [], start
    for what, window in steps.items():
        when += timedelta(seconds=windows[window])
        out.append({"what": what, "until": when.isoformat(timespec="minutes")})
    return out


# ---------------------------------------------------------------- warnings


def _warnings(file: ProjectFile, estimate: dict[str, Any], chain: int | None) -> list[str]:
    """What is allowed, but should be known; trainers read the same in `zkmarket inspect`."""
    out = []
    windows, seconds = file.windows, estimate["seconds"]
    penalty = file.penalty_wei
    if file.native and file.bond_wei < 2 * file.reward:
        out.append("the bond is less than twice the reward: taking the updates and not settling is cheap")
    if penalty * file.least < _slash(file):
        out.append(
            f"a submission that is never delivered costs its trainer {amount_text(penalty)}, and can burn"
            f" {amount_text(_slash(file))} of the bond: raise the penalty towards that / least"
        )
    if not file.native:
        out.append("the reward is a token: whoever controls it may be able to freeze, inflate or take it")
    if penalty == file.stake_wei:
        out.append("one penalty takes the whole stake")
    if file.open_admission:
        out.append("anyone may join: identities cost a stake each, and more than f colluders decide a round")
    references = file.references
    if "root" in references:
        out.append(
            "updates are compared with your root update: `owner receive --root-data` offers and serves one every round"
        )
    if "last" in references:
        out.append("updates are compared with the last aggregate: a later aggregator needs its opening to settle")
    if estimate["values"]["rate_error"] > 1 / (2 * FINEST):
        out.append(
            f"rounding changes a learning rate by up to {estimate['values']['rate_error']:.2%}: the model moves in"
            " whole steps; take more theta_bits, or higher learning_rates"
        )
    if 0 in file.rates:
        out.append("a learning rate of 0: the model does not move in that round")
    if outage := outage_warning(chain, estimate["deadlines"]["windows"]):
        out.append(outage)
    short = [name for name, length in estimate["deadlines"]["windows"].items() if length < HOUR]
    if short:
        out.append(f"phases shorter than 1h, for a development chain only: {', '.join(short)}")
    if windows.exit < DAY:
        length = duration_text(windows.exit)
        out.append(f"trainers have {length} to leave after a void round, and before a new aggregator may start")
    for name, needed in (("submit", seconds["trainer"]), ("prove", seconds["most"]["aggregator"])):
        if getattr(windows, name) < 2 * needed:
            length = duration_text(getattr(windows, name))
            out.append(f"the {name} window of {length} leaves little room: the work alone takes about {needed:g} s")
    wei = estimate["cost"]["wei"]
    if wei and file.native:
        a_round, submit = int(wei["aggregator, a round of the most"]), int(wei["trainer, a round"])
        if a_round > file.fee:
            out.append(
                f"the fee, {amount_text(file.fee)}, does not pay the aggregator's gas, {rounded(a_round)} a round"
            )
        if submit * file.most > file.reward:
            out.append(f"an equal share of the reward does not pay the gas of a submission, {rounded(submit)}")
    return out
