"""The libraries of contracts/lib by themselves: word for word what the engine computes, and by others' tools.

Points against py_ecc, the transcript against tests/vectors (made without zkmarket), the folding against
zkmarket/gram.py and zkmarket/round.py, which the provers use.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from eth_abi import decode, encode
from eth_hash.auto import keccak
from eth_utils.abi import abi_to_signature, collapse_if_tuple
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from py_ecc.optimized_bn128 import FQ, G1, Z1, multiply, neg, normalize
from py_ecc.optimized_bn128 import add as py_ecc_add

from tests.contracts.test_chain import write_project
from tests.contracts.world import CID, Scene, point
from zkmarket import gram, market
from zkmarket.commitment import Commitment, RoundId
from zkmarket.field import GENERATOR, INFINITY, P, Point, Q, multiply_add
from zkmarket.market import Chain
from zkmarket.round import aggregate_points
from zkmarket.rules import next_beta
from zkmarket.transcript import Transcript, chunk_tag, digest_words

pytestmark = pytest.mark.chain

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "transcript.json").read_text())
SEED = bytes(range(32))
EDGES = [0, 1, 2, P - 2, P - 1]

quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
scalars = st.one_of(st.sampled_from(EDGES), st.integers(0, P - 1))
words = st.integers(0, 2**256 - 1)
seeds = st.binary(min_size=32, max_size=32)


class Harness:
    """``harness.fold(seed, q, folds, chunks)``: one eth_call, its value, or `Refused` with the error's words."""

    def __init__(self, chain: Chain, contract: Any, abi: list[dict[str, Any]]):
        self.chain, self.address = chain, contract.address
        self.functions = {item["name"]: item for item in abi if item["type"] == "function"}
        self.errors = {selector(item): item for item in abi if item["type"] == "error"}

    def __getattr__(self, name: str) -> Any:
        if name not in self.functions:
            raise AttributeError(name)
        item = self.functions[name]
        inputs = [collapse_if_tuple(part) for part in item["inputs"]]
        outputs = [collapse_if_tuple(part) for part in item["outputs"]]

        def call(*arguments: Any) -> Any:
            data = selector(item) + encode(inputs, arguments)
            request = {"to": self.address, "data": "0x" + data.hex(), "gas": hex(25_000_000)}
            answer = self.chain.web3.provider.make_request("eth_call", [request, "latest"])
            if "error" in answer:
                raise self.refused(bytes.fromhex(answer["error"].get("data", "0x")[2:]))
            values = decode(outputs, bytes.fromhex(answer["result"][2:]))
            return values[0] if len(values) == 1 else values

        return call

    def refused(self, data: bytes) -> Refused:
        item = self.errors.get(data[:4])
        if item is None:
            return Refused("0x" + data.hex())
        return Refused(item["name"], *decode([collapse_if_tuple(part) for part in item["inputs"]], data[4:]))


class Refused(Exception):
    """A custom error: its name, then its arguments."""


