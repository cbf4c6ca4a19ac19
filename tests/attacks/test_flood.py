"""What masks that are used twice would give away, and that no two attempts share any."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Round as ProvenRound
from tests.support.ideal import Ideal, Round, Update, started, verify
from zkmarket import backend
from zkmarket.build import SUMS, Shape
from zkmarket.crypto import P, encode_point, to_hex, to_ints
from zkmarket.errors import BackendTimeout
from zkmarket.round import Attempt, Weights, projection, prove_round, verify_round

PRIME = (1 << 31) - 1
"""A rank mod a prime is at most the rank."""


def equations(ideal: Ideal, first: Round, second: Round) -> tuple[np.ndarray, np.ndarray]:
    """The difference of two attempts' answers: known bits times the updates' values = known integers, exactly."""
    shape = ideal.shape
    lefts, rights = [], []
    for attempt in (first, second):
        weights = Weights.of(shape, started(ideal, attempt.points)[0])
        of_cells = np.einsum("aj,cj->jac", weights.left, weights.right).reshape(shape.sums, -1)
        blocks = [(weights.blocks[:, [b]] * of_cells).astype(np.int64) for b in range(shape.blocks)]
        slots = [np.hstack(blocks[s * shape.chunks : (s + 1) * shape.chunks]) for s in range(shape.slots)]
        lefts.append(np.hstack([slot[:, : shape.params] for slot in slots]))
        rights.append(np.array(projection.unpack(attempt.sent.proof.z, shape.sums), object))
    return lefts[0] - lefts[1], rights[0] - rights[1]


def rank_mod(matrix: np.ndarray, wanted: np.ndarray) -> tuple[int, np.ndarray]:
    """Rank, and the solution mod PRIME, centred, which is the only one where the rank is that of the columns."""
    left = np.hstack([matrix % PRIME, (wanted % PRIME).astype(np.int64)[:, None]])
    pivots = []
    for column in range(matrix.shape[1]):
        rows = np.nonzero(left[len(pivots) :, column])[0]
        if not len(rows):
            continue
        top, at = len(pivots), len(pivots) + rows[0]
        left[[top, at]] = left[[at, top]]
        left[top] = left[top] * pow(int(left[top, column]), -1, PRIME) % PRIME
        factors = left[:, column].copy()
        factors[top] = 0
        left = (left - factors[:, None] * left[top] % PRIME) % PRIME
        pivots.append(column)
        if len(pivots) == len(left):
            break
    solution = np.zeros(matrix.shape[1], np.int64)
    solution[pivots] = left[: len(pivots), -1]
    return len(pivots), (solution + PRIME // 2) % PRIME - PRIME // 2


def attempts(ideal: Ideal, updates: list[Update]) -> tuple[Round, Round]:
    """Two rounds of the same updates, each with the masks that it draws."""
    return Round(ideal, updates), Round(ideal, updates)


def with_the_flood_of(other: Round, attempt: Round) -> Round:
    """The same projection masks again. Slot 0's and C_G would be enough to be different: the seed is another."""
    attempt.attempt = replace(attempt.attempt, masks=other.attempt.masks, projection_points=other.points.projection)
    return attempt


@pytest.mark.unit
def test_a_flood_that_is_used_twice_gives_the_updates_away() -> None:
    """As many exact equations as there are rows; with fewer values than rows, these are read off."""
    ideal = Ideal(Shape(slots=2, chunks=1, params=50, rows=11, width=16, sums=120))
    secret = np.random.default_rng(7).integers(-4096, 4096, (2, 50))
    updates = [Update.of(ideal, values) for values in secret]
    first, second = attempts(ideal, updates)
    second = with_the_flood_of(first, second)
    matrix, wanted = equations(ideal, first, second)
    np.testing.assert_array_equal(matrix @ secret.reshape(-1), wanted)
    rank, found = rank_mod(matrix, wanted)
    assert rank == 100
    np.testing.assert_array_equal(found, secret.reshape(-1))
    for attempt in (first, second):
        verify(ideal, attempt.sent)  # each of them alone is a proof as any other


@pytest.mark.unit
def test_a_flood_of_its_own_gives_nothing_away() -> None:
    """The honest twin: the same differences are of the floods' size."""
    ideal = Ideal(Shape(slots=2, chunks=1, params=50, rows=11, width=16, sums=120))
    updates = [Update.of(ideal, np.arange(50))] * 2
    matrix, wanted = equations(ideal, *attempts(ideal, updates))
    missed = np.abs(wanted - matrix @ np.concatenate([update.values for update in updates]))
    assert missed.min() > 1 << 80


@pytest.mark.unit
def test_a_flood_that_is_used_twice_is_520_equations() -> None:
    """Of the real number of rows, on more values than rows: none of them follows from the others."""
    ideal = Ideal(Shape(slots=12, chunks=1, params=890, rows=29, width=32))
    updates = [Update.of(ideal, np.random.default_rng(s).integers(-4096, 4096, 890)) for s in range(12)]
    first, second = attempts(ideal, updates)
    matrix, wanted = equations(ideal, first, with_the_flood_of(first, second))
    np.testing.assert_array_equal(matrix @ np.concatenate([update.values for update in updates]), wanted)
    some = np.random.default_rng(1).choice(matrix.shape[1], 600, replace=False)  # a rank is at least that of a part
    rank, _ = rank_mod(matrix[:, some], wanted)
    assert rank == SUMS == 520


