"""An owner: turns PROJECT.toml into a project, pays it in, offers and serves root updates, receives the model.

`create` does everything up to the money: keys, prospectus, verifiers; `pay_in` puts the whole pool into escrow, which
is what makes the project. Both can be interrupted anywhere and run again: what is deployed is written down as it is
deployed, and a project that the chain already has is found, not paid a second time.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

from ..chain import NOBODY, Phase, sign
from ..documents import read_json, write_json
from ..errors import InputError
from ..files import atomic_write, save_npz
from ..learning import Learn, Lesson
from ..market import (
    Log,
    State,
    Submitted,
    digest_of,
    encode_keyring,
    membership_message,
    points_hash,
    seal,
    seal_update,
    until,
)
from ..round import Commitment, Opening
from ..storage import cid_of, cid_to_bytes
from .deployment import MODEL_FILE, PROVISIONAL_FILE, THETA_FILE, Deployed
from .desk import UNAVAILABLE, Desk, withdraw
from .update import HAND_OVER_AGAIN, Learner, commit_once, lesson_of

KEYRING_FILE, KEYRING_NOTE = "members.keyring", "members.json"
"""Content keys of the rounds so far, sealed to the members; for whom and for what it was sealed, and its CID."""
ROOT_FOLDER = "root"
"""In the folder of a round: the owner's own update."""


# ---------------------------------------------------------------- a project that is running


def memberships(desk: Desk, trainers: list[str]) -> dict[str, str]:
    """The owner's signature for each trainer, which it shows when it joins."""
    return {
        who: "0x" + sign(desk.chain, desk.wallet, membership_message(desk.chain.id, desk.project.address, who)).hex()
        for who in trainers
    }


def end(desk: Desk) -> str:
    """Let the project end: at once where nothing is owed to anybody, else after the round that is open."""
    state = desk.project.state()
    if state.phase == Phase.ENDED:
        return "it has ended"
    if state.phase == Phase.VACANT:
        desk.project.end(desk.wallet)
        return "ended"
    if state.phase == Phase.CREATED:
        if state.now <= state.deadline:
            raise InputError(f"nobody has accepted yet: it can be cancelled after the deadline, {until(state)}")
        desk.project.cancel(desk.wallet)
        return "cancelled"
    if not state.ending:
        desk.project.announce_end(desk.wallet)
    return "announced: it ends when the next round would open"


