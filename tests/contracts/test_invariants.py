"""Contract and model, driven side by side through random projects: they agree after every call, to the wei.

Every function, every caller, every deadline one second early, on time and late, native and token rewards. After
each call what shows of the contract is compared with model.py, and laws are checked that need no model: money,
who may gain, who may lose, how rounds end. Each project is then driven to its end by a stranger, everybody
withdraws, and nothing may be left. `make test` plays fewer projects than `make test-all`, always the same ones, which
come to nearly every transition; ``ZKMARKET_EXAMPLES=1000`` runs it for longer.
"""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from eth_hash.auto import keccak
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from tests.contracts import scoring
from tests.contracts.model import EDGES, LOSS_LIMIT, TIME_OUTS, Model, Refused, Result
from tests.contracts.wire import ACTORS, BURN, TRAINERS, Done, Seen, Stage, address
from tests.contracts.world import CID, ETHER, KEY, NONCES, Scene, first_theta, point
from tests.support.tiers import ALL
from zkmarket.chain import NOBODY, Phase
from zkmarket.crypto import Point, multiply_add
from zkmarket.market import base_words, decision_words, last_seed, points_hash, utility_words
from zkmarket.round import Commitment, RoundId, aggregate_points

pytestmark = pytest.mark.chain

EXAMPLES, FEW = 160, 60
"""So many projects come to every transition and to every refusal; so few to nearly all."""

STEPS = 40

# ---------------------------------------------------------------- what is drawn


