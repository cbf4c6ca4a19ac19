"""The files that updates come in: .npy, .npz and .safetensors; damaged, hostile, or of another model."""

from __future__ import annotations

import gc
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch

from zkmarket.errors import InputError
from zkmarket.updates import ParameterLayout, as_vector, load_model_file, load_tensors, load_update

pytestmark = pytest.mark.unit

FILE_TENSORS = {"bias": np.array([4, 5], np.float32), "weight": np.arange(3, dtype=np.float32)}


def write(path: Path) -> Path:
    if path.suffix == ".npy":
        np.save(path, np.array([4, 5, 0, 1, 2], np.float32))
    elif path.suffix == ".npz":
        np.savez(path, **FILE_TENSORS)
    else:
        safetensors.numpy.save_file(FILE_TENSORS, path)
    return path


SUFFIXES = pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors"])


@SUFFIXES
def test_each_kind_of_file_is_read(tmp_path: Path, suffix: str):
    path = write(tmp_path / f"update{suffix}")
    assert load_update(path).tolist() == [4, 5, 0, 1, 2]
    assert load_update(path, ParameterLayout.of(FILE_TENSORS)).tolist() == [4, 5, 0, 1, 2]


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_a_layout_decides_the_order_and_refuses_other_tensors(tmp_path: Path, suffix: str):
    path = write(tmp_path / f"update{suffix}")
    backwards = dict(reversed(FILE_TENSORS.items()))
    assert load_update(path, ParameterLayout.of(backwards)).tolist() == [0, 1, 2, 4, 5]
    with pytest.raises(InputError, match=r"not of the build's model: missing \['head'\], unknown \[\]"):
        load_update(path, ParameterLayout.of(FILE_TENSORS | {"head": np.ones(1)}))
    with pytest.raises(InputError, match=r"not of the build's model: missing \[\], unknown \['weight'\]"):
        load_update(path, ParameterLayout.of({"bias": FILE_TENSORS["bias"]}))
    with pytest.raises(InputError, match=r"bias: got float32\[2\], wanted float32\[3\]"):
        load_update(path, ParameterLayout.of(FILE_TENSORS | {"bias": np.ones(3, np.float32)}))


def test_a_model_file_may_hold_more_than_is_trained(tmp_path: Path):
    path, whole = tmp_path / "model.npz", FILE_TENSORS | {"norm.running_mean": np.ones(2), "norm.count": np.array(3)}
    np.savez(path, **whole)
    layout = ParameterLayout.of(FILE_TENSORS)
    parameters, rest = load_model_file(path, layout)
    assert parameters.tolist() == layout.flatten(FILE_TENSORS).tolist()
    assert {name: value.tolist() for name, value in rest.items()} == {"norm.running_mean": [1, 1], "norm.count": 3}
    with pytest.raises(
        InputError, match=r"unknown \['norm.count', 'norm.running_mean'\]; an update holds what is trained"
    ):
        load_update(path, layout)
    with pytest.raises(InputError, match=r"missing \['head'\]"):
        load_model_file(path, ParameterLayout.of(FILE_TENSORS | {"head": np.ones(1)}))
    np.save(tmp_path / "flat.npy", parameters)
    flat, rest = load_model_file(tmp_path / "flat.npy", layout)
    assert flat.tolist() == parameters.tolist() and rest == {}


@SUFFIXES
def test_a_truncated_or_empty_file_is_refused(tmp_path: Path, suffix: str):
    path = write(tmp_path / f"update{suffix}")
    whole = path.read_bytes()
    for size in (0, 1, 7, 20, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match=f"{path.name} cannot be read"):
            load_update(path)


class Trap:
    """What a hostile pickle does: run something when it is loaded."""

    sprung = 0

    def __reduce__(self):
        return Trap.spring, ()

    @staticmethod
    def spring() -> None:
        Trap.sprung += 1


@pytest.mark.parametrize("kind", ["pickle.npy", "pickle.npz", "array.npy", "array.npz"])
def test_a_pickle_is_never_loaded(tmp_path: Path, kind: str):
    """A bare pickle, and an object array, which numpy stores as one."""
    path = tmp_path / kind
    if path.stem == "pickle":
        path.write_bytes(pickle.dumps(Trap()))
    else:
        (np.save if path.suffix == ".npy" else np.savez)(path, np.array([Trap()]))
    before = Trap.sprung
    with pytest.raises(InputError, match=f"{kind} cannot be read: .*([Pp]ickle|Python objects)"):
        load_update(path)
    assert Trap.sprung == before
    loaded = np.load(path, allow_pickle=True)
    if kind == "array.npz":
        with loaded:
            loaded["arr_0"]
    assert Trap.sprung > before  # where pickles are allowed, the same file runs


def test_other_files_are_refused(tmp_path: Path):
    with pytest.raises(InputError, match="wanted one of .npy, .npz, .safetensors"):
        load_tensors(write(tmp_path / "update.npy").rename(tmp_path / "update.pt"))
    with pytest.raises(InputError, match="no such file: .*missing.npy"):
        load_tensors(tmp_path / "missing.npy")
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(InputError, match="no such file: .*folder.npz"):
        load_tensors(tmp_path / "folder.npz")


