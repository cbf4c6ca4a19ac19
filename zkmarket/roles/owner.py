"""An owner: turns PROJECT.toml into a project, pays it in, offers and serves root updates, receives the model.

`create` does everything up to the money: keys, prospectus, verifiers; `pay_in` puts the whole pool into escrow, which
is what makes the project. Both can be interrupted anywhere and run again: what is deployed is written down as it is
deployed, and a project that the chain already has is found, not paid a second time.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from .. import srs
from ..artifacts import Build
from ..chains import outage_warning
from ..commitment import Commitment, Opening
from ..errors import InputError
from ..escrow import NOBODY, Phase, Verifier, Verifiers, membership_message
from ..files import atomic_write, read_json, save_npz, write_json
from ..history import Log
from ..inspection import inspect_factory, made_by_our_code
from ..market import Market, Project, State, Submitted, refuse_insecure, sign, transacting, verifier_of
from ..project_file import ProjectFile, load_project_file
from ..prospectus import Prospectus, digest_of, make_builds, theta_digest
from ..quantise import ParameterLayout
from ..sealing import encode_keyring, kept_key, seal, seal_update
from ..store import cid_of, cid_to_bytes
from .desk import UNAVAILABLE, Desk, stay_away, until
from .trainer import HAND_OVER_AGAIN, Learn, Lesson, commit_once, lesson_of, withdraw

PROSPECTUS_FILE, PLAN_FILE, DEPLOYED_FILE, MODEL_FILE = "prospectus", "PROJECT.toml", "deployed.json", "model.npz"
KEYRING_FILE, KEYRING_NOTE = "members.keyring", "members.json"
"""Content keys of the rounds so far, sealed to the members; for whom and for what it was sealed, and its CID."""
ROOT_FOLDER = "root"
"""In the folder of a round: the owner's own update."""


# ---------------------------------------------------------------- before there is a project


def write_prospectus(
    folder: Path, file: ProjectFile, layout: ParameterLayout, theta: np.ndarray, ceremony: srs.Srs
) -> Prospectus:
    """The prospectus of a project file, once: what is in the folder stays, since its hash goes on chain."""
    path = folder / PROSPECTUS_FILE
    made = Prospectus(
        file.name,
        file.specs(layout),
        ceremony.id,
        theta,
        kept_key(folder / "sealing.key").public,
        file.advice,
    )
    if path.exists() and path.read_bytes() != made.to_bytes():
        raise InputError(
            f"{folder} holds another project's prospectus: choose a new folder, or delete it to start again"
        )
    atomic_write(path, made.to_bytes())
    return Prospectus.from_bytes(path.read_bytes())  # what is built is what was published, to the byte


def create(
    desk: Desk, file: ProjectFile, layout: ParameterLayout, theta: np.ndarray, ceremony: srs.Srs
) -> dict[str, Any]:
    """Keys, prospectus and contracts: all but the money."""
    file.check(layout, development=desk.chain.development)
    if outage := outage_warning(desk.chain.id, asdict(file.windows)):
        desk.progress(f"note: {outage}")
    prospectus = write_prospectus(desk.folder, file, layout, theta, ceremony)
    builds = make_builds(prospectus, desk.folder / "builds", desk.progress)
    refuse_insecure(desk.chain, builds)
    cid = desk.store.put((desk.folder / PROSPECTUS_FILE).read_bytes())
    desk.progress(f"prospectus in the store as {cid}")
    atomic_write(desk.folder / PLAN_FILE, file.path.read_bytes())
    deployed = Deployed(desk)
    deployed.verifiers(builds)
    return {"prospectus": cid, **deployed.value}


def pay_in(desk: Desk) -> dict[str, Any]:
    """Put the pool into escrow; a project that is there already is found and not paid again."""
    if "project" in desk.settings.value:
        return {"project": desk.settings["project"], "paid": False}
    path = desk.folder / PROSPECTUS_FILE
    if not path.is_file():
        raise InputError(f"{desk.folder} has nothing to pay for: run `zkmarket owner create PROJECT.toml` first")
    blob = path.read_bytes()
    prospectus = Prospectus.from_bytes(blob)
    builds = make_builds(prospectus, desk.folder / "builds", desk.progress)
    deployed = Deployed(desk)
    market, verifiers = deployed.market, deployed.verifiers(builds)
    file = load_project_file(desk.folder / PLAN_FILE)
    found = [
        address
        for address in market.projects_of(desk.me)
        if Project(desk.chain, address).terms()["model"] == digest_of(blob)
    ]
    result: dict[str, Any] = {"paid": not found}
    if found:
        address = found[0]
    else:
        offer = file.offer(builds[min(builds)].manifest, digest_of(blob), cid_to_bytes(cid_of(blob)))
        desk.progress(f"paying {offer.pool} into escrow")
        project = market.create(offer, builds, verifiers, desk.wallet)
        address = project.address
        result |= {"pool": offer.pool}
        if project.created:
            result |= {"gas": project.created.gas, "transaction": project.created.transaction}
    desk.settings.set(project=address)
    return {"project": address} | result


