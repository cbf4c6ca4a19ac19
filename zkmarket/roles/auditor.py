"""An auditor: verifies every settled round again, from chain and store alone, without an account.

For each round: that what was settled are the points whose digests were submitted; the Gram argument, the projection and
the settlement with its own keys; whether it was compared with a root update of the owner, where the rules do so, or
none had a receipt; that mask, scores and C_agg in the log are the proven ones; that pay, learning rate, next norm bound
and the model's commitment follow from them by the terms; that the aggregate's envelope is in the store under its CID.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..chain import Phase
from ..errors import InputError, OpeningMismatch, ProofRejected, StoreError
from ..market import Log, Settled, State, aggregate_size, envelope_limit, points_hash, until
from ..round import Theta
from ..rules import next_beta
from ..updates import load_model_file
from .desk import Desk


class Auditor:
    """The programs `zkmarket auditor watch` and `zkmarket auditor verify`."""

    def __init__(self, desk: Desk):
        self.desk = desk
        self.audits: dict[int, dict[str, Any]] = {}
        self.inspected = False

    def run(self) -> dict[str, Any]:
        """Verify each round as it is settled, until the project ends."""
        self.desk.run(self.step)
        return {"project": self.desk.project.address, "rounds": list(self.audits.values())}

    def step(self, state: State) -> str | None:
        if not self.inspected:
            self.desk.inspected()
            self.inspected = True
        log = self.desk.history.log()
        for settled in log.settled():
            if settled.round not in self.audits:
                self.audits[settled.round] = self.audit(settled, log)
            elif settled.skipped is None and self.audits[settled.round]["aggregate"].startswith("not served"):
                self.audits[settled.round]["aggregate"] = self.served(settled)  # it may come while it can be claimed
        if state.phase == Phase.ENDED:
            return None
        return f"{len(self.audits)} rounds verified; the project is {state.phase.name}, {until(state)}"

    def verify(self, number: int) -> dict[str, Any]:
        """One round. ProofRejected with the reason, or if it was not settled."""
        self.desk.inspected()
        log = self.desk.history.log()
        for settled in log.settled():
            if settled.round == number:
                return self.audit(settled, log)
        rounds = [settled.round for settled in log.settled()]
        raise ProofRejected(f"round {number} was not settled: settled rounds are {rounds}")

    def audit(self, settled: Settled, log: Log) -> dict[str, Any]:
        """Everything that the chain says of a round, recomputed."""
        desk = self.desk
        decision = desk.history.verify(settled, log)
        terms = desk.terms
        place = [one.round for one in log.settled()].index(settled.round)
        rates = desk.project.rates()
        wanted = {"learning rate": rates[min(place, len(rates) - 1)]}
        on_chain = {"learning rate": settled.rate}
        limits = terms.beta_min, terms.beta_max
        wanted["next norm bound"] = next_beta(settled.beta, decision.nu, terms.kappa, *limits)
        on_chain["next norm bound"] = settled.next_beta
        for name, want in wanted.items():
            if on_chain[name] != want:
                raise ProofRejected(
                    f"round {settled.round}: {name} is {on_chain[name]} on chain, the rules give {want}"
                )
        served = self.served(settled)
        uses_root = "root" in desk.manifest.references
        root = log.root_admitted(settled.round) if uses_root else None
        compared = {None: "", True: " with the owner's root update", False: " without a root update"}[root]
        desk.progress(f"round {settled.round}: verified{compared}; aggregate {served}")
        desk.tell("verified", round=settled.round)
        return {
            "round": settled.round,
            "verified": True,
            "from_calldata": settled.round not in desk.history.passed_on,
            "trainers": [
                {"trainer": who, "accepted": bool(bit), "score": score, "pay": pay}
                for who, bit, score, pay in zip(
                    settled.trainers, settled.mask, settled.scores, settled.pay, strict=True
                )
            ],
            "root": root,
            "nu": decision.nu,
            "beta": settled.beta,
            "next_beta": settled.next_beta,
            "theta": (settled.theta if settled.closed is None else settled.closed).hex(),
            "cid": settled.cid,
            "aggregate": served,
            "transaction": settled.transaction,
        }

    def model(self, path: Path, view: Path | None, number: int | None) -> dict[str, Any]:
        """Check a file of a model's integers against the commitment on chain, and floats against the integers.

        Args:
            view: a file with the model as floats, by the layout's names.
            number: the round after which it is the model; default the last one that was closed.

        Raises:
            OpeningMismatch: it does not open the commitment, or the floats are not those integers.
            InputError: it is no model of the project, or the round was not closed.
        """
        desk = self.desk
        desk.inspected()
        log, manifest = desk.history.log(), desk.manifest
        closed = [one.round for one in log.settled() if one.skipped is not None]
        if number is not None and number not in closed:
            raise InputError(f"the model is known after rounds that were closed, {closed}: got round {number}")
        wanted = desk.history.commitment(log, before=None if number is None else number + 1)
        theta = Theta.load(path, manifest)
        if theta.bits != desk.terms.theta_bits:
            raise OpeningMismatch(f"{path} has {theta.bits} theta_bits: the project has {desk.terms.theta_bits}")
        if theta.points(next(iter(desk.builds.values()))) != wanted:
            raise OpeningMismatch(
                f"{path} does not open the model's commitment, {points_hash(wanted).hex()}: it is the model of another"
                " round or project, or was changed"
            )
        if view is not None:
            shown, _ = load_model_file(view, desk.prospectus.layout)
            layout = desk.prospectus.layout
            if not np.array_equal(shown, layout.flatten(layout.unflatten(theta.floats(manifest)))):
                raise OpeningMismatch(f"{view} is not the model of {path}: a parameter differs")
        last = closed[-1] if closed else None
        return {"round": last if number is None else number, "theta": points_hash(wanted).hex(), "opens": True}

    def served(self, settled: Settled) -> str:
        """Whether the store has the envelope: withheld, served or not served."""
        if settled.withheld:
            return "withheld"
        if settled.cid is None:
            return "not served"
        manifest = self.desk.history.build_of(len(settled.trainers)).manifest
        try:
            self.desk.store.get(settled.cid, envelope_limit(aggregate_size(manifest)))
        except StoreError as error:
            return f"not served: {error}"
        return "served"