class Owner:
    """The program `zkmarket owner receive`: every round verified and opened, the model written after each.

    Args:
        learn: training on the owner's own data, where the project's rules compare with its root update: the digest of
            one is then offered before every round, and the update served once the round's submissions are closed.
    """

    def __init__(self, desk: Desk, withdraw: bool = False, learn: Learn | None = None):
        self.desk, self.withdraws, self.learn = desk, withdraw, learn
        self.verified: set[int] = set()
        self.written: str = ""
        self.provisional: str = ""
        self.handed_over: dict[int, float] = {}

    def run(self) -> dict[str, Any]:
        used = "root" in self.desk.manifest.references
        if self.learn and not used:
            raise InputError("the project's rules compare with no root update: leave --root-data out")
        if used and not self.learn:
            self.desk.progress(
                "note: without --root-data no root update is offered, and rounds are started without one"
            )
        self.desk.run(self.step)
        return self.write() | status(self.desk)

    def once(self) -> dict[str, Any]:
        """What is there now."""
        received = self.write()
        state, log = self.desk.project.state(), self.desk.history.log()
        if state.phase == Phase.SETTLED:
            settled = log.last_settled(state.round)
            self.desk.verify(settled, log, self.verified)
            with contextlib.suppress(*UNAVAILABLE):
                self.desk.history.model(log, before=state.round + 1)  # opens what was not opened here yet
            received |= self.write_provisional(state, log)
        self.seal_keyring(state, log)
        return received | status(self.desk)

    def step(self, state: State) -> str | None:
        if state.phase == Phase.ENDED:
            if self.withdraws:
                withdraw(self.desk)
            self.write()  # here, where a store that fails is waited for
            return None
        if state.phase != Phase.ADMIT:
            self.forget_root(state.round)
        called = self.desk.time_out(state)
        if called:
            return f"called {called}"
        if state.phase == Phase.SETTLED:
            log = self.desk.history.log()
            waiting = self.desk.receive(state, log, may_claim=True, verified=self.verified)
            self.write_provisional(state, log)
            self.seal_keyring(state, log)
            return waiting
        self.write()
        log = self.desk.history.log()
        self.seal_keyring(state, log)
        if self.learn and state.phase == Phase.OPEN and state.now <= state.deadline:
            return self.offer_root(state, self.learn)
        if state.phase == Phase.ADMIT and log.offered_root(state.round) and not log.root_admitted(state.round):
            return self.serve_root(state, log)
        return f"waiting for the next settled round; the project is {state.phase.name}, {until(state)}"

    def offer_root(self, state: State, learn: Learn) -> str:
        """Offer the digest of a root update for the next round. It is sealed, and no store has it before trainers have
        committed: who knew it could commit to its direction, and be paid for that.

        Each step is written down before the next and never made again; an aggregator with another key has it sealed
        again.
        """
        desk, number = self.desk, state.round + 1
        folder = desk.round_folder(number) / ROOT_FOLDER
        log = desk.history.log()
        try:
            commitment = commit_once(desk, number, folder, learn, lambda: self.lesson(log, number), None)
            sealed = self.sealed_root(folder, commitment, log.office_key())
        except UNAVAILABLE as error:  # the model cannot be known, say: nothing can be trained from it
            return f"round {number}: no root update is offered: {error}"
        wanted = Submitted(NOBODY, commitment.digest("root"), cid_to_bytes(cid_of(sealed)))
        if log.offered_root(number) != wanted:
            desk.progress(f"round {number}: offering a root update")
            desk.project.offer_root(desk.wallet, commitment, wanted.cid)
        return f"round {number}: a root update is offered; waiting for the start, {until(state)}"

    def serve_root(self, state: State, log: Log) -> str:
        """Put the offered root update where its CID says: the round's submissions are closed now, for good.

        Without the aggregator's receipt both pay the penalty, and the round is one without a root update.
        """
        desk, number = self.desk, state.round
        offered = log.offered_root(number)
        waiting = f"round {number}: waiting for the receipt of the root update, {until(state)}"
        if time.monotonic() < self.handed_over.get(number, -HAND_OVER_AGAIN) + HAND_OVER_AGAIN:
            return waiting
        for path in sorted((desk.round_folder(number) / ROOT_FOLDER).glob("root-*.sealed")):
            blob = path.read_bytes()
            if offered is not None and cid_to_bytes(cid_of(blob)) == offered.cid:
                desk.progress(f"round {number}: handing the root update over")
                desk.put(blob, state)
                self.handed_over[number] = time.monotonic()
        return waiting

    def forget_root(self, number: int) -> None:
        """Nobody gets a root update that cannot count any more."""
        if waiting := self.desk.delivery.waiting():
            sealed = (self.desk.round_folder(number) / ROOT_FOLDER).glob("root-*.sealed")
            self.desk.delivery.forget({cid_of(path.read_bytes()) for path in sealed} & set(waiting))

    def seal_keyring(self, state: State, log: Log) -> None:
        """Keep the content keys that the owner has sealed to all who are trainers now, in the folder and in the store.

        An aggregator can serve an aggregate to all but one. That one cannot know the model; with this keyring it can
        again. It is sealed, so that its CID may be told to everybody; the chain has no place for it.
        """
        desk, keys = self.desk, self.desk.history.keys()
        if not keys:
            return
        readers = [desk.sealing_key.public, log.office_key(), *log.member_keys()]
        note = {"rounds": sorted(keys), "for": digest_of(encode_keyring(keys) + b"".join(sorted(readers))).hex()}
        path = desk.folder / KEYRING_NOTE
        kept = read_json(path, "note of the members' keyring") if path.is_file() else {}
        if kept.get("for") == note["for"]:
            return
        blob, _ = seal(encode_keyring(keys), readers)
        atomic_write(desk.folder / KEYRING_FILE, blob, mode=0o600)
        cid = desk.put(blob, state)
        write_json(path, note | {"cid": cid}, mode=0o600)
        desk.progress(
            f"keyring of {len(keys)} rounds, sealed to {len(readers) - 2} trainers: {cid}; who cannot open an aggregate"
            f" runs `zkmarket trainer run --keyring {cid}`"
        )

    def lesson(self, log: Log, number: int) -> Lesson:
        return lesson_of(self.desk, log, number, self.verified)

    def sealed_root(self, folder: Path, commitment: Commitment, key: bytes) -> bytes:
        """A committed root update for the holder of an office's key; SealError if the key is none."""
        path = folder / f"root-{key.hex()[:16]}.sealed"
        if not path.exists():
            opening = Opening.load(folder, self.desk.manifest)
            atomic_write(path, seal_update(opening, commitment.points, key), mode=0o600)
        return path.read_bytes()

    def write(self) -> dict[str, Any]:
        """The model after the last closed round: as floats by the layout's names in model.npz, what is trained and
        nothing else, and in theta.npz as integers with what opens the commitment that the chain has.

        Where a round that counts cannot be had, the model before it is written, and `missing` says which and why.
        """
        desk = self.desk
        log = desk.history.log()
        closed = [one for one in log.settled() if one.skipped is not None]
        (theta, points), rounds = desk.history.first, 0
        made = {one.settled.round: one.now for one in desk.history.moved(log)}
        missing: str | None = None
        for settled in closed:
            if settled.round not in self.verified:
                desk.history.verify(settled, log)
                self.verified.add(settled.round)
            try:
                theta = desk.history.after(settled, log, theta)
            except UNAVAILABLE as error:
                missing = f"round {settled.round}: {error}"
                break
            points = made[settled.round]
            rounds += 1
        digest = points_hash(points).hex()
        path, opening = desk.folder / MODEL_FILE, desk.folder / THETA_FILE
        if digest != self.written:
            save_npz(path, desk.prospectus.layout.unflatten(theta.floats(desk.manifest)), mode=0o600)
            theta.save(opening)
            self.written = digest
        (desk.folder / PROVISIONAL_FILE).unlink(missing_ok=True)
        self.provisional = ""
        found = {"model": str(path), "integers": str(opening), "theta": digest}
        return found | {"rounds": rounds, "missing": missing, "provisional": None}

    def write_provisional(self, state: State, log: Log) -> dict[str, Any]:
        """The model after a settled round while it can still be claimed that its aggregate is not served.

        It is beside model.npz, which has the last closed round's until then: a round that is claimed does not count.
        """
        desk, path = self.desk, self.desk.folder / PROVISIONAL_FILE
        settled = log.last_settled(state.round)
        if settled.withheld:
            return {}
        if self.provisional != settled.transaction:
            theta = desk.model_after(settled, log)
            if theta is None:
                return {}
            save_npz(path, desk.prospectus.layout.unflatten(theta), mode=0o600)
            self.provisional = settled.transaction
            desk.progress(
                f"round {state.round}: the model after it is in {path}; model.npz is the one before it {until(state)},"
                " when nobody can claim any more that its aggregate is not served"
            )
            if isinstance(self.learn, Learner):
                self.learn.evaluate(f"round {state.round}: the model after it", theta)
        return {"provisional": str(path)}


