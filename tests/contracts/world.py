"""A market without proofs: verifiers that accept everything, and rounds that are made up to fit the contract.

For the tests of states and money, which must be many and quick. That the contract asks its verifiers, and asks
them the right things, is tested with real proofs (test_real_rounds.py, test_mutation.py).
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest
from eth_hash.auto import keccak

from tests.contracts.scoring import SALTS, prove_all, scoring
from zkmarket.backend import Proof
from zkmarket.build import SUMS, Columns, Shape, masked_chunks
from zkmarket.chain import NOBODY, Chain, Phase, Receipt, compile_verifier
from zkmarket.crypto import GENERATOR, Point, encode_point, multiply_add
from zkmarket.errors import TransactionReverted
from zkmarket.market import (
    NO_SCORING,
    REFERENCES,
    Log,
    Market,
    Project,
    Verifier,
    Windows,
    model_commitments,
    points_hash,
    struct_words,
    submission_word,
)
from zkmarket.round import (
    BaseProof,
    Coefficients,
    Commitment,
    KnownReferences,
    Points,
    RoundId,
    RoundProof,
    combine,
    halves,
    pack,
    start_transcript,
)
from zkmarket.rules import shares

ETHER = 10**18
PENALTY = 4 * ETHER // 10  # of three trainers at least: more than the reward
CID = b"\x01\x55\x12\x20" + bytes(32)
KEY = b"\x11" * 32
WINDOW = 10_000
"""Seconds of every phase: more than a module of tests takes, for the chain's clock is never turned back."""

ACCEPT_ALL = """// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

contract AcceptAll {
    function verifyProof(bytes calldata, uint256[] calldata) external pure returns (bool) {
        return true;
    }
}
"""

NONCES = itertools.count(1)
"""A test may create the same project twice."""

DEFAULTS: dict[str, Any] = {
    "owner": None,
    "stakeWei": ETHER,
    "aggregator": None,
    "bondWei": 3 * ETHER,
    "token": NOBODY,
    "penaltyWei": PENALTY,
    "reward": ETHER,
    "fee": ETHER // 5,
    "rounds": 3,
    "voidLimit": 3,
    "minTrainers": 3,
    "maxTrainers": 5,
    "minAccepted": 3,
    "openAdmission": True,
    "params": 1500,  # two chunks of 896 at K = 10, the last one padded
    "logrows": 10,
    "rows": 29,
    "valueBits": 13,
    "salts": 8,
    "chunks": 2,
    "thetaBits": 9,
    "kappa": 2000,
    "beta": 10**6,
    "betaMin": 1500,
    "betaMax": 10**9,
    "blinding": None,
    "windows": (WINDOW,) * 9,
    "base": None,
    "model": b"\x22" * 32,
    "theta": None,
    "scoring": struct_words(NO_SCORING),
}
"""`Terms`, in the order of Types.sol; None is filled in by `Scene.terms`."""


@functools.cache
def point(*label: int) -> Point:
    """A point on the curve, the same for the same label, never infinity."""
    return multiply_add([GENERATOR], [int.from_bytes(keccak(repr(label).encode())[:31], "big") + 1])


def first_theta(chunks: int) -> tuple[Point, ...]:
    """Commitment of the initial model."""
    return tuple(point(7000, chunk) for chunk in range(chunks))


def refused(reason: str) -> Any:
    """The contract refuses, for exactly this reason: ``with refused("TooLate(have=8, want=7)"): …``."""
    reason = re.sub(r"0x[0-9a-fA-F]{40}\b", lambda address: address[0].lower(), reason)
    return refused_like(re.escape(reason))


def wrong_signer(want: Any, have: Any = r"0x\w{40}") -> Any:
    """The contract recovers another signer than the one it wants; by default whichever."""
    return refused_like(rf"WrongSigner\(have={str(have).lower()}, want={str(want).lower()}\)")


def refused_like(pattern: str) -> Any:
    """The contract refuses, for a reason that is all of this pattern."""
    return pytest.raises(TransactionReverted, check=lambda error: bool(re.fullmatch(pattern, error.reason)))


def pass_deadline(project: Project) -> None:
    """To the first second after the next deadline: of the phase, or of submissions where all seats are taken."""
    now, submissions = project.chain.now, project._call("deadline")
    end = submissions if now <= submissions else project.state().deadline
    project.chain.pass_time(end + 1 - now)


def phases_but(*named: Phase) -> list[Any]:
    """Parameters: all other phases, by name."""
    return [pytest.param(phase, id=phase.name) for phase in Phase if phase not in named]


