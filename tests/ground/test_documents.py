"""JSON and arrays of the outside world: missing, empty, oversized, damaged or hostile."""

from __future__ import annotations

import io
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from zkmarket.documents import MAX_JSON, read_json, write_json
from zkmarket.errors import InputError
from zkmarket.files import NPY_HEADER, load_npy, load_npz, save_npy, save_npz

pytestmark = pytest.mark.unit


def test_json_comes_back(tmp_path: Path):
    value = {"list": [1, "2", None, True], "large": 2**64}
    write_json(tmp_path / "value.json", value)
    assert read_json(tmp_path / "value.json", "value") == value


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", r"the thing .*value.json has 0 bytes: wanted 1 to"),
        (b"{", "the thing .*value.json is not JSON"),
        (b"not json", "is not JSON"),
        (b'{"a": 1} trailing', "is not JSON: Extra data"),
        (b'"\xff"', "is not JSON"),
        (b"9" * 5000, "is not JSON: Exceeds the limit"),
    ],
    ids=["empty", "truncated", "text", "trailing", "not utf-8", "endless number"],
)
def test_what_is_not_json_is_refused(tmp_path: Path, data: bytes, reason: str):
    path = tmp_path / "value.json"
    path.write_bytes(data)
    with pytest.raises(InputError, match=reason):
        read_json(path, "the thing")


DEEP = [b"[" * 100_000, b'{"a":' * 100_000]


@pytest.mark.parametrize("data", DEEP, ids=["list", "object"])
def test_deep_nesting_is_refused(tmp_path: Path, data: bytes):
    path = tmp_path / "value.json"
    path.write_bytes(data)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)  # Python's own, which py_ecc lifts in the tests
    try:
        with pytest.raises(InputError, match="the thing .*value.json is not JSON: maximum recursion depth"):
            read_json(path, "the thing")
    finally:
        sys.setrecursionlimit(limit)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path):
    with pytest.raises(InputError, match="no the thing at .*missing.json"):
        read_json(tmp_path / "missing.json", "the thing")
    with pytest.raises(InputError, match="no the thing at"):
        read_json(tmp_path, "the thing")


def test_an_oversized_file_is_refused_before_it_is_read(tmp_path: Path):
    path = tmp_path / "value.json"
    path.write_bytes(b"[1234567]")
    assert read_json(path, "value", limit=9) == [1234567]
    with pytest.raises(InputError, match="value .* has 9 bytes: wanted 1 to 8"):
        read_json(path, "value", limit=8)
    with path.open("wb") as file:
        file.truncate(MAX_JSON + 1)  # sparse: no such file is written
    with pytest.raises(InputError, match=f"has {MAX_JSON + 1} bytes: wanted 1 to {MAX_JSON}"):
        read_json(path, "value")


@pytest.mark.parametrize("text", ["7.0", "7e0", "-0.0", "1E400", "NaN", "Infinity", "-Infinity"])
def test_a_number_that_is_not_written_as_an_integer_is_refused(tmp_path: Path, text: str):
    path = tmp_path / "value.json"
    path.write_text(f'{{"round": [{text}]}}')
    with pytest.raises(InputError, match=f"value .* is not JSON: it holds {text}, which is not an integer"):
        read_json(path, "value")
    path.write_text('{"round": [7]}')
    assert read_json(path, "value") == {"round": [7]}


# ---------------------------------------------------------------- arrays

ARRAYS = {"values": np.arange(5, dtype=np.int16), "salts": np.ones((2, 3), np.uint8)}
LIMITS = {"values": 40, "salts": 6}


def test_arrays_come_back(tmp_path: Path):
    path = tmp_path / "folder" / "aggregate.npz"
    save_npz(path, ARRAYS, mode=0o600)
    loaded = load_npz(path, "aggregate", LIMITS)
    assert list(loaded) == list(LIMITS)
    for name, array in ARRAYS.items():
        assert (loaded[name].dtype, loaded[name].tolist()) == (array.dtype, array.tolist())
    assert path.stat().st_mode & 0o777 == 0o600
    with np.load(path) as archive:  # it is numpy's own format
        assert archive["values"].tolist() == ARRAYS["values"].tolist()


@pytest.mark.parametrize("arrays", [{"values": ARRAYS["values"]}, ARRAYS | {"more": np.ones(1)}, {}])
def test_other_arrays_are_refused(tmp_path: Path, arrays: dict):
    save_npz(tmp_path / "aggregate.npz", arrays)
    with pytest.raises(InputError, match=r"aggregate .* holds \[.*\]: wanted \['salts', 'values'\]"):
        load_npz(tmp_path / "aggregate.npz", "aggregate", LIMITS)


