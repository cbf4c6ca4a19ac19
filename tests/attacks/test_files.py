"""Files of the outside world: cut short, empty, too large, of another kind, or subtly not what they say."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import PARAMS, ROUND, Round, build_for, submit
from zkmarket.backend import srs
from zkmarket.build import Build, Manifest, folder
from zkmarket.crypto import P
from zkmarket.documents import write_json
from zkmarket.errors import ArtifactError, DomainError, InputError, OpeningMismatch, ProofRejected, RuleError
from zkmarket.files import sha256_file
from zkmarket.round import (
    COMMITMENT_FILE,
    SALTS_FILE,
    VALUES_FILE,
    Aggregate,
    Commitment,
    Decision,
    Opening,
    RoundProof,
    export,
    load_submissions,
    open_aggregate,
    prove_round,
    verify_round,
)
from zkmarket.round.commitment import commit
from zkmarket.rules import MultiKrum
from zkmarket.updates import dequantise

pytestmark = [pytest.mark.proof, pytest.mark.usefixtures("remembered")]


@pytest.fixture
def files(honest_round: Round, tmp_path: Path) -> Path:
    """A build, and every file of an honest round, to damage. Copies, because builds share files with the cache."""
    shutil.copytree(honest_round.build.folder, tmp_path / "build", ignore=shutil.ignore_patterns("pk.key"))
    honest_round.proof.save(tmp_path / "round.json")
    honest_round.aggregate.save(tmp_path / "aggregate.npz")
    for slot, submission in enumerate(honest_round.submissions, start=1):
        write_json(tmp_path / f"updates/trainer-{slot}" / COMMITMENT_FILE, submission.commitment.to_json())
        submission.opening.save(tmp_path / f"updates/trainer-{slot}")
    return tmp_path


@pytest.fixture
def decision(honest_round: Round) -> Decision:
    return verify_round(honest_round.build, honest_round.proof)


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
from zkmarket.artifacts import Build
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


# ---------------------------------------------------------------- openings

SALTS_SHAPE = (3, 8, 32)


def values_of(**changes: Any) -> np.ndarray:
    out = np.arange(PARAMS) % 100
    for at, value in changes.items():
        out[int(at[1:])] = value
    return out


def some_salts() -> np.ndarray:
    return np.ones(SALTS_SHAPE, np.uint8)


def beyond_p() -> np.ndarray:
    salts = some_salts()
    salts[2, 7] = np.frombuffer(P.to_bytes(32, "little"), np.uint8)
    return salts


OPENINGS: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "NaN": ({"values": np.full(PARAMS, np.nan)}, InputError, "holds 2500 integers: got float64"),
    "infinity": ({"values": np.full(PARAMS, np.inf, np.float32)}, InputError, "holds 2500 integers: got float32"),
    "whole floats": ({"values": values_of().astype(float)}, InputError, "holds 2500 integers: got float64"),
    "unsigned": ({"values": values_of().astype(np.uint8)}, InputError, "holds 2500 integers: got uint8"),
    "complex": ({"values": values_of().astype(complex)}, InputError, "values .* has 40128 bytes, wanted at most 20000"),
    "truth": ({"values": values_of() > 3}, InputError, "holds 2500 integers: got bool"),
    "text": ({"values": values_of().astype(str)}, InputError, "values .* has .* bytes, wanted at most 20000"),
    "objects": (
        {"values": np.array([1, None], object)},
        InputError,
        "cannot be read: (Array can't be memory-mapped|Obj)",
    ),
    "one short": ({"values": values_of()[:-1]}, InputError, r"holds 2500 integers: got int64\[2499\]"),
    "one more": ({"values": np.append(values_of(), 0)}, InputError, r"has 20136 bytes|got int64\[2501\]"),
    "two dimensions": ({"values": values_of().reshape(1, -1)}, InputError, r"got int64\[1, 2500\]"),
    "a number": ({"values": np.int64(3)}, InputError, r"got int64\[\]"),
    "Q": ({"values": values_of(v7=4096)}, DomainError, r"lie in \[−4096, 4096\): got 0 to 4096"),
    "-Q-1": ({"values": values_of(v2499=-4097)}, DomainError, "got -4097 to 99"),
    "smallest int64": ({"values": values_of(v0=-(2**63))}, DomainError, "got -9223372036854775808"),
    "no values": ({"values": None}, InputError, "no values of the opening at"),
    "no salts": ({"salts": None}, InputError, "no salts of the opening at"),
    "few salts": ({"salts": some_salts()[:, :7]}, InputError, r"salts are uint8\[3, 8, 32\]: got uint8\[3, 7, 32\]"),
    "few chunks": ({"salts": some_salts()[:2]}, InputError, r"got uint8\[2, 8, 32\]"),
    "signed salts": ({"salts": some_salts().astype(np.int8)}, InputError, "salts are uint8.*got int8"),
    "float salts": ({"salts": some_salts() * np.nan}, InputError, "salts .* has \\d+ bytes, wanted at most 768"),
    "salt of p": ({"salts": beyond_p()}, InputError, "a salt is not a field element"),
    "salt of ones": ({"salts": some_salts() * 255}, InputError, "a salt is not a field element"),
}


def save_arrays(path: Path, **arrays: Any) -> None:
    """An archive of arrays, as an aggregate is."""
    with path.open("wb") as file:
        np.savez(file, **{name: array for name, array in arrays.items() if array is not None})


def save_opening(folder: Path, values: Any, salts: Any) -> None:
    """Any two arrays in the places of an opening's; None for none."""
    for name, array in ((VALUES_FILE, values), (SALTS_FILE, salts)):
        if array is not None:
            np.save(folder / name, array)