def selector(item: dict[str, Any]) -> bytes:
    return keccak(abi_to_signature(item).encode())[:4]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Harness.sol beside a copy of contracts/lib."""
    folder = write_project(tmp_path_factory.mktemp("projects") / "harness")
    ours = market.ROOT / "contracts"
    for name in ("lib", "interfaces"):
        shutil.copytree(ours / name, folder / "contracts" / name)
    for name in ("MarketErrors.sol", "Types.sol"):
        shutil.copy(ours / name, folder / "contracts")
    shutil.copy(Path(__file__).parent / "sol" / "Harness.sol", folder / "contracts")
    return market.compile_contracts(folder)


@pytest.fixture(scope="module")
def harness(node: Chain, compiled: Any) -> Iterator[Harness]:
    contract = node.deploy(compiled["Harness"], node.accounts[0])
    return Harness(node, contract, [*compiled["Harness"].abi, *library_errors(compiled)])


def library_errors(compiled: Any) -> list[dict[str, Any]]:
    names = ("Bn254", "MarketErrors")
    return [item for name in names for item in compiled[name].abi if item["type"] == "error"]


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


def number(text: str) -> int:
    return int(text, 16)


def raw(text: str) -> bytes:
    return bytes.fromhex(text[2:])


def flat(texts: Sequence[str]) -> list[int]:
    """Points of the vectors as words."""
    return [int(text[2 + 64 * half : 66 + 64 * half], 16) for text in texts for half in (0, 1)]


@pytest.mark.parametrize("vector", VECTORS["words"], ids=lambda v: ",".join(v["given"])[:20] or "none")
def test_digests_of_words(harness: Harness, vector: dict[str, Any]) -> None:
    assert harness.digest([number(w) for w in vector["words"]]) == raw(vector["digest"])


@pytest.mark.parametrize("vector", VECTORS["round_contexts"], ids=["on chain", "off chain"])
def test_digests_of_manifests_and_contexts(harness: Harness, vector: dict[str, Any]) -> None:
    assert harness.digest([number(w) for w in vector["manifest_words"]]) == raw(vector["manifest_digest"])
    assert harness.digest([number(w) for w in vector["context_words"]]) == raw(vector["context"])


@pytest.mark.parametrize(
    "vector", VECTORS["transcripts"], ids=lambda v: f"N{len(v['updates'])}m{len(v['mask'])}R{len(v['references'])}"
)
def test_transcripts(harness: Harness, vector: dict[str, Any]) -> None:
    """Every seed and every challenge, first step by step and then as `fold` draws them."""
    chunks, held = len(vector["mask"]), vector["references"].values()
    slots = [*vector["updates"], *(points or [vector["blinding"]] * chunks for points in held)]
    points = flat([p for slot in slots for p in slot] + vector["mask"] + [vector["gram"]])
    seed = harness.start(raw(vector["context"]), points)
    assert seed == raw(vector["seed_0"])
    r = [number(value) for value in vector["r"]]
    assert harness.slotChallenges(seed, len(slots)) == tuple(r)
    assert [harness.challenge(seed, b"r".ljust(32, b"\0"), i) for i in range(len(r))] == r
    q, claims = number(vector["q"]), [(number(a), number(x)) for a, x in vector["claims"]]
    steps = [harness.absorbOne(seed, q)]
    for a, x in claims:
        steps.append(harness.absorbTwo(steps[-1], a, x))
    assert steps == [raw(text) for text in vector["seeds"]]
    rho = [harness.challenge(s, b"rho".ljust(32, b"\0"), t) for t, s in enumerate(steps[1:])]
    assert rho == [number(value) for value in vector["rho"]]
    _, products, end = harness.fold(seed, q, [v for claim in claims for v in claim], len(vector["mask"]))
    assert end == steps[-1]
    assert products == tuple(products_of(len(vector["mask"]), rho))


@pytest.mark.parametrize("value", [P, P + 1, 2**256 - 1])
def test_absorb_refuses_what_is_not_canonical(harness: Harness, value: int) -> None:
    for call in (
        lambda: harness.absorbOne(SEED, value),
        lambda: harness.absorbTwo(SEED, value, 0),
        lambda: harness.absorbTwo(SEED, 0, value),
        lambda: harness.fold(SEED, value, [], 1),
        lambda: harness.fold(SEED, 0, [value, 0], 2),
        lambda: harness.fold(SEED, 0, [0, value], 2),
        lambda: harness.fold(SEED, 0, [0, 0, 0, value], 3),
    ):
        with pytest.raises(Refused) as caught:
            call()
        assert caught.value.args == ("ScalarNotCanonical", value)
    assert harness.absorbOne(SEED, P - 1)


@quick
@given(seeds, scalars, scalars, words)
def test_absorbing_and_drawing_are_the_engine_s(harness: Harness, seed: bytes, a: int, x: int, index: int) -> None:
    transcript = Transcript(seed)
    transcript.absorb(a)
    assert harness.absorbOne(seed, a) == transcript.seed
    transcript.absorb(a, x)
    assert harness.absorbTwo(harness.absorbOne(seed, a), a, x) == transcript.seed
    assert harness.challenge(seed, b"rho".ljust(32, b"\0"), index) == Transcript(seed).fold_challenge(index)


@quick
@given(st.lists(words, max_size=8))
def test_digests_are_the_engine_s(harness: Harness, values: list[int]) -> None:
    assert harness.digest(values) == digest_words(values)


@quick
@given(st.integers(0, 2**160 - 1), st.integers(0, 2**53), st.integers(0, 2**32), st.integers(0, 2**160 - 1))
def test_tags_are_the_engine_s(harness: Harness, project: int, round_: int, chunk: int, trainer: int) -> None:
    tag = harness.chunkTag(f"0x{project:040x}", round_, chunk, f"0x{trainer:040x}")
    assert tag == chunk_tag(31337, project, round_, chunk, trainer) < 2**248 < P


def test_tags_of_the_vectors(harness: Harness) -> None:
    """Of this chain's id; the others differ in nothing but it."""
    (vector,) = [v for v in VECTORS["chunk_tags"] if v["chain_id"] == 31337]
    tag = harness.chunkTag(vector["project"], vector["round"], vector["chunk"], vector["trainer"])
    assert tag == number(vector["tag"])


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


