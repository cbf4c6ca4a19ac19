"""The native arithmetic against Python's integers: of any shape, and at the edges of what float64 holds."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from operator import mul
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.gram_cases import FIELD
from tests.support.tiers import examples
from zkmarket.build import ROWS, Columns, Shape
from zkmarket.crypto import P, Transcript, from_ints, random_scalars, to_ints
from zkmarket.errors import DomainError
from zkmarket.round import DIGIT_BITS, Digits, Masks, Weights, native, projection

pytestmark = pytest.mark.unit

Q = 1 << DIGIT_BITS  # of 19 bits a value, sign included
EDGES = [0, 1, -1, Q, -Q, Q - 1, Q + 1, -Q - 1, 1 << 36, 1 - (1 << 36), (1 << 61) - 1, 1 - (1 << 61)]
LONG = st.one_of(st.sampled_from(EDGES), st.integers(1 - (1 << 61), (1 << 61) - 1))
SMALL = st.one_of(st.sampled_from([-Q, Q - 1, 0, -1]), st.integers(-Q, Q))
quick = examples(60)

FULL = (1 << 253) - 1
"""A field element whose limbs are as large as they can be."""


def near_q(*shape: int) -> np.ndarray:
    """Values close to Q, of any parity: sums of powers of two are exact where others are not."""
    return Q - np.random.default_rng(shape[-1]).integers(0, 50, shape)


def vectors(elements: st.SearchStrategy[int], most: int = 40) -> st.SearchStrategy[list[int]]:
    return st.lists(elements, min_size=1, max_size=most)


def array(values: Sequence[int]) -> np.ndarray:
    return np.array(values, np.int64)


# ---------------------------------------------------------------- digits and limbs


@quick
@given(vectors(LONG), st.integers(0, 50), st.integers(0, 50))
def test_digits_are_the_vector(values: list[int], start: int, length: int):
    digits = Digits.of(array(values))
    rows = digits.rows(start, start + length)
    assert rows.shape == (digits.count, length) and np.abs(rows).max(initial=0) <= Q
    whole = [sum(int(d) << (DIGIT_BITS * k) for k, d in enumerate(column)) for column in rows.T]
    padded = [*values, *[0] * 100]
    assert whole == padded[start : start + length]


@pytest.mark.parametrize(
    "largest, count", [(0, 1), (Q, 1), (Q + 1, 2), ((1 << 35), 2), (1 << 37, 3), ((1 << 61) - 1, 4)]
)
def test_digits_are_as_many_as_they_must_be(largest: int, count: int):
    for sign in (1, -1):
        assert Digits.of(array([0, sign * largest])).count == count


@pytest.mark.parametrize("value", [1 << 61, -(1 << 61), (1 << 63) - 1, -(1 << 63)])
def test_values_that_have_no_digits(value: int):
    with pytest.raises(DomainError, match=f"values of a vector are below 2\\^61 here: got {abs(value)}"):
        Digits.of(array([value]))


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64, ">i4", "<i2"])
def test_digits_of_any_integer_type(tmp_path: Path, dtype: object):
    """As openings hold them, memory-mapped too."""
    values = np.array([-128, 127, 0, 5], dtype)
    np.save(tmp_path / "values.npy", values)
    for held in (values, np.load(tmp_path / "values.npy", mmap_mode="r")):
        assert Digits.of(held).rows(0, 4).tolist() == [[-128, 127, 0, 5]]


@quick
@given(vectors(FIELD))
def test_limbs_are_the_field_elements(values: list[int]):
    rows = native.limbs(from_ints(values))
    assert rows.shape == (16, len(values)) and rows.max() < 1 << 16
    assert [sum(int(limb) << (16 * k) for k, limb in enumerate(column)) for column in rows.T] == values


@quick
@given(st.integers(1, 32), st.integers(1, 30), st.data())
def test_reduce(rows: int, columns: int, data: st.DataObject):
    edge = (1 << 53) - 1
    number = st.one_of(st.sampled_from([0, 1, -1, edge, -edge, 1 << 52]), st.integers(-edge, edge))
    sums = data.draw(st.lists(st.lists(number, min_size=columns, max_size=columns), min_size=rows, max_size=rows))
    wanted = [sum(row[at] << (16 * k) for k, row in enumerate(sums)) % P for at in range(columns)]
    assert to_ints(native.reduce(array(sums))) == wanted


@pytest.mark.parametrize(
    "value", [0, 1, P - 1, P, P + 1, 2 * P - 1, 2 * P, -1, -P, 1 - P, -P - 1, 3 * P + 5, (1 << 256) - 1]
)
def test_reduce_near_multiples_of_p(value: int):
    """Where a quotient that is one too small or too large shows."""
    digits = [(value >> (16 * k)) & 0xFFFF for k in range(16)] + [value >> 256]
    assert to_ints(native.reduce(array(digits)[:, None])) == [value % P]
    carried = [digits[0] - (1 << 16), digits[1] + 1, *digits[2:]]
    assert to_ints(native.reduce(array(carried)[:, None])) == [value % P]


# ---------------------------------------------------------------- vectors of field elements


@quick
@given(vectors(FIELD), FIELD)
def test_scale_and_powers(values: list[int], factor: int):
    assert to_ints(native.scale(from_ints(values), factor)) == [value * factor % P for value in values]
    assert to_ints(native.powers(factor, len(values))) == [pow(factor, at, P) for at in range(len(values))]


@quick
@given(st.lists(st.tuples(FIELD, FIELD), min_size=1, max_size=40))
def test_add_and_dot(pairs: list[tuple[int, int]]):
    one, other = (from_ints(values) for values in zip(*pairs, strict=True))
    assert to_ints(native.add(one, other)) == [(a + b) % P for a, b in pairs]
    assert native.dot(one, other) == sum(a * b for a, b in pairs)


@quick
@given(vectors(FIELD, 10), st.lists(vectors(SMALL), min_size=1, max_size=3), vectors(st.integers(0, 50), 4))
def test_dot_small(column: list[int], whole: list[list[int]], starts: list[int]):
    """Of each vector from each start on; past its end there are zeros."""
    got = native.dot_small(from_ints(column), [Digits.of(array(values)) for values in whole], starts)
    assert got == [sum(map(mul, column, values[start:])) for values in whole for start in starts]


def test_dot_small_at_the_edge():
    """A whole block of values near ±Q and of full limbs."""
    size = native.WIDTH + 1
    column = np.tile(from_ints([FULL]), (size, 1))
    values = near_q(2, size) * [[1], [-1]]
    assert native.dot_small(column, [Digits.of(v) for v in values], [0]) == [FULL * int(v.sum()) for v in values]


@quick
@given(vectors(LONG))
def test_squared_length(values: list[int]):
    assert native.squared_length(array(values)) == sum(value * value for value in values)


BITS = st.lists(st.integers(0, 1), min_size=60, max_size=60)


@quick
@given(st.lists(FIELD, min_size=1, max_size=5), BITS, BITS, st.sampled_from([1, 2, 3, 7]))
def test_outer_sum(coefficients: list[int], left: list[int], right: list[int], step: int):
    """Σ_j c_j (a_j ⊗ b_j), a few rows of the block at a time."""
    rows, height, width = len(coefficients), 7, 8
    a = np.resize(np.array(left, float), (height, rows))
    b = np.resize(np.array(right, float), (width, rows))
    wanted = [
        sum(c * int(a[i, j]) * int(b[k, j]) for j, c in enumerate(coefficients)) % P
        for i in range(height)
        for k in range(width)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "WIDTH", step * width)
        assert to_ints(native.outer_sum(coefficients, a, b)) == wanted


# ---------------------------------------------------------------- blocks


@given(st.integers(0, 1 << 22), st.integers(0, 1 << 24))
def test_blocks_cover_everything_once(length: int, rows: int):
    """And hold no more cells than they may, but one column at least."""
    cut = []
    for at, part in enumerate(native.blocks(length, rows)):
        cut.append(part)
        if at > 100:
            return  # the start is enough of very many
    assert [start for start, _ in cut] == [0, *(stop for _, stop in cut[:-1])][: len(cut)]
    assert (cut[-1][1] if cut else 0) == length
    assert all(1 <= stop - start <= native.WIDTH for start, stop in cut)
    assert all((stop - start) * rows <= native.CELLS or stop - start == 1 for start, stop in cut)


@pytest.mark.parametrize("size", [1, 999, native.WIDTH, native.WIDTH + 1])
@pytest.mark.parametrize("sign", [1, -1])
def test_inner_products_at_the_edge(size: int, sign: int):
    """Values near ±Q, limbs of 2^16 − 1, in whole blocks: the float64 sums come as near to 2^53 as they can."""
    values = near_q(2, size) * [[1], [sign]]
    mask = from_ints([FULL] * size)
    products, starts = native.inner_products([Digits.of(v) for v in values], {0: mask}, size, 1)
    assert starts == [0, 2 + 16]
    rows = np.array([*values, *native.limbs(mask).astype(np.int64)])  # below 2^36 each: sums of 2^51 are exact in int64
    assert products.tolist() == (rows @ rows.T).tolist()


def test_inner_products_of_a_whole_column_of_the_largest_k():
    """2^20 cells of 2^36: blocks are added in int64."""
    size = Columns(20).values
    values = -near_q(2, size).astype(np.int32)
    products, _ = native.inner_products([Digits.of(v) for v in values], {}, size, 1)
    wide = values.astype(np.int64)  # whose sums of 2^56 are exact
    assert products.tolist() == (wide @ wide.T).tolist() and products.min() > 1 << 55


@pytest.mark.parametrize("tail", [1, 5, 10])
def test_inner_products_where_d_ends_near_a_chunk_s_border(tail: int):
    """The last value of D alone in its chunk, or the chunk full; some chunks masked, some not."""
    size, chunks = 10, 3
    rng = np.random.default_rng(tail)
    vectors = [rng.integers(-Q, Q, 2 * size + tail), rng.integers(-(1 << 60), 1 << 60, 2 * size + tail)]
    masks = {0: random_scalars(size), 2: random_scalars(size)}
    digits = [Digits.of(v) for v in vectors]
    products, starts = native.inner_products(digits, masks, size, chunks)
    assert starts == [0, 5 + 16, 10 + 16, 15 + 32]
    rows = []
    for chunk in range(chunks):
        rows += [row for d in digits for row in d.rows(chunk * size, (chunk + 1) * size)]
        rows += list(native.limbs(masks[chunk])) if chunk in masks else []
    assert products.tolist() == [[int(sum(map(int, a * b))) for b in rows] for a in rows]


# ---------------------------------------------------------------- projections


@pytest.mark.parametrize("logrows", [10, 13, 20])
def test_projections_at_the_edge(logrows: int):
    """All bits set, all values near −Q; and of a mask, limbs of 2^32 − 1, whose sums are 2^52 at K = 20."""
    shape = Columns(logrows)
    sums = 3
    left, right = np.ones((shape.rows - 1, sums)), np.ones((shape.width, sums))
    left[0, 1] = right[5, 1] = 0
    left[:, 2] = 0
    counts = [shape.values, (shape.rows - 2) * (shape.width - 1), 0]
    cells = -near_q(2, shape.values)
    chosen = [np.outer(a, b).reshape(-1) == 1 for a, b in zip(left.T, right.T, strict=True)]
    assert [int(some.sum()) for some in chosen] == counts
    wanted = [[int(block[some].sum()) for some in chosen] for block in cells]
    assert native.project(cells.astype(np.float64), left, right).tolist() == wanted
    column = np.tile(from_ints([FULL]), (shape.values, 1))
    assert native.project_mask(column, left, right) == [FULL * count for count in counts]


@quick
@given(st.lists(FIELD, min_size=12, max_size=12), BITS, BITS)
def test_projections_are_sums_of_the_chosen(values: list[int], left: list[int], right: list[int]):
    a, b = np.array(left[:15], float).reshape(3, 5), np.array(right[:20], float).reshape(4, 5)
    wanted = [sum(values[4 * i + k] for i in range(3) for k in range(4) if a[i, j] and b[k, j]) for j in range(5)]
    assert native.project_mask(from_ints(values), a, b) == wanted


def test_the_widest_blocks_fit_what_is_said_of_them():
    """ℓ2 and ℓ1 − 1 are below 2^10 + 1 at every K, which the bound 2^52 of projections is made of."""
    for logrows in ROWS:
        shape = Columns(logrows)
        assert shape.width <= 1 << 10 and shape.rows - 1 < 1 << 10 and shape.values < 1 << 20


# ---------------------------------------------------------------- combinations


@quick
@given(st.data(), st.integers(1, 4), st.integers(1, 3), st.integers(0, 2))
def test_combinations(data: st.DataObject, size: int, chunks: int, masks: int):
    """Of vectors of few and of many digits, coefficients at the field's edges."""
    params = (chunks - 1) * size + data.draw(st.integers(1, size))
    whole = [data.draw(st.lists(LONG, min_size=params, max_size=params)) for _ in range(data.draw(st.integers(0, 3)))]
    factors = [data.draw(st.lists(FIELD, min_size=chunks, max_size=chunks)) for _ in whole]
    columns = [data.draw(st.lists(FIELD, min_size=size, max_size=size)) for _ in range(masks)]
    weights = [data.draw(FIELD) for _ in columns]
    wanted = [sum(k * column[at] for k, column in zip(weights, columns, strict=True)) for at in range(size)]
    for values, own in zip(whole, factors, strict=True):
        padded = [*values, *[0] * size]
        for chunk, k in enumerate(own):
            wanted = [w + k * v for w, v in zip(wanted, padded[chunk * size : (chunk + 1) * size], strict=True)]
    got = native.combine(
        [Digits.of(array(values)) for values in whole], factors, [from_ints(c) for c in columns], weights, size
    )
    assert to_ints(got) == [w % P for w in wanted]


