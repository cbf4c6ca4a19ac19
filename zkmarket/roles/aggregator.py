"""The aggregator: opens and starts rounds, receives updates, proves what follows from them, publishes the aggregate.

One step a look, in the order of a round: OPEN take the owner's root update if it
can be opened, start with a fresh key; ADMIT fetch, decrypt, check, give receipts; PROVE
prove, settle, publish; SETTLED close. A refusal is a reason in refusals.json and costs both sides, so it is given only
for what can never become right; what is merely not there yet is asked for again until the deadline. No store is waited
for before a settlement: what it names is on disk first, and put until the store takes it (see ../delivery.py).
"""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from ..aggregator import Submission, check_salts_once, prove_round
from ..artifacts import Build
from ..auditor import open_aggregate, verify_settlement
from ..commitment import Commitment, Opening, check_opening
from ..errors import (
    ArtifactError,
    InputError,
    ProofRejected,
    SaltReuse,
    SealError,
    StatementFalse,
    StoreError,
    TransactionReverted,
    ZkmarketError,
)
from ..escrow import NOBODY, RATE_UNIT, Phase
from ..files import atomic_write, read_json, write_json
from ..history import Log, OfferedRoot, unproven
from ..market import State
from ..prospectus import theta_digest
from ..round import Aggregate, RoundProof
from ..sealing import (
    SealingKey,
    Served,
    encode_aggregate,
    encode_keyring,
    open_update,
    seal,
    sealed_update_size,
)
from ..store import cid_from_bytes, cid_to_bytes
from .desk import UNAVAILABLE, Desk, until
from .trainer import withdraw

PROOF_FILE, AGGREGATE_FILE, SEALED_FILE = "round.json", "aggregate.npz", "aggregate.sealed"
REFUSALS_FILE = "refusals.json"
NO_ROOT_FILE = "no-root.json"
"""Why a round was started without a root update of the owner, where the rules use one."""
CHECKERS = 8
"""Openings that are checked at once; all are fetched at once."""
SERVE_AGAIN = 60.0
"""Seconds after which an aggregate that is claimed as not served is put again."""

NO_ROOT = bytes(32)

HOPELESS = (SealError, InputError, StatementFalse, ProofRejected, SaltReuse)
"""What makes a delivered update one that can never be admitted."""


