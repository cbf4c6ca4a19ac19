"""A trainer: joins, trains on its own data each round, commits, submits, is paid.

One step a look, in the order of a round: SUBMIT train, commit and submit a digest; ADMIT hand the sealed update over,
which no store has seen before; SETTLED verify the round and open the aggregate. Salts belong to one round and one
update: what was trained is written down before it is committed to, and a restarted trainer sends the very same bytes.

Who cannot know the model, because its last aggregate was served to the others alone, has nothing to train from. It then
submits a zero update, and says so: it keeps the trainer from paying for void rounds, and earns what a zero is worth.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from ..chain import Phase, Receipt
from ..documents import read_json, write_json
from ..errors import InputError, TransactionReverted, ZkmarketError
from ..files import atomic_write
from ..learning import Learn, Lesson
from ..market import Log, Settled, Started, State, submission_word, until
from ..round import COMMITMENT_FILE, Commitment, Opening
from ..storage import cid_of, cid_to_bytes
from ..units import amount_text
from .desk import UNAVAILABLE, Desk, withdraw
from .update import HAND_OVER_AGAIN, Learner, commit_once, keep_update, lesson_of, seal_for_round

ZERO_FILE = "zero-update.json"
"""Why a round's update is zero."""


class ModelUnknown(ZkmarketError):
    """The model before a round cannot be known: an aggregate is not served, or not to this trainer."""


def join(desk: Desk) -> Receipt | None:
    """Inspect the project, then pay the stake in; None if it is paid already.

    With a full stake but another encryption key on chain (of a folder that is lost, say) it registers this folder's.
    """
    full = desk.project.account(desk.me).stake_wei == desk.terms.stake_wei
    if full and desk.history.log().members().get(desk.me) == desk.sealing_key.public:
        return None
    desk.inspected()
    return _join(desk)


def _join(desk: Desk) -> Receipt:
    membership = bytes.fromhex(desk.settings.get("membership", "").removeprefix("0x"))
    desk.progress(f"joining {desk.project.address} with a stake of {amount_text(desk.terms.stake_wei)}")
    return desk.project.join(desk.wallet, membership, desk.sealing_key.public)


