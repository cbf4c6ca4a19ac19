"""What a demo came to: accuracy, pay, gas, refusals, read from the chain and the programs."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backend import versions
from ..errors import BackendError
from ..learning import ATTACKS, attacking, wrong_labels
from ..page import Replay
from ..units import date_text
from .cast import DATA, MODEL, Cast
from .stage import Stage

if TYPE_CHECKING:
    from ..learning import Dataset, Learn
    from ..market import History, Project, Settled


# ---------------------------------------------------------------- what it came to


class Tally:
    """The result, read from the chain and from what the programs said."""

    def __init__(self, stage: Stage, project: Project, outputs: dict[str, dict[str, Any]]):
        from ..market import Log

        self.stage, self.project, self.outputs = stage, project, outputs
        self.cast, self.chain = stage.cast, stage.chain
        self.log = Log(project.events())
        self.history = self.open_history()

    def open_history(self) -> History:
        """The owner's, read from its folder: it has opened every aggregate."""
        from ..market import History, Prospectus, make_builds
        from ..storage import open_store

        place = self.stage.folder / "owner"
        prospectus = Prospectus.from_bytes((place / "prospectus").read_bytes())
        builds = make_builds(prospectus, place / "builds")
        return History(self.project, prospectus, builds, open_store(self.stage.store, self.stage.store_token), place)

    def replay(self) -> Replay:
        """All that the report's page needs to run the market again."""
        from ..market import known_code, record

        return Replay(record(self.project, self.stage.progress), known_code(self.history.builds))

    def result(self) -> dict[str, Any]:
        terms, settled = self.project.terms(), self.log.settled()
        start, rounds = self.rounds(settled)
        trainers = [self.trainer(i, name, settled) for i, name in enumerate(self.stage.names)]
        some = next(iter(self.history.builds.values())).manifest
        deployed = json.loads((self.stage.folder / "owner" / "deployed.json").read_text())
        return {
            "data": DATA,
            "params": some.params,
            "filter": str(self.history.build_of(self.cast.trainers).manifest.filter),
            "score": some.score,
            "attack": self.cast.attack,
            "attack_means": ATTACKS[self.cast.attack],
            "seed": self.cast.seed,
            "date": date_text(int(time.time())),
            "chain_id": self.chain.id,
            "insecure": some.insecure,
            "accuracy_at_start": start,
            "reward_wei": terms.reward,
            "fee_wei": terms.fee,
            "trainers": trainers,
            "rounds": rounds,
            "money": self.money(trainers),
            "gas": self.gas(),
            "seconds": self.stage.timer.seconds,
            "addresses": {
                "factory": deployed["factory"],
                "project": self.project.address,
                "owner": self.stage.addresses["owner"],
                "aggregator": self.stage.addresses["aggregator"],
                "verifiers": deployed["verifiers"],
            },
            "cids": {"prospectus": self.stage.created["prospectus"]},
            "undefeated": undefeated(self.cast, trainers, terms.reward * len(settled)),
            "versions": versions(),
        }

    # ---- trainers and money

    def trainer(self, i: int, name: str, settled: list[Settled]) -> dict[str, Any]:
        address = self.stage.addresses[name]
        rows = []
        for one in settled:
            submitted = address in self.log.submitted(one.round)
            row: dict[str, Any] = {"round": one.round, "submitted": submitted, "admitted": address in one.trainers}
            row |= {"accepted": False, "score": 0, "pay_wei": 0, "reason": self.reason(address, one.round)}
            if address in one.trainers:
                slot = one.trainers.index(address)
                row |= {"accepted": bool(one.mask[slot]), "score": one.scores[slot], "pay_wei": one.pay[slot]}
            rows.append(row)
        return {
            "name": name,
            "address": address,
            "honest": not self.cast.is_attacker(i),
            "paid_wei": sum(row["pay_wei"] for row in rows),
            **self.taken_out(address),
            "rounds": rows,
        }

    def taken_out(self, address: str) -> dict[str, int]:
        """Of the stake that came in, what penalties took of it and what came back; the rest of it all is pay."""
        staked = sum(e.arguments["stakeWei"] for e in self.log.of("Joined") if e.arguments["trainer"] == address)
        penalties = [*self.log.of("Refused"), *self.log.of("Skipped")]
        burnt = sum(e.arguments["burntWei"] for e in penalties if e.arguments["trainer"] == address)
        withdrawn = self.withdrawn(address)
        back = min(withdrawn, staked - burnt)
        return {
            "stake_wei": staked,
            "stake_burnt_wei": burnt,
            "stake_back_wei": back,
            "pay_withdrawn_wei": withdrawn - back,
        }

    def reason(self, address: str, number: int) -> str | None:
        """Why a trainer has no slot: what the aggregator says."""
        reasons: dict[str, str] = self.outputs["aggregator"]["refusals"].get(f"{number:05d}", {})
        return reasons.get(address)

    def withdrawn(self, address: str) -> int:
        return sum(e.arguments["wei_"] for e in self.log.of("Withdrawn") if e.arguments["who"] == address)

    def money(self, trainers: list[dict[str, Any]]) -> dict[str, int]:
        addresses = self.stage.addresses
        paid = {event.transaction for name in ("Accepted", "ToppedUp") for event in self.log.of(name)}
        bond = sum(self.chain.web3.eth.get_transaction(transaction)["value"] for transaction in paid)
        return {
            "paid_in_wei": self.stage.paid["pool"],
            "paid_to_trainers_wei": sum(trainer["paid_wei"] for trainer in trainers),
            "aggregator_wei": self.withdrawn(addresses["aggregator"]) - bond,
            "owner_back_wei": self.withdrawn(addresses["owner"]),
            "burnt_wei": self.project.state().unburnt_wei,
            "left_in_contract_wei": self.chain.balance(self.project.address),
        }

    def gas(self) -> dict[str, int]:
        """Of one transaction of each kind; the median where there are several. Receipts share one."""
        steps = {
            "Accepted": "accept", "Joined": "join", "RootOffered": "offer root", "Started": "start",
            "Submitted": "submit", "Admitted": "admit", "Locked": "lock", "BaseProven": "prove base",
            "Settled": "settle", "Closed": "next", "Withdrawn": "withdraw",
        }  # fmt: skip
        used: dict[str, list[int]] = {}
        sent = {(steps[event.name], event.transaction) for event in self.log.events if event.name in steps}
        for step, transaction in sent:
            receipt = self.chain.web3.eth.get_transaction_receipt(transaction)
            used.setdefault(step, []).append(receipt["gasUsed"])
        return {"create": self.stage.paid["gas"]} | {
            name: int(np.median(used[name])) for name in steps.values() if name in used
        }

    # ---- accuracy

    def rounds(self, settled: list[Settled]) -> tuple[float, list[dict[str, Any]]]:
        """Accuracy of the initial model, and a row for every settled round."""
        from .. import learning
        from ..market import points_hash

        layout, theta = self.history.prospectus.layout, self.history.first[0]
        manifest = next(iter(self.history.builds.values())).manifest
        digests = {one.settled.round: points_hash(one.now).hex() for one in self.history.moved(self.log)}
        model = learning.load_model(MODEL)
        held_out = learning.digits_held(self.cast.seed)

        def accuracy(parameters: np.ndarray) -> float:
            return float(learning.evaluate(model, layout, parameters, held_out).accuracy or 0.0)

        initial = theta.floats(manifest)
        start = accuracy(initial)
        learners = [self.learner(i) for i in range(self.cast.trainers)]
        everything = [learning.load_dataset(self.cast.data(i)) for i in range(self.cast.trainers)]
        together = learning.Dataset(
            np.concatenate([one.inputs for one in everything]), np.concatenate([one.targets for one in everything])
        )
        plain, central, last = initial, initial, None
        rows = []
        audits = {audit["round"]: audit for audit in self.outputs["auditor"]["rounds"]}
        for one in settled:
            theta = self.history.after(one, self.log, theta)
            updates = [learn(plain, one.round, last) for learn in learners]
            last = np.mean(updates, axis=0)
            plain = plain + last
            training = learning.Training(seed=self.cast.seed, device="cpu")
            central = central + learning.train(model, layout, central, together, training, one.round)
            rows.append(
                {
                    "round": one.round,
                    "beta": one.beta,
                    "nu": audits[one.round]["nu"],
                    "accepted": sum(one.mask),
                    "withheld": one.withheld,
                    "accuracy": accuracy(theta.floats(manifest)),
                    "accuracy_unfiltered": accuracy(plain),
                    "accuracy_centralised": accuracy(central),
                    "theta": digests[one.round],
                    "cid": one.cid,
                    "transaction": one.transaction,
                    "audited": audits[one.round]["verified"] and audits[one.round]["from_calldata"],
                }
            )
        if rows and self.outputs["owner"]["theta"] != rows[-1]["theta"]:
            raise BackendError("the owner received another model than the proven aggregates make")
        return start, rows

    def learner(self, i: int) -> Any:
        """What trainer i would send where nothing filters; a thief sends what it steals, the first honest update."""
        from .. import learning
        from ..learning import Lesson

        attack = self.cast.attack if self.cast.is_attacker(i) else None
        data: Dataset = learning.load_dataset(self.cast.data(0 if attack == "copy" else i))
        data = wrong_labels(data) if attack == "label-flip" else data
        model, layout = learning.load_model(MODEL), self.history.prospectus.layout
        training = learning.Training(seed=0 if attack == "copy" else i, device="cpu")

        def honest(lesson: Lesson) -> np.ndarray:
            return learning.train(model, layout, lesson.theta, data, training, lesson.round)

        learn: Learn = attacking(attack, honest, self.cast.seed + i) if attack else honest
        return lambda theta, number, last: learn(Lesson(number, theta, last))


def undefeated(cast: Cast, trainers: list[dict[str, Any]], reward: int) -> list[str]:
    """What the attackers earned, said plainly where it is anything."""
    bad = [trainer for trainer in trainers if not trainer["honest"]]
    earned = sum(trainer["paid_wei"] for trainer in bad)
    if not earned:
        return []
    share, fair = earned / reward, len(bad) / len(trainers)
    sentence = (
        f"{cast.attack} ({ATTACKS[cast.attack]}): {len(bad)} of {len(trainers)} trainers earned {share:.1%} of the"
        f" rewards; an equal share would be {fair:.1%}."
    )
    if cast.attack == "free-ride" and cast.score != "novel":
        sentence += " Nothing proves that an update comes from training: who resends the last aggregate is paid."
    if cast.attack == "collude":
        sentence += " Clones support each other: identities must be scarce, which only the owner's list makes them."
    return [sentence]
