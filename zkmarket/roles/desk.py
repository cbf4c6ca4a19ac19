"""A role's place of work: its folder, account, chain, project, store and keys, and the loop that every role runs.

The chain is the only truth. A role's folder holds its secrets (salts, keys, openings), what it has not sent yet, and
copies of what chain and store can give again. So a role is a function of what the chain says now: `Desk.run` looks,
takes one step, looks again. Killed at any moment and started again, a role goes on where the chain is.

    settings.json   where chain, store, keystore and project are; never a password
    sealing.key     X25519, to which aggregates are sealed for this role
    outbox.json     a transaction that is under way (see wallet.py)
    outgoing/       blobs that the store has not taken yet (see delivery.py)
    prospectus      as published; checked against the terms
    builds/         the role's own keys
    rounds/N/       what this role makes in round N; keyring.json, aggregates/: what it has opened
"""

from __future__ import annotations

import contextlib
import functools
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..build import Build, Manifest
from ..chain import NOBODY, Chain, Phase, Wallet, connect
from ..errors import (
    InputError,
    OpeningMismatch,
    ProofRejected,
    SealError,
    StoreError,
)
from ..files import locked, sweep
from ..market import (
    History,
    Inspection,
    Log,
    Project,
    Prospectus,
    SealingKey,
    Settled,
    State,
    Terms,
    digest_of,
    fetch_prospectus,
    inspect,
    inspect_origin,
    kept_key,
    make_builds,
    phase_text,
    without_countdown,
)
from ..progress import Progress, quiet, tell
from ..storage import Store, open_store
from .delivery import Delivery
from .loop import Loop
from .metrics import Metrics, measured
from .settings import Settings

PATIENCE = 3600.0
"""Seconds for which a chain or a store may fail before a role gives up; it can be started again."""

UNAVAILABLE = (StoreError, SealError, OpeningMismatch, InputError)
"""An aggregate that is not served, not to this reader, or not the one that was proven."""

OUTGOING = "outgoing"
FIRST_PUT = 10.0
"""Seconds, at most, that a transaction which names a blob waits for the first attempt to put it; see `Desk.put`."""


