"""A project's past, from log, calldata and store alone: settled rounds verified again, and the model that they make.

Everybody folds the same proven aggregates into the same initial model, in integers, and so holds the same Θ, whose
commitment the contract carries (see ../round/model.py). A round whose aggregate is withheld, or was claimed as not
served, leaves Θ as it is.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ..build import Build
from ..chain import Event
from ..crypto import Point, points_hash
from ..errors import (
    InputError,
    OpeningMismatch,
    PassedOn,
    ProofRejected,
    RuleError,
    SealError,
    StoreError,
    ZkmarketError,
)
from ..files import atomic_write
from ..progress import Progress, quiet
from ..round import Aggregate, Commitment, Decision, Theta, moved, open_aggregate, verify_round
from ..rules import loss_scores, pay, shares, weight
from ..storage import Store, cid_to_bytes
from .keyring import KEYRING_LIMIT, KEYRINGS_SECONDS, read_keyring
from .log import Log, Settled, cid_text
from .losses import METHODS
from .project import Project
from .prospectus import Prospectus
from .sealing import (
    SealingKey,
    aggregate_size,
    content_key,
    decode_aggregate,
    decode_keyring,
    envelope_limit,
    is_envelope,
    unseal,
)
from .structs import Terms
from .theta import Moved, model_commitments


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
        self.passed_on: set[int] = set()
        self.handed: str | None = None
        """A keyring that the caller was handed: a file or a CID."""
        self._rings: dict[str, dict[int, bytes]] = {}
        self._away: dict[str, float] = {}
        self._checked: set[tuple[str, bytes]] = set()
        self._first: tuple[Theta, tuple[Point, ...]] | None = None
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
        """Verify a settled round again, with the caller's own keys: that the contract paid, and made of the model's
        commitment, what follows from it.

        A settlement that another contract passed on has its proof in no calldata that a node gives without tracing. The
        contract, whose code and verifiers `inspect` compared, has verified it; that is said and relied on, since
        otherwise anybody could keep everybody from going on by sending a settlement in this way.

        Raises ProofRejected with the reason.
        """
        build = self.build_of(len(settled.trainers))
        self.passed_on.discard(settled.round)
        self.moved(log)  # or raises
        try:
            proof = self.project.round_proof(build.manifest, settled.round)
        except PassedOn as error:
            self.progress(f"round {settled.round}: {error}; taken on the contract's word")
            self.passed_on.add(settled.round)
            return _decided_by_contract(settled)
        known = self.project.references(build.manifest, settled.round)
        check_digests(log, settled, proof.commitments, known.root)
        decision = verify_round(build, proof, expected=self.project.round_id(settled.round), references=known)
        terms = self.project.terms()
        scores = scores_by_loss(terms, settled) if terms.scoring.method else decision.scores
        said = (settled.mask, settled.scores, settled.nu, settled.aggregate)
        proven = (decision.mask, scores, decision.nu, decision.aggregate)
        if said != proven:
            raise ProofRejected(f"round {settled.round}: the contract logged {said}, the proof says {proven}")
        paid = pay_of(terms, settled)
        if paid != settled.pay:
            raise ProofRejected(f"round {settled.round}: the contract paid {settled.pay}, the scores give {paid}")
        return decision

    def last_aggregate(self, log: Log, number: int) -> Aggregate | None:
        """The aggregate that round `number` refers to as the last one; None if there is none. Raises as `aggregate`."""
        before = [settled for settled in log.settled() if settled.round < number]
        if not before or before[-1].skipped or before[-1].withheld:
            return None
        return self.aggregate(before[-1], log)

    def build_of(self, trainers: int) -> Build:
        if trainers not in self.builds:
            raise ProofRejected(f"a round of {trainers} trainers was settled: there is no build for it")
        return self.builds[trainers]

    # ---- opening

    def aggregate(self, settled: Settled, log: Log, fetch: bool = True) -> Aggregate:
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

    def _opened(self, settled: Settled, plain: bytes) -> Aggregate:
        """What is in an envelope, once it opens the round's proven commitment; that is computed once a process."""
        served = decode_aggregate(plain, self.build_of(len(settled.trainers)).manifest)
        seen = settled.transaction, hashlib.sha256(plain).digest()
        if seen not in self._checked:
            build = self.build_of(len(settled.trainers))
            open_aggregate(build, _decided_by_contract(settled), served)  # or raises
            self._checked.add(seen)
        return served

    def _aggregate_file(self, number: int) -> Path:
        return self.folder / "aggregates" / f"{number:05d}.bin"

    def keep(self, number: int, plain: bytes, key: bytes) -> None:
        """Remember an aggregate that opens its commitment, or that the caller made itself."""
        self.keep_keys(self.keys() | {number: key})
        atomic_write(self._aggregate_file(number), plain, mode=0o600)

    # ---- the model

    @property
    def first(self) -> tuple[Theta, tuple[Point, ...]]:
        """The initial model and its commitment."""
        if self._first is None:
            build = next(iter(self.builds.values()))  # commitments are the same for every number of trainers
            theta = self.prospectus.first_model(build.manifest)
            self._first = theta, theta.points(build)
        return self._first

    def moved(self, log: Log) -> list[Moved]:
        """The model's commitment in every settled round. ProofRejected if the contract has another than follows."""
        return list(model_commitments(self.project.terms(), self.first[1], log.settled()))

    def commitment(self, log: Log, before: int | None = None) -> tuple[Point, ...]:
        """C_Θ before round `before`, or after the last closed round. Raises as `moved`."""
        found = [one.now for one in self.moved(log) if before is None or one.settled.round < before]
        return found[-1] if found else self.first[1]

    def model(self, log: Log, before: int | None = None, fetch: bool = True) -> Theta:
        """Θ before round `before`, or after the last closed round; `fetch` as in `aggregate`.

        Raises as `aggregate` does where a round that counts cannot be opened.
        """
        theta = self.first[0]
        for settled in log.settled():
            if settled.round >= before if before is not None else settled.skipped is None:
                break
            theta = self.after(settled, log, theta, fetch)
        return theta

    def after(self, settled: Settled, log: Log, theta: Theta, fetch: bool = True) -> Theta:
        """Θ after a round that was closed, or one that counts until it is. It opens what the contract has, or this
        raises OpeningMismatch; that is computed once a process."""
        if settled.skipped or settled.withheld:
            return theta
        served = self.aggregate(settled, log, fetch)
        after = moved(theta, served, weight(settled.rate, sum(settled.mask), theta.bits))
        seen = settled.transaction, settled.theta
        if seen not in self._checked:
            if points_hash(after.points(self.build_of(len(settled.trainers)))) != settled.theta:
                raise OpeningMismatch(
                    f"round {settled.round}: the model does not open the commitment that the chain has"
                )
            self._checked.add(seen)
        return after

    # ---- content keys

    def keys(self) -> dict[int, bytes]:
        """Content keys of the rounds that the caller can open."""
        path = self.folder / "keyring.json"
        return read_keyring(path) if path.is_file() else {}

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
        return self._unsealed_ring(blob) if is_envelope(blob) else read_keyring(path)

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
            if event.arguments["round"] > number and (cid := cid_text(event.arguments["keyring"])):
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


