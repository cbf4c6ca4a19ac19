"""A whole transcript from its definition, with nothing from zkmarket: what make_transcript.py writes down."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import reduce
from itertools import compress, count, cycle
from operator import mul
from typing import Any

from py_ecc.optimized_bn128 import curve_order

from tests.vectors.words import drawn, flat, h, hashed, label, low, number, point, shown, text

SUMS, OFFSET = 520, 1 << 110
MOST = curve_order - 1


@dataclass(frozen=True)
class Case:
    """The numbers of a transcript.

    Attributes:
        tail: values of a last chunk. references: by name, whether the round has it.
        edges: whether what the prover sends is at the field's edges.
    """

    trainers: int
    chunks: int
    logrows: int
    rows: int
    width: int
    tail: int
    references: dict[str, bool] = field(default_factory=dict)
    edges: bool = False

    @property
    def slots(self) -> int:
        return self.trainers + ("root" in self.references)

    @property
    def blocks(self) -> int:
        return self.slots * self.chunks

    @property
    def values(self) -> int:
        return (self.rows - 1) * self.width

    @property
    def params(self) -> int:
        return (self.chunks - 1) * self.values + self.tail


CASES = [
    Case(3, 1, 10, 29, 32, 40),  # the smallest
    Case(3, 2, 10, 29, 32, 1, edges=True),
    Case(5, 3, 10, 29, 32, 708),
    Case(4, 2, 10, 29, 32, 896),  # no padding
    Case(11, 1, 10, 29, 32, 895),  # a position for every block: none is left over
    Case(2, 8, 11, 30, 64, 900),
    Case(3, 1, 12, 61, 64, 2000, {"root": True}),
    Case(4, 2, 10, 29, 32, 500, {"last": True}),
    Case(3, 3, 11, 30, 64, 77, {"root": True, "last": True}),
    Case(3, 2, 10, 29, 32, 896, {"root": False, "last": True}),
    Case(3, 2, 10, 29, 32, 33, {"root": True, "last": False}),
    Case(8, 1, 13, 62, 128, 7000),  # a real one
    Case(63, 4, 10, 29, 32, 321),  # the blocks' bits are just one hash's
    Case(101, 3, 10, 29, 32, 5),  # and more
]


def transcripts() -> list[dict[str, Any]]:
    return [transcript(case, 10_000 * at) for at, case in enumerate(CASES, start=1)]


def transcript(case: Case, base: int) -> dict[str, Any]:
    """Of what a prover might send: the claims are no true ones, which changes nothing in what is computed of them.

    Args: base: where this case's scalars are drawn from.
    """
    counter = count(base)
    chunks, mu = case.chunks, rounds_of(case.blocks)
    folds = (chunks - 1).bit_length()

    def many(n: int) -> list[int]:
        return [drawn(next(counter)) for _ in range(n)]

    exponents = [many(chunks) for _ in range(case.trainers)]
    blinding = drawn(next(counter))
    held = {name: many(chunks) if there else [blinding] * chunks for name, there in case.references.items()}
    mask, masks, (gram,) = many(folds + 1), many(mu + 1), many(1)
    in_order = [*sum(exponents, []), *sum(held.values(), []), *mask, *masks]
    context = h(number(case.trainers), number(chunks))
    seed_0 = h(context, *flat(map(point, [*in_order, gram])))
    slots = case.trainers + len(held) + 1
    r = [low(h(seed_0, label("r"), number(slot)), 128) for slot in range(slots)]

    q, t0 = (0, MOST) if case.edges else many(2)
    answers = [low(h(label("z"), number(base + row)), 111) or 1 for row in range(1, SUMS + 1)]
    answers[0], answers[1], answers[-1] = 1, 2 * OFFSET - 1, OFFSET  # −2^110 + 1, 2^110 − 1, and 0
    z = b"".join(answer.to_bytes(14, "big") for answer in answers)
    seed = h(seed_0, number(q), number(t0), hashed(z))
    out: dict[str, Any] = {"seed": text(seed), "eta": text(eta := challenge(seed, "eta", 0))}

    sent = cycle([0, MOST]) if case.edges else (drawn(at) for at in counter)
    claims, fold_seeds, rhos, folded = [], [], [], q
    for step in range(folds):
        a, x = next(sent), next(sent)
        seed = h(seed, number(a), number(x))
        rho = low(h(seed, label("rho"), number(step)), 128)
        folded = (a + 2 * rho * x + rho * rho * (folded - a)) % curve_order
        claims.append((a, x)), fold_seeds.append(seed), rhos.append(rho)
    # fold s halves what is left: a chunk was multiplied in it if it lay in the upper half
    factors = [product(rho for s, rho in enumerate(rhos) if chunk >> (folds - 1 - s) & 1) for chunk in range(chunks)]

    signed = [answer - OFFSET for answer in answers]
    first = (t0 + sum(pow(eta, j, curve_order) * answer for j, answer in enumerate(signed, 1))) % curve_order
    messages, round_seeds, sigmas, claim = [], [], [], first
    for step in range(mu):
        g0, x = next(sent), next(sent)
        seed = h(seed, number(g0), number(x))
        sigma = challenge(seed, "sigma", step)
        claim = (g0 * (1 - sigma) ** 2 + (claim - g0) * sigma**2 + x * sigma * (1 - sigma)) % curve_order
        messages.append((g0, x)), round_seeds.append(seed), sigmas.append(sigma)

    committed = [point(drawn(next(counter))) for _ in range(3)]
    last = h(seed, *flat(committed))
    tau, y = challenge(last, "tau", 0), challenge(last, "y", 0)
    at_masks, at_data = positions(case.blocks)
    eq_masks, eq_data = ([eq(at, sigmas) for at in places] for places in (at_masks, at_data))
    bits = [row_bits(seed_0, row, case) for row in range(1, SUMS + 1)]

    # k_b + τ·eq_b in the order of the points; blocks of one sum only have 0 in the other
    k = [r[slot] * factor for slot in range(1, slots) for factor in factors]
    k += [r[0] * factors[chunk] for chunk in (0, *(1 << s for s in range(folds)))]
    weights = [*eq_data, *[0] * (len(in_order) - len(eq_data) - len(eq_masks)), *eq_masks]
    k += [0] * len(masks)
    coefficients = [(a + tau * b) % curve_order for a, b in zip(k, weights, strict=True)]
    of_blinding = (1 + tau - sum(coefficients)) % curve_order
    combined = sum(map(mul, coefficients, in_order)) + of_blinding * blinding

    return {
        **{name: getattr(case, name) for name in ("logrows", "rows", "width", "slots", "chunks", "params", "blocks")},
        "context": text(context),
        "updates": [shown(map(point, slot)) for slot in exponents],
        "references": {
            name: shown(map(point, held[name])) if there else None for name, there in case.references.items()
        },
        "blinding": text(b"".join(point(blinding))),
        "mask": shown(map(point, mask)),
        "projection": shown(map(point, masks)),
        "gram": text(b"".join(point(gram))),
        "seed_0": text(seed_0),
        "r": list(map(text, r)),
        "q": text(q),
        "t0": text(t0),
        "z": text(z),
        "z_hash": text(hashed(z)),
        **out,
        "claims": [[text(a), text(x)] for a, x in claims],
        "fold_seeds": list(map(text, fold_seeds)),
        "rho": list(map(text, rhos)),
        "folded": text(folded),
        "factors": list(map(text, factors)),
        "first_claim": text(first),
        "rounds": [[text(g0), text(x)] for g0, x in messages],
        "round_seeds": list(map(text, round_seeds)),
        "sigma": list(map(text, sigmas)),
        "last_claim": text(claim),
        "committed": shown(committed),
        "last_seed": text(last),
        "tau": text(tau),
        "y": text(y),
        "mask_positions": at_masks,
        "data_positions": at_data,
        "mask_weights": list(map(text, eq_masks)),
        "data_weights": list(map(text, eq_data)),
        "bits": {str(row): ["".join(map(str, part)) for part in bits[row - 1]] for row in (1, 2, 260, SUMS)},
        "all_bits": text(hashed(bytes(bit for row in bits for part in row for bit in part))),
        "value": text(value_at(y, eta, case, bits, eq_data, eq_masks)),
        "coefficients": list(map(text, coefficients)),
        "of_blinding": text(of_blinding),
        "combination": text(b"".join(point(combined % curve_order))),
    }


def rounds_of(blocks: int) -> int:
    """μ: the least with 2^μ − (μ + 1) ≥ n_b."""
    return next(mu for mu in count(1) if 2**mu - (mu + 1) >= blocks)


def positions(blocks: int) -> tuple[list[int], list[int]]:
    """Masks stand at 0, 1, 2, 4, …; data blocks take the other positions in order."""
    masks = [0, *(2**t for t in range(rounds_of(blocks)))]
    return masks, [at for at in range(2 ** rounds_of(blocks)) if at not in masks][:blocks]


def eq(at: int, sigmas: list[int]) -> int:
    """The first σ belongs to the highest bit."""
    bits = [at >> k & 1 for k in reversed(range(len(sigmas)))]
    return product(sigma if bit else 1 - sigma for bit, sigma in zip(bits, sigmas, strict=True))


def row_bits(seed_0: bytes, row: int, case: Case) -> list[list[int]]:
    """s, a and b of a row, each padded to whole windows of 6 bits, 42 windows of a hash, the lowest bits first."""
    window, parts = count(), []
    for size in (case.blocks, case.rows - 1, case.width):
        bits = []
        while len(bits) < size:
            w = next(window)
            word = int.from_bytes(h(seed_0, label("row"), number(row), number(w // 42)), "big")
            bits += [word >> (6 * (w % 42) + k) & 1 for k in range(6)]
        parts.append(bits[:size])
    return parts


def value_at(y: int, eta: int, case: Case, bits: list[list[list[int]]], eq_data: list[int], eq_masks: list[int]) -> int:
    """Σ_b eq_b Σ_d V_b[d] y^d, V_b as they are defined, value by value."""
    block = [0] * case.values  # V = Σ eq_b V_b
    for j, (s, a, b) in enumerate(bits, start=1):
        factor = pow(eta, j, curve_order) * sum(compress(eq_data, s)) % curve_order
        for d1 in compress(range(case.rows - 1), a):
            for d2 in compress(range(case.width), b):
                block[d1 * case.width + d2] += factor
    past = case.values - case.tail
    for i in range(case.slots):
        weight = eq_data[i * case.chunks + case.chunks - 1]
        for d in range(case.tail, case.values):
            block[d] += weight * pow(eta, SUMS + 1 + i * past + d - case.tail, curve_order)
    for j in range(1, SUMS + 1):
        block[j - 1] += eq_masks[0] * pow(eta, j, curve_order)
    for t, weight in enumerate(eq_masks):
        block[SUMS + t] += weight
    return sum(v % curve_order * pow(y, d, curve_order) for d, v in enumerate(block)) % curve_order


def challenge(seed: bytes, name: str, index: int) -> int:
    return int.from_bytes(h(seed, label(name), number(index)), "big") % curve_order


def product(values: Iterable[int]) -> int:
    return reduce(lambda a, b: a * b % curve_order, values, 1)
