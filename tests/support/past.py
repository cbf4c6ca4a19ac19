"""A project's past without a chain: a log that is written by hand, blobs in memory, commitments that anybody
could open in another way.

What roles and history do with what chain and store say is tested here, and what those two may do to harm them; that
commitments bind, and what a chain really says, is tested with real ones.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zkmarket import backend
from zkmarket.build import Build, Manifest, Spec
from zkmarket.chain import NOBODY, Event, Phase
from zkmarket.crypto import GENERATOR, Point, multiply_add
from zkmarket.errors import PassedOn, StoreError
from zkmarket.market import (
    NO_SCORING,
    Account,
    History,
    Prospectus,
    SealingKey,
    Seat,
    Settled,
    State,
    Terms,
    Verifier,
    Windows,
    encode_aggregate,
    encode_keyring,
    point_words,
    points_hash,
    seal,
)
from zkmarket.round import Aggregate, RoundId, column_of, moved_points
from zkmarket.rules import RATE_UNIT, MultiKrum, weight
from zkmarket.storage import MAX_BLOB, cid_of, cid_to_bytes
from zkmarket.updates import ParameterLayout

MANIFEST = Manifest(json.loads((Path(__file__).parents[2] / "artifacts/golden/build/manifest.json").read_text()))
STEP = 2.0**-MANIFEST.fixed_point.scale_bits
MEAN = STEP * 171 / 512
"""What a unit of the sum of three accepted updates moves the model: 2^9/3, rounded, at scale 2^9."""
LAYOUT = ParameterLayout.of({"weight": np.zeros(MANIFEST.params, np.float32)})
TRAINERS = tuple(f"0x{digit * 40}" for digit in "123")
ME, OTHER, PROJECT = TRAINERS[0], TRAINERS[1], "0x" + "ab" * 20
OWNER, AGGREGATOR = SealingKey.fresh(), SealingKey.fresh()
ETHER = 10**18
BUILD = Build(Path("nowhere"), MANIFEST)
vars(BUILD)["files"] = {"base": None, "settlement": None}  # no SRS is looked for
TERMS = Terms(
    owner=NOBODY,
    stake_wei=ETHER,
    aggregator=OTHER,
    bond_wei=3 * ETHER,
    token=NOBODY,
    penalty_wei=ETHER,
    reward=3000,
    fee=0,
    rounds=10,
    void_limit=3,
    min_trainers=3,
    max_trainers=3,
    min_accepted=1,
    open_admission=False,
    params=MANIFEST.params,
    logrows=MANIFEST.logrows,
    rows=MANIFEST.columns.rows,
    value_bits=13,
    salts=MANIFEST.salts,
    chunks=MANIFEST.chunks,
    theta_bits=9,
    kappa=2000,
    beta=1000,
    beta_min=1,
    beta_max=10**6,
    blinding=MANIFEST.blinding,
    windows=Windows(claim=100, lock=100, start=100, submit=100),
    base=Verifier(NOBODY, bytes(32)),
    model=bytes(32),
    theta=points_hash((MANIFEST.blinding,) * MANIFEST.chunks),
    scoring=NO_SCORING,
)
PROSPECTUS = Prospectus(
    "a past",
    {3: Spec(3, MANIFEST.params, MultiKrum.krum(3), logrows=MANIFEST.logrows, layout=LAYOUT)},
    "ab" * 32,
    np.zeros(MANIFEST.params, np.int64),
    TERMS.theta_bits,
    OWNER.public,
)


@functools.cache
def exponent(place: int) -> int:
    return int(hashlib.sha256(b"%d" % place).hexdigest(), 16)


def linear(files: Any, logrows: int, columns: Sequence[Sequence[str]]) -> list[Point]:
    """In place of `backend.commit`: Com(v) = B + Σ v_i·h_i·G, and little work. Homomorphic, and B is in it once."""
    sums = [
        sum(exponent(place) * int.from_bytes(bytes.fromhex(cell), "little") for place, cell in enumerate(column))
        for column in columns
    ]
    return [multiply_add([GENERATOR, MANIFEST.blinding], [total, 1]) for total in sums]


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "commit", linear)


def aggregate_of(seed: int) -> Aggregate:
    salts = np.zeros((MANIFEST.chunks, MANIFEST.salts, 32), np.uint8)
    salts[..., 0] = seed
    return Aggregate(np.arange(MANIFEST.params, dtype=np.int64) * seed, salts)


def points_of(opening: Any) -> tuple[Point, ...]:
    """Of an opening or an aggregate."""
    columns = [column_of(opening.values, opening.salts, chunk, MANIFEST.chunk) for chunk in range(MANIFEST.chunks)]
    return tuple(linear(None, 0, columns))


SENT = (
    *("offer_root", "claim", "unclaim", "accept", "join", "submit", "start", "top_up", "lock", "withdraw"),
    *("sign_receipt", "admit", "sign_publication", "settle", "prove_base", "settle_proven"),
)


class Blobs:
    """A store that can lose blobs, and notes what it is asked for."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.asked: list[str] = []

    def put(self, data: bytes) -> str:
        self.blobs[cid_of(data)] = data
        return cid_of(data)

    def get(self, cid: str, limit: int = MAX_BLOB) -> bytes:
        self.asked.append(cid)
        if cid not in self.blobs or len(self.blobs[cid]) > limit:
            raise StoreError(f"no blob {cid}")
        return self.blobs[cid]

    def pin(self, cid: str) -> None:
        self.get(cid)