@dataclass
class Scene:
    """Everybody and a market; after `create` and `join_all` a project with members.

    Addresses are Brownie accounts. `trainers` are five, `stranger` has nothing to do with anything.
    """

    chain: Chain
    market: Market
    mocks: list[Verifier]  # two different accounts with the same accepting code
    owner: Any = None
    aggregator: Any = None
    stranger: Any = None
    trainers: list[Any] = field(default_factory=list)
    project: Project = None  # type: ignore[assignment]
    values: dict[str, Any] = field(default_factory=dict)
    references: int = 0  # of the plans: bit 0 root, bit 1 last
    shift: int = 0
    offered: dict[int, int] = field(default_factory=dict)  # label of the root update on offer, by round

    @classmethod
    def deploy(cls, chain: Chain) -> Scene:
        accounts = chain.accounts
        deployed = Market.deploy(chain, accounts[0])
        made = compile_verifier(ACCEPT_ALL)
        mocks = [Verifier(chain.deploy_verifier(made, accounts[0]).address, keccak(made.runtime)) for _ in range(2)]
        return cls(chain, deployed, mocks, accounts[0], accounts[1], accounts[9], list(accounts[2:7]))

    # ---- creation

    def terms(self, **changes: Any) -> dict[str, Any]:
        filled = {
            "owner": str(self.owner),
            "aggregator": str(self.aggregator),
            "blinding": point(0),
            "base": struct_words(self.mocks[0]),
        }
        filled["theta"] = points_hash(first_theta((DEFAULTS | changes)["chunks"]))
        return DEFAULTS | filled | changes

    def plans(self, terms: dict[str, Any], **changes: Any) -> list[tuple[Any, ...]]:
        """One for each number of trainers; `changes` to every one: f, m, manifest, settlement, references, shift."""
        out = []
        for n in range(terms["minTrainers"], terms["maxTrainers"] + 1):
            f = (n - 3) // 2
            plan = {"settlement": struct_words(self.mocks[1]), "manifest": manifest_digest(n), "f": f, "m": n - f}
            plan |= {"references": self.references, "shift": self.shift}
            out.append(tuple((plan | changes).values()))
        return out

    def create(
        self,
        rates: Sequence[int] = (10**9, 5 * 10**8),
        cid: bytes = CID,
        sender: Any = None,
        value: int | None = None,
        plans: list[tuple[Any, ...]] | None = None,
        nonce: int | None = None,
        **changes: Any,
    ) -> Receipt:
        """A project with these changes to `DEFAULTS`; `self.project` and `self.values` are then its.

        `nonce`: default one that no project of this chain had.
        """
        terms = self.terms(**changes)
        pool = terms["rounds"] * (terms["reward"] + terms["fee"])
        paid = (pool if terms["token"] == NOBODY else 0) if value is None else value
        plans = self.plans(terms) if plans is None else plans
        nonce = next(NONCES) if nonce is None else nonce
        words = (tuple(terms.values()), plans, list(rates), cid, nonce)
        done = self.market._send("create", "create", *words, sender=sender or self.owner, value=paid)
        self.project = Project(self.chain, done.event("ProjectCreated").arguments["project"])
        self.values, self.offered = terms, {}
        return done

    # ---- a round, step by step

    @property
    def round_id(self) -> RoundId:
        return self.project.round_id()

    def open(self, **changes: Any) -> Scene:
        """Created, accepted, and all trainers joined."""
        self.create(**changes)
        self.project.accept(self.aggregator)
        for trainer in self.trainers:
            self.project.join(trainer)
        return self

    def start(self) -> Receipt:
        return self.project.start(self.aggregator, KEY)

    def root(self, label: int = 0, round_number: int | None = None) -> Commitment:
        """The owner's root update for the next round; another label, another update."""
        number = self.round_id.round + 1 if round_number is None else round_number
        points = tuple(point(3000 + label, chunk) for chunk in range(self.values["chunks"]))
        return Commitment(self.project.round_id(number), int(str(self.owner), 16), points)

    def offer_root(self, label: int = 0, sender: Any = None) -> Receipt:
        root = self.root(label)
        done = self.project.offer_root(sender or self.owner, root, CID)
        self.offered = self.offered | {root.round_id.round: label}
        return done

    @property
    def held(self) -> tuple[str, ...]:
        """Names of the references of the plans."""
        return tuple(name for bit, name in enumerate(REFERENCES) if self.references >> bit & 1)

    def reference_points(self) -> list[tuple[Point, ...]]:
        """Of the round that is locked: what the contract must demand of its references."""
        number, absent = self.round_id.round, (self.values["blinding"],) * self.values["chunks"]
        root = self.admitted_root()
        found = [root.points if root else absent] * (self.references & 1)
        return found + [self.project.last_aggregate(number) or absent] * (self.references >> 1)

    def admitted_root(self) -> Commitment | None:
        """The root update of the current round, if the aggregator has given a receipt for it."""
        number = self.round_id.round
        admitted = self.references & 1 and self.project.root().admitted == number
        return self.root(self.offered[number], number) if admitted else None

    def commitment(self, trainer: Any, round_id: RoundId | None = None) -> Commitment:
        """Points of the trainer's own."""
        address = int(str(trainer), 16)
        points = tuple(point(address, chunk) for chunk in range(self.values["chunks"]))
        return Commitment(round_id or self.round_id, address, points)

    def submit(self, trainer: Any) -> Receipt:
        return self.project.submit(trainer, self.commitment(trainer), CID)

    def submit_all(self, trainers: Sequence[Any] | None = None) -> None:
        for trainer in self.trainers if trainers is None else trainers:
            self.submit(trainer)

    def receipt(self, trainer: Any | None, signer: Any = None) -> bytes:
        """For the submission that `submit` makes, or with None for the root update on offer."""
        if trainer is None:
            number = self.round_id.round
            digest = self.root(self.offered[number], number).digest("root")
        else:
            digest = self.commitment(trainer).digest()
        return self.project.sign_receipt(signer or self.aggregator, trainer, submission_word(digest, CID))

    def admit_all(self, trainers: Sequence[Any] | None = None) -> Receipt:
        """These trainers (default all) and the root update, if one is on offer."""
        chosen = [*(self.trainers if trainers is None else trainers)]
        chosen += [None] if self.round_id.round in self.offered else []
        return self.admit(*chosen)

    def admit(self, *trainers: Any | None) -> Receipt:
        return self.project.admit(self.stranger, {who: self.receipt(who) for who in trainers})

    def pass_deadline(self) -> None:
        pass_deadline(self.project)

    def at(self, second: int) -> Scene:
        """The next transaction is mined at exactly this second."""
        self.chain.web3.provider.make_request("evm_setNextBlockTimestamp", [second])
        return self

    def reach(self, phase: Phase, **changes: Any) -> Scene:
        """A new project in this phase: from OPEN on with five members, from ADMIT on with all of them submitted."""
        if phase == Phase.CREATED:
            self.create(**changes)
            return self
        if phase == Phase.SCORE:
            changes = self.by_loss(**changes)
        self.open(**changes)
        steps = {Phase.SUBMIT: self.start, Phase.ADMIT: self.to_admit, Phase.PROVE: self.to_prove}
        steps |= {Phase.SCORE: self.to_settled}
        steps |= {Phase.SETTLED: self.to_settled, Phase.VACANT: self.to_vacant, Phase.ENDED: self.to_vacant}
        if phase in steps:
            steps[phase]()
        if phase == Phase.ENDED:
            self.project.end(self.owner)
        assert self.phase == phase
        return self

    def by_loss(self, verifier: Verifier | None = None, **changes: Any) -> dict[str, Any]:
        """Changes to `DEFAULTS` for a project that pays by the model's loss; `scoring` may be changes to its own."""
        own = scoring(
            verifier or self.mocks[0], changes.get("chunks", DEFAULTS["chunks"]), **changes.get("scoring", {})
        )
        return {"salts": SALTS} | changes | {"scoring": own}

    def pass_exit(self) -> None:
        """To the first second in which a round may start: after a vacancy or a void round that is not at once."""
        earliest = self.deadline - Windows(*self.values["windows"]).start
        if self.chain.now < earliest:
            self.chain.pass_time(earliest - self.chain.now)

    def void(self, trainers: Sequence[Any] = ()) -> Scene:
        """A round that only these trainers submit in, too few: OPEN again, or ENDED."""
        self.pass_exit()
        self.start()
        self.submit_all(trainers)
        self.pass_deadline()
        self.project.void_round(self.stranger)
        return self

    def refresh(self, trainer: Any) -> Receipt:
        return self.project._send("refresh", "refresh", str(trainer), sender=self.stranger)

    def walk(self) -> Iterator[Phase]:
        """One new project, which pays by losses, through all phases, from CREATED to ENDED, stopping in each."""
        self.create(**self.by_loss())
        yield self.phase
        self.project.accept(self.aggregator)
        for trainer in self.trainers:
            self.project.join(trainer)
        yield self.phase
        for steps in (
            (self.start,),
            (self.submit_all, self.pass_deadline),
            (self.admit_all, self._lock),
            (self.settle,),
            (lambda: prove_all(self),),
        ):
            for step in steps:
                step()
            yield self.phase
        self.pass_deadline()
        self.project.next(self.stranger)
        self.to_vacant()
        yield self.phase
        self.project.end(self.owner)
        yield self.phase

    def _lock(self) -> None:
        self.project.lock(self.stranger)

    def to_admit(self, trainers: Sequence[Any] | None = None) -> Scene:
        """Started as soon as it may be, submitted by these trainers (default all), the deadline passed."""
        self.pass_exit()
        self.start()
        self.submit_all(trainers)
        self.pass_deadline()
        return self

    def to_prove(self, trainers: Sequence[Any] | None = None) -> Scene:
        self.to_admit(trainers)
        self.admit_all(trainers)
        self.project.lock(self.stranger)
        return self

    def manifest(self, n: int) -> Any:
        """What the engine would call the manifest of the build for n trainers."""
        return SimpleNamespace(
            digest=lambda: manifest_digest(n),
            trainers=n,
            chunks=self.values["chunks"],
            blinding=self.values["blinding"],
            min_accepted=self.values["minAccepted"],
            references=self.held,
        )

    def shape(self, n: int) -> Shape:
        """Of the projection of a round of n trainers."""
        columns, values = Columns(self.values["logrows"]), self.values
        return Shape(n + (self.references & 1), values["chunks"], values["params"], columns.rows, columns.width)

    def proof(
        self,
        mask: Sequence[int] | None = None,
        scores: Sequence[int] | None = None,
        nu: int = 1000,
        q: int = 7,
        references: Sequence[tuple[Point, ...]] | None = None,
        beta: int | None = None,
    ) -> RoundProof:
        """A round proof of the locked round that fits all that the contract itself computes.

        `references`: points that it claims, one a slot that the plans have; default the right ones.
        """
        round_id = self.round_id
        seats = self.project.seats()
        n = len(seats)
        mask = tuple(mask or [1] * n)
        scores = tuple(range(1, n + 1) if scores is None else scores)
        commitments = tuple(self.commitment(seat.trainer, round_id) for seat in seats)
        chunks, blinding, shape = self.values["chunks"], self.values["blinding"], self.shape(n)
        gram_point = point(round_id.round, 2000)
        beta = self.project.state().beta if beta is None else beta
        slots = self.reference_points() if references is None else list(references)
        held = dict(zip(self.held, slots, strict=True))
        absent = (blinding,) * chunks
        there = held.get("root", absent) != absent
        root = replace(self.root(0, round_id.round), points=held["root"]) if there else None
        points = Points(
            (*(commitment.points for commitment in commitments), *slots),
            tuple(point(round_id.round, 1000 + chunk) for chunk in masked_chunks(chunks)),
            tuple(point(round_id.round, 1500 + place) for place in shape.mask_positions),
        )
        addresses = [commitment.trainer for commitment in commitments]
        transcript = start_transcript(self.manifest(n), round_id, beta, addresses, points, gram_point)
        r = transcript.slot_challenges(1 + n + len(slots))
        t0, z = 5, pack(range(SUMS))
        transcript.absorb_projection(q, t0, z)
        claims, rhos, rounds, sigmas = [], [], [], []
        for step in range(len(halves(chunks))):
            claims.append((step + 11, step + 22))
            transcript.absorb(*claims[-1])
            rhos.append(transcript.short_challenge("rho", step))
        for step in range(shape.rounds):
            rounds.append((step + 33, step + 44))
            transcript.absorb(*rounds[-1])
            sigmas.append(transcript.challenge("sigma", step))
        opened = Coefficients.of(shape, 1 + n + len(slots), r, rhos, sigmas)
        gram, both = opened.together(0), opened.together(1)
        other = [a - b for a, b in zip(both, gram, strict=True)]
        columns = [combine(points.flat(), own, blinding) for own in (gram, other)]
        columns.append(point(round_id.round, 2500))
        base = Proof(b"".join(map(encode_point, columns)), (0, 9, 0))
        return RoundProof(
            manifest_digest(n),
            round_id,
            beta,
            commitments,
            points.mask,
            points.projection,
            gram_point,
            BaseProof(t0, z, tuple(claims), tuple(rounds), base),
            Proof(encode_point(gram_point), (q, *r, beta, *mask, *scores, nu)),
            KnownReferences(root, held.get("last")),
        )

    def settle(self, proof: RoundProof | None = None, cid: bytes = CID, sender: Any = None, **made_up: Any) -> Receipt:
        proof = proof or self.proof(**made_up)
        publication = self.publication(proof, cid)
        return self.project.settle(sender or self.stranger, proof, self.theta(), cid, publication)

    def settle_in_two(self, proof: RoundProof | None = None, cid: bytes = CID, **made_up: Any) -> Receipt:
        proof = proof or self.proof(**made_up)
        self.project.prove_base(self.stranger, proof)
        return self.project.settle_proven(self.stranger, proof, self.theta(), cid, self.publication(proof, cid))

    def theta(self) -> tuple[Point, ...]:
        """Commitment of the model, as the log makes it."""
        first, settled = first_theta(self.values["chunks"]), Log(self.project.events()).settled()
        made = list(model_commitments(self.project.terms(), first, settled))
        return made[-1].now if made else first

    def publication(self, proof: RoundProof, cid: bytes = CID, signer: Any = None) -> bytes:
        manifest = self.manifest(len(proof.commitments))
        return self.project.sign_publication(signer or self.aggregator, manifest, proof, cid)

    def to_settled(self, trainers: Sequence[Any] | None = None, **made_up: Any) -> Scene:
        self.to_prove(trainers)
        self.settle(**made_up)
        return self

    def to_vacant(self, trainers: Sequence[Any] | None = None) -> Scene:
        """Locked, and then not settled."""
        self.to_prove(trainers)
        self.pass_deadline()
        self.project.fail(self.stranger)
        return self

    # ---- looking

    @property
    def phase(self) -> Phase:
        return self.project.state().phase

    @property
    def deadline(self) -> int:
        return self.project.state().deadline

    def pays(self, scores: Sequence[int]) -> tuple[list[int], int]:
        """What the engine says that scores are worth: pay of each slot, and the dust."""
        return shares(self.values["reward"], scores)

    def balance(self, who: Any) -> int:
        return self.chain.web3.eth.get_balance(str(who))

    @property
    def successor(self) -> Any:
        """Who may be named aggregator after the first."""
        return self.chain.accounts[8]

    def books(self) -> dict[str, int]:
        """Every figure of the project's accounts: pool, bond, unburnt, balance, "credit of trainer 2", …"""
        state = self.project.state()
        found = {"pool": state.pool, "bond": state.bond_wei, "unburnt": state.unburnt_wei}
        found["balance"] = self.balance(self.project.address)
        people = {"owner": self.owner, "aggregator": self.aggregator, "successor": self.successor}
        people |= {"stranger": self.stranger} | {f"trainer {i}": who for i, who in enumerate(self.trainers, start=1)}
        for name, who in people.items():
            own = self.project.account(who)
            for kind, amount in (("credit", own.credit), ("stake", own.stake_wei), ("refund", own.refund_wei)):
                found[f"{kind} of {name}"] = amount
        return found

    def moved(self, before: dict[str, int]) -> dict[str, int]:
        """What has changed in the books since, and nothing else."""
        now = self.books()
        return {name: now[name] - before[name] for name in now if now[name] != before[name]}

    def holdings(self) -> int:
        """All native coin that the project owes somebody: what its balance must cover (native rewards)."""
        state, values = self.project.state(), self.values
        whole = values["reward"] + values["fee"]
        owed = {Phase.PROVE: whole, Phase.SCORE: whole, Phase.SETTLED: values["fee"]}.get(state.phase, 0)
        if state.phase == Phase.SETTLED and self.project.scoring_failed(state.round):
            owed = 0
        people = {str(who) for who in (self.owner, self.aggregator, self.stranger, *self.trainers)}
        people |= {str(who) for who in self.chain.accounts}
        accounts = [self.project.account(who) for who in people]
        held = sum(own.credit + own.stake_wei + own.refund_wei for own in accounts)
        held += values["penaltyWei"] if self.project.root().offered else 0
        return state.pool + owed + state.bond_wei + state.unburnt_wei + held


def manifest_digest(n: int) -> bytes:
    return keccak(b"manifest" + bytes([n]))


__all__ = [
    "CID",
    "ETHER",
    "KEY",
    "PENALTY",
    "WINDOW",
    "Scene",
    "pass_deadline",
    "phases_but",
    "point",
    "refused",
    "wrong_signer",
]
