"""Attacks on commitments: other updates, other trainers, other chunks, copies, used salts, misplaced values."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.attacks.forger import check, column_of, commit_column, forge_round
from tests.conftest import PARAMS, ROUND, Round, build_for, honest_updates, submit
from zkmarket.build import Build
from zkmarket.crypto import INFINITY, P, from_ints
from zkmarket.errors import DomainError, InputError, OpeningMismatch, ProofRejected, SaltReuse, ZkmarketError
from zkmarket.round import (
    COMMITMENT_FILE,
    SALTS_FILE,
    VALUES_FILE,
    Commitment,
    Opening,
    RoundId,
    Submission,
    address_text,
    admit,
    check_opening,
    combine,
    commit,
    commit_update,
    commitment,
    open_with_fresh_salts,
    prove_round,
    verify_round,
)
from zkmarket.rules import MultiKrum

pytestmark = [pytest.mark.proof, pytest.mark.usefixtures("remembered")]

THIEF = 0xBAD
NOT_COMBINED = "its columns are not the combinations of the commitments"


@pytest.fixture(scope="module")
def stranger(small_build: Build) -> Submission:
    """A well-formed submission of one who is not in the round."""
    return submit(small_build, honest_updates(2, PARAMS, seed=9)[0], 0x2000)


def with_opening(submissions: tuple[Submission, ...], slot: int, opening: Opening) -> list[Submission]:
    out = list(submissions)
    out[slot - 1] = replace(out[slot - 1], opening=opening)
    return out


# ---------------------------------------------------------------- one entry changed after commitment


@pytest.mark.exhaustive("other entries", but=1)
@pytest.mark.parametrize("slot, entry", [(1, 0), (3, 1500), (5, PARAMS - 1)])
def test_entry_changed(honest_round: Round, slot: int, entry: int) -> None:
    """An update that is not the committed one is not admitted, and its trainer named; nor does it become a proof."""
    build, submissions = honest_round.build, honest_round.submissions
    opening = submissions[slot - 1].opening
    values = opening.values.copy()
    values[entry] += 1
    changed = with_opening(submissions, slot, replace(opening, values=values))
    chunk = entry // build.manifest.chunk
    with pytest.raises(
        OpeningMismatch, match=rf"slot {slot}: .* does not open its commitment \(chunks \[{chunk}\]\)"
    ) as caught:
        admit(build, changed[slot - 1], slot)
    assert caught.value.slot == slot
    with pytest.raises(ProofRejected, match=NOT_COMBINED):
        prove_round(build, changed)
    admit(build, submissions[slot - 1], slot)


def test_salt_changed(honest_round: Round) -> None:
    build, submissions = honest_round.build, honest_round.submissions
    opening = submissions[1].opening
    salts = opening.salts.copy()
    salts[2, 7, 0] ^= 1
    changed = with_opening(submissions, 2, replace(opening, salts=salts))
    with pytest.raises(OpeningMismatch, match=r"slot 2: .*chunks \[2\]") as caught:
        admit(build, changed[1], 2)
    assert caught.value.slot == 2
    with pytest.raises(ProofRejected, match=NOT_COMBINED):
        prove_round(build, changed)


def test_entry_changed_by_a_modified_aggregator(honest_round: Round) -> None:
    """Without that check, the proof that can be made is of other columns than the commitments'."""
    opening = honest_round.submissions[2].opening
    values = opening.values.copy()
    values[7] += 1
    forged = forge_round(honest_round.build, with_opening(honest_round.submissions, 3, replace(opening, values=values)))
    with pytest.raises(ProofRejected, match=NOT_COMBINED):
        verify_round(honest_round.build, forged)
    verify_round(honest_round.build, forge_round(honest_round.build, honest_round.submissions))


# ---------------------------------------------------------------- openings that are none of an update


@pytest.mark.parametrize("value", [4096, -4097, 1 << 40])
def test_a_value_beyond_the_range_is_not_admitted(honest_round: Round, value: int) -> None:
    """Though it opens what was committed: a receipt vouches for [−Q, Q), which alone may make a round unprovable."""
    build = honest_round.build
    values = honest_round.submissions[0].opening.values.astype(np.int64)
    for inside in (4095, -4096):
        values[3] = inside
        admit(build, submit(build, values, 0x1000), 1)
    values[3] = value
    salts = honest_round.submissions[0].opening.salts
    with pytest.raises(DomainError, match=r"an update's values lie in \[−4096, 4096\): got"):
        admit(build, Submission(honest_round.submissions[0].commitment, Opening(values, salts)), 1)


