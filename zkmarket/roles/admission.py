"""Admission: sealed updates fetched, opened, checked and receipted, by the aggregator, from the end of SUBMIT on.

A receipt says that the aggregator has an update, that its points are those whose digest was submitted, that it opens
them, and that its values are in range: with that the round can be proven. What can never be admitted is refused, once,
with its reason; what a store has not got is asked for again until the deadline.
"""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from ..build import Build
from ..documents import read_json, write_json
from ..errors import (
    InputError,
    OpeningMismatch,
    ProofRejected,
    SaltReuse,
    SealError,
    StatementFalse,
    StoreError,
    ZkmarketError,
)
from ..market import Log, SealingKey, State, Submitted, open_update, sealed_update_size, until
from ..round import COMMITMENT_FILE, Commitment, Submission, admit, load_submission
from ..storage import cid_from_bytes
from .desk import Desk

REFUSALS_FILE = "refusals.json"
NO_ROOT_FILE = "no-root.json"
"""Why a round is without a root update of the owner, where the rules use one."""
CHECKERS = 8
"""Openings that are checked at once; all are fetched at once."""
GATHER = 8
"""Looks, at most, that a receipt waits for others to go with it in one transaction."""

HOPELESS = (SealError, InputError, StatementFalse, ProofRejected, SaltReuse)
"""What makes a delivered update one that can never be admitted."""


@dataclass(frozen=True)
class Awaited:
    """An update that has no receipt yet.

    Attributes:
        trainer: who has submitted it; None: it is the owner's root update.
        word: digest and CID as they are submitted, in one: what a receipt signs.
    """

    round: int
    trainer: str | None
    word: bytes

    @property
    def name(self) -> str:
        """Of its folder. By its word: a reorganisation can put another commitment on the same seat."""
        return f"{self.trainer or 'root'}-{self.word.hex()[:16]}"

    @property
    def who(self) -> str:
        return self.trainer or "the root update"


