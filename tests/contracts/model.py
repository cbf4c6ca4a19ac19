"""A project as contracts/README.md says that it is, in plain Python: the oracle of test_invariants.py.

Written from the tables there, not from the Solidity. Where the contract keeps its books lazily this model does not:
a void round is noted at once for each member that missed it. Only what shows is lazy: the penalties are taken when
the account is next used.

An action needs ``now <= deadline``, a time-out ``now > deadline``; the phase is checked first, the deadline next.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import permutations
from math import floor
from typing import Any

from zkmarket.chain import NOBODY, Phase
from zkmarket.market import Windows

SKIPS_ALLOWED = 2
RUNNING = (Phase.OPEN, Phase.SUBMIT, Phase.ADMIT, Phase.PROVE, Phase.SCORE, Phase.SETTLED)
SCORE_LIMIT = 2**64
LOSS_LIMIT, LARGEST_LOSS = 2**120, 2**56

EDGES = {
    (Phase.CREATED, Phase.OPEN),
    (Phase.CREATED, Phase.ENDED),
    (Phase.OPEN, Phase.SUBMIT),
    (Phase.OPEN, Phase.ENDED),
    (Phase.SUBMIT, Phase.OPEN),
    (Phase.SUBMIT, Phase.ENDED),
    (Phase.SUBMIT, Phase.ADMIT),
    (Phase.ADMIT, Phase.PROVE),
    (Phase.ADMIT, Phase.VACANT),
    (Phase.ADMIT, Phase.ENDED),
    (Phase.PROVE, Phase.SETTLED),
    (Phase.PROVE, Phase.SCORE),
    (Phase.SCORE, Phase.SETTLED),
    (Phase.SETTLED, Phase.VACANT),
    (Phase.PROVE, Phase.VACANT),
    (Phase.PROVE, Phase.ENDED),
    (Phase.SETTLED, Phase.OPEN),
    (Phase.SETTLED, Phase.ENDED),
    (Phase.VACANT, Phase.OPEN),
    (Phase.VACANT, Phase.ENDED),
}
"""From one phase to the next: the diagram, and the void limit, which may end a project wherever a round fails."""

TIME_OUTS = {
    Phase.CREATED: "cancel",
    Phase.OPEN: "skip",
    Phase.SUBMIT: "void_round",
    Phase.PROVE: "fail",
    Phase.SCORE: "fail_score",
    Phase.SETTLED: "next",
    Phase.VACANT: "end",
}
"""What anyone may call after the deadline. ADMIT has two: `lock` and `fail_admission`."""


class Refused(Exception):
    """The contract refuses; the name of its error."""

    @property
    def name(self) -> str:
        return str(self.args[0])


@dataclass
class Standing:
    """One account. `due`: void rounds that it missed and has not paid for."""

    credit: int = 0
    stake: int = 0
    refund: int = 0
    last_round: int = 0
    voids_seen: int = 0
    skipped: int = 0
    due: list[int] = field(default_factory=list)


@dataclass
class Result:
    """What a settlement decides: bits and scores in the order of slots, ν."""

    mask: tuple[int, ...]
    scores: tuple[int, ...]
    nu: int


@dataclass
class Model:
    """One project. Actions are the contract's functions in snake case: `(now, caller, …)`; they raise `Refused`.

    Attributes:
        terms: by the names of Types.sol.
        stored: the phase without the clock: ADMIT is SUBMIT after its deadline, or with all seats taken.
        seats: of the current round: trainer → admitted, in the order of slots.
        owed: R + F in PROVE and SCORE, F in SETTLED unless the scoring failed.
        references: bits of the plans: root, last.
        offered: the round that a root update is offered for and undecided, its deposit here; 0: none.
        admitted: the last round that has a root update.
        proven: whether a base proof of the round was accepted by itself.
        unserved: the last settled round was closed as not served, so that it has no aggregate to compare with.
        moves: what the closed rounds have added to the model: (round, w), w times the sum of its accepted updates.
        move: what the last settled round adds, once it is closed and not claimed.
        losses: that are proven of the last round that came to SCORE, by coalition: slots as bits.
    """

    terms: Mapping[str, Any]
    rates: Sequence[int]
    deadline: int
    aggregator: str
    beta: int
    pool: int
    stored: Phase = Phase.CREATED
    round: int = 0
    settled: int = 0
    voids: int = 0
    void_rounds: int = 0
    bond: int = 0
    unburnt: int = 0
    owed: int = 0
    ending: bool = False
    owner_claims: bool = False
    claims: set[str] = field(default_factory=set)
    claimed: set[str] = field(default_factory=set)
    seats: dict[str, bool] = field(default_factory=dict)
    people: dict[str, Standing] = field(default_factory=dict)
    outcome: tuple[int, int, int, tuple[int, ...]] | None = None
    """mask, rate, next beta, scores"""
    withheld: bool = False
    references: int = 0
    offered: int = 0
    admitted: int = 0
    proven: bool = False
    unserved: bool = False
    moves: tuple[tuple[int, int], ...] = ()
    move: tuple[tuple[int, int], ...] = ()
    losses: dict[int, int] = field(default_factory=dict)

    @classmethod
    def create(cls, terms: Mapping[str, Any], rates: Sequence[int], now: int, references: int = 0) -> Model:
        pool = terms["rounds"] * (terms["reward"] + terms["fee"])
        deadline = now + Windows(*terms["windows"]).accept
        return cls(terms, rates, deadline, terms["aggregator"], terms["beta"], pool, references=references)

    def after(self, action: str, now: int, who: str, **given: Any) -> Model | Refused:
        """This project after an action, or the reason of its refusal. Leaves this one as it is."""
        then = copy.deepcopy(self, {id(self.terms): self.terms})
        try:
            getattr(then, action)(now, who, **given)
        except Refused as refusal:
            return refusal
        return then

    # ---- reading

    @property
    def windows(self) -> Windows:
        return Windows(*self.terms["windows"])

    @property
    def native(self) -> bool:
        return self.terms["token"] == NOBODY

    @property
    def held(self) -> bool:
        """Whether the last aggregate counts as not served."""
        return self.stored == Phase.SETTLED and (self.owner_claims or 2 * len(self.claims) > len(self.seats))

    def phase(self, now: int) -> Phase:
        closed = len(self.seats) == self.terms["maxTrainers"] or (now > self.deadline and self.enough)
        return Phase.ADMIT if self.stored == Phase.SUBMIT and closed else self.stored

    @property
    def enough(self) -> bool:
        return len(self.seats) >= self.terms["minTrainers"]

    @property
    def has_root(self) -> bool:
        """Whether the current round has a root update: with the aggregator's receipt."""
        return self.round > 0 and self.admitted == self.round

    def limit(self, action: str) -> int:
        """Last second of an action, and the one before the first of a time-out, where the project now stands."""
        if action in ("admit", "lock", "fail_admission"):
            return self.deadline + self.windows.admit
        if action == "next" and self.held:
            return self.deadline + self.windows.lock
        return self.deadline

    @property
    def has_last(self) -> bool:
        """Whether there is an aggregate that the next settlement may be compared with."""
        return self.outcome is not None and not self.withheld and not self.unserved

    @property
    def earliest(self) -> int:
        """First second in which a round may start; later than the opening after a vacancy or a void round."""
        return self.deadline - self.windows.start

    def of(self, who: str) -> Standing:
        return self.people.setdefault(who, Standing())

    def missing(self, who: str) -> int:
        """What `join` asks of an account, penalties due included."""
        then = copy.deepcopy(self, {id(self.terms): self.terms})
        then._update(who)
        return self.terms["stakeWei"] - then.of(who).stake

    def holdings(self) -> tuple[int, int]:
        """Native coin and tokens that belong to somebody."""
        rewards = self.pool + self.owed + sum(own.credit for own in self.people.values())
        coin = self.bond + self.unburnt + sum(own.stake + own.refund for own in self.people.values())
        coin += self.terms["penaltyWei"] if self.offered else 0
        return (coin + rewards, 0) if self.native else (coin, rewards)

    # ---- the aggregator

    def accept(self, now: int, who: str, value: int) -> None:
        phase = self._need(now, Phase.CREATED, Phase.VACANT)
        self._until(now, self.deadline)
        self._only(who, self.aggregator)
        self._pays(value, self.terms["bondWei"])
        self.bond = value
        self._open(now, self.windows.exit if phase == Phase.VACANT else 0)

    def cancel(self, now: int, who: str) -> None:
        self._need(now, Phase.CREATED)
        self._past(now, self.deadline)
        self._end()

    def top_up(self, now: int, who: str, value: int) -> None:
        self._need(now, *RUNNING)
        self._only(who, self.aggregator)
        self._pays(value, self.terms["bondWei"] - self.bond)
        self.bond += value

    def start(self, now: int, who: str, good_keyring: bool) -> None:
        self._need(now, Phase.OPEN)
        self._until(now, self.deadline)
        self._past(now, self.earliest - 1)
        self._only(who, self.aggregator)
        if self.bond < self.terms["bondWei"]:
            raise Refused("BondNotFull")
        if not good_keyring:
            raise Refused("WrongCid")
        self.round += 1
        self.seats, self.proven = {}, False
        self._enter(Phase.SUBMIT, now + self.windows.submit)

    def skip(self, now: int, who: str) -> None:
        self._need(now, Phase.OPEN)
        self._past(now, self.deadline)
        if not self._one_void_more():
            self._open(now)

    # ---- trainers

    def join(self, now: int, who: str, value: int, listed: bool) -> None:
        if self.stored not in (Phase.OPEN, Phase.SUBMIT):
            raise Refused("WrongPhase")
        if self.stored == Phase.SUBMIT:
            self._until(now, self.deadline)  # also where the last seat was taken before it
        if not listed and not self.terms["openAdmission"]:
            raise Refused("WrongSigner")
        own = self._update(who)
        self._pays(value, self.terms["stakeWei"] - own.stake)
        if own.stake == 0:
            own.skipped = 0
        own.stake += value

    def leave_project(self, now: int, who: str) -> None:
        if self.of(who).stake == 0:
            raise Refused("NotAMember")
        undecided = self.stored == Phase.SUBMIT and (now <= self.deadline or not self.enough)
        if undecided or (self.stored in (Phase.SUBMIT, Phase.PROVE) and who in self.seats):
            raise Refused("LiveSubmission")
        self._release(self._update(who))

    def refresh(self, now: int, who: str, whom: str) -> None:
        self._update(whom)

    def submit(self, now: int, who: str, good_cid: bool) -> None:
        self._need(now, Phase.SUBMIT)
        self._until(now, self.deadline)
        own = self._update(who)
        if own.stake == 0:
            raise Refused("NotAMember")
        if own.stake < self.terms["stakeWei"]:
            raise Refused("StakeNotFull")
        if who in self.seats:
            raise Refused("AlreadySubmitted")
        if not good_cid:
            raise Refused("WrongCid")
        self.seats[who] = False
        own.last_round = self.round

    # ---- admission

    def void_round(self, now: int, who: str) -> None:
        self._need(now, Phase.SUBMIT)
        self._past(now, self.deadline)
        for name, own in self.people.items():
            if own.stake and name not in self.seats:
                own.due.append(self.round)
        self.void_rounds += 1
        self._return_deposit()
        if not self._one_void_more():
            self._open(now, self.windows.exit)

    def admit(self, now: int, who: str, whom: Sequence[str], signed: bool, whole: bool) -> None:
        """`whom`: trainers, NOBODY for the root update. `whole`: a receipt for each."""
        self._need(now, Phase.ADMIT)
        self._until(now, self.limit("admit"))
        if not whole:
            raise Refused("WrongLength")
        for name in whom:
            if name == NOBODY and not self.has_root:
                if self.offered != self.round:
                    raise Refused("NoSuchSeat")
                self._signed(signed)
                self._return_deposit()
                self.admitted = self.round
            elif name != NOBODY:
                self._seat(name)
                if not self.seats[name]:
                    self._signed(signed)
                    self.seats[name] = True

    def lock(self, now: int, who: str) -> None:
        self._need(now, Phase.ADMIT)
        if self.offered or not all(self.seats.values()):
            self._past(now, self.limit("lock"))
        if sum(self.seats.values()) < self.terms["minTrainers"]:
            raise Refused("NotEnoughSubmissions")
        self._refuse_others()
        self.owed = self.terms["reward"] + self.terms["fee"]
        self.pool -= self.owed
        self._enter(Phase.PROVE, now + self.windows.prove)

    def fail_admission(self, now: int, who: str) -> None:
        self._need(now, Phase.ADMIT)
        self._past(now, self.limit("fail_admission"))
        if sum(self.seats.values()) >= self.terms["minTrainers"]:
            raise Refused("EnoughSubmissions")
        self._refuse_others()
        self._burn_bond(self.terms["reward"] if self.native else self.terms["bondWei"] // 2)
        self._vacate(now)

    # ---- settlement

    def prove_base(self, now: int, who: str, compared: bool) -> None:
        """`compared`: with the references that this round has."""
        self._provable(now, compared)
        self.proven = True

    def settle_proven(
        self, now: int, who: str, result: Result | None, signed: bool, good_cid: bool, compared: bool, known: bool
    ) -> None:
        self._provable(now, compared)
        if not self.proven:
            raise Refused("NotProven")
        self.settle(now, who, result, signed, good_cid, compared, known)

    def settle(
        self, now: int, who: str, result: Result | None, signed: bool, good_cid: bool, compared: bool, known: bool
    ) -> None:
        """`known`: with the commitment of the model as it is."""
        self._provable(now, compared)
        assert result is not None
        if max(result.scores) >= SCORE_LIMIT or result.nu >= SCORE_LIMIT:
            raise Refused("OutOfBounds")
        if not known:
            raise Refused("WrongModel")
        if not good_cid:
            raise Refused("WrongCid")
        if not signed:
            raise Refused("WrongSigner")
        aim = self.terms["kappa"] * result.nu // 1000
        least = max(self.beta // 2, self.terms["betaMin"])
        most = min(self.beta * 2, self.terms["betaMax"])
        self.beta = min(max(aim, least), most)
        rate = self.rates[min(self.settled, len(self.rates) - 1)]
        mask = sum(bit << slot for slot, bit in enumerate(result.mask))
        scores = (0,) * len(self.seats) if self.by_loss else result.scores
        self.outcome = (mask, rate, self.beta, scores)
        self.withheld = sum(result.mask) < self.terms["minAccepted"]
        exact = Fraction(rate << self.terms["thetaBits"], 10**9 * max(1, sum(result.mask)))
        self.move = () if self.withheld else ((self.round, floor(exact + Fraction(1, 2))),)
        self.unserved = False
        self.owner_claims, self.claims, self.claimed = False, set(), set()
        self.settled += 1
        if self.by_loss and not self.withheld:
            self.losses = {}
            self._enter(Phase.SCORE, now + self.terms["scoring"][5])
            return
        sharers = result.mask if self.by_loss and any(result.mask) else (1,) * len(self.seats)
        self._pay(now, sharers, scores, 0)

    # ---- scores by the model's loss

    @property
    def by_loss(self) -> bool:
        return self.terms["scoring"][3] != 0

    @property
    def due(self) -> list[int]:
        """Coalitions of the last settled round whose losses pay it, as bits; all of the accepted first."""
        mask = self.outcome[0]
        players = [slot for slot in range(64) if mask >> slot & 1]
        if self.terms["scoring"][3] == 1:
            return [mask, *(mask - (1 << slot) for slot in players)]
        return [one for one in range(mask, -1, -1) if one | mask == mask]

    def prove_utility(self, now: int, who: str, coalition: int, loss: int, described: bool, known: bool) -> None:
        """`described`: with the descriptor of the project's model; `known`: with the commitment that it has."""
        self._need(now, Phase.SCORE)
        self._until(now, self.deadline)
        if coalition not in self.due:
            raise Refused("NotDue")
        if coalition in self.losses:
            raise Refused("AlreadyProven")
        if not described:
            raise Refused("WrongDescriptor")
        if not known:
            raise Refused("WrongModel")
        if loss >= LOSS_LIMIT:
            raise Refused("OutOfBounds")
        self.losses[coalition] = min(loss, LARGEST_LOSS)
        if len(self.losses) == len(self.due):
            self._score(now, self._worth())

    def fail_score(self, now: int, who: str) -> None:
        self._need(now, Phase.SCORE)
        self._past(now, self.deadline)
        self._burn_bond(self.bond)
        self.pool += self.terms["fee"]
        self.owed -= self.terms["fee"]
        self._score(now, (0,) * len(self.seats))

    def _worth(self) -> tuple[int, ...]:
        """What each slot takes off the loss: of all, or over every order in which the accepted can come."""
        mask, found = self.outcome[0], []
        players = [slot for slot in range(len(self.seats)) if mask >> slot & 1]
        for slot in range(len(self.seats)):
            orders = [[*(one for one in players if one != slot), slot]] if self.terms["scoring"][3] == 1 else []
            total = 0
            for order in (orders or permutations(players)) if slot in players else ():
                before = sum(1 << one for one in order[: order.index(slot)])
                total += self.losses[before] - self.losses[before | 1 << slot]
            found.append(max(0, total))
        return tuple(found)

    def _score(self, now: int, scores: Sequence[int]) -> None:
        mask, rate, beta, _ = self.outcome
        self.outcome = (mask, rate, beta, tuple(scores))
        sharers = [mask >> slot & 1 for slot in range(len(self.seats))]
        self._pay(now, sharers, scores, self.terms["scoring"][4])

    def _pay(self, now: int, sharers: Sequence[int], scores: Sequence[int], part: int) -> None:
        """Part of R, in billionths, equally among the sharers, the rest by score; all of it equally if all are 0."""
        reward, total = self.terms["reward"], sum(scores)
        common = reward * part // 10**9 if total else reward
        left = reward
        for name, shares, score in zip(self.seats, sharers, scores, strict=True):
            amount = common // sum(sharers) * shares
            amount += (reward - common) * score // total if total else 0
            self.of(name).credit += amount
            left -= amount
        self.of(self.terms["owner"]).credit += left
        self.owed -= reward
        self._enter(Phase.SETTLED, now + self.windows.claim)

    def fail(self, now: int, who: str) -> None:
        self._need(now, Phase.PROVE)
        self._past(now, self.deadline)
        share, rest = divmod(self.bond, len(self.seats))
        for name in self.seats:
            self.of(name).refund += share
        self.bond = rest
        self._burn_bond(rest)
        self.pool += self.owed
        self.owed = 0
        self._vacate(now)

    def claim(self, now: int, who: str) -> None:
        self._need(now, Phase.SETTLED)
        self._until(now, self.deadline)
        if self.withheld:
            raise Refused("NothingToServe")
        if who != self.terms["owner"]:
            self._seat(who)
        if who in self.claimed:
            raise Refused("AlreadyClaimed")
        self.claimed.add(who)
        if who == self.terms["owner"]:
            self.owner_claims = True
        else:
            self.claims.add(who)

    def unclaim(self, now: int, who: str) -> None:
        self._need(now, Phase.SETTLED)
        owner = who == self.terms["owner"]
        if not owner:
            self._seat(who)
        if not (self.owner_claims if owner else who in self.claims):
            raise Refused("NotClaimed")
        if owner:
            self.owner_claims = False
        else:
            self.claims.remove(who)

    def next(self, now: int, who: str) -> None:
        self._need(now, Phase.SETTLED)
        self._past(now, self.limit("next"))
        self.of(self.aggregator).credit += self.owed
        self.owed = 0
        self.unserved = self.held
        self.moves += () if self.held else self.move
        self.move = ()
        if self.settled == self.terms["rounds"]:
            self._end()
        elif self.bond == 0 and not self.ending:
            self._leave_vacant(now)
        else:
            self._open(now)

    # ---- the owner

    def offer_root(self, now: int, who: str, value: int, good_cid: bool) -> None:
        self._need(now, Phase.OPEN)
        self._until(now, self.deadline)
        self._only(who, self.terms["owner"])
        if not self.references & 1:
            raise Refused("NoRootSlot")
        if not good_cid:
            raise Refused("WrongCid")
        self._pays(value, 0 if self.offered else self.terms["penaltyWei"])
        self.offered = self.round + 1

    def name_aggregator(self, now: int, who: str, whom: str) -> None:
        self._need(now, Phase.VACANT)
        self._until(now, self.deadline)
        self._only(who, self.terms["owner"])
        self.aggregator = whom

    def end(self, now: int, who: str) -> None:
        self._need(now, Phase.VACANT)
        if who != self.terms["owner"]:
            self._past(now, self.deadline)
        self._end()

    def announce_end(self, now: int, who: str) -> None:
        self._need(now, *RUNNING)
        self._only(who, self.terms["owner"])
        self.ending = True

    def initialise(self, now: int, who: str) -> None:
        raise Refused("AlreadyInitialised")

    # ---- money out

    def withdraw(self, now: int, who: str, taken: bool) -> None:
        """`taken`: the payee accepts coin."""
        own = self.of(who)
        if self.stored == Phase.ENDED and own.stake:
            self._release(self._update(who))
        if own.refund + (own.credit if self.native else 0) == 0:
            raise Refused("NothingToWithdraw")
        if not taken:
            raise Refused("PaymentRefused")
        own.refund = 0
        if self.native:
            own.credit = 0

    def withdraw_token(self, now: int, who: str) -> None:
        own = self.of(who)
        if self.native or own.credit == 0:
            raise Refused("NothingToWithdraw")
        own.credit = 0

    def burn(self, now: int, who: str) -> None:
        if self.unburnt == 0:
            raise Refused("NothingToWithdraw")
        self.unburnt = 0

    # ---- inside

    def _need(self, now: int, *phases: Phase) -> Phase:
        phase = self.phase(now)
        if phase not in phases:
            raise Refused("WrongPhase")
        return phase

    def _until(self, now: int, limit: int) -> None:
        if now > limit:
            raise Refused("TooLate")

    def _past(self, now: int, limit: int) -> None:
        if now <= limit:
            raise Refused("TooEarly")

    def _only(self, who: str, wanted: str) -> None:
        if who != wanted:
            raise Refused("WrongCaller")

    def _pays(self, value: int, wanted: int) -> None:
        if value != wanted:
            raise Refused("WrongValue")

    def _provable(self, now: int, compared: bool) -> None:
        self._need(now, Phase.PROVE)
        self._until(now, self.deadline)
        if not compared:
            raise Refused("WrongPoints")

    def _signed(self, signed: bool) -> None:
        if not signed:
            raise Refused("WrongSigner")

    def _seat(self, who: str) -> None:
        if who not in self.seats:
            raise Refused("NoSuchSeat")

    def _enter(self, phase: Phase, deadline: int) -> None:
        self.stored, self.deadline = phase, deadline

    def _open(self, now: int, delay: int = 0) -> None:
        if self.ending:
            self._end()
        else:
            self._enter(Phase.OPEN, now + delay + self.windows.start)

    def _one_void_more(self) -> bool:
        """Whether the project has ended by it."""
        self.voids += 1
        if self.voids == self.terms["voidLimit"]:
            self._end()
        return self.stored == Phase.ENDED

    def _vacate(self, now: int) -> None:
        if not self._one_void_more():
            self._leave_vacant(now)

    def _leave_vacant(self, now: int) -> None:
        self._return_bond()
        self.aggregator = NOBODY
        self._enter(Phase.VACANT, now + self.windows.vacancy)

    def _end(self) -> None:
        self._return_bond()
        self._return_deposit()
        self.of(self.terms["owner"]).credit += self.pool
        self.pool = 0
        self.stored = Phase.ENDED

    def _return_bond(self) -> None:
        self.of(self.aggregator).refund += self.bond
        self.bond = 0

    def _return_deposit(self) -> None:
        """Of a root update that is undecided."""
        if self.offered:
            self.offered = 0
            self.of(self.terms["owner"]).refund += self.terms["penaltyWei"]

    def _burn_bond(self, amount: int) -> None:
        taken = min(amount, self.bond)
        self.bond -= taken
        self.unburnt += taken

    def _burn_stake(self, own: Standing) -> None:
        taken = min(self.terms["penaltyWei"], own.stake)
        own.stake -= taken
        self.unburnt += taken

    def _release(self, own: Standing) -> None:
        own.refund += own.stake
        own.stake = 0

    def _refuse_others(self) -> None:
        for name in [name for name, admitted in self.seats.items() if not admitted]:
            del self.seats[name]
            self._burn_stake(self.of(name))
            self._burn_bond(self.terms["penaltyWei"])
            self.of(name).last_round = 0
        if self.offered:
            self.offered = 0
            self.unburnt += self.terms["penaltyWei"]
            self._burn_bond(self.terms["penaltyWei"])

    def _update(self, who: str) -> Standing:
        """Take the penalties that are due; two void rounds missed end the membership."""
        own = self.of(who)
        for _ in own.due:
            if own.skipped < SKIPS_ALLOWED:
                own.skipped += 1
                self._burn_stake(own)
                if own.skipped == SKIPS_ALLOWED:
                    self._release(own)
        own.due, own.voids_seen = [], self.void_rounds
        return own