@pytest.mark.parametrize("changes, kind, reason", OPENINGS.values(), ids=OPENINGS)
def test_opening(honest_round: Round, tmp_path: Path, changes: dict, kind: type[Exception], reason: str) -> None:
    save_opening(tmp_path, **{"values": values_of(), "salts": some_salts()} | changes)
    with pytest.raises(kind, match=reason):
        Opening.load(tmp_path, honest_round.build.manifest)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64, ">i4"])
def test_opening_of_any_integer(honest_round: Round, tmp_path: Path, dtype: Any) -> None:
    """The honest twin, edges included where the type holds them."""
    wide = np.dtype(dtype).itemsize > 1
    values = values_of(v0=-4096, v2499=4095) if wide else values_of()
    save_opening(tmp_path, values.astype(dtype), some_salts())
    loaded = Opening.load(tmp_path, honest_round.build.manifest)
    assert isinstance(loaded.values, np.memmap) and not loaded.values.flags.writeable
    np.testing.assert_array_equal(loaded.values, values)


def test_opening_in_another_order(honest_round: Round, tmp_path: Path) -> None:
    """Salts that are stored column by column are read as what they mean, and committed to so."""
    salts = (np.arange(768) % 7).astype(np.uint8).reshape(3, 8, 32)
    save_opening(tmp_path, values_of(), np.asfortranarray(salts))
    loaded = Opening.load(tmp_path, honest_round.build.manifest)
    assert loaded.salts.flags.f_contiguous
    np.testing.assert_array_equal(loaded.salts, salts)
    build = honest_round.build
    assert commit(build, loaded) == commit(build, Opening(values_of(), salts))


def test_opening_is_saved_small(honest_round: Round, tmp_path: Path) -> None:
    """As the smallest type that holds it, for its owner only."""
    opening = honest_round.submissions[0].opening
    opening.save(tmp_path)
    assert np.load(tmp_path / VALUES_FILE).dtype == np.int16
    assert (tmp_path / VALUES_FILE).stat().st_size == 128 + 2 * PARAMS
    for name in (VALUES_FILE, SALTS_FILE):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    wide = opening.values.astype(np.int64)
    for edge, dtype in ((32767, np.int16), (-32768, np.int32), (32768, np.int32), (-(1 << 18), np.int32)):
        wide[3] = edge
        Opening(wide, opening.salts).save(tmp_path)
        held = np.load(tmp_path / VALUES_FILE)
        assert held.dtype == dtype and held[3] == edge