class Admission:
    """What an aggregator knows of the updates of its rounds."""

    def __init__(self, desk: Desk):
        self.desk = desk
        self.undelivered: dict[Awaited, str] = {}
        self.refused: set[Awaited] = set()
        self.ready: dict[Awaited, float] = {}
        """What can have a receipt, and since when."""
        self._checking = threading.BoundedSemaphore(CHECKERS)

    def awaited(self, log: Log, number: int) -> list[Awaited]:
        """What has no receipt yet: seats, and the root update that the owner offered."""
        seats = self.desk.project.seats()
        awaited = [Awaited(number, seat.trainer, seat.submission) for seat in seats if not seat.admitted]
        offered = log.offered_root(number)
        if offered is not None and not log.root_admitted(number):
            awaited.append(Awaited(number, None, offered.word))
        return awaited

    def admit(self, state: State, log: Log, key: SealingKey) -> str:
        """Fetch what is not admitted yet, and give receipts for what opens its commitment.

        Args:
            key: of the round.
        """
        number = state.round
        wanted = [one for one in self.awaited(log, number) if one not in self.refused]
        self.ready = {one: since for one, since in self.ready.items() if one in wanted}
        missing = 0
        # all at once: a few that no store will ever have must not hold the others up
        with ThreadPoolExecutor(max(1, len(wanted))) as pool:
            fetched = {pool.submit(self._try, log, key, one): one for one in wanted if one not in self.ready}
            while fetched or self.ready:
                done, _ = wait(fetched, self.gathers(state) if self.ready else None, FIRST_COMPLETED)
                for future in done:
                    one, reason = fetched.pop(future), future.result()
                    if reason is None:
                        self.ready[one] = time.monotonic()
                    elif isinstance(reason, StoreError):
                        missing += 1
                        self.undelivered[one] = f"{type(reason).__name__}: {reason}"
                    else:
                        self.refuse(one, reason)
                if self.ready and (self.gathers(state) <= 0 or not (fetched or missing)):
                    self.give_receipts([one for one in wanted if one in self.ready])
                elif not fetched:
                    break
        self.tell_refusals(number)
        waiting = f" {len(self.ready)} receipts wait for others," if self.ready else ""
        return (
            f"round {number}: {missing} sealed updates are not in the store yet, {len(self.refusals(number))} are"
            f" refused,{waiting} {until(state)}"
        )

    def gathers(self, state: State) -> float:
        """Seconds for which the receipts that could be given wait for others, whose transaction they can share."""
        longest = min(GATHER * self.desk.poll, max(0, state.deadline - state.now) / 10)
        return max(0.0, min(self.ready.values()) + longest - time.monotonic())

    def refuse(self, one: Awaited, reason: ZkmarketError) -> None:
        """Write down why an update can never be admitted; it is not fetched again."""
        self.refused.add(one)
        self.note_refusal(one, f"{type(reason).__name__}: {reason}")

    def note_refusal(self, one: Awaited, text: str) -> None:
        if one.trainer is None:
            self.note_root(one.round, f"it gets no receipt: {text}")
            return
        self.desk.progress(f"round {one.round}: refused {one.trainer}: {text}")
        write_json(self._refusals_file(one.round), self.refusals(one.round) | {one.trainer: text})

    def tell_refusals(self, number: int) -> None:
        """Where no thread of ours checks an update: the streams are turned away from us while ezkl works."""
        for trainer in self.refusals(number):
            self.desk.tell("refused", round=number, trainer=trainer)

    def refuse_undelivered(self, missing: list[Awaited]) -> None:
        """Reasons for those that have not come in time."""
        for one in missing:
            if one not in self.refused:
                self.refused.add(one)
                self.note_refusal(one, self.undelivered.get(one, "StoreError: not delivered in time"))
                self.tell_refusals(one.round)

    def _try(self, log: Log, key: SealingKey, one: Awaited) -> ZkmarketError | None:
        """None if the update is here and opens its commitment; else why not."""
        try:
            self.opening_of(log, key, one)
        except (StoreError, *HOPELESS) as error:
            return error
        return None

    def opening_of(self, log: Log, key: SealingKey, one: Awaited) -> Submission:
        """An update, from the folder or from the store; kept once it has been checked.

        Args:
            key: of the round; a root update is sealed to the office's, since it is offered before the start.

        Raises:
            StoreError: the store has not got it.
            SealError, InputError, StatementFalse, ProofRejected, SaltReuse: what it has can never be admitted.
        """
        if one.trainer is not None:
            return self.opened(one, log.submission(one.round, one.trainer, one.word), key)
        offered = log.offered_root(one.round)
        assert offered is not None  # `awaited`, or a receipt, has it from the same log
        return self.opened(one, offered, self.desk.sealing_key)

    def opened(self, one: Awaited, submitted: Submitted, key: SealingKey) -> Submission:
        desk = self.desk
        build = next(iter(desk.builds.values()))
        manifest = build.manifest
        folder = desk.round_folder(one.round) / "openings" / one.name
        if (folder / COMMITMENT_FILE).is_file():
            with contextlib.suppress(*HOPELESS):  # a damaged file is nobody else's fault
                return self._checked(build, load_submission(build, folder), one, submitted)
        blob = desk.store.get(cid_from_bytes(submitted.cid), sealed_update_size(manifest))
        opening, points = open_update(blob, key, manifest)
        author = int(one.trainer or desk.terms.owner, 16)
        commitment = Commitment(desk.project.round_id(one.round), author, points)
        self._checked(build, Submission(commitment, opening), one, submitted)
        opening.save(folder)
        write_json(folder / COMMITMENT_FILE, commitment.to_json(), mode=0o600)  # last: whoever finds it finds all
        return load_submission(build, folder)  # memory-mapped: a round's updates need not fit memory

    def _checked(self, build: Build, submission: Submission, one: Awaited, submitted: Submitted) -> Submission:
        """An update, if it is the one whose digest was submitted, and can be proven with."""
        if submission.commitment.digest("update" if one.trainer else "root") != submitted.digest:
            raise OpeningMismatch("its points are others than those whose digest was submitted")
        with self._checking:
            admit(build, submission)
        return submission

    def give_receipts(self, ready: list[Awaited]) -> None:
        """For all of these in one transaction."""
        desk = self.desk
        receipts = {one.trainer: desk.project.sign_receipt(desk.wallet, one.trainer, one.word) for one in ready}
        self.ready = {}
        desk.project.admit(desk.wallet, receipts)  # who has a receipt already is passed over
        for one in ready:
            desk.progress(f"round {one.round}: admitted {one.who}")

    def _refusals_file(self, number: int) -> Path:
        return self.desk.round_folder(number) / REFUSALS_FILE

    def refusals(self, number: int) -> dict[str, str]:
        """Reasons by trainer."""
        path = self._refusals_file(number)
        return read_json(path, "refusals") if path.exists() else {}

    def note_root(self, number: int, without: str) -> None:
        """Write down why a round is without a root update."""
        path = self.desk.round_folder(number) / NO_ROOT_FILE
        if not without:
            path.unlink(missing_ok=True)
            return
        self.desk.progress(f"round {number}: without a root update: {without}")
        write_json(path, {"reason": without})
