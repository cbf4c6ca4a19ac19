"""`prove --score utility:…`: a round scored by a model's own loss, with real proofs.

The first attempt is killed; the second goes on with it on a Dask cluster, of which a worker is killed while it proves.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from tests.e2e.shell import SECONDS, Done, failed, killed_at, succeeded, zkmarket
from zkmarket.build import Manifest
from zkmarket.round import Opening, Theta
from zkmarket.utility import UtilityBuild, Validation, utility

pytestmark = pytest.mark.e2e

MODEL = """
import numpy as np, torch
from zkmarket.learning import Dataset

def model():
    torch.manual_seed(1)
    return torch.nn.Linear(3, 2)

def data():
    x = np.random.default_rng(5).uniform(-1, 1, (24, 3)).astype(np.float32)
    return Dataset(x, (x @ np.array([1.0, -2.0, 0.5]) > 0).astype(np.int64))
"""
BEACON = "0x" + "5a" * 32
GAME = ("--score", "utility:loo", "--utility", "compiled", "--theta", "theta.npy", "--beacon", BEACON)
PROVE = ("prove", "build", "--updates", "updates", "-o", "round.json", *GAME, "--validation", "batch.npz")
VERIFY = ("verify", "build", "round.json", *GAME, "--validation", "batch.public.npz", "--json")


@dataclass(frozen=True)
class Scored:
    """A folder in which a round was proven and scored.

    Attributes:
        prove: the second attempt, on a cluster.
        first_round: the round proof of the attempt that was killed.
        killed: address of the cluster's worker that was killed, and whether what it ran went with it.
    """

    place: Path
    prove: Done
    first_round: bytes
    killed: tuple[str, bool]

    def run(self, *arguments: object) -> Done:
        return zkmarket(self.place, *arguments)


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scored]:
    place = tmp_path_factory.mktemp("scored")
    (place / "tiny.py").write_text(MODEL)
    succeeded(zkmarket(place, "srs", "generate", "--quiet"))
    rule = ("--filter", "norm", "--score", "utility:loo", "--logrows", 10)
    succeeded(zkmarket(place, "build", "--trainers", 3, "--model", "tiny:model", *rule, "-o", "build"))
    theta = np.array([0.1, -0.2, 0.0, -0.1, 0.2, 0.1, 0.0, 0.05], np.float32)
    np.save(place / "theta.npy", theta)
    compiled = ("--build", "build", "--batch", 8, "--theta", "theta.npy")  # K, scale and salts are the build's
    compiled += ("--commit", "batch.npz", "--tolerance", 0.05)
    succeeded(zkmarket(place, "compile", "tiny:model", "--data", "tiny:data", *compiled, "-o", "compiled"))
    good = np.array([-0.5, 0.9, -0.2, 0.5, -0.9, 0.2, 0.0, 0.0])
    for i, update in enumerate((good, 0.5 * good + 0.05, -good)):
        np.save(place / f"u{i}.npy", update)
        who = f"0x{3 - i:040x}"
        succeeded(zkmarket(place, "commit", "build", f"u{i}.npy", "--trainer", who, "-o", f"updates/{i}"))
    killed_at(place, "coalition {1, 2}: ", *PROVE)
    first = (place / "round.json").read_bytes()
    assert len(list((place / "round.utility.parts").iterdir())) == 1 and not (place / "round.utility.json").exists()
    from distributed import LocalCluster

    with (
        LocalCluster(
            n_workers=3,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            local_directory=str(place),
            env={"ZKMARKET_CACHE": str(place / "cache")},
        ) as cluster,
        ThreadPoolExecutor(1) as beside,
    ):
        killed = beside.submit(kill_one_that_proves, cluster)
        done = zkmarket(place, *PROVE, "--json", "--scheduler", cluster.scheduler_address)
        yield Scored(place, succeeded(done), first, killed.result(1))
    shutil.rmtree(place)


def kill_one_that_proves(cluster: Any) -> tuple[str, bool]:
    """Kill -9 the first worker under which ezkl runs; its address, and whether ezkl ended with it."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        for nanny in list(cluster.workers.values()):
            with contextlib.suppress(psutil.NoSuchProcess):
                below = psutil.Process(nanny.pid).children(recursive=True)
                provers = [p for p in below if "zkmarket.backend.prover" in p.cmdline()]
                if provers:
                    address = nanny.worker_address
                    psutil.Process(nanny.pid).kill()
                    return address, not psutil.wait_procs(provers, timeout=10)[1]
        time.sleep(0.02)
    raise AssertionError("no worker proved anything")


