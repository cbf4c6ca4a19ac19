"""Attacks on commitments: other updates, other trainers, other chunks, used salts, energy in the padding."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.attacks.forger import check, column_of, commit_column, forge_round, range_proof
from tests.conftest import PARAMS, ROUND, Round, honest_updates, make_build, submit
from zkmarket import trainer as trainer_module
from zkmarket.aggregator import Submission, admit, prove_round
from zkmarket.artifacts import Build
from zkmarket.auditor import verify_round
from zkmarket.backend import Proof
from zkmarket.commitment import (
    Commitment,
    Opening,
    address_text,
    check_opening,
    combine,
    open_with_fresh_salts,
    prove_range,
    verify_range,
)
from zkmarket.errors import InputError, OpeningMismatch, ProofRejected, SaltReuse, StatementFalse, ZkmarketError
from zkmarket.field import P
from zkmarket.rules import MultiKrum
from zkmarket.trainer import commit_update

pytestmark = [pytest.mark.proof, pytest.mark.usefixtures("remembered")]

THIEF = 0xBAD
LOOKUP = r"mock: [^\n]*verification failed:\nLookup \(index: \d\) is not satisfied"


@pytest.fixture(scope="module")
def stranger(small_build: Build) -> Submission:
    """A well-formed submission of one who is not in the round."""
    return submit(small_build, honest_updates(2, PARAMS, seed=9)[0], 0x2000)


def with_opening(submissions: tuple[Submission, ...], slot: int, opening: Opening) -> list[Submission]:
    out = list(submissions)
    out[slot - 1] = replace(out[slot - 1], opening=opening)
    return out


# ---------------------------------------------------------------- one entry changed after commitment


@pytest.mark.parametrize("slot, entry", [(1, 0), (3, 1500), (5, PARAMS - 1)])
def test_entry_changed(honest_round: Round, slot: int, entry: int) -> None:
    """An aggregator that computes with another update than the committed one is told whose it is."""
    opening = honest_round.submissions[slot - 1].opening
    values = opening.values.copy()
    values[entry] += 1
    changed = with_opening(honest_round.submissions, slot, replace(opening, values=values))
    chunk = entry // honest_round.build.manifest.chunk
    with pytest.raises(
        OpeningMismatch, match=rf"slot {slot}: .* does not open its commitment \(chunks \[{chunk}\]\)"
    ) as caught:
        prove_round(honest_round.build, changed)
    assert caught.value.slot == slot
    check_opening(honest_round.build, opening, honest_round.submissions[slot - 1].commitment.points, slot)


def test_salt_changed(honest_round: Round) -> None:
    opening = honest_round.submissions[1].opening
    salts = opening.salts.copy()
    salts[2, 7, 0] ^= 1
    with pytest.raises(OpeningMismatch, match=r"slot 2: .*chunks \[2\]") as caught:
        prove_round(honest_round.build, with_opening(honest_round.submissions, 2, replace(opening, salts=salts)))
    assert caught.value.slot == 2


def test_entry_changed_by_a_modified_aggregator(honest_round: Round) -> None:
    """Without that check, the proof that can be made is of another column than the commitments'."""
    opening = honest_round.submissions[2].opening
    values = opening.values.copy()
    values[7] += 1
    forged = forge_round(honest_round.build, with_opening(honest_round.submissions, 3, replace(opening, values=values)))
    with pytest.raises(ProofRejected, match="column is not the folded combination of the commitments"):
        verify_round(honest_round.build, forged)
    verify_round(honest_round.build, forge_round(honest_round.build, honest_round.submissions))


# ---------------------------------------------------------------- swapped, dropped, duplicated, inserted


def test_points_and_proofs_swapped(honest_round: Round) -> None:
    """Slot 1's commitment under the address of slot 2."""
    value = honest_round.json()
    first, second = value["commitments"][:2]
    for key in ("points", "range_proofs"):
        first[key], second[key] = second[key], first[key]
    with pytest.raises(ProofRejected, match="slot 1, range proof of chunk 0 carries another's tag"):
        check(honest_round.build, value)


