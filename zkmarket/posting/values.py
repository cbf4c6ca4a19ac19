"""Values of a project file: amounts, durations, bounds, filters; the rules between them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from eth_utils.address import is_checksum_address, to_checksum_address

from ..chain import NOBODY
from ..market import Windows
from ..rules import (
    MAX_DENOMINATOR,
    MAX_NUMERATOR,
    MIN_ACCEPTED,
    RATE_UNIT,
    Filter,
    most_attackers,
    reference_slots,
    sample_size,
    theta_bits_for,
)
from ..units import DAY, amount_text, duration_text, parse_amount, parse_duration
from .complaints import Complaints, Place, check_schema, description, label, parsed, shown
from .project_file import KAPPA_UNIT, ProjectFile, least_penalty

# ---------------------------------------------------------------- syntax and schema


def load_project_file(path: Path) -> ProjectFile:
    """Read and check a file; InputError names each line, what is wrong and what is wanted."""
    path = Path(path)
    value, lines = parsed(path)
    complaints = Complaints(str(path), lines)
    check_schema(value, complaints)
    read = _Reader(value, complaints)
    project = _read(read, path, lines)
    complaints.stop()
    _check_rules(project, complaints)
    complaints.stop()
    return project


# ---------------------------------------------------------------- values


@dataclass
class _Reader:
    """Values of a file that may be wrong in places: what was complained of already reads as its default."""

    value: Mapping[str, Any]
    complaints: Complaints

    def get(self, section: str, key: str, default: Any = None) -> Any:
        table = self.value.get(section)
        if not isinstance(table, Mapping) or (section, key) in self.complaints.places:
            return default
        return table.get(key, default)

    def read(self, section: str, key: str, convert: Callable[[Any], Any], default: Any = None) -> Any:
        """Converted; a ValueError of `convert` says what is wanted."""
        raw = self.get(section, key)
        if raw is None:
            return default
        try:
            return convert(raw)
        except ValueError as error:
            self.complaints.at((section, key), f"{label((section, key))} is {error}: got {shown(raw)}")
            return default


def _read(read: _Reader, path: Path, lines: Mapping[Place, int]) -> ProjectFile:
    """Every value in the contract's units, complaining of those that are none; defaults are made here."""
    token = read.read("money", "token", _address, NOBODY)
    native = read.get("money", "token") is None
    coin = _native if native else _units
    reward = read.read("money", "reward", coin, 1)
    fee = read.read("money", "fee", coin, reward // 10)
    for key in () if native else ("stake", "bond"):
        if read.value["money"].get(key) is None:
            read.complaints.at(
                ("money", key),
                f"[money] needs a key {key}: with a token there is no default; {description(('money', key))}",
                ("money", "token"),
            )
    stake = read.read("money", "stake", parse_amount, max(1, reward))
    least, most = read.get("rules", "least", MIN_ACCEPTED), read.get("rules", "most", 64)
    share = least_penalty(native, reward, least) if native else max(1, stake // 10)
    penalty = read.read("money", "penalty", parse_amount, share)
    if least > most:
        read.complaints.at(("rules", "most"), f"[rules] most is at least least, {least}: got {most}")
    filters, score = _filters(read, least, most), read.get("rules", "score", "shapley")
    roots = "root" in reference_slots(filters[max(filters)], score)
    bond = 2 * reward + fee + (max(0, most - least) + roots) * penalty
    billionths = functools.partial(_whole, unit=RATE_UNIT, names="billionths", most=(1 << 64) - 1)
    rates = read.read("project", "learning_rates", lambda given: tuple(map(billionths, given)), (RATE_UNIT,))
    chosen = theta_bits_for(rates, max(least, most))
    return ProjectFile(
        path=path,
        name=read.get("project", "name", ""),
        rounds=read.get("project", "rounds", 1),
        aggregator=read.read("project", "aggregator", _address, NOBODY),
        open_admission=read.get("project", "admission") == "open",
        void_limit=read.get("project", "void_limit", 3),
        rates=rates,
        model=read.get("model", "factory", ""),
        advice={key: float(v) if isinstance(v, Decimal) else v for key, v in read.value.get("training", {}).items()}
        if isinstance(read.value.get("training", {}), Mapping)
        else {},
        filters=filters,
        score=score,
        kappa=read.read(
            "rules",
            "kappa",
            functools.partial(_whole, unit=KAPPA_UNIT, names="thousandths", most=(1 << 32) - 1, least=1),
            4 * KAPPA_UNIT,
        ),
        beta=read.read("rules", "beta", _bound),
        beta_min=read.read("rules", "beta_min", _bound),
        beta_max=read.read("rules", "beta_max", _bound),
        logrows=read.read("keys", "logrows", lambda value: None if value == "auto" else value),
        optimize=read.get("keys", "optimize", "time"),
        value_bits=read.get("keys", "value_bits"),
        scale_bits=read.get("keys", "scale_bits"),
        theta_bits=read.read("keys", "theta_bits", lambda bits: chosen if bits == "auto" else int(bits), chosen),
        srs=read.read("keys", "srs", lambda kind: None if kind == "any" else kind),
        token=token,
        reward=reward,
        fee=fee,
        stake_wei=stake,
        penalty_wei=penalty,
        bond_wei=read.read("money", "bond", parse_amount, bond),
        windows=Windows(
            **{item.name: read.read("windows", item.name, parse_duration, item.default) for item in fields(Windows)}
        ),
        lines=lines,
    )


def _address(text: str) -> str:
    digits = text[2:]
    if not int(digits, 16):
        raise ValueError("an address of somebody, not zero")
    if digits not in (digits.lower(), digits.upper()) and not is_checksum_address(text):
        raise ValueError("an address whose capitals are its checksum, which is wrong: compare every digit")
    return to_checksum_address(text.lower())


def _native(value: int | str) -> int:
    return parse_amount(str(value))


def _units(value: int | str) -> int:
    """Of a token."""
    if isinstance(value, str) and not value.isdecimal():
        raise ValueError("a whole number of the token's smallest unit")
    return int(value)


def _bound(value: int | str) -> int | None:
    if value == "max":
        return None
    if int(value) > 1 << 120:
        raise ValueError("at most 2^120")
    return int(value)


def _whole(value: int | Decimal, unit: int, names: str, most: int, least: int = 0) -> int:
    """A number in whole parts of 1, which are what the contract keeps."""
    exact = Decimal(value)
    if not exact.is_finite() or exact.adjusted() < -40:
        raise ValueError(f"a number in whole {names}")
    if exact.adjusted() <= 40:
        whole = Fraction(exact) * unit
        if whole.denominator != 1:
            raise ValueError(f"a number in whole {names}")
        if least <= whole <= most:
            return int(whole)
    raise ValueError(f"from {Decimal(least) / unit} to {most // unit}")


def _filters(read: _Reader, least: int, most: int) -> dict[int, Filter]:
    """The filter for each number of trainers; f and m within what the factory takes."""
    given = {key: read.get("rules", key, "default") for key in ("f", "m")}
    krum = read.get("rules", "krum", True)
    tau = read.read("rules", "cosine", _ratio)
    own = read.get("rules", "three_sigma", "default") != "default"
    sigma = read.read("rules", "three_sigma", _ratio) if own else None
    for key, value in given.items():
        if not krum and value != "default":
            read.complaints.at(("rules", key), f"[rules] {key} is of Multi-Krum, and krum is false: leave it out")
        if isinstance(value, Mapping):
            wanted, got = set(range(least, most + 1)), set(map(int, value))
            if wanted != got:
                lists = [f"without {sorted(wanted - got)}"] * bool(wanted - got)
                lists += [f"with {sorted(got - wanted)}"] * bool(got - wanted)
                read.complaints.at(
                    ("rules", key),
                    f"[rules] {key} has one entry for each number of trainers from {least} to {most}: got a table"
                    f" {' and '.join(lists)}",
                )
    if not krum and sigma is not None:
        message = "[rules] three_sigma measures from Multi-Krum's selection, and krum is false: leave one out"
        read.complaints.at(("rules", "three_sigma"), message)
    if read.complaints.places & {("rules", key) for key in ("f", "m", "least", "most", "three_sigma", "cosine")}:
        return {n: Filter.default(n) for n in range(least, max(least, most) + 1)}

    def of(key: str, n: int, default: int) -> int:
        value = given[key]
        return default if value == "default" else value[str(n)] if isinstance(value, Mapping) else value

    def filter_of(n: int) -> Filter:
        f, deviations = of("f", n, most_attackers(n)), sigma if own else Filter.default(n).sigma
        return Filter(f, of("m", n, n - f if deviations is None else sample_size(n)), deviations, tau)

    return {n: filter_of(n) if krum else Filter(tau=tau) for n in range(least, most + 1)}


def _ratio(value: int | Decimal | str) -> Fraction | None:
    """Exact, within what the circuits hold; None for "off"."""
    if value == "off":
        return None
    try:
        exact = Fraction(value)
    except (ValueError, ZeroDivisionError, OverflowError):
        raise ValueError('"off", a number such as 0.1, or a fraction as text such as "1/3"') from None
    if not 0 <= exact.numerator <= MAX_NUMERATOR or exact.denominator > MAX_DENOMINATOR:
        raise ValueError(f"from 0 on, a fraction of at most {MAX_NUMERATOR} by at most {MAX_DENOMINATOR}")
    return exact


def _check_rules(project: ProjectFile, complaints: Complaints) -> None:
    """What Limits.sol demands of terms, of whatever model and chain."""

    def within(key: str, have: int, least: int, most: int, lower: str = "", upper: str = "") -> None:
        if not least <= have <= most:
            show = amount_text if project.native or key not in ("reward", "fee") else str
            wanted = f"at least {show(least)}{lower}" if have < least else f"at most {show(most)}{upper}"
            complaints.at(("money", key), f"[money] {key} is {wanted}: got {show(have)}", ("money", "reward"))

    own = "reward + fee" if project.native else "one penalty"
    within("reward", project.reward, 1, (1 << 128) - 1)
    within("fee", project.fee, 0, (1 << 128) - 1)
    if project.pool >= 1 << 128:
        message = f"the pool, rounds · (reward + fee), is below 2^128: got {project.pool}"
        complaints.at(("money", "reward"), message)
    share = f", reward / {project.least}, the least number of trainers" if project.native else ""
    within("stake", project.stake_wei, project.least_penalty, (1 << 96) - 1, lower=f"{share}: a penalty is no less")
    if project.stake_wei >= project.least_penalty:
        within("penalty", project.penalty_wei, project.least_penalty, project.stake_wei, share, ", the stake")
    others = " and for the root update" if "root" in project.references else ""
    refusals = f", {own} and a penalty for each trainer between least and most{others}"
    within("bond", project.bond_wei, project.least_bond, (1 << 96) - 1, lower=refusals)
    if len(project.rates) > project.rounds:
        complaints.at(
            ("project", "learning_rates"),
            f"[project] learning_rates has at most one rate a round, {project.rounds}: got {len(project.rates)}",
        )
    _check_filters(project, complaints)
    _check_order(project, complaints)
    for item in fields(Windows):
        seconds = getattr(project.windows, item.name)
        if not 1 <= seconds <= 366 * DAY:
            message = f'[windows] {item.name} is from 1s to 366d: got "{duration_text(seconds)}"'
            complaints.at(("windows", item.name), message)


def _check_filters(project: ProjectFile, complaints: Complaints) -> None:
    """The filter's own bounds, for the first number of trainers that does not keep to them."""
    for n, rule in project.filters.items():
        f, m = most_attackers(n), n - rule.f
        if rule.f > f:
            message = f"[rules] f is at most {f} for {n} trainers, Multi-Krum needs N > 2f + 2: got {rule.f}"
            complaints.at(("rules", "f"), message)
            break
        if rule.m and not MIN_ACCEPTED <= rule.m <= m:
            message = f"[rules] m is from {MIN_ACCEPTED} to N − f, {m}, for {n} trainers: got {rule.m}"
            complaints.at(("rules", "m"), message)
            break
        if rule.sigma == 0:
            complaints.at(("rules", "three_sigma"), "[rules] three_sigma is above 0: got 0")
            break
        if rule.tau is not None and rule.tau > 1:
            complaints.at(("rules", "cosine"), f"[rules] cosine is from 0 to 1: got {rule.tau}")
            break


def _check_order(project: ProjectFile, complaints: Complaints) -> None:
    """beta_min <= beta <= beta_max, where they are numbers."""
    bounds = [(name, getattr(project, name)) for name in ("beta_min", "beta", "beta_max")]
    given: Sequence[tuple[str, int]] = [(name, bound) for name, bound in bounds if bound is not None]
    for (low, least), (high, most) in zip(given, given[1:], strict=False):
        if least > most:
            complaints.at(("rules", low), f"[rules] {low} is at most {high}, {most}: got {least}")