def test_a_killed_round_goes_on(scored: Scored) -> None:
    """The same round proof, so the same mask; of four coalitions one was proven already. No salt is spent twice."""
    assert "round proof in round.json is of these updates: kept" in scored.prove.err
    assert "4 coalitions are due, 3 are to be proven" in scored.prove.err
    assert (scored.place / "round.json").read_bytes() == scored.first_round
    assert not (scored.place / "round.utility.parts").exists()
    assert scored.prove.json["utilities"] == "round.utility.json"


def test_a_worker_that_is_killed_stops_nothing(scored: Scored) -> None:
    worker, ended = scored.killed
    assert f"again, not on {worker}" in scored.prove.err
    assert ended, "a proof that nobody waits for went on"
    assert sorted(path.name for path in (scored.place / "cache").iterdir()) == ["worker"]
    files = list((scored.place / "cache/worker").iterdir())
    assert len(files) == 5  # settings, circuit, two keys, SRS: once for all workers and proofs


def test_a_finished_round_is_not_proven_again(scored: Scored) -> None:
    before = (scored.place / "round.utility.json").read_bytes()
    again = succeeded(scored.run(*PROVE, "--json"))
    assert "utility proofs in round.utility.json are of this round: kept" in again.err
    assert again.json == scored.prove.json
    assert (scored.place / "round.utility.json").read_bytes() == before


def test_salts_that_are_spent_are_not_spent_again(scored: Scored) -> None:
    """Other terms for the same updates: refused, and nothing is lost."""
    before = {path.name: path.read_bytes() for path in scored.place.glob("round*")}
    np.save(scored.place / "moved.npy", np.load(scored.place / "theta.npy") + np.float32(2**-9))
    for change in (("--theta", "moved.npy"), ("--rate", "0.5"), ("--beacon", "0x" + "5b" * 32)):
        failed(scored.run(*PROVE, *change, "--json"), 2, "not of these terms", "would spend salts")
    failed(scored.run(*PROVE, "--beta", 10**5, "--json"), 2, "utility proofs of 3 of these updates", "salts that are")
    assert {path.name: path.read_bytes() for path in scored.place.glob("round*")} == before


def test_scores_are_the_losses_that_were_taken_off(scored: Scored) -> None:
    """Against the oracle, from what each trainer opened; and the pay follows from them, not from the settlement."""
    found = succeeded(scored.run(*VERIFY, "--reward", 10**6)).json
    assert [row["accepted"] for row in found["trainers"]] == [True] * 3
    assert "reward_wei" not in found
    game = found["utility"]
    said = json.loads((scored.place / "compiled/utility.json").read_text())
    assert (game["method"], game["beacon"], game["insecure"]) == ("utility:loo", BEACON, True)
    assert game["model_digest"] == said["digest"]
    manifest = Manifest(json.loads((scored.place / "build/manifest.json").read_text()))
    openings = [Opening.load(scored.place / f"updates/{i}", manifest) for i in range(3)]
    model, batch = UtilityBuild.load(scored.place / "compiled"), Validation.load(scored.place / "batch.npz")
    theta = Theta.first(manifest, model.quantise_theta(np.load(scored.place / "theta.npy")), model.theta_bits)
    w = round(2**model.theta_bits / 3)  # whatever the coalition's size
    losses = {}
    for row in game["coalitions"]:
        members = [openings[slot - 1] for slot in row["slots"]]
        total = sum((m.values.astype(np.int64) for m in members), np.zeros(8, np.int64))
        proven = utility(model, replace(theta, values=theta.values + w * total), batch)
        assert (row["correct"], row["loss"]) == (proven.correct, proven.loss)
        losses[tuple(row["slots"])] = row["loss"]
    assert list(losses) == [(1, 2), (1, 3), (2, 3), (1, 2, 3)]
    raw = [losses[2, 3] - losses[1, 2, 3], losses[1, 3] - losses[1, 2, 3], losses[1, 2] - losses[1, 2, 3]]
    assert [row["raw"] for row in game["trainers"]] == raw
    assert [row["score"] for row in game["trainers"]] == [max(0, value) for value in raw]
    assert raw[0] > 0 > raw[2]  # the third pushed the other way
    assert [row["share_wei"] for row in game["trainers"]] == [  # a quarter to all alike, the rest by score
        250_000 // 3 + 750_000 * max(0, v) // (raw[0] + max(0, raw[1])) for v in raw
    ]
    bare = succeeded(scored.run(*VERIFY, "--reward", 10**6, "--floor", 0)).json["utility"]
    assert bare["trainers"][2]["share_wei"] == 0


