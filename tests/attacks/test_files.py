"""Damaged, missing, swapped and oversized files of a round, of submissions and of an SRS: refused with the reason."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import ROUND, Round
from zkmarket.backend import srs
from zkmarket.build import Build, Manifest, folder
from zkmarket.documents import write_json
from zkmarket.errors import ArtifactError, InputError, ProofRejected
from zkmarket.round import (
    COMMITMENT_FILE,
    SALTS_FILE,
    VALUES_FILE,
    Aggregate,
    Commitment,
    Decision,
    Opening,
    RoundProof,
    load_submissions,
    open_aggregate,
    prove_round,
    verify_round,
)

pytestmark = [pytest.mark.proof, pytest.mark.usefixtures("remembered")]


def test_honest_twins(honest_round: Round, files: Path, decision: Decision) -> None:
    """All of them can be read, and say what was saved."""
    build = Build.load(files / "build")
    assert RoundProof.load(files / "round.json", honest_round.build.manifest) == honest_round.proof
    assert (
        verify_round(build, RoundProof.load(files / "round.json", honest_round.build.manifest), expected=ROUND)
        == decision
    )
    loaded = load_submissions(build, files / "updates")
    assert [s.commitment for s in loaded] == [s.commitment for s in honest_round.submissions]
    for one, other in zip(loaded, honest_round.submissions, strict=True):
        np.testing.assert_array_equal(one.opening.values, other.opening.values)
        np.testing.assert_array_equal(one.opening.salts, other.opening.salts)
    open_aggregate(build, decision, Aggregate.load(files / "aggregate.npz", build.manifest))


# ---------------------------------------------------------------- damage that fits any file


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def last_byte_cut(data: bytes) -> bytes:
    return data.rstrip()[:-1]


def nothing(data: bytes) -> bytes:
    return b""


def noise(data: bytes) -> bytes:
    return (bytes(range(1, 252)) * (len(data) // 251 + 1))[: len(data)]


def text(data: bytes) -> bytes:
    return b"hello"


def deep(data: bytes) -> bytes:
    return b"[" * 5_000


def other_json(data: bytes) -> bytes:
    return b'{"format": "zkmarket-other/1"}'


def number(data: bytes) -> bytes:
    return b"1"


def pickled(data: bytes) -> bytes:
    return b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x07builtin\x94."


DAMAGE = [cut, last_byte_cut, nothing, noise, text, deep, other_json, number, pickled]


NOT_OURS = "is not the file of this build"


LOADERS: dict[str, tuple[str, Callable[[Path, Manifest], Any], type[Exception], str]] = {
    "round": ("round.json", RoundProof.load, InputError, "round proof"),
    "commitment": (f"updates/trainer-2/{COMMITMENT_FILE}", Commitment.load, InputError, "commitment"),
    "values": (
        f"updates/trainer-2/{VALUES_FILE}",
        lambda p, m: Opening.load(p.parent, m),
        InputError,
        "values of the opening .* cannot be read",
    ),
    "salts": (
        f"updates/trainer-2/{SALTS_FILE}",
        lambda p, m: Opening.load(p.parent, m),
        InputError,
        "salts of the opening .* (cannot be read|bytes, wanted at most 768)",
    ),
    "aggregate": ("aggregate.npz", Aggregate.load, InputError, "aggregate .* cannot be read"),
    "manifest": ("build/manifest.json", lambda p, m: Build.load(p.parent), ArtifactError, "is not a build: manifest"),
    "vk": ("build/circuits/base/vk.key", lambda p, m: Build.load(p.parents[2]), ArtifactError, NOT_OURS),
    "settings": ("build/circuits/base/settings.json", lambda p, m: Build.load(p.parents[2]), ArtifactError, NOT_OURS),
    "pk": ("build/circuits/settlement/pk.key", lambda p, m: Build.load(p.parents[2], True), ArtifactError, NOT_OURS),
}


MISSING = "no (round proof|commitment|values of the opening|salts of the opening|aggregate|manifest) at|is missing"


@pytest.fixture(params=LOADERS.values(), ids=LOADERS)
def loader(request: pytest.FixtureRequest) -> tuple[str, Callable, type[Exception], str]:
    return request.param


def with_proving_keys(honest_round: Round, files: Path, name: str) -> None:
    """Copy the large proving keys, for the one test that is about them."""
    if name.endswith("pk.key"):
        for circuit in honest_round.build.manifest.value["circuits"]:
            source = honest_round.build.folder / "circuits" / circuit / "pk.key"
            shutil.copyfile(source, files / "build/circuits" / circuit / "pk.key")


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged(honest_round: Round, files: Path, loader: tuple, damage: Callable[[bytes], bytes]) -> None:
    name, load, kind, reason = loader
    path = files / name
    with_proving_keys(honest_round, files, name)
    load(path, honest_round.build.manifest)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(kind, match=reason):
        load(path, honest_round.build.manifest)


def test_missing(honest_round: Round, files: Path, loader: tuple) -> None:
    name, load, kind, _ = loader
    with_proving_keys(honest_round, files, name)
    (files / name).unlink()
    with pytest.raises(kind, match=MISSING):
        load(files / name, honest_round.build.manifest)


def test_folder_in_its_place(honest_round: Round, files: Path, loader: tuple) -> None:
    name, load, kind, _ = loader
    with_proving_keys(honest_round, files, name)
    (files / name).unlink()
    (files / name).mkdir()
    with pytest.raises(kind, match=MISSING):
        load(files / name, honest_round.build.manifest)


@pytest.mark.parametrize("name", ["round", "commitment", "manifest"])
def test_oversized(honest_round: Round, files: Path, name: str) -> None:
    """Gigabytes of nothing (a sparse file) are refused by their size, before they are read."""
    path, load, kind, _ = LOADERS[name]
    with (files / path).open("r+b") as file:
        file.truncate(1 << 33)
    with pytest.raises(kind, match=r"has 8589934592 bytes: wanted 1 to \d{4,9}$"):
        load(files / path, honest_round.build.manifest)


@pytest.mark.parametrize("name", ["round", "commitment"])
def test_size_follows_the_project(honest_round: Round, files: Path, name: str) -> None:
    """An honest file, and half as much more, fits; ten times as much does not."""
    path, load, kind, _ = LOADERS[name]
    data = (files / path).read_bytes()
    (files / path).write_bytes(data + b" " * (len(data) // 2))
    load(files / path, honest_round.build.manifest)
    (files / path).write_bytes(data + b" " * 9 * len(data))
    with pytest.raises(kind, match="bytes: wanted 1 to"):
        load(files / path, honest_round.build.manifest)


@pytest.mark.parametrize("name", ["vk", "pk"])
def test_bytes_after_a_key(honest_round: Round, files: Path, name: str) -> None:
    path, load, kind, reason = LOADERS[name]
    with_proving_keys(honest_round, files, path)
    with (files / path).open("ab") as file:
        file.write(b"\0")
    with pytest.raises(kind, match=reason):
        load(files / path, honest_round.build.manifest)


def test_files_swapped(honest_round: Round, files: Path) -> None:
    """Each where the other is expected: JSON of another schema, archives of other shapes."""
    shutil.copyfile(files / f"updates/trainer-2/{COMMITMENT_FILE}", files / "round.json")
    with pytest.raises(InputError, match="round proof does not fit its schema"):
        RoundProof.load(files / "round.json", honest_round.build.manifest)
    honest_round.proof.save(files / f"updates/trainer-2/{COMMITMENT_FILE}")
    with pytest.raises(InputError, match="trainer-2: commitment .* has .* bytes: wanted"):
        load_submissions(honest_round.build, files / "updates")
    shutil.copyfile(files / "round.json", files / "build/manifest.json")
    with pytest.raises(ArtifactError, match="is not a build: manifest does not fit its schema"):
        Build.load(files / "build")


def test_key_twice(honest_round: Round, files: Path) -> None:
    """Of two equal keys one parser takes the first and another the last."""
    data = (files / "round.json").read_text()
    (files / "round.json").write_text(data.replace('"round": 7', '"round": 8,\n "round": 7', 1))
    with pytest.raises(InputError, match="it holds the same key twice"):
        RoundProof.load(files / "round.json", honest_round.build.manifest)


@pytest.mark.parametrize("number", ["7.0", "7e0", "NaN", "Infinity", "-0.0", "7.5"])
def test_float_in_a_file(honest_round: Round, files: Path, number: str) -> None:
    data = (files / "round.json").read_text()
    (files / "round.json").write_text(data.replace('"round": 7', f'"round": {number}', 1))
    with pytest.raises(InputError, match=f"it holds {number}, which is not an integer"):
        RoundProof.load(files / "round.json", honest_round.build.manifest)


DEEP = """
import pathlib, sys
from zkmarket.build import Build
from zkmarket.errors import InputError
from zkmarket.round import RoundProof
build = Build.load(pathlib.Path(sys.argv[1]))
try:
    RoundProof.load(pathlib.Path(sys.argv[2]), build.manifest)
