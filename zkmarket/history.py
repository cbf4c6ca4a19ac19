"""A project's past, from log, calldata and store alone: settled rounds verified again, and the model that they make.

Everybody folds the same proven aggregates into the same initial model, θ ← θ + η·Agg/(accepted·2^s), and so holds the
same θ, bit for bit. A round whose aggregate is withheld, or was claimed as not served, leaves θ as it is.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .artifacts import Build
from .auditor import apply_aggregate, open_aggregate, verify_round
from .backend import Progress, quiet
from .commitment import Commitment
from .contribution import shares
from .errors import (
    ChainError,
    InputError,
    OpeningMismatch,
    PassedOn,
    ProofRejected,
    SealError,
    StoreError,
    ZkmarketError,
)
from .escrow import NOBODY, RATE_UNIT
from .field import Point
from .files import atomic_write, parse_json
from .market import Event, Project, Submitted
from .prospectus import LIMIT, Prospectus, digest_of, theta_digest
from .round import Aggregate, Decision
from .sealing import (
    SealingKey,
    Served,
    aggregate_size,
    content_key,
    decode_aggregate,
    decode_keyring,
    envelope_limit,
    is_envelope,
    unseal,
)
from .store import Store, cid_from_bytes, cid_to_bytes

KEYRING_LIMIT = envelope_limit(36 * 2**16)
"""Bytes of the largest keyring that is read from a file or by a CID that somebody gave."""

KEYRINGS_SECONDS = 120.0
"""After so long no further keyring is fetched at one look: an aggregator can name many that no store has, and a
deadline may be running. Those that failed come last at the next look."""


@dataclass(frozen=True)
class Settled:
    """What the log says of a settled round.

    Attributes:
        trainers: addresses of the slots, in order.
        mask, scores, pay: of each slot; pay in the reward's unit.
        aggregate: points of C_agg; () where the aggregate is withheld.
        cid: where it is served; None where it is withheld.
        beta, next_beta: norm bound of this round, and of the next.
        rate: learning rate in billionths.
        nu: lower median of the squared norms, from which the next norm bound follows.
        proofs: hash of the two proofs that settled it (`escrow.proofs_hash`).
        skipped: whether the round leaves the model as it is; None until the round is closed.
    """

    round: int
    trainers: tuple[str, ...]
    mask: tuple[int, ...]
    scores: tuple[int, ...]
    pay: tuple[int, ...]
    aggregate: tuple[Point, ...]
    cid: str | None
    beta: int
    next_beta: int
    rate: int
    nu: int
    proofs: bytes
    transaction: str
    skipped: bool | None

    @property
    def withheld(self) -> bool:
        return not self.aggregate


@dataclass(frozen=True)
class Started:
    """What the log says of a round that was started."""

    round: int
    encryption_key: bytes
    beta: int
    keyring: str | None


class Log:
    """Events of a project at one time, by what they say."""

    def __init__(self, events: tuple[Event, ...]):
        self.events = events

    def of(self, name: str) -> list[Event]:
        return [event for event in self.events if event.name == name]

    def started(self, number: int) -> Started:
        for event in self.of("Started"):
            said = event.arguments
            if said["round"] == number:
                return Started(number, said["encryptionKey"], said["beta"], _cid(said["keyring"]))
        raise ChainError(f"the log has no start of round {number}: a reorganisation, or a node that is behind")

    def office_key(self) -> bytes:
        """The key that the aggregator in office accepted with: root updates are sealed to it."""
        accepted = self.of("Accepted")
        if not accepted:
            raise ChainError("the log has no aggregator: a reorganisation, or a node that is behind")
        return accepted[-1].arguments["encryptionKey"]

    def offered_root(self, number: int) -> Submitted | None:
        """The owner's root update for a round: the last offer counts. None: there is none."""
        offers = [event.arguments for event in self.of("RootOffered") if event.arguments["round"] == number]
        return Submitted(NOBODY, offers[-1]["digest"], offers[-1]["cid"]) if offers else None

    def root_admitted(self, number: int) -> bool:
        """Whether the offered root update of a round has the aggregator's receipt, and so counts."""
        return any(event.arguments["round"] == number for event in self.of("RootAdmitted"))

    def submitted(self, number: int) -> dict[str, Submitted]:
        """By trainer. What another contract passed on is here too."""
        found = {}
        for event in self.of("Submitted"):
            said = event.arguments
            if said["round"] == number:
                found[said["trainer"]] = Submitted(said["trainer"], said["digest"], said["cid"])
        return found

    def submission(self, number: int, trainer: str, word: bytes) -> Submitted:
        """A trainer's, if it is the seat's; ChainError if the log is another chain's, or behind.

        Args:
            word: as the seat holds it.
        """
        found = self.submitted(number).get(trainer)
        if found is None or found.word != word:
            raise ChainError(f"the log has not the submission of {trainer} that is on its seat: a node that is behind")
        return found

    def settled(self) -> list[Settled]:
        """Settled rounds in order."""
        closed = {event.arguments["round"]: event.arguments["skipped"] for event in self.of("Closed")}
        found = []
        for event in self.of("Settled"):
            number, said = event.arguments["round"], event.arguments["settlement"]
            n = len(said["trainers"])
            found.append(
                Settled(
                    number,
                    tuple(said["trainers"]),
                    tuple(said["mask"] >> slot & 1 for slot in range(n)),
                    tuple(said["scores"]),
                    tuple(said["pay"]),
                    _points(said["aggregate"]),
                    _cid(said["cid"]),
                    self.started(number).beta,
                    said["beta"],
                    said["rate"],
                    said["nu"],
                    said["proofs"],
                    event.transaction,
                    closed.get(number),
                )
            )
        return found

    def last_settled(self, number: int) -> Settled:
        """A round that the state says is settled; ChainError if the log does not have it yet."""
        found = self.settled()
        if not found or found[-1].round != number:
            raise ChainError(f"the log has no settlement of round {number}: a reorganisation, or a node that is behind")
        return found[-1]

    def members(self) -> dict[str, bytes]:
        """Encryption keys of who is a trainer now, by address: whoever has a stake that no penalty has eaten."""
        keys: dict[str, bytes] = {}
        stakes: dict[str, int] = {}
        for event in self.events:
            said = event.arguments
            who = said.get("trainer")
            if event.name == "Joined":
                keys[who] = said["encryptionKey"]
                stakes[who] = stakes.get(who, 0) + said["stakeWei"]
            elif event.name in ("Skipped", "Refused"):
                stakes[who] = 0 if said.get("removed") else stakes.get(who, 0) - said["burntWei"]
            elif event.name == "Left":
                stakes[who] = 0
        return {who: key for who, key in keys.items() if stakes[who] > 0}

    def member_keys(self) -> list[bytes]:
        """Encryption keys of the trainers; those of the last round first.

        An envelope has room for some thousands: who joins with more accounts pushes nobody out who takes part.
        """
        members = self.members()
        latest = max((event.arguments["round"] for event in self.of("Submitted")), default=0)
        active = [members[who] for who in self.submitted(latest) if who in members]
        return list(dict.fromkeys([*active, *members.values()]))