def folded(seed: bytes, q: int, folds: Sequence[int]) -> tuple[int, list[int], bytes]:
    """What gram.verify computes: last claim, challenges, and the seed at its end."""
    transcript = Transcript(seed)
    transcript.absorb(q)
    claim, rhos = q, []
    for step in range(len(folds) // 2):
        a, x = folds[2 * step : 2 * step + 2]
        transcript.absorb(a, x)
        rhos.append(transcript.fold_challenge(step))
        claim = gram.next_claim(claim, a, x, rhos[-1])
    return claim, rhos, transcript.seed


CHUNKS = [1, 2, 3, 4, 5, 6, 7, 8, 13]


@pytest.mark.parametrize("chunks", CHUNKS)
def test_folds_of_the_edges(harness: Harness, chunks: int) -> None:
    steps = len(gram.halves(chunks))
    for q in (0, 1, P - 1):
        folds = [P - 1, 0, 0, P - 1, P - 1, P - 1, 1, 1][: 2 * steps]
        claim, rhos, end = folded(SEED, q, folds)
        assert harness.fold(SEED, q, folds, chunks) == (claim, tuple(products_of(chunks, rhos)), end)


@quick
@given(st.data())
def test_folds_are_the_engine_s(harness: Harness, data: Any) -> None:
    chunks = data.draw(st.one_of(st.sampled_from(CHUNKS), st.integers(1, 70)))
    steps = len(gram.halves(chunks))
    seed, q = data.draw(seeds), data.draw(scalars)
    folds = data.draw(st.lists(scalars, min_size=2 * steps, max_size=2 * steps))
    claim, rhos, end = folded(seed, q, folds)
    assert harness.fold(seed, q, folds, chunks) == (claim, tuple(products_of(chunks, rhos)), end)


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


def slots_of(n: int, chunks: int) -> tuple[list[list[Point]], list[Point], Point, list[int]]:
    """Points of slots 1..N, of the mask, C_G, and all as `points` holds them."""
    updates = [[point(n, slot, chunk) for chunk in range(chunks)] for slot in range(n)]
    mask, last = [point(n, 1000, chunk) for chunk in range(chunks)], point(n, 2000)
    everything = [p for slot in [*updates, mask, [last]] for p in slot]
    return updates, mask, last, [c for p in everything for c in p]


@pytest.mark.parametrize("chunks", CHUNKS)
@pytest.mark.parametrize("n", [1, 3])
def test_the_folded_commitment_is_the_engine_s(harness: Harness, n: int, chunks: int) -> None:
    """The mask stands last in `points` and is slot 0, with the first challenge. C_G takes no part."""
    updates, mask, _, flat_points = slots_of(n, chunks)
    r = Transcript(SEED).slot_challenges(n + 1)
    rhos = [Transcript(SEED).fold_challenge(step) for step in range(len(gram.halves(chunks)))]
    want = gram.folded_commitment([mask, *updates], r, rhos, point(0))
    assert harness.commitment(flat_points, r, products_of(chunks, rhos), point(0)) == want


@quick
@given(st.data())
def test_folded_commitments_with_any_coefficients(harness: Harness, data: Any) -> None:
    """Coefficients at the edges of the field, sums of 0 and 1, and equal points in several slots."""
    n, chunks = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    drawn = st.sampled_from([point(0), negated(point(0)), point(1), GENERATOR])
    slots = [[data.draw(drawn) for _ in range(chunks)] for _ in range(n + 1)]
    r = data.draw(st.lists(scalars, min_size=n + 1, max_size=n + 1))
    products = data.draw(st.lists(scalars, min_size=chunks, max_size=chunks))
    ks = [challenge * product % P for challenge in r for product in products]
    want = multiply_add([p for slot in slots for p in slot] + [point(0)], [*ks, 1 - sum(ks)])
    flat_points = [c for slot in [*slots[1:], slots[0]] for p in slot for c in p]
    assert harness.commitment(flat_points, r, products, point(0)) == want


def manifest(chunks: int, blinding: Point) -> Any:
    return SimpleNamespace(chunks=chunks, blinding=blinding, min_accepted=1)


@quick
@given(st.integers(1, 8), st.sampled_from(CHUNKS), st.data())
def test_the_aggregate_s_commitment_is_the_engine_s(harness: Harness, n: int, chunks: int, data: Any) -> None:
    updates, _, _, flat_points = slots_of(n, chunks)
    mask = data.draw(st.lists(st.integers(0, 1), min_size=n, max_size=n).filter(any))
    commitments = [Commitment(RoundId(), slot, tuple(points)) for slot, points in enumerate(updates)]
    want = aggregate_points(manifest(chunks, point(0)), commitments, mask)
    bits = sum(bit << slot for slot, bit in enumerate(mask))
    assert harness.popcount(bits) == sum(mask)
    got = harness.aggregate(flat_points, bits, sum(mask), chunks, point(0))
    assert got == tuple(c for p in want for c in p)


def test_an_aggregate_of_one_is_that_one(harness: Harness) -> None:
    updates, _, _, flat_points = slots_of(3, 2)
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
    want = next_beta(beta, nu, kappa / 1000, least, most)
    assert settled["beta"] == want == scene.project.state().beta
    assert settled["cid"] == CID