def test_points_swapped(honest_round: Round) -> None:
    value = honest_round.json()
    first, second = value["commitments"][:2]
    first["points"], second["points"] = second["points"], first["points"]
    with pytest.raises(ProofRejected, match="slot 1, range proof of chunk 0 is of another column"):
        check(honest_round.build, value)


def test_chunks_swapped(honest_round: Round) -> None:
    """Two chunks of one trainer, with their proofs."""
    value = honest_round.json()
    for key in ("points", "range_proofs"):
        items = value["commitments"][3][key]
        items[0], items[1] = items[1], items[0]
    with pytest.raises(ProofRejected, match="slot 4, range proof of chunk 0 carries another's tag"):
        check(honest_round.build, value)


def test_slots_swapped(honest_round: Round) -> None:
    """Whole slots in another order: each is well-formed, but the challenges are others."""
    value = honest_round.json()
    slots = value["commitments"]
    slots[0], slots[1] = slots[1], slots[0]
    with pytest.raises(ProofRejected, match="answers other challenges"):
        check(honest_round.build, value)


def test_swapped_before_proving(honest_round: Round) -> None:
    """The aggregator itself mixes up two openings."""
    first, second, *rest = honest_round.submissions
    mixed = [replace(first, opening=second.opening), replace(second, opening=first.opening), *rest]
    with pytest.raises(OpeningMismatch, match="slot 1") as caught:
        prove_round(honest_round.build, mixed)
    assert caught.value.slot == 1


def test_trainer_dropped(honest_round: Round) -> None:
    value = honest_round.json()
    del value["commitments"][2]
    with pytest.raises(ProofRejected, match="settles exactly N=5 trainers: got 4"):
        check(honest_round.build, value)
    with pytest.raises(ProofRejected, match="settles exactly N=5 trainers: got 4"):
        prove_round(honest_round.build, honest_round.submissions[:4])


def test_trainer_replaced(honest_round: Round, stranger: Submission) -> None:
    """One dropped, another put into its slot: well-formed, but not in the transcript."""
    value = honest_round.json()
    value["commitments"][2] = stranger.commitment.to_json()
    with pytest.raises(ProofRejected, match="answers other challenges"):
        check(honest_round.build, value)
    verify_range(honest_round.build, stranger.commitment)


def test_trainer_inserted(honest_round: Round, stranger: Submission) -> None:
    value = honest_round.json()
    value["commitments"].append(stranger.commitment.to_json())
    with pytest.raises(ProofRejected, match="settles exactly N=5 trainers: got 6"):
        check(honest_round.build, value)
    with pytest.raises(ProofRejected, match="settles exactly N=5 trainers: got 6"):
        prove_round(honest_round.build, [*honest_round.submissions, stranger])


def test_trainer_duplicated(honest_round: Round) -> None:
    value = honest_round.json()
    value["commitments"][4] = value["commitments"][0]
    with pytest.raises(ProofRejected, match="slots 1 and 5: the same trainer twice"):
        check(honest_round.build, value)
    doubled = [*honest_round.submissions[:4], honest_round.submissions[0]]
    with pytest.raises(ProofRejected, match="slots 1 and 5: the same trainer twice"):
        prove_round(honest_round.build, doubled)


def test_commitment_duplicated_under_another_name(honest_round: Round) -> None:
    value = honest_round.json()
    value["commitments"][4] = value["commitments"][0] | {"trainer": value["commitments"][4]["trainer"]}
    with pytest.raises(ProofRejected, match="slot 5, range proof of chunk 0 carries another's tag"):
        check(honest_round.build, value)


# ---------------------------------------------------------------- copies


def test_copied_commitment(honest_round: Round) -> None:
    """All that a thief sees before the deadline is public: it is worthless under another address."""
    victim = honest_round.submissions[0].commitment
    with pytest.raises(ProofRejected, match="carries another's tag"):
        verify_range(honest_round.build, replace(victim, trainer=THIEF))
    verify_range(honest_round.build, victim)


