"""The aggregator: opens and starts rounds, receives updates, proves what follows from them, publishes the aggregate.

One step a look, in the order of a round: OPEN start with a fresh key; ADMIT fetch, decrypt, check, give receipts, to
the owner's root update too; PROVE prove, settle, publish; SETTLED close. A refusal is a reason in refusals.json and
costs both sides, so it is given only for what can never become right; what is merely not there yet is asked for again
until the deadline. No store is waited for before a settlement: what it names is on disk first, and put until the store
takes it (see ../delivery.py).
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

from ..build import Build
from ..chain import NOBODY, Phase
from ..crypto import Point
from ..documents import read_json
from ..errors import ArtifactError, DomainError, InputError
from ..files import atomic_write
from ..market import (
    Log,
    SealingKey,
    Seat,
    State,
    encode_aggregate,
    encode_keyring,
    last_seed,
    seal,
    until,
)
from ..posting import RoundShape, fits_one
from ..round import (
    Aggregate,
    KnownReferences,
    RoundProof,
    Submission,
    check_last,
    check_room,
    prove_round,
)
from ..rules import longest_step
from ..storage import cid_to_bytes
from ..units import amount_text
from .admission import NO_ROOT_FILE, REFUSALS_FILE, Admission, Awaited
from .desk import UNAVAILABLE, Desk, withdraw

PROOF_FILE, AGGREGATE_FILE, SEALED_FILE = "round.json", "aggregate.npz", "aggregate.sealed"
SERVE_AGAIN = 60.0
"""Seconds after which an aggregate that is claimed as not served is put again."""


class Aggregator:
    """The program `zkmarket aggregator run`.

    Args:
        wanted: number of trainers to wait for before a round is started; with half of the time to start gone, the
            least that a round can have are enough.
    """

    def __init__(self, desk: Desk, wanted: int | None = None, withdraw: bool = False):
        self.desk, self.withdraws = desk, withdraw
        self._wanted = wanted
        self.admission = Admission(desk)
        self.caught_up = 0
        self.served: dict[int, float] = {}

    @property
    def wanted(self) -> int:
        return self._wanted or self.desk.terms.max_trainers

    def run(self) -> dict[str, Any]:
        """Hold the office until the project ends or the office is another's."""
        self.desk.run(self.step)
        return status(self.desk)

    def step(self, state: State) -> str | None:
        desk = self.desk
        if state.phase == Phase.ENDED:
            if self.withdraws:
                withdraw(desk)
            return None
        if state.aggregator != desk.me:
            if state.phase == Phase.VACANT and state.aggregator == NOBODY:
                return desk.time_out(state) or f"waiting for the owner to name an aggregator, {until(state)}"
            if desk.depth and desk.project.state().aggregator == desk.me:
                return f"named as the aggregator; waiting for {desk.depth} blocks on top of that"
            raise InputError(f"the aggregator of {desk.project.address} is {state.aggregator}, not {desk.me}")
        if state.now > state.deadline or state.phase == Phase.ADMIT:
            called = self.close(state)
            if called:
                return f"called {called}"
        if state.now > state.deadline and state.phase in (Phase.ADMIT, Phase.PROVE):
            return f"round {state.round}: too late; it fails, at the cost of the bond, as soon as anybody says so"
        if state.phase in (Phase.CREATED, Phase.VACANT):
            return self.accept(state)
        if state.phase == Phase.OPEN:
            return self.start(state)
        if state.phase == Phase.ADMIT:
            log = desk.history.log()
            return self.admission.admit(state, log, self.round_key(log, state.round))
        if state.phase == Phase.PROVE:
            return self.settle(state)
        if state.phase == Phase.SETTLED:
            self.serve_again(state)
            delay = ", claimed as not served: fee and bond are held longer" if state.claimed else ""
            return f"round {state.round} is settled{delay}; waiting for the time to claim, {until(state)}"
        return f"round {state.round}: waiting for submissions, {until(state)}"

    def close(self, state: State) -> str | None:
        """Time-outs at once, and the lock as soon as everything is admitted. Not those that cost the aggregator."""
        if state.phase == Phase.ADMIT:
            missing = self.admission.awaited(self.desk.history.log(), state.round)
            if not missing:
                self.desk.project.lock(self.desk.wallet)
                return "lock"
            if state.now > state.deadline:
                self.admission.refuse_undelivered(missing)
        if self.desk.overdue(state) in ("fail", "fail_admission"):
            return None
        return self.desk.time_out(state, grace=0)

    # ---- CREATED, VACANT, OPEN

    def accept(self, state: State) -> str:
        """Take the office, once the project was inspected and rounds can be proven with what earlier ones left."""
        self.desk.inspected()
        if missing := self.missing(self.desk.history.log(), state):
            return f"the office is not taken: {missing}, {until(state)}"
        self.desk.progress(f"accepting the office with a bond of {amount_text(self.desk.terms.bond_wei)}")
        self.desk.project.accept(self.desk.wallet, self.desk.sealing_key.public)
        return "accepted"

    def start(self, state: State) -> str | None:
        desk = self.desk
        if state.bond_wei < desk.terms.bond_wei:
            desk.progress(f"filling the bond up by {amount_text(desk.terms.bond_wei - state.bond_wei)}")
            desk.project.top_up(desk.wallet)
        window = desk.terms.windows.start
        earliest = state.deadline - window  # after a vacancy or a void round trainers have time to leave first
        if state.now < earliest:
            return "waiting until trainers have had their time to leave"
        log, number = desk.history.log(), state.round + 1
        members = log.members()
        late = state.now >= earliest + window // 2
        enough = desk.terms.min_trainers if late else self.wanted
        if len(members) < enough:
            return f"waiting for trainers: {len(members)} have joined, {enough} are wanted, {until(state)}"
        if not late:
            self.catch_up(log, number)
        if missing := self.missing(log, state):
            return missing
        without = "root" in desk.manifest.references and log.offered_root(number) is None
        if without and not late:
            soon = "it is started without one when half of the time is gone"
            return f"round {number}: the owner has offered no root update; {soon}, {until(state)}"
        self.admission.note_root(number, "the owner has offered no root update" if without else "")
        key = self.fresh_key(log)
        keyring = b""
        if keys := desk.history.keys():
            blob, _ = seal(encode_keyring(keys), self.readers(log))
            keyring = cid_to_bytes(desk.put(blob, state))
        desk.progress(f"starting a round for {len(members)} trainers")
        desk.project.start(desk.wallet, key.public, keyring)
        return "started"

    def missing(self, log: Log, state: State) -> str | None:
        """Why the next round must not be started: one that cannot be proven costs the bond."""
        number = state.round + 1
        try:
            self.check_model(log, state)
        except DomainError as error:
            return f"round {number} cannot be started: {error}"
        if "last" not in self.desk.manifest.references:
            return None
        try:
            last = self.desk.history.last_aggregate(log, number)
            if last is not None:
                check_last(self.desk.manifest, last)
        except UNAVAILABLE as error:
            return f"round {number} cannot be started: it is compared with the last aggregate, and {error}"
        return None

    def check_model(self, log: Log, state: State) -> None:
        """Raise DomainError if the next round could move the model beyond its integers: nobody could work with it.

        A model of an earlier aggregator's, which was never opened here, is not asked for: a settlement needs its
        commitment alone.
        """
        desk, rates = self.desk, self.desk.project.rates()
        try:
            theta = desk.history.model(log, fetch=False)
        except DomainError:
            raise
        except UNAVAILABLE:
            return
        rate = rates[min(state.settled, len(rates) - 1)]
        check_room(theta.largest, longest_step(rate, desk.terms.max_trainers, theta.bits, state.beta))

    def catch_up(self, log: Log, number: int) -> None:
        """Open what an earlier aggregator has served, once a round, while nothing is at stake.

        Later, with the bond at stake, no store is waited for.
        """
        if self.caught_up != number:
            self.caught_up = number
            with contextlib.suppress(*UNAVAILABLE):
                self.desk.history.model(log, before=number)

    def readers(self, log: Log) -> list[bytes]:
        """Who may open aggregates: the owner, the aggregator itself, the trainers."""
        return [self.desk.prospectus.owner_key, self.desk.sealing_key.public, *log.member_keys()]

    def fresh_key(self, log: Log) -> SealingKey:
        """A key that no round in the log has: a new one, or that of a start which never came or was taken back.

        A reorganisation can take a start back when updates are sealed to its key already.
        """
        used = {event.arguments["encryptionKey"].hex() for event in log.of("Started")}
        for path in sorted((self.desk.folder / "keys").glob("*.key")):
            if path.stem not in used:
                return SealingKey.load(path)
        key = SealingKey.fresh()
        key.save(self._key_file(key.public))
        return key

    def _key_file(self, public: bytes) -> Path:
        return self.desk.folder / "keys" / f"{public.hex()}.key"

    def round_key(self, log: Log, number: int) -> SealingKey:
        path = self._key_file(log.started(number).encryption_key)
        if not path.is_file():
            raise ArtifactError(
                f"round {number} was started with an encryption key that is not in {path.parent}: another program"
                f" with this account started it; run this one in its folder, or copy {path.name} from there"
            )
        return SealingKey.load(path)

    # ---- PROVE

    def settle(self, state: State) -> str:
        """Prove the frozen set, seal the aggregate, have the round paid. Each is kept before the next.

        A store that does not take the sealed aggregate keeps nothing from being settled. Where one transaction does not
        hold a settlement its base proof goes first; one that the chain has already is not sent again.
        """
        desk, number = self.desk, state.round
        log = desk.history.log()
        seats = desk.project.seats()
        build = desk.history.build_of(len(seats))
        proof, aggregate = self.proven(log, build, state, seats)
        cid = b"" if aggregate is None else self.published(log, state, aggregate)
        theta = desk.history.commitment(log, before=number)
        publication = desk.project.sign_publication(desk.wallet, build.manifest, proof, cid)
        if fits_one(RoundShape.of(build.manifest)):
            desk.progress(f"round {number}: settling")
            desk.project.settle(desk.wallet, proof, theta, cid, publication)
            return "settled"
        if not desk.project.is_proven(last_seed(proof, proof.references.points(build.manifest))):
            desk.progress(f"round {number}: settling, the base proof first")
            desk.project.prove_base(desk.wallet, proof)
        desk.progress(f"round {number}: settling with its proven base")
        desk.project.settle_proven(desk.wallet, proof, theta, cid, publication)
        return "settled"

    def proven(self, log: Log, build: Build, state: State, seats: list[Seat]) -> tuple[RoundProof, Aggregate | None]:
        """The proof of an earlier run, or a new one with fresh masks."""
        desk, number = self.desk, state.round
        folder = desk.round_folder(number)
        key = self.round_key(log, number)
        taken = [Awaited(number, seat.trainer, seat.submission) for seat in seats]
        slots = [self.admission.opening_of(log, key, one) for one in taken]
        root = self.root_of(log, key, number)
        if (folder / PROOF_FILE).is_file():
            proof = RoundProof.load(folder / PROOF_FILE, build.manifest)
            known = KnownReferences(root.commitment if root else None, self.last_points(number))
            same = (proof.manifest_digest, proof.beta) == (build.manifest.digest(), state.beta)
            if same and (proof.commitments, proof.references) == (tuple(one.commitment for one in slots), known):
                place = folder / AGGREGATE_FILE
                return proof, Aggregate.load(place, build.manifest) if place.is_file() else None
        desk.progress(f"round {number}: proving for {len(slots)} trainers")
        last = desk.history.last_aggregate(log, number) if "last" in desk.manifest.references else None
        with desk.metrics.proving() if desk.metrics else contextlib.nullcontext():
            proof, aggregate = prove_round(build, slots, state.beta, desk.progress, root=root, last=last)
        (folder / SEALED_FILE).unlink(missing_ok=True)  # of another proof
        if aggregate is None:
            (folder / AGGREGATE_FILE).unlink(missing_ok=True)
        else:
            aggregate.save(folder / AGGREGATE_FILE)
        proof.save(folder / PROOF_FILE)
        return proof, aggregate

    def root_of(self, log: Log, key: SealingKey, number: int) -> Submission | None:
        """The owner's root update, where it counts."""
        offered = log.offered_root(number)
        if offered is None or not log.root_admitted(number):
            return None
        return self.admission.opening_of(log, key, Awaited(number, None, offered.word))

    def last_points(self, number: int) -> tuple[Point, ...] | None:
        """Of the last aggregate, where the rules compare with it and there is one."""
        compares = "last" in self.desk.manifest.references
        return (self.desk.project.last_aggregate(number) or None) if compares else None

    def published(self, log: Log, state: State, aggregate: Aggregate) -> bytes:
        """The aggregate on its way to the store, sealed to owner and trainers; its CID as it goes on chain."""
        desk, number = self.desk, state.round
        path = desk.round_folder(number) / SEALED_FILE
        if not path.is_file():
            plain = encode_aggregate(aggregate)
            blob, key = seal(plain, self.readers(log))
            desk.history.keep(number, plain, key)
            atomic_write(path, blob)
        return cid_to_bytes(desk.put(path.read_bytes(), state))

    def serve_again(self, state: State) -> None:
        """Put an aggregate that somebody claims as not served again, should the store have lost it."""
        desk, path = self.desk, self.desk.round_folder(state.round) / SEALED_FILE
        claims = [event for event in desk.history.log().of("Claimed") if event.arguments["round"] == state.round]
        if claims and path.is_file() and time.monotonic() > self.served.get(state.round, -SERVE_AGAIN) + SERVE_AGAIN:
            self.served[state.round] = time.monotonic()
            desk.put(path.read_bytes(), state)


def status(desk: Desk) -> dict[str, Any]:
    """Where the aggregator stands, by the chain; refusals, and rounds without a root update, by the folder."""
    state = desk.project.state()
    own = desk.project.account(desk.me)

    def noted(name: str) -> dict[str, Any]:
        folders = sorted((desk.folder / "rounds").glob("*"))
        return {folder.name: read_json(folder / name, "note") for folder in folders if (folder / name).is_file()}

    return {
        "project": desk.project.address,
        "aggregator": desk.me,
        "in_office": state.aggregator == desk.me,
        "phase": state.phase.name,
        "now": state.now,
        "deadline": state.deadline,
        "round": state.round,
        "settled": state.settled,
        "bond_wei": state.bond_wei,
        "token": None if desk.native else desk.terms.token,
        "credit": own.credit,
        "refund_wei": own.refund_wei,
        "refusals": noted(REFUSALS_FILE),
        "without_root": {number: note["reason"] for number, note in noted(NO_ROOT_FILE).items()},
    }