def npy(shape: str) -> bytes:
    """The head of an array that says it has this shape, and has nothing."""
    header = f"{{'descr': '<i8', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header = header.ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


@pytest.mark.parametrize("shape", ["(1099511627776,)", "(2500,)", "(-1,)", "(2500, -1)", "'many'"])
def test_opening_with_a_lying_header(honest_round: Round, tmp_path: Path, shape: str) -> None:
    """An array that says it has 2^40 entries, or any, and has none."""
    save_opening(tmp_path, None, some_salts())
    (tmp_path / VALUES_FILE).write_bytes(npy(shape))
    with pytest.raises(InputError, match="values of the opening .* cannot be read|holds 2500 integers"):
        Opening.load(tmp_path, honest_round.build.manifest)
    (tmp_path / SALTS_FILE).write_bytes(npy(shape))
    np.save(tmp_path / VALUES_FILE, values_of())
    with pytest.raises(InputError, match="salts of the opening .* cannot be read|salts are uint8"):
        Opening.load(tmp_path, honest_round.build.manifest)


def test_archive_in_the_place_of_an_array(honest_round: Round, tmp_path: Path) -> None:
    """numpy reads both by their first bytes."""
    save_opening(tmp_path, values_of(), some_salts())
    for name in (VALUES_FILE, SALTS_FILE):
        good = (tmp_path / name).read_bytes()
        save_arrays(tmp_path / name, salts=np.zeros(3, np.uint8))
        with pytest.raises(InputError, match="of the opening .* (is not an array|cannot be read)"):
            Opening.load(tmp_path, honest_round.build.manifest)
        (tmp_path / name).write_bytes(good)
    Opening.load(tmp_path, honest_round.build.manifest)


def test_member_that_is_no_array(honest_round: Round, tmp_path: Path) -> None:
    """numpy gives such a member of an archive as bytes, and nobody would be named for what happens then."""
    with zipfile.ZipFile(tmp_path / "arrays.npz", "w") as archive:
        archive.writestr("values.npy", b"no array")
        archive.writestr("salts.npy", b"no array")
    with pytest.raises(InputError, match="(values|salts) is not an array"):
        Aggregate.load(tmp_path / "arrays.npz", honest_round.build.manifest)


@pytest.mark.parametrize("name, limit", [(VALUES_FILE, 20_000), (SALTS_FILE, 768)])
def test_opening_that_is_much_more(honest_round: Round, tmp_path: Path, name: str, limit: int) -> None:
    """8 GB of nothing (a sparse file), from a trainer to the aggregator: refused before it is read."""
    save_opening(tmp_path, values_of(), some_salts())
    with (tmp_path / name).open("r+b") as file:
        file.truncate(1 << 33)
    with pytest.raises(InputError, match=f"has 8589934592 bytes, wanted at most {limit}"):
        Opening.load(tmp_path, honest_round.build.manifest)


def test_aggregate_that_unpacks_to_much_more(honest_round: Round, tmp_path: Path) -> None:
    """200 MB of zeros in a file of 200 kB."""
    np.savez_compressed(tmp_path / "aggregate.npz", values=np.zeros(25_000_000, np.int64), salts=some_salts())
    assert (tmp_path / "aggregate.npz").stat().st_size < 10**6
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="values has 200000128 bytes, wanted at most 20000"):
            Aggregate.load(tmp_path / "aggregate.npz", honest_round.build.manifest)
        assert tracemalloc.get_traced_memory()[1] < 50 * 10**6
    finally:
        tracemalloc.stop()


# ---------------------------------------------------------------- aggregates


