"""The projection argument's libraries: against vectors made without zkmarket, and against what they stand for.

What V is at a point is computed here from all cells of V (dense.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from tests.contracts.dense import SUMS, Case, at_point, bits_of, dense, equality
from tests.contracts.harness import (
    EDGES,
    VECTORS,
    Harness,
    Refused,
    label,
    name_of,
    number,
    numbers,
    points_of,
    quick,
    raw,
    scalars,
    seeds,
    words_of,
)
from tests.contracts.world import point
from tests.support.tiers import examples
from zkmarket.build import ROWS, Columns, Shape
from zkmarket.crypto import P, Transcript, multiply_add
from zkmarket.round import projection

pytestmark = pytest.mark.chain

OFFSET = 1 << 110
SEED = bytes(range(32))
transcripts = pytest.mark.parametrize("vector", VECTORS["transcripts"], ids=name_of)
few = examples(12, suppress_health_check=[HealthCheck.function_scoped_fixture])


def refusal(call: Any) -> tuple[Any, ...]:
    with pytest.raises(Refused) as caught:
        call()
    return caught.value.args


# ---------------------------------------------------------------- V at a point


@transcripts
def test_v_of_the_vectors(harness: Harness, vector: dict[str, Any]) -> None:
    case = shape_of(harness, vector)
    eta, y, sigmas = number(vector["eta"]), number(vector["y"]), numbers(vector["sigma"])
    assert harness.evaluate(case, raw(vector["seed_0"]), eta, y, sigmas)[0] == number(vector["value"])


def shape_of(harness: Harness, vector: dict[str, Any]) -> tuple[int, ...]:
    """As the contract has it from a project's terms."""
    given_ = [vector[name] for name in ("slots", "chunks", "params", "logrows", "rows")]
    shape = harness.shapeOf(*given_)
    assert shape[1:4] == (vector["chunks"], vector["blocks"], len(vector["rounds"]))
    assert shape[5:] == (vector["rows"] - 1, vector["width"])
    return shape


SHAPES = {
    "one block": Case(1, 1, 500, 33, 16),
    "one column": Case(1, 1, 530, 530, 1),
    "one row": Case(2, 1, 530, 1, 540),
    "no padding": Case(2, 2, 600, 60, 10),
    "one value in the last chunk": Case(3, 2, 1, 60, 10),
    "every position taken": Case(11, 1, 500, 60, 10),
    "straight code at its longest": Case(9, 6, 100, 64, 128),
    "one window of blocks more": Case(55, 1, 100, 64, 128),
    "one row more": Case(9, 1, 100, 65, 128),
    "one column more": Case(9, 1, 100, 64, 129),
    "blocks fill a word": Case(63, 4, 100, 29, 32),
    "and one block more": Case(23, 11, 100, 29, 32),
    "and a second word": Case(101, 5, 100, 29, 32),
    "all parts longer than a word": Case(9, 29, 100, 255, 256),
}
"""Where the code takes another way, and what is read in blocks of windows, of 128 bits and less, and of two words."""


@pytest.mark.parametrize("name", SHAPES)
def test_v_is_the_sum_of_all_cells(harness: Harness, name: str) -> None:
    case, eta, y = SHAPES[name], 3**100 % P, 5**90 % P
    sigmas = [pow(7, 60 + k, P) for k in range(case.rounds)]
    want = at_point(dense(case, SEED, eta, sigmas), y)
    assert harness.evaluate(case.words, SEED, eta, y, sigmas)[0] == want


