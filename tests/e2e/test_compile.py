"""`zkmarket compile`: searches scales, reports, writes a build and commits to a batch."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.circuits.utility_nets import network_named
from zkmarket import utility
from zkmarket.backend import srs
from zkmarket.build import Manifest
from zkmarket.cli import main
from zkmarket.errors import DomainError, InputError
from zkmarket.files import sha256_file
from zkmarket.learning import Dataset
from zkmarket.round import Theta
from zkmarket.updates import ParameterLayout
from zkmarket.utility import Options, UtilityBuild, Validation, float_utility, search
from zkmarket.utility.compile import as_build, candidates

pytestmark = pytest.mark.e2e

MODEL = "zkmarket.learning:digits_mlp,hidden=3"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "validation.npz"
    rng = np.random.default_rng(0)
    np.savez(path, x=rng.random((12, 64), np.float32), y=rng.integers(0, 10, 12))
    return path


def run(capsys: pytest.CaptureFixture, *words: object) -> tuple[int, dict]:
    code = main([*map(str, words), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_a_model_is_compiled(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    srs.generate()
    words = ["compile", MODEL, "--data", data, "--batch", 4, "--trainers", 3, "--logrows", 10, "--srs", "development"]
    code, report = run(capsys, *words, "--tolerance", 0.2, "-o", tmp_path / "made", "--commit", tmp_path / "batch.npz")
    assert code == 0
    build = UtilityBuild.load(tmp_path / "made", prover=True)
    assert report["digest"] == "0x" + build.digest.hex()
    facts = ("parameters", "chunks", "logrows", "batch", "theta_bits", "salts", "insecure")
    assert [report[name] for name in facts] == [64 * 3 + 3 + 30 + 10, 1, 10, 4, 8, 8, True]
    assert abs(report["accuracy"] - report["float_accuracy"]) <= 0.2
    assert report["mean_loss"] == pytest.approx(report["float_mean_loss"], abs=0.2 * report["float_mean_loss"])
    assert report["on_chain"] and 10_000 < report["verifier_bytes"] < 24_576 and "advice" not in report
    assert report["round_gas"] == 4 * report["coalition_gas"] > 5 * report["proof_gas"] > 10**6
    assert report["rows"] > 0 and report["expected_seconds"] > 0 and report["expected_memory_gb"] > 0
    assert (build.chunk, build.salts, build.theta_bits, build.scale_bits) == (28 * 32, 8, 8, 12)
    secret, public = (Validation.load(Path(path)) for path in report["validation"])
    assert secret.points == public.points and not public.values.size
    parameters = np.random.default_rng(0).normal(0, 0.3, build.params)
    theta = Theta(build.quantise_theta(parameters), np.zeros((1, 8, 32), np.uint8), build.theta_bits)
    found = utility.utility(build, theta, secret)
    assert 0 <= found.correct <= 4 and found.loss * build.loss_unit / 4 == pytest.approx(2.3, abs=1.5)
    again = ["--like", tmp_path / "made", "--srs", "development", "-o", tmp_path / "again"]
    code, answer = run(capsys, "compile", MODEL, *again)
    assert code == 0 and answer["digest"] == report["digest"]
    assert UtilityBuild.load(tmp_path / "again", prover=True).digest == build.digest
    code, error = run(capsys, "compile", "zkmarket.learning:digits_mlp,hidden=2", *again)
    assert code == 3 and "its plan is another one" in error["message"]
    lie = json.loads((tmp_path / "made" / "utility.json").read_text())
    lie["circuit"]["files"]["vk.key"] = sha256_file(tmp_path / "made" / "circuit" / "settings.json")
    lie["digest"] = "0x" + UtilityBuild(tmp_path, lie).digest.hex()
    shutil.copytree(tmp_path / "made", tmp_path / "lie")
    (tmp_path / "lie" / "utility.json").write_text(json.dumps(lie))
    shutil.copyfile(tmp_path / "made" / "circuit" / "settings.json", tmp_path / "lie" / "circuit" / "vk.key")
    code, error = run(capsys, "compile", MODEL, "--like", tmp_path / "lie", *again[2:])
    assert code == 3 and "has other keys than its plan" in error["message"]
    for name in ("a number as true", "another order"):  # equal in Python, another text
        lie = json.loads((tmp_path / "made" / "utility.json").read_text())
        if name == "another order":
            lie["plan"]["bounds"] = dict(reversed(lie["plan"]["bounds"].items()))
        else:
            assert lie["plan"]["steps"][0]["terms"][0]["factor"] == 1
            lie["plan"]["steps"][0]["terms"][0]["factor"] = True
        assert lie["plan"] == build.value["plan"]
        lie["digest"] = "0x" + UtilityBuild(tmp_path, lie).digest.hex()
        shutil.copytree(tmp_path / "made", tmp_path / name)
        (tmp_path / name / "utility.json").write_text(json.dumps(lie))
        code, error = run(capsys, "compile", MODEL, "--like", tmp_path / name, *again[2:])
        assert code == 3 and "its plan is another one" in error["message"]
    code, error = run(capsys, "compile", MODEL, "-o", tmp_path / "none")
    assert code == 2 and "needs --data and --trainers, --data and --build" in error["message"]
    code, error = run(capsys, *words, "-o", tmp_path / "made", "--tolerance", 0.2, "--commit", tmp_path / "batch.npz")
    assert code == 2 and "is not committed again" in error["message"]


def test_what_cannot_be_compiled_is_refused(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    srs.generate()
    rest = ["--trainers", 3, "--logrows", 10, "--srs", "development", "-o", tmp_path / "made"]
    for words, reason in (
        ([MODEL, "--data", data, "--batch", 13], "has 12"),
        ([MODEL, "--data", data, "--batch", 4, "--loss", "mse"], "mse does not go with targets"),
        ([MODEL, "--data", data, "--batch", 4, "--salts", 3], "from 8 to 32 salts at K = 10: got 3"),
        (["torch.nn:Softmax,dim=1", "--data", data, "--batch", 4], "at least one parameter"),
        (["tests.networks.test_reader:Attention", "--data", data, "--batch", 4], "does not export"),
    ):
        code, error = run(capsys, "compile", *words, *rest)
        assert code == 2 and re.search(reason, error["message"]), error
    assert not (tmp_path / "made").exists()


def options(**changes: object) -> Options:
    return Options("-", "-", **({"trainers": 3, "batch": 4, "logrows": 10, "scale_bits": 9, "theta_bits": 6} | changes))


def manifest(**changes: object) -> Manifest:
    value = {
        "score": "equal", "params": 6, "trainers": 5, "logrows": 13, "salts": 14, "beta_max": "1000",
        "fixed_point": {"scale_bits": 11, "value_bits": 14}, "layout": LAYOUT.to_json(),
    }  # fmt: skip
    return Manifest(value | changes)


LAYOUT = ParameterLayout(("weight", "bias"), ((2, 2), (2,)), ("float32", "float32"))


def test_a_model_is_compiled_for_a_build():
    bare = Options("-", "-", build=Path("BUILD"))
    made = as_build(bare, manifest(), LAYOUT)
    wanted = {"trainers": 5, "logrows": 13, "scale_bits": 11, "value_bits": 14, "salts": 14, "beta_max": 1000}
    assert {name: getattr(made, name) for name in wanted} == wanted
    assert as_build(made, manifest(layout=None), LAYOUT) == made  # the same said twice
    assert as_build(replace(bare, theta_bits=7), manifest(), LAYOUT).theta_bits == 7  # no build has it
    for change, reason in (
        ({"logrows": 10}, "--logrows is 13 in BUILD: got 10; leave it out"),
        ({"scale_bits": 12}, "--scale-bits is 11 in BUILD: got 12"),
        ({"salts": 8}, "--salts is 14 in BUILD: got 8"),
        ({"trainers": 3}, "--trainers is 5 in BUILD: got 3"),
    ):
        with pytest.raises(InputError, match=reason):
            as_build(replace(bare, **change), manifest(), LAYOUT)
    other = ParameterLayout(("weight", "bias"), ((2, 2), (2,)), ("float32", "float16"))
    with pytest.raises(InputError, match=r"it has bias float16\[2\] where the layout has bias float32\[2\]"):
        as_build(bare, manifest(), other)
    with pytest.raises(InputError, match="other parameters than -: 6, wanted 7"):
        as_build(bare, manifest(params=7, layout=None), LAYOUT)
    with pytest.raises(InputError, match="publishes shapley scores"):
        as_build(bare, manifest(score="shapley"), LAYOUT)


def test_the_bound_of_parameters_is_what_a_round_can_make_of_them():
    network, rng = network_named("cnn"), np.random.default_rng(1)
    sample = Dataset.of(rng.random((4, 1, 4, 4), np.float32), np.arange(4) % 3)

    def bound(**changes: object) -> float:
        sizes = next(candidates(network, options(salts=8, **changes), network.theta, sample))
        return sizes.theta_bound / 2**15

    largest = float(np.abs(network.theta).max())
    assert bound() == bound(beta_max=2**22) == 8  # √β is 4 at the updates' scale
    assert bound(beta_max=2**24) == 16 > largest + 8  # 8 and what there is
    assert bound(beta_max=2**24, theta_bound=5.0) == 5


def test_the_smallest_circuit_within_the_tolerance_is_taken():
    network, rng = network_named("cnn"), np.random.default_rng(1)
    x = rng.random((40, 1, 4, 4), np.float32)
    y = network.evaluate(network.theta, x).argmax(1)
    sample = Dataset.of(x, y)
    found, judged = search(network, options(tolerance=0.02), network.theta, sample)
    assert found is judged[-1] and found.within(0.02) and not any(f.within(0.02) for f in judged[:-1])
    assert [f.rows for f in judged] == sorted(f.rows for f in judged)
    loose, _ = search(network, options(tolerance=0.5), network.theta, sample)
    assert loose.rows <= found.rows
    with pytest.raises(DomainError, match=r"closest are [0-9.]+ and [0-9.]+ off; raise --tolerance"):
        search(network, options(tolerance=0.0), network.theta, sample)


def test_a_regression_is_judged_by_its_loss():
    network, rng = network_named("regression"), np.random.default_rng(1)
    x = rng.random((20, 4), np.float32)
    y = network.evaluate(network.theta, x).astype(np.float32) + rng.normal(0, 0.5, (20, 1)).astype(np.float32)
    found, _ = search(network, options(loss="mse"), network.theta, Dataset.of(x, y))
    assert found.accuracy == (0, 0) and found.loss[1] == pytest.approx(0.25, abs=0.15)
    assert found.loss[0] == pytest.approx(found.loss[1], abs=0.01)


def test_losses_of_floats():
    outputs = np.array([[0.0, 1.0], [2.0, 0.0]])
    accuracy, loss = float_utility(outputs, np.array([1, 1]), "cross-entropy")
    assert accuracy == 0.5 and loss == pytest.approx((np.log1p(np.exp(-1)) + np.log1p(np.exp(2))) / 2)
    assert float_utility(outputs, outputs + 1, "mse") == (0.0, 1.0)


def test_files_that_are_not_there(tmp_path: Path):
    with pytest.raises(InputError, match="no validation batch"):
        Validation.load(tmp_path / "none.npz")