def scores_by_loss(terms: Terms, settled: Settled) -> tuple[int, ...]:
    """What the losses of a round are worth that the log has; 0 while they are proven, and where they were not in time.

    Raises ProofRejected: the contract paid by losses that are not all there.
    """
    if not settled.scored or settled.scoring_failed:
        return (0,) * len(settled.trainers)
    kind = METHODS[terms.scoring.method].removeprefix("utility:")
    try:
        return tuple(loss_scores(kind, settled.mask, {slots: loss for slots, _, loss in settled.losses}))
    except RuleError as error:
        raise ProofRejected(f"round {settled.round}: {error}") from error


def pay_of(terms: Terms, settled: Settled) -> tuple[int, ...]:
    """What a settled round's scores are worth by the terms; nothing yet while its losses are being proven."""
    if not terms.scoring.method:
        return tuple(shares(terms.reward, settled.scores)[0])
    if not settled.scored and not settled.withheld:
        return (0,) * len(settled.trainers)
    return tuple(pay(terms.reward, settled.mask, settled.scores, terms.scoring.floor, terms.min_accepted)[0])


def _decided_by_contract(settled: Settled) -> Decision:
    trainers = tuple(int(who, 16) for who in settled.trainers)
    return Decision(trainers, settled.mask, settled.scores, settled.nu, settled.aggregate)
