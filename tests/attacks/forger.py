"""What dishonest parties can do: the prover's own steps, with its checks left out."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from tests.conftest import ROUND
from zkmarket import backend, gram, settlement
from zkmarket.aggregator import Submission, reference_vectors, references_of
from zkmarket.artifacts import Build
from zkmarket.auditor import verify_round
from zkmarket.backend import Proof, ProofJob
from zkmarket.commitment import range_job
from zkmarket.field import P, Point, dot, from_ints, to_hex
from zkmarket.gram import Folded, GramProof, Mask
from zkmarket.round import Aggregate, Decision, RoundProof, start_transcript

Matrix = list[list[int]]


def check(build: Build, value: Any) -> Decision:
    """Verify round.json as a stranger would: parse it, and ask for the round of the tests."""
    return verify_round(build, RoundProof.from_json(value), expected=ROUND)


def forge_round(
    build: Build,
    submissions: Sequence[Submission],
    change: Callable[[Matrix], None] = lambda matrix: None,
    beta: int | None = None,
    mask: tuple[Mask, tuple[Point, ...]] | None = None,
    solve: int | None = 0,
    root: Submission | None = None,
    last: Aggregate | None = None,
) -> RoundProof:
    """A round proof of a Gram matrix that `change` falsified, as good as a modified prover can make it.

    Everything is honest but the matrix, and the claim X of fold `solve`, which is chosen so that the
    last claim T is met if no later challenge depends on X. With ``solve=None`` the claims are honest.
    The settlement proof is an honest proof of a false matrix, so it verifies.
    """
    manifest = build.manifest
    beta = manifest.beta_max if beta is None else beta
    commitments = [s.commitment for s in submissions]
    openings = [s.opening for s in submissions]
    if mask is None:
        fresh = Mask.fresh(build)
        mask = fresh, fresh.commit(build)
    round_id = commitments[0].round_id
    references = references_of(build, round_id, root, last)
    vectors = [*openings, *reference_vectors(manifest, root, last)]
    matrix = gram.matrix(vectors, mask[0], manifest.chunk)
    change(matrix)
    committed = settlement.commit_gram(build, matrix)
    transcript = start_transcript(manifest, round_id, beta, commitments, mask[1], committed.point, references)
    r = transcript.slot_challenges(manifest.slots)
    q = settlement.combined(matrix, r)
    transcript.absorb(q)
    folded = gram.fold(gram.combine_slots(vectors, mask[0], manifest.chunk, r), manifest.chunk, transcript, q)
    claims = list(folded.claims)
    if solve is not None and claims:
        claims[solve] = solved(folded, manifest.chunk, solve)
    base_job = ProofJob("gram proof", build.files("gram"), [to_hex(from_ints(folded.column))])
    base, settled = backend.prove([base_job, settlement.prove_job(build, committed, r, beta)])
    return RoundProof(
        manifest.digest(),
        round_id,
        beta,
        tuple(commitments),
        mask[1],
        committed.point,
        GramProof(tuple(claims), base),
        settled,
        references,
    )


def solved(folded: Folded, chunk: int, step: int) -> tuple[int, int]:
    """(A, X) of one fold with X such that T ends at <W, W>: T is linear in X, by 2ρ_step and all later ρ²."""
    a, x = folded.claims[step]
    slope = 2 * folded.rhos[step]
    for rho in folded.rhos[step + 1 :]:
        slope = slope * rho * rho % P
    values = folded.column[:chunk]
    return a, (x + (dot(values, values) - folded.claim) * pow(slope, -1, P)) % P


def with_settlement(proof: RoundProof, data: bytes | None = None, **instances: int) -> RoundProof:
    """The same round with other bytes or instances in its settlement proof; ``i5=1`` sets instance 5."""
    values = list(proof.settlement.instances)
    for name, value in instances.items():
        values[int(name[1:])] = value
    return replace(proof, settlement=Proof(data or proof.settlement.data, tuple(values)))


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
    return backend.commit(build.files(circuit), logrows, [to_hex(from_ints(column))])[0]


def range_proof(
    build: Build, honest: Submission, column: Sequence[int], circuit: str, chunk: int, trainer: int | None = None
) -> tuple[Point, Proof]:
    """Commit to any column, C + S field elements, and prove its range by any circuit, with the tag of `trainer`."""
    trainer = honest.commitment.trainer if trainer is None else trainer
    job = range_job(build, honest.opening, ROUND, trainer, chunk)
    job.files = build.files(circuit)
    job.inputs[0] = to_hex(from_ints(column))
    point = commit_column(build, "gram", column)
    return point, backend.prove([job])[0]


def column_of(submission: Submission, chunk: int, size: int) -> list[int]:
    """A chunk as it was committed: C values ‖ S salts, as field elements."""
    return [int.from_bytes(bytes.fromhex(text), "little") for text in submission.opening.column(chunk, size)]


def tampered(value: dict[str, Any], *path: str | int, to: Any) -> dict[str, Any]:
    """A copy of a JSON object with one place set to another value."""
    out = copy.deepcopy(value)
    place = out
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    return out
