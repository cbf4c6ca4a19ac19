"""A project's log, read: who was admitted, submitted, settled, paid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..chain import NOBODY, Event
from ..crypto import Point
from ..errors import ChainError, InputError
from ..storage import cid_from_bytes
from .view import Submitted, settlement_of


@dataclass(frozen=True)
class Settled:
    """What the log says of a settled round.

    Attributes:
        trainers: addresses of the slots, in order.
        mask, scores, pay: of each slot; pay in the reward's unit.
        aggregate: points of C_agg; () where the aggregate is withheld.
        cid: where it is served; None where it is withheld.
        beta, next_beta: norm bound of this round, and of the next.
        rate: learning rate in billionths.
        theta: hash of the model's commitment once the round is closed, if it is not claimed.
        nu: lower median of the squared norms, from which the next norm bound follows.
        proofs: hash of the two proofs that settled it (`escrow.proofs_hash`).
        skipped: whether the round leaves the model as it is; None until the round is closed.
        closed: hash of the model's commitment since the round was closed; None until then.
        losses: where losses pay: of every coalition that is proven, its slots as bits, correct predictions and loss.
        scored: whether the losses have paid the round: scores and pay are theirs. Until then both are 0.
        scoring_failed: whether they were not proven in time.
    """

    round: int
    trainers: tuple[str, ...]
    mask: tuple[int, ...]
    scores: tuple[int, ...]
    pay: tuple[int, ...]
    aggregate: tuple[Point, ...]
    cid: str | None
    beta: int
    next_beta: int
    rate: int
    theta: bytes
    nu: int
    proofs: bytes
    transaction: str
    skipped: bool | None
    closed: bytes | None
    losses: tuple[tuple[int, int, int], ...] = ()
    scored: bool = False
    scoring_failed: bool = False

    @property
    def withheld(self) -> bool:
        return not self.aggregate


@dataclass(frozen=True)
class Started:
    """What the log says of a round that was started."""

    round: int
    encryption_key: bytes
    beta: int
    keyring: str | None


class Log:
    """Events of a project at one time, by what they say."""

    def __init__(self, events: tuple[Event, ...]):
        self.events = events

    def of(self, name: str) -> list[Event]:
        return [event for event in self.events if event.name == name]

    def started(self, number: int) -> Started:
        for event in self.of("Started"):
            said = event.arguments
            if said["round"] == number:
                return Started(number, said["encryptionKey"], said["beta"], cid_text(said["keyring"]))
        raise ChainError(f"the log has no start of round {number}: a reorganisation, or a node that is behind")

    def office_key(self) -> bytes:
        """The key that the aggregator in office accepted with: root updates are sealed to it."""
        accepted = self.of("Accepted")
        if not accepted:
            raise ChainError("the log has no aggregator: a reorganisation, or a node that is behind")
        return bytes(accepted[-1].arguments["encryptionKey"])

    def offered_root(self, number: int) -> Submitted | None:
        """The owner's root update for a round: the last offer counts. None: there is none."""
        offers = [event.arguments for event in self.of("RootOffered") if event.arguments["round"] == number]
        return Submitted(NOBODY, offers[-1]["digest"], offers[-1]["cid"]) if offers else None

    def root_admitted(self, number: int) -> bool:
        """Whether the offered root update of a round has the aggregator's receipt, and so counts."""
        return any(event.arguments["round"] == number for event in self.of("RootAdmitted"))

    def submitted(self, number: int) -> dict[str, Submitted]:
        """By trainer. What another contract passed on is here too."""
        found = {}
        for event in self.of("Submitted"):
            said = event.arguments
            if said["round"] == number:
                found[said["trainer"]] = Submitted(said["trainer"], said["digest"], said["cid"])
        return found

    def submission(self, number: int, trainer: str, word: bytes) -> Submitted:
        """A trainer's, if it is the seat's; ChainError if the log is another chain's, or behind.

        Args:
            word: as the seat holds it.
        """
        found = self.submitted(number).get(trainer)
        if found is None or found.word != word:
            raise ChainError(f"the log has not the submission of {trainer} that is on its seat: a node that is behind")
        return found

    def settled(self) -> list[Settled]:
        """Settled rounds in order."""
        closed = {event.arguments["round"]: event.arguments for event in self.of("Closed")}
        paid = {event.arguments["round"]: event.arguments for event in self.of("Scored")}
        failed = {event.arguments["round"] for event in self.of("ScoringFailed")}
        losses: dict[int, list[tuple[int, int, int]]] = {}
        for event in self.of("UtilityProven"):
            said = event.arguments
            losses.setdefault(said["round"], []).append((said["coalition"], said["correct"], said["loss"]))
        found = []
        for event in self.of("Settled"):
            number, settlement = event.arguments["round"], settlement_of(event)
            end, scored = closed.get(number, {}), paid.get(number, {})
            found.append(
                Settled(
                    number,
                    settlement.trainers,
                    tuple(settlement.mask >> slot & 1 for slot in range(len(settlement.trainers))),
                    tuple(scored.get("scores", settlement.scores)),
                    tuple(scored.get("pay", settlement.pay)),
                    _points(settlement.aggregate),
                    cid_text(settlement.cid),
                    self.started(number).beta,
                    settlement.beta,
                    settlement.rate,
                    settlement.theta,
                    settlement.nu,
                    settlement.proofs,
                    event.transaction,
                    end.get("skipped"),
                    end.get("theta"),
                    tuple(losses.get(number, ())),
                    bool(scored),
                    number in failed,
                )
            )
        return found

    def last_settled(self, number: int) -> Settled:
        """A round that the state says is settled; ChainError if the log does not have it yet."""
        found = self.settled()
        if not found or found[-1].round != number:
            raise ChainError(f"the log has no settlement of round {number}: a reorganisation, or a node that is behind")
        return found[-1]

    def members(self) -> dict[str, bytes]:
        """Encryption keys of who is a trainer now, by address: whoever has a stake that no penalty has eaten."""
        keys: dict[str, bytes] = {}
        stakes: dict[str, int] = {}
        for event in self.events:
            said = event.arguments
            if event.name not in ("Joined", "Skipped", "Refused", "Left"):
                continue
            who = said["trainer"]
            if event.name == "Joined":
                keys[who] = said["encryptionKey"]
                stakes[who] = stakes.get(who, 0) + said["stakeWei"]
            elif event.name in ("Skipped", "Refused"):
                stakes[who] = 0 if said.get("removed") else stakes.get(who, 0) - said["burntWei"]
            else:
                stakes[who] = 0
        return {who: key for who, key in keys.items() if stakes[who] > 0}

    def member_keys(self) -> list[bytes]:
        """Encryption keys of the trainers; those of the last round first.

        An envelope has room for some thousands: who joins with more accounts pushes nobody out who takes part.
        """
        members = self.members()
        latest = max((event.arguments["round"] for event in self.of("Submitted")), default=0)
        active = [members[who] for who in self.submitted(latest) if who in members]
        return list(dict.fromkeys([*active, *members.values()]))


def _points(words: Sequence[int]) -> tuple[Point, ...]:
    return tuple(zip(words[::2], words[1::2], strict=True))


def cid_text(data: bytes) -> str | None:
    """A CID of the log as text; None for none, or one that no store of ours knows."""
    try:
        return cid_from_bytes(data)
    except InputError:
        return None