@pytest.mark.parametrize("block", [1, 2, 7])
def test_the_size_of_a_block_does_not_matter(monkeypatch: pytest.MonkeyPatch, block: int):
    rng = np.random.default_rng(block)
    vectors = [Digits.of(rng.integers(-Q, Q, 25)) for _ in range(3)]
    mask = random_scalars(10)
    factors = [[int(k) for k in rng.integers(0, 1 << 60, 3)] for _ in vectors]
    given = (vectors, factors, [mask], [P - 5], 10)

    def everything() -> list:
        products, _ = native.inner_products(vectors, {1: mask}, 10, 3)
        parts = [native.combine(*given), native.scale(mask, P - 2), native.dot(mask, mask)]
        return [products.tolist(), *(part.tolist() if isinstance(part, np.ndarray) else part for part in parts)]

    wanted = everything()
    monkeypatch.setattr(native, "WIDTH", block)
    monkeypatch.setattr(native, "_STEP", block)
    assert everything() == wanted


def test_a_combination_of_the_most_blocks():
    """2^18 blocks of values near −Q, coefficients of 2^16 − 1 in all their limbs: sums of 2^52."""
    size, chunks = 2, 1 << 18
    values = -near_q(size * chunks)
    got = native.combine([Digits.of(values)], [[FULL] * chunks], [], [], size)
    assert to_ints(got) == [FULL * int(total) % P for total in values.reshape(chunks, size).sum(0)]


