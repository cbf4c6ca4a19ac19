"""The structs of contracts/Types.sol as values: the same fields in the same order, by names in Python's spelling.

`read_struct` makes one of what a view or the log gives by Solidity's names; `struct_words` gives what Brownie sends. A
test compares every field with the compiled contracts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, TypeVar, get_origin, get_type_hints

from ..chain import NOBODY, Phase
from ..crypto import Point

Struct = TypeVar("Struct")


@dataclass(frozen=True)
class Verifier:
    """A deployed verifier: its address, and keccak of its code."""

    deployed: str
    codehash: bytes


@dataclass(frozen=True)
class Windows:
    """Length of every phase in seconds; at least an hour each except on a development chain.

    Attributes:
        accept: for the aggregator to accept the office.
        start: from open to start.
        submit, admit, prove: of a round.
        claim: to say that an aggregate is not served.
        lock: how long a claim holds the aggregator's fee and bond.
        vacancy: to name a new aggregator and have it accept.
        exit: after that, and after a void round, before the next may start: for trainers to leave.
    """

    accept: int = 24 * 3600
    start: int = 24 * 3600
    submit: int = 6 * 3600
    admit: int = 3 * 3600
    prove: int = 6 * 3600
    claim: int = 24 * 3600
    lock: int = 7 * 24 * 3600
    vacancy: int = 3 * 24 * 3600
    exit: int = 24 * 3600


@dataclass(frozen=True)
class Plan:
    """What a round of exactly N admitted trainers is settled with.

    Attributes:
        manifest: digest of the build for N.
        f, m: of Multi-Krum; 0 and N without it.
        references: bit 0: the owner's root update; bit 1: the last aggregate.
        shift: low bits that a score is kept without.
    """

    settlement: Verifier
    manifest: bytes
    f: int
    m: int
    references: int
    shift: int


@dataclass(frozen=True)
class Scoring:
    """How a round is paid by the model's own loss; without a method all of it is 0.

    Attributes:
        verifier: of utility proofs.
        descriptor: digest of the compiled model's `utility.Descriptor`.
        batch: keccak of the words of the commitment of the owner's batch.
        method: 0: the settlement's scores pay; 1: leave-one-out; 2: Shapley.
        floor: φ, billionths of the reward that the accepted share equally.
        window: seconds to prove the losses in.
        salts: of a chunk of the batch.
        proof_bytes, instances: of a proof.
    """

    verifier: Verifier
    descriptor: bytes
    batch: bytes
    method: int
    floor: int
    window: int
    salts: int
    proof_bytes: int
    instances: int


NO_SCORING = Scoring(Verifier(NOBODY, bytes(32)), bytes(32), bytes(32), 0, 0, 0, 0, 0, 0)
"""Rounds are paid by the scores that settlements prove."""


@dataclass(frozen=True)
class Terms:
    """All that the owner fixes at creation. `Offer` says what its own part of it means.

    Attributes:
        rounds: T.
        void_limit: V.
        min_accepted: with fewer accepted no aggregate is published.
        params, logrows, salts, chunks: D, K, S, m.
        theta_bits: ρ: the model's scale is 2^ρ times the updates'.
        rows: ℓ1 of a column.
        value_bits: of an honest value, sign included.
        kappa: thousandths.
        blinding: the commitment to zero.
        base: verifier of both arguments of the updates.
        model: SHA-256 of the prospectus.
        theta: keccak of the words of the initial model's commitment.
        scoring: by the model's own loss.
    """

    owner: str
    stake_wei: int
    aggregator: str
    bond_wei: int
    token: str
    penalty_wei: int
    reward: int
    fee: int
    rounds: int
    void_limit: int
    min_trainers: int
    max_trainers: int
    min_accepted: int
    open_admission: bool
    params: int
    logrows: int
    rows: int
    value_bits: int
    salts: int
    chunks: int
    theta_bits: int
    kappa: int
    beta: int
    beta_min: int
    beta_max: int
    blinding: Point
    windows: Windows
    base: Verifier
    model: bytes
    theta: bytes
    scoring: Scoring


@dataclass(frozen=True)
class Account:
    """A trainer's standing.

    Attributes:
        credit: reward or fee to withdraw, in the reward's unit.
        stake_wei: 0 for who is no member.
        last_round: that it submitted in.
        voids_seen: void rounds that are accounted for.
        skipped: void rounds that it did not submit in.
        refund_wei: native coin to withdraw; the contract keeps it beside the struct.
    """

    credit: int
    stake_wei: int
    last_round: int
    voids_seen: int
    skipped: int
    refund_wei: int


@dataclass(frozen=True)
class Seat:
    """A submission to the current round; `submission` is the word that a receipt signs."""

    trainer: str
    admitted: bool
    submission: bytes


@dataclass(frozen=True)
class Root:
    """The owner's root update.

    Attributes:
        offered: the round that it is offered for while that is undecided; else 0.
        admitted: the last round that has one.
        submission: its word, as a seat's.
    """

    offered: int
    admitted: int
    submission: bytes


@dataclass(frozen=True)
class Outcome:
    """What the last settled round decided.

    Attributes:
        mask: bit i: slot i + 1 was accepted.
        rate: learning rate in billionths.
        beta: norm bound of the next round.
        aggregate: keccak of its points' words; zeros: withheld, or not served when the round was closed.
        cid: keccak of its CID.
        theta: keccak of the words of the model's commitment once the round is closed.
        scores: 64 bits each, four a word, slot 1 lowest.
    """

    mask: int
    rate: int
    beta: int
    aggregate: bytes
    cid: bytes
    theta: bytes
    scores: tuple[int, ...]


@dataclass(frozen=True)
class Settlement:
    """All that a settlement decided, as the log keeps it.

    Attributes:
        trainers: addresses, in the order of slots.
        mask: bit i: slot i + 1 was accepted.
        scores: as kept, that is shifted. pay: in the reward's unit.
        aggregate: words of its points; empty: withheld.
        beta: norm bound of the next round.
        rate: learning rate in billionths.
        theta: keccak of the words of the model's commitment, if the round is closed unclaimed.
        nu: lower median of the squared norms.
        proofs: `calldata.proofs_hash`.
        points: words of every commitment of the round, the references' too.
    """

    trainers: tuple[str, ...]
    mask: int
    scores: tuple[int, ...]
    pay: tuple[int, ...]
    aggregate: tuple[int, ...]
    cid: bytes
    beta: int
    rate: int
    theta: bytes
    nu: int
    proofs: bytes
    points: tuple[int, ...]


# ---------------------------------------------------------------- to and from the chain


def solidity_name(name: str) -> str:
    """A field's name in Types.sol: ``stakeWei`` of ``stake_wei``. `now` is a keyword there."""
    first, *rest = name.split("_")
    return "now_" if name == "now" else first + "".join(word.title() for word in rest)


def read_struct(kind: type[Struct], value: Mapping[str, Any]) -> Struct:
    """A struct from its components by Solidity's names."""
    hints = get_type_hints(kind)
    return kind(**{name: _field(hint, value[solidity_name(name)]) for name, hint in hints.items()})


def struct_words(value: Any) -> Any:
    """A struct as Brownie sends it: a tuple of its components in their order."""
    if is_dataclass(value):
        return tuple(struct_words(getattr(value, item.name)) for item in fields(value))
    return value


def _field(hint: Any, value: Any) -> Any:
    if isinstance(hint, type) and is_dataclass(hint):
        return read_struct(hint, value)
    if hint is Phase:
        return Phase(value)
    if hint == Point:
        return value["x"], value["y"]
    return tuple(value) if get_origin(hint) is tuple else value