@st.composite
def changes(draw: Any) -> dict[str, Any]:
    """Terms that the factory takes, as changes to the defaults of `Scene`."""
    least = draw(st.sampled_from([3, 3, 4]))
    most = least + draw(st.integers(0, 2))
    stake = draw(st.sampled_from([ETHER, 1, ETHER + 1, 5 * 10**17 + 3]))
    reward, fee = draw(st.sampled_from([ETHER + 7, ETHER, 1, 7])), draw(st.sampled_from([ETHER // 5, 0, 1]))
    token = draw(st.sampled_from(["", "", "token"]))
    share = 1 if token else -(-reward // least)
    stake = max(stake, share)
    penalty = draw(st.sampled_from([max(share, -(-stake // 10)), share, stake]))
    references = draw(st.sampled_from([0, 3, 1, 2]))
    bond = (most - least + (references & 1)) * penalty + (penalty if token else reward + fee)
    chunks = draw(st.sampled_from([1, 1, 2]))
    beta_min = draw(st.sampled_from([1500, 10**6]))
    beta = beta_min * draw(st.integers(1, 4))
    return {
        "stakeWei": stake,
        "bondWei": bond + draw(st.sampled_from([ETHER, 0, 1])),
        "token": token,
        "penaltyWei": penalty,
        "reward": reward,
        "fee": fee,
        "rounds": draw(st.sampled_from([2, 1, 3])),
        "voidLimit": draw(st.sampled_from([3, 4, 2, 1])),
        "minTrainers": least,
        "maxTrainers": most,
        "minAccepted": draw(st.integers(3, least)),
        "openAdmission": draw(st.booleans()),
        "params": 500 if chunks == 1 else 1500,
        "chunks": chunks,
        "kappa": draw(st.sampled_from([2000, 1, 2**32 - 1])),
        "beta": beta,
        "betaMin": beta_min,
        "betaMax": beta * draw(st.integers(1, 5)),
        "references": references,
        "windows": tuple(draw(st.sampled_from([100, 60, 60, 90, 1])) for _ in range(9)),
        "method": draw(st.sampled_from([0, 0, 1, 2 if most == 3 else 1])),
        "floor": draw(st.sampled_from([250_000_000, 0, 10**9, 333_333_333])),
    }


BROKEN: dict[str, tuple[Any, str]] = {
    "owner": (lambda t: {"owner": t["aggregator"]}, "WrongCaller"),
    "aggregator": (lambda t: {"aggregator": NOBODY}, "OutOfBounds"),
    "no reward": (lambda t: {"reward": 0}, "OutOfBounds"),
    "no rounds": (lambda t: {"rounds": 0}, "OutOfBounds"),
    "penalty": (lambda t: {"penaltyWei": t["stakeWei"] + 1}, "OutOfBounds"),
    "no penalty": (lambda t: {"penaltyWei": 0}, "OutOfBounds"),
    "penalty below a share": (
        lambda t: {"token": NOBODY, "penaltyWei": -(-t["reward"] // t["minTrainers"]) - 1},
        "OutOfBounds",
    ),
    "void limit": (lambda t: {"voidLimit": 0}, "OutOfBounds"),
    "two trainers": (lambda t: {"minTrainers": 2}, "OutOfBounds"),
    "order of numbers": (lambda t: {"maxTrainers": t["minTrainers"] - 1}, "OutOfBounds"),
    "chunks": (lambda t: {"chunks": t["chunks"] + 1}, "OutOfBounds"),
    "bond": (lambda t: {}, "OutOfBounds"),
    "rows": (lambda t: {"rows": t["rows"] + 1}, "OutOfBounds"),
    "kappa": (lambda t: {"kappa": 0}, "OutOfBounds"),
    "beta": (lambda t: {"beta": t["betaMax"] + 1}, "OutOfBounds"),
    "window": (lambda t: {"windows": (*t["windows"][:5], 0, *t["windows"][6:])}, "OutOfBounds"),
    "blinding": (lambda t: {"blinding": (1, 1)}, "PointNotOnCurve"),
    "score method": (lambda t: {"scoring": (*t["scoring"][:3], 3, *t["scoring"][4:])}, "OutOfBounds"),
    "verifier": (lambda t: {"base": (t["base"][0], bytes(32))}, "VerifierChanged"),
    "value": (lambda t: {}, "WrongValue"),
    "plans": (lambda t: {}, "WrongLength"),
    "references": (lambda t: {}, "OutOfBounds"),
    "cid": (lambda t: {}, "OutOfBounds"),
    "rates": (lambda t: {}, "OutOfBounds"),
    "allowance": (lambda t: {}, "Short"),
}

ACTIONS = (
    *("accept", "cancel", "top_up", "start", "skip", "join", "leave_project", "refresh", "submit", "void_round"),
    *("admit", "lock", "fail_admission", "settle", "fail", "claim", "unclaim", "next", "name_aggregator", "end"),
    *("prove_base", "settle_proven", "offer_root", "announce_end", "initialise", "withdraw", "withdraw_token", "burn"),
    *("prove_utility", "fail_score"),
)
AT_HOME: dict[Phase, tuple[str, ...]] = {
    Phase.CREATED: ("accept", "cancel"),
    Phase.OPEN: ("join", "leave_project", "refresh", "top_up", "start", "skip", "announce_end", "offer_root"),
    Phase.SUBMIT: ("join", "submit", "submit", "void_round", "leave_project"),
    Phase.ADMIT: ("admit", "admit", "lock", "fail_admission", "leave_project"),
    Phase.PROVE: ("settle", "settle", "fail", "leave_project", "top_up", "prove_base", "settle_proven"),
    Phase.SCORE: ("prove_utility", "prove_utility", "prove_utility", "fail_score", "leave_project", "top_up"),
    Phase.SETTLED: ("claim", "claim", "unclaim", "next", "withdraw", "withdraw_token", "leave_project"),
    Phase.VACANT: ("name_aggregator", "accept", "end", "withdraw", "leave_project", "burn"),
    Phase.ENDED: ("withdraw", "withdraw_token", "refresh", "leave_project", "burn"),
}
SETTLES = ("settle", "settle_proven")
PAYS = (*SETTLES, "prove_utility", "fail_score")
NO_BASE, NO_DECISION = ([], [], 0, 0, b"", [], [], 0, b""), (0, [], 0, [], b"")

WHO = st.sampled_from(["fit"] * 8 + [*ACTORS])
RATES = st.sampled_from([[10**9], [2**64 - 1, 0, 1], [3, 2]])
WHEN = st.sampled_from(["now"] * 14 + ["brink", "late", "late", "early", "opening", "before the opening", 1, 30])
TWISTS = st.sampled_from(["", "", "", "value", "signature", "content", "references"])
CROWDS = st.one_of(
    st.just(TRAINERS),
    st.builds(lambda first, many: (TRAINERS * 2)[first : first + many], st.integers(0, 5), st.integers(0, 6)),
)
DRAFTS = st.builds(
    Result,
    # mostly all: what is withheld cannot be claimed
    mask=st.integers(0, 191).map(lambda bits: (1,) * 6 if bits > 63 else tuple(bits >> i & 1 for i in range(6))),
    scores=st.one_of(
        st.sampled_from([(3, 0, 1, 4, 1, 5), (0,) * 6, (2**64 - 1,) * 6, (0, 0, 1, 0, 0, 2**64 - 1)]),
        st.integers(0, 2**48 - 1).map(lambda bits: tuple(bits >> 8 * i & 255 for i in range(6))),
    ),
    nu=st.sampled_from([10**6, 0, 1, 10**4, 10**9, 2**64 - 1]),
)
"""For six slots; cut to the number of trainers. Little entropy: hypothesis has 8 kB for all steps of an example."""


# ---------------------------------------------------------------- the machine


@dataclass
class Ledger:
    """What went in, what came out, what was forced in: of one unit."""

    paid: int = 0
    got: int = 0
    forced: int = 0

    @property
    def left(self) -> int:
        return self.paid + self.forced - self.got


class Projects(RuleBasedStateMachine):
    """One project of random terms an example."""

    stage: Stage

    def __init__(self) -> None:
        super().__init__()
        self.hashes: dict[Any, int] = {}
        self.mark = self.stage.rpc(("evm_snapshot",))[0]["result"]
        self.model: Model | None = None
        self.story: list[str] = []

    def teardown(self) -> None:
        try:
            if self.model is not None:
                self.come_to_an_end()
        finally:
            note("calls to the last project, seconds since its creation:\n" + "\n".join(self.story))
            assert self.stage.rpc(("evm_revert", self.mark))[0]["result"] is True

    @property
    def phase(self) -> Phase | None:
        return self.model and self.model.phase(self.now)

    # ---- rules

    @initialize(changed=changes(), rates=RATES, broken=st.sampled_from(sorted(BROKEN)))
    def create(self, changed: dict[str, Any], rates: list[int], broken: str) -> None:
        stage, scene = self.stage, self.stage.scene
        self.now = scene.chain.now
        token = stage.token.address if changed["token"] else NOBODY
        references = scene.references = changed["references"]
        own = {"method": changed["method"], "floor": changed["floor"], "window": 70}
        changed = {name: value for name, value in changed.items() if name not in ("references", "method", "floor")}
        if own["method"]:
            changed = scene.by_loss(**changed | {"scoring": own, "salts": 8 + 2 * changed["maxTrainers"]})
        terms = scene.terms(**changed | {"aggregator": stage.addresses["aggregator"], "token": token})
        rates = rates[: terms["rounds"]]
        self.refuse_to_create(terms, rates, broken)
        nonce = next(NONCES)
        done = self.try_to_create(terms, rates, nonce=nonce)
        assert done.error == ""
        assert self.try_to_create(terms, rates, nonce=nonce).error == "AlreadyCreated"
        (made,) = [event for event in done.events if event.name == "ProjectCreated"]
        project = stage.project(address(made.topics[0]))
        scene.project, scene.values = project, terms
        scene.offered = {number: number for number in range(1, 99)}  # the root update of a round has its number
        self.address = project.address
        self.model = Model.create(terms, rates, self.now, references)
        self.last: tuple[Point, ...] = ()
        self.aggregates: dict[int, tuple[Point, ...]] = {}
        self.coin, self.tokens = Ledger(), Ledger()
        (self.coin if self.model.native else self.tokens).paid = self.model.pool
        self.ends: Counter[int] = Counter()
        self.created, self.story = self.now, []
        self.feeless = False  # the last scoring failed
        self.seen = self.look()
        self.compare()
        self.count(f"create: {'native' if self.model.native else 'token'} reward")

    def try_to_create(
        self,
        terms: dict[str, Any],
        rates: Sequence[int],
        sender: str = "owner",
        cid: bytes = CID,
        plans: Sequence[Any] | None = None,
        extra: int = 0,
        nonce: int = 0,
    ) -> Done:
        pool = terms["rounds"] * (terms["reward"] + terms["fee"])
        made = self.stage.scene.plans(terms) if plans is None else list(plans)
        contract = self.stage.scene.market.contract
        data = contract.create.encode_input(tuple(terms.values()), made, list(rates), cid, nonce)
        value = (pool if terms["token"] == NOBODY else 0) + extra
        return self.stage.send(self.stage.addresses[sender], contract.address, data, value, self.now)

    def refuse_to_create(self, terms: dict[str, Any], rates: Sequence[int], broken: str) -> None:
        """One thing is wrong: refused, and for that reason."""
        change, error = BROKEN[broken]
        bad = terms | change(terms)
        plans = self.stage.scene.plans(terms)
        more: dict[str, Any] = {"plans": plans}
        if broken == "value":
            more["extra"] = 1
        elif broken == "bond":
            spare = terms["maxTrainers"] - terms["minTrainers"] + (self.stage.scene.references & 1)
            whole = terms["reward"] + terms["fee"] if terms["token"] == NOBODY else terms["penaltyWei"]
            bad["bondWei"] = spare * terms["penaltyWei"] + whole - 1
        elif broken == "plans":
            more["plans"] = plans[1:]
        elif broken == "references":
            more["plans"] = self.stage.scene.plans(terms, references=4)
        elif broken == "cid":
            more["cid"] = b""
        elif broken == "rates":
            rates = [1] * (terms["rounds"] + 1)
        elif broken == "allowance":
            bad |= {"owner": self.stage.addresses["stranger"], "token": self.stage.token.address}
            bad["bondWei"] = 40 * ETHER
            more["sender"] = "stranger"
        done = self.try_to_create(bad, rates, **more)
        assert done.error == error, (broken, done.error)
        self.count(f"create refused: {broken}")

    @precondition(lambda self: self.phase != Phase.ENDED)
    @rule(
        plot=st.sampled_from(["on"] * 4 + ["fail"] * 3 + ["claim"] * 4 + ["refuse", "refuse", "announce"]),
        crowd=CROWDS,
        brink=st.booleans(),
        draft=DRAFTS,
    )
    def play(self, plot: str, crowd: tuple[str, ...], brink: bool, draft: Result) -> None:
        """The story of a project goes on by one phase; `brink`: in the last second of each."""
        if plot == "announce":
            self.do("announce_end", "owner")
        phase = self.phase
        fails = plot == "fail" or self.now > self.model.limit("admit" if phase == Phase.ADMIT else "")
        if phase == Phase.CREATED:
            self.time_out("cancel", brink) if fails else self.do("accept", "fit", self.at(brink))
        elif phase == Phase.OPEN:
            self.play_open(fails, crowd, brink)
        elif phase == Phase.SUBMIT:
            self.play_submit(fails, crowd, brink)
        elif phase == Phase.ADMIT:
            seats = [self.stage.names[who] for who in self.model.seats]
            self.play_admit(seats[1:] if plot == "refuse" else crowd[:2] if fails else seats, brink, len(crowd) % 3 > 0)
        elif phase == Phase.PROVE:
            self.play_prove(fails, crowd, brink, draft)
        elif phase == Phase.SCORE:
            self.play_score(fails, crowd, brink, draft)
        elif phase == Phase.SETTLED:
            claimants = () if plot != "claim" else ("owner", "owner") if brink else (*crowd, "fit", *crowd[:1])
            for who in claimants:
                self.do("claim", who)
            if claimants:
                self.do("unclaim", "stranger")
            if claimants and len(crowd) % 2:
                self.do("unclaim", "owner" if brink else "fit")
            self.time_out("next", brink)
        elif phase == Phase.VACANT and fails and brink:
            self.do("end", "owner")
        elif phase == Phase.VACANT and fails:
            self.do("end", "stranger", "brink")
            self.do("name_aggregator", "owner", "late", whom="deputy")
            self.do("end", "stranger", "late")
        elif phase == Phase.VACANT:
            self.do("name_aggregator", "stranger", whom="stranger")
            self.do("name_aggregator", "owner", whom="deputy")
            self.do("accept", "deputy", self.at(brink))

    def play_open(self, fails: bool, crowd: tuple[str, ...], brink: bool) -> None:
        for who in crowd:
            self.do("join", who)
        if fails:
            self.time_out("skip", brink)
            return
        second = self.model.aggregator == self.stage.addresses["deputy"]  # seldom: it always has one to take
        for _ in range(self.model.references & 1 and (len(crowd) % 3 or second)):  # none, one, or another in its place
            for twist in ("value", "content", ""):
                self.do("offer_root", "owner", self.at(brink), twist=twist)
        if self.model.bond < self.model.terms["bondWei"]:
            self.do("start", "fit", "opening")
            self.do("top_up", "fit")
        self.do("start", "fit", "before the opening")  # at the brink it is past the opening
        self.do("start", "fit", "opening", twist="content")
        self.do("start", "fit", self.at(brink) if brink else "opening")

    def play_submit(self, fails: bool, crowd: tuple[str, ...], brink: bool) -> None:
        for who in crowd[:2] if fails else (*crowd, *crowd[:1]):
            self.do("submit", who, self.at(brink))
        self.time_out("void_round", brink)  # refused if there are enough

    def play_admit(self, crowd: Sequence[str], brink: bool, root: bool) -> None:
        """`root`: the update that is on offer has its receipt, too."""
        if root:
            self.do("admit", "stranger", self.at(brink), twist="references")
        if root and brink and len(crowd) == len(self.model.seats):
            self.do("admit", "stranger", self.at(brink), twist="content")  # all of them
        for who in crowd:
            self.do("admit", "stranger", self.at(brink), whom=who)
        self.do("lock", "stranger")
        if self.phase == Phase.ADMIT:
            self.time_out("fail_admission", brink)
            self.do("lock", "stranger")

    def play_prove(self, fails: bool, crowd: tuple[str, ...], brink: bool, draft: Result) -> None:
        if fails:
            self.time_out("fail", brink)
        elif len(crowd) % 2:
            self.do("settle_proven", "stranger", self.at(brink), draft=draft)  # nothing is proven yet
            self.do("prove_base", "stranger", self.at(brink), draft=draft)
            for twist in ("content", "value", "signature", ""):
                self.do("settle_proven", "stranger", self.at(brink), draft=draft, twist=twist)
        else:
            self.do("settle", "stranger", self.at(brink), draft=draft)

    def play_score(self, fails: bool, crowd: tuple[str, ...], brink: bool, draft: Result) -> None:
        for twist in ("value", "signature", "content", "references") if len(crowd) % 2 else ():
            self.do("prove_utility", "stranger", draft=draft, twist=twist)
        for _ in self.model.due[1 if fails else 0 :]:
            self.do("prove_utility", "stranger", self.at(brink), draft=draft)
            self.do("prove_utility", "stranger", draft=draft, twist="again")
        if fails:
            self.time_out("fail_score", brink)
            if len(crowd) % 3 == 0:
                self.do("top_up", "fit")

    @precondition(lambda self: self.phase != Phase.ENDED)
    @rule(crowd=CROWDS, brink=st.booleans(), draft=DRAFTS)
    def go_on(self, crowd: tuple[str, ...], brink: bool, draft: Result) -> None:
        """Nothing but progress, and nearly everybody takes part: deep states are reached."""
        self.play("on", TRAINERS if len(crowd) < 4 else crowd, brink, draft)

    @precondition(lambda self: self.phase == Phase.ENDED)
    @rule(changed=changes(), rates=RATES, broken=st.sampled_from(sorted(BROKEN)))
    def again(self, **drawn: Any) -> None:
        """Everybody withdraws, and there is another project."""
        self.come_to_an_end()
        self.create(**drawn)

    @rule(what=st.sampled_from(ACTIONS), who=WHO, when=WHEN, whom=WHO, twist=TWISTS, draft=DRAFTS)
    def anything(self, **call: Any) -> None:
        """Any call by anybody at any time."""
        self.do(**call)

    @rule(pick=st.integers(0, 6), who=WHO, when=WHEN, whom=WHO, twist=TWISTS, draft=DRAFTS)
    def at_home(self, pick: int, **call: Any) -> None:
        """A call that belongs to the phase."""
        actions = AT_HOME[self.phase]
        self.do(actions[pick % len(actions)], **call)

    @precondition(lambda self: self.model is not None and self.coin.forced == 0)
    @rule(amount=st.integers(1, ETHER))
    def force(self, amount: int) -> None:
        """A contract that is destroyed in its own constructor sends coin that cannot be refused."""
        stage, sender = self.stage, self.stage.addresses["stranger"]
        assert stage.send(sender, self.address, "0x", amount, self.now).error.startswith("unknown")  # no receive()
        assert stage.send(sender, None, f"0x73{self.address[2:]}ff", amount, self.now).error == ""
        self.coin.forced += amount
        data = stage.token.transfer.encode_input(self.address, amount)
        assert stage.send(stage.addresses["owner"], stage.token.address, data, 0, self.now).error == ""
        self.tokens.forced += amount
        self.seen = self.look()
        self.compare()
        self.check_balance()

    # ---- one call

    def at(self, brink: bool) -> str:
        return "brink" if brink else "now"

    def time_out(self, what: str, brink: bool) -> None:
        """In its first second; `brink`: one second earlier too, which is refused."""
        if brink:
            self.do(what, "stranger", "brink")
        self.do(what, "stranger", "late")

    def moment(self, what: str, when: str | int) -> int:
        limit, earliest = self.model.limit(what), self.model.earliest
        if isinstance(when, int):
            return self.now + when
        named = {"now": self.now, "early": limit - 1, "brink": limit, "late": limit + 1}
        return max(self.now, (named | {"opening": earliest, "before the opening": earliest - 1})[when])

    def address_of(self, who: str, what: str) -> str:
        """Of an actor; "fit" is one whom the action may well be about."""
        if who != "fit":
            return self.stage.addresses[who]
        model, terms, addresses = self.model, self.model.terms, self.stage.addresses
        if what in ("accept", "top_up", "start"):
            return model.aggregator if model.aggregator != NOBODY else addresses["aggregator"]
        if what in ("announce_end", "name_aggregator", "end", "offer_root"):
            return terms["owner"]
        members = [where for where in addresses.values() if model.of(where).stake]
        fit = {
            "submit": [where for where in members if where not in model.seats],
            "admit": [where for where, admitted in model.seats.items() if not admitted],
            "claim": [where for where in model.seats if where not in model.claimed],
            "unclaim": sorted(model.claims),
            "join": [where for where in addresses.values() if where not in members][::-1],
            "refresh": [where for where in members if model.of(where).due],
        }
        return [*fit.get(what, members), *model.seats, addresses["t0"]][0]

    def do(
        self,
        what: str,
        who: str,
        when: str | int = "now",
        whom: str = "stranger",
        twist: str = "",
        draft: Result | None = None,
    ) -> None:
        """The contract and the model are asked the same; then everything is compared and checked."""
        caller, other = self.address_of(who, what), self.address_of(whom, what)
        at = self.moment(what, when)
        given, words, value, payee = self.arguments(what, caller, other, at, twist, draft)
        name = "".join(part.title() if index else part for index, part in enumerate(what.split("_")))
        data = getattr(self.stage.scene.project.contract, name).encode_input(*words)
        done = self.stage.send(caller, self.address, data, value, at)
        then = self.model.after(what, at, caller, **given)
        before, self.now = self.seen, at
        self.story.append(f"{at - self.created:6} {what} by {self.stage.names[caller]}: {done.error or 'done'}")
        if isinstance(then, Refused):
            assert done.error == then.name, f"{what}: the contract said {done.error or 'yes'}, the model {then.name}"
            self.count(f"{what} refused: {then.name}")
            moved: dict[str, int] = {}
        else:
            assert done.error == "", f"{what}: the contract said {done.error}, the model yes"
            self.count(describe(what, at, self.model, then, caller))
            if what in (*SETTLES, "next"):
                self.follow_the_aggregate(what, then)
            self.model = then
            moved = {caller: value}
        self.seen = self.look()
        logged = {event.name for event in done.events}
        self.feeless = "ScoringFailed" in logged or (self.feeless and "Settled" not in logged)
        self.compare()
        self.check_money(what, before, moved, payee)
        self.check_balance()
        self.check_claims(what, caller, before, done)
        self.check_rounds(before, done)

    def follow_the_aggregate(self, what: str, then: Model) -> None:
        """Points of the one that is settled last, and which of the references this settlement had."""
        if what in SETTLES:
            for bit, name, there in ((1, "root", self.model.has_root), (2, "last", bool(self.last))):
                if self.model.references & bit:
                    self.count(f"settled with{'' if there else 'out'} a {name}")
            self.last = self.aggregates[then.round] = self.aggregate
        elif then.unserved:
            self.last = ()
        assert bool(self.last) == then.has_last

    def arguments(
        self, what: str, caller: str, other: str, at: int, twist: str, draft: Result | None
    ) -> tuple[dict[str, Any], list[Any], int, str]:
        """For the model; for the contract; the value sent; who is paid, if anybody is."""
        model, stage = self.model, self.stage
        terms, good = model.terms, twist == ""
        signed = twist != "signature"
        given: dict[str, Any] = {}
        words: list[Any] = []
        value, payee = 0, ""
        if what == "accept":
            words, value = [KEY], terms["bondWei"] - (twist == "value")
            given["value"] = value
        elif what == "top_up":
            value = given["value"] = terms["bondWei"] - model.bond + (twist == "value")
        elif what == "start":
            keyring = bytes(97) if twist == "content" else CID
            words, given = [KEY, keyring], {"good_keyring": keyring == CID}
        elif what == "join":
            value = max(0, model.missing(caller) + (twist == "value"))
            owner = terms["owner"] if signed else stage.addresses["stranger"]
            words = [stage.membership(owner, caller), KEY]
            given = {"value": value, "listed": signed}
        elif what == "refresh":
            words, given = [other], {"whom": other}
        elif what == "submit":
            cid = b"" if twist == "content" else CID
            words, given = [self.commitment(caller).digest(), cid], {"good_cid": cid != b""}
        elif what == "admit":
            signer = self.signer(signed)
            whom = {"references": [NOBODY], "content": self.unadmitted()}.get(twist, [other])
            receipts = [self.receipt(signer, one) for one in whom]
            whole = twist != "value"
            words = [whom, receipts if whole else receipts[1:]]
            given = {"whom": whom, "signed": signer == model.aggregator, "whole": whole}
        elif what == "offer_root":
            cid = b"" if twist == "content" else CID
            value = (0 if model.offered else terms["penaltyWei"]) + (twist == "value")
            words = [self.root(model.round + 1).digest("root"), cid]
            given = {"value": value, "good_cid": cid != b""}
        elif what in ("prove_base", *SETTLES):
            possible = model.phase(at) == Phase.PROVE and at <= model.deadline and draft is not None
            words = self.settlement(what, draft if possible else None, twist)
            given = {"compared": twist != "references" or not model.references}
            known = twist != "references" or bool(model.references)
            if what in SETTLES:
                given |= {"result": self.result if possible else None, "signed": signed, "good_cid": twist != "value"}
                given["known"] = known
        elif what == "prove_utility":
            possible = model.phase(at) == Phase.SCORE and at <= model.deadline
            words, given = self.loss(draft if possible else None, twist)
        elif what == "name_aggregator":
            whom = other if good else NOBODY
            words, given = [whom], {"whom": whom}
        elif what == "initialise":
            words = [tuple(terms.values()), stage.scene.plans(terms), [1]]
        elif what == "withdraw":
            payee = other if twist != "content" else stage.scene.market.address  # it takes no coin
            words, given = [payee], {"taken": payee == other}
        elif what == "withdraw_token":
            words, payee = [other], other
        elif what == "burn":
            payee = BURN
        return given, words, value, payee

    def signer(self, right: bool) -> str:
        """The aggregator, or somebody else."""
        wanted = self.model.aggregator
        return wanted if right and wanted != NOBODY else next(who for who in self.stage.names if who != wanted)

    def commitment(self, trainer: str) -> Any:
        scene = self.stage.scene
        return scene.commitment(trainer, RoundId(scene.chain.id, int(self.address, 16), self.model.round))

    def unadmitted(self) -> list[str]:
        """Whoever may yet get a receipt, the root update last."""
        model = self.model
        undecided = [who for who, admitted in model.seats.items() if not admitted]
        return undecided + [NOBODY] * (0 < model.round == model.offered)

    def receipt(self, signer: str, whom: str) -> bytes:
        model = self.model
        root = model.round > 0 and model.round in (model.offered, model.admitted)
        there = root if whom == NOBODY else whom in model.seats
        return self.stage.receipt(signer, model.round, "" if whom == NOBODY else whom) if there else bytes(65)

    def settlement(self, what: str, draft: Result | None, twist: str) -> list[Any]:
        """Base proof, decision, CID, signature, as the function takes them; `self.result` is what they say."""
        if draft is None:
            base, decision, cid, publication = NO_BASE, NO_DECISION, b"", b""
            return self.arranged(what, bytes(32), base, decision, cid, publication)
        stage, scene, n = self.stage, self.stage.scene, len(self.model.seats)
        self.result = Result(draft.mask[:n], draft.scores[:n], draft.nu)
        references = self.references()
        if twist == "references" and references:
            references[-1] = tuple(point(5000, chunk) for chunk in range(len(references[-1])))
        proof = scene.proof(mask=self.result.mask, scores=self.result.scores, nu=self.result.nu, references=references)
        self.aggregate = aggregate_points(scene.manifest(n), proof.commitments, self.result.mask)
        withheld = sum(self.result.mask) < self.model.terms["minAccepted"]
        cid = b"" if withheld else CID
        signer = self.signer(twist != "signature")
        publication = scene.publication(proof, cid, stage.accounts[signer])
        base = base_words(proof, [CID] * (n + self.model.has_root), references)
        theta = self.theta(self.model.moves)
        if twist == "references" and not references:  # the model before the last round; if that is this one, none
            stale = self.theta(self.model.moves[:-1])
            theta = stale if stale != theta else (*theta[:-1], point(5000, 0))
        mask, scores, *rest = decision_words(proof, theta)
        if twist == "content":
            self.result.scores = (2**64, *self.result.scores[1:])
            scores = list(self.result.scores)
        if twist == "value":
            cid = CID if withheld else b""
        return self.arranged(what, last_seed(proof, references), base, (mask, scores, *rest), cid, publication)

    def loss(self, draft: Result | None, twist: str) -> tuple[list[Any], dict[str, Any]]:
        """The next coalition that is due, or what is wrong with it."""
        given = {"coalition": 0, "loss": 0, "described": twist != "references", "known": twist != "content"}
        if draft is None:
            return [(0, [], [], [], [], 0, 0, b"")], given
        model, scene = self.model, self.stage.scene
        mask, slots = model.outcome[0], list(model.seats)
        open_ = [one for one in model.due if one not in model.losses]
        coalition = next(iter(model.losses), open_[0]) if twist == "again" else open_[0]
        coalition = 1 << len(slots) if twist == "signature" else coalition
        given["coalition"] = coalition
        given["loss"] = (
            LOSS_LIMIT if twist == "value" else draft.scores[len(model.losses) % 6] + coalition % 3 * draft.nu
        )
        left = [slot for slot in range(len(slots)) if (mask & ~coalition) >> slot & 1]
        points = [self.commitment(slots[slot]).points for slot in left]
        after, (_, w) = self.theta(model.moves + model.move), model.move[0]
        blinding, chunks = scene.values["blinding"], scene.values["chunks"]
        own = [
            multiply_add([after[c], *(one[c] for one in points), blinding], [1, *[-w] * len(points), w * len(points)])
            for c in range(chunks)
        ]
        words = scoring.descriptor_words(chunks)
        words[-1] += twist == "references"
        shown = (*after[:-1], point(5000, 0)) if twist == "content" else after
        pairs = [(one, CID) for one in points]
        claim = utility_words(coalition, words, shown, pairs, (9, given["loss"]), scoring.proof_of(own))
        return [claim], given

    def arranged(
        self, what: str, seed: bytes, base: tuple[Any, ...], decision: tuple[Any, ...], cid: bytes, publication: bytes
    ) -> list[Any]:
        if what == "prove_base":
            return [base]
        return [base, decision, cid, publication] if what == "settle" else [seed, *base[:3], decision, cid, publication]

    def theta(self, moves: tuple[tuple[int, int], ...]) -> tuple[Point, ...]:
        """The model's commitment after these moves: C_Θ + Σ w·(C_A − B)."""
        values, found = self.stage.scene.values, first_theta(self.stage.scene.values["chunks"])
        for number, w in moves:
            found = tuple(
                multiply_add([old, summed, values["blinding"]], [1, w, -w])
                for old, summed in zip(found, self.aggregates[number], strict=True)
            )
        return found

    def theta_hash(self, moves: tuple[tuple[int, int], ...]) -> int:
        key = self.stage.scene.values["chunks"], moves, *(self.aggregates[number] for number, _ in moves)
        if key not in self.hashes:
            self.hashes[key] = int.from_bytes(points_hash(self.theta(moves)), "big")
        return self.hashes[key]

    def root(self, number: int) -> Commitment:
        """What the owner offers for a round."""
        return self.stage.scene.root(number, number)

    def references(self) -> list[tuple[Point, ...]]:
        """What the contract must demand: the zero vector's commitment where the model says that there is none."""
        scene, model = self.stage.scene, self.model
        absent = (scene.values["blinding"],) * scene.values["chunks"]
        root = self.root(model.round).points if model.has_root else absent
        return [root] * (model.references & 1) + [self.last or absent] * (model.references >> 1)

    # ---- looking and comparing

    def look(self) -> Seen:
        return self.stage.look(self.address, self.model)

    def compare(self) -> None:
        """What shows of the contract is what shows of the model."""
        model, seen = self.model, self.seen.state
        names = ("deadline", "round", "settled", "voids", "aggregator", "beta", "pool", "ending", "bond", "unburnt")
        names += ("offered", "admitted")
        want = {name: getattr(model, name) for name in names}
        want |= {"phase": model.phase(self.now), "isClaimed": model.held}
        want["seats"] = list(model.seats.items())
        have = {name: seen[name] for name in want}
        assert have == want
        wait = model.windows.admit if want["phase"] == Phase.ADMIT else 0
        one_call = ("round", "settled", "voids", "aggregator", "beta", "pool", "bond", "unburnt", "ending", "isClaimed")
        words = [want["phase"], self.now, model.deadline + wait, *(want[name] for name in one_call)]
        words.append(self.theta_hash(model.moves))
        assert [address(word) if i == 6 else word for i, word in enumerate(seen["state"])] == words
        for who, own in self.seen.people.items():
            other = model.people.get(who)
            expected = {name: getattr(other, name) if other else 0 for name in own}
            assert own == expected, self.stage.names[who]
        if model.outcome is not None:
            mask, rate, beta, scores = model.outcome
            _, *head, _, count = seen["outcome"][:9]
            packed = sum(word << (256 * i) for i, word in enumerate(seen["outcome"][9 : 9 + count]))
            assert head[5] == self.theta_hash(model.moves + model.move)
            assert head[:3] == [mask, rate, beta] and (head[3] == 0) != model.has_last
            assert head[4] == int.from_bytes(keccak(b"" if model.withheld else CID), "big")
            assert packed == sum(score << (64 * i) for i, score in enumerate(scores))
            assert seen["proven"].bit_count() == len(model.losses)

    # ---- laws that need no model

    def check_money(self, what: str, before: Seen, moved: Mapping[str, int], payee: str) -> None:
        """Coin leaves for the payee of a withdrawal or a burn alone; what went in is out or still there."""
        for ledger, then, now, mover in (
            (self.coin, before.coin, self.seen.coin, ("withdraw", "burn")),
            (self.tokens, before.tokens, self.seen.tokens, ("withdraw_token",)),
        ):
            sent = moved if ledger is self.coin else {}
            gains = {who: now[who] - then[who] + sent.get(who, 0) for who in now if who != self.address}
            gains = {who: gain for who, gain in gains.items() if gain}
            assert set(gains) <= ({payee} if what in mover and moved else set()), (what, gains)
            assert all(gain > 0 for gain in gains.values())
            ledger.paid += sum(sent.values())
            ledger.got += sum(gains.values())
            assert now[self.address] == ledger.left

    def check_balance(self) -> None:
        """The balance covers all that is owed to somebody, and what is more was forced upon it."""
        seen, terms = self.seen, self.model.terms
        reward, fee = terms["reward"], terms["fee"]
        owed = {Phase.PROVE: reward + fee, Phase.SCORE: reward + fee, Phase.SETTLED: 0 if self.feeless else fee}
        rewards = (
            seen.state["pool"]
            + owed.get(Phase(seen.state["phase"]), 0)
            + sum(own["credit"] for own in seen.people.values())
        )
        coin = sum(own["stake"] + own["refund"] for own in seen.people.values())
        coin += seen.state["bond"] + seen.state["unburnt"] + (terms["penaltyWei"] if seen.state["offered"] else 0)
        if self.model.native:
            coin, rewards = coin + rewards, 0
        assert (coin, rewards) == self.model.holdings()
        assert seen.coin[self.address] == coin + self.coin.forced
        assert seen.tokens[self.address] == rewards + self.tokens.forced

    def check_claims(self, what: str, caller: str, before: Seen, done: Done) -> None:
        """Who gains a reward, and that nobody loses but by its own withdrawal or a penalty that the log names."""
        terms, phase = self.model.terms, Phase(self.seen.state["phase"])
        ended = phase == Phase.ENDED and before.state["phase"] != Phase.ENDED
        admitted = {who for who, _ in self.seen.state["seats"]}
        burnt: Counter[str] = Counter()
        for event in done.events:
            if event.name in ("Skipped", "Refused"):
                who = event.topics[0] if event.name == "Skipped" else event.topics[1]
                burnt[address(who)] += event.words[0]
        failed = {event.name for event in done.events} & {"Refused", "AdmissionFailed", "Failed", "ScoringFailed"}
        for who, own in self.seen.people.items():
            gain = own["credit"] - before.people[who]["credit"]
            if gain < 0:
                assert what in ("withdraw", "withdraw_token") and who == caller and own["credit"] == 0
            most = 0
            if what in PAYS and who in admitted:
                most += terms["reward"]
            if what in PAYS and who == terms["owner"]:
                most += max(0, len(admitted) - 1)  # dust
            if what == "next" and who == before.state["aggregator"] and not self.feeless:
                most += terms["fee"]
            if ended and who == terms["owner"]:
                most += before.state["pool"] + (terms["reward"] + terms["fee"] if what == "fail" else 0)
            assert gain <= most, (what, self.stage.names[who])
            if what == "withdraw" and who == caller:
                continue
            lost = before.claim_of(who) - self.seen.claim_of(who)
            bond = before.state["bond"] if failed and before.state["aggregator"] == who else 0
            assert lost <= burnt[who] + bond, (what, self.stage.names[who])

    def check_rounds(self, before: Seen, done: Done) -> None:
        """Counters grow by one, phases follow the diagram, and a round that was started ends once or is live."""
        then, now = before.state, self.seen.state
        for name in ("round", "settled", "voids"):
            assert now[name] - then[name] in (0, 1), name
        assert now["round"] <= now["settled"] + now["voids"] + 1
        path = [Phase(then["phase"]), Phase(now["phase"])]
        if path in ([Phase.SUBMIT, Phase.PROVE], [Phase.SUBMIT, Phase.VACANT]):
            path.insert(1, Phase.ADMIT)  # by the clock, since the last look
        assert all(a == b or (a, b) in EDGES or path[0] == Phase.SUBMIT for a, b in itertools.pairwise(path)), path
        for event in done.events:
            if event.name in ("Settled", "Voided", "AdmissionFailed", "Failed"):
                self.ends[event.topics[0]] += 1
        live = now["phase"] in (Phase.SUBMIT, Phase.ADMIT, Phase.PROVE)
        assert self.ends == Counter(range(1, now["round"] + (not live)))

    def count(self, what: str) -> None:
        self.stage.tally[what] += 1

    # ---- the end

    def come_to_an_end(self) -> None:
        """Whatever the state: time-outs by a stranger end it, everybody withdraws, nothing is left."""
        model = self.model
        bound = 3 + model.terms["voidLimit"]  # ADMIT → PROVE → VACANT → ENDED, or once round OPEN for every void
        for step in itertools.count():
            phase = self.model.phase(self.now)
            if phase == Phase.ENDED:
                break
            assert step < bound
            if phase == Phase.ADMIT:
                enough = sum(self.model.seats.values()) >= model.terms["minTrainers"]
                self.do("lock" if enough else "fail_admission", "stranger", "late")
            else:
                if phase == Phase.SUBMIT and len(self.model.seats) >= model.terms["minTrainers"]:
                    self.do("void_round", "stranger", "late")  # refused: the clock has made it ADMIT
                    continue
                self.do(TIME_OUTS[phase], "stranger", "late")
        for who in ACTORS:
            where = self.stage.addresses[who]
            if self.seen.people[where]["credit"] or self.seen.claim_of(where):
                self.do("withdraw", who, whom=who)
            if self.model.of(where).due:  # of whom penalties take all: there was nothing to withdraw
                self.do("refresh", "stranger", whom=who)
            if self.seen.people[where]["credit"]:
                self.do("withdraw_token", who, whom=who)
        if self.seen.state["unburnt"]:
            self.do("burn", "stranger")
        assert not any(own["credit"] + own["stake"] + own["refund"] for own in self.seen.people.values())
        assert self.seen.coin[self.address] == self.coin.forced
        assert self.seen.tokens[self.address] == self.tokens.forced
        assert self.coin.got == self.coin.paid and self.tokens.got == self.tokens.paid


# ---------------------------------------------------------------- what was taken


def describe(what: str, at: int, model: Model, then: Model, caller: str) -> str:
    """A call that went through: from which phase to which, and by which of its branches."""
    why = ""
    owner, own = model.terms["owner"], then.of(caller)
    if then.stored == Phase.ENDED and what in ("skip", "void_round", "fail_admission", "fail"):
        why = "void limit" if then.voids == model.terms["voidLimit"] else "announced"
    elif then.stored == Phase.ENDED and what == "next":
        why = "last round" if then.settled == model.terms["rounds"] else "announced"
    elif what == "end":
        why = "owner" if caller == owner else "anyone"
    elif what == "accept":
        why = "announced" if then.stored == Phase.ENDED else ""
    elif what == "lock":
        why = "root refused" if model.offered else "all admitted" if all(model.seats.values()) else "some refused"
    elif what in ("fail_admission", "void_round"):
        why = "with a root" if model.offered else ""
    elif what == "admit":
        why = "root" if then.admitted != model.admitted else ""
    elif what in SETTLES:
        why = "withheld" if then.withheld else "by score" if any(then.outcome[3]) else "all zero"
        if model.by_loss:
            why = f"{why}, by loss" if then.withheld else ""
    elif what == "prove_utility" and then.stored == Phase.SETTLED:
        why = "by score" if any(then.outcome[3]) else "all zero"
    elif what == "offer_root":
        why = "in another's place" if model.offered else ""
    elif what == "start":
        whose = "second aggregator" if model.aggregator != model.terms["aggregator"] else ""
        why = ", ".join(filter(None, (whose, "with a root on offer" if model.offered else "")))
    elif what == "claim":
        why = "owner" if caller == owner else "majority" if then.held and not then.owner_claims else "minority"
    elif what in ("join", "leave_project", "refresh", "withdraw", "burn", "top_up", "withdraw_token"):
        burnt = then.unburnt - model.unburnt
        if what == "join":
            why = "new" if model.of(caller).stake == 0 else "filled up" if own.stake > model.of(caller).stake else ""
        elif burnt > 0:
            why = "penalty"
        return ", ".join(filter(None, (what, why)))
    if what == "next" and model.held:
        why = ", ".join(filter(None, (why, "held")))
    line = f"{what}: {model.phase(at).name} → {then.phase(at).name}"
    return ", ".join(filter(None, (line, why)))


TRANSITIONS = """
create: native reward
create: token reward
accept: CREATED → OPEN
accept: VACANT → OPEN
accept: VACANT → ENDED, announced
cancel: CREATED → ENDED
start: OPEN → SUBMIT
start: OPEN → SUBMIT, second aggregator
start: OPEN → SUBMIT, with a root on offer
start: OPEN → SUBMIT, second aggregator, with a root on offer
offer_root: OPEN → OPEN
offer_root: OPEN → OPEN, in another's place
skip: OPEN → OPEN
skip: OPEN → ENDED, void limit
skip: OPEN → ENDED, announced
void_round: SUBMIT → OPEN
void_round: SUBMIT → OPEN, with a root
submit: SUBMIT → SUBMIT
submit: SUBMIT → ADMIT
admit: ADMIT → ADMIT
admit: ADMIT → ADMIT, root
void_round: SUBMIT → ENDED, void limit
void_round: SUBMIT → ENDED, announced
lock: ADMIT → PROVE, all admitted
lock: ADMIT → PROVE, some refused
lock: ADMIT → PROVE, root refused
fail_admission: ADMIT → VACANT
fail_admission: ADMIT → VACANT, with a root
fail_admission: ADMIT → ENDED, void limit
settle: PROVE → SETTLED, by score
settle: PROVE → SETTLED, all zero
settle: PROVE → SETTLED, withheld
prove_base: PROVE → PROVE
settle_proven: PROVE → SETTLED, by score
settle_proven: PROVE → SETTLED, all zero
settle_proven: PROVE → SETTLED, withheld
settled with a root
settled without a root
settled with a last
settled without a last
settle: PROVE → SCORE
settle: PROVE → SETTLED, withheld, by loss
settle_proven: PROVE → SCORE
prove_utility: SCORE → SCORE
prove_utility: SCORE → SETTLED, by score
prove_utility: SCORE → SETTLED, all zero
fail_score: SCORE → SETTLED
next: SETTLED → VACANT
fail: PROVE → VACANT
fail: PROVE → ENDED, void limit
claim: SETTLED → SETTLED, owner
claim: SETTLED → SETTLED, minority
claim: SETTLED → SETTLED, majority
unclaim: SETTLED → SETTLED
next: SETTLED → OPEN
next: SETTLED → OPEN, held
next: SETTLED → ENDED, last round
next: SETTLED → ENDED, last round, held
next: SETTLED → ENDED, announced
name_aggregator: VACANT → VACANT
end: VACANT → ENDED, owner
end: VACANT → ENDED, anyone
join, new
join, filled up
leave_project
leave_project, penalty
refresh
refresh, penalty
top_up
withdraw
withdraw, penalty
withdraw_token
burn
""".strip().splitlines()

REFUSALS = {
    "accept": "WrongPhase TooLate WrongCaller WrongValue",
    "cancel": "WrongPhase TooEarly",
    "top_up": "WrongPhase WrongCaller WrongValue",
    "start": "WrongPhase TooLate TooEarly WrongCaller BondNotFull WrongCid",
    "skip": "WrongPhase TooEarly",
    "join": "WrongPhase TooLate WrongSigner WrongValue",
    "leave_project": "NotAMember LiveSubmission",
    "submit": "WrongPhase TooLate NotAMember StakeNotFull AlreadySubmitted WrongCid",
    "void_round": "WrongPhase TooEarly",
    "admit": "WrongPhase TooLate WrongLength NoSuchSeat WrongSigner",
    "lock": "WrongPhase TooEarly NotEnoughSubmissions",
    "fail_admission": "WrongPhase TooEarly EnoughSubmissions",
    "offer_root": "WrongPhase TooLate WrongCaller NoRootSlot WrongCid WrongValue",
    "settle": "WrongPhase TooLate WrongPoints OutOfBounds WrongModel WrongCid WrongSigner",
    "prove_base": "WrongPhase TooLate WrongPoints",
    "settle_proven": "WrongPhase TooLate WrongPoints NotProven OutOfBounds WrongModel WrongCid WrongSigner",
    "prove_utility": "WrongPhase TooLate NotDue AlreadyProven WrongDescriptor WrongModel OutOfBounds",
    "fail_score": "WrongPhase TooEarly",
    "fail": "WrongPhase TooEarly",
    "claim": "WrongPhase TooLate NothingToServe NoSuchSeat AlreadyClaimed",
    "unclaim": "WrongPhase NoSuchSeat NotClaimed",
    "next": "WrongPhase TooEarly",
    "name_aggregator": "WrongPhase TooLate WrongCaller",
    "end": "WrongPhase TooEarly",
    "announce_end": "WrongPhase WrongCaller",
    "initialise": "AlreadyInitialised",
    "withdraw": "NothingToWithdraw PaymentRefused",
    "withdraw_token": "NothingToWithdraw",
    "burn": "NothingToWithdraw",
}


def test_contract_and_model_agree_and_every_transition_is_taken(deployed: Scene) -> None:
    class Run(Projects):
        stage = Stage(deployed)

    examples = int(os.environ.get("ZKMARKET_EXAMPLES", EXAMPLES if ALL else FEW))
    run_state_machine_as_test(
        Run,
        settings=settings(
            max_examples=examples,
            stateful_step_count=STEPS,
            derandomize=examples <= EXAMPLES,
            database=None,
            deadline=None,
            suppress_health_check=HealthCheck.all(),
        ),
    )
    tally = Run.stage.tally
    wanted = [*TRANSITIONS, *(f"create refused: {broken}" for broken in BROKEN)]
    wanted += [f"{what} refused: {error}" for what, errors in REFUSALS.items() for error in errors.split()]
    table = "\n".join(f"{tally[line]:6} {line}" for line in sorted({*wanted, *tally}))
    if os.environ.get("ZKMARKET_TABLE"):
        print(table)
    missing = [line for line in wanted if not tally[line]]
    assert len(missing) <= (0 if examples >= EXAMPLES else len(wanted) // 10), f"never taken: {missing}\n{table}"
