"""Makes utility.json, with nothing from zkmarket: what a contract computes of a utility proof, by itself.

    python -m tests.vectors.make_utility          # writes tests/vectors/utility.json

Everything in the file is a 0x-string of hex digits, but small numbers. Each case has a descriptor and its digest, the
round's base, the coalition's slots, its context, the weight of the round, the commitments that its model follows from
and that model's points, the hash of the batch's points, a proof's bytes, the claim, and every instance.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from py_ecc.optimized_bn128 import G1, add, curve_order, multiply, normalize

from tests.vectors.words import drawn, h, hashed, label, listed, low, number, text

FILE = Path(__file__).with_name("utility.json")

CASES: list[dict[str, Any]] = [
    # points of model, batch, witness; powers of a, c, e, f; ties, checks, constants; accepted, rate, ρ, slots
    {"points": (1, 1, 2), "powers": (64, 16, 1, 1), "ties": 10, "checks": 10, "head": 7, "round": (8, 10**9, 9)},
    {"points": (3, 2, 1), "powers": (3, 2, 4, 5), "ties": 3, "checks": 2, "head": 3, "round": (3, 333_333_333, 7)},
    {"points": (1, 1, 1), "powers": (4, 1, 1, 1), "ties": 0, "checks": 4, "head": 0, "round": (5, 1, 0)},
]
SLOTS = [(1, 2, 3, 5, 6, 7, 8), (), (2, 5)]


def xy(scalar: int) -> bytes:
    x, y = normalize(multiply(G1, scalar % curve_order))
    return number(int(x)) + number(int(y))


def made(index: int) -> dict[str, Any]:
    case, slots = CASES[index], SLOTS[index]
    model_points, batch_points, witness_points = case["points"]
    accepted, rate, bits = case["round"]
    start = 1000 * (index + 1)
    head = [drawn(start + i) for i in range(case["head"])]
    proof_bytes = 64 * (model_points + batch_points + witness_points) + 96
    digest = h(label("a model"), number(index))
    words = [digest, *map(number, (proof_bytes, *case["points"], *case["powers"]))]
    words += [number(case["ties"]), number(case["checks"]), *map(number, head)]
    # w = 2^ρ·rate/n in billionths, rounded half up
    w = (2 * 2**bits * rate + accepted * 10**9) // (2 * accepted * 10**9)
    blinding = drawn(start + 500)
    theta = [drawn(start + 501 + c) for c in range(model_points)]
    updates = {slot: [drawn(start + 600 + 10 * slot + c) for c in range(model_points)] for slot in range(1, 9)}
    model = []
    for c in range(model_points):
        total = multiply(G1, theta[c])
        for slot in slots:
            total = add(total, multiply(G1, w * (updates[slot][c] - blinding) % curve_order))
        x, y = normalize(total)
        model.append(number(int(x)) + number(int(y)))
    batch = [xy(drawn(start + 700 + i)) for i in range(batch_points)]
    witness = [xy(drawn(start + 800 + i)) for i in range(witness_points)]
    proof = b"".join([*model, *batch, *witness]) + hashed(b"rest")[:32] * 3
    base = h(label("a round"), number(index))
    context = h(base, number(sum(2 ** (slot - 1) for slot in slots)))
    seed = hashed(label("utility") + context + digest + b"".join([*model, *batch, *witness]))
    values = list(head)
    for name, count in zip("acef", case["powers"], strict=True):
        values += [pow(low(h(seed, label(name)), 128), i, curve_order) for i in range(count)]
    if case["ties"]:
        tie = low(h(seed, label("tie")), 128)
        values += [tie] + [tie * k % curve_order for k in range(case["ties"])]
    correct, loss = case["powers"][0] - 1, 10**6 + index
    return {
        "descriptor": [text(word) for word in words],
        "descriptor_digest": text(listed(words)),
        "accepted": accepted,
        "rate": rate,
        "theta_bits": bits,
        "weight": w,
        "blinding": text(xy(blinding)),
        "theta": [text(xy(scalar)) for scalar in theta],
        "updates": {str(slot): [text(xy(scalar)) for scalar in points] for slot, points in updates.items()},
        "slots": list(slots),
        "model": [text(point) for point in model],
        "batch": text(hashed(b"".join(batch))),
        "base": text(base),
        "context": text(context),
        "proof": text(proof),
        "correct": correct,
        "loss": loss,
        "instances": [text(value) for value in [*values, 1, *[0] * case["checks"], correct, loss]],
    }


def document() -> list[dict[str, Any]]:
    return [made(index) for index in range(len(CASES))]


def main() -> None:
    FILE.write_text(json.dumps(document(), indent=1) + "\n")


if __name__ == "__main__":
    main()