def test_copied_commitment_with_the_thief_s_tag_written_in(honest_round: Round, stranger: Submission) -> None:
    """The thief's tag in the victim's proofs: then the proof is of another instance."""
    victim = honest_round.submissions[0].commitment
    own = stranger.commitment.range_proofs
    proofs = tuple(Proof(theirs.data, mine.instances) for theirs, mine in zip(victim.range_proofs, own, strict=True))
    with pytest.raises(ProofRejected, match="range proof of chunk 0 does not verify"):
        verify_range(honest_round.build, Commitment(ROUND, stranger.commitment.trainer, victim.points, proofs))


def test_copy_moved_by_a_known_update(honest_round: Round, stranger: Submission) -> None:
    """Homomorphism gives the thief the commitment of victim + δ, but no proof of knowledge of it."""
    victim = honest_round.submissions[0].commitment
    blinding = honest_round.build.manifest.blinding
    moved = tuple(
        combine(pair, [1, 1], blinding) for pair in zip(victim.points, stranger.commitment.points, strict=True)
    )
    thief = Commitment(ROUND, stranger.commitment.trainer, moved, stranger.commitment.range_proofs)
    with pytest.raises(ProofRejected, match="is of another column than the committed one"):
        verify_range(honest_round.build, thief)


# ---------------------------------------------------------------- range proofs that belong elsewhere


@pytest.fixture(scope="module")
def proven_elsewhere(small_build: Build, honest_round: Round) -> dict[str, Commitment]:
    """Slot 1's update, its range proven under another tag: of another trainer, round, project, chain."""
    opening, honest = honest_round.submissions[0].opening, honest_round.submissions[0].commitment
    out = {}
    for name, round_id, trainer in [
        ("trainer", ROUND, THIEF),
        ("round", replace(ROUND, round=8), 0x1000),
        ("project", replace(ROUND, project=1), 0x1000),
        ("chain", replace(ROUND, chain_id=1), 0x1000),
    ]:
        proofs = dict(prove_range(small_build, opening, round_id, trainer, [0]))
        out[name] = Commitment(round_id, trainer, honest.points, (proofs[0], *honest.range_proofs[1:]))
    return out


@pytest.mark.parametrize("other", ["trainer", "round", "project", "chain"])
def test_range_proof_with_another_tag(honest_round: Round, proven_elsewhere: dict[str, Commitment], other: str) -> None:
    made = proven_elsewhere[other]
    honest = honest_round.submissions[0].commitment
    with pytest.raises(ProofRejected, match="range proof of chunk 0 carries another's tag"):
        verify_range(honest_round.build, replace(honest, range_proofs=made.range_proofs))
    with pytest.raises(ProofRejected, match="range proof of chunk 1 carries another's tag"):
        verify_range(honest_round.build, made)  # where it belongs, chunk 0 is right


def test_range_proof_of_another_chunk_s_values(honest_round: Round) -> None:
    """The right tag on a proof of the wrong chunk: chunk 1 is proven twice, chunk 0 never."""
    build, honest = honest_round.build, honest_round.submissions[0]
    column = column_of(honest, 1, build.manifest.chunk)
    _, proof = range_proof(build, honest, column, "range", 0)
    with pytest.raises(ProofRejected, match="range proof of chunk 0 is of another column"):
        verify_range(build, replace(honest.commitment, range_proofs=(proof, *honest.commitment.range_proofs[1:])))


def test_range_proof_count(honest_round: Round) -> None:
    honest = honest_round.submissions[0].commitment
    with pytest.raises(ProofRejected, match="commitment has 2 range proofs: wanted 3"):
        verify_range(honest_round.build, replace(honest, range_proofs=honest.range_proofs[:2]))
    with pytest.raises(ProofRejected, match="commitment has 2 points: wanted 3"):
        verify_range(honest_round.build, replace(honest, points=honest.points[:2]))


# ---------------------------------------------------------------- the last chunk


def last_chunk(honest_round: Round) -> tuple[Submission, list[int], int]:
    """Slot 1, its last column, and how many of its values are parameters."""
    manifest = honest_round.build.manifest
    submission = honest_round.submissions[0]
    return submission, column_of(submission, manifest.chunks - 1, manifest.chunk), manifest.used_in_last


