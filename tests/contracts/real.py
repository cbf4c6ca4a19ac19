"""Real rounds on anvil: real builds, real verifiers, real proofs. For the tests of what the contract demands of proofs.

K = 10, so that a chunk has C = 896 values; D is 880 values past the full chunks. Factory, project and accounts have the
same addresses on every fresh anvil, so that what was once proven for them is proven once a session.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eth_abi import decode, encode
from eth_hash.auto import keccak
from eth_utils.abi import abi_to_signature, collapse_if_tuple

from tests.conftest import build_for, honest_updates, submit
from tests.contracts.world import NONCES, pass_deadline
from zkmarket.build import Build, Columns
from zkmarket.chain import Chain, Receipt, compile_contracts
from zkmarket.crypto import Point
from zkmarket.market import (
    Log,
    Market,
    Offer,
    Project,
    Verifiers,
    Windows,
    decision_words,
    model_commitments,
    points_hash,
)
from zkmarket.round import Aggregate, Commitment, RoundId, RoundProof, Submission, Theta, prove_round
from zkmarket.rules import Filter

ETHER = 10**18
WINDOW = 100_000
CID = b"\x01\x55\x12\x20" + bytes(range(32))
KEY = b"\x11" * 32
LOGROWS, USED = 10, 880
CHUNK = Columns(LOGROWS).values


def params_of(chunks: int) -> int:
    return USED + (chunks - 1) * CHUNK


@functools.cache
def made(
    least: int, most: int, params: int, logrows: int = LOGROWS, rule: Callable[[int], Filter] = Filter.krum
) -> Mapping[int, Build]:
    """The builds of a project of `least` to `most` trainers. Keys come from the user's cache."""
    folder = Path(_scratch().name)
    return {
        n: build_for(
            folder / f"{n}-{params}-{logrows}-{rule(n)}", trainers=n, params=params, logrows=logrows, filter=rule(n)
        )
        for n in range(least, most + 1)
    }


@functools.cache
def _scratch() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="zkmarket-real-")  # removed when the process ends


@functools.cache
def compared() -> Mapping[int, Build]:
    """Of a project that compares four trainers' updates with a root update and with the last aggregate."""
    rules: dict[str, Any] = {"filter": Filter.parse("norm,cosine:tau=0.1"), "score": "novel"}
    folder = Path(_scratch().name) / "compared"
    return {4: build_for(folder, trainers=4, params=params_of(1), logrows=LOGROWS, **rules)}


THETA_BITS = 7


def first_model(build: Build) -> tuple[Theta, tuple[Point, ...]]:
    """The initial model of these projects, and its commitment."""
    manifest = build.manifest
    shape = manifest.params, manifest.logrows

    def made() -> tuple[Theta, tuple[Point, ...]]:
        values = np.random.default_rng(1).integers(-(2**19), 2**19, manifest.params)
        theta = Theta.first(manifest, values, THETA_BITS)
        return theta, theta.points(build)

    found: tuple[Theta, tuple[Point, ...]] = remembered(("model", shape), made)
    return found


def norm_bound(params: int) -> int:
    """A bound that all of `honest_updates` meet; its next value is neither kept, doubled nor halved."""
    return 2500 * params


