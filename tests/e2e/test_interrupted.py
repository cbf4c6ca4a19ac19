"""kill -9 in the middle of a build, a commit and a round; then the same command again."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.shell import Done, failed, killed_at, succeeded, zkmarket
from zkmarket.backend import srs
from zkmarket.build import Build
from zkmarket.round import Commitment, Opening, check_opening

pytestmark = pytest.mark.e2e

RULE = ("--filter", "multi-krum:f=0,m=3", "--score", "leave-one-out", "--logrows", "10")


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """A folder for temporary files of one's own, so that what is left behind can be seen."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    return folder


def witness_folders(temporary: Path, pid: int) -> list[Path]:
    """Without ezkl's tables, which are no secret."""
    return sorted(path for path in temporary.glob(f"zkmarket-{pid}-*") if "-ezkl-" not in path.name)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a build of 40 parameters and three committed updates."""
    place = tmp_path_factory.mktemp("small")
    succeeded(zkmarket(place, "srs", "generate"))
    succeeded(zkmarket(place, "build", "--trainers", 3, "--params", 40, *RULE, "-o", "build"))
    for i in range(3):
        np.save(place / f"u{i}.npy", np.random.default_rng(i).uniform(-0.5, 0.5, 40))
        succeeded(zkmarket(place, "commit", "build", f"u{i}.npy", "-o", f"updates/trainer-{i}"))
    return place


# ---------------------------------------------------------------- build


def cache_without_keys(place: Path) -> Path:
    """A cache of one's own, with the SRS of the small sizes."""
    folder = srs.generate().folder
    target = place / "cache/srs" / folder.name
    target.mkdir(parents=True)
    for path in (folder / "srs.json", *folder.glob("kzg1[0-3].srs")):
        shutil.copyfile(path, target / path.name)
    return place / "cache"


def half_made(cache: Path) -> list[str]:
    return [path.name for path in (cache / "keys").glob(".*")]


@dataclass(frozen=True)
class Interrupted:
    """A build that was killed while the settlement keys were made, and run again in the same cache."""

    place: Path
    cache: Path
    finished: set[str]
    kept: list[str]
    again: Done

    def build(self, folder: str) -> Done:
        command = ("build", "--trainers", 3, "--params", 40, *RULE, "-o", folder, "--json")
        return succeeded(zkmarket(self.place, *command, ZKMARKET_CACHE=str(self.cache)))


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Interrupted:
    place = tmp_path_factory.mktemp("interrupted")
    cache = cache_without_keys(place)
    command = ("build", "--trainers", 3, "--params", 40, *RULE, "-o", "build", "--json")
    environment = {"ZKMARKET_CACHE": str(cache)}
    killed_at(place, "settlement.py: 2^", *command, when=lambda: bool(half_made(cache)), **environment)
    finished = {path.parent.name for path in cache.glob("keys/*/entry.json")}
    kept = [path.name for path in place.iterdir()]
    return Interrupted(place, cache, finished, kept, succeeded(zkmarket(place, *command, **environment)))


def test_build(interrupted: Interrupted, small: Path) -> None:
    """No build under its name, finished keys are kept, and the second run is the build that it would have been."""
    assert interrupted.kept == ["cache"]
    assert len(interrupted.finished) == 1  # base
    assert "settlement.py: 2^" in interrupted.again.err
    assert "base.py" not in interrupted.again.err
    assert interrupted.finished < {path.parent.name for path in interrupted.cache.glob("keys/*/entry.json")}
    whole = json.loads((small / "build/manifest.json").read_text())
    assert interrupted.again.json["digest"] == whole["digest"]
    Build.load(interrupted.place / "build", prover=True)


def test_build_leaves_no_half_made_keys(interrupted: Interrupted) -> None:
    """They may be hundreds of MB each."""
    assert half_made(interrupted.cache) == []


def test_damaged_keys_in_the_cache(interrupted: Interrupted) -> None:
    """A key that was cut short, by a full disk or a crash, is seen and made again: the same one."""
    entries = [json.loads(path.read_text()) for path in interrupted.cache.glob("keys/*/entry.json")]
    assert len(entries) == 2
    for folder in interrupted.cache.glob("keys/*/"):
        if (folder / "vk.key").is_file() and folder.name in interrupted.finished:
            data = (folder / "vk.key").read_bytes()
            (folder / "vk.key").unlink()  # a build may share the file
            (folder / "vk.key").write_bytes(data[:-1])
    done = interrupted.build("two")
    assert done.err.count("are damaged: making them again") == 1
    assert done.json["digest"] == interrupted.again.json["digest"]
    Build.load(interrupted.place / "build", prover=True)


def test_build_over_an_older_one(small: Path, tmp_path: Path) -> None:
    """A build that is replaced stays whole until the new one is."""
    shutil.copytree(small / "build", tmp_path / "build")
    before = (tmp_path / "build/manifest.json").read_bytes()
    cache = cache_without_keys(tmp_path)
    command = ("build", "--trainers", 3, "--params", 41, *RULE, "-o", "build")
    killed_at(tmp_path, "base.py: 2^", *command, ZKMARKET_CACHE=str(cache))
    assert (tmp_path / "build/manifest.json").read_bytes() == before
    Build.load(tmp_path / "build", prover=True)