def test_honest_aggregate_gives_the_mean(honest_round: Round, decision: Decision, tmp_path: Path) -> None:
    """Exactly: the values are small integers over a power of two, times one float division."""
    build = honest_round.build
    honest_round.aggregate.save(tmp_path / "aggregate.npz")
    received = Aggregate.load(tmp_path / "aggregate.npz", build.manifest)
    accepted = [s.opening.values for s, bit in zip(honest_round.submissions, decision.mask, strict=True) if bit]
    assert len(accepted) == 4
    mean = np.sum(accepted, axis=0, dtype=np.int64) / 2.0**build.manifest.fixed_point.scale_bits / 4
    np.testing.assert_array_equal(open_aggregate(build, decision, received), mean)
    np.testing.assert_array_equal(mean, dequantise(received.values, build.manifest.fixed_point) / 4)


def test_honest_aggregate_is_applied(honest_round: Round, decision: Decision) -> None:
    build = honest_round.build
    model = np.linspace(-1, 1, PARAMS)
    mean = open_aggregate(build, decision, honest_round.aggregate)
    applied = open_aggregate(build, decision, honest_round.aggregate, model, rate=0.5)
    np.testing.assert_array_equal(applied, model + 0.5 * mean)
    with pytest.raises(InputError, match=r"the model has \(3,\) parameters: wanted \(2500,\)"):
        open_aggregate(build, decision, honest_round.aggregate, np.zeros(3))


def changed_aggregate(honest: Aggregate, field: str, at: tuple[int, ...], amount: int) -> Aggregate:
    arrays = {"values": honest.values.copy(), "salts": honest.salts.copy()}
    arrays[field][at] += arrays[field].dtype.type(amount)
    return Aggregate(**arrays)


@pytest.mark.parametrize(
    "field, at, amount",
    [
        ("values", (0,), 1),
        ("values", (896,), -1),
        ("values", (PARAMS - 1,), 1),
        ("values", (5,), 2**40),
        ("salts", (0, 0, 0), 1),
        ("salts", (2, 7, 0), 1),
    ],
)
def test_wrong_aggregate(honest_round: Round, decision: Decision, field: str, at: tuple, amount: int) -> None:
    with pytest.raises(OpeningMismatch, match="does not open the commitment that was proven"):
        open_aggregate(honest_round.build, decision, changed_aggregate(honest_round.aggregate, field, at, amount))


def test_aggregate_of_everybody(honest_round: Round, decision: Decision) -> None:
    """The plain sum, the rejected outlier included: a true sum, but not the one that was proven."""
    openings = [s.opening for s in honest_round.submissions]
    salts = np.array(honest_round.aggregate.salts)
    everybody = Aggregate(np.sum([o.values for o in openings], axis=0, dtype=np.int64), salts)
    with pytest.raises(OpeningMismatch, match="does not open the commitment that was proven"):
        open_aggregate(honest_round.build, decision, everybody)


AGGREGATES: dict[str, tuple[dict[str, Any], str]] = {
    "NaN": ({"values": np.full(PARAMS, np.nan)}, "holds 2500 integers: got float64"),
    "short": ({"values": values_of()[1:]}, r"holds 2500 integers: got int64\[2499\]"),
    "unsigned": ({"values": values_of().astype(np.uint64)}, "holds 2500 integers: got uint64"),
    "objects": ({"values": np.array([1, None], object)}, "cannot be read: Object arrays"),
    "no salts": ({"salts": None}, r"holds \['values'\]: wanted"),
    "few salts": ({"salts": some_salts()[:1]}, r"salts are uint8\[3, 8, 32\]: got uint8\[1, 8, 32\]"),
    "wide salts": ({"salts": some_salts().astype(np.int16)}, "salts are uint8.*got int16"),
}


