"""PROJECT.toml: what an owner decides, checked before any money moves.

Reading goes in steps, and each reports all that it finds, one line of the file a complaint: the syntax (tomllib); the
schema; the values (amounts, durations, addresses), which are exact, never floats; the rules among them, which are
those by which Factory.sol refuses terms. What depends on the model or the chain is checked once they are known:
`specs` and `offer`. PROJECT.example.toml explains every key.
"""

from __future__ import annotations

import difflib
import functools
import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import jsonschema
from eth_utils import is_checksum_address, to_checksum_address

from .artifacts import Manifest
from .build import MAX_PARAMS, Spec, choose_logrows
from .columns import ROWS
from .contribution import references
from .errors import InputError
from .escrow import NOBODY, RATE_UNIT, Offer, Windows
from .gas import RoundShape, too_heavy
from .quantise import FixedPoint, ParameterLayout
from .rules import (
    MAX_DENOMINATOR,
    MAX_NUMERATOR,
    MIN_ACCEPTED,
    Filter,
    largest_beta,
    most_attackers,
    norm_bound,
    sample_size,
)
from .statements import VALUE_BITS, Circuit, project_circuits, settlement_logrows, value_bound
from .units import DAY, HOUR, amount_text, duration_text, parse_amount, parse_duration

EXAMPLE = Path(__file__).with_name("PROJECT.example.toml")
FILE_LIMIT = 1 << 18
"""Largest file that is read, in bytes."""

KAPPA_UNIT = 1000

Place = tuple[str, ...]


# ---------------------------------------------------------------- lines and complaints

# What may hold a bracket or a line's end that means nothing, and what means something.
_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|\#[^\n]*"
    r"|(?P<open>[\[{])|(?P<close>[\]}])|(?P<end>\n)",
    re.DOTALL,
)
_PART = r"""(?:"(?:\\.|[^"\\\n])*"|'[^'\n]*'|[A-Za-z0-9_-]+)"""
_KEY = rf"{_PART}(?:[ \t]*\.[ \t]*{_PART})*"
_STATEMENT = re.compile(rf"\s*(?:\[\[?[ \t]*(?P<header>{_KEY})[ \t]*\]|(?P<key>{_KEY})[ \t]*=)")


def lines_of(text: str) -> dict[Place, int]:
    """The line of every section and key of a valid TOML text, which tomllib does not tell."""
    lines: dict[Place, int] = {}
    section: Place = ()
    for line, statement in _statements(text):
        found = _STATEMENT.match(statement)
        if not found:
            continue
        if found["header"]:
            section = _parts(found["header"])
        place = section if found["header"] else section + _parts(found["key"])
        for length in range(1, len(place) + 1):  # the first line of a section that is never opened by itself
            lines.setdefault(place[:length], line)
    return lines


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Line and text of each statement: up to a line's end outside strings, comments and brackets."""
    start = depth = 0
    for token in _TOKEN.finditer(text + "\n"):
        depth += bool(token["open"]) - bool(token["close"])
        if token["end"] and not depth:
            statement = text[start : token.start()]
            blank = len(statement) - len(statement.lstrip())
            yield text.count("\n", 0, start + blank) + 1, statement
            start = token.end()


def _parts(key: str) -> Place:
    return tuple(tomllib.loads(f"key = {part}")["key"] if part[0] in "\"'" else part for part in re.findall(_PART, key))


@dataclass
class Complaints:
    """What is wrong with a file, by line, until it is raised as one InputError."""

    name: str
    lines: Mapping[Place, int]
    found: list[tuple[int, str]] = field(default_factory=list)
    places: set[Place] = field(default_factory=set)

    def at(self, place: Place, message: str, *others: Place) -> None:
        """Complain of the value at `place`, or if it is not in the file, of the first of `others` that is."""
        known = [where for where in (place, *others) if where in self.lines]
        where = known[0] if known else place
        while where and where not in self.lines:
            where = where[:-1]
        self.places.add(place)
        entry = (self.lines.get(where, 1), message)
        if entry not in self.found:
            self.found.append(entry)

    def stop(self) -> None:
        """Raise InputError if there was anything."""
        if self.found:
            raise InputError("\n".join(f"{self.name}:{line}: {message}" for line, message in sorted(self.found)))


