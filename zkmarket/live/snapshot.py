"""Where a project stands, as one JSON object: phase, deadline, people, rounds, and whose turn it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..chain import NOBODY, Event, Phase
from ..market import Log, Project, Settled, State, Terms
from ..units import reward_text

NEWEST = 40
"""Events that the page lists."""


def snapshot(project: Project, terms: Terms) -> dict[str, Any]:
    """All that the page shows, of one moment. Integers that a browser's numbers cannot hold are strings.

    Raises ChainError if the node fails.
    """
    state = project.state()
    log = Log(project.events())
    members = log.members()
    seats = project.seats() if state.phase in (Phase.SUBMIT, Phase.ADMIT, Phase.PROVE) else []
    settled = log.settled()
    native = terms.token == NOBODY
    return {
        "project": project.address,
        "chain_id": project.chain.id,
        "block": state.block,
        "now": state.now,
        "deadline": state.deadline,
        "phase": state.phase.name,
        "round": state.round,
        "settled": state.settled,
        "rounds": terms.rounds,
        "aggregator": None if state.aggregator == NOBODY else state.aggregator,
        "owner": terms.owner,
        "reward": reward_text(terms.reward, native),
        "fee": reward_text(terms.fee, native),
        "turn": turn(state, terms, len(members), sum(seat.admitted for seat in seats), len(seats)),
        "members": [{"address": who, "paid": reward_text(_paid(settled, who), native)} for who in members],
        "seats": [{"trainer": seat.trainer, "admitted": seat.admitted} for seat in seats],
        "refused": [
            {"round": event.arguments["round"], "trainer": event.arguments["trainer"]} for event in log.of("Refused")
        ],
        "settlements": [_round(one, native) for one in settled],
        "events": [_event(event) for event in log.events[-NEWEST:][::-1]],
    }


def turn(state: State, terms: Terms, members: int, admitted: int, submitted: int) -> str:
    """What comes next, and who is to do it: a sentence."""
    if state.phase in (Phase.SUBMIT, Phase.ADMIT, Phase.PROVE, Phase.SCORE, Phase.OPEN) and state.now > state.deadline:
        return "The deadline is over: anybody may call the time-out."
    number = state.round
    sentences: Mapping[Phase, str] = {
        Phase.CREATED: f"The aggregator {terms.aggregator} accepts, and pays its bond.",
        Phase.OPEN: f"The aggregator starts round {number + 1}; trainers may join: {members} have, at least"
        f" {terms.min_trainers} are wanted.",
        Phase.SUBMIT: f"Trainers train, and submit commitments: {submitted} of at most {terms.max_trainers} have.",
        Phase.ADMIT: f"The aggregator gives receipts for updates that open their commitments: {admitted} of {submitted}"
        " have one.",
        Phase.PROVE: f"The aggregator proves round {number} of {submitted} updates, and settles it.",
        Phase.SCORE: f"Round {number} is settled; the losses that it is paid by are being proven.",
        Phase.SETTLED: "Trainers and the owner fetch the aggregate; who is not served it may claim that.",
        Phase.VACANT: "The owner names another aggregator, which accepts.",
        Phase.ENDED: "Nothing more happens here: everybody may withdraw what is theirs.",
    }
    return sentences[state.phase]


def _paid(settled: list[Settled], who: str) -> int:
    return sum(pay for one in settled for trainer, pay in zip(one.trainers, one.pay, strict=True) if trainer == who)


def _round(settled: Settled, native: bool) -> dict[str, Any]:
    slots = zip(settled.trainers, settled.mask, settled.scores, settled.pay, strict=True)
    return {
        "round": settled.round,
        "transaction": settled.transaction,
        "withheld": settled.withheld,
        "nu": str(settled.nu),
        "beta": str(settled.beta),
        "slots": [
            {"trainer": who, "accepted": bool(bit), "score": str(score), "pay": reward_text(pay, native)}
            for who, bit, score, pay in slots
        ],
    }


def _event(event: Event) -> dict[str, Any]:
    said = event.arguments
    who = next((said[name] for name in ("trainer", "aggregator", "who") if name in said), None)
    return {"block": event.block, "name": event.name, "who": who, "transaction": event.transaction}