def with_last(commitment: Commitment, point, proof: Proof) -> Commitment:
    return replace(
        commitment, points=(*commitment.points[:2], point), range_proofs=(*commitment.range_proofs[:2], proof)
    )


@pytest.mark.parametrize("where", ["first", "last", "all"])
def test_energy_in_the_padding(honest_round: Round, where: str) -> None:
    """In range, so a proof exists; its second output is the energy, and the verifier wants 0."""
    build = honest_round.build
    honest, column, used = last_chunk(honest_round)
    size = build.manifest.chunk
    rows = {"first": [used], "last": [size - 1], "all": range(used, size)}[where]
    for row in rows:
        column[row] = 500
    point, proof = range_proof(build, honest, column, "range-last", 2)
    assert proof.instances[1] == 500 * 500 * len(rows)
    with pytest.raises(ProofRejected, match="not zero \\(energy in the padding\\)"):
        verify_range(build, with_last(honest.commitment, point, proof))
    lied = Proof(proof.data, (proof.instances[0], 0))
    with pytest.raises(ProofRejected, match="range proof of chunk 2 does not verify"):
        verify_range(build, with_last(honest.commitment, point, lied))


def test_padding_zero_proven_afresh(honest_round: Round) -> None:
    """The honest twin, by the same means."""
    honest, column, _ = last_chunk(honest_round)
    point, proof = range_proof(honest_round.build, honest, column, "range-last", 2)
    assert point == honest.commitment.points[2]
    verify_range(honest_round.build, with_last(honest.commitment, point, proof))


def test_last_chunk_under_the_circuit_of_the_others(honest_round: Round) -> None:
    """`range` asks nothing about the padding: a proof by it is not taken for the last chunk."""
    build = honest_round.build
    honest, column, used = last_chunk(honest_round)
    column[used] = 500
    point, proof = range_proof(build, honest, column, "range", 2)
    with pytest.raises(ProofRejected, match="range proof of chunk 2 has 1 instances: wanted 2"):
        verify_range(build, with_last(honest.commitment, point, proof))
    longer = Proof(proof.data, (*proof.instances, 0))
    with pytest.raises(ProofRejected, match="range proof of chunk 2 (has .* bytes: wanted|does not verify)"):
        verify_range(build, with_last(honest.commitment, point, longer))


def test_other_chunks_under_the_circuit_of_the_last(honest_round: Round) -> None:
    build, honest = honest_round.build, honest_round.submissions[0]
    used = build.manifest.used_in_last
    column = [v if row < used else 0 for row, v in enumerate(column_of(honest, 0, build.manifest.chunk))]
    point, proof = range_proof(build, honest, column, "range-last", 0)
    made = replace(
        honest.commitment,
        points=(point, *honest.commitment.points[1:]),
        range_proofs=(proof, *honest.commitment.range_proofs[1:]),
    )
    with pytest.raises(ProofRejected, match="range proof of chunk 0 has 2 instances: wanted 1"):
        verify_range(build, made)


def test_salts_in_the_rows_after_the_parameters(honest_round: Round) -> None:
    """Salts right behind the last parameter are out of the table's range: no proof exists."""
    build = honest_round.build
    honest, column, used = last_chunk(honest_round)
    size = build.manifest.chunk
    moved = column[:used] + column[size:] + [0] * (size - used)
    with pytest.raises(StatementFalse, match=f"chunk 2: {LOOKUP}"):
        range_proof(build, honest, moved, "range-last", 2)


def test_small_salts_in_the_rows_after_the_parameters(honest_round: Round) -> None:
    """Salts small enough for the table are energy in the padding."""
    build = honest_round.build
    honest, column, used = last_chunk(honest_round)
    size = build.manifest.chunk
    moved = column[:used] + [1, 2, 3, 4, 5, 6, 7, 8] + [0] * (size - used)
    point, proof = range_proof(build, honest, moved, "range-last", 2)
    with pytest.raises(ProofRejected, match="energy in the padding"):
        verify_range(build, with_last(honest.commitment, point, proof))


