"""Roles that misbehave: patches for `prepare=` of a town's processes, each applied before its command line runs.

What a culprit does in which round it reads from its environment, as JSON.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from eth_abi import encode
from eth_hash.auto import keccak

from zkmarket.chain import encoded, transacting
from zkmarket.files import atomic_write
from zkmarket.market import Project, decision_words, sealing
from zkmarket.roles import Desk, aggregator, owner, trainer
from zkmarket.round import Commitment, Opening, commitment
from zkmarket.storage import cid, cid_of

GARBAGE = ("other-vector", "wrong-value", "salt-twice", "out-of-range", "noise", "no-cid", "never-put", "too-large")
NO_CID = b"not a CID"


def trusting() -> None:
    """Joins without an inspection: what takes the time of most tests here is something else."""
    Desk.inspected = lambda self: None  # type: ignore[method-assign, assignment, return-value]


# ---------------------------------------------------------------- trainers


class Culprit(trainer.Trainer):
    """Commits honestly, and hands something else over: $PLAN says what, by round.

    `late` is honest, but hands over only when there is a file at $GO.
    """

    def __init__(self, *given: Any, **more: Any):
        super().__init__(*given, **more)
        self.plan = {int(number): kind for number, kind in json.loads(os.environ["PLAN"]).items()}

    def committed(self, log: Any, started: Any) -> Any:
        kind = self.plan.get(started.round, "")
        fresh = commitment.open_with_fresh_salts
        commitment.open_with_fresh_salts = _salts_twice if kind == "salt-twice" else fresh
        made, cid = super().committed(log, started)
        build = next(iter(self.desk.builds.values()))
        folder = self.desk.round_folder(started.round)
        opening = Opening.load(folder, build.manifest)
        blob = forged(kind, opening, made, started.encryption_key, build.manifest)
        if blob is not None:
            atomic_write(self.sealed_file(started), blob)
            cid = self.desk.store.put(blob) if kind == "too-large" else cid_of(blob)
        return made, NO_CID if kind == "no-cid" else cid

    def hand_over(self, state: Any) -> str:
        kind = self.plan.get(state.round)
        if kind == "never-put" or (kind == "late" and not Path(os.environ["GO"]).exists()):
            return f"round {state.round}: sits on its update"
        return super().hand_over(state)


def forged(kind: str, opening: Opening, made: Commitment, key: bytes, manifest: Any) -> bytes | None:
    """What is put in the place of a sealed update; None: the update itself."""
    if kind == "other-vector":
        other = commitment.open_with_fresh_salts(opening.values[::-1], manifest)
        return sealing.seal_update(other, made.points, key)
    if kind in ("wrong-value", "out-of-range"):
        values = opening.values.astype(np.int32)
        values[7] = manifest.bound if kind == "out-of-range" else values[7] ^ 1
        return sealing.seal_update(Opening(values, opening.salts), made.points, key)
    if kind == "noise":
        return os.urandom(sealing.sealed_update_size(manifest))
    if kind == "too-large":
        return bytes(5 * 2**20)
    return None


def _salts_twice(values: Any, manifest: Any) -> Opening:
    opening = commitment.open_with_fresh_salts(values, manifest)
    opening.salts[0, 1] = opening.salts[0, 0]
    return opening


def culprit() -> None:
    trusting()
    trainer.Trainer = Culprit  # type: ignore[misc]
    to_bytes = cid.cid_to_bytes
    cid.cid_to_bytes = lambda given: given if isinstance(given, bytes) else to_bytes(given)


# ---------------------------------------------------------------- aggregators


def asleep() -> None:
    """Locks a round and then does nothing more; does not end either."""
    aggregator.Aggregator.settle = lambda self, state: "asleep"  # type: ignore[method-assign]


def relayed() -> None:
    """Settles through the contract at $RELAY."""

    def settle(self: Any, sender: Any, proof: Any, theta: Any, cid: bytes, publication: bytes) -> None:
        with transacting("settle"):
            words = self._base_words(proof), decision_words(proof, theta), cid, publication
            data = encoded(self.contract.settle, *words)
        call = keccak(b"pass(address,bytes)")[:4] + encode(["address", "bytes"], [self.address, data])
        self.chain.transact("settle", sender, os.environ["RELAY"], call)

    Project.settle = settle  # type: ignore[assignment]


def unserved() -> None:
    """$PLAN says by round what becomes of the aggregate: `kept` is not put into any store, else who cannot open it."""
    plan = json.loads(os.environ["PLAN"])
    published, readers = aggregator.Aggregator.published, aggregator.Aggregator.readers

    def mine(self: Any, log: Any, state: Any, aggregate: Any) -> bytes:
        kind = plan.get(str(state.round), "")
        members = log.members()
        self.readers = lambda log: [key for key in readers(self, log) if key != members.get(kind)]
        try:
            if kind != "kept":
                return published(self, log, state, aggregate)
            self.desk.__dict__["store"] = _Hole()
            return published(self, log, state, aggregate)
        finally:
            del self.readers
            self.desk.__dict__.pop("store", None)  # made again when it is asked for

    aggregator.Aggregator.published = mine  # type: ignore[method-assign]
    aggregator.Aggregator.serve_again = lambda self, state: None  # type: ignore[method-assign]


def excluding() -> None:
    """Seals aggregates and keyrings to everybody but the trainer at $VICTIM."""
    readers = aggregator.Aggregator.readers

    def others(self: Any, log: Any) -> list[bytes]:
        return [key for key in readers(self, log) if key != log.members().get(os.environ["VICTIM"])]

    aggregator.Aggregator.readers = others  # type: ignore[method-assign]


class _Hole:
    """A store that keeps nothing."""

    def put(self, data: bytes) -> str:
        return cid_of(data)


# ---------------------------------------------------------------- owners


def rootless() -> None:
    """Offers root updates that it never serves."""

    def withheld(self: Any, state: Any, log: Any) -> str:
        return f"round {state.round}: sits on its root update"

    owner.Owner.serve_root = withheld  # type: ignore[method-assign]