def _points(words: list[int]) -> tuple[Point, ...]:
    return tuple(zip(words[::2], words[1::2], strict=True))


def _cid(data: bytes) -> str | None:
    """A CID of the log as text; None for none, or one that no store of ours knows."""
    try:
        return cid_from_bytes(data)
    except InputError:
        return None


def fetch_prospectus(project: Project, store: Store, path: Path) -> Prospectus:
    """The prospectus that the terms pin, into a file too. ProofRejected if the store's is another."""
    from .market import Market

    created = Market(project.chain, project.factory()).creation_of(project)
    blob = store.get(cid_from_bytes(created.arguments["cid"]), LIMIT)
    wanted = project.terms()["model"]
    if digest_of(blob) != wanted:
        raise ProofRejected(
            f"the prospectus is not the one that the terms pin: SHA-256 {digest_of(blob).hex()}, wanted {wanted.hex()}"
        )
    prospectus = Prospectus.from_bytes(blob)
    atomic_write(path, blob)
    return prospectus


class History:
    """One role's view of a project's past. What it has opened and verified it keeps in its folder.

    Args:
        builds: the caller's own, by number of trainers.
        key: to which aggregates were sealed for the caller; None for an auditor, who opens none.
    """

    def __init__(
        self,
        project: Project,
        prospectus: Prospectus,
        builds: Mapping[int, Build],
        store: Store,
        folder: Path,
        key: SealingKey | None = None,
        progress: Progress = quiet,
    ):
        self.project, self.prospectus, self.builds, self.store = project, prospectus, builds, store
        self.folder, self.key, self.progress = folder, key, progress
        self.disagreements: dict[int, str] = {}
        self.passed_on: set[int] = set()
        self.handed: str | None = None
        """A keyring that the caller was handed: a file or a CID."""
        self._rings: dict[str, dict[int, bytes]] = {}
        self._away: dict[str, float] = {}
        self._checked: set[tuple[str, bytes]] = set()
        self._events: tuple[Event, ...] = ()
        self._until: tuple[int, bytes] | None = None

    def log(self) -> Log:
        """All that the project has logged. What was read is read again only if its blocks are not there any more."""
        chain = self.project.chain
        number, digest = chain.tip()  # first: a reorganisation after it is found now, or by this hash at the next look
        if self._until is None or chain.block_hash(self._until[0]) != self._until[1]:
            self._events, self._until = (), None
        start = 0 if self._until is None else self._until[0] + 1
        if number >= start:
            self._events += self.project.events(start, number)
            self._until = number, digest
        return Log(self._events)

    # ---- verifying

    def verify(self, settled: Settled, log: Log) -> Decision:
        """Verify a settled round again, with the caller's own keys, and that the contract paid what follows from it.

        A settlement that another contract passed on has its proof in no calldata that a node gives without tracing. The
        contract, whose code and verifiers `inspect` compared, has verified it; that is said and relied on, since
        otherwise anybody could keep everybody from going on by sending a settlement in this way.

        Raises ProofRejected with the reason.
        """
        build = self.build_of(len(settled.trainers))
        self.passed_on.discard(settled.round)
        try:
            proof = self.project.round_proof(build.manifest, settled.round)
        except PassedOn as error:
            self.progress(f"round {settled.round}: {error}; taken on the contract's word")
            self.passed_on.add(settled.round)
            return _decided_by_contract(settled)
        known = self.project.references(build.manifest, settled.round)
        check_digests(log, settled, proof.commitments, known.root)
        decision = verify_round(build, proof, expected=self.project.round_id(settled.round), references=known)
        said = (settled.mask, settled.scores, settled.nu, settled.aggregate)
        proven = (decision.mask, decision.scores, decision.nu, decision.aggregate)
        if said != proven:
            raise ProofRejected(f"round {settled.round}: the contract logged {said}, the proof says {proven}")
        paid, _ = shares(self.project.terms()["reward"], decision.scores)
        if tuple(paid) != settled.pay:
            raise ProofRejected(f"round {settled.round}: the contract paid {settled.pay}, the scores give {paid}")
        return decision

    def last_aggregate(self, log: Log, number: int) -> Aggregate | None:
        """The aggregate that round `number` refers to as the last one; None if there is none. Raises as `aggregate`."""
        before = [settled for settled in log.settled() if settled.round < number]
        if not before or before[-1].skipped or before[-1].withheld:
            return None
        return self.aggregate(before[-1], log).aggregate

    def build_of(self, trainers: int) -> Build:
        if trainers not in self.builds:
            raise ProofRejected(f"a round of {trainers} trainers was settled: there is no build for it")
        return self.builds[trainers]

    # ---- opening

    def aggregate(self, settled: Settled, log: Log, fetch: bool = True) -> Served:
        """The aggregate of a round, from the caller's folder or the store, checked against its proven commitment.

        Args:
            fetch: whether to ask the store for what the folder has not got.

        Raises:
            StoreError: it is not served.
            SealError: it is served, but not to this reader, or damaged.
            OpeningMismatch, InputError: what is served is not the aggregate that was proven.
        """
        manifest = self.build_of(len(settled.trainers)).manifest
        path = self._aggregate_file(settled.round)
        if path.is_file():
            try:
                return self._opened(settled, path.read_bytes())
            except (SealError, OpeningMismatch, InputError):  # of a round that a reorganisation took back
                path.unlink()
        if not fetch:
            raise StoreError(f"round {settled.round}: the aggregate was never opened here")
        if settled.cid is None:
            raise SealError(f"round {settled.round}: the aggregate's CID is none that a store knows: it is not served")
        blob = self.store.get(settled.cid, envelope_limit(aggregate_size(manifest)))
        error: ZkmarketError | None = None
        for key in self._content_keys(settled.round, blob, log):
            try:
                plain = unseal(blob, key)
                served = self._opened(settled, plain)
            except (SealError, OpeningMismatch, InputError) as wrong:
                error = wrong
                continue
            self.keep(settled.round, plain, key)  # only a key that has opened what was proven is believed from now on
            return served
        raise error or SealError(
            f"round {settled.round}: the aggregate was sealed before you joined, or without you, and no keyring has"
            " its key: wait for the next round's keyring, or ask the owner for one (zkmarket owner keyring)"
        )

    def _content_keys(self, number: int, blob: bytes, log: Log) -> Iterator[bytes]:
        """What may open an envelope: the key in it for the caller, one that is known or was handed over, one of the
        log's keyrings."""
        if self.key is not None:
            with contextlib.suppress(SealError):
                yield content_key(blob, self.key)
        if number in (known := self.keys()):
            yield known[number]
        with contextlib.suppress(InputError, SealError, StoreError):  # it may have been written anew
            if self.handed is not None and number in (handed := self._keyring_of(self.handed)):
                yield handed[number]
        yield from self._keys_of_the_log(number, log)

    def _opened(self, settled: Settled, plain: bytes) -> Served:
        """What is in an envelope, once it opens the round's proven commitment; that is computed once a process."""
        served = decode_aggregate(plain, self.build_of(len(settled.trainers)).manifest)
        seen = settled.transaction, hashlib.sha256(plain).digest()
        if seen not in self._checked:
            build = self.build_of(len(settled.trainers))
            open_aggregate(build, _decided_by_contract(settled), served.aggregate)  # or raises
            self._checked.add(seen)
        return served

    def _aggregate_file(self, number: int) -> Path:
        return self.folder / "aggregates" / f"{number:05d}.bin"

    def keep(self, number: int, plain: bytes, key: bytes) -> None:
        """Remember an aggregate that opens its commitment, or that the caller made itself."""
        self.keep_keys(self.keys() | {number: key})
        atomic_write(self._aggregate_file(number), plain, mode=0o600)

    def model(self, log: Log, before: int | None = None, fetch: bool = True) -> np.ndarray:
        """θ before round `before`, or after the last closed round; `fetch` as in `aggregate`.

        Raises as `aggregate` does where a round that counts cannot be opened.
        """
        theta = self.prospectus.theta
        for settled in log.settled():
            if settled.round >= before if before is not None else settled.skipped is None:
                break
            theta = self.after(settled, log, theta, fetch)
        return theta

    def after(self, settled: Settled, log: Log, theta: np.ndarray, fetch: bool = True) -> np.ndarray:
        """θ after a round that was closed, or one that counts until it is; compared with what the aggregator says.

        Another digest is said and kept in `disagreements`, but stops nobody: θ follows from proven aggregates, and an
        aggregator must not be able to halt the trainers with a number that proves nothing.
        """
        if settled.skipped or settled.withheld:
            return theta
        served = self.aggregate(settled, log, fetch)
        manifest = self.build_of(len(settled.trainers)).manifest
        after = apply_aggregate(manifest, sum(settled.mask), served.aggregate, theta, settled.rate / RATE_UNIT)
        if served.theta not in (theta_digest(after), bytes(32)) and settled.round not in self.disagreements:
            self.disagreements[settled.round] = served.theta.hex()
            self.progress(
                f"WARNING: round {settled.round}: the aggregator says that the model is {served.theta.hex()}, the"
                f" proven aggregates make {theta_digest(after).hex()}: one of the two machines computes wrong"
            )
        return after

    # ---- content keys

    def keys(self) -> dict[int, bytes]:
        """Content keys of the rounds that the caller can open."""
        path = self.folder / "keyring.json"
        return _read_keyring(path) if path.is_file() else {}

    def import_keyring(self, source: str | Path) -> None:
        """Add the keys of a keyring from the owner; what is here already, and opens nothing, gives way.

        It is read again whenever an aggregate does not open: the owner keeps its file up to date.

        Args:
            source: a file, sealed or plain; or the CID of a sealed one. A store that has not got it is asked again.

        Raises InputError or SealError: it is no keyring, or none for this reader.
        """
        self.handed = str(source)
        try:
            self.keep_keys(self.keys() | self._keyring_of(self.handed))
        except StoreError as error:
            self.progress(f"the keyring cannot be had yet: {error}")

    def _keyring_of(self, source: str) -> dict[int, bytes]:
        path = Path(source)
        if not path.is_file():
            try:
                cid_to_bytes(source)
            except InputError:
                raise InputError(f"no keyring: {str(source)[:200]!r} is neither a file nor a CID") from None
            return self._ring(source, KEYRING_LIMIT)
        with path.open("rb") as file:
            blob = file.read(KEYRING_LIMIT)
        return self._unsealed_ring(blob) if is_envelope(blob) else _read_keyring(path)

    def keep_keys(self, keys: Mapping[int, bytes]) -> None:
        if keys != self.keys():
            text = json.dumps({str(number): key.hex() for number, key in sorted(keys.items())}, indent=1)
            atomic_write(self.folder / "keyring.json", text.encode(), mode=0o600)

    def _keys_of_the_log(self, number: int, log: Log) -> Iterator[bytes]:
        """A round's content key by the keyrings that were sealed to the caller, the newest first.

        A new aggregator's may lack rounds that an earlier one's has, or lie. One that cannot be had keeps nobody from
        the others.
        """
        if self.key is None:
            return
        named = {}
        for event in reversed(log.of("Started")):
            if event.arguments["round"] > number and (cid := _cid(event.arguments["keyring"])):
                named[cid] = envelope_limit(36 * event.arguments["round"])
        end = time.monotonic() + KEYRINGS_SECONDS
        for cid in sorted(
            named, key=lambda cid: self._away.get(cid, 0.0)
        ):  # the newest first, else who failed longest ago
            if cid not in self._rings and time.monotonic() > end:
                continue
            with contextlib.suppress(SealError, StoreError):
                found = self._ring(cid, named[cid])
                if number in found:
                    yield found[number]

    def _ring(self, cid: str, limit: int) -> dict[int, bytes]:
        """The keys of a sealed keyring, fetched once; SealError if it is not for the caller."""
        if cid not in self._rings:
            try:
                blob = self.store.get(cid, limit)
            except StoreError:
                self._away[cid] = time.monotonic()
                raise
            self._rings[cid] = {}  # whatever is wrong with it stays so: a CID names the same bytes for ever
            self._rings[cid] = self._unsealed_ring(blob)
        return self._rings[cid]

    def _unsealed_ring(self, blob: bytes) -> dict[int, bytes]:
        if self.key is None:
            raise SealError("a sealed keyring is for who has a key: an auditor opens nothing")
        return decode_keyring(unseal(blob, content_key(blob, self.key)))


def _read_keyring(path: Path) -> dict[int, bytes]:
    try:
        return {int(number): bytes.fromhex(key) for number, key in parse_json(path.read_bytes()).items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InputError(f"{path} is not a keyring: {type(error).__name__}") from None


def check_digests(log: Log, settled: Settled, commitments: Sequence[Commitment], root: Commitment | None) -> None:
    """Raise ProofRejected unless a settlement is of what trainers submitted, and of the root update that was offered.

    Before it is settled, the chain has nothing of an update but its digest.
    """
    submitted = log.submitted(settled.round)
    for who, commitment in zip(settled.trainers, commitments, strict=True):
        if who not in submitted or submitted[who].digest != commitment.digest():
            raise ProofRejected(f"round {settled.round}: the settled points of {who} are not those that it submitted")
    offered = log.offered_root(settled.round) if root is not None else None
    if root is not None and (offered is None or offered.digest != root.digest("root")):
        raise ProofRejected(f"round {settled.round}: the settled points of the root update are not those of the offer")


def _decided_by_contract(settled: Settled) -> Decision:
    trainers = tuple(int(who, 16) for who in settled.trainers)
    return Decision(trainers, settled.mask, settled.scores, settled.nu, settled.aggregate)