def test_salts_before_the_values(honest_round: Round) -> None:
    build, honest = honest_round.build, honest_round.submissions[0]
    column = column_of(honest, 0, build.manifest.chunk)
    with pytest.raises(StatementFalse, match=f"chunk 0: {LOOKUP}"):
        range_proof(build, honest, column[-8:] + column[:-8], "range", 0)


def test_values_beyond_the_range(honest_round: Round) -> None:
    """−T and T − 1 have a proof, −T − 1 and T and huge field elements have none: T is what the table holds."""
    build, honest = honest_round.build, honest_round.submissions[0]
    bound = build.manifest.range_bound
    column = column_of(honest, 0, build.manifest.chunk)
    column[0], column[-9] = P - bound, bound - 1
    _, proof = range_proof(build, honest, column, "range", 0, THIEF)
    assert len(proof.data) == build.manifest.value["circuits"]["range"]["proof_bytes"]
    for row, value in ((0, P - bound - 1), (build.manifest.chunk - 1, bound), (500, P // 2)):
        beyond = list(column)
        beyond[row] = value
        with pytest.raises(StatementFalse, match=f"chunk 0: {LOOKUP}"):
            range_proof(build, honest, beyond, "range", 0, THIEF)


# ---------------------------------------------------------------- salts


@pytest.mark.parametrize("at, of", [((1, 0), (0, 0)), ((2, 7), (2, 3)), ((0, 1), (2, 0))])
def test_opening_that_uses_a_salt_twice(honest_round: Round, at: tuple[int, int], of: tuple[int, int]) -> None:
    """Within a chunk or across chunks: not admitted, though range proofs and commitment are right."""
    build, honest = honest_round.build, honest_round.submissions[0]
    admit(build, honest, 1)
    salts = honest.opening.salts.copy()
    salts[at] = salts[of]
    opening = replace(honest.opening, salts=salts)
    with pytest.raises(SaltReuse, match="slot 1: the opening uses a salt twice"):
        admit(build, Submission(honest.commitment, opening), 1)


def test_admission_checks_the_range_proofs(honest_round: Round) -> None:
    honest = honest_round.submissions[0]
    with pytest.raises(ProofRejected, match="slot 1, range proof of chunk 0 carries another's tag"):
        admit(honest_round.build, replace(honest, commitment=replace(honest.commitment, trainer=THIEF)), 1)


def test_salts_are_fresh(honest_round: Round) -> None:
    """No two of all the salts of a round are equal, and committing again draws others."""
    build, submissions = honest_round.build, honest_round.submissions
    again = open_with_fresh_salts(submissions[0].opening.values, build.manifest)
    salts = [salt.tobytes() for o in (again, *(s.opening for s in submissions)) for salt in o.salts.reshape(-1, 32)]
    assert len(set(salts)) == len(salts) == 6 * 3 * 8


@pytest.fixture(scope="module")
def used_folder(one_chunk_build: Build, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trainer")
    commit_update(one_chunk_build, np.linspace(-0.5, 0.5, 40), folder, 7, ROUND)
    return folder


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"update": np.linspace(-0.5, 0.6, 40)}, "opening of another update: its salts are spent"),
        ({"round_id": replace(ROUND, round=8)}, "another trainer, round or build"),
        ({"round_id": replace(ROUND, project=1)}, "another trainer, round or build"),
        ({"round_id": replace(ROUND, chain_id=1)}, "another trainer, round or build"),
        ({"trainer": 8}, "another trainer, round or build"),
        ({"beta": 100}, "opening of another update: its salts are spent"),
    ],
    ids=["update", "round", "project", "chain", "trainer", "beta"],
)
def test_used_folder(one_chunk_build: Build, used_folder: Path, tmp_path: Path, changes: dict, reason: str) -> None:
    folder = tmp_path / "trainer"
    shutil.copytree(used_folder, folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    honest = {"update": np.linspace(-0.5, 0.5, 40), "trainer": 7, "round_id": ROUND}
    with pytest.raises(SaltReuse, match=reason):
        commit_update(one_chunk_build, folder=folder, **honest | changes)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    again = commit_update(one_chunk_build, folder=folder, **honest)
    assert again.commitment == Commitment.load(used_folder / "commitment.json", one_chunk_build.manifest)


def test_used_folder_of_another_build(used_folder: Path, tmp_path: Path, one_chunk_build: Build) -> None:
    other = make_build(
        tmp_path / "other", trainers=3, params=40, filter=MultiKrum(0, 3), score="leave-one-out", beta_max=10**6
    )
    with pytest.raises(SaltReuse, match="another trainer, round or build"):
        commit_update(other, np.linspace(-0.5, 0.5, 40), used_folder, 7, ROUND)


@pytest.mark.parametrize("damage", ["", "{}", "[]", '{"proof": "0x00", "instances": []}'])
def test_damaged_kept_range_proof(one_chunk_build: Build, used_folder: Path, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "trainer"
    shutil.copytree(used_folder, folder)
    (folder / "range-proofs" / "000000.json").write_text(damage)
    with pytest.raises(InputError, match="range proof"):
        commit_update(one_chunk_build, np.linspace(-0.5, 0.5, 40), folder, 7, ROUND)


def test_kept_range_proof_of_another_folder(one_chunk_build: Build, used_folder: Path, tmp_path: Path) -> None:
    """It is of another column; nothing is published."""
    folder = tmp_path / "trainer"
    commit_update(one_chunk_build, np.linspace(-0.5, 0.5, 40), folder, 7, ROUND)
    (folder / "commitment.json").unlink()
    shutil.copyfile(used_folder / "range-proofs" / "000000.json", folder / "range-proofs" / "000000.json")
    with pytest.raises(ProofRejected, match="range proof of chunk 0 is of another column"):
        commit_update(one_chunk_build, np.linspace(-0.5, 0.5, 40), folder, 7, ROUND)
    assert not (folder / "commitment.json").exists()


def test_two_commits_at_once(one_chunk_build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process commits between this one's look for an opening and its writing of one."""
    folder, update = tmp_path / "trainer", np.linspace(-0.5, 0.5, 40)
    np.save(tmp_path / "u.npy", update)
    command = [sys.executable, "-m", "zkmarket", "commit", str(one_chunk_build.folder), str(tmp_path / "u.npy")]
    command += ["--tag", address_text(7), "-o", str(folder)]
    started: list[subprocess.Popen] = []
    real = trainer_module.open_with_fresh_salts

    def slow(*args) -> Opening:
        started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        with contextlib.suppress(subprocess.TimeoutExpired):  # it may as well wait for us
            started[0].wait(timeout=10)
        return real(*args)

    monkeypatch.setattr(trainer_module, "open_with_fresh_salts", slow)
    with contextlib.suppress(ZkmarketError):
        commit_update(one_chunk_build, update, folder, 7)
    assert started[0].wait(timeout=60) in (0, 1, 2)
    opening = Opening.load(folder / "opening.npz", one_chunk_build.manifest)
    published = Commitment.load(folder / "commitment.json", one_chunk_build.manifest)
    check_opening(one_chunk_build, opening, published.points)


def test_range_proofs_of_a_lost_opening(one_chunk_build: Build, used_folder: Path, tmp_path: Path) -> None:
    """Without its opening a folder starts anew, with other salts and other proofs."""
    folder = tmp_path / "trainer"
    shutil.copytree(used_folder, folder)
    (folder / "opening.npz").unlink()
    again = commit_update(one_chunk_build, np.linspace(-0.5, 0.5, 40), folder, 7, ROUND)
    verify_range(one_chunk_build, again.commitment)
    assert again.commitment.points != Commitment.load(used_folder / "commitment.json", one_chunk_build.manifest).points


def test_commitment_is_hiding(honest_round: Round) -> None:
    """The same values under other salts: no point, and no instance but the tag, is shared."""
    build, honest = honest_round.build, honest_round.submissions[0]
    again = submit(build, honest.opening.values, honest.commitment.trainer, ranges=False)
    assert not set(again.commitment.points) & set(honest.commitment.points)
    unsalted = commit_column(build, "gram", column_of(honest, 0, build.manifest.chunk)[:-8])
    assert unsalted not in (*again.commitment.points, *honest.commitment.points)
