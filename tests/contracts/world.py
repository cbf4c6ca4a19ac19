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

from zkmarket import market
from zkmarket.backend import Proof
from zkmarket.commitment import Commitment, RoundId
from zkmarket.contribution import shares
from zkmarket.errors import TransactionReverted
from zkmarket.escrow import NO_VERIFIER, NOBODY, REFERENCES, Phase, Verifier, Windows, points_hash
from zkmarket.field import GENERATOR, Point, encode_point, multiply_add
from zkmarket.gram import GramProof, folded_commitment, halves
from zkmarket.market import Chain, Market, Project, Receipt, compile_verifier
from zkmarket.round import References, RoundProof, start_transcript

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
    "params": 1500,  # two chunks of 1,008 at K = 10, the last one padded
    "logrows": 10,
    "valueBits": 13,
    "salts": 8,
    "chunks": 2,
    "kappa": 2000,
    "beta": 10**6,
    "betaMin": 1500,
    "betaMax": 10**9,
    "blinding": None,
    "windows": (WINDOW,) * 9,
    "gram": None,
    "range": None,
    "rangeLast": None,
    "model": b"\x22" * 32,
}
"""`Terms`, in the order of Types.sol; None is filled in by `Scene.terms`."""


@functools.cache
def point(*label: int) -> Point:
    """A point on the curve, the same for the same label, never infinity."""
    return multiply_add([GENERATOR], [int.from_bytes(keccak(repr(label).encode())[:31], "big") + 1])


def refused(reason: str) -> Any:
    """The contract refuses, for exactly this reason: ``with refused("TooLate(have=8, want=7)"): …``."""
    reason = re.sub(r"0x[0-9a-fA-F]{40}\b", lambda address: address[0].lower(), reason)
    return pytest.raises(TransactionReverted, match=rf" was reverted: {re.escape(reason)}$")