class Desk:
    """Everything that a role works with. Properties are made when they are first asked for.

    Attributes:
        checks: what has to hold before the first step of `run`; chain and store are waited for there.
    """

    def __init__(
        self,
        settings: Settings,
        chain: Chain,
        wallet: Wallet | None,
        progress: Progress = quiet,
        poll: float | None = None,
        patience: float = PATIENCE,
        grace: float | None = None,
        store_token: str | None = None,
        metrics: Metrics | None = None,
    ):
        self.settings, self.folder, self.chain, self.progress = settings, settings.folder, chain, progress
        self._wallet, self._store_token = wallet, store_token
        self.poll = (0.25 if chain.development else 4.0) if poll is None else poll
        self.patience, self.metrics = patience, metrics
        self.grace = (20.0 if chain.development else 120.0) if grace is None else grace
        self.depth = int(settings.get("confirmations", 0 if chain.development else 2))
        self._first_seen: dict[Any, float] = {}
        self._said = ""
        self._told: set[tuple[Any, ...]] = set()
        self.checks: list[Callable[[], None]] = []

    # ---- what it works with

    @property
    def wallet(self) -> Wallet:
        if self._wallet is None:
            raise InputError(f"{self.folder} has no account: give --keystore")
        return self._wallet

    @property
    def me(self) -> str:
        return self.wallet.address

    @functools.cached_property
    def project(self) -> Project:
        """The project, if a factory of ours has made it: no other's word moves money, or makes keys for hours."""
        project = Project(self.chain, self.settings["project"])
        stay_away(inspect_origin(self.chain, project.address))
        return project

    @functools.cached_property
    def terms(self) -> Terms:
        """Fixed at creation."""
        return self.project.terms()

    @property
    def native(self) -> bool:
        """Whether the reward is coin of the chain, not a token."""
        return self.terms.token == NOBODY

    @functools.cached_property
    def store(self) -> Store:
        return open_store(self.settings["store"], self._store_token)

    @functools.cached_property
    def delivery(self) -> Delivery:
        return Delivery(self.folder / OUTGOING, lambda: self.store, self.progress)

    def put(self, blob: bytes, state: State) -> str:
        """The CID of a blob that is on its way to the store, before a transaction that names it is sent.

        A store that takes it at once has it first, so that whoever sees the transaction finds the blob. One that
        refuses or hangs keeps the transaction waiting for a tenth of what is left of the phase at most: the deadline
        costs a bond or a penalty, a late blob costs nothing.
        """
        return self.delivery.send(blob, wait=min(FIRST_PUT, max(0, state.deadline - state.now) / 10))

    @functools.cached_property
    def sealing_key(self) -> SealingKey:
        return kept_key(self.folder / "sealing.key")

    @functools.cached_property
    def prospectus(self) -> Prospectus:
        """The project's, from the folder if it is there and right, else from the store."""
        path = self.folder / "prospectus"
        if path.is_file() and digest_of(path.read_bytes()) == self.terms.model:
            return Prospectus.from_bytes(path.read_bytes())
        return fetch_prospectus(self.project, self.store, path)

    @functools.cached_property
    def builds(self) -> dict[int, Build]:
        """Made for the numbers in the prospectus, once they are the contract's: keys take minutes."""
        some = next(iter(self.prospectus.specs.values()))
        got = (min(self.prospectus.specs), max(self.prospectus.specs), some.params, some.logrows)
        terms = self.terms
        want = (terms.min_trainers, terms.max_trainers, terms.params, terms.logrows)
        if got != want or len(self.prospectus.specs) != got[1] - got[0] + 1:
            raise ProofRejected(f"the prospectus is for least, most, D, K = {got}: the contract's terms are {want}")
        return make_builds(self.prospectus, self.folder / "builds", self.progress)

    @property
    def manifest(self) -> Manifest:
        """Of any build: filter and score ask for the same references whatever the number of trainers."""
        return next(iter(self.builds.values())).manifest

    @functools.cached_property
    def history(self) -> History:
        return History(self.project, self.prospectus, self.builds, self.store, self.folder, self._reader, self.progress)

    @property
    def _reader(self) -> SealingKey | None:
        return self.sealing_key if self._wallet else None

    def round_folder(self, number: int) -> Path:
        return self.folder / "rounds" / f"{number:05d}"

    def inspected(self) -> Inspection:
        """The project as `zkmarket inspect` sees it; InputError if anything is wrong with it.

        Who has no account pays nothing in, and may look at a project that has ended, too.
        """
        to_pay = self._wallet is not None
        inspection = inspect(self.chain, self.project.address, self.builds, self.progress, self.prospectus, to_pay)
        for warning in inspection.warnings:
            self.progress(f"note: {warning}")
        stay_away(inspection)
        return inspection

    # ---- the loop

    def run(self, step: Callable[[State], str | None]) -> None:
        """Take a step on every new block until it returns None; see `Loop`."""

        def checked(state: State) -> str | None:
            while self.checks:
                self.checks[0]()
                del self.checks[0]
            return step(state)

        Loop(
            self.chain,
            self.project,
            self._wallet,
            self.delivery,
            self.progress,
            waits=self.waits,
            depth=self.depth,
            poll=self.poll,
            patience=self.patience,
            metrics=self.metrics,
        ).run(checked)

    def waits(self, text: str, key: str | None = None) -> None:
        """Say what is waited for, once."""
        key = without_countdown(key or text)
        if key != self._said:
            self._said = key
            getattr(self.progress, "waiting", self.progress)(text)

    def tell(self, event: str, **facts: Any) -> None:
        """Tell other programs of an event, once; see ../progress.py."""
        told = (event, *facts.items())
        if told not in self._told:
            self._told.add(told)
            tell(self.progress, event, **facts)

    def due(self, key: Any, grace: float) -> bool:
        """Whether it is `grace` seconds, and a little by chance, since this was first seen."""
        first = self._first_seen.setdefault(key, time.monotonic() + grace * random.uniform(0, 0.5))
        return time.monotonic() >= first + grace

    # ---- time-outs, which anyone may call

    def time_out(self, state: State, grace: float | None = None) -> str | None:
        """Call the time-out that is due, if any, once others have had `grace` seconds to do it.

        Returns what was called; None if nothing is due.
        """
        call = self.overdue(state)
        if call is None or not self.due(
            (state.phase, state.round, state.voids, call), self.grace if grace is None else grace
        ):
            return None
        self.progress(f"{phase_text(state)}: time is up, calling {call}")
        getattr(self.project, call)(self.wallet)
        return call

    def overdue(self, state: State) -> str | None:
        """The time-out that may be called now."""
        limit = state.deadline
        if state.phase == Phase.SETTLED and state.claimed:
            limit += self.terms.windows.lock
        if state.phase == Phase.ENDED or state.now <= limit:
            return None
        if state.phase == Phase.ADMIT:
            admitted = sum(seat.admitted for seat in self.project.seats())
            return "lock" if admitted >= self.terms.min_trainers else "fail_admission"
        return {
            Phase.CREATED: "cancel",
            Phase.OPEN: "skip",
            Phase.SUBMIT: "void_round",
            Phase.PROVE: "fail",
            Phase.SCORE: "fail_score",
            Phase.SETTLED: "next",
            Phase.VACANT: "end",
        }[state.phase]

    # ---- a settled round, for all who receive the model

    def receive(self, state: State, log: Log, may_claim: bool, verified: set[int]) -> str:
        """Verify the last settled round and open its aggregate; say on chain that it is not served if it is not.

        A claim is made when half of the window has passed, and taken back when the aggregate comes after all.
        """
        settled = log.last_settled(state.round)
        self.verify(settled, log, verified)
        if settled.withheld:
            self.tell("received", round=settled.round)
            return f"round {settled.round} is settled, its aggregate is withheld: waiting for the next round"
        mine = self._claimed_by_me(log, settled)
        try:
            self.history.aggregate(settled, log)
        except UNAVAILABLE as error:
            half = state.deadline - self.terms.windows.claim // 2
            if may_claim and mine is None and half < state.now <= state.deadline:
                self.progress(f"round {settled.round}: the aggregate cannot be had ({error}): claiming it")
                self.project.claim(self.wallet)
            return f"round {settled.round}: the aggregate cannot be had yet: {error}"
        if mine:
            self.project.unclaim(self.wallet)
        self.tell("received", round=settled.round)
        return f"round {settled.round} is settled and its aggregate opens its commitment: waiting for the next round"

    def model_after(self, settled: Settled, log: Log) -> np.ndarray | None:
        """Floats of the model after a round that counts unless it is claimed; None if its aggregate was not opened."""
        try:
            before = self.history.model(log, before=settled.round, fetch=False)
            return self.history.after(settled, log, before, fetch=False).floats(self.manifest)
        except UNAVAILABLE:
            return None

    def verify(self, settled: Settled, log: Log, verified: set[int]) -> None:
        """Verify a round that this process has not verified yet."""
        if settled.round not in verified:
            self.history.verify(settled, log)
            verified.add(settled.round)
            self.progress(f"round {settled.round}: verified, {sum(settled.mask)} of {len(settled.mask)} accepted")
            self.tell("verified", round=settled.round)

    def _claimed_by_me(self, log: Log, settled: Settled) -> bool | None:
        """True: my claim stands; False: I took it back; None: I have not claimed."""
        if self._wallet is None:
            return None
        stands = None
        for event in log.events:
            claim = event.arguments
            if event.name in ("Claimed", "Unclaimed") and (claim["round"], claim["who"]) == (settled.round, self.me):
                stands = event.name == "Claimed"
        return stands