class Aggregator:
    """The program `zkmarket aggregator run`.

    Args:
        wanted: number of trainers to wait for before a round is started; with half of the time to start gone, the
            least that a round can have are enough.
    """

    def __init__(self, desk: Desk, wanted: int | None = None, withdraw: bool = False):
        self.desk, self.withdraws = desk, withdraw
        self._wanted = wanted
        self.undelivered: dict[tuple[int, str], str] = {}
        self.refused: set[tuple[int, str, bytes]] = set()
        self.unusable: dict[OfferedRoot, str] = {}
        self.evaded: set[int] = set()
        self.caught_up = 0
        self._checking = threading.BoundedSemaphore(CHECKERS)
        self.served: dict[int, float] = {}

    @property
    def wanted(self) -> int:
        return self._wanted or self.desk.terms["maxTrainers"]

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
            return self.admit(state)
        if state.phase == Phase.PROVE:
            return self.settle(state)
        if state.phase == Phase.SETTLED:
            self.serve_again(state)
            held = ", claimed as not served: fee and bond are held longer" if state.claimed else ""
            return f"round {state.round} is settled{held}; waiting for the time to claim, {until(state)}"
        return f"round {state.round}: waiting for submissions, {until(state)}"

    def close(self, state: State) -> str | None:
        """Time-outs at once, and the lock as soon as everybody is admitted. Not those that cost the aggregator."""
        if state.phase == Phase.ADMIT:
            seats = self.desk.project.seats(state.round)
            if all(seat["admitted"] for seat in seats):
                self.desk.project.lock(self.desk.wallet)
                return "lock"
            if state.now > state.deadline:
                self.refuse_undelivered(state.round, seats)
        if self.desk.overdue(state) in ("fail", "fail_admission"):
            return None
        return self.desk.time_out(state, grace=0)

    # ---- CREATED, VACANT, OPEN

    def accept(self, state: State) -> str:
        """Take the office, once the project was inspected."""
        self.desk.inspected()
        self.desk.progress(f"accepting the office with a bond of {self.desk.terms['bondWei']} wei")
        self.desk.project.accept(self.desk.wallet, self.desk.sealing_key.public)
        return "accepted"

    def start(self, state: State) -> str | None:
        desk = self.desk
        if state.bond_wei < desk.terms["bondWei"]:
            desk.progress(f"filling the bond up by {desk.terms['bondWei'] - state.bond_wei} wei")
            desk.project.top_up(desk.wallet)
        window = desk.terms["windows"]["start"]
        earliest = state.deadline - window  # after a vacancy or a void round trainers have time to leave first
        if state.now < earliest:
            return "waiting until trainers have had their time to leave"
        log, number = desk.history.log(), state.round + 1
        members = log.members()
        late = state.now >= earliest + window // 2
        enough = desk.terms["minTrainers"] if late else self.wanted
        if len(members) < enough:
            return f"waiting for trainers: {len(members)} have joined, {enough} are wanted, {until(state)}"
        if missing := self.missing(log, number):
            return missing
        if not late:
            self.catch_up(log, number)
        root, without = self.root_to_name(log, number, late)
        if without and not late:
            return f"round {number}: {without}; it is started without one when half of the time is gone, {until(state)}"
        self.note_root(number, without)
        key = self.fresh_key(log)
        keyring = b""
        if keys := desk.history.keys():
            blob, _ = seal(encode_keyring(keys), self.readers(log))
            keyring = cid_to_bytes(desk.put(blob, state))
        desk.progress(f"starting a round for {len(members)} trainers")
        try:
            desk.project.start(desk.wallet, key.public, keyring, root)
        except TransactionReverted as error:
            if not error.reason.startswith("RootNotOffered"):
                raise
            self.evaded.add(number)  # an owner that does so again and again must not keep the round from starting
            return f"round {number}: the owner offers another root update since: looking again"
        return "started"

    def root_to_name(self, log: Log, number: int, late: bool) -> tuple[bytes, str]:
        """The owner's root update for the round, by its hash, and "" if it is here and opens; zeros, and why not."""
        if "root" not in self.desk.rules.references:
            return NO_ROOT, ""
        offers = log.offered_roots(number)
        if not offers:
            return NO_ROOT, "the owner has offered no root update"
        offered = offers[-1]
        if offered not in self.unusable:
            try:
                self.root_opening(offered)
            except StoreError as error:  # it may come yet
                return NO_ROOT, f"the root update is not in the store: {error}"
            except HOPELESS as error:
                self.unusable[offered] = f"the root update cannot be used: {type(error).__name__}: {error}"
        if why := self.unusable.get(offered, ""):
            return NO_ROOT, why
        if number in self.evaded and late:
            return NO_ROOT, "the owner changed the root update when the round was being started"
        return offered.hash, ""

    def note_root(self, number: int, without: str) -> None:
        """Write down why a round is started without a root update."""
        path = self.desk.round_folder(number) / NO_ROOT_FILE
        if not without:
            path.unlink(missing_ok=True)
            return
        self.desk.progress(f"round {number}: without a root update: {without}")
        write_json(path, {"reason": without})

    def root_opening(self, offered: OfferedRoot) -> Submission:
        """The owner's root update; raises as `opened`."""
        desk, number = self.desk, offered.round
        commitment = unproven(desk.project, number, desk.terms["owner"], offered.points)
        path = desk.round_folder(number) / "openings" / f"root-{offered.hash.hex()[:16]}.npz"
        return self.opened(commitment, path, offered.cid, desk.sealing_key)

    def missing(self, log: Log, number: int) -> str | None:
        """Why a round must not be started: one that cannot be proven costs the bond."""
        if "last" not in self.desk.rules.references:
            return None
        try:
            self.desk.history.last_aggregate(log, number)
        except UNAVAILABLE as error:
            return f"round {number} cannot be started: it is compared with the last aggregate, and {error}"
        return None

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

    # ---- ADMIT

    def admit(self, state: State) -> str:
        """Fetch what is not admitted yet, and give a receipt for what opens its commitment as soon as it is here."""
        desk, number = self.desk, state.round
        log = desk.history.log()
        key = self.round_key(log, number)
        seats = [seat for seat in desk.project.seats(number) if not seat["admitted"]]
        wanted = [seat for seat in seats if (number, seat["trainer"], seat["points"]) not in self.refused]
        missing = 0
        # all at once: a few that no store will ever have must not hold the others up
        with ThreadPoolExecutor(max(1, len(wanted))) as pool:
            fetched = {pool.submit(self._try, log, key, number, seat): seat for seat in wanted}
            for done in as_completed(fetched):
                seat, reason = fetched[done], done.result()
                if reason is None:
                    self.give_receipt(number, seat)
                elif isinstance(reason, StoreError):
                    missing += 1
                    self.undelivered[number, seat["trainer"]] = f"{type(reason).__name__}: {reason}"
                else:
                    self.refuse(number, seat, reason)
        return (
            f"round {number}: {missing} sealed updates are not in the store yet, {len(self.refusals(number))} are"
            f" refused, {until(state)}"
        )

    def refuse(self, number: int, seat: dict[str, Any], reason: ZkmarketError) -> None:
        """Write down why an update can never be admitted; it is not fetched again."""
        who = seat["trainer"]
        self.desk.progress(f"round {number}: refused {who}: {reason}")
        self.refused.add((number, who, seat["points"]))
        write_json(self._refusals_file(number), self.refusals(number) | {who: f"{type(reason).__name__}: {reason}"})

    def refuse_undelivered(self, number: int, seats: list[dict[str, Any]]) -> None:
        """Reasons for those whose update has not come in time."""
        refusals = self.refusals(number)
        late = [seat["trainer"] for seat in seats if not seat["admitted"] and seat["trainer"] not in refusals]
        reasons = {who: self.undelivered.get((number, who), "StoreError: not delivered in time") for who in late}
        if reasons:
            write_json(self._refusals_file(number), refusals | reasons)

    def _try(self, log: Log, key: SealingKey, number: int, seat: dict[str, Any]) -> ZkmarketError | None:
        """None if the update is here and opens its commitment; else why not."""
        try:
            self.opening_of(log, key, number, seat)
        except (StoreError, *HOPELESS) as error:
            return error
        return None

    def opening_of(self, log: Log, key: SealingKey, number: int, seat: dict[str, Any]) -> Submission:
        """A trainer's update, from the folder or from the store; kept once it has been checked."""
        desk, who = self.desk, seat["trainer"]
        submitted = log.submission(number, who, seat["points"])
        commitment = unproven(desk.project, number, who, submitted.points)
        # by its points: a reorganisation can put another commitment on the same seat
        path = desk.round_folder(number) / "openings" / f"{who}-{seat['points'].hex()[:16]}.npz"
        return self.opened(commitment, path, submitted.cid, key)

    def opened(self, commitment: Commitment, path: Path, cid: bytes, key: SealingKey) -> Submission:
        """What opens a commitment: from a file, or from the store into that file once it has been checked.

        Raises:
            StoreError: the store has not got it.
            SealError, InputError, StatementFalse, SaltReuse: what it has is not an opening of this commitment.
        """
        build = next(iter(self.desk.builds.values()))
        if path.is_file():
            with contextlib.suppress(InputError, StatementFalse):  # a damaged file is nobody else's fault
                opening = Opening.load(path, build.manifest)
                with self._checking:
                    check_opening(build, opening, commitment.points)
                return Submission(commitment, opening)
        blob = self.desk.store.get(cid_from_bytes(cid), sealed_update_size(build.manifest))
        submission = Submission(commitment, open_update(blob, key, build.manifest))
        with self._checking:
            check_opening(build, submission.opening, commitment.points)
        check_salts_once(submission.opening)  # the contract has verified the range proofs
        submission.opening.save(path)
        return submission

    def give_receipt(self, number: int, seat: dict[str, Any]) -> None:
        desk = self.desk
        receipt = desk.project.sign_receipt(desk.wallet, seat["trainer"], seat["points"], seat["cid"])
        try:
            desk.project.admit(desk.wallet, seat["trainer"], receipt)
            desk.progress(f"round {number}: admitted {seat['trainer']}")
        except TransactionReverted as error:
            if not error.reason.startswith("AlreadyAdmitted"):  # an earlier run's receipt, or another's hand
                raise

    def _refusals_file(self, number: int) -> Path:
        return self.desk.round_folder(number) / REFUSALS_FILE

    def refusals(self, number: int) -> dict[str, str]:
        """Reasons by trainer."""
        path = self._refusals_file(number)
        return read_json(path, "refusals") if path.exists() else {}

    # ---- PROVE

    def settle(self, state: State) -> str:
        """Prove the frozen set, seal the aggregate, have the round paid. Each is kept before the next.

        A store that does not take the sealed aggregate keeps nothing from being settled.
        """
        desk, number = self.desk, state.round
        log = desk.history.log()
        seats = desk.project.seats(number)
        build = desk.history.build_of(len(seats))
        proof, aggregate = self.proven(log, build, state, seats)
        cid = b"" if aggregate is None else self.published(log, build, state, proof, aggregate)
        publication = desk.project.sign_publication(desk.wallet, build.manifest, proof, cid)
        desk.progress(f"round {number}: settling")
        desk.project.settle(desk.wallet, proof, cid, publication)
        return "settled"

    def proven(
        self, log: Log, build: Build, state: State, seats: list[dict[str, Any]]
    ) -> tuple[RoundProof, Aggregate | None]:
        """The proof of an earlier run, or a new one with a fresh mask."""
        desk, number = self.desk, state.round
        folder = desk.round_folder(number)
        key = self.round_key(log, number)
        slots = [self.opening_of(log, key, number, seat) for seat in seats]
        if (folder / PROOF_FILE).is_file():
            proof = RoundProof.load(folder / PROOF_FILE, build.manifest)
            known = desk.project.references(build.manifest, number)
            made = [one.points for one in proof.commitments], proof.references.points(build.manifest)
            if made == ([one.commitment.points for one in slots], known.points(build.manifest)):
                place = folder / AGGREGATE_FILE
                return proof, Aggregate.load(place, build.manifest) if place.is_file() else None
        desk.progress(f"round {number}: proving for {len(slots)} trainers")
        root, last = self.compared_with(log, number)
        proof, aggregate = prove_round(build, slots, state.beta, desk.progress, root=root, last=last)
        (folder / SEALED_FILE).unlink(missing_ok=True)  # of another proof
        if aggregate is None:
            (folder / AGGREGATE_FILE).unlink(missing_ok=True)
        else:
            aggregate.save(folder / AGGREGATE_FILE)
        proof.save(folder / PROOF_FILE)
        return proof, aggregate

    def compared_with(self, log: Log, number: int) -> tuple[Submission | None, Aggregate | None]:
        """The owner's root update and the last aggregate, where the rules use them and the round has them."""
        history, held = self.desk.history, self.desk.rules.references
        root = None
        taken = log.taken_root(number) if "root" in held else None
        if taken is not None:
            proven = self.desk.project.references(self.desk.rules, number).root  # with its range proofs
            root = Submission(proven, self.root_opening(taken).opening)
        return root, history.last_aggregate(log, number) if "last" in held else None

    def published(self, log: Log, build: Build, state: State, proof: RoundProof, aggregate: Aggregate) -> bytes:
        """The aggregate on its way to the store, sealed to owner and trainers; its CID as it goes on chain."""
        desk, number = self.desk, state.round
        path = desk.round_folder(number) / SEALED_FILE
        if not path.is_file():
            plain = encode_aggregate(Served(aggregate, self.theta_after(log, build, state, proof, aggregate)))
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

    def theta_after(self, log: Log, build: Build, state: State, proof: RoundProof, aggregate: Aggregate) -> bytes:
        """Digest of the model after this round; zeros where an earlier aggregator's rounds cannot be opened."""
        history = self.desk.history
        try:
            theta = history.model(log, before=state.round, fetch=False)  # no store may keep it from settling
        except UNAVAILABLE as error:  # another aggregator's round must not keep this one from settling
            self.desk.progress(f"round {state.round}: the model is not known here: {error}")
            return bytes(32)
        rates = self.desk.project.rates()
        rate = rates[min(state.settled, len(rates) - 1)] / RATE_UNIT
        decision = verify_settlement(build, proof, proof.references)  # made here, a moment ago
        return theta_digest(open_aggregate(build, decision, aggregate, theta, rate))


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
        "round": state.round,
        "settled": state.settled,
        "bond_wei": state.bond_wei,
        "credit": own["credit"],
        "refund_wei": own["refundWei"],
        "refusals": noted(REFUSALS_FILE),
        "without_root": {number: note["reason"] for number, note in noted(NO_ROOT_FILE).items()},
    }
