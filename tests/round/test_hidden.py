"""Zero knowledge, counted: what both arguments send is as random as it can be.

Everything that the projection argument sends but z, and everything that the Gram argument sends, is a function of the
masks' uniform coordinates. It is evaluated here by the engine's own functions, on one coordinate after the other; the
rank of what comes out must be the number of values sent, less those that the verifier computes itself. Then whatever
the data are, what is sent is uniform among what fulfils the verifier's own equations, and could be made up.

Zero data are the case that counts: the products of random data with a mask can hide that another mask is missing.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import numpy as np
import pytest

from tests.support.ideal import Ideal, Update
from zkmarket.build import Shape, masked_chunks
from zkmarket.crypto import P, Transcript, dot, from_ints, hash_words, random_scalars, to_ints
from zkmarket.round import Coefficients, Digits, Masks, Tables, Weights, gram, opened_column, projection, settlement

pytestmark = pytest.mark.unit

Row = list[int]


def rank(rows: Sequence[Row]) -> int:
    """Of a matrix over the field, by elimination."""
    left = [list(row) for row in rows]
    found = 0
    for column in range(len(left[0])):
        at = next((i for i in range(found, len(left)) if left[i][column]), None)
        if at is None:
            continue
        left[found], left[at] = left[at], left[found]
        top = left[found]
        inverse = pow(top[column], -1, P)
        for i in range(found + 1, len(left)):
            factor = left[i][column] * inverse % P
            if factor:
                left[i] = [(a - factor * b) % P for a, b in zip(left[i], top, strict=True)]
        found += 1
    return found


class Fixed(Transcript):
    """A transcript that answers with challenges drawn before: what is sent is a function of the masks alone."""

    def absorb(self, *scalars: int) -> None:
        pass


def transcript() -> Fixed:
    return Fixed(hash_words("challenges"))


DATA = ("zero", "largest", "random", "sparse")


def updates(ideal: Ideal, kind: str) -> list[Update]:
    """Of slots with data blocks, absent ones (salts 0) among the zero data."""
    shape, rng = ideal.shape, np.random.default_rng(3)
    zeros = np.zeros(shape.params, np.int64)
    values = {
        "zero": zeros,
        "largest": zeros - (1 << 18),
        "random": rng.integers(-4096, 4096, shape.params),
        "sparse": np.eye(1, shape.params, shape.params - 1, dtype=np.int64)[0],
    }[kind]
    return [Update.of(ideal, values, salted=kind != "zero") for _ in range(shape.slots)]


# ---------------------------------------------------------------- the projection argument


class Sent:
    """t_0, the sumcheck's messages, U with its salts, and the exponents of P_0..P_μ, as functions of the masks."""

    def __init__(self, ideal: Ideal, data: str):
        self.ideal, self.shape = ideal, ideal.shape
        self.vectors = updates(ideal, data)
        self.digits = [Digits.of(vector.values) for vector in self.vectors]
        self.weights = Weights.of(self.shape, transcript())
        self.eta = transcript().challenge("eta")
        sizes = range(self.shape.values + ideal.salts)
        first = self.shape.sums  # the flood is no uniform coordinate: it hides z alone
        self.coordinates = [(t, cell) for t in range(self.shape.rounds + 1) for cell in sizes if t or cell >= first]

    def of(self, masks: Sequence[np.ndarray]) -> Row:
        shape, given = self.shape, Masks(tuple(masks), (0,) * self.shape.sums)
        projected = projection.project(shape, self.weights, self.digits, given)
        tables = Tables.of(shape, self.weights, projected, self.digits, given, self.eta)
        rounds, sigmas, _ = projection.prove_rounds(tables, tables.claim(), transcript())
        count = 1 + shape.slots
        opened = Coefficients.of(shape, count, [0] * count, (0,) * len(gram.halves(shape.chunks)), sigmas)
        column = opened_column(self.vectors, self.digits, opened.slots, list(masks), opened.masks, shape.values)
        exponents = [dot(self.ideal.weights, to_ints(mask)) for mask in masks]
        return [projected.t0, *(value for pair in rounds for value in pair), *to_ints(column), *exponents]

    def matrix(self, without: Sequence[int] = ()) -> list[Row]:
        """A row for each coordinate of each mask, `without` some masks: what it adds to every value that is sent."""
        size = self.shape.values + self.ideal.salts
        zeros = [np.zeros((size, 32), np.uint8) for _ in range(self.shape.rounds + 1)]
        nothing = self.of(zeros)
        out = []
        for t, cell in self.coordinates:
            if t in without:
                continue
            masks = list(zeros)
            masks[t] = zeros[t].copy()
            masks[t][cell, 0] = 1
            out.append([(a - b) % P for a, b in zip(self.of(masks), nothing, strict=True)])
        return out

    @property
    def full(self) -> int:
        """(2μ + 1) + (C + S) + (μ + 1), less <U, V> = the claim and the commitment of U."""
        mu = self.shape.rounds
        return (2 * mu + 1) + (self.shape.values + self.ideal.salts) + (mu + 1) - 2