def _label(place: Place) -> str:
    return f"[{place[0]}] {' '.join(place[1:])}".rstrip()


def _shown(value: Any) -> str:
    """A value as a TOML file has it, cut where it is long."""
    if isinstance(value, Mapping):
        text = "{" + ", ".join(f"{key} = {_shown(item)}" for key, item in value.items()) + "}"
    elif isinstance(value, list):
        text = "[" + ", ".join(map(_shown, value)) + "]"
    elif isinstance(value, str | bool):
        text = json.dumps(value, ensure_ascii=False)
    else:
        text = str(value)
    return text if len(text) <= 80 else text[:79] + "…"


# ---------------------------------------------------------------- the file


@dataclass(frozen=True)
class ProjectFile:
    """A project as its owner writes it, in the contract's units.

    Attributes:
        path: of the file; `lines` are those of its sections and keys, for complaints.
        rates: learning rate of each round in billionths.
        model: factory of the initial model, as text.
        advice: to trainers; nobody is bound by it.
        filters: for each number of trainers from least to most.
        kappa: thousandths.
        beta, beta_max: None for the largest that can be settled, at most D·Q²; beta_min: None for D.
        logrows: K, None to choose.
        srs: kind of SRS, None for the most trustworthy that is installed.
        reward, fee: of a round, in wei or the token's smallest unit.
    """

    path: Path
    name: str
    rounds: int
    aggregator: str
    open_admission: bool
    void_limit: int
    rates: tuple[int, ...]
    model: str
    advice: Mapping[str, Any]
    filters: Mapping[int, Filter]
    score: str
    kappa: int
    beta: int | None
    beta_min: int | None
    beta_max: int | None
    logrows: int | None
    optimize: str
    value_bits: int | None
    scale_bits: int | None
    srs: str | None
    token: str
    reward: int
    fee: int
    stake_wei: int
    penalty_wei: int
    bond_wei: int
    windows: Windows
    lines: Mapping[Place, int] = field(repr=False, compare=False)

    @property
    def least(self) -> int:
        return min(self.filters)

    @property
    def most(self) -> int:
        return max(self.filters)

    @property
    def native(self) -> bool:
        """Whether the reward is the chain's own coin."""
        return self.token == NOBODY

    @property
    def pool(self) -> int:
        """What the owner pays in: T · (R + F)."""
        return self.rounds * (self.reward + self.fee)

    @property
    def least_penalty(self) -> int:
        """What the factory demands: p · least >= R, where the reward is the chain's own coin."""
        return least_penalty(self.native, self.reward, self.least)

    @property
    def least_bond(self) -> int:
        """What the factory demands: taking the updates and not settling must cost more than settling earns."""
        return least_bond(self.native, self.reward, self.fee, self.penalty_wei, self.refusals)

    @property
    def references(self) -> tuple[str, ...]:
        """What updates are compared with, the same for every number of trainers."""
        return references(self.filters[self.most], self.score)

    @property
    def refusals(self) -> int:
        """How many submissions can be refused in a round that is settled all the same; a root update is one."""
        return self.most - self.least + ("root" in self.references)

    @property
    def bits(self) -> int:
        """Width of a value, sign included."""
        return self.value_bits or VALUE_BITS

    def complaints(self) -> Complaints:
        return Complaints(str(self.path), self.lines)

    # ---- with the model

    def specs(self, layout: ParameterLayout) -> dict[int, Spec]:
        """What to build for each number of trainers: one K for all.

        Raises InputError: the model, K or a norm bound that cannot be settled on a chain, with the line and the fix.
        """
        return self._specs(layout.size, layout)

    def shape(self, trainers: int, params: int, logrows: int) -> RoundShape:
        """Of a round of so many trainers."""
        return RoundShape(trainers, params, logrows, self.references)

    def circuits(self, params: int, logrows: int, trainers: int) -> dict[str, Circuit]:
        """The statements of a round of so many trainers; DomainError if they cannot be proven."""
        rule, most, beta_max = self.filters[trainers], self.last_of(trainers), self.largest_bound(params)
        settlement = settlement_logrows(trainers, params, value_bound(self.bits), beta_max, rule, self.score, most)
        return project_circuits(trainers, params, logrows, self.bits, settlement, beta_max, rule, self.score, most=most)

    def last_of(self, trainers: int) -> int | None:
        """Of how many updates at most the last aggregate is, where a round of so many compares with it."""
        return self.most if "last" in references(self.filters[trainers], self.score) else None

    def largest_bound(self, params: int) -> int:
        """β_max: the file's, or the largest that rounds of every number of trainers can settle."""
        if self.beta_max is not None:
            return self.beta_max
        bound = value_bound(self.bits)
        return min(
            largest_beta(n, params, bound, rule, self.score, self.last_of(n)) for n, rule in self.filters.items()
        )

    def refusal(self, params: int, logrows: int) -> str:
        """Why a K cannot be used for so many parameters; empty if it can."""
        if heavy := too_heavy(self.shape(self.most, params, logrows)):
            return heavy
        for trainers in self.filters:
            try:
                self.circuits(params, logrows, trainers)
            except InputError as error:
                return str(error)
        return ""

    def _specs(self, params: int, layout: ParameterLayout | None) -> dict[int, Spec]:
        logrows = self._choose_logrows(params)
        complaints = self.complaints()
        self._check_bounds(params, complaints)
        complaints.stop()
        return {
            n: Spec(
                n,
                params,
                rule,
                self.score,
                self.value_bits,
                self.scale_bits,
                logrows,
                self.optimize,
                self.largest_bound(params),
                layout,
                most_trainers=self.last_of(n),
            )
            for n, rule in self.filters.items()
        }

    def _choose_logrows(self, params: int) -> int:
        complaints = self.complaints()
        place, others = ("keys", "logrows"), (("keys",), ("model", "factory"))
        if not 1 <= params <= MAX_PARAMS:
            complaints.at(("model", "factory"), f"a model has from 1 to {MAX_PARAMS} parameters: got {params}")
            complaints.stop()
        refusal = functools.cache(functools.partial(self.refusal, params))
        fits = [logrows for logrows in ROWS if not refusal(logrows)]
        if self.logrows is None:
            spec = Spec(self.most, params, self.filters[self.most], value_bits=self.value_bits, optimize=self.optimize)
            try:
                return choose_logrows(spec, lambda logrows: not refusal(logrows))[0]
            except InputError:
                fix = f"set logrows = {fits[-1]}" if fits else f"at {max(ROWS)}: {refusal(max(ROWS))}"
                message = f"[keys] logrows: none that is chosen by itself suits {params} parameters; {fix}"
                complaints.at(place, message, *others)
        elif self.logrows not in fits:
            message = f"[keys] logrows {self.logrows} cannot be used for {params} parameters: {refusal(self.logrows)}"
            if fits:
                nearest = min(fits, key=lambda logrows: abs(logrows - self.logrows))
                message += f"; use {nearest}"
            complaints.at(place, message)
        complaints.stop()
        assert self.logrows is not None
        return self.logrows

    def _check_bounds(self, params: int, complaints: Complaints) -> None:
        most = norm_bound(params, value_bound(self.bits))
        least, limit = self.beta_min or params, self.largest_bound(params)

        def complain(name: str, wanted: str, got: int) -> None:
            complaints.at(("rules", name), f"[rules] {name} is {wanted}: got {got}")

        if least < params:
            complain("beta_min", f"at least the number of parameters, {params}", least)
        if limit > most:
            complain("beta_max", f"at most D·Q², {most} with {self.bits} bits a value", limit)
        elif least > limit:
            name = "beta_max" if self.beta_max else "beta_min"
            complain(name, f"such that beta_min, {least}, is not above beta_max", limit if self.beta_max else least)
        elif self.beta is not None and not least <= self.beta <= limit:
            complain("beta", f"from beta_min, {least}, to beta_max, {limit}", self.beta)

    # ---- with the model and the chain

    def check(self, layout: ParameterLayout, development: bool) -> None:
        """Raise InputError for anything that creation would refuse, of this model on a chain of this kind."""
        self.specs(layout)
        self._check_windows(development)

    def _check_windows(self, development: bool) -> None:
        """Only a development chain allows phases shorter than an hour."""
        complaints = self.complaints()
        if not development:
            for item in fields(Windows):
                seconds = getattr(self.windows, item.name)
                if seconds < HOUR:
                    complaints.at(
                        ("windows", item.name),
                        f"[windows] {item.name} is at least 1h except on a development chain: got"
                        f' "{duration_text(seconds)}"',
                    )
        complaints.stop()

    def offer(self, manifest: Manifest, model: bytes, cid: bytes, development: bool | None = None) -> Offer:
        """What the contract is told.

        Args:
            manifest: of any build of this project.
            model, cid: SHA-256 of what is published for trainers, and where it is.
            development: whether the chain is a development chain; None where `check` has been asked.

        Raises InputError: something that creation would refuse, or a manifest that is not this file's.
        """
        if development is not None:
            self._check_windows(development)
        spec = self._specs(manifest.params, None).get(manifest.trainers)
        if spec is None:
            raise InputError(
                f"{self.path} is for {self.least} to {self.most} trainers: got a build for {manifest.trainers}"
            )
        value_bits = self.bits
        beta_max = self.largest_bound(manifest.params)
        scale_bits = value_bits - 1 if spec.scale_bits is None else spec.scale_bits
        kind = manifest.value["srs"]["kind"]
        for name, got, want in (
            ("filter", manifest.filter, spec.filter),
            ("score", manifest.score, spec.score),
            ("logrows", manifest.logrows, spec.logrows),
            ("beta_max", manifest.beta_max, beta_max),
            ("fixed point", manifest.fixed_point, FixedPoint(scale_bits, value_bits)),
            ("srs", kind, self.srs or kind),
        ):
            if got != want:
                raise InputError(f"the build is not of {self.path}: {name} is {got}, wanted {want}; build it again")
        if len(model) != 32 or not 1 <= len(cid) <= 96:
            raise InputError(f"a model's digest has 32 bytes and a CID 1 to 96: got {len(model)} and {len(cid)}")
        return Offer(
            aggregator=self.aggregator,
            rounds=self.rounds,
            reward=self.reward,
            fee=self.fee,
            stake_wei=self.stake_wei,
            bond_wei=self.bond_wei,
            penalty_wei=self.penalty_wei,
            beta=self.beta or beta_max,
            beta_min=self.beta_min or manifest.params,
            beta_max=beta_max,
            kappa=self.kappa,
            rates=self.rates,
            model=model,
            cid=cid,
            void_limit=self.void_limit,
            token=self.token,
            open_admission=self.open_admission,
            windows=self.windows,
        )


