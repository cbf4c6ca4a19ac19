"""Rounds that are paid by losses, made up to fit the contract: the terms, and the claim of one coalition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

from zkmarket.chain import Receipt
from zkmarket.crypto import Point, digest_words, encode_point, hash_words, multiply_add, points_hash
from zkmarket.market import Log, Scoring, Verifier, struct_words
from zkmarket.rules import weight
from zkmarket.utility import Descriptor, instances_of

LOO, SHAPLEY = 1, 2
FLOOR = 250_000_000
SALTS = 13
"""Of a chunk of an update: eight, and one for each coalition of five trainers that leaves one out."""


def point(*label: int) -> Point:
    from tests.contracts.world import point as made  # which imports this module

    return made(*label)


def descriptor(chunks: int = 2) -> Descriptor:
    """Of a model that nobody has compiled."""
    size = 64 * (chunks + 1 + 2) + 96
    return Descriptor(b"\x33" * 32, size, chunks, 1, 2, (64, 4, 1, 1), 3, 2, (5, 6, 7))


def descriptor_words(chunks: int = 2) -> list[int]:
    return [int.from_bytes(word, "big") if isinstance(word, bytes) else word for word in descriptor(chunks).words()]


BATCH: tuple[Point, ...] = (multiply_add([(1, 2)], [8000]),)


def scoring(verifier: Verifier, chunks: int = 2, **changes: Any) -> Any:
    """What `Terms` says of it, as words."""
    known = descriptor(chunks)
    made = Scoring(
        verifier, known.digest(), points_hash(BATCH), LOO, FLOOR, 10_000, 10_000, known.proof_bytes, known.count
    )
    return struct_words(replace(made, **changes))


def due(method: int, mask: Sequence[int]) -> list[tuple[int, ...]]:
    """Coalitions as slots, the largest first."""
    players = [slot for slot, bit in enumerate(mask, start=1) if bit]
    least = len(players) - 1 if method == LOO else 0
    return [one for size in range(len(players), least - 1, -1) for one in combinations(players, size)]


def bits(coalition: Sequence[int]) -> int:
    return sum(1 << slot - 1 for slot in coalition)


def coalition_model(scene: Any, coalition: Sequence[int]) -> tuple[Point, ...]:
    """C_Θ + w·Σ (C_i − B), from the statement."""
    theta, blinding = scene.theta(), scene.values["blinding"]
    members = [scene.commitment(scene.trainers[slot - 1]).points for slot in coalition]
    w = weight_of(scene)
    return tuple(
        multiply_add([own, *(points[c] for points in members), blinding], [1, *[w] * len(members), -w * len(members)])
        for c, own in enumerate(theta)
    )


def weight_of(scene: Any) -> int:
    outcome = scene.project.outcome()
    return weight(outcome.rate, outcome.mask.bit_count(), scene.values["thetaBits"])


def accepted(scene: Any) -> tuple[int, ...]:
    mask = scene.project.outcome().mask
    return tuple(slot for slot in range(1, 65) if mask >> slot - 1 & 1)


def proof_of(points: Sequence[Point], batch: Sequence[Point] = BATCH) -> bytes:
    witness = [point(8100), point(8101)]
    return b"".join(map(encode_point, (*points, *batch, *witness))) + b"\x44" * 96


def context(scene: Any, coalition: Sequence[int]) -> bytes:
    """What a proof of the round is bound to."""
    outcome, seats = scene.project.outcome(), scene.project.seats()
    mask = [outcome.mask >> i & 1 for i in range(len(seats))]
    beta = Log(scene.project.events()).started(scene.round_id.round).beta  # the state's is the next round's
    seed0 = scene.proof(mask=mask, beta=beta).transcript(scene.manifest(len(seats))).seed
    words = [descriptor().model, seed0, outcome.mask, points_hash(scene.theta()), weight_of(scene), points_hash(BATCH)]
    return hash_words(digest_words(["zkmarket-utility/2", *words]), bits(coalition))


def instances(scene: Any, coalition: Sequence[int], correct: int, loss: int) -> tuple[int, ...]:
    """What the contract must ask a verifier."""
    points = coalition_model(scene, coalition)
    known = descriptor(scene.values["chunks"])
    return instances_of(known, points, points_hash(BATCH), context(scene, coalition), proof_of(points), correct, loss)


def claim(scene: Any, coalition: Sequence[int], loss: int, correct: int = 9, **changes: Any) -> tuple[Any, ...]:
    """`UtilityProof` of the contract; `changes` by its names."""
    from tests.contracts.world import CID
    from zkmarket.market import utility_words

    full = accepted(scene)
    own = [slot for slot in full if slot not in coalition]
    left = [(scene.commitment(scene.trainers[slot - 1]).points, CID) for slot in own]
    points = coalition_model(scene, coalition)
    names = ("coalition", "descriptor", "model", "left", "cids", "correct", "loss", "proof")
    words = utility_words(
        bits(coalition),
        descriptor_words(scene.values["chunks"]),
        coalition_model(scene, full),
        left,
        (correct, loss),
        proof_of(points),
    )
    return tuple((dict(zip(names, words, strict=True)) | changes).values())


def send(scene: Any, words: tuple[Any, ...], sender: Any = None) -> Receipt:
    return scene.project._send("prove utility", "proveUtility", words, sender=sender or scene.stranger)


def prove(scene: Any, coalition: Sequence[int], loss: int, correct: int = 9) -> Receipt:
    """By the client, from the log."""
    return scene.project.prove_utility(
        scene.stranger,
        coalition,
        descriptor_words(scene.values["chunks"]),
        coalition_model(scene, accepted(scene)),
        (correct, loss),
        proof_of(coalition_model(scene, coalition)),
    )


def prove_all(scene: Any, losses: Sequence[int] | None = None) -> Receipt:
    """Every coalition that is due; losses in the order of `due`, by default less for larger coalitions."""
    method = scene.values["scoring"][3]
    full = accepted(scene)
    mask = [int(slot in full) for slot in range(1, max(full) + 1)]
    wanted = due(method, mask)
    for place, coalition in enumerate(wanted):
        loss = 1000 - 10 * len(coalition) + sum(coalition) if losses is None else losses[place]
        done = send(scene, claim(scene, coalition, loss))
    return done
