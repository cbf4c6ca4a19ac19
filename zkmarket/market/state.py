"""Where a project stands, as the contract says it in one call."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..chain import Phase
from ..units import date_text, rough_text


@dataclass(frozen=True)
class State:
    """Where a project stands, read at one block; in the order of Types.sol.

    Attributes:
        phase: by the clock.
        now: the block's time, which decides the phase.
        deadline: of the phase; ADMIT's own.
        round: number of the round that was started last; failed ones count.
        settled, voids: rounds paid, and rounds that came to nothing.
        aggregator: its address; `NOBODY` while there is none.
        beta: norm bound of the round, or of the next one.
        pool: not yet owed, in the reward's unit.
        claimed: the aggregate of the last round counts as not served.
        theta: keccak of the words of the model's commitment.
        block: its number.
    """

    phase: Phase
    now: int
    deadline: int
    round: int
    settled: int
    voids: int
    aggregator: str
    beta: int
    pool: int
    bond_wei: int
    unburnt_wei: int
    ending: bool
    claimed: bool
    theta: bytes
    block: int


def phase_text(state: State) -> str:
    """Phase and round in words."""
    at = f"round {state.round}" if state.phase.in_round else "project"
    return f"{at} is {state.phase.name}"


def until(state: State) -> str:
    """The phase's deadline in words, by the chain's clock."""
    return until_text(state.deadline, state.now)


def until_text(deadline: int, now: int) -> str:
    left = f"in {rough_text(deadline - now)}" if now <= deadline else "which is over"
    return f"until {date_text(deadline)} by the chain's clock, {left}"


def without_countdown(text: str) -> str:
    """The same whatever time is left."""
    return re.sub(r", in \d+ (s|min|h|d)\b", "", text)
