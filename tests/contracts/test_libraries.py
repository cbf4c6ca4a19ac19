"""The libraries of contracts/lib by themselves: word for word what the engine computes, and by others' tools.

Points against py_ecc, the transcript against tests/vectors (made without zkmarket), the folding against
zkmarket/round/gram.py and zkmarket/round/proof.py, which the provers use.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from py_ecc.optimized_bn128 import FQ, G1, Z1, multiply, neg, normalize
from py_ecc.optimized_bn128 import add as py_ecc_add

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
from tests.contracts.world import CID, Scene, point
from zkmarket.crypto import GENERATOR, INFINITY, P, Point, Q, Transcript, digest_words, multiply_add
from zkmarket.round import Commitment, RoundId, aggregate_points, gram
from zkmarket.rules import next_beta

pytestmark = pytest.mark.chain

SEED = bytes(range(32))
words = st.integers(0, 2**256 - 1)


def times(k: int) -> Point:
    """k·G by py_ecc."""
    return affine(multiply(G1, k % P))


def affine(p: Any) -> Point:
    if p[2] == FQ.zero():
        return INFINITY
    x, y = normalize(p)
    return int(x), int(y)


def lifted(p: Point) -> Any:
    return Z1 if p == INFINITY else (FQ(p[0]), FQ(p[1]), FQ.one())


def negated(p: Point) -> Point:
    return p[0], -p[1] % Q


# ---------------------------------------------------------------- Bn254: the curve

NOT_POINTS = {
    "infinity": (0, 0),
    "off the curve": (1, 3),
    "x is q": (Q, 2),
    "x + q": (1 + Q, 2),
    "y + q": (1, 2 + Q),
    "x is 2^256 - 1": (2**256 - 1, 2),
    "y is 2^256 - 1": (1, 2**256 - 1),
    "x and y swapped": (2, 1),
    "x is 0": (0, 1),
    "y is 0": (1, 0),
}
"""None of them is on the curve. y = 0 never is: the group has odd order, so no point of order two."""


@pytest.mark.parametrize("name", NOT_POINTS)
def test_what_is_not_on_the_curve(harness: Harness, name: str) -> None:
    assert not harness.isOnCurve(*NOT_POINTS[name])
    assert harness.isOnCurve(*GENERATOR) and harness.isOnCurve(*negated(GENERATOR))


@pytest.mark.parametrize("name", NOT_POINTS)
@pytest.mark.parametrize("place", [0, 1, 4])
def test_one_of_many_points_is_not_on_the_curve(harness: Harness, name: str, place: int) -> None:
    points = [*GENERATOR] * 5
    harness.checkAll(points)
    points[2 * place : 2 * place + 2] = NOT_POINTS[name]
    with pytest.raises(Refused) as caught:
        harness.checkAll([*points, 0, 0])  # the first is named
    assert caught.value.args == ("PointNotOnCurve", *NOT_POINTS[name])


@quick
@given(st.integers(1, P - 1))
def test_multiples_of_the_generator_are_on_the_curve(harness: Harness, k: int) -> None:
    x, y = times(k)
    assert harness.isOnCurve(x, y) and harness.isOnCurve(x, Q - y)
    assert not harness.isOnCurve(x, (y + 1) % Q) and not harness.isOnCurve(x + Q, y) and not harness.isOnCurve(x, y + Q)


@pytest.mark.parametrize("name", sorted(set(NOT_POINTS) - {"infinity"}))
def test_sums_refuse_what_is_not_on_the_curve(harness: Harness, name: str) -> None:
    wrong = NOT_POINTS[name]
    for call in (
        lambda: harness.add(GENERATOR, *wrong),
        lambda: harness.mulAdd(GENERATOR, *wrong, 5),
        lambda: harness.mulAdd(GENERATOR, *wrong, 0),  # also where the coefficient is nothing
        lambda: harness.mulAdd(INFINITY, *wrong, P - 1),
    ):
        with pytest.raises(Refused) as caught:
            call()
        assert caught.value.args[0] == "PointNotOnCurve"
    for call in (lambda: harness.add(wrong, *GENERATOR), lambda: harness.mulAdd(wrong, *GENERATOR, 5)):
        with pytest.raises(Refused, match="PointNotOnCurve"):
            call()


def test_infinity_is_nothing_in_a_sum(harness: Harness) -> None:
    """As the precompiles have it. That points of a proof are none is checked apart, in Proofs."""
    a = times(77)
    assert harness.add(a, *INFINITY) == a == harness.add(INFINITY, *a)
    assert harness.add(INFINITY, *INFINITY) == INFINITY
    assert harness.mulAdd(a, *INFINITY, P - 1) == a
    assert harness.mulAdd(INFINITY, *INFINITY, 3) == INFINITY


@quick
@given(scalars, scalars)
def test_add_is_that_of_py_ecc(harness: Harness, j: int, k: int) -> None:
    a, b = times(j), times(k)
    assert harness.add(a, *b) == affine(py_ecc_add(lifted(a), lifted(b))) == times(j + k)


def test_add_doubles_and_cancels(harness: Harness) -> None:
    a = times(123456789)
    assert harness.add(a, *a) == times(2 * 123456789)
    assert harness.add(a, *negated(a)) == INFINITY == affine(py_ecc_add(lifted(a), neg(lifted(a))))


@quick
@given(scalars, scalars, scalars)
def test_mul_add_is_that_of_py_ecc(harness: Harness, start: int, base: int, k: int) -> None:
    s, b = times(start), times(base)
    assert harness.mulAdd(s, *b, k) == times(start + base * k) == multiply_add([s, b], [1, k])


@pytest.mark.parametrize("k", EDGES)
def test_mul_add_at_the_edges_of_the_field(harness: Harness, k: int) -> None:
    s, b = times(3), times(5)
    assert harness.mulAdd(s, *b, k) == times(3 + 5 * k)
    assert harness.mulAdd(negated(b), *b, 1) == INFINITY
    assert harness.mulAdd(b, *b, P - 1) == INFINITY


@pytest.mark.parametrize("k", [P, P + 1, 2 * P, 2**255, 2**256 - 1])
def test_mul_add_refuses_scalars_from_p(harness: Harness, k: int) -> None:
    """The precompile would take them: one coefficient would have several encodings."""
    with pytest.raises(Refused) as caught:
        harness.mulAdd(GENERATOR, *GENERATOR, k)
    assert caught.value.args == ("ScalarNotCanonical", k)


@quick
@given(st.lists(st.tuples(scalars, scalars), max_size=12))
def test_a_running_sum_uses_its_scratch_again(harness: Harness, pairs: list[tuple[int, int]]) -> None:
    points, ks = [times(j) for j, _ in pairs], [k for _, k in pairs]
    flat = [c for p in points for c in p]
    assert harness.multiplyAdd(flat, ks) == multiply_add(points, ks) == times(sum(j * k for j, k in pairs))


# ---------------------------------------------------------------- Transcript


@pytest.mark.parametrize("vector", VECTORS["words"], ids=lambda v: ",".join(v["given"])[:20] or "none")
def test_digests_of_words(harness: Harness, vector: dict[str, Any]) -> None:
    assert harness.digest([number(w) for w in vector["words"]]) == raw(vector["digest"])


@pytest.mark.parametrize("vector", VECTORS["round_contexts"], ids=["on chain", "off chain"])
def test_digests_of_manifests_and_contexts(harness: Harness, vector: dict[str, Any]) -> None:
    assert harness.digest([number(w) for w in vector["manifest_words"]]) == raw(vector["manifest_digest"])
    assert harness.digest([number(w) for w in vector["context_words"]]) == raw(vector["context"])


@pytest.mark.parametrize("vector", VECTORS["transcripts"], ids=name_of)
def test_transcripts(harness: Harness, vector: dict[str, Any]) -> None:
    """Every seed and every challenge, step by step."""
    seed = harness.start(raw(vector["context"]), words_of([*points_of(vector), vector["gram"]]))
    assert seed == raw(vector["seed_0"])
    assert harness.slotChallenges(seed, len(vector["r"]) - 1) == numbers(vector["r"])
    seed = harness.absorbRows(seed, number(vector["q"]), number(vector["t0"]), raw(vector["z"]))
    assert seed == raw(vector["seed"])
    assert harness.point(seed, label("eta"), 0) == number(vector["eta"])
    for step, (claims, after) in enumerate(zip(vector["claims"], vector["fold_seeds"], strict=True)):
        seed = harness.absorb(seed, *numbers(claims))
        assert seed == raw(after)
        assert harness.challenge(seed, label("rho"), step) == number(vector["rho"][step])
    for step, (messages, after) in enumerate(zip(vector["rounds"], vector["round_seeds"], strict=True)):
        seed = harness.absorb(seed, *numbers(messages))
        assert seed == raw(after)
        assert harness.point(seed, label("sigma"), step) == number(vector["sigma"][step])
    seed = harness.absorbPoints(seed, b"".join(map(raw, vector["committed"])))
    assert seed == raw(vector["last_seed"])
    assert harness.point(seed, label("tau"), 0) == number(vector["tau"])
    assert harness.point(seed, label("y"), 0) == number(vector["y"])


@pytest.mark.parametrize("value", [P, P + 1, 2**256 - 1])
def test_absorb_refuses_what_is_not_canonical(harness: Harness, value: int) -> None:
    for call in (
        lambda: harness.absorb(SEED, value, 0),
        lambda: harness.absorb(SEED, 0, value),
        lambda: harness.absorbRows(SEED, value, 0, b""),
        lambda: harness.absorbRows(SEED, 0, value, b""),
        lambda: harness.fold(SEED, 0, [value, 0], 2),
        lambda: harness.fold(SEED, 0, [0, value], 2),
        lambda: harness.fold(SEED, 0, [0, 0, 0, value], 3),
    ):
        with pytest.raises(Refused) as caught:
            call()
        assert caught.value.args == ("ScalarNotCanonical", value)
    assert harness.absorb(SEED, P - 1, P - 1)


@quick
@given(seeds, scalars, scalars, words, st.binary(max_size=80))
def test_absorbing_and_drawing_are_the_engine_s(
    harness: Harness, seed: bytes, a: int, x: int, index: int, data: bytes
) -> None:
    transcript = Transcript(seed)
    assert harness.challenge(seed, label("rho"), index) == transcript.short_challenge("rho", index)
    assert harness.point(seed, label("sigma"), index) == transcript.challenge("sigma", index)
    transcript.absorb_projection(a, x, data)
    now = harness.absorbRows(seed, a, x, data)
    assert now == transcript.seed
    transcript.absorb(a, x)
    now = harness.absorb(now, a, x)
    assert now == transcript.seed
    transcript.absorb_points([data, data])
    assert harness.absorbPoints(now, data + data) == transcript.seed


@quick
@given(st.lists(words, max_size=8))
def test_digests_are_the_engine_s(harness: Harness, values: list[int]) -> None:
    assert harness.digest(values) == digest_words(values)


# ---------------------------------------------------------------- FoldedGram


def products_of(chunks: int, rhos: Sequence[int]) -> list[int]:
    """From the definition: fold t multiplies the upper half of the chunks that are still there by ρ_t."""
    out = [1] * chunks
    where = list(range(chunks))  # position of each chunk in the fold
    for half, rho in zip(gram.halves(chunks), rhos, strict=True):
        for chunk in range(chunks):
            if where[chunk] >= half:
                where[chunk] -= half
                out[chunk] = out[chunk] * rho % P
    return out


def folded(seed: bytes, q: int, folds: Sequence[int], chunks: int) -> tuple[int, tuple[int, ...], bytes]:
    """What the engine's verifier computes: last claim, the chunks' factors, and the seed at its end."""
    transcript = Transcript(seed)
    claims = tuple(zip(folds[::2], folds[1::2], strict=True))
    rhos = []
    for step, message in enumerate(claims):
        transcript.absorb(*message)
        rhos.append(transcript.short_challenge("rho", step))
    claim = gram.check_folds(claims, q, chunks, rhos)
    assert gram.chunk_factors(chunks, rhos) == products_of(chunks, rhos)
    return claim, tuple(products_of(chunks, rhos)), transcript.seed


@pytest.mark.parametrize("vector", VECTORS["transcripts"], ids=name_of)
def test_folds_of_the_vectors(harness: Harness, vector: dict[str, Any]) -> None:
    folds = [number(value) for claims in vector["claims"] for value in claims]
    end = raw([vector["seed"], *vector["fold_seeds"]][-1])
    want = number(vector["folded"]), numbers(vector["factors"]), end
    assert harness.fold(raw(vector["seed"]), number(vector["q"]), folds, vector["chunks"]) == want


CHUNKS = [1, 2, 3, 4, 5, 6, 7, 8, 13]


@pytest.mark.parametrize("chunks", CHUNKS)
def test_folds_of_the_edges(harness: Harness, chunks: int) -> None:
    steps = len(gram.halves(chunks))
    for q in (0, 1, P - 1):
        folds = [P - 1, 0, 0, P - 1, P - 1, P - 1, 1, 1][: 2 * steps]
        assert harness.fold(SEED, q, folds, chunks) == folded(SEED, q, folds, chunks)


@quick
@given(st.data())
def test_folds_are_the_engine_s(harness: Harness, data: Any) -> None:
    chunks = data.draw(st.one_of(st.sampled_from(CHUNKS), st.integers(1, 70)))
    steps = len(gram.halves(chunks))
    seed, q = data.draw(seeds), data.draw(scalars)
    folds = data.draw(st.lists(scalars, min_size=2 * steps, max_size=2 * steps))
    assert harness.fold(seed, q, folds, chunks) == folded(seed, q, folds, chunks)


@pytest.mark.parametrize("chunks", CHUNKS)
def test_folds_are_as_many_as_the_chunks_need(harness: Harness, chunks: int) -> None:
    want = 2 * len(gram.halves(chunks))
    for have in {0, want - 2, want - 1, want + 1, want + 2} - {want, -1, -2}:
        with pytest.raises(Refused) as caught:
            harness.fold(SEED, 1, [1] * have, chunks)
        assert caught.value.args == ("WrongLength", b"folds".ljust(32, b"\0"), have, want)


@quick
@given(scalars, scalars, scalars, st.integers(0, 2**128 - 1))
def test_the_next_claim_is_the_engine_s(harness: Harness, claim: int, a: int, x: int, rho: int) -> None:
    assert harness.nextClaim(claim, a, x, rho) == gram.next_claim(claim, a, x, rho)


def slots_of(n: int, chunks: int) -> tuple[list[list[Point]], list[int]]:
    """Points of slots 1..N, and as words with others behind them."""
    updates = [[point(n, slot, chunk) for chunk in range(chunks)] for slot in range(n)]
    everything = [p for slot in updates for p in slot] + [point(n, 1000 + at) for at in range(4)]
    return updates, [c for p in everything for c in p]


def manifest(chunks: int, blinding: Point) -> Any:
    return SimpleNamespace(chunks=chunks, blinding=blinding, min_accepted=1)


@quick
@given(st.integers(1, 8), st.sampled_from(CHUNKS), st.data())
def test_the_aggregate_s_commitment_is_the_engine_s(harness: Harness, n: int, chunks: int, data: Any) -> None:
    updates, flat_points = slots_of(n, chunks)
    mask = data.draw(st.lists(st.integers(0, 1), min_size=n, max_size=n).filter(any))
    commitments = [Commitment(RoundId(), slot, tuple(points)) for slot, points in enumerate(updates)]
    want = aggregate_points(manifest(chunks, point(0)), commitments, mask)
    bits = sum(bit << slot for slot, bit in enumerate(mask))
    assert harness.popcount(bits) == sum(mask)
    got = harness.aggregate(flat_points, bits, sum(mask), chunks, point(0))
    assert got == tuple(c for p in want for c in p)


def test_an_aggregate_of_one_is_that_one(harness: Harness) -> None:
    updates, flat_points = slots_of(3, 2)
    assert harness.aggregate(flat_points, 0b010, 1, 2, point(0)) == tuple(c for p in updates[1] for c in p)


@quick
@given(words)
def test_popcount(harness: Harness, bits: int) -> None:
    assert harness.popcount(bits) == bits.bit_count()


# ---------------------------------------------------------------- next β


NEXT = [
    # kappa, beta, beta_min, beta_max, nu
    (2000, 10**6, 1500, 10**9, 400_000),  # inside
    (2000, 10**6, 1500, 10**9, 0),  # half
    (2000, 10**6, 900_000, 10**9, 0),  # least
    (2000, 10**6, 1500, 10**9, 10**9),  # double
    (2000, 10**6, 1500, 1_200_000, 10**9),  # most
    (2000, 10**6, 10**6, 10**6, 10**9),  # fixed
    (1, 10**6, 1500, 10**9, 700_000_999),  # floor of thousandths
    (1999, 1_000_001, 1500, 10**9, 333_333),
    (1, 3001, 1500, 10**9, 0),  # half of an odd bound
    (2**32 - 1, 1500 << 35, 1500, 1500 << 36, 2**64 - 1),  # the largest of everything: D·Q² of 19 bits a value
    (2**32 - 1, 1500 << 36, 1500, 1500 << 36, 2**64 - 1),
]


@pytest.mark.parametrize("kappa, beta, least, most, nu", NEXT)
def test_the_next_norm_bound_is_the_engine_s(
    scene: Scene, kappa: int, beta: int, least: int, most: int, nu: int
) -> None:
    scene.open(kappa=kappa, beta=beta, betaMin=least, betaMax=most, valueBits=19).to_prove(scene.trainers[:3])
    settled = scene.settle(nu=nu).event("Settled").arguments["settlement"]
    want = next_beta(beta, nu, kappa, least, most)
    assert settled["beta"] == want == scene.project.state().beta
    assert settled["cid"] == CID