@few
@given(st.data())
def test_v_of_any_shape(harness: Harness, data: Any) -> None:
    slots, chunks = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12))
    height, width = data.draw(st.integers(1, 140)), data.draw(st.integers(1, 140))
    rounds = Case(slots, chunks, 1, 1, 1).rounds
    height += max(0, -(-(SUMS + 1 + rounds) // width) - height)  # room for the masks' own cells
    case = Case(slots, chunks, data.draw(st.integers(1, height * width)), height, width)
    seed, eta, y = data.draw(seeds), data.draw(scalars), data.draw(scalars)
    if eta * y % P == 1:
        return
    sigmas = data.draw(st.lists(scalars, min_size=rounds, max_size=rounds))
    assert harness.evaluate(case.words, seed, eta, y, sigmas)[0] == at_point(dense(case, seed, eta, sigmas), y)


@pytest.mark.parametrize("logrows", ROWS)
def test_v_of_every_k_is_the_engine_s(harness: Harness, logrows: int) -> None:
    columns = Columns(logrows)
    params = 2 * columns.values + 77
    shape = Shape(5, 3, params, columns.rows, columns.width)
    sigmas = [pow(11, 70 + k, P) for k in range(shape.rounds)]
    eta, y = 13**80 % P, 17**80 % P
    want = projection.evaluate(shape, projection.Weights.of(shape, Transcript(SEED)), sigmas, eta, y)
    words = harness.shapeOf(5, 3, params, logrows, columns.rows)
    assert harness.evaluate(words, SEED, eta, y, sigmas)[0] == want


def test_v_where_the_geometric_sums_are_none(harness: Harness) -> None:
    """η·y = 1: nobody meets it by chance."""
    case, eta = SHAPES["one block"], 12345
    y = pow(eta, -1, P)
    assert refusal(lambda: harness.evaluate(case.words, SEED, eta, y, [5, 6])) == ("NoGeometricSum", eta, y)
    for other in (0, 1, y + 1):
        want = at_point(dense(case, SEED, eta, [5, 6]), other)
        assert harness.evaluate(case.words, SEED, eta, other, [5, 6])[0] == want


# ---------------------------------------------------------------- rows


def rows_of(seed: bytes, eta: int, parts: Sequence[list[int]]) -> int:
    total = 0
    for row in range(1, SUMS + 1):
        term = pow(eta, row, P)
        for bits, weights in zip(bits_of(seed, row, [len(part) for part in parts]), parts, strict=True):
            term = term * sum(bit * weight for bit, weight in zip(bits, weights, strict=True)) % P
        total += term
    return total % P


def check_rows(harness: Harness, seed: bytes, eta: int, s: list[int], a: int, height: int, b: int, width: int) -> None:
    """By the definition; a and b are bases of powers."""
    powers = [[pow(base, k, P) for k in range(count)] for base, count in ((a, height), (b, width))]
    given_ = [*s, *[0] * (-len(s) % 24)], len(s), a, height, b, width
    assert harness.rows(seed, eta, given_)[0] == rows_of(seed, eta, [s, *powers])


SIZES = [
    (1, 1, 1),
    (8, 61, 128),
    (9, 64, 128),
    (54, 64, 128),
    (12, 60, 66),
    (132, 28, 32),  # at a small K many blocks are in one word: the last number that the straight code takes
    (133, 28, 32),
    (186, 28, 32),
    (156, 29, 64),
    (60, 64, 128),
    (1, 65, 1),
    (1, 1, 129),
    (130, 61, 128),
    (252, 65, 127),
    (258, 258, 516),
]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("weight", [P - 1, P - 2, 0])
def test_sums_at_the_edge_of_a_word(harness: Harness, sizes: tuple[int, int, int], weight: int) -> None:
    """Weights and powers of −1: sums that are not reduced are as large as they get."""
    blocks, height, width = sizes
    check_rows(harness, SEED, P - 1, [weight] * blocks, weight, height, weight, width)


@few
@given(st.sampled_from(sorted(ROWS)), st.data())
def test_sums_of_any_number_of_blocks_in_a_word(harness: Harness, logrows: int, data: Any) -> None:
    """Every K that a word holds a row of, and as many blocks as the word has room for."""
    columns = Columns(logrows)
    height, width = columns.rows - 1, columns.width
    room = 42 - -(-height // 6) - -(-width // 6)
    blocks = data.draw(st.integers(1, 6 * room if room > 0 else 300))
    s = [data.draw(st.sampled_from([1, P - 1]))] * blocks
    check_rows(harness, SEED, data.draw(scalars), s, data.draw(scalars), height, data.draw(scalars), width)


@few
@given(st.data())
def test_sums_of_any_weights(harness: Harness, data: Any) -> None:
    def size() -> int:
        return data.draw(st.one_of(st.integers(1, 72), st.integers(1, 300)))

    s = [data.draw(scalars) for _ in range(size())]
    seed, eta, a, b = data.draw(seeds), data.draw(scalars), data.draw(scalars), data.draw(scalars)
    check_rows(harness, seed, eta, s, a, size(), b, size())


@transcripts
def test_bits_of_the_vectors(vector: dict[str, Any]) -> None:
    """The definition above is the vectors'."""
    sizes = vector["blocks"], vector["rows"] - 1, vector["width"]
    for row, want in vector["bits"].items():
        have = bits_of(raw(vector["seed_0"]), int(row), sizes)
        assert ["".join(map(str, part)) for part in have] == want


# ---------------------------------------------------------------- first claim


@transcripts
def test_first_claims_of_the_vectors(harness: Harness, vector: dict[str, Any]) -> None:
    given_ = raw(vector["z"]), number(vector["t0"]), number(vector["eta"])
    assert harness.firstClaim(*given_) == number(vector["first_claim"])


def packed(rows: list[int]) -> bytes:
    return b"".join(row.to_bytes(14, "big") for row in rows)


@quick
@given(st.data())
def test_the_first_claim_is_a_sum(harness: Harness, data: Any) -> None:
    edges = st.sampled_from([1, 2, OFFSET - 1, OFFSET, OFFSET + 1, 2 * OFFSET - 2, 2 * OFFSET - 1])
    few_rows = data.draw(st.lists(st.one_of(edges, st.integers(1, 2 * OFFSET - 1)), min_size=8, max_size=8))
    rows, t0, eta = few_rows * 65, data.draw(scalars), data.draw(scalars)
    want = (t0 + sum(pow(eta, j, P) * (row - OFFSET) for j, row in enumerate(rows, start=1))) % P
    assert harness.firstClaim(packed(rows), t0, eta) == want


@pytest.mark.parametrize("length", [0, 1, 14 * 519, 14 * 520 - 1, 14 * 520 + 1, 14 * 521])
def test_z_has_520_rows(harness: Harness, length: int) -> None:
    z = packed([5] * 521)[:length]
    want = ("WrongLength", label("z"), length, 14 * 520)
    assert refusal(lambda: harness.firstClaim(z, 0, 1)) == want


@pytest.mark.parametrize("row", [0, 1, 259, 518, 519])
@pytest.mark.parametrize("value", [0, 2 * OFFSET, 2 * OFFSET + 1, 4 * OFFSET - 1], ids=["low", "high", "+1", "most"])
def test_a_row_out_of_range(harness: Harness, row: int, value: int) -> None:
    """−2^110, 2^110 and beyond; the twins inside are in the test above."""
    rows = [1] * 520
    rows[row] = value
    want = ("OutOfBounds", label("z"), value, 1, 2 * OFFSET - 1)
    assert refusal(lambda: harness.firstClaim(packed(rows), 0, 7)) == want


def test_the_first_row_out_of_range_is_named(harness: Harness) -> None:
    rows = [1] * 100 + [0] + [2 * OFFSET] * 419
    assert refusal(lambda: harness.firstClaim(packed(rows), 0, 7))[2] == 0


# ---------------------------------------------------------------- sumcheck


@transcripts
def test_rounds_of_the_vectors(harness: Harness, vector: dict[str, Any]) -> None:
    seed = raw([vector["seed"], *vector["fold_seeds"]][-1])
    messages = [number(value) for pair in vector["rounds"] for value in pair]
    want = numbers(vector["sigma"]), number(vector["last_claim"]), raw(vector["round_seeds"][-1])
    assert harness.rounds(vector["blocks"]) == len(vector["rounds"])
    assert harness.checkRounds(seed, messages, number(vector["first_claim"]), len(vector["rounds"])) == want


@quick
@given(scalars, scalars, scalars, scalars)
def test_the_next_claim_is_the_engine_s(harness: Harness, claim: int, g0: int, x: int, sigma: int) -> None:
    assert harness.nextRound(claim, g0, x, sigma) == projection.next_claim(claim, g0, x, sigma)


@pytest.mark.parametrize("mu", [1, 2, 5])
def test_rounds_are_as_many_as_the_blocks_need(harness: Harness, mu: int) -> None:
    assert len(harness.checkRounds(SEED, [1] * (2 * mu), 1, mu)[0]) == mu
    for have in {0, 2 * mu - 2, 2 * mu - 1, 2 * mu + 1, 2 * mu + 2}:
        want = ("WrongLength", label("rounds"), have, 2 * mu)
        assert refusal(lambda have=have: harness.checkRounds(SEED, [1] * have, 1, mu)) == want


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("value", [P, P + 1, 2**256 - 1])
def test_messages_are_canonical(harness: Harness, place: int, value: int) -> None:
    messages = [P - 1] * 4
    harness.checkRounds(SEED, messages, 1, 2)
    messages[place] = value
    assert refusal(lambda: harness.checkRounds(SEED, messages, 1, 2)) == ("ScalarNotCanonical", value)


@pytest.mark.parametrize("blocks", [1, 2, 4, 5, 11, 12, 26, 27, 57, 58, 120, 502, 1013, 1014])
def test_positions(harness: Harness, blocks: int) -> None:
    """Every block weighs what its position says, and the list is filled up with zeros."""
    case = Case(blocks, 1, 1, 1, 1)
    assert harness.rounds(blocks) == case.rounds
    sigmas = [pow(19, 60 + k, P) for k in range(case.rounds)]
    data, masks = harness.equalities(sigmas, blocks)
    assert list(masks) == [equality(at, sigmas) for at in case.masks]
    assert list(data[:blocks]) == [equality(at, sigmas) for at in case.data]
    assert len(data) == -(-blocks // 24) * 24 and not any(data[blocks:])


@quick
@given(st.integers(1, 60), st.data())
def test_equalities_of_any_challenges(harness: Harness, blocks: int, data: Any) -> None:
    case = Case(blocks, 1, 1, 1, 1)
    sigmas = data.draw(st.lists(scalars, min_size=case.rounds, max_size=case.rounds))
    found, masks = harness.equalities(sigmas, blocks)
    assert list(masks) == [equality(at, sigmas) for at in case.masks]
    assert list(found[:blocks]) == [equality(at, sigmas) for at in case.data]


# ---------------------------------------------------------------- the columns' commitment


@transcripts
def test_combinations_of_the_vectors(harness: Harness, vector: dict[str, Any]) -> None:
    coefficients = tuple(numbers(vector[name]) for name in ("r", "factors", "data_weights", "mask_weights"))
    given_, tau = (*coefficients, vector["blocks"]), number(vector["tau"])
    assert harness.together(given_, tau) == numbers(vector["coefficients"])
    points, blinding = words_of([*points_of(vector), vector["gram"]]), tuple(words_of([vector["blinding"]]))
    assert harness.combination(given_, points, tau, blinding) == tuple(words_of([vector["combination"]]))


@quick
@given(st.data())
def test_combinations_of_any_coefficients(harness: Harness, data: Any) -> None:
    """Also at the edges of the field, and with an aggregate that has no data blocks."""
    chunks, slots = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 4))
    blocks = data.draw(st.sampled_from([slots * chunks, (slots - 1) * chunks or chunks]))
    case = Case(blocks, 1, 1, 1, 1)

    def some(n: int) -> list[int]:
        return data.draw(st.lists(scalars, min_size=n, max_size=n))

    r, products, masks, tau = some(slots + 1), some(chunks), some(case.rounds + 1), data.draw(scalars)
    weights = some(blocks)
    masked = [c for c in range(chunks) if c & (c - 1) == 0]
    gram = [r[slot] * k for slot in range(1, slots + 1) for k in products] + [r[0] * products[c] for c in masked]
    other = [*weights, *[0] * (len(gram) - blocks), *masks]
    ks = [(k + tau * eq) % P for k, eq in zip([*gram, *[0] * len(masks)], other, strict=True)]
    padded = [*weights, *[0] * (-blocks % 24)]
    given_ = r, products, padded, masks, blocks
    assert list(harness.together(given_, tau)) == ks
    points = [point(data.draw(st.integers(0, 3))) for _ in ks]
    want = multiply_add([*points, point(9)], [*ks, 1 + tau - sum(ks)])
    assert harness.combination(given_, [c for p in points for c in p], tau, point(9)) == want


@pytest.mark.parametrize("tau", EDGES)
def test_a_commitment_off_the_curve(harness: Harness, tau: int) -> None:
    """Even where it counts for nothing: that is asked of every point in calldata apart from this, too."""
    given_ = [0, 0], [1], [0], [0, 0], 1
    points = [*point(1), *point(2), *point(3), *point(4)]
    assert harness.combination(given_, points, tau, point(9)) == multiply_add([point(9)], [1 + tau])
    assert refusal(lambda: harness.combination(given_, [1, 3, *points[2:]], tau, point(9)))[0] == "PointNotOnCurve"


def test_fewer_points_than_coefficients(harness: Harness) -> None:
    given_ = [0, 0], [1], [0], [0, 0], 1
    points = [*point(1), *point(2), *point(3), *point(4)]
    want = ("TooFewPoints", 7, 8)
    assert refusal(lambda: harness.combination(given_, points[:-1], 1, point(9))) == want