SHAPES: dict[str, tuple[Shape, int]] = {
    "N=1,m=1": (Shape(1, 1, 33, 6, 8, 20), 2),
    "N=3,m=1": (Shape(3, 1, 33, 6, 8, 20), 2),  # one position of eight is left over
    "N=4,m=1, all positions taken": (Shape(4, 1, 33, 6, 8, 20), 2),
    "N=5,m=1": (Shape(5, 1, 33, 6, 8, 20), 2),
    "N=2,m=3": (Shape(2, 3, 80 + 33, 6, 8, 20), 2),
    "d0=C, S=1": (Shape(3, 1, 40, 6, 8, 20), 1),
    "d0=C, m=3": (Shape(2, 3, 120, 6, 8, 20), 2),
    "one parameter": (Shape(3, 1, 1, 6, 8, 20), 1),
    "one parameter in the last chunk": (Shape(2, 2, 41, 6, 8, 20), 2),
    "no value to spare": (Shape(3, 1, 40, 6, 8, 36), 1),
    "no value to spare, few parameters": (Shape(3, 1, 5, 6, 8, 36), 1),
}


CASES = [(name, "zero") for name in SHAPES] + [(name, data) for name in ("N=3,m=1", "N=2,m=3") for data in DATA[1:]]


@pytest.mark.parametrize("name, data", CASES)
def test_what_the_projection_sends_is_uniform(name: str, data: str) -> None:
    shape, salts = SHAPES[name]
    shape.check()
    sent = Sent(Ideal(shape, salts), data)
    assert rank(sent.matrix()) == sent.full


def test_shapes_meet_the_edges() -> None:
    values = [shape for shape, _ in SHAPES.values()]
    assert any(shape.values == shape.sums + 1 + shape.rounds for shape in values)
    assert any(1 << shape.rounds == shape.blocks + shape.rounds + 1 for shape in values)
    assert any(1 << shape.rounds > shape.blocks + shape.rounds + 1 for shape in values)


@pytest.mark.parametrize("name", ["N=1,m=1", "N=3,m=1", "N=2,m=3"])
def test_every_mask_of_the_projection_is_needed(name: str) -> None:
    """The control: without one of P_1..P_μ and its commitment, something that is sent depends on the data."""
    shape, salts = SHAPES[name]
    sent = Sent(Ideal(shape, salts), "zero")
    for mask in range(1, shape.rounds + 1):
        assert rank(sent.matrix(without=[mask])) < sent.full - 1, f"P_{mask}"


def test_what_the_first_mask_is_for() -> None:
    """The others hide all messages without it; z are hidden by its flood alone."""
    shape, salts = SHAPES["N=3,m=1"]
    sent = Sent(Ideal(shape, salts), "largest")
    assert rank(sent.matrix(without=[0])) == sent.full - 1
    masks = Masks.fresh(shape, salts)
    rows = [
        projection.unpack(projection.project(shape, sent.weights, sent.digits, given).z, shape.sums)
        for given in (masks, Masks(masks.columns, (0,) * shape.sums))
    ]
    assert rows[0] == [flood + row for flood, row in zip(masks.flood, rows[1], strict=True)]
    assert max(map(abs, rows[1])) < 1 << 26 and min(map(abs, rows[0])) > 1 << 60


def test_what_is_sent_is_linear_in_the_masks() -> None:
    """Or a rank would say nothing."""
    sent = Sent(Ideal(*SHAPES["N=2,m=3"]), "random")
    size = sent.shape.values + sent.ideal.salts
    masks = [[random_scalars(size) for _ in range(sent.shape.rounds + 1)] for _ in range(2)]
    together = [
        from_ints(a + b for a, b in zip(to_ints(one), to_ints(other), strict=True))
        for one, other in zip(*masks, strict=True)
    ]
    nothing = sent.of([np.zeros((size, 32), np.uint8)] * len(together))
    parts = zip(sent.of(masks[0]), sent.of(masks[1]), nothing, strict=True)
    assert sent.of(together) == [(a + b - n) % P for a, b, n in parts]