# ---------------------------------------------------------------- that it cannot happen


@pytest.mark.unit
def test_every_attempt_draws_everything_anew() -> None:
    ideal = Ideal(Shape(slots=2, chunks=3, params=2 * 160 + 50, rows=11, width=16, sums=120))
    updates = [Update.of(ideal, np.zeros(ideal.shape.params, int))] * 2
    first, second = attempts(ideal, updates)
    one, other = first.attempt, second.attempt
    assert not set(one.masks.flood) & set(other.masks.flood)
    columns = [[*attempt.mask.columns.values(), *attempt.masks.columns] for attempt in (one, other)]
    assert len(columns[0]) == 3 + 5
    for mine, theirs in zip(*columns, strict=True):
        assert not set(to_ints(mine)) & set(to_ints(theirs))
    flat = [value for column in columns[0] for value in to_ints(column)]
    assert len(set(flat)) == len(flat)
    assert to_ints(one.masks.columns[0][:120]) == [value % P for value in one.masks.flood]
    assert -(1 << 109) <= min(one.masks.flood) < 0 < max(one.masks.flood) < 1 << 109
    verify(ideal, first.sent)


@pytest.mark.unit
def test_an_attempt_can_be_written_nowhere() -> None:
    """It has no text that shows a secret, no way into a file, and no way out of one."""
    ideal = Ideal(Shape(slots=1, chunks=1, params=50, rows=11, width=16, sums=120))
    attempt = Round(ideal, [Update.of(ideal, np.zeros(50, int))]).attempt
    assert {field.name for field in fields(Attempt)} == {"mask", "masks", "mask_points", "projection_points"}
    for held in (attempt, attempt.mask, attempt.masks):
        assert not [name for name in dir(held) if name in ("save", "load", "to_json", "from_json")]
        assert str(attempt.masks.flood[0]) not in repr(held) and "array" not in repr(held)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Attempt]:
    """All attempts that are drawn."""
    out: list[Attempt] = []
    fresh = Attempt.fresh.__func__  # type: ignore[attr-defined]

    def noted(cls: type[Attempt], build: object) -> Attempt:
        out.append(fresh(cls, build))
        return out[-1]

    monkeypatch.setattr(Attempt, "fresh", classmethod(noted))
    return out


@pytest.mark.exhaustive("test_killed.py: attempts share nothing")
@pytest.mark.proof
def test_proving_a_round_again_shares_nothing(
    honest_round: ProvenRound, drawn: list[Attempt], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attempt that fails, two that do not: all points, q, z, and what is opened are others."""
    build, submissions = honest_round.build, honest_round.submissions

    def hung(*_: object) -> None:
        raise BackendTimeout("base proof: prove: no answer")

    with monkeypatch.context() as failing:
        failing.setattr(backend, "prove", hung)
        with pytest.raises(BackendTimeout):
            prove_round(build, submissions)
    proofs = [prove_round(build, submissions)[0] for _ in range(2)]
    assert len(drawn) == 3
    masks = [{*attempt.mask_points, *attempt.projection_points} for attempt in drawn]
    assert not masks[0] & masks[1] and not masks[0] & masks[2] and not masks[1] & masks[2]
    for proof, attempt in zip(proofs, drawn[1:], strict=True):
        verify_round(build, proof)
        assert (proof.mask_points, proof.projection_points) == (attempt.mask_points, attempt.projection_points)
    one, other = proofs
    assert one.gram_point != other.gram_point
    assert one.settlement.instances[0] != other.settlement.instances[0]
    answers = [projection.unpack(proof.base.z) for proof in proofs]
    assert not set(answers[0]) & set(answers[1])
    opened = [{proof.base.proof.point(at) for at in range(3)} for proof in proofs]
    assert not opened[0] & opened[1]


@pytest.mark.proof
def test_no_mask_leaves_the_process(
    honest_round: ProvenRound, drawn: list[Attempt], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The prover is given W, U and V, which may be seen, and the round proof holds no secret."""
    jobs: list[backend.ProofJob] = []
    prove = backend.prove
    monkeypatch.setattr(backend, "prove", lambda given, progress: jobs.extend(given) or prove(given, progress))
    proof, _ = prove_round(honest_round.build, honest_round.submissions)
    (attempt,) = drawn
    secrets = {text for column in attempt.mask.columns.values() for text in to_hex(column)}
    secrets |= {text for column in attempt.masks.columns for text in to_hex(column)}
    secrets |= {text for s in honest_round.submissions for text in to_hex(s.opening.salts.reshape(-1, 32))}
    base_job = next(job for job in jobs if job.name == "base proof")
    assert [len(column) for column in base_job.inputs] == [928, 928, 928, 20]
    assert not secrets & {text for job in jobs for column in job.inputs for text in column}
    proof.save(tmp_path / "round.json")
    text = (tmp_path / "round.json").read_text()
    big_endian = {bytes.fromhex(secret)[::-1].hex() for secret in secrets}
    assert not any(word in text for word in big_endian)
    assert json.loads(text)["mask_points"] == ["0x" + encode_point(point).hex() for point in attempt.mask_points]