class Blocks:
    """A chain: the hashes of its blocks."""

    id, development, rpc_url = 31337, True, "http://127.0.0.1:1"

    def __init__(self, count: int = 1, fork: int = 0):
        self.hashes = [hashlib.sha256(b"%d %d" % (fork, number)).digest() for number in range(count)]

    def tip(self) -> tuple[int, bytes]:
        return len(self.hashes) - 1, self.hashes[-1]

    def block_hash(self, number: int) -> bytes | None:
        return self.hashes[number] if number < len(self.hashes) else None

    def mine(self, fork: int = 0) -> int:
        self.hashes.append(hashlib.sha256(b"%d %d" % (fork, len(self.hashes))).digest())
        return len(self.hashes) - 1


@dataclass
class Past:
    """A project whose log is written here, an event a block; `sent` has what was sent to it."""

    store: Blobs = field(default_factory=Blobs)
    chain: Blocks = field(default_factory=Blocks)
    logged: list[Event] = field(default_factory=list)
    address: str = PROJECT
    asked: list[tuple[int, Any]] = field(default_factory=list)
    sent: list[tuple[Any, ...]] = field(default_factory=list)
    verified: list[int] = field(default_factory=list)
    taken: list[Seat] = field(default_factory=list)
    proven: set[bytes] = field(default_factory=set)
    theta: tuple[Point, ...] = (MANIFEST.blinding,) * MANIFEST.chunks
    moved: tuple[Point, ...] = ()
    own: Account = Account(credit=0, stake_wei=ETHER, last_round=0, voids_seen=0, skipped=0, refund_wei=0)

    # ---- what happened

    def log(self, name: str, **arguments: Any) -> None:
        block = self.chain.mine()
        self.logged.append(Event(name, arguments, block, f"0x{block:064x}"))

    def started(self, number: int, keyring: bytes = b"", key: bytes = b"\x11" * 32) -> None:
        self.log("Started", round=number, encryptionKey=key, beta=1000, keyring=keyring)

    def keyring(self, keys: dict[int, bytes], *readers: SealingKey) -> bytes:
        """Sealed and stored; its CID as it stands on chain."""
        return cid_to_bytes(self.store.put(seal(encode_keyring(keys), [reader.public for reader in readers])[0]))

    def settled(self, number: int, *readers: SealingKey, served: Aggregate | None = None, closed: bool = True) -> bytes:
        """A round whose proven aggregate is `aggregate_of(number)`, and whose served one may be another.

        Returns the content key of its envelope.
        """
        plain = encode_aggregate(served or aggregate_of(number))
        blob, key = seal(plain, [reader.public for reader in readers])
        self._settlement(number, aggregate_of(number), cid_to_bytes(self.store.put(blob)))
        if closed:
            self.closed(number)
        return key

    def withheld(self, number: int) -> None:
        """A settled and closed round of which no aggregate is published."""
        self._settlement(number, aggregate_of(number), b"")
        said = self.logged[-1].arguments["settlement"]
        said.update(mask=0b011, aggregate=[], theta=points_hash(self.theta))
        self.closed(number, skipped=True)

    def closed(self, number: int, skipped: bool = False) -> None:
        """Unless it is skipped the model is what the settlement has made of it."""
        if not skipped:
            self.theta = self.moved
        self.log("Closed", round=number, skipped=skipped, theta=points_hash(self.theta))

    def _settlement(self, number: int, aggregate: Aggregate, cid: bytes) -> None:
        w, blinding = weight(RATE_UNIT, len(TRAINERS), TERMS.theta_bits), MANIFEST.blinding
        self.moved = moved_points(self.theta, points_of(aggregate), w, blinding)
        settlement = {
            "trainers": list(TRAINERS),
            "mask": 0b111,
            "scores": [1, 1, 1],
            "pay": [1000, 1000, 1000],
            "aggregate": point_words(points_of(aggregate)),
            "cid": cid,
            "beta": 1000,
            "rate": RATE_UNIT,
            "theta": points_hash(self.moved),
            "nu": 500,
            "proofs": b"\x33" * 32,
            "points": [],
        }
        self.log("Settled", round=number, settlement=settlement)

    def history(self, folder: Path, reader: SealingKey | None, said: list[str] | None = None) -> History:
        told = (lambda text: None) if said is None else said.append
        return History(self, PROSPECTUS, {3: BUILD}, self.store, folder, reader, told)  # type: ignore[arg-type]

    # ---- what a Project answers

    def events(self, from_block: int = 0, to_block: int | str = "latest") -> tuple[Event, ...]:
        self.asked.append((from_block, to_block))
        last = len(self.chain.hashes) if to_block == "latest" else int(to_block)
        return tuple(event for event in self.logged if from_block <= event.block <= last)

    def terms(self) -> Terms:
        return TERMS

    def rates(self) -> tuple[int, ...]:
        return (10**9,)

    def account(self, who: Any) -> Account:
        return self.own

    def seats(self) -> list[Seat]:
        return self.taken

    def round_id(self, number: int) -> RoundId:
        return RoundId(self.chain.id, int(self.address, 16), number)

    def is_proven(self, seed: bytes) -> bool:
        return seed in self.proven

    def last_aggregate(self, number: int) -> tuple[Point, ...]:
        return ()

    def round_proof(self, manifest: Manifest, number: int) -> Any:
        self.verified.append(number)
        raise PassedOn("passed on by another contract")

    def __getattr__(self, name: str) -> Any:
        if name not in SENT:
            raise AttributeError(name)
        return lambda sender, *arguments: self.sent.append((name, *arguments)) or b"signed"


def state_of(phase: Phase, **changes: Any) -> State:
    values: dict[str, Any] = {
        "phase": phase, "now": 1000, "deadline": 1010, "round": 1, "settled": 0, "voids": 0, "aggregator": OTHER,
        "beta": 1000, "pool": 0, "bond_wei": 3 * ETHER, "unburnt_wei": 0, "ending": False, "claimed": False,
        "theta": TERMS.theta, "block": 0,
    }  # fmt: skip
    return State(**(values | changes))


def last(settled: Iterable[Settled]) -> Settled:
    return list(settled)[-1]