def test_the_model_of_all_is_the_next_rounds(scored: Scored) -> None:
    """What `open` makes of the aggregate is what the coalition of everybody was scored by, in integers and salts."""
    opened = ("open", "build", "round.json", "round.aggregate.npz", "--model", "theta.npy", "-o", "next.npz")
    succeeded(scored.run(*opened))
    manifest = Manifest(json.loads((scored.place / "build/manifest.json").read_text()))
    model, batch = UtilityBuild.load(scored.place / "compiled"), Validation.load(scored.place / "batch.npz")
    after = Theta.load(scored.place / "next.theta.npz", manifest)
    assert after.salts.any()
    game = succeeded(scored.run(*VERIFY)).json["utility"]
    everybody = next(row for row in game["coalitions"] if row["slots"] == [1, 2, 3])
    assert utility(model, after, batch).loss == everybody["loss"]
    # a file of integers is read as one: these are not the round's
    failed(scored.run(*VERIFY, "--theta", "next.theta.npz"), 1, "utility proofs are of another context")


def test_what_a_person_reads(scored: Scored) -> None:
    text = succeeded(scored.run(*VERIFY[:-1])).out
    assert "utility:loo: 4 coalitions are due and proven" in text


def test_other_terms_are_refused(scored: Scored) -> None:
    np.save(scored.place / "other.npy", np.load(scored.place / "theta.npy") + np.float32(2**-9))
    batch = Validation.load(scored.place / "batch.npz")
    Validation(batch.values, batch.salts, batch.points[::-1] if len(batch.points) > 1 else ((1, 2),)).save(
        scored.place / "other.npz"
    )
    for option, value in (
        ("--beacon", "0x" + "5b" * 32),
        ("--theta", "other.npy"),
        ("--rate", 2),
        ("--validation", "other.npz"),
        ("--score", "utility:permutations:1"),
    ):
        failed(scored.run(*VERIFY, option, value), 1, "utility proofs are of another")


def test_an_edited_file_is_refused(scored: Scored) -> None:
    """Real proofs: one away, two swapped, and a loss that was made smaller."""
    honest = json.loads((scored.place / "round.utility.json").read_text())

    def edited(change) -> Done:
        value = json.loads(json.dumps(honest))
        change(value["proofs"])
        (scored.place / "edited.json").write_text(json.dumps(value))
        return scored.run(*VERIFY, "--coalitions", "edited.json")

    def swap(proofs: list) -> None:
        proofs[0]["proof"], proofs[1]["proof"] = proofs[1]["proof"], proofs[0]["proof"]

    def smaller(proofs: list) -> None:
        instances = proofs[-1]["proof"]["instances"]
        instances[-1] = f"0x{int(instances[-1], 16) - 1:064x}"

    succeeded(edited(lambda proofs: None))
    failed(edited(lambda proofs: proofs.pop()), 1, "coalition {1, 2, 3} is due and has no proof")
    failed(edited(swap), 1, "coalition {1, 2}: utility proof is of another theta than the committed one")
    failed(edited(smaller), 1, "coalition {1, 2, 3}: utility proof does not verify")


def test_a_round_that_could_outgrow_the_model_is_not_begun(scored: Scored) -> None:
    """Or a coalition could turn out unprovable once its salts are spent."""
    before = {path.name: path.read_bytes() for path in scored.place.glob("round*")}
    said = ("a round can move it by", "this build takes 8", "--theta-bound")
    failed(scored.run(*PROVE, "--rate", 3, "--json"), 2, *said)
    assert {path.name: path.read_bytes() for path in scored.place.glob("round*")} == before


def test_a_build_of_other_scores_is_refused(scored: Scored) -> None:
    failed(scored.run(*VERIFY, "--coalitions", "nowhere.json"), 2, "no utility proofs at nowhere.json")
    failed(scored.run(*VERIFY, "--score", "utility:shapley"), 2, "can spend 12 salts of a chunk: this build has 11")