def status(desk: Desk) -> dict[str, Any]:
    """Where the project stands."""
    if "project" not in desk.settings.value:
        kept = Deployed(desk).value
        return {"phase": "not paid in", **kept}
    state = desk.project.state()
    log = desk.history.log()
    own = desk.project.account(desk.me)
    return {
        "project": desk.project.address,
        "phase": state.phase.name,
        "now": state.now,
        "deadline": state.deadline,
        "round": state.round,
        "settled": state.settled,
        "voids": state.voids,
        "aggregator": state.aggregator,
        "pool": state.pool,
        "trainers": sorted(log.members()),
        "token": None if desk.native else desk.terms.token,
        "credit": own.credit,
        "refund_wei": own.refund_wei,
        "claimed": state.claimed,
        "ending": state.ending,
        "members_keyring": read_json(note, "note")["cid"] if (note := desk.folder / KEYRING_NOTE).is_file() else None,
    }


def keyring(desk: Desk) -> dict[str, str]:
    """Content keys of the rounds that the owner can open, for a trainer or aggregator that came later. Secret."""
    log = desk.history.log()
    for settled in log.settled():
        if not settled.withheld and not settled.skipped:
            try:
                desk.history.aggregate(settled, log)
            except UNAVAILABLE as error:
                desk.progress(f"round {settled.round} is not in the keyring: {error}")
    return {str(number): key.hex() for number, key in sorted(desk.history.keys().items())}


__all__ = ["Owner", "end", "keyring", "memberships", "status"]