def test_a_file_of_another_shape_or_value_is_refused(tmp_path: Path):
    for name, array, reason in (
        ("square", np.ones((2, 2)), r"one flat vector of at least one value: got shape \(2, 2\)"),
        ("none", np.ones(0), r"one flat vector of at least one value: got shape \(0,\)"),
        ("nan", np.array([np.nan]), "1 of 1 values are NaN or infinite"),
        ("text", np.array(["a"]), "an update holds real numbers: got dtype <U1"),
    ):
        np.save(tmp_path / f"{name}.npy", array)
        with pytest.raises(InputError, match=reason):
            load_update(tmp_path / f"{name}.npy")
    safetensors.numpy.save_file({}, tmp_path / "none.safetensors")
    with pytest.raises(InputError, match="a model has at least one parameter: got none"):
        load_update(tmp_path / "none.safetensors")


def test_without_a_layout_tensors_follow_each_other_by_name_whatever_the_format(tmp_path: Path):
    """safetensors sorts its header itself, so the order of a state dict would not be kept."""
    tensors = dict(reversed(FILE_TENSORS.items()))  # the model's own order: weight, bias
    np.savez(tmp_path / "update.npz", **tensors)
    safetensors.numpy.save_file(tensors, tmp_path / "update.safetensors")
    assert load_update(tmp_path / "update.safetensors").tolist() == [4, 5, 0, 1, 2]
    assert load_update(tmp_path / "update.npz").tolist() == [4, 5, 0, 1, 2]


def test_a_bfloat16_safetensors_file_fits_the_layout_of_its_model(tmp_path: Path):
    tensors = {"weight": torch.tensor([1.0, 0.5], dtype=torch.bfloat16)}
    safetensors.torch.save_file(tensors, tmp_path / "update.safetensors")
    assert load_update(tmp_path / "update.safetensors", ParameterLayout.of(tensors)).tolist() == [1.0, 0.5]


def test_an_npy_vector_of_another_length_than_the_layout_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="update.npy has 5 values: the model has 2 parameters"):
        load_update(write(tmp_path / "update.npy"), ParameterLayout.of({"bias": FILE_TENSORS["bias"]}))


def test_a_damaged_npz_is_closed_again(tmp_path: Path):
    path = write(tmp_path / "update.npz")
    path.write_bytes(path.read_bytes()[:20])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(InputError, match="cannot be read"):
            load_update(path)
        gc.collect()
    assert not [w for w in caught if w.category is ResourceWarning]


# ---------------------------------------------------------------- floats of another width, tensors by name


@pytest.mark.parametrize("own", ["float16", "float32", "float64", "bfloat16"])
@pytest.mark.parametrize("given", ["float16", "float32", "float64"])
def test_floats_of_another_width_are_cast_with_a_note(tmp_path: Path, own: str, given: str):
    layout = ParameterLayout(("bias", "weight"), ((2,), (1,)), (own, own))
    exact = [1 / 3, -2.5, 0.125]
    np.savez(tmp_path / "update.npz", bias=np.array(exact[:2], given), weight=np.array(exact[2:], given))
    said: list[str] = []
    found = load_update(tmp_path / "update.npz", layout, said.append)
    holder = "float32" if own == "bfloat16" else own
    assert found.tolist() == np.array(exact, given).astype(holder).astype(float).tolist()
    place = tmp_path / "update.npz"
    cast = f"note: cast to the model's dtype: bias ({given}, the model's is {own}) and 1 more in {place}"
    assert said == ([] if given == holder else [cast])


def test_what_is_cast_to_infinity_is_refused(tmp_path: Path):
    np.savez(tmp_path / "update.npz", bias=np.array([1e300, 1.0]))
    with pytest.raises(InputError, match="1 of 2 values are NaN or infinite"):
        load_update(tmp_path / "update.npz", ParameterLayout(("bias",), ((2,),), ("float32",)))


def test_integers_are_not_taken_for_floats(tmp_path: Path):
    np.savez(tmp_path / "update.npz", bias=np.array([1, 2]))
    with pytest.raises(InputError, match=r"bias: got int64\[2\], wanted float32\[2\]"):
        load_update(tmp_path / "update.npz", ParameterLayout(("bias",), ((2,),), ("float32",)))


@pytest.mark.parametrize("kind", ["arrays", "tensors", "parameters", "backwards"])
def test_tensors_by_name_are_one_vector_in_the_layouts_order(kind: str):
    layout = ParameterLayout.of(FILE_TENSORS)
    given = {
        "arrays": FILE_TENSORS,
        "tensors": {name: torch.from_numpy(value) for name, value in FILE_TENSORS.items()},
        "parameters": {name: torch.nn.Parameter(torch.from_numpy(value)) for name, value in FILE_TENSORS.items()},
        "backwards": dict(reversed(FILE_TENSORS.items())),
    }[kind]
    assert as_vector(given, layout, "the update").tolist() == [4, 5, 0, 1, 2]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"bias": [1.0, 2.0]}, r"the update is not of the build's model: missing \['weight'\]"),
        (
            FILE_TENSORS | {"head": np.ones(1)},
            r"the update is not of the build's model: missing \[\], unknown \['head'\]",
        ),
        (None, "an update is one flat vector"),
        ("update.npz", "an update is one flat vector"),
        (3.0, "an update is one flat vector"),
        ([[1.0], [1.0, 2.0]], "an update is one flat vector, or tensors by name"),
        ([object()], "an update holds real numbers"),
        (torch.ones(2, 2, requires_grad=True), "an update is one flat vector"),
    ],
    ids=["missing", "unknown", "None", "a path", "a number", "ragged", "objects", "a matrix"],
)
def test_what_is_no_update_is_refused_in_words(given: object, reason: str):
    with pytest.raises(InputError, match=reason):
        as_vector(given, ParameterLayout.of(FILE_TENSORS), "the update")


def test_tensors_want_a_build_that_knows_names():
    with pytest.raises(InputError, match="make it with --model, not --params"):
        as_vector(FILE_TENSORS, None, "the update")
