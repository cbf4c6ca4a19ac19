"""Openings and aggregates that are not what they should be, or much more of it."""

from __future__ import annotations

import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import PARAMS, Round
from zkmarket.crypto import P, multiply_add
from zkmarket.errors import DomainError, InputError, OpeningMismatch
from zkmarket.round import (
    SALTS_FILE,
    VALUES_FILE,
    Aggregate,
    Decision,
    Opening,
    Theta,
    moved,
    moved_points,
    open_aggregate,
)
from zkmarket.round.commitment import commit
from zkmarket.rules import weight
from zkmarket.updates import dequantise, model_integers

pytestmark = [pytest.mark.proof, pytest.mark.usefixtures("remembered")]


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


def test_the_model_moves_by_the_integers_and_so_does_its_commitment(honest_round: Round, decision: Decision) -> None:
    """Com(Θ + w·Agg), salts and all, is C_Θ + w·(C_Agg − B): B is in each of them once."""
    build, aggregate = honest_round.build, honest_round.aggregate
    manifest = build.manifest
    theta = Theta.first(manifest, model_integers(np.linspace(-1, 1, PARAMS), 21), 9)
    points, blinding = theta.points(build), manifest.blinding
    for rate in (10**9 // 2, 10**9):
        w = weight(rate, 4, 9)
        after = moved(theta, aggregate, w)
        assert after.points(build) == moved_points(points, decision.aggregate, w, blinding)
        for wrong in (
            moved_points(points, decision.aggregate, w + 1, blinding),
            moved_points(points, points, w, blinding),
        ):
            assert after.points(build) != wrong
        without_b = tuple(
            multiply_add([old, summed], [1, w]) for old, summed in zip(points, decision.aggregate, strict=True)
        )
        assert after.points(build) != without_b, "B would be there w times more"
        want = theta.floats(manifest) + w / 2**9 * 4 * open_aggregate(build, decision, aggregate)
        np.testing.assert_allclose(after.floats(manifest), want, rtol=0, atol=1e-12)
        theta, points = after, after.points(build)


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