except InputError as error:
    print(error)
"""


@pytest.mark.parametrize("fresh", [False, True], ids=["SRS installed", "fresh machine"])
def test_deeply_nested(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh: bool) -> None:
    """In a process of its own: on a fresh machine the development SRS is made first, with py_ecc.

    py_ecc lifts the recursion limit so far that nested JSON would end in a segmentation fault.
    """
    (files / "round.json").write_bytes(b"[" * 100_000)
    if fresh:
        monkeypatch.setenv("ZKMARKET_CACHE", str(tmp_path / "cache"))
    command = [sys.executable, "-c", DEEP, str(files / "build"), str(files / "round.json")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"exit code {done.returncode}"
    assert "is not JSON" in done.stdout


# ---------------------------------------------------------------- submissions


def test_no_submissions(honest_round: Round, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no trainers' folders"):
        load_submissions(honest_round.build, tmp_path)
    with pytest.raises(InputError, match="holds no trainers' folders"):
        load_submissions(honest_round.build, tmp_path / "nowhere")
    with pytest.raises(InputError, match="a round has trainers: got none"):
        prove_round(honest_round.build, [])


@pytest.mark.parametrize("name", [COMMITMENT_FILE, VALUES_FILE, SALTS_FILE])
def test_submission_without_a_file(honest_round: Round, files: Path, name: str) -> None:
    (files / "updates/trainer-3" / name).unlink()
    with pytest.raises(InputError, match="trainer-3: no (commitment|values of the opening|salts of the opening) at"):
        load_submissions(honest_round.build, files / "updates")


def test_submission_with_a_point_off_the_curve(honest_round: Round, files: Path) -> None:
    path = files / "updates/trainer-3" / COMMITMENT_FILE
    value = json.loads(path.read_text())
    for bad in ("0x" + "0" * 128, "0x" + f"{1:064x}{3:064x}", "0x" + "f" * 128):
        value["points"][1] = bad
        write_json(path, value)
        with pytest.raises(ProofRejected, match="trainer-3: point (is not on BN254|coordinate is not reduced)"):
            load_submissions(honest_round.build, files / "updates")


def test_submission_of_a_version_that_proved_ranges(honest_round: Round, files: Path) -> None:
    path = files / "updates/trainer-3" / COMMITMENT_FILE
    write_json(path, json.loads(path.read_text()) | {"range_proofs": []})
    with pytest.raises(InputError, match="trainer-3: the commitment is of a version whose trainers proved ranges"):
        load_submissions(honest_round.build, files / "updates")


# ---------------------------------------------------------------- the SRS


@pytest.fixture
def private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of one's own with copies of the SRS files: nothing that is damaged here is anybody else's."""
    development = srs.generate()
    source = development.folder
    target = tmp_path / "cache/srs" / source.name
    target.mkdir(parents=True)
    shutil.copyfile(source / "srs.json", target / "srs.json")
    for logrows in (10, 12):  # made now if this is the first test that needs it
        shutil.copyfile(development.path(logrows), target / f"kzg{logrows}.srs")
    monkeypatch.setenv("ZKMARKET_CACHE", str(tmp_path / "cache"))
    folder._srs_file.cache_clear()
    yield target
    folder._srs_file.cache_clear()


def test_srs_honest_twin(private_cache: Path, honest_round: Round) -> None:
    verify_round(Build.load(honest_round.build.folder), honest_round.proof)


@pytest.mark.parametrize(
    "damage, reason",
    [
        (lambda data: data[: len(data) // 2], "not an SRS file, or cut short"),
        (lambda data: b"", "not an SRS file, or cut short"),
        (lambda data: data + b"\0", "not an SRS file, or cut short"),
        (lambda data: data[:70_000] + bytes([data[70_000] ^ 1]) + data[70_001:], "is not the file of this build"),
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "is not the SRS of 2\\^10 rows of ceremony"),
    ],
    ids=["cut", "empty", "longer", "a Lagrange point", "tau G2"],
)
def test_damaged_srs(private_cache: Path, honest_round: Round, damage: Callable[[bytes], bytes], reason: str) -> None:
    path = private_cache / "kzg10.srs"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ArtifactError, match=reason):
        verify_round(Build.load(honest_round.build.folder), honest_round.proof)