def test_a_combination_of_the_most_masks():
    """64 masks and weights with full limbs."""
    mask = from_ints([FULL] * 3)
    got = native.combine([], [], [mask] * 64, [FULL] * 64, 3)
    assert to_ints(got) == [64 * FULL * FULL % P] * 3


@pytest.mark.exhaustive("a size")
def test_a_column_of_the_largest_k():
    """All of it, not a sample: two slots, a mask, values at the edge."""
    size = Columns(20).values
    values = near_q(size).astype(np.int32)
    values[::2] *= -1
    k = [P - 1, FULL]
    mask = random_scalars(size)
    got = native.combine([Digits.of(values), Digits.of(-values)], [[k[0]], [k[1]]], [mask], [P - 3], size)
    some = [0, 1, native.WIDTH - 1, native.WIDTH, size - 2, size - 1]
    masked = to_ints(np.ascontiguousarray(mask[some]))
    assert to_ints(np.ascontiguousarray(got[some])) == [
        (int(values[at]) * (k[0] - k[1]) - 3 * m) % P for at, m in zip(some, masked, strict=True)
    ]
    # and the whole by another way: Σ_d y^d of it
    powers = native.powers(5, size)
    total = native.dot(powers, got) % P
    wanted = native.dot_small(powers, [Digits.of(values)], [0])[0] * (k[0] - k[1]) - 3 * native.dot(powers, mask)
    assert total == wanted % P