class Trainer:
    """The program `zkmarket trainer run`.

    Args:
        join: become a trainer as soon as the project takes trainers.
        withdraw: take out what is owed when the project has ended.
    """

    def __init__(self, desk: Desk, learn: Learn, join: bool = False, withdraw: bool = False):
        self.desk, self.learn, self.joins, self.withdraws = desk, learn, join, withdraw
        self.joined = False
        self.verified: set[int] = set()
        self.judged: set[int] = set()
        self.handed_over: dict[int, float] = {}

    def run(self) -> dict[str, Any]:
        """Take part until the project ends, or this account is no trainer any more."""
        self.desk.run(self.step)
        return status(self.desk)

    def step(self, state: State) -> str | None:
        if state.phase == Phase.ENDED:
            if self.withdraws:
                withdraw(self.desk)
            return None
        if state.phase != Phase.ADMIT:
            self.desk.delivery.forget()  # nobody gets an update that can earn nothing any more
        in_time = state.now <= state.deadline
        if self.joins and in_time and state.phase in (Phase.OPEN, Phase.SUBMIT):
            self.join()
        if state.phase == Phase.SUBMIT and in_time:
            return self.submit(state)
        called = self.desk.time_out(state)
        if called:
            return f"called {called}"
        if state.phase == Phase.ADMIT:
            return self.hand_over(state)
        if state.phase == Phase.SETTLED:
            log = self.desk.history.log()
            settled = log.last_settled(state.round)
            waiting = self.desk.receive(state, log, may_claim=self.desk.me in settled.trainers, verified=self.verified)
            self.judge(settled, log)
            return waiting
        return {
            Phase.CREATED: f"waiting for the aggregator to accept, {until(state)}",
            Phase.OPEN: f"waiting for the aggregator to start a round, {until(state)}",
            Phase.SUBMIT: "too few submissions: waiting for the round to be declared void",
            Phase.PROVE: f"round {state.round}: waiting for the aggregator's proof, {until(state)}",
            Phase.SCORE: f"round {state.round}: waiting for the proofs of its losses, {until(state)}",
            Phase.VACANT: f"the aggregator failed: waiting for another, {until(state)}",
        }[state.phase]

    def join(self) -> None:
        """Join, once; and again if a reorganisation took that back, but not after leaving or being removed."""
        own = self.desk.project.account(self.desk.me)
        if self.joined and own.stake_wei == 0:
            self.joined = self.in_log()
        if not self.joined:
            join(self.desk)
            self.joined = True

    def in_log(self) -> bool:
        """Whether this account has ever joined."""
        return any(event.arguments["trainer"] == self.desk.me for event in self.desk.history.log().of("Joined"))

    def judge(self, settled: Settled, log: Log) -> None:
        """Say what the model after a round is worth on the data here, once it is known."""
        if not isinstance(self.learn, Learner) or settled.round in self.judged:
            return
        theta = self.desk.model_after(settled, log)
        if theta is not None:
            self.judged.add(settled.round)
            self.learn.evaluate(f"round {settled.round}: the model after it", theta)

    # ---- SUBMIT

    def submit(self, state: State) -> str | None:
        desk, number = self.desk, state.round
        own = desk.project.account(desk.me)
        if own.last_round == number:
            return f"round {number}: submitted; waiting for the others, {until(state)}"
        if own.stake_wei == 0:
            if self.joins and not self.in_log():  # since this step began
                return "the join was taken back by a reorganisation: joining again"
            raise InputError(f"{desk.me} is no trainer of {desk.project.address}: run `zkmarket trainer join`")
        if len(desk.project.seats()) >= desk.terms.max_trainers:
            return f"round {number}: no seat is left; waiting for the next round"
        if own.stake_wei < desk.terms.stake_wei:
            _join(desk)  # a penalty was taken: fill the stake up
        log = desk.history.log()
        started = log.started(number)
        try:
            try:
                commitment, cid = self.committed(log, started)
            except ModelUnknown as error:
                half = state.deadline - desk.terms.windows.submit // 2
                if state.now < half:
                    soon = "a zero update is, when half of the time is gone"
                    return f"round {number}: nothing is submitted yet, {soon}: {error}"
                self.without_model(number, str(error))
                commitment, cid = self.committed(log, started)
        except UNAVAILABLE as error:  # of what is here: an update that is none, salts that are spent
            return f"round {number}: nothing is submitted: {error}"
        desk.progress(f"round {number}: submitting")
        try:
            desk.project.submit(desk.wallet, commitment, cid_to_bytes(cid))
        except TransactionReverted as error:
            if not error.reason.startswith("StakeNotFull"):
                raise
            _join(desk)  # a void round's penalty, which an account shows only once it is used
            return f"round {number}: stake filled up; submitting again"
        return f"round {number}: submitted; waiting for the others, {until(state)}"

    def committed(self, log: Log, started: Started) -> tuple[Commitment, str]:
        """Train, commit, seal: each is written down before the next, and never made again."""
        desk, number = self.desk, started.round
        folder = desk.round_folder(number)
        build = next(iter(desk.builds.values()))  # commitments are the same for every number of trainers
        sealed = self.sealed_file(started)
        commitment = commit_once(
            desk, number, folder, self.learn, lambda: self.lesson(log, number), self.bound(started)
        )
        if not sealed.exists():
            opening = Opening.load(folder, build.manifest)
            atomic_write(sealed, seal_for_round(opening, commitment, started), mode=0o600)
        return commitment, cid_of(sealed.read_bytes())

    def sealed_file(self, started: Started) -> Path:
        """One for each key: a reorganisation can change the key of a round that was submitted to."""
        return self.desk.round_folder(started.round) / f"update-{started.encryption_key.hex()[:16]}.sealed"

    def bound(self, started: Started) -> int | None:
        """What the update is clipped to: longer ones earn nothing."""
        return started.beta

    def lesson(self, log: Log, number: int) -> Lesson:
        """What training starts from; ModelUnknown if an aggregate that counts cannot be opened."""
        try:
            lesson = lesson_of(self.desk, log, number, self.verified)
        except UNAVAILABLE as error:
            raise ModelUnknown(str(error)) from error
        (self.desk.round_folder(number) / ZERO_FILE).unlink(missing_ok=True)  # of a run that was interrupted
        return lesson

    def without_model(self, number: int, why: str) -> None:
        """A zero update in place of one that nobody can train.

        A member that submits nothing pays for a void round, and is put out after two: the aggregate served to all but
        one would cost that one its place, and its aggregator nothing.
        """
        desk, folder = self.desk, self.desk.round_folder(number)
        desk.progress(f"round {number}: WARNING: a zero update is submitted, which earns nothing by most scores: {why}")
        write_json(folder / ZERO_FILE, {"reason": why})
        keep_update(folder, np.zeros(desk.manifest.params))

    # ---- ADMIT

    def hand_over(self, state: State) -> str:
        """Put the sealed update where its CID says; only now is the set of submissions closed, for good.

        By the deadline, or because every seat is taken. The state is as many blocks old as this role wants on top of
        what it believes, and so are all the submissions that closed the set: no reorganisation of fewer blocks can give
        a seat to somebody who has seen this update.
        """
        desk, number = self.desk, state.round
        seat = next((seat for seat in desk.project.seats() if seat.trainer == desk.me), None)
        if seat is None:
            return f"round {number}: not among its trainers; waiting for the next round"
        if seat.admitted:
            return f"round {number}: admitted; waiting for the others, {until(state)}"
        if time.monotonic() < self.handed_over.get(number, -HAND_OVER_AGAIN) + HAND_OVER_AGAIN:
            return f"round {number}: waiting for the aggregator's receipt, {until(state)}"
        desk.progress(f"round {number}: handing the sealed update over")
        folder = desk.round_folder(number)
        digest = Commitment.load(folder / COMMITMENT_FILE, desk.manifest).digest()
        blobs = [path.read_bytes() for path in sorted(folder.glob("update-*.sealed"))]
        for blob in blobs:  # one for each key that the round had; again after a while, should the store lose it
            if submission_word(digest, cid_to_bytes(cid_of(blob))) == seat.submission:
                desk.put(blob, state)  # a store that fails does not end the program: the penalty runs
                self.handed_over[number] = time.monotonic()
        return f"round {number}: waiting for the aggregator's receipt, {until(state)}"