# ---------------------------------------------------------------- the folded Gram argument


class Folded:
    """q, A and X of every fold, W with its salts, and the exponents of slot 0: quadratic in slot 0's chunks."""

    def __init__(self, ideal: Ideal, data: str):
        self.ideal, self.shape = ideal, ideal.shape
        self.vectors = updates(ideal, data)
        self.digits = [Digits.of(vector.values) for vector in self.vectors]
        self.r = transcript().slot_challenges(1 + self.shape.slots)
        self.chunks = masked_chunks(self.shape.chunks)

    def of(self, columns: dict[int, list[int]]) -> Row:
        shape = self.shape
        mask = gram.Mask({chunk: from_ints(column) for chunk, column in columns.items()})
        products = gram.Products.of(self.digits, mask, shape.values, shape.chunks)
        q = settlement.combined(products.gram(), self.r)
        claims, rhos, _ = gram.fold(products.of_chunks(self.r), q, transcript())
        opened = Coefficients.of(shape, 1 + shape.slots, self.r, rhos, (0,) * shape.rounds)
        masks = list(mask.columns.values())
        weights = [k for k, chunk in zip(opened.gram_masks, self.chunks, strict=True) if chunk in columns]
        column = opened_column(self.vectors, self.digits, opened.gram, masks, weights, shape.values)
        exponents = [dot(self.ideal.weights, column) for column in columns.values()]
        return [q, *(value for pair in claims for value in pair), *to_ints(column), *exponents]

    def matrix(self, without: Sequence[int] = ()) -> list[Row]:
        """The derivatives at a random mask. f(x + e) − f(x − e) is twice the derivative of a quadratic f."""
        size = self.shape.values + self.ideal.salts
        at = {c: [secrets.randbelow(P) for _ in range(size)] for c in self.chunks if c not in without}
        out = []
        for chunk in at:
            for cell in range(size):
                moved = []
                for by in (1, -1):
                    column = list(at[chunk])
                    column[cell] += by
                    moved.append(self.of(at | {chunk: column}))
                out.append([(a - b) % P for a, b in zip(*moved, strict=True)])
        return out

    @property
    def full(self) -> int:
        """(2t + 1) + (C + S) + (t + 1), less <W, W> = T and the commitment of W."""
        t = len(gram.halves(self.shape.chunks))
        return (2 * t + 1) + (self.shape.values + self.ideal.salts) + (t + 1) - 2


def of_chunks(chunks: int, salts: int, tail: int = 3) -> Ideal:
    """Two trainers. The projection argument has no part here: its numbers of rows do not matter."""
    return Ideal(Shape(2, chunks, (chunks - 1) * 6 + tail, 4, 2, 1), salts)


@pytest.mark.parametrize("data, chunks", [("zero", m) for m in (1, 2, 3, 4, 5, 8, 9, 13)] + [(d, 3) for d in DATA[1:]])
@pytest.mark.parametrize("salts, tail", [(1, 6), (2, 3)], ids=["d0=C, S=1", "S=2"])
def test_what_the_folds_send_is_uniform(chunks: int, salts: int, tail: int, data: str) -> None:
    sent = Folded(of_chunks(chunks, salts, tail), data)
    assert rank(sent.matrix()) == sent.full


@pytest.mark.parametrize("chunks", [1, 2, 3, 5, 8])
def test_every_chunk_of_the_mask_is_needed(chunks: int) -> None:
    """The control: one of slot 0's chunks, and its commitment, left out, and zero data."""
    sent = Folded(of_chunks(chunks, 2), "zero")
    for chunk in sent.chunks:
        rows = sent.matrix(without=[chunk])
        assert not rows or rank(rows) < sent.full - 1, f"chunk {chunk}"


def test_random_data_hide_a_missing_mask() -> None:
    """Why zero data are asked: with random ones a fold's mask may be missed by nobody."""
    for data, missed in (("random", True), ("zero", False)):
        sent = Folded(of_chunks(4, 2), data)
        ranks = {chunk: rank(sent.matrix(without=[chunk])) for chunk in sent.chunks}
        assert any(found == sent.full - 1 for found in ranks.values()) == missed, ranks