def test_a_name_twice_is_refused(tmp_path: Path):
    with warnings.catch_warnings(), zipfile.ZipFile(tmp_path / "aggregate.npz", "w") as archive:
        warnings.simplefilter("ignore")  # zipfile warns of the duplicate, and writes it
        for name in ("values.npy", "salts.npy", "values.npy"):
            archive.writestr(name, b"")
    with pytest.raises(InputError, match="aggregate .* holds"):
        load_npz(tmp_path / "aggregate.npz", "aggregate", LIMITS)


def test_an_array_that_unpacks_to_too_much_is_refused_before_it_is_unpacked(tmp_path: Path):
    """A zip bomb: 64 MB of zeros in 64 kB."""
    path = tmp_path / "aggregate.npz"
    np.savez_compressed(path, values=np.zeros(1 << 23), salts=ARRAYS["salts"])
    assert path.stat().st_size < 1 << 17
    with pytest.raises(InputError, match="values has 67108992 bytes, wanted at most 40"):
        load_npz(path, "aggregate", LIMITS)
    np.savez_compressed(path, **ARRAYS)
    assert load_npz(path, "aggregate", LIMITS)["values"].tolist() == ARRAYS["values"].tolist()


def test_a_damaged_archive_is_refused(tmp_path: Path):
    path = tmp_path / "aggregate.npz"
    save_npz(path, ARRAYS)
    whole = path.read_bytes()
    for size in (0, 1, 20, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match="aggregate .*aggregate.npz cannot be read"):
            load_npz(path, "aggregate", LIMITS)
    path.write_bytes(whole.replace(ARRAYS["salts"].tobytes(), b"\2" * 6))  # the checksum is not that of the bytes
    with pytest.raises(InputError, match="cannot be read: Bad CRC-32"):
        load_npz(path, "aggregate", LIMITS)
    with pytest.raises(InputError, match="no aggregate at .*missing.npz"):
        load_npz(tmp_path / "missing.npz", "aggregate", LIMITS)


def test_an_object_array_is_not_unpickled(tmp_path: Path):
    buffer = io.BytesIO()
    np.savez(buffer, values=np.array([{}, None]), salts=ARRAYS["salts"])
    (tmp_path / "aggregate.npz").write_bytes(buffer.getvalue())
    with pytest.raises(InputError, match="cannot be read: Object arrays cannot be loaded"):
        load_npz(tmp_path / "aggregate.npz", "aggregate", {"values": 4096, "salts": 6})


# ---------------------------------------------------------------- one array a file, memory-mapped


@pytest.mark.parametrize("mapped", [False, True])
def test_an_array_comes_back(tmp_path: Path, mapped: bool):
    path = tmp_path / "folder" / "values.npy"
    save_npy(path, ARRAYS["values"], mode=0o600)
    loaded = load_npy(path, "values", 10, mapped)
    assert (loaded.dtype, loaded.tolist()) == (ARRAYS["values"].dtype, ARRAYS["values"].tolist())
    assert isinstance(loaded, np.memmap) is mapped and path.stat().st_mode & 0o777 == 0o600
    if mapped:
        with pytest.raises(ValueError, match="read-only"):
            loaded[0] = 1


@pytest.mark.parametrize("mapped", [False, True])
def test_a_file_that_holds_no_such_array_is_refused(tmp_path: Path, mapped: bool):
    path = tmp_path / "values.npy"
    save_npy(path, ARRAYS["values"])
    whole = path.read_bytes()
    for size in (0, 1, 20, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"values .*values.npy cannot be read"):
            load_npy(path, "values", 10, mapped)
    path.write_bytes(bytes(NPY_HEADER + 11))
    with pytest.raises(InputError, match="has 4107 bytes, wanted at most 10"):
        load_npy(path, "values", 10, mapped)
    np.save(path, np.array([{}, None]), allow_pickle=True)
    with pytest.raises(InputError, match="cannot be read"):
        load_npy(path, "values", 4096, mapped)
    with pytest.raises(InputError, match="no values at .*missing.npy"):
        load_npy(tmp_path / "missing.npy", "values", 10, mapped)
    with path.open("wb") as file:
        np.savez(file, values=ARRAYS["values"])
    with pytest.raises(InputError, match="is not an array|cannot be read"):
        load_npy(path, "values", 4096, mapped)


@pytest.mark.parametrize("data", DEEP, ids=["list", "object"])
def test_deep_nesting_does_not_kill_a_process_that_made_an_srs(tmp_path: Path, data: bytes):
    """py_ecc lifts Python's recursion limit to 100,000, at which the parser overflows the stack: SIGSEGV."""
    (tmp_path / "deep.json").write_bytes(data)
    code = (
        "import sys, pathlib; from zkmarket import backend, documents, errors; backend.development_g2()\n"
        "try: documents.read_json(pathlib.Path(sys.argv[1]), 'round proof')\n"
        "except errors.InputError: print('refused')"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "deep.json"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "refused\n")