# ---------------------------------------------------------------- syntax and schema


def load_project_file(path: Path) -> ProjectFile:
    """Read and check a file; InputError names each line, what is wrong and what is wanted."""
    path = Path(path)
    value, lines = _parsed(path)
    complaints = Complaints(str(path), lines)
    _check_schema(value, complaints)
    read = _Reader(value, complaints)
    project = _read(read, path, lines)
    complaints.stop()
    _check_rules(project, complaints)
    complaints.stop()
    return project


def _parsed(path: Path) -> tuple[dict[str, Any], dict[Place, int]]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    if len(data) > FILE_LIMIT:
        raise InputError(f"{path} has {len(data)} bytes: a project file has at most {FILE_LIMIT}")
    try:
        text = data.decode().replace("\r\n", "\n")
        value = tomllib.loads(text, parse_float=Decimal)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}:{line}: a project file is UTF-8 text: {error.reason}") from error
    except RecursionError as error:
        raise InputError(f"{path}:1: arrays or tables are nested too deeply") from error
    except ValueError as error:  # TOMLDecodeError, or an integer of thousands of digits
        found = re.fullmatch(r"(.*) \(at line ([0-9]+), column ([0-9]+)\)", str(error), re.DOTALL)
        if found:
            raise InputError(f"{path}:{found[2]}: not TOML: {found[1]} (column {found[3]})") from error
        last = text.rstrip("\n").count("\n") + 1
        raise InputError(f"{path}:{last}: not TOML: {error}") from error
    return value, lines_of(text)