LOOK_BACK = 32
"""So many of the account's last transactions are looked at for contracts that were deployed and not written down."""


class Deployed:
    """Contracts of an owner, written down in deployed.json as they are deployed.

    A process that was killed between the two leaves a contract that its account has paid for: it is found again by the
    account's nonces.
    """

    def __init__(self, desk: Desk):
        self.desk = desk
        self.path = desk.folder / DEPLOYED_FILE
        self.value: dict[str, Any] = read_json(self.path, "deployed contracts") if self.path.exists() else {}

    def _keep(self, name: str, value: Any) -> None:
        self.value[name] = value
        write_json(self.path, self.value)

    @functools.cached_property
    def market(self) -> Market:
        """The factory: the one named by --factory, or one of the owner's own.

        Whoever named it, and whatever deployed.json says: it is ours by how it was created, or nothing is sent to it.

        Raises InputError: it is no factory of the sources here.
        """
        desk = self.desk
        given = desk.settings.get("factory") or self.value.get("factory")
        if given:
            stay_away(inspect_factory(desk.chain, given))
        else:
            given = next((address for address, _ in self._own() if made_by_our_code(desk.chain, address)), None)
            if given is None:
                desk.progress("deploying the factory")
                given = Market.deploy(desk.chain, desk.wallet).address
        if self.value.get("factory") != given:
            self._keep("factory", given)
        return Market(desk.chain, given)

    def verifiers(self, builds: dict[int, Build]) -> Verifiers:
        """One contract a circuit; those that are there and have the right code are kept."""
        numbers = sorted(builds)
        first = builds[numbers[0]]
        base = self._verifier("base", first, "base")
        return Verifiers(base, {n: self._verifier(f"settlement-{n}", builds[n], "settlement") for n in numbers})

    def _verifier(self, label: str, build: Build, circuit: str) -> Verifier:
        kept = self.value.get("verifiers", {})
        market = self.market
        made = market.verifier_at(kept.get(label), build, circuit)
        if made is None:
            wanted = verifier_of(build, circuit).runtime
            found = next((address for address, code in self._own() if code == wanted), None)
            made = market.verifier_at(found, build, circuit)
            if made is None:
                self.desk.progress(f"deploying the verifier of {label}")
                made = market.deploy_verifier(build, circuit, self.desk.wallet)
            self._keep("verifiers", kept | {label: made.address})
        return made

    def _own(self) -> Iterator[tuple[str, bytes]]:
        """Contracts that the account created lately and their code, the newest first."""
        chain, me = self.desk.chain, self.desk.me
        with transacting("counting transactions"):
            count = chain.web3.eth.get_transaction_count(me)
        for nonce in reversed(range(max(0, count - LOOK_BACK), count)):
            address = chain.address_of_creation(me, nonce)
            if code := chain.code(address):
                yield address, code


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
        self.handed_over: dict[int, float] = {}

    def run(self) -> dict[str, Any]:
        used = "root" in self.desk.rules.references
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
        found = self.write()
        self.seal_keyring(self.desk.project.state(), self.desk.history.log())
        return found | status(self.desk)

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
            opening = Opening.load(folder, self.desk.rules)
            atomic_write(path, seal_update(opening, commitment.points, key), mode=0o600)
        return path.read_bytes()

    def write(self) -> dict[str, Any]:
        """The model after the last closed round, in model.npz by the layout's names.

        Where a round that counts cannot be had, the model before it is written, and `missing` says which and why.
        """
        desk = self.desk
        log = desk.history.log()
        closed = [one for one in log.settled() if one.skipped is not None]
        theta, rounds = desk.prospectus.theta, 0
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
            rounds += 1
        digest = theta_digest(theta).hex()
        path = desk.folder / MODEL_FILE
        if digest != self.written:
            save_npz(path, desk.prospectus.layout.unflatten(theta), mode=0o600)
            self.written = digest
        return {"model": str(path), "theta": digest, "rounds": rounds, "missing": missing}


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
        "deadline": state.deadline,
        "round": state.round,
        "settled": state.settled,
        "voids": state.voids,
        "aggregator": state.aggregator,
        "pool": state.pool,
        "trainers": sorted(log.members()),
        "credit": own["credit"],
        "refund_wei": own["refundWei"],
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


__all__ = ["Owner", "create", "end", "keyring", "memberships", "pay_in", "status"]