def test_more_or_fewer_points_are_not_admitted(honest_round: Round) -> None:
    honest = honest_round.submissions[0]
    points = honest.commitment.points
    for changed in (points[:2], (*points, points[0]), ()):
        commitment = replace(honest.commitment, points=changed)
        with pytest.raises(OpeningMismatch, match=f"the commitment has {len(changed)} points: wanted 3"):
            admit(honest_round.build, replace(honest, commitment=commitment), 1)


MISPLACED = {
    "a value in the padding": lambda column, used, size: [*column[:used], 5, *column[used + 1 :]],
    "a value in the last row of the padding": lambda column, used, size: [*column[: size - 1], 5, *column[size:]],
    "salts behind the parameters": lambda column, used, size: column[:used] + column[size:] + [0] * (size - used),
    "salts before the values": lambda column, used, size: column[size:] + column[:size],
    "one salt more": lambda column, used, size: [*column, 5],
    "a third": lambda column, used, size: [pow(3, -1, P), *column[1:]],
}


@pytest.mark.parametrize("change", MISPLACED.values(), ids=MISPLACED)
def test_a_commitment_to_no_update(honest_round: Round, change) -> None:
    """A column with something where an update has zeros, or no integer: no opening opens it, so nobody admits it."""
    build, honest = honest_round.build, honest_round.submissions[0]
    size, chunks = build.manifest.chunk, build.manifest.chunks
    column = column_of(honest, chunks - 1, size)
    used = PARAMS - (chunks - 1) * size
    assert commit_column(build, "base", column) == honest.commitment.points[-1]
    point = commit_column(build, "base", change(column, used, size))
    commitment = replace(honest.commitment, points=(*honest.commitment.points[:-1], point))
    with pytest.raises(OpeningMismatch, match=r"slot 1: .*chunks \[2\]"):
        admit(build, replace(honest, commitment=commitment), 1)
    lying = [replace(honest, commitment=commitment), *honest_round.submissions[1:]]
    with pytest.raises(ProofRejected, match=NOT_COMBINED):
        prove_round(build, lying)


# ---------------------------------------------------------------- swapped, dropped, duplicated, inserted

OTHER_CHALLENGES = "answers other challenges"


def test_points_swapped(honest_round: Round) -> None:
    """Slot 1's points under the address of slot 2, and the other way round."""
    value = honest_round.json()
    first, second = value["commitments"][:2]
    first["points"], second["points"] = second["points"], first["points"]
    with pytest.raises(ProofRejected, match=OTHER_CHALLENGES):
        check(honest_round.build, value)


def test_chunks_swapped(honest_round: Round) -> None:
    """Two chunks of one trainer."""
    value = honest_round.json()
    points = value["commitments"][3]["points"]
    points[0], points[1] = points[1], points[0]
    with pytest.raises(ProofRejected, match=OTHER_CHALLENGES):
        check(honest_round.build, value)


def test_slots_swapped(honest_round: Round) -> None:
    """Whole slots in another order: each is well-formed, but the challenges are others."""
    value = honest_round.json()
    slots = value["commitments"]
    slots[0], slots[1] = slots[1], slots[0]
    with pytest.raises(ProofRejected, match=OTHER_CHALLENGES):
        check(honest_round.build, value)


def test_swapped_before_proving(honest_round: Round) -> None:
    """The aggregator itself mixes up two openings."""
    first, second, *rest = honest_round.submissions
    mixed = [replace(first, opening=second.opening), replace(second, opening=first.opening), *rest]
    with pytest.raises(ProofRejected, match=NOT_COMBINED):
        prove_round(honest_round.build, mixed)
    with pytest.raises(OpeningMismatch, match="slot 1"):
        admit(honest_round.build, mixed[0], 1)


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
    with pytest.raises(ProofRejected, match=OTHER_CHALLENGES):
        check(honest_round.build, value)
    admit(honest_round.build, stranger)


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
    with pytest.raises(ProofRejected, match=OTHER_CHALLENGES):
        check(honest_round.build, value)


def test_two_equal_updates_of_one_will(honest_round: Round) -> None:
    """Whoever made two slots equal owns both: the round is proven, and no clone can stop it."""
    build, honest = honest_round.build, honest_round.submissions
    clone = replace(honest[0], commitment=replace(honest[0].commitment, trainer=THIEF))
    proof, _ = prove_round(build, [*honest[:4], clone])
    decision = verify_round(build, proof)
    assert decision.mask[0] == decision.mask[4]