@contextlib.contextmanager
def at_desk(
    settings: Settings,
    password: Callable[[Path], str] | None,
    progress: Progress = quiet,
    metrics: str | None = None,
    **options: Any,
) -> Iterator[Desk]:
    """A role's desk, which no other process may use meanwhile.

    Args:
        password: of the keystore; None for a role without an account.
        metrics: where to serve them, [HOST:]PORT; None: nowhere.

    Raises:
        InputError: another process works in the folder; or the account cannot be opened.
    """
    folder = settings.folder
    busy = f"another process works in {folder}: a role has one process; wait for it, or stop it"
    with locked(folder / ".lock", otherwise=busy):
        _sweep(folder)
        wallet = None
        if password is not None:
            path = Path(settings["keystore"])
            wallet = Wallet.open(path, password(path), folder / "outbox.json")
        with contextlib.ExitStack() as stack:
            told = None if metrics is None else stack.enter_context(measured(folder.name, metrics, wallet, progress))
            chain = stack.enter_context(connect(settings["rpc"]))
            genesis = (chain.block_hash(0) or b"").hex()
            settings.belongs_to("chain", chain.id, settings.get("chain"))
            settings.belongs_to("the chain with genesis", genesis, settings.get("genesis"))
            settings.set(chain=chain.id, genesis=genesis)
            if wallet is not None:
                chain.settle_outbox(wallet)  # what a killed process left on its way, before anything is looked at
            yield Desk(settings, chain, wallet, progress, metrics=told, **options)


def stay_away(inspection: Inspection) -> None:
    """InputError with all that is wrong, if anything is."""
    if inspection.wrong:
        raise InputError(f"stay away from {inspection.address}: " + "; ".join(inspection.wrong))


def _sweep(folder: Path) -> None:
    """Remove half-written files of killed processes: they may hold salts and keys that nothing else knows of."""
    for part in (folder, folder / "builds", folder / "keys", folder / "aggregates", folder / OUTGOING):
        sweep(part)
    for part in (folder / "rounds").glob("**"):
        sweep(part)


# ---------------------------------------------------------------- verbs beside `run`


def withdraw(desk: Desk) -> int:
    """Take out all that is owed; what was paid, in wei (of native coin)."""
    own = desk.project.account(desk.me)
    ended = desk.project.state().phase == Phase.ENDED
    if not desk.native and own.credit:
        desk.project.withdraw_token(desk.wallet)
    if own.refund_wei or (desk.native and own.credit) or (ended and own.stake_wei):
        return int(desk.project.withdraw(desk.wallet).event("Withdrawn").arguments["wei_"])
    return 0