@functools.cache
def _schema() -> dict[str, Any]:
    return json.loads((Path(__file__).parent / "schemas" / "project.schema.json").read_text())


def _description(place: Place) -> str:
    """What the schema says that a value is."""
    schema = _schema()
    for key in place:
        schema = schema["properties"].get(key) or schema["additionalProperties"]
    while "description" not in schema:
        schema = _schema()["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    return schema["description"]


def _check_schema(value: dict[str, Any], complaints: Complaints) -> None:
    sections = _schema()["properties"]
    for error in jsonschema.Draft202012Validator(_schema()).iter_errors(value):
        place = tuple(map(str, error.absolute_path))
        if error.validator == "required" and len(place) <= 1:
            for key in error.validator_value:
                if key not in error.instance:
                    complaints.at((*place, key), _missing((*place, key)))
        elif error.validator == "additionalProperties" and error.validator_value is False:
            for key in error.instance:
                if key not in error.schema["properties"]:
                    complaints.at((*place, key), _unknown((*place, key), sections))
        elif len(place) == 1 and error.validator == "type":
            complaints.at(place, f"[{place[0]}] is a section with keys of its own: got {_shown(error.instance)}")
        elif len(place) == 1:
            complaints.at(place, f"[{place[0]}]: {error.message[:200]}")
        else:
            complaints.at(place[:2], f"{_label(place[:2])} is {_description(place[:2])}: got {_shown(error.instance)}")


def _missing(place: Place) -> str:
    if len(place) == 1:
        return f"the section [{place[0]}] is missing: it has at least {_description(place)}"
    return f"[{place[0]}] needs a key {place[1]}: {_description(place)}"


def _unknown(place: Place, sections: Mapping[str, Any]) -> str:
    key = place[-1]
    known = sections if len(place) == 1 else sections[place[0]]["properties"]
    homes = [name for name, section in sections.items() if key in section["properties"]]
    nearest = difflib.get_close_matches(key, known, 1)
    what = f"there is no section or key {json.dumps(key)}" if len(place) == 1 else f"[{place[0]}] has no key {key}"
    if nearest:
        return f"{what}: did you mean {nearest[0]}?"
    if homes:
        return f"{what}: it belongs in [{homes[0]}]"
    return f"{what}: it has {', '.join(known)}"


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
            self.complaints.at((section, key), f"{_label((section, key))} is {error}: got {_shown(raw)}")
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
                f"[money] needs a key {key}: with a token there is no default; {_description(('money', key))}",
                ("money", "token"),
            )
    stake = read.read("money", "stake", parse_amount, max(1, reward))
    least, most = read.get("rules", "least", MIN_ACCEPTED), read.get("rules", "most", 64)
    share = least_penalty(native, reward, least) if native else max(1, stake // 10)
    penalty = read.read("money", "penalty", parse_amount, share)
    if least > most:
        read.complaints.at(("rules", "most"), f"[rules] most is at least least, {least}: got {most}")
    filters, score = _filters(read, least, most), read.get("rules", "score", "shapley")
    roots = "root" in references(filters[max(filters)], score)
    bond = 2 * reward + fee + (max(0, most - least) + roots) * penalty
    billionths = functools.partial(_whole, unit=RATE_UNIT, names="billionths", most=(1 << 64) - 1)
    return ProjectFile(
        path=path,
        name=read.get("project", "name", ""),
        rounds=read.get("project", "rounds", 1),
        aggregator=read.read("project", "aggregator", _address, NOBODY),
        open_admission=read.get("project", "admission") == "open",
        void_limit=read.get("project", "void_limit", 3),
        rates=read.read("project", "learning_rates", lambda rates: tuple(map(billionths, rates)), (RATE_UNIT,)),
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


# ---------------------------------------------------------------- rules


def least_bond(native: bool, reward: int, fee: int, penalty: int, refusals: int) -> int:
    return (reward + fee if native else penalty) + refusals * penalty


def least_penalty(native: bool, reward: int, least: int) -> int:
    """A seat whose update is never delivered can make an admission fail, which burns R of the bond."""
    return -(-reward // least) if native else 1


def _check_rules(project: ProjectFile, complaints: Complaints) -> None:
    """What Factory.sol demands of terms, of whatever model and chain."""

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