# ---------------------------------------------------------------- memory


def peak(work) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_updates(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Openings are memory-mapped and read block by block: eight times as many values need no more of it."""
    monkeypatch.setattr(native, "CELLS", 1 << 18)  # 2 MB a block, so that small updates are many blocks
    size = 256 * 256
    rng = np.random.default_rng(0)
    np.save(tmp_path / "values.npy", rng.integers(-Q, Q, 8 * size).astype(np.int32))
    values = np.load(tmp_path / "values.npy", mmap_mode="r")
    mask = random_scalars(size)
    masks = Masks((mask, mask), (0,) * 40)

    def work(slots: int, chunks: int) -> None:
        vectors = [Digits(values[: chunks * size], 1) for _ in range(slots)]
        native.inner_products(vectors, {0: mask}, size, chunks)
        native.combine(vectors, [[P - 1] * chunks] * slots, [mask], [P - 1], size)
        shape = Shape(slots, chunks, chunks * size, 257, 256, 40)
        projection.project(shape, Weights.of(shape, Transcript(bytes(32))), vectors, masks)

    few, many = peak(lambda: work(2, 2)), peak(lambda: work(4, 8))
    assert many < 1.2 * few and many < 14 << 20 < 8 * 4 * 8 * size, (few, many)  # bytes of all values as float64