# ---------------------------------------------------------------- copies


def test_a_digest_is_worthless_under_another_name(honest_round: Round) -> None:
    """All that a thief sees before the deadline is a digest, which names its author."""
    victim = honest_round.submissions[0].commitment
    digest = victim.digest()
    others = [
        replace(victim, trainer=THIEF),
        replace(victim, round_id=replace(ROUND, round=8)),
        replace(victim, round_id=replace(ROUND, project=1)),
        replace(victim, round_id=replace(ROUND, chain_id=1)),
        replace(victim, round_id=RoundId()),
        replace(victim, points=victim.points[::-1]),
    ]
    assert digest not in [other.digest() for other in others]
    assert digest != victim.digest("root")
    assert len({digest, victim.digest("root"), *(other.digest() for other in others)}) == 2 + len(others)


def test_copy_moved_by_a_known_update(honest_round: Round, stranger: Submission) -> None:
    """Homomorphism gives a thief that learns points the commitment of victim + δ, but nothing that opens it."""
    build, victim = honest_round.build, honest_round.submissions[0].commitment
    blinding = build.manifest.blinding
    moved = tuple(
        combine(pair, [1, 1], blinding) for pair in zip(victim.points, stranger.commitment.points, strict=True)
    )
    thief = Submission(Commitment(ROUND, THIEF, moved), stranger.opening)
    with pytest.raises(OpeningMismatch, match=r"does not open its commitment \(chunks \[0, 1, 2\]\)"):
        admit(build, thief, 1)
    opening = honest_round.submissions[0].opening
    both = [int.from_bytes(a, "little") + int.from_bytes(b, "little") for a, b in salt_pairs(opening, stranger.opening)]
    known = Opening(opening.values + stranger.opening.values, from_ints(both).reshape(opening.salts.shape))
    admit(build, Submission(thief.commitment, known), 1)  # who knows both could as well commit to it


def salt_pairs(one: Opening, other: Opening) -> list[tuple[bytes, bytes]]:
    pairs = zip(one.salts.reshape(-1, 32), other.salts.reshape(-1, 32), strict=True)
    return [(a.tobytes(), b.tobytes()) for a, b in pairs]


# ---------------------------------------------------------------- salts


@pytest.mark.parametrize("at, of", [((1, 0), (0, 0)), ((2, 7), (2, 3)), ((0, 1), (2, 0))])
def test_opening_that_uses_a_salt_twice(honest_round: Round, at: tuple[int, int], of: tuple[int, int]) -> None:
    """Within a chunk or across chunks: not admitted, though its commitment is right."""
    build, honest = honest_round.build, honest_round.submissions[0]
    admit(build, honest, 1)
    salts = honest.opening.salts.copy()
    salts[at] = salts[of]
    opening = replace(honest.opening, salts=salts)
    points = tuple(
        commit_column(build, "base", column_of(replace(honest, opening=opening), chunk, build.manifest.chunk))
        for chunk in range(3)
    )
    with pytest.raises(SaltReuse, match="slot 1: the opening uses a salt twice"):
        admit(build, Submission(replace(honest.commitment, points=points), opening), 1)


def test_salts_are_fresh(honest_round: Round) -> None:
    """No two of all the salts of a round are equal, and committing again draws others."""
    build, submissions = honest_round.build, honest_round.submissions
    again = open_with_fresh_salts(submissions[0].opening.values, build.manifest)
    salts = [salt.tobytes() for o in (again, *(s.opening for s in submissions)) for salt in o.salts.reshape(-1, 32)]
    assert len(set(salts)) == len(salts) == 6 * 3 * 8


def test_commitment_is_hiding(honest_round: Round) -> None:
    """The same values under other salts: no point is shared, and none is the point of the values alone."""
    build, honest = honest_round.build, honest_round.submissions[0]
    again = submit(build, honest.opening.values, honest.commitment.trainer)
    assert not set(again.commitment.points) & set(honest.commitment.points)
    unsalted = commit_column(build, "base", column_of(honest, 0, build.manifest.chunk)[:-8])
    assert unsalted not in (*again.commitment.points, *honest.commitment.points, INFINITY)