@pytest.mark.parametrize("changes, reason", AGGREGATES.values(), ids=AGGREGATES)
def test_aggregate_file(honest_round: Round, tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    save_arrays(tmp_path / "aggregate.npz", **{"values": values_of(), "salts": some_salts()} | changes)
    with pytest.raises(InputError, match=reason):
        Aggregate.load(tmp_path / "aggregate.npz", honest_round.build.manifest)


def test_aggregate_with_a_salt_beyond_p(honest_round: Round, decision: Decision, tmp_path: Path) -> None:
    save_arrays(tmp_path / "aggregate.npz", values=honest_round.aggregate.values, salts=beyond_p())
    with pytest.raises(InputError, match="a salt is not a field element"):
        open_aggregate(
            honest_round.build, decision, Aggregate.load(tmp_path / "aggregate.npz", honest_round.build.manifest)
        )


# ---------------------------------------------------------------- manifests


def load_with(files: Path, *path: str, to: Any) -> Build:
    """The build with one place of its manifest.json changed."""
    value = json.loads((files / "build/manifest.json").read_text())
    write_json(files / "build/manifest.json", changed(value, path, to))
    return Build.load(files / "build")


def changed(value: dict[str, Any], path: tuple[str, ...], to: Any) -> dict[str, Any]:
    """`value`, with one place set to another."""
    place = value
    for key in path[:-1]:
        place = place[key]
    assert place[path[-1]] != to or isinstance(to, float)
    place[path[-1]] = to
    return value


CONTRADICTIONS: dict[str, tuple[tuple[str, ...], Any, str]] = {
    "chunk": (("chunk",), 897, "contradicts itself: chunk is"),
    "rows": (("rows",), 28, "contradicts itself: rows is 28, wanted 29"),
    "width": (("width",), 64, "contradicts itself: width is 64, wanted 32"),
    "chunks": (("chunks",), 2, "contradicts itself: chunks"),
    "bound": (("value_bound",), 508, "contradicts itself: value_bound"),
    "salts": (("salts",), 33, "contradicts itself: salts is 33, wanted 32"),
    "other salts": (("salts",), 9, "contradicts itself: digest"),
    "fewer salts": (("salts",), 7, "does not fit its schema at salts"),
    "logrows": (("logrows",), 11, "contradicts itself: rows"),
    "params": (("params",), 5000, "contradicts itself: chunks"),
    "insecure": (("insecure",), False, "contradicts itself: insecure"),
    "kind": (("srs", "kind"), "ceremony", "contradicts itself: insecure"),
    "penalty": (("domain", "penalty"), "1", "contradicts itself: domain"),
    "digits": (("domain", "digits"), 9, "contradicts itself: domain"),
    "filter": (("filter",), "multi-krum:f=0,m=3", "contradicts itself: domain"),
    "score": (("score",), "leave-one-out", "contradicts itself: domain"),
    "trainers": (("trainers",), 7, "contradicts itself: domain"),
    "digest": (("digest",), "0x" + "0" * 64, "contradicts itself: digest"),
    "minimum": (("min_accepted",), 4, "contradicts itself: digest"),
    "scale": (("fixed_point", "scale_bits"), 3, "contradicts itself: digest"),
    "hash of a key": (("circuits", "base", "files", "vk.key"), "0" * 64, "contradicts itself: digest"),
    "float": (("trainers",), 5.0, "it holds 5.0, which is not an integer"),
    "newline in the filter": (("filter",), "multi-krum:f=1,m=4\n", "does not fit its schema at filter"),
    "leading zeros in the filter": (("filter",), "multi-krum:f=01,m=4", "does not fit its schema at filter"),
    "f too large": (("filter",), "multi-krum:f=9,m=4", "N > 2f \\+ 2: got N=5, f=9"),
    "huge beta_max": (("beta_max",), "1" + "0" * 60, "wanted at most 2\\^120"),
    "blinding point off the curve": (("blinding_point",), "0x" + "1" * 128, "not on BN254"),
    "another blinding point": (("blinding_point",), "0x" + f"{1:064x}{2:064x}", "contradicts itself: digest"),
    "rows of a circuit": (("circuits", "base", "rows"), 10, "contradicts itself: base has rows 10"),
    "logrows of a circuit": (("circuits", "base", "logrows"), 11, "contradicts itself: base has logrows 11"),
    "blocks of a circuit": (("circuits", "base", "blocks"), 2, "contradicts itself: base has blocks 2"),
    "lookups of a circuit": (("circuits", "base", "lookups"), ["{}"], "contradicts itself: base has lookups"),
    "range of a lookup": (
        ("circuits", "base", "lookup_range"),
        [-512, 511],
        "contradicts itself: base has lookup_range",
    ),
    "range checks of a circuit": (("circuits", "settlement", "range_checks"), [], "settlement has range_checks"),
    "outputs of a circuit": (("circuits", "base", "instances"), 23, "contradicts itself: base has instances 23"),
    "inputs of a circuit": (("circuits", "base", "committed"), [928, 928], "contradicts itself: base has committed"),
    "layout of another size": (
        ("layout",),
        [{"name": "w", "shape": [3], "dtype": "int8"}],
        "parameters of the layout is 3",
    ),
    "layout of no dtype": (("layout",), [{"name": "w", "shape": [2500], "dtype": "big"}], "unknown dtypes"),
    "layout that appears": (
        ("layout",),
        [{"name": "w", "shape": [2500], "dtype": "float32"}],
        "contradicts itself: digest",
    ),
    "no proof": (("circuits", "base", "proof_bytes"), 0, "does not fit its schema at circuits/base/proof_bytes"),
    "format": (("format",), "zkmarket-manifest/1", "does not fit its schema at format"),
    "unknown filter": (("filter",), "median", "does not fit its schema at filter"),
    "few trainers": (("trainers",), 2, "does not fit its schema at trainers"),
    "no minimum": (("min_accepted",), 2, "does not fit its schema at min_accepted"),
    "negative": (("params",), -1, "does not fit its schema at params"),
    "ceremony": (("srs", "id"), "0" * 64, "contradicts itself: digest"),
}


@pytest.mark.parametrize("path, to, reason", CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_manifest_that_contradicts_itself(files: Path, path: tuple[str, ...], to: Any, reason: str) -> None:
    with pytest.raises(ArtifactError, match=reason):
        load_with(files, *path, to=to)


def with_digest(files: Path, value: dict[str, Any]) -> Build:
    """The build under a manifest whose digest is right."""
    write_json(files / "build/manifest.json", value | {"digest": "0x" + Manifest(value).digest().hex()})
    return Build.load(files / "build")


@pytest.mark.parametrize(
    "path, to, reason",
    [
        (("blinding_point",), "0x" + f"{1:064x}{2:064x}", "blinding point is not the commitment of zero"),
        (("srs", "id"), "0" * 64, "SRS 00000000 of this build is not in"),
        (("circuits", "base", "files", "vk.key"), "0" * 64, "base/vk.key is not the file of this build"),
        (("circuits", "base", "files", "settings.json"), "0" * 64, "base/settings.json is not the file of this build"),
    ],
    ids=["blinding", "ceremony", "vk", "settings"],
)
def test_consistent_lie(files: Path, path: tuple[str, ...], to: str, reason: str) -> None:
    """The digest is made to agree, and still the files and the SRS do not."""
    value = changed(json.loads((files / "build/manifest.json").read_text()), path, to)
    with pytest.raises(ArtifactError, match=reason):
        with_digest(files, value)


@pytest.mark.parametrize("name", ["base", "settlement"])
def test_manifest_without_a_circuit(files: Path, name: str) -> None:
    value = json.loads((files / "build/manifest.json").read_text())
    del value["circuits"][name]
    write_json(files / "build/manifest.json", value)
    with pytest.raises(ArtifactError, match=f"does not fit its schema at circuits: '{name}' is a required"):
        Build.load(files / "build")


def test_manifest_with_a_circuit_more(files: Path) -> None:
    """Such as those whose proofs trainers once made."""
    value = json.loads((files / "build/manifest.json").read_text())
    value["circuits"]["range"] = value["circuits"]["base"]
    write_json(files / "build/manifest.json", value)
    with pytest.raises(ArtifactError, match="does not fit its schema at circuits|manifest has the circuits"):
        Build.load(files / "build")


SETTINGS: dict[str, tuple[str, dict[str, Any], str]] = {
    "a table dropped": ("settlement", {"required_range_checks": [[-1, 1]]}, "range checks"),
    "a lookup in base": (
        "base",
        {"required_lookups": [{"Sigmoid": {"scale": 1.0}}]},
        r"static lookups .*Sigmoid.*, wanted \[\]",
    ),
    "a range check in base": ("base", {"required_range_checks": [[-1, 1]]}, "range checks"),
    "too few blocks": ("base", {"num_rows": 10}, "blocks of columns 1, wanted 3"),
    "too few rows": ("settlement", {"num_rows": 10}, "10 rows, wanted"),
    "an input less": ("base", {"module_sizes": {"polycommit": [928], "poseidon": [0, [0]]}}, "committed inputs"),
    "an output less": ("base", {"model_instance_shapes": [[1, 1]]}, "public outputs"),
}


@pytest.mark.parametrize("name, changes, reason", SETTINGS.values(), ids=SETTINGS)
def test_settings_of_another_statement(files: Path, name: str, changes: dict[str, Any], reason: str) -> None:
    """ezkl configures the verifier from settings.json: they must be those of the manifest's numbers."""
    path = files / "build/circuits" / name / "settings.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    value = json.loads((files / "build/manifest.json").read_text())
    value["circuits"][name]["files"]["settings.json"] = sha256_file(path)
    with pytest.raises(ArtifactError, match=reason):
        with_digest(files, value)


@pytest.mark.parametrize("text", ["[" * 100_000, '"einsum_params"'], ids=["deep", "no einsum"])
def test_settings_that_ezkl_cannot_read(files: Path, text: str) -> None:
    path = files / "build/circuits/base/settings.json"
    whole = json.loads(path.read_text())
    path.write_text(text if text.startswith("[") else json.dumps(whole | {json.loads(text): None}))
    value = json.loads((files / "build/manifest.json").read_text())
    value["circuits"]["base"]["files"]["settings.json"] = sha256_file(path)
    with pytest.raises(ArtifactError, match="is not the settings of a circuit|ezkl cannot read the build's settings"):
        with_digest(files, value)


def test_proof_length_of_the_manifest(honest_round: Round, files: Path) -> None:
    """A manifest that wants longer proofs would make trailing bytes acceptable: it has another digest."""
    value = json.loads((files / "build/manifest.json").read_text())
    value["circuits"]["base"]["proof_bytes"] += 32
    write_json(files / "build/manifest.json", value)
    with pytest.raises(ArtifactError, match="contradicts itself: digest"):
        Build.load(files / "build")
    longer = honest_round.json()
    longer["base"]["proof"]["proof"] += "00" * 32
    with pytest.raises(ProofRejected, match="round proof is of another build"):
        verify_round(with_digest(files, value), RoundProof.from_json(longer))


def test_manifest_number_with_a_newline(files: Path) -> None:
    with pytest.raises(ArtifactError, match="does not fit its schema at beta_max"):
        load_with(files, "beta_max", to="41943040000\n")


def test_development_srs_declared_as_a_ceremony(files: Path) -> None:
    value = json.loads((files / "build/manifest.json").read_text())
    value["srs"]["kind"], value["insecure"] = "ceremony", False
    write_json(files / "build/manifest.json", value)
    with pytest.raises(ArtifactError, match="SRS is of kind ceremony: here it is development"):
        Build.load(files / "build")


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


# ---------------------------------------------------------------- sizes that no project can have


@pytest.mark.parametrize(
    "changes, kind, reason",
    [
        ({"params": 0}, InputError, "from 1 to 67108864 parameters: got 0"),
        ({"params": -1}, InputError, "from 1 to 67108864 parameters: got -1"),
        ({"trainers": 0}, InputError, "a round has from 1 to 4096 trainers: got 0"),
        ({"trainers": 4, "filter": MultiKrum(1, 3)}, RuleError, "N > 2f \\+ 2: got N=4, f=1"),
        ({"trainers": 2, "filter": MultiKrum(0, 2)}, RuleError, "N > 2f \\+ 2: got N=2, f=0"),
        ({"filter": MultiKrum(1, 2)}, RuleError, "3 <= m <= N: got m=2"),
        ({"filter": MultiKrum(1, 6)}, RuleError, "3 <= m <= N: got m=6"),
        ({"logrows": 9}, DomainError, "logrows is from 10 to 20: got 9"),
        ({"logrows": 21}, DomainError, "logrows is from 10 to 20: got 21"),
        ({"value_bits": 20, "logrows": 20}, DomainError, "a value has at most 19 bits"),
        ({"beta_max": 0}, DomainError, "--beta-max is from 1"),
        ({"beta_max": 2500 * 4096**2 + 1}, DomainError, "--beta-max is from 1"),
        ({"params": 10**14}, InputError, "from 1 to 67108864 parameters"),
        ({"params": 1 << 26, "logrows": 20}, DomainError, "at most 2\\^26 values with its padding"),
        (
            {"trainers": 64, "params": 1 << 25, "logrows": 20, "value_bits": 19, "beta_max": 1 << 61},
            DomainError,
            "a score can reach 2\\^68, wanted less",
        ),
        ({"salts": 7}, InputError, "a chunk has from 8 to 32 salts at K = 10: got 7"),
        ({"salts": 33}, InputError, "a chunk has from 8 to 32 salts at K = 10: got 33"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_impossible_project(tmp_path: Path, changes: dict[str, Any], kind: type[Exception], reason: str) -> None:
    with pytest.raises(kind, match=reason):
        build_for(tmp_path / "build", **changes)
    assert not any(tmp_path.iterdir())


def test_smallest_project(tmp_path: Path) -> None:
    """The honest twin: N = 3 trainers of D = 1 parameter, whole and verified."""
    build = build_for(tmp_path / "build", trainers=3, params=1, filter=MultiKrum(0, 3))
    submissions = [submit(build, np.array([value]), 0x10 + value) for value in (1, 2, 3)]
    proof, aggregate = prove_round(build, submissions)
    decision = verify_round(build, proof, expected=ROUND)
    assert decision.mask == (1, 1, 1) and decision.scores == (6, 12, 18) and decision.nu == 4
    assert decision.shares(36) == ([6, 12, 18], 0)
    np.testing.assert_array_equal(open_aggregate(build, decision, aggregate), [2 * 2.0**-12])
    with pytest.raises(DomainError, match="got 4096 to 4096"):
        submit(build, np.array([4096]), 1)


def test_folder_that_is_not_a_build(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="is not a build: no manifest at"):
        Build.load(tmp_path)


def test_build_into_a_folder_of_something_else(tmp_path: Path) -> None:
    """Nobody's files are deleted; an empty folder, or an older build, is taken."""
    spec = {"trainers": 3, "params": 40, "filter": MultiKrum(0, 3), "score": "leave-one-out"}
    (tmp_path / "home").mkdir()
    (tmp_path / "home/diary.txt").write_text("precious")
    with pytest.raises(InputError, match="exists and holds something else"):
        build_for(tmp_path / "home", **spec)
    assert (tmp_path / "home/diary.txt").read_text() == "precious"
    (tmp_path / "empty").mkdir()
    first = build_for(tmp_path / "empty", **spec)
    assert build_for(tmp_path / "empty", **spec).manifest == first.manifest
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "home"]


def test_export_into_a_folder_of_something_else(honest_round: Round, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home/diary.txt").write_text("precious")
    with pytest.raises(InputError, match="exists and holds something else"):
        export(honest_round.build, honest_round.proof, tmp_path / "home")
    assert (tmp_path / "home/diary.txt").read_text() == "precious"
    assert len(export(honest_round.build, honest_round.proof, tmp_path / "out")) == 2
    assert len(export(honest_round.build, honest_round.proof, tmp_path / "out")) == 2


def test_export_shares_no_file_with_the_cache(honest_round: Round, tmp_path: Path) -> None:
    """Whoever writes into an export damages nothing else."""
    export(honest_round.build, honest_round.proof, tmp_path / "out")
    assert not (tmp_path / "out/base/kzg.srs").samefile(honest_round.build.files["base"].srs)
    assert not (tmp_path / "out/base/vk.key").samefile(honest_round.build.files["base"].vk)