# ---------------------------------------------------------------- commit


OPENING = ("salts.npy", "values.npy")


def opening_of(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in OPENING}


def check_folder(folder: Path, build: Build) -> None:
    """What it holds opens what it publishes, and nothing else is left."""
    commitment = Commitment.load(folder / "commitment.json", build.manifest)
    check_opening(build, Opening.load(folder, build.manifest), commitment.points)
    assert [path.name for path in folder.rglob(".*")] == [".lock"]


def test_commit(small: Path, tmp_path: Path, temporary: Path) -> None:
    """Killed while the points are computed: nothing is published; the second run has the same salts."""
    environment = {"TMPDIR": str(temporary)}
    command = ("commit", small / "build", small / "u0.npy", "-o", "trainer")
    folder = tmp_path / "trainer"
    for _ in range(10):
        killed_at(tmp_path, "committing", *command, **environment)
        if not (folder / "commitment.json").exists():
            break
        shutil.rmtree(folder)  # killed too late: so few points are quickly computed
    assert sorted(path.name for path in folder.glob("[!.]*")) == [*OPENING[:1], "statement.json", *OPENING[1:]]
    opening = opening_of(folder)
    trainer = json.loads((folder / "statement.json").read_text())["trainer"]

    result = succeeded(zkmarket(tmp_path, *command, "--json", **environment)).json
    assert result["trainer"] == trainer
    assert opening_of(folder) == opening
    assert not any(temporary.glob("zkmarket-*"))
    check_folder(folder, Build.load(small / "build"))


@pytest.mark.parametrize("lost", [OPENING, OPENING[1:]], ids=["nothing of it", "its salts alone"])
def test_commit_before_the_opening_is_written(small: Path, tmp_path: Path, lost: tuple[str, ...]) -> None:
    """A statement without an opening, as a kill between two writes leaves it, is started anew."""
    folder = tmp_path / "trainer"
    command = ("commit", small / "build", small / "u0.npy", "-o", "trainer")
    succeeded(zkmarket(tmp_path, *command))
    build = Build.load(small / "build")
    first = Opening.load(folder, build.manifest)
    for name in lost:
        (folder / name).unlink()
    succeeded(zkmarket(tmp_path, *command))
    assert not np.array_equal(first.salts, Opening.load(folder, build.manifest).salts)
    check_folder(folder, build)


def test_a_folder_of_a_version_that_proved_ranges(small: Path, tmp_path: Path) -> None:
    """It is refused with a sentence: what was committed to in it cannot be submitted any more."""
    folder = tmp_path / "trainer"
    folder.mkdir()
    np.savez(folder / "opening.npz", values=np.zeros(40, np.int16), salts=np.zeros((1, 8, 32), np.uint8))
    done = zkmarket(tmp_path, "commit", small / "build", small / "u0.npy", "-o", "trainer", "--json")
    failed(done, 2, "was made by a version whose trainers proved ranges: commit again, in a new folder")
    assert [path.name for path in folder.glob("[!.]*")] == ["opening.npz"]


# ---------------------------------------------------------------- prove


@pytest.mark.exhaustive("other steps; test_killed.py kills at each", but=2)
@pytest.mark.parametrize(
    "line", ["admitting slot 3", "summing over the blocks", "base proof: prove", "settlement proof: mock"]
)
def test_prove(small: Path, tmp_path: Path, temporary: Path, line: str) -> None:
    """No half-written round; the second run draws fresh masks, and its round verifies."""
    environment = {"TMPDIR": str(temporary)}
    command = ("prove", small / "build", "--updates", small / "updates", "-o", "out/round.json")
    pid = killed_at(tmp_path, line, *command, **environment)
    assert not is_alive(pid)
    assert not (tmp_path / "out").exists()
    if line.endswith(("proof: prove", "proof: mock")):
        assert len(witness_folders(temporary, pid)) == 1
    done = succeeded(zkmarket(tmp_path, *command, "--json", **environment))
    assert done.json["round"] == "out/round.json"
    assert not any(temporary.glob("zkmarket-*"))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["round.aggregate.npz", "round.json"]
    result = succeeded(zkmarket(tmp_path, "verify", small / "build", "out/round.json", "--json")).json
    assert result["verified"] and result["accepted"] == 3


def test_sweep_leaves_the_living_alone(small: Path, tmp_path: Path, temporary: Path) -> None:
    """Folders of running processes, and what is not a witness folder, stay."""
    dead = 2**22 + 12345  # above pid_max
    for name in (f"zkmarket-{os.getpid()}-alive", f"zkmarket-{dead}-dead", "zkmarket-demo-x", "other-1-x"):
        (temporary / name).mkdir()
    (temporary / f"zkmarket-{dead}-file").write_text("not a folder")
    succeeded(zkmarket(tmp_path, "commit", small / "build", small / "u0.npy", "-o", "t", TMPDIR=str(temporary)))
    left = sorted(path.name for path in temporary.iterdir() if "zkmarket" in path.name or "other" in path.name)
    assert left == sorted(["other-1-x", f"zkmarket-{os.getpid()}-alive", f"zkmarket-{dead}-file", "zkmarket-demo-x"])
