"""Entries that are too large, wherever they stand, and energy in the padding."""

from __future__ import annotations

import numpy as np
import pytest

from tests.attacks.plain import Clamped, Entries, Prover
from tests.support.ideal import Ideal, Round, Sent, small_updates, verify
from zkmarket.build import ENTRY_BITS, Shape
from zkmarket.crypto import P, Transcript
from zkmarket.errors import DomainError, ProofRejected
from zkmarket.round import Digits, projection

pytestmark = pytest.mark.unit

FALSE_CLAIM = "<U, V> is not the sumcheck's last claim"
TOO_LARGE = r"row \d+ of the projection is below 2\^110 in absolute value: got -?\d+"

FEW = Shape(slots=3, chunks=2, params=160 + 97, rows=11, width=16, sums=120)
MANY = Shape(slots=7, chunks=3, params=2 * 160 + 160, rows=11, width=16, sums=120)
"""21 blocks of 32 positions, with no padding."""

IDEALS = {FEW: Ideal(FEW), MANY: Ideal(MANY)}

VALUES = {
    "2^113": 1 << ENTRY_BITS,
    "-2^113": -(1 << ENTRY_BITS),
    "1/3": pow(3, -1, P),
    "(p-1)/2": (P - 1) // 2,
    "(p+1)/2": (P + 1) // 2,  # 1/2
}

PLACES: dict[str, tuple[Shape, tuple[int, int, int]]] = {
    "first value": (FEW, (1, 0, 0)),
    "last value, beside the salts": (FEW, (1, 0, 159)),
    "last row and first column": (FEW, (2, 0, 144)),
    "first of the last chunk": (FEW, (2, 1, 0)),
    "last parameter": (FEW, (3, 1, 96)),
    "one block of many": (MANY, (4, 1, 77)),
    "last block of many": (MANY, (7, 2, 159)),
}


def sent_by(kind: type[Prover], shape: Shape, entries: Entries) -> Sent:
    return kind(IDEALS[shape], small_updates(IDEALS[shape]), entries).sent()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_a_large_entry(place: str, value: int) -> None:
    """Its rows cannot be sent as they are; and with others in their place the claim is false."""
    shape, where = PLACES[place]
    with pytest.raises(DomainError, match=TOO_LARGE):
        sent_by(Prover, shape, {where: value})
    with pytest.raises(ProofRejected, match=FALSE_CLAIM):
        verify(IDEALS[shape], sent_by(Clamped, shape, {where: value}))


@pytest.mark.parametrize("place", PLACES)
def test_an_entry_within_the_bound(place: str) -> None:
    """The honest twin: nothing is too large that leaves every row below 2^110, whatever a receipt says of it.

    It is not in [−Q, Q), but its norm is a proven integer, and no bound accepts it.
    """
    shape, where = PLACES[place]
    verify(IDEALS[shape], sent_by(Prover, shape, {where: -(1 << 108)}))


class Oblivious(Prover):
    """Sends what an update with 7 in the place of the large entry would make."""

    where: tuple[int, int, int]

    def answers(self, true: list[int], transcript: Transcript) -> list[int]:
        weights = self.weights(transcript)
        slot, chunk, cell = self.where
        column = self.slots[slot - 1][chunk]
        large, column[cell] = column[cell], 7
        honest = [self.row(weights, row) for row in range(self.shape.sums)]
        column[cell] = large
        return honest


@pytest.mark.parametrize("place", PLACES)
def test_the_answers_of_an_honest_update(place: str) -> None:
    shape, where = PLACES[place]
    prover = Oblivious(IDEALS[shape], small_updates(IDEALS[shape]), {where: VALUES["1/3"]})
    prover.where = where
    with pytest.raises(ProofRejected, match=FALSE_CLAIM):
        verify(IDEALS[shape], prover.sent())


def test_the_engine_takes_no_such_values() -> None:
    """Before any proof: a vector has digits of int64, an update one of them."""
    with pytest.raises(DomainError, match="below 2\\^61"):
        Digits.of(np.array([0, 1 << 61]))
    ideal = IDEALS[FEW]
    updates = small_updates(ideal)
    updates[1].values[3] = -(1 << 18)
    verify(ideal, Round(ideal, updates).sent)
    updates[1].values[3] -= 1
    with pytest.raises(DomainError, match="values of an update are below 2\\^18"):
        _ = Round(ideal, updates).sent


# ---------------------------------------------------------------- energy in the padding


PADDING: dict[str, Entries] = {
    "first cell": {(1, 1, 97): 7},
    "last cell": {(3, 1, 159): 7},
    "a small negative value": {(2, 1, 130): -1},
    "cancelling between slots": {(1, 1, 120): 7, (2, 1, 120): -7},
    "cancelling between cells": {(1, 1, 120): 7, (1, 1, 121): -7},
    "in all slots": {(slot, 1, 140): value for slot, value in ((1, 5), (2, 5), (3, -10))},
}


@pytest.mark.parametrize("entries", PADDING.values(), ids=PADDING)
def test_energy_in_the_padding(entries: Entries) -> None:
    """It would lengthen an update, and point where nothing of the model is: every cell past D has claim 0."""
    with pytest.raises(ProofRejected, match=FALSE_CLAIM):
        verify(IDEALS[FEW], sent_by(Prover, FEW, entries))
    verify(IDEALS[FEW], sent_by(Prover, FEW, {}))
    beside = {(slot, 0, cell): value for (slot, _, cell), value in entries.items()}
    verify(IDEALS[FEW], sent_by(Prover, FEW, beside))  # in the chunk before, the same values are parameters


class OneFactor(Prover):
    """The padding of all slots counts the same."""

    def tail_factor(self, slot: int, eta: int) -> int:
        return super().tail_factor(0, eta)


def test_padding_that_cancels_where_all_slots_count_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a plain sum of the paddings would let through."""
    strict = projection.tail_factors
    monkeypatch.setattr(projection, "tail_factors", lambda shape, eta: [strict(shape, eta)[0]] * shape.slots)
    for name, entries in PADDING.items():
        if name in ("cancelling between slots", "in all slots"):
            verify(IDEALS[FEW], sent_by(OneFactor, FEW, entries))
        else:
            with pytest.raises(ProofRejected, match=FALSE_CLAIM):
                verify(IDEALS[FEW], sent_by(OneFactor, FEW, entries))