@dataclass
class Real:
    """A factory on a chain, and everybody. `open` makes a project."""

    chain: Chain
    market: Market

    @classmethod
    def deploy(cls, chain: Chain) -> Real:
        return cls(chain, Market.deploy(chain, chain.accounts[0]))

    @property
    def owner(self) -> Any:
        return self.chain.accounts[0]

    @property
    def aggregator(self) -> Any:
        return self.chain.accounts[1]

    @property
    def stranger(self) -> Any:
        return self.chain.accounts[2]

    @property
    def trainers(self) -> Sequence[Any]:
        """The first of them take part in a project, the last never does."""
        return self.chain.accounts[3:]

    def offer(self, builds: Mapping[int, Build], **changes: Any) -> Offer:
        manifest = builds[min(builds)].manifest
        values: dict[str, Any] = {
            "aggregator": str(self.aggregator),
            "rounds": 3,
            "reward": ETHER,
            "fee": ETHER // 5,
            "stake_wei": ETHER,
            "bond_wei": 3 * ETHER,
            "penalty_wei": 4 * ETHER // 10,
            "beta": min(norm_bound(manifest.params), manifest.beta_max),
            "beta_min": manifest.params,
            "beta_max": manifest.beta_max,
            "open_admission": True,
            "cid": CID,
            "theta_bits": THETA_BITS,
            "theta": points_hash(first_model(builds[min(builds)])[1]),
            "rates": (10**9, 5 * 10**8),
            "windows": Windows(*(WINDOW,) * 9),
            "nonce": next(NONCES),
        }
        return Offer(**(values | changes))

    def open(
        self,
        builds: Mapping[int, Build],
        members: int | None = None,
        verifiers: Verifiers | None = None,
        **changes: Any,
    ) -> RealProject:
        """A project that was created and accepted, and that as many trainers as it takes have joined."""
        offer = self.offer(builds, **changes)
        verifiers = verifiers or self.market.deploy_verifiers(builds, self.owner)
        project = self.market.create(offer, builds, verifiers, self.owner)
        joined = list(self.trainers[: max(builds) if members is None else members])
        real = RealProject(self, project, builds, verifiers, offer, joined)
        real.receipts["create"] = project.created
        real.receipts["accept"] = project.accept(self.aggregator)
        for trainer in joined:
            real.receipts["join"] = project.join(trainer, encryption_key=KEY)
        return real


_proven: dict[Any, Any] = {}
"""What was proven in this session, by everything that it depends on."""


def remembered(key: Any, make: Any) -> Any:
    if key not in _proven:
        _proven[key] = make()
    return _proven[key]


