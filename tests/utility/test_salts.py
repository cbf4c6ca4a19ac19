"""How many salts utility proofs spend: what they disclose of a trainer's column, as linear functions, by its rank.

A proof discloses one evaluation of each column that it opens, the commitment one at a point that nobody knows. The
model of a round has all earlier aggregates in it, salts included, so its openings disclose functions of the same salts.
Who learns what depends on who holds the aggregates; nothing is told if every combination of what is disclosed that no
salt hides is one of what that observer holds anyway.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import pytest

from tests.round.test_hidden import Row, rank
from zkmarket.crypto import P
from zkmarket.utility import Members, Method, salts_needed

pytestmark = pytest.mark.unit

VALUES, ROWS = 5, 64
W = 5


def root_of_unity() -> int:
    return pow(7, (P - 1) // ROWS, P)


def evaluation(x: int, salts: int) -> Row:
    """Of a column at x, as a function of its values and salts: the Lagrange polynomials of its rows."""
    omega, top = root_of_unity(), (pow(x, ROWS, P) - 1) * pow(ROWS, -1, P)
    points = [pow(omega, row, P) for row in range(VALUES + salts)]
    return [top * point % P * pow(x - point, -1, P) % P for point in points]


@dataclass
class Market:
    """Rounds of so many trainers, all accepted, and what is disclosed of their columns."""

    method: Method
    trainers: int
    rounds: int
    salts: int

    def __post_init__(self) -> None:
        self.random = random.Random(1)
        self.tau = self.random.randrange(P)
        self.columns = [(r, i) for r in range(self.rounds) for i in range(1, self.trainers + 1)]

    def due(self) -> list[Members]:
        everybody = tuple(range(1, self.trainers + 1))
        if self.method.kind == "loo":
            return [everybody, *combinations(everybody, self.trainers - 1)]
        return [s for size in range(self.trainers + 1) for s in combinations(everybody, size)]

    def row(self, weights: dict[tuple[int, int], int], function: Row) -> Row:
        return [weights.get(column, 0) * cell % P for column in self.columns for cell in function]

    def evaluated(self, weights: dict[tuple[int, int], int], x: int) -> Row:
        return self.row(weights, evaluation(x, self.salts))

    def disclosed(self) -> list[Row]:
        """By commitments and utility proofs of every round. The model before the first round is public."""
        rows = [self.evaluated({column: 1}, self.tau) for column in self.columns]
        for r in range(self.rounds):
            model = {(q, i): W for q, i in self.columns if q < r}
            for s in self.due():
                rows.append(self.evaluated(model | {(r, i): W for i in s}, self.random.randrange(P)))
        return rows

    def held(self, aggregates: Sequence[int], members: Sequence[tuple[int, int]]) -> list[Row]:
        """Aggregates of these rounds, and these trainers' own columns, with their salts."""
        size = VALUES + self.salts
        units = [[int(cell == at) for cell in range(size)] for at in range(size)]
        known = [{column: 1} for column in members]
        known += [{column: 1 for column in self.columns if column[0] == r} for r in aggregates]
        return [self.row(weights, unit) for weights in known for unit in units]

    def unhidden(self, rows: Sequence[Row]) -> int:
        """How many functions of the values alone follow from these."""
        if not rows:
            return 0
        size = VALUES + self.salts
        salts = [[cell for at, cell in enumerate(row) if at % size >= VALUES] for row in rows]
        return rank(rows) - rank(salts)

    def told(self, aggregates: Sequence[int], members: Sequence[tuple[int, int]]) -> int:
        """Functions of the values that the observer learns and did not hold."""
        held = self.held(aggregates, members)
        return self.unhidden(self.disclosed() + held) - self.unhidden(held)


GAMES = [(Method("loo"), 2), (Method("loo"), 3), (Method("loo"), 4), (Method("shapley"), 2), (Method("shapley"), 3)]
COMMITMENT = 1


@pytest.mark.parametrize("method, trainers", GAMES, ids=str)
def test_who_holds_every_aggregate_learns_nothing_of_a_trainer(method: Method, trainers: int) -> None:
    """All but two of the trainers collude: the two columns' sum is theirs anyway."""
    salts = salts_needed(method, trainers) + COMMITMENT
    market = Market(method, trainers, 2, salts)
    for known in range(trainers - 1):
        members = [(r, i) for r in range(2) for i in range(1, known + 1)]
        assert market.told(range(2), members) == 0, f"{known} colluders"


@pytest.mark.parametrize("method, trainers", GAMES, ids=str)
def test_who_holds_nothing_learns_nothing(method: Method, trainers: int) -> None:
    """Of three rounds, whose later models have the earlier salts in them: the salts of a round suffice for it."""
    market = Market(method, trainers, 3 if trainers < 4 else 2, salts_needed(method, trainers) + COMMITMENT)
    assert market.told((), ()) == 0


@pytest.mark.parametrize("method, trainers", GAMES, ids=str)
def test_salts_last_for_a_round_whose_aggregate_is_withheld(method: Method, trainers: int) -> None:
    """All others collude against one trainer. One salt less, and a function of its values is theirs."""
    others = [(0, i) for i in range(2, trainers + 1)]
    salts = salts_needed(method, trainers) + COMMITMENT
    assert Market(method, trainers, 1, salts).told((), others) == 0
    assert Market(method, trainers, 1, salts - 1).told((), others) == 1


def test_a_model_that_moves_by_what_nobody_serves_spends_more() -> None:
    """Why a round whose aggregate is not served moves no model: later rounds would spend its salts for ever."""
    method, trainers = Method("loo"), 3
    market = Market(method, trainers, 2, salts_needed(method, trainers) + COMMITMENT)
    others = [column for column in market.columns if column != (0, 1)]
    assert market.told((), others) == len(market.due())