def status(desk: Desk) -> dict[str, Any]:
    """Where a trainer stands, by the chain."""
    state = desk.project.state()
    log = desk.history.log()
    rounds = []
    for settled in log.settled():
        if desk.me in settled.trainers:
            slot = settled.trainers.index(desk.me)
            rounds.append(
                {
                    "round": settled.round,
                    "accepted": bool(settled.mask[slot]),
                    "score": settled.scores[slot],
                    "pay": settled.pay[slot],
                }
            )
    own = desk.project.account(desk.me)
    return {
        "project": desk.project.address,
        "trainer": desk.me,
        "phase": state.phase.name,
        "now": state.now,
        "deadline": state.deadline,
        "round": state.round,
        "stake_wei": own.stake_wei,
        "token": None if desk.native else desk.terms.token,
        "credit": own.credit,
        "refund_wei": own.refund_wei,
        "rounds": rounds,
        "zero_updates": _zero_updates(desk),
        "refused": [event.arguments["round"] for event in log.of("Refused") if event.arguments["trainer"] == desk.me],
    }


def _zero_updates(desk: Desk) -> dict[int, str]:
    """Rounds for which a zero update was committed, and why."""
    notes = sorted((desk.folder / "rounds").glob(f"*/{ZERO_FILE}"))
    return {int(path.parent.name): read_json(path, "note")["reason"] for path in notes}


__all__ = ["COMMITMENT_FILE", "Learn", "Lesson", "Trainer", "join", "status", "withdraw"]