@dataclass
class RealProject:
    """One project, round by round."""

    real: Real
    project: Project
    builds: Mapping[int, Build]
    verifiers: Verifiers
    offer: Offer
    members: list[Any]
    receipts: dict[str, Receipt] = field(default_factory=dict)
    model: Theta = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        self.model = first_model(self.build)[0]

    @property
    def chain(self) -> Chain:
        return self.real.chain

    @property
    def build(self) -> Build:
        """Of the most trainers: for commitments all builds are the same."""
        return self.builds[max(self.builds)]

    def updates(self) -> list[np.ndarray]:
        """Similar updates, another set each round; the last member's points the other way."""
        return honest_updates(len(self.members), self.build.manifest.params, seed=self.round_id.round)

    @property
    def round_id(self) -> RoundId:
        return self.project.round_id()

    def submission(self, trainer: Any, values: np.ndarray | None = None, round_id: RoundId | None = None) -> Submission:
        """A trainer's update of this round, committed once a session."""
        round_id = round_id or self.round_id
        if values is None:
            values = self.updates()[self.members.index(trainer)]
        address = int(str(trainer), 16)
        shape = self.build.manifest.params, self.build.manifest.logrows
        key = "submission", shape, address, round_id, values.tobytes()
        return remembered(key, lambda: submit(self.build, values, address, round_id))

    def start(self) -> None:
        self.receipts["start"] = self.project.start(self.real.aggregator, KEY)

    def submit_all(self, trainers: Sequence[Any] | None = None) -> list[Submission]:
        done = []
        for trainer in trainers or self.members:
            done.append(self.submission(trainer))
            self.receipts["submit"] = self.project.submit(trainer, done[-1].commitment, CID)
        return done

    def pass_deadline(self) -> None:
        pass_deadline(self.project)

    def admit(self, trainers: Sequence[Any | None]) -> None:
        """With one transaction; None stands for the root update on offer."""
        words = {seat.trainer: seat.submission for seat in self.project.seats()}
        words["None"] = self.project.root().submission
        receipts = {who: self.project.sign_receipt(self.real.aggregator, who, words[str(who)]) for who in trainers}
        self.receipts["admit"] = self.project.admit(self.real.stranger, receipts)

    def to_prove(
        self, submitted: Sequence[Any] | None = None, admitted: Sequence[Any] | None = None, root: bool = False
    ) -> list[Submission]:
        """Start a round and bring it to PROVE; the admitted submissions in the order of their slots.

        Args:
            root: whether the root update that was offered gets its receipt.
        """
        submitted = list(submitted or self.members)
        admitted = list(admitted or submitted)
        self.start()
        done = self.submit_all(submitted)
        self.pass_deadline()
        self.admit(admitted + [None] * root)
        if len(admitted) < len(submitted) or self.project.root().offered:
            self.pass_deadline()
        self.receipts["lock"] = self.project.lock(self.real.stranger)
        return [one for trainer, one in zip(submitted, done, strict=True) if trainer in admitted]

    def root(self, values: np.ndarray) -> Submission:
        """The owner's root update for the next round."""
        round_id = self.project.round_id(self.round_id.round + 1)
        return self.submission(self.real.owner, values, round_id)

    def offer_root(self, root: Submission) -> None:
        self.receipts["root"] = self.project.offer_root(self.real.owner, root.commitment, CID)

    def prove(
        self, submissions: Sequence[Submission], root: Submission | None = None, last: Aggregate | None = None
    ) -> tuple[RoundProof, Aggregate | None]:
        beta = self.project.state().beta
        build = self.builds[len(submissions)]
        commitments = tuple(s.commitment.points for s in [*submissions, *([root] if root else [])])
        key = "round", build.manifest.digest(), submissions[0].commitment.round_id, beta, commitments, last is None
        return remembered(key, lambda: prove_round(build, submissions, beta, root=root, last=last))

    def publication(self, proof: RoundProof, cid: bytes = CID, signer: Any = None) -> bytes:
        manifest = self.builds[len(proof.commitments)].manifest
        return self.project.sign_publication(signer or self.real.aggregator, manifest, proof, cid)

    def settle(self, proof: RoundProof, cid: bytes = CID, sender: Any = None) -> Receipt:
        who = sender or self.real.stranger
        done = self.project.settle(who, proof, self.theta(), cid, self.publication(proof, cid))
        self.receipts["settle"] = done
        return done

    def settle_in_two(self, proof: RoundProof, cid: bytes = CID) -> Receipt:
        stranger = self.real.stranger
        self.receipts["prove base"] = self.project.prove_base(stranger, proof)
        publication = self.publication(proof, cid)
        self.receipts["settle"] = self.project.settle_proven(stranger, proof, self.theta(), cid, publication)
        return self.receipts["settle"]

    def theta(self) -> tuple[Point, ...]:
        """Commitment of the model, as the log makes it."""
        first = first_model(self.build)[1]
        made = list(model_commitments(self.project.terms(), first, Log(self.project.events()).settled()))
        return made[-1].now if made else first

    def next(self) -> None:
        self.pass_deadline()
        self.receipts["next"] = self.project.next(self.real.stranger)

    # ---- calldata

    def settle_words(self, proof: RoundProof) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Both structs of a settlement."""
        return self.project._base_words(proof), decision_words(proof, self.theta())

    def settle_data(self, proof: RoundProof, cid: bytes = CID, publication: bytes | None = None) -> bytes:
        if publication is None:
            publication = self.publication(proof, cid)
        return self.settle_data_of(*self.settle_words(proof), cid, publication)

    def settle_data_of(self, base: Sequence[Any], decision: Sequence[Any], cid: bytes, publication: bytes) -> bytes:
        return encode_call(self.project, "settle", base, decision, cid, publication)

    def submit_data(self, commitment: Commitment, cid: bytes = CID) -> bytes:
        return encode_call(self.project, "submit", commitment.digest(), cid)

    def root_data(self, commitment: Commitment, cid: bytes = CID) -> bytes:
        return encode_call(self.project, "offerRoot", commitment.digest("root"), cid)

    def answer(self, data: bytes, sender: Any = None, value: int = 0) -> str:
        """What the project says to these bytes, now and without effect: "" if it takes them, else the error."""
        return answer(self.chain, self.project.address, data, sender or self.real.stranger, value)


# ---------------------------------------------------------------- calldata, as bytes


def item_of(project: Project, method: str) -> dict[str, Any]:
    return next(item for item in project.container.abi if item.get("name") == method)


def encode_call(project: Project, method: str, *arguments: Any) -> bytes:
    item = item_of(project, method)
    types = [collapse_if_tuple(part) for part in item["inputs"]]
    return keccak(abi_to_signature(item).encode())[:4] + encode(types, arguments)


def layout(project: Project, method: str, *arguments: Any) -> list[str]:
    """What each word after the selector of the canonical encoding holds: ``proof.scores[2]``, ``cid: length``."""
    return _tuple_words(item_of(project, method)["inputs"], arguments, "")


def _tuple_words(parts: Sequence[dict[str, Any]], values: Sequence[Any], path: str) -> list[str]:
    heads, tails = [], []
    for part, value in zip(parts, values, strict=True):
        name = path + part["name"]
        if part["type"] in ("tuple", "bytes") or part["type"].endswith("[]"):  # none of these tuples is static
            heads.append(f"{name}: offset")
            tails += _tail_words(part, value, name)
        else:
            heads.append(name)
    return heads + tails


def _tail_words(part: dict[str, Any], value: Any, name: str) -> list[str]:
    if part["type"] == "tuple":
        return _tuple_words(part["components"], value, f"{name}.")
    if part["type"].endswith("[]"):
        elements = [{**part, "type": part["type"][:-2], "name": f"[{index}]"} for index in range(len(value))]
        return [f"{name}: length", *_tuple_words(elements, value, name)]
    words, rest = divmod(len(value), 32)
    whole = [f"{name} word {index}" for index in range(words)]
    return [f"{name}: length", *whole, *([f"{name} word {words} and padding"] if rest else [])]


def answer(chain: Chain, to: str, data: bytes, sender: Any, value: int = 0) -> str:
    request = {"from": str(sender), "to": to, "data": "0x" + data.hex(), "gas": hex(20_000_000), "value": hex(value)}
    said = chain.web3.provider.make_request("eth_call", [request, "latest"])
    if "error" not in said:
        return ""
    return _error(bytes.fromhex(said["error"].get("data", "0x")[2:])) or f"no data: {said['error']['message']}"


def _error(data: bytes) -> str:
    """``WrongLength(folds, 3, 2)``."""
    if not data:
        return ""
    item = _errors().get(data[:4])
    if item is None:
        return "0x" + data[:36].hex()
    values = decode([collapse_if_tuple(part) for part in item["inputs"]], data[4:])
    said = []
    for part, value in zip(item["inputs"], values, strict=True):
        if isinstance(value, bytes):
            label = part["name"] in ("what", "proof")
            value = value.rstrip(b"\0").decode() if label else "0x" + value.hex()
        said.append(str(value))
    return f"{item['name']}({', '.join(said)})"


@functools.cache
def _errors() -> dict[bytes, dict[str, Any]]:
    items = [item for container in compile_contracts() for item in container.abi if item["type"] == "error"]
    return {keccak(abi_to_signature(item).encode())[:4]: item for item in items}


# ---------------------------------------------------------------- the auditor's view: nothing but the chain


# ---------------------------------------------------------------- fixtures, for modules that import them


@pytest.fixture(scope="module")
def real(node: Chain) -> Real:
    return Real.deploy(node)


__all__ = [
    "CHUNK",
    "CID",
    "ETHER",
    "KEY",
    "LOGROWS",
    "Real",
    "RealProject",
    "answer",
    "encode_call",
    "layout",
    "made",
    "params_of",
    "real",
    "remembered",
]
