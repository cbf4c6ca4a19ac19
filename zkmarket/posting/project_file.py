"""PROJECT.toml: what an owner decides, checked before any money moves.

Reading goes in steps, and each reports all that it finds, one line of the file a complaint: the syntax (tomllib); the
schema; the values (amounts, durations, addresses), which are exact, never floats; the rules among them, which are
those by which Limits.sol refuses terms. What depends on the model or the chain is checked once they are known:
`specs` and `offer`. PROJECT.example.toml explains every key.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ..build import MAX_PARAMS, ROWS, Manifest, Spec, choose_logrows
from ..build.statements import VALUE_BITS, Circuit, project_circuits, settlement_logrows, value_bound
from ..chain import NOBODY
from ..errors import InputError
from ..market import Offer, Windows
from ..rules import Filter, RuleSet, largest_beta, norm_bound, reference_slots
from ..units import HOUR, duration_text
from ..updates import FixedPoint, ParameterLayout
from .complaints import Complaints, Place
from .gas import RoundShape, too_heavy

EXAMPLE = Path(__file__).with_name("PROJECT.example.toml")

DEVELOPMENT_WINDOWS = {"accept": "10m", "start": "10m", "submit": "10m", "admit": "5m", "prove": "10m", "claim": "20s"}
"""Of a chain of one's own: long where a window ends once everybody has done his part, short where it is sat out."""

KAPPA_UNIT = 1000


# ---------------------------------------------------------------- the file


def example(trainers: int | None = None) -> str:
    """A project file in which every key is explained.

    Args:
        trainers: for a development chain: exactly so many take part, and no window is sat out for long. A round's time
            to submit ends with its last trainer.
    """
    text = EXAMPLE.read_text()
    if trainers is None:
        return text
    penalty = development_penalty(trainers)
    lines = [(name, f'{name} = "{span}"') for name, span in DEVELOPMENT_WINDOWS.items()]
    lines += [("least", f"least = {trainers}"), ("most", f"most = {trainers}")]
    lines += [("penalty", f'penalty = "{penalty} ether"')]
    for name, line in lines:
        text, count = re.subn(rf'(?m)^(# )?{name} = ("[^"]*"|\d+)(?= )', line, text)
        assert count == 1, name
    return text


def development_penalty(trainers: int) -> str:
    """In ether, of a reward of one: at least reward/least, in hundredths."""
    if not 3 <= trainers <= 64:
        raise InputError(f"a round has from 3 to 64 trainers: got {trainers}")
    return f"{-(-100 // trainers) / 100}"


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
        theta_bits: ρ, chosen by the learning rates unless the file says it.
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
    theta_bits: int
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
        return reference_slots(self.filters[self.most], self.score)

    @property
    def refusals(self) -> int:
        """How many submissions can be refused in a round that is settled all the same; a root update is one."""
        return self.most - self.least + ("root" in self.references)

    @property
    def bits(self) -> int:
        """Width of a value, sign included."""
        return self.value_bits or VALUE_BITS

    @property
    def scale(self) -> int:
        """s: an update's value is x · 2^s."""
        return self.bits - 1 if self.scale_bits is None else self.scale_bits

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
        rules = self.rules(params, trainers, self.largest_bound(params))
        return project_circuits(logrows, settlement_logrows(rules), rules)

    def rules(self, params: int, trainers: int, beta_max: int) -> RuleSet:
        """Of a round of so many trainers."""
        bound, most = value_bound(self.bits), self.last_of(trainers)
        return RuleSet(trainers, params, bound, beta_max, self.filters[trainers], self.score, most)

    def last_of(self, trainers: int) -> int | None:
        """Of how many updates at most the last aggregate is, where a round of so many compares with it."""
        return self.most if "last" in reference_slots(self.filters[trainers], self.score) else None

    def largest_bound(self, params: int) -> int:
        """β_max: the file's, or the largest that rounds of every number of trainers can settle."""
        if self.beta_max is not None:
            return self.beta_max
        return min(largest_beta(self.rules(params, n, 0)) for n in self.filters)

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
        elif (wanted := self.logrows) not in fits:
            message = f"[keys] logrows {wanted} cannot be used for {params} parameters: {refusal(wanted)}"
            if fits:
                nearest = min(fits, key=lambda logrows: abs(logrows - wanted))
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

    def offer(
        self, manifest: Manifest, model: bytes, cid: bytes, theta: bytes, development: bool | None = None
    ) -> Offer:
        """What the contract is told.

        Args:
            manifest: of any build of this project.
            model, cid: SHA-256 of what is published for trainers, and where it is.
            theta: `points_hash` of the initial model's commitment.
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
        beta_max = self.largest_bound(manifest.params)
        kind = manifest.value["srs"]["kind"]
        for name, got, want in (
            ("filter", manifest.filter, spec.filter),
            ("score", manifest.score, spec.score),
            ("logrows", manifest.logrows, spec.logrows),
            ("beta_max", manifest.beta_max, beta_max),
            ("fixed point", manifest.fixed_point, FixedPoint(self.scale, self.bits)),
            ("srs", kind, self.srs or kind),
        ):
            if got != want:
                raise InputError(f"the build is not of {self.path}: {name} is {got}, wanted {want}; build it again")
        if (len(model), len(theta)) != (32, 32) or not 1 <= len(cid) <= 96:
            sizes = f"{len(model)}, {len(theta)} and {len(cid)}"
            raise InputError(f"a prospectus's digest and a commitment's have 32 bytes and a CID 1 to 96: got {sizes}")
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
            theta_bits=self.theta_bits,
            theta=theta,
            cid=cid,
            void_limit=self.void_limit,
            token=self.token,
            open_admission=self.open_admission,
            windows=self.windows,
        )


# ---------------------------------------------------------------- rules


def least_bond(native: bool, reward: int, fee: int, penalty: int, refusals: int) -> int:
    return (reward + fee if native else penalty) + refusals * penalty


def least_penalty(native: bool, reward: int, least: int) -> int:
    """A seat whose update is never delivered can make an admission fail, which burns R of the bond."""
    return -(-reward // least) if native else 1
