"""What dishonest parties can do with real proofs: the prover's own steps, with its checks left out."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.conftest import ROUND
from zkmarket import backend
from zkmarket.backend import Proof
from zkmarket.build import Build
from zkmarket.crypto import P, Point, Transcript, from_ints, to_hex
from zkmarket.round import (
    Aggregate,
    Attempt,
    Claims,
    Decision,
    Digits,
    Points,
    RoundProof,
    Submission,
    base,
    commitment,
    gram,
    reference_vectors,
    references_of,
    settlement,
    start_transcript,
    verify_round,
)

Matrix = list[list[int]]


def check(build: Build, value: Any) -> Decision:
    """Verify round.json as a stranger would: parse it, and ask for the round of the tests."""
    return verify_round(build, RoundProof.from_json(value), expected=ROUND)


def forge_round(
    build: Build,
    submissions: Sequence[Submission],
    change: Callable[[Matrix], None] = lambda matrix: None,
    beta: int | None = None,
    attempt: Attempt | None = None,
    solve: int | None = 0,
    root: Submission | None = None,
    last: Aggregate | None = None,
) -> RoundProof:
    """A round proof of a Gram matrix that `change` falsified, as good as a modified prover can make it.

    Everything is honest but the matrix, and the claim X of fold `solve`, which is chosen so that the
    last claim T is met if no later challenge depends on X. With ``solve=None`` the claims are honest.
    The settlement proof is an honest proof of a false matrix, so it verifies. Nothing is checked, not even
    that an update opens its commitment.
    """
    manifest = build.manifest
    beta = manifest.beta_max if beta is None else beta
    commitments = [submission.commitment for submission in submissions]
    attempt = attempt or Attempt.fresh(build)
    round_id = commitments[0].round_id
    references = references_of(build, round_id, root, last)
    vectors = [*(s.opening for s in submissions), *reference_vectors(manifest, root, last)]
    digits = [Digits.of(vector.values) for vector in vectors]
    products = gram.Products.of(digits, attempt.mask, manifest.chunk, manifest.chunks)
    matrix = products.gram()
    change(matrix)
    committed = settlement.commit_gram(build, matrix)
    slots = (*(c.points for c in commitments), *references.points(manifest))
    points = Points(slots, attempt.mask_points, attempt.projection_points)
    trainers = [held.trainer for held in commitments]
    transcript = start_transcript(manifest, round_id, beta, trainers, points, committed.point)
    r = transcript.slot_challenges(manifest.slots)
    q = settlement.combined(matrix, r)
    with pytest.MonkeyPatch.context() as careless:
        careless.setattr(gram, "fold", lambda *given: careless_fold(*given, solve))
        careless.setattr(base, "check_combination", lambda *_: None)
        unproven = base.prove_job(build, base.Slots(vectors, digits, products, points), attempt, transcript, r, q)
    shown, settled = backend.prove([unproven.job, settlement.prove_job(build, committed, r, beta)])
    return RoundProof(
        manifest.digest(),
        round_id,
        beta,
        tuple(commitments),
        attempt.mask_points,
        attempt.projection_points,
        committed.point,
        unproven.proven(shown),
        settled,
        references,
    )


def careless_fold(
    products: np.ndarray, q: int, transcript: Transcript, solve: int | None
) -> tuple[Claims, tuple[int, ...], int]:
    """`gram.fold` of a q that may be false, without the check at its end.

    A claim that is off by δ is off by ρ²δ after a fold, and 2ρe more if its X is off by e: X of fold `solve` makes up
    for it, as far as its ρ can be known before.
    """
    claims, rhos, claim = [], [], q
    for step, half in enumerate(gram.halves(len(products))):
        padded = np.zeros((2 * half, 2 * half), object)
        padded[: len(products), : len(products)] = products
        low, cross, high = padded[:half, :half], padded[:half, half:], padded[half:, half:]
        a, x = int(low.trace()) % P, int(cross.trace()) % P
        if step == solve:
            off = claim - int(padded.trace())
            x = (x - guessed_rho(transcript, a, x, step) * off * pow(2, -1, P)) % P
        transcript.absorb(a, x)
        rho = transcript.short_challenge("rho", step)
        claim = gram.next_claim(claim, a, x, rho)
        products = (low + rho * (cross + cross.T) + rho * rho * high) % P
        claims.append((a, x))
        rhos.append(rho)
    return tuple(claims), tuple(rhos), claim


def guessed_rho(transcript: Transcript, a: int, x: int, step: int) -> int:
    """The challenge as it will be, if it does not depend on x."""
    ahead = copy.copy(transcript)
    ahead.absorb(a, x)
    return ahead.short_challenge("rho", step)


def with_settlement(proof: RoundProof, data: bytes | None = None, **instances: int) -> RoundProof:
    """The same round with other bytes or instances in its settlement proof; ``i5=1`` sets instance 5."""
    values = list(proof.settlement.instances)
    for name, value in instances.items():
        values[int(name[1:])] = value
    return replace(proof, settlement=Proof(data or proof.settlement.data, tuple(values)))


def with_base(proof: RoundProof, /, **changes: Any) -> RoundProof:
    """The same round with other parts of its base proof, its ``proof`` among them."""
    return replace(proof, base=replace(proof.base, **changes))


def add_to(i: int, j: int, amount: int) -> Callable[[Matrix], None]:
    """Change G_ij and G_ji."""

    def change(matrix: Matrix) -> None:
        matrix[i][j] += amount
        if i != j:
            matrix[j][i] += amount

    return change


def all_of(*changes: Callable[[Matrix], None]) -> Callable[[Matrix], None]:
    def change(matrix: Matrix) -> None:
        for one in changes:
            one(matrix)

    return change


def commit_column(build: Build, circuit: str, column: Sequence[int]) -> Point:
    """Commitment of any column of field elements, in the size of a circuit."""
    logrows = build.manifest.value["circuits"][circuit]["logrows"]
    return backend.commit(build.files[circuit], logrows, [to_hex(from_ints(column))])[0]


def column_of(submission: Submission, chunk: int, size: int) -> list[int]:
    """A chunk as it was committed: C values ‖ S salts, as field elements."""
    opening = submission.opening
    column = commitment.column_of(opening.values, opening.salts, chunk, size)
    return [int.from_bytes(bytes.fromhex(text), "little") for text in column]


def tampered(value: dict[str, Any], *path: str | int, to: Any) -> dict[str, Any]:
    """A copy of a JSON object with one place set to another value."""
    out = copy.deepcopy(value)
    place = out
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    return out