def wrong_signer(want: Any, have: Any = r"0x\w{40}") -> Any:
    """The contract recovers another signer than the one it wants; by default whichever."""
    return pytest.raises(
        TransactionReverted, match=rf" was reverted: WrongSigner\(have={str(have).lower()}, want={str(want).lower()}\)$"
    )


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
    mocks: list[Verifier]  # four different accounts with the same accepting code
    owner: Any = None
    aggregator: Any = None
    stranger: Any = None
    trainers: list[Any] = field(default_factory=list)
    project: Project = None  # type: ignore[assignment]
    values: dict[str, Any] = field(default_factory=dict)
    references: int = 0  # of the plans: bit 0 root, bit 1 last
    shift: int = 0
    roots: dict[int, tuple[Point, ...]] = field(default_factory=dict)  # offered, by round

    @classmethod
    def deploy(cls, chain: Chain) -> Scene:
        accounts = chain.accounts
        deployed = Market.deploy(chain, accounts[0])
        made = compile_verifier(ACCEPT_ALL)
        mocks = [Verifier(chain.deploy_verifier(made, accounts[0]).address, keccak(made.runtime)) for _ in range(4)]
        return cls(chain, deployed, mocks, accounts[0], accounts[1], accounts[9], list(accounts[2:7]))

    # ---- creation

    def terms(self, **changes: Any) -> dict[str, Any]:
        gram, full, last, _ = self.mocks
        filled = {
            "owner": str(self.owner),
            "aggregator": str(self.aggregator),
            "blinding": point(0),
            "gram": gram.words,
            "range": full.words,
            "rangeLast": last.words,
        }
        return DEFAULTS | filled | changes

    def plans(self, terms: dict[str, Any], **changes: Any) -> list[tuple[Any, ...]]:
        """One for each number of trainers; `changes` to every one: f, m, manifest, settlement, references, shift."""
        out = []
        for n in range(terms["minTrainers"], terms["maxTrainers"] + 1):
            f = (n - 3) // 2
            plan = {"settlement": self.mocks[3].words, "manifest": manifest_digest(n), "f": f, "m": n - f}
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
        self.values, self.roots = terms, {}
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
        """Of the next round, with the root update that is offered for it, if one is."""
        offered = self.roots.get(self.round_id.round + 1) if self.roots else None
        return self.project.start(self.aggregator, KEY, root=points_hash(offered) if offered else bytes(32))

    def root(self, label: int = 0, round_number: int | None = None) -> Commitment:
        """The owner's root update for the next round; another label, another update."""
        number = self.round_id.round + 1 if round_number is None else round_number
        points = tuple(point(3000 + label, chunk) for chunk in range(self.values["chunks"]))
        proofs = tuple(Proof(encode_point(p) + bytes(32), (0,)) for p in points)
        return Commitment(self.project.round_id(number), int(str(self.owner), 16), points, proofs)

    def offer_root(self, label: int = 0, sender: Any = None) -> Receipt:
        root = self.root(label)
        done = self.project.offer_root(sender or self.owner, root, CID)
        self.roots = self.roots | {root.round_id.round: root.points}
        return done

    @property
    def held(self) -> tuple[str, ...]:
        """Names of the references of the plans."""
        return tuple(name for bit, name in enumerate(REFERENCES) if self.references >> bit & 1)

    def reference_points(self) -> list[tuple[Point, ...]]:
        """Of the round that is locked: what the contract must demand of its references."""
        number, absent = self.round_id.round, (self.values["blinding"],) * self.values["chunks"]
        found = [self.roots.get(number, absent)] * (self.references & 1)
        return found + [self.project.last_aggregate(number) or absent] * (self.references >> 1)

    def commitment(self, trainer: Any, round_id: RoundId | None = None) -> Commitment:
        """Points of the trainer's own, with range proofs that hold nothing but their first point."""
        address = int(str(trainer), 16)
        points = tuple(point(address, chunk) for chunk in range(self.values["chunks"]))
        proofs = tuple(Proof(encode_point(p) + bytes(32), (0,)) for p in points)
        return Commitment(round_id or self.round_id, address, points, proofs)

    def submit(self, trainer: Any) -> Receipt:
        return self.project.submit(trainer, self.commitment(trainer), CID)

    def submit_all(self, trainers: Sequence[Any] | None = None) -> None:
        for trainer in self.trainers if trainers is None else trainers:
            self.submit(trainer)

    def receipt(self, trainer: Any, signer: Any = None) -> bytes:
        points = points_hash(self.commitment(trainer).points)
        return self.project.sign_receipt(signer or self.aggregator, trainer, points, keccak(CID))

    def admit_all(self, trainers: Sequence[Any] | None = None) -> None:
        for trainer in self.trainers if trainers is None else trainers:
            self.project.admit(self.stranger, trainer, self.receipt(trainer))

    def pass_deadline(self) -> None:
        """To the first second after the deadline of the phase."""
        self.chain.pass_time(self.project.state().deadline + 1 - self.chain.now)

    def at(self, second: int) -> Scene:
        """The next transaction is mined at exactly this second."""
        self.chain.web3.provider.make_request("evm_setNextBlockTimestamp", [second])
        return self

    def reach(self, phase: Phase, **changes: Any) -> Scene:
        """A new project in this phase: from OPEN on with five members, from ADMIT on with all of them submitted."""
        if phase == Phase.CREATED:
            self.create(**changes)
            return self
        self.open(**changes)
        steps = {Phase.SUBMIT: self.start, Phase.ADMIT: self.to_admit, Phase.PROVE: self.to_prove}
        steps |= {Phase.SETTLED: self.to_settled, Phase.VACANT: self.to_vacant, Phase.ENDED: self.to_vacant}
        if phase in steps:
            steps[phase]()
        if phase == Phase.ENDED:
            self.project.end(self.owner)
        assert self.phase == phase
        return self

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
        """One new project through all phases, from CREATED to ENDED, stopping in each."""
        self.create()
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

    def proof(
        self,
        mask: Sequence[int] | None = None,
        scores: Sequence[int] | None = None,
        nu: int = 1000,
        q: int = 7,
        references: Sequence[tuple[Point, ...]] | None = None,
    ) -> RoundProof:
        """A round proof of the locked round that fits all that the contract itself computes.

        `references`: points that it claims, one a slot that the plans have; default the right ones.
        """
        round_id = self.round_id
        seats = self.project.seats(round_id.round)
        n = len(seats)
        mask = tuple(mask or [1] * n)
        scores = tuple(range(1, n + 1) if scores is None else scores)
        commitments = tuple(self.commitment(seat["trainer"], round_id) for seat in seats)
        chunks, blinding = self.values["chunks"], self.values["blinding"]
        mask_points = tuple(point(round_id.round, 1000 + chunk) for chunk in range(chunks))
        gram_point = point(round_id.round, 2000)
        beta = self.project.state().beta
        slots = self.reference_points() if references is None else list(references)
        held = dict(zip(self.held, slots, strict=True))
        root = replace(self.root(0, round_id.round), points=held["root"]) if "root" in held else None
        claimed = References(root, held.get("last"))
        transcript = start_transcript(self.manifest(n), round_id, beta, commitments, mask_points, gram_point, claimed)
        r = transcript.slot_challenges(n + len(slots) + 1)
        transcript.absorb(q)
        claims, rhos = [], []
        for step in range(len(halves(chunks))):
            claims.append((step + 11, step + 22))
            transcript.absorb(*claims[-1])
            rhos.append(transcript.fold_challenge(step))
        column = folded_commitment([mask_points, *(c.points for c in commitments), *slots], r, rhos, blinding)
        return RoundProof(
            manifest_digest(n),
            round_id,
            beta,
            commitments,
            mask_points,
            gram_point,
            GramProof(tuple(claims), Proof(encode_point(column), (0,))),
            Proof(encode_point(gram_point), (q, *r, beta, *mask, *scores, nu)),
            claimed,
        )

    def settle(self, proof: RoundProof | None = None, cid: bytes = CID, sender: Any = None, **made_up: Any) -> Receipt:
        proof = proof or self.proof(**made_up)
        publication = self.publication(proof, cid)
        return self.project.settle(sender or self.stranger, proof, cid, publication)

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
            for kind in ("credit", "stakeWei", "refundWei"):
                found[f"{kind.removesuffix('Wei')} of {name}"] = own[kind]
        return found

    def moved(self, before: dict[str, int]) -> dict[str, int]:
        """What has changed in the books since, and nothing else."""
        now = self.books()
        return {name: now[name] - before[name] for name in now if now[name] != before[name]}

    def holdings(self) -> int:
        """All native coin that the project owes somebody: what its balance must cover (native rewards)."""
        state, values = self.project.state(), self.values
        owed = {Phase.PROVE: values["reward"] + values["fee"], Phase.SETTLED: values["fee"]}.get(state.phase, 0)
        people = {str(who) for who in (self.owner, self.aggregator, self.stranger, *self.trainers)}
        people |= {str(who) for who in self.chain.accounts}
        accounts = [self.project.account(who) for who in people]
        held = sum(own["credit"] + own["stakeWei"] + own["refundWei"] for own in accounts)
        return state.pool + owed + state.bond_wei + state.unburnt_wei + held


def manifest_digest(n: int) -> bytes:
    return keccak(b"manifest" + bytes([n]))


__all__ = [
    "CID",
    "ETHER",
    "KEY",
    "NO_VERIFIER",
    "PENALTY",
    "WINDOW",
    "Scene",
    "market",
    "phases_but",
    "point",
    "refused",
    "wrong_signer",
]