# ---------------------------------------------------------------- the trainer's folder


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
    assert again.commitment == Commitment.load(used_folder / COMMITMENT_FILE, one_chunk_build.manifest)


def test_used_folder_of_another_build(used_folder: Path, tmp_path: Path, one_chunk_build: Build) -> None:
    other = build_for(
        tmp_path / "other", trainers=3, params=40, filter=MultiKrum(0, 3), score="leave-one-out", beta_max=10**6
    )
    with pytest.raises(SaltReuse, match="another trainer, round or build"):
        commit_update(other, np.linspace(-0.5, 0.5, 40), used_folder, 7, ROUND)


def test_folder_of_a_version_that_proved_ranges(one_chunk_build: Build, tmp_path: Path, used_folder: Path) -> None:
    """Refused with a sentence, and nothing of it is touched; so is its commitment."""
    folder = tmp_path / "trainer"
    folder.mkdir()
    (folder / "opening.npz").write_bytes(b"anything")
    with pytest.raises(InputError, match="made by a version whose trainers proved ranges: commit again, in a new fold"):
        commit_update(one_chunk_build, np.linspace(-0.5, 0.5, 40), folder, 7, ROUND)
    assert sorted(path.name for path in folder.iterdir() if path.name != ".lock") == ["opening.npz"]
    value = json.loads((used_folder / COMMITMENT_FILE).read_text())
    (folder / COMMITMENT_FILE).write_text(json.dumps(value | {"format": "zkmarket-commitment/1", "range_proofs": []}))
    with pytest.raises(InputError, match="of a version whose trainers proved ranges: commit the update again"):
        Commitment.load(folder / COMMITMENT_FILE, one_chunk_build.manifest)


@pytest.mark.parametrize("name", [VALUES_FILE, SALTS_FILE])
@pytest.mark.parametrize("damage", [b"", b"{}", b"\x93NUMPY"])
def test_damaged_opening(one_chunk_build: Build, used_folder: Path, tmp_path: Path, name: str, damage: bytes) -> None:
    """Said, and not drawn again: what was committed to with it may be out."""
    folder = tmp_path / "trainer"
    shutil.copytree(used_folder, folder)
    (folder / name).write_bytes(damage)
    with pytest.raises(InputError, match="(values|salts) of the opening"):
        commit_update(one_chunk_build, np.linspace(-0.5, 0.5, 40), folder, 7, ROUND)


def test_two_commits_at_once(one_chunk_build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process commits between this one's look for an opening and its writing of one."""
    folder, update = tmp_path / "trainer", np.linspace(-0.5, 0.5, 40)
    np.save(tmp_path / "u.npy", update)
    command = [sys.executable, "-m", "zkmarket", "commit", str(one_chunk_build.folder), str(tmp_path / "u.npy")]
    command += ["--trainer", address_text(7), "-o", str(folder)]
    started: list[subprocess.Popen] = []
    real = commitment.open_with_fresh_salts

    def slow(*args) -> Opening:
        started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True))
        with contextlib.suppress(subprocess.TimeoutExpired):  # it may as well wait for us
            started[0].wait(timeout=10)
        return real(*args)

    monkeypatch.setattr(commit, "open_with_fresh_salts", slow)
    with contextlib.suppress(ZkmarketError):
        commit_update(one_chunk_build, update, folder, 7)
    _, said = started[0].communicate(timeout=60)
    assert started[0].returncode in (0, 2) and "usage:" not in said, said
    opening = Opening.load(folder, one_chunk_build.manifest)
    published = Commitment.load(folder / COMMITMENT_FILE, one_chunk_build.manifest)
    check_opening(one_chunk_build, opening, published.points)


@pytest.mark.parametrize("lost", [(VALUES_FILE,), (VALUES_FILE, SALTS_FILE)])
def test_a_lost_opening(one_chunk_build: Build, used_folder: Path, tmp_path: Path, lost: tuple[str, ...]) -> None:
    """Without its opening a folder starts anew, with other salts; also where the values alone were never written."""
    folder = tmp_path / "trainer"
    shutil.copytree(used_folder, folder)
    for name in lost:
        (folder / name).unlink()
    again = commit_update(one_chunk_build, np.linspace(-0.5, 0.5, 40), folder, 7, ROUND)
    check_opening(one_chunk_build, Opening.load(folder, one_chunk_build.manifest), again.commitment.points)
    assert again.commitment.points != Commitment.load(used_folder / COMMITMENT_FILE, one_chunk_build.manifest).points
