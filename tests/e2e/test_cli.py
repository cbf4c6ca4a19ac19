"""The command line: a whole round through subprocesses, its streams, files and exit codes."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.shell import Done, failed, succeeded, zkmarket
from zkmarket.build import Manifest
from zkmarket.crypto import to_hex, to_ints
from zkmarket.round import Commitment, Opening
from zkmarket.updates import load_tensors

pytestmark = pytest.mark.e2e

PARAMS, SCALE = 40, 12
RULE = ("--filter", "multi-krum:f=0,m=3", "--score", "leave-one-out", "--logrows", "10")
WHERE = ("--chain", "5", "--project", "0x" + "ab" * 20, "--round", "2")
ADDRESSES = ["0x" + f"{i + 1:02x}" * 20 for i in range(3)]


@dataclass(frozen=True)
class Flow:
    """A folder in which a whole round was made with the command line, and what the commands said."""

    place: Path
    build: Done
    commits: list[Done]
    prove: Done

    def run(self, *arguments: object) -> Done:
        return zkmarket(self.place, *arguments)

    @property
    def manifest(self) -> Manifest:
        return Manifest(json.loads((self.place / "build/manifest.json").read_text()))

    @property
    def openings(self) -> list[Opening]:
        return [Opening.load(self.place / f"updates/trainer-{i}", self.manifest) for i in range(3)]


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Flow:
    place = tmp_path_factory.mktemp("flow")
    succeeded(zkmarket(place, "srs", "generate", "--quiet"))
    made = succeeded(zkmarket(place, "build", "--trainers", 3, "--params", PARAMS, *RULE, "-o", "build", "--json"))
    rng = np.random.default_rng(4)
    common = rng.uniform(-0.4, 0.4, PARAMS)
    commits = []
    for i, who in enumerate(ADDRESSES):
        np.save(place / f"u{i}.npy", common + rng.uniform(-0.1, 0.1, PARAMS))
        commit = ("commit", "build", f"u{i}.npy", "--trainer", who, *WHERE, "-o", f"updates/trainer-{i}", "--json")
        commits.append(succeeded(zkmarket(place, *commit)))
    proven = succeeded(zkmarket(place, "prove", "build", "--updates", "updates", "-o", "round.json", "--json"))
    return Flow(place, made, commits, proven)


# ---------------------------------------------------------------- what each verb says


def test_doctor(flow: Flow) -> None:
    result = succeeded(flow.run("doctor", "--json")).json
    assert result["ok"] and {check["name"] for check in result["checks"]} >= {
        "python",
        "ezkl",
        "torch",
        "srs",
        "cache",
        "node",
        "solc",
        "anvil",
    }
    text = succeeded(flow.run("doctor"))
    assert "INSECURE" in text.out and text.out.startswith("ok ")


def test_srs_info(flow: Flow) -> None:
    rows = succeeded(flow.run("srs", "info", "--json")).json["srs"]
    mine = [row for row in rows if row["kind"] == "development"]
    assert len(mine) == 1 and mine[0]["insecure"] and {10, 12} & set(mine[0]["logrows"])
    assert "INSECURE" in succeeded(flow.run("srs", "info")).out


def test_srs_generate_says_that_it_is_insecure(flow: Flow) -> None:
    done = succeeded(flow.run("srs", "generate", "--logrows", 10, "--json"))
    assert done.json["insecure"] and 10 in done.json["logrows"]
    assert "INSECURE" in done.err


def test_build(flow: Flow) -> None:
    result = flow.build.json
    assert (result["trainers"], result["params"], result["chunks"], result["value_bound"]) == (3, PARAMS, 1, 4096)
    assert result["insecure"] is True
    assert result["digest"] == "0x" + flow.manifest.digest().hex()
    assert sorted(path.name for path in (flow.place / "build/circuits").iterdir()) == ["base", "settlement"]


def test_commit(flow: Flow) -> None:
    for i, done in enumerate(flow.commits):
        assert done.json["trainer"] == ADDRESSES[i]
        assert done.json["quantisation"]["max_error"] <= 2.0**-SCALE / 2
        commitment = Commitment.load(flow.place / f"updates/trainer-{i}/commitment.json", flow.manifest)
        assert (commitment.round_id.chain_id, commitment.round_id.round) == (5, 2)
        assert done.json["digest"] == "0x" + commitment.digest().hex()
        assert done.err == "· committing\n", "nothing is proven"


def test_prove(flow: Flow) -> None:
    assert flow.prove.json == {"round": "round.json", "aggregate": "round.aggregate.npz", "insecure": True}
    for line in ("admitting slot 3", "folding the chunks", "base proof: mock", "settlement proof: verify"):
        assert line in flow.prove.err


def test_prove_with_too_few_accepted_writes_no_aggregate(flow: Flow) -> None:
    (flow.place / "none.aggregate.npz").write_bytes(b"of an earlier run")
    done = succeeded(flow.run("prove", "build", "--updates", "updates", "--beta", "0", "-o", "none.json", "--json"))
    assert done.json["aggregate"] is None and not (flow.place / "none.aggregate.npz").exists()
    found = succeeded(flow.run("verify", "build", "none.json", "--reward", "10", "--json")).json
    assert found["accepted"] == 0 and [row["share_wei"] for row in found["trainers"]] == [3, 3, 3]
    refused = flow.run("open", "build", "none.json", "round.aggregate.npz", "-o", "m.npz")
    assert refused.code == 2 and "this round has no aggregate" in refused.err


def test_verify(flow: Flow) -> None:
    result = succeeded(flow.run("verify", "build", "round.json", "--json", "--reward", 1001, *WHERE)).json
    assert result["verified"] and result["accepted"] == 3
    assert [row["trainer"] for row in result["trainers"]] == ADDRESSES
    gram = [[int(np.dot(a.values.astype(int), b.values)) for b in flow.openings] for a in flow.openings]
    assert [row["score"] for row in result["trainers"]] == [2 * sum(gram[i]) - gram[i][i] for i in range(3)]
    assert sum(row["share_wei"] for row in result["trainers"]) + result["dust_wei"] == 1001
    assert result["nu"] == sorted(gram[i][i] for i in range(3))[1]
    assert (result["chain_id"], result["round"], result["insecure"]) == (5, 2, True)


def test_verify_for_people(flow: Flow) -> None:
    done = succeeded(flow.run("verify", "build", "round.json", "--reward", 1000))
    assert "verified\n" in done.out and "INSECURE" in done.out and all(who in done.out for who in ADDRESSES)
    assert "base proof" in done.err
    assert succeeded(flow.run("verify", "build", "round.json", "--quiet")).err == ""


def test_open(flow: Flow) -> None:
    arguments = ("open", "build", "round.json", "round.aggregate.npz", *WHERE)
    said = succeeded(flow.run(*arguments)).out  # no model is called one
    assert "their mean, without a model (--model), in aggregate.npz" in said
    assert not (flow.place / "model.npz").exists()
    answer = succeeded(flow.run(*arguments, "-o", "mean.npz", "--json")).json
    assert answer == {"model": "mean.npz", "params": PARAMS, "accepted": 3}
    mean = np.sum([opening.values for opening in flow.openings], axis=0) / 2.0**SCALE / 3
    for name in ("aggregate.npz", "mean.npz"):
        np.testing.assert_array_equal(load_tensors(flow.place / name)["params"], mean)
    np.save(flow.place / "before.npy", np.ones(PARAMS))
    moved = (
        "open",
        "build",
        "round.json",
        "round.aggregate.npz",
        "--model",
        "before.npy",
        "--rate",
        0.5,
    )
    told = succeeded(flow.run(*moved)).out
    assert "model in model.npz, its integers in model.theta.npz, their commitment " in told
    w, unit = 85, 2.0 ** (SCALE + 9)  # 2^9 · 0.5 / 3, rounded
    total = np.sum([opening.values for opening in flow.openings], axis=0)
    np.testing.assert_array_equal(load_tensors(flow.place / "model.npz")["params"], 1 + w * total / unit)
    digest = told.split()[-1]

    # the next round goes on with the integers; a model that is not the chain's is refused
    again = ("open", "build", "round.json", "round.aggregate.npz", "-o", "next.npz", "--json", "--model")
    answer = succeeded(flow.run(*again, "model.theta.npz", "--theta-bits", 9)).json
    assert (answer["theta_bits"], answer["integers"]) == (9, "next.theta.npz")
    np.testing.assert_array_equal(load_tensors(flow.place / "next.npz")["params"], 1 + (w + 171) * total / unit)
    failed(
        flow.run(*moved, "--commitment", "0x" + answer["theta"], "--json"),
        1,
        "the model after the round is not the chain's",
    )
    assert succeeded(flow.run(*moved, "--commitment", "0x" + digest, "--json")).json["theta"] == digest
    failed(flow.run(*again, "model.theta.npz", "--theta-bits", 8), 2, "has 9 theta_bits: got --theta-bits 8")
    inexact = flow.run(*moved[:-1], "1e-10")
    assert inexact.code == 2 and "a learning rate is a number from 0 on, exact to a billionth" in inexact.err


def test_anywhere_and_without_proving_keys(flow: Flow, tmp_path: Path) -> None:
    """A verifier has the build without proving keys and the round proof, in a folder of its own."""
    ignore = shutil.ignore_patterns("pk.key", "circuit.ezkl")
    shutil.copytree(flow.place / "build", tmp_path / "b", ignore=ignore)
    shutil.copyfile(flow.place / "round.json", tmp_path / "r.json")
    assert succeeded(zkmarket(tmp_path, "verify", "b", "r.json", "--json")).json["verified"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "r.json"]


def test_console_script(flow: Flow) -> None:
    """The installed `zkmarket`, beside the interpreter."""
    script = Path(sys.executable).parent / "zkmarket"
    done = subprocess.run([script, "--version"], capture_output=True, text=True, cwd=flow.place)
    assert done.returncode == 0 and done.stdout.startswith("zkmarket 0.")


# ---------------------------------------------------------------- a stranger with the upstream tool alone

UPSTREAM = """
import sys, ezkl
assert "zkmarket" not in sys.modules
print(ezkl.verify("proof.json", "settings.json", "vk.key", "kzg.srs"))
"""


def upstream(folder: Path) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", UPSTREAM], cwd=folder, capture_output=True, text=True)


@pytest.fixture(scope="module")
def exported(flow: Flow) -> list[Path]:
    done = succeeded(flow.run("verify", "build", "round.json", "--export", "out", "--json"))
    return [flow.place / place for place in done.json["exported"]]


def test_export(flow: Flow, exported: list[Path]) -> None:
    """The lines that `verify --export` prints are enough, in a Python that finds nothing of ours."""
    names = sorted(path.name for path in exported)
    assert names == ["base", "settlement"]
    for folder in exported:
        assert sorted(path.name for path in folder.iterdir()) == ["kzg.srs", "proof.json", "settings.json", "vk.key"]
    said = succeeded(flow.run("verify", "build", "round.json", "--export", "out")).out
    _, _, printed = said.partition("with ezkl ")
    lines = [line[4:] for line in printed.splitlines()[1:] if line.startswith("    ") or not line]
    hidden = "import sys; sys.modules['zkmarket'] = sys.modules['circuits'] = None\n"  # an import of them fails
    code = hidden + "\n".join(lines)
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd=flow.place, capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (0, ["out/base", "True", "out/settlement", "True"]), done.stderr


@pytest.mark.parametrize("name", ["base", "settlement"])
def test_exported_and_tampered(exported: list[Path], tmp_path: Path, name: str) -> None:
    """The upstream tool is really checking: one bit of one instance more, and it refuses."""
    folder = tmp_path / name
    shutil.copytree(next(path for path in exported if path.name == name), folder)
    proof = json.loads((folder / "proof.json").read_text())
    first = proof["instances"][0][0]
    proof["instances"][0][0] = f"{int(first[:2], 16) ^ 1:02x}" + first[2:]
    (folder / "proof.json").write_text(json.dumps(proof))
    done = upstream(folder)
    assert done.returncode == 1 and "RuntimeError" in done.stderr


# ---------------------------------------------------------------- secrets


def test_modes(flow: Flow) -> None:
    """What opens a commitment is readable by its owner only."""
    modes = {
        path.relative_to(flow.place).as_posix(): stat.S_IMODE(path.stat().st_mode)
        for path in (*flow.place.glob("updates/*/*.*"), *flow.place.glob("round*"))
    }
    secret = [name for name, mode in modes.items() if mode == 0o600]
    opening = (f"updates/trainer-{i}/{name}.npy" for i in range(3) for name in ("salts", "values"))
    assert sorted(secret) == ["round.aggregate.npz", *opening]
    assert {modes["round.json"], modes["updates/trainer-0/commitment.json"]} == {0o644}


def test_no_secret_is_published(flow: Flow) -> None:
    """No salt and no value, in any of its spellings, in what is printed or published."""
    public = [flow.build, *flow.commits, flow.prove]
    texts = [done.out + done.err for done in public]
    texts += [path.read_text() for path in (*flow.place.glob("updates/*/*.json"), flow.place / "round.json")]
    said = "\n".join(texts).lower()
    assert len(texts) == 5 + 3 * 2 + 1
    secrets = []
    for i, opening in enumerate(flow.openings):
        salts = opening.salts.reshape(-1, 32)
        secrets += to_hex(salts) + [f"{v:064x}" for v in to_ints(salts)] + [str(v) for v in to_ints(salts)]
        secrets += [repr(float(x)) for x in np.load(flow.place / f"u{i}.npy")]
        run = [str(int(v)) for v in opening.values[:4]]
        secrets += [", ".join(run), ",".join(run), ",\n ".join(run)]
    assert len(secrets) == 3 * (3 * 8 + PARAMS + 3)
    assert [secret for secret in secrets if secret in said] == []
    assert ADDRESSES[1] in said  # what is public is there


def test_nothing_secret_is_left_in_temporary_folders(flow: Flow, tmp_path: Path) -> None:
    """Witness files are gone when a command ends."""
    update = flow.place / "u0.npy"
    succeeded(zkmarket(flow.place, "commit", "build", update, "-o", tmp_path / "t", TMPDIR=str(_new(tmp_path / "tmp"))))
    assert [path for path in (tmp_path / "tmp").iterdir() if path.name.startswith("zkmarket")] == []


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


# ---------------------------------------------------------------- exit codes


def test_tampered_round(flow: Flow) -> None:
    value = json.loads((flow.place / "round.json").read_text())
    at = len(value["settlement"]["instances"]) - 2  # the third score
    value["settlement"]["instances"][at] = f"0x{int(value['settlement']['instances'][at], 16) + 1:064x}"
    (flow.place / "tampered.json").write_text(json.dumps(value))
    failed(flow.run("verify", "build", "tampered.json", "--json"), 1, "settlement proof does not verify")
    assert flow.run("verify", "build", "tampered.json").out == ""


@pytest.mark.parametrize("option, value", [("--round", "3"), ("--chain", "1"), ("--project", "0x" + "00" * 20)])
def test_another_round_than_expected(flow: Flow, option: str, value: str) -> None:
    failed(flow.run("verify", "build", "round.json", option, value, "--json"), 1, "round proof is of another round")
    opening = ("open", "build", "round.json", "round.aggregate.npz", option, value, "-o", "no.npz", "--json")
    failed(flow.run(*opening), 1, "round proof is of another round")
    assert not (flow.place / "no.npz").exists()


def test_wrong_aggregate(flow: Flow) -> None:
    with np.load(flow.place / "round.aggregate.npz") as arrays:
        np.savez(flow.place / "wrong.npz", values=arrays["values"] + 1, salts=arrays["salts"])
    done = flow.run("open", "build", "round.json", "wrong.npz", "-o", "no.npz", "--json")
    failed(done, 1, "does not open the commitment that was proven")
    assert not (flow.place / "no.npz").exists()


def test_opening_that_is_not_the_commitment_s(flow: Flow, tmp_path: Path) -> None:
    """An aggregator that got a wrong opening is told whose it is."""
    shutil.copytree(flow.place / "updates", tmp_path / "updates")
    opening = flow.openings[1]
    Opening(opening.values + 1, opening.salts).save(tmp_path / "updates/trainer-1")
    done = flow.run("prove", "build", "--updates", tmp_path / "updates", "-o", tmp_path / "r.json", "--json")
    failed(done, 1, "trainer in slot 2: the update does not open its commitment")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["updates"]


def test_stolen_commitment(flow: Flow, tmp_path: Path) -> None:
    """Who has another's points alone cannot open them; and their digest under another name is another digest."""
    shutil.copytree(flow.place / "updates", tmp_path / "updates")
    path = tmp_path / "updates/trainer-2/commitment.json"
    stolen = json.loads((tmp_path / "updates/trainer-0/commitment.json").read_text())
    path.write_text(json.dumps(stolen | {"trainer": ADDRESSES[2]}))
    assert Commitment.load(path, flow.manifest).digest().hex() not in (flow.commits[0].out, flow.commits[2].out)
    done = flow.run("prove", "build", "--updates", tmp_path / "updates", "-o", tmp_path / "r.json", "--json")
    failed(done, 1, "trainer in slot 3: the update does not open its commitment")


def test_an_update_out_of_range_is_not_admitted(flow: Flow, tmp_path: Path) -> None:
    shutil.copytree(flow.place / "updates", tmp_path / "updates")
    opening = flow.openings[1]
    values = np.array(opening.values, np.int32)
    values[3] = 4096
    Opening(values, opening.salts).save(tmp_path / "updates/trainer-1")
    done = flow.run("prove", "build", "--updates", tmp_path / "updates", "-o", tmp_path / "r.json", "--json")
    failed(done, 2, "trainer-1: an update's values lie in [−4096, 4096): got ")


@pytest.mark.exhaustive("tests/updates has each", but=3)
@pytest.mark.parametrize(
    "update, reason",
    [
        (np.full(PARAMS, np.nan), "40 of 40 values are NaN or infinite"),
        (np.append(np.zeros(PARAMS - 1), np.inf), "1 of 40 values are NaN or infinite"),
        (np.zeros(PARAMS + 1), "the update has shape (41,): wanted (40,)"),
        (np.zeros(0), "got shape (0,)"),
        (np.zeros((2, 20)), "an update is one flat vector"),
        (np.zeros(PARAMS, complex), "an update holds real numbers"),
        (np.array(["x"] * PARAMS), "an update holds real numbers"),
        (np.full(PARAMS, 1.0), "40 of 40 values do not fit"),
    ],
    ids=["NaN", "infinity", "long", "empty", "matrix", "complex", "text", "large"],
)
def test_unusable_update(flow: Flow, tmp_path: Path, update: np.ndarray, reason: str) -> None:
    np.save(tmp_path / "u.npy", update)
    failed(flow.run("commit", "build", tmp_path / "u.npy", "-o", tmp_path / "t", "--json"), 2, reason)
    assert not (tmp_path / "t").exists()


def test_saturation_is_counted_when_allowed(flow: Flow, tmp_path: Path) -> None:
    np.save(tmp_path / "u.npy", np.append(np.full(2, 3.0), np.zeros(PARAMS - 2)))
    failed(
        flow.run("commit", "build", tmp_path / "u.npy", "-o", tmp_path / "t", "--json"), 2, "2 of 40 values do not fit"
    )
    done = flow.run("commit", "build", tmp_path / "u.npy", "--saturate", "-o", tmp_path / "t", "--json")
    assert succeeded(done).json["quantisation"]["saturated"] == 2


def test_used_folder(flow: Flow) -> None:
    """Salts are not used for another update; the same one may be committed again, and is the same."""
    before = (flow.place / "updates/trainer-0/commitment.json").read_bytes()
    done = flow.run("commit", "build", "u1.npy", "--trainer", ADDRESSES[0], *WHERE, "-o", "updates/trainer-0", "--json")
    failed(done, 2, "its salts are spent")
    succeeded(
        flow.run("commit", "build", "u0.npy", "--trainer", ADDRESSES[0], *WHERE, "-o", "updates/trainer-0", "--json")
    )
    assert (flow.place / "updates/trainer-0/commitment.json").read_bytes() == before


@pytest.mark.exhaustive("tests/updates and tests/ground have each", but=6)
@pytest.mark.parametrize(
    "arguments, reason",
    [
        (("verify", "build", "nothing.json"), "no round proof at nothing.json"),
        (("verify", "build", "build/manifest.json"), "round proof does not fit its schema"),
        (("commit", "build", "nothing.npy", "-o", "t"), "no such file"),
        (("commit", "build", "u0.npy", "--trainer", "0x12", "-o", "t"), "an address is 20 bytes of hex"),
        (("commit", "build", "u0.npy", "--round", "-1", "-o", "t"), "round is an integer from 0 to"),
        (("commit", "build", "u0.npy", "--chain", "9" * 20, "-o", "t"), "chain_id is an integer from 0 to"),
        (("prove", "build", "--updates", "nowhere", "-o", "r.json"), "holds no trainers' folders"),
        (("prove", "build", "--updates", "updates", "--beta", "-1", "-o", "r.json"), "norm bound is from 0"),
        (("build", "--trainers", "4", "--params", "9", "--filter", "multi-krum:f=1,m=3", "-o", "b"), "N > 2f + 2"),
        (("build", "--trainers", "3", "--params", "9", "--filter", "median", "-o", "b"), "unknown filter"),
        (("build", "--trainers", "3", "--params", "0", "-o", "b"), "parameters: got 0"),
        (("build", "--trainers", "3", "--params", "9", "--logrows", "²", "-o", "b"), "--logrows is auto or a number"),
        (("build", "--trainers", "3", "--model", ":x", "-o", "b"), "--model"),
        (("build", "--trainers", "3", "--model", "no_such_module:make", "-o", "b"), "--model"),
        (("build", "--trainers", "3", "--model", "json:loads", "-o", "b"), "--model"),
        (("build", "--trainers", "3", "--model", "nothing.onnx", "-o", "b"), "no model at"),
        (("build", "--trainers", "3", "--model", "round.onnx", "-o", "b"), "is not an ONNX model"),
        (("demo", "--rounds", "0"), "from 1 to 100 rounds"),
        (("demo", "--trainers", "5", "--attackers", "6"), "from 0 to 5 attackers"),
    ],
)  # fmt: skip
def test_wrong_input(flow: Flow, arguments: tuple[str, ...], reason: str) -> None:
    shutil.copyfile(flow.place / "round.json", flow.place / "round.onnx")
    before = sorted(path.name for path in flow.place.iterdir())
    failed(flow.run(*arguments, "--json"), 2, reason)
    assert sorted(path.name for path in flow.place.iterdir()) == before


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--nonsense",),
        ("build",),
        ("verify", "build"),
        ("srs",),
        ("verify", "build", "round.json", "--reward", "-5"),
    ],
    ids=lambda arguments: "-".join(arguments) or "none",
)
def test_wrong_usage(flow: Flow, arguments: tuple[str, ...]) -> None:
    done = flow.run(*arguments)
    assert (done.code, done.out) == (2, "") and "usage: zkmarket" in done.err


def test_damaged_build(flow: Flow, tmp_path: Path) -> None:
    """Missing, damaged, or not the pinned one: exit code 3, before any proof is looked at."""
    failed(zkmarket(tmp_path, "verify", "nowhere", "r.json", "--json"), 3, "is not a build: no manifest at")
    shutil.copytree(flow.place / "build", tmp_path / "b", ignore=shutil.ignore_patterns("pk.key"))
    round_file = flow.place / "round.json"
    failed(zkmarket(tmp_path, "prove", "b", "--updates", "u", "-o", "r", "--json"), 3, "pk.key is missing")
    failed(
        zkmarket(tmp_path, "verify", "b", round_file, "--digest", "0x" + "00" * 32, "--json"), 3, "not the pinned one"
    )
    succeeded(zkmarket(tmp_path, "verify", "b", round_file, "--digest", flow.build.json["digest"]))
    (tmp_path / "b/circuits/settlement/vk.key").write_bytes(b"")
    failed(
        zkmarket(tmp_path, "verify", "b", round_file, "--json"), 3, "settlement/vk.key is not the file of this build"
    )


def test_no_srs(flow: Flow, tmp_path: Path) -> None:
    """A fresh machine is told what to do, and does not fall back to an insecure SRS by itself."""
    cache = str(tmp_path / "cache")
    build = ("build", "--trainers", 3, "--params", PARAMS, *RULE, "-o", "b", "--json")
    failed(zkmarket(tmp_path, *build, ZKMARKET_CACHE=cache), 3, "no SRS is installed", "zkmarket srs fetch")
    done = zkmarket(tmp_path, "doctor", "--json", ZKMARKET_CACHE=cache)
    assert done.code == 3 and not done.json["ok"] and "srs generate" in done.out
    failed(zkmarket(tmp_path, *build, "--srs", "ceremony"), 3, "no ceremony SRS is installed")
    assert not (tmp_path / "b").exists()


def test_srs_import_of_an_unknown_file(flow: Flow, tmp_path: Path) -> None:
    rows = succeeded(flow.run("srs", "info", "--json")).json["srs"]
    source = next(Path(row["folder"]) for row in rows if row["kind"] == "development") / "kzg10.srs"
    cache = str(tmp_path / "cache")
    failed(zkmarket(tmp_path, "srs", "import", source, "--json", ZKMARKET_CACHE=cache), 3, "not the published one")
    wrong = ("srs", "import", source, "--digest", "00" * 32, "--json")
    failed(zkmarket(tmp_path, *wrong, ZKMARKET_CACHE=cache), 3, "digest is not the one given")
    failed(zkmarket(tmp_path, "srs", "import", "none.srs", "--json", ZKMARKET_CACHE=cache), 3, "no such SRS file")


# ---------------------------------------------------------------- models


@pytest.fixture(scope="module")
def onnx_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two dense layers written with the onnx helpers, 12 + 4 + 4·5 + 4 = 40 parameters, and an int64 shape."""
    from onnx import TensorProto, helper, numpy_helper, save

    rng = np.random.default_rng(0)
    shapes = {"w1": (3, 4), "b1": (4,), "w2": (4, 5), "b2": (4,)}
    initialisers = [
        numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name) for name, shape in shapes.items()
    ]
    initialisers.append(numpy_helper.from_array(np.array([1, 20], np.int64), "shape"))
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"]),
        helper.make_node("Add", ["h", "b2"], ["a"]),
        helper.make_node("MatMul", ["a", "w2"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 5])],
        initialisers,
    )
    path = tmp_path_factory.mktemp("onnx") / "tiny.onnx"
    save(helper.make_model(graph), path)
    return path


def test_build_of_an_onnx_model(flow: Flow, onnx_model: Path, tmp_path: Path) -> None:
    """The layout comes from the model, updates come as named tensors, and the opened model has its shapes."""
    from safetensors.numpy import save_file

    result = succeeded(
        zkmarket(tmp_path, "build", "--trainers", 3, "--model", onnx_model, *RULE, "-o", "b", "--json")
    ).json
    assert result["params"] == 40 and "layout" not in result
    layout = json.loads((tmp_path / "b/manifest.json").read_text())["layout"]
    assert [(row["name"], row["shape"]) for row in layout] == [("w1", [3, 4]), ("b1", [4]), ("w2", [4, 5]), ("b2", [4])]
    assert result["digest"] != flow.build.json["digest"]
    tensors = {row["name"]: np.full(row["shape"], 0.25 * (i + 1), np.float32) for i, row in enumerate(layout)}
    tensors["b2"][:] = -0.5
    tensors["w2"][:] = 0.125
    np.savez(tmp_path / "other.npz", w1=tensors["w1"])
    failed(zkmarket(tmp_path, "commit", "b", "other.npz", "-o", "t/0", "--json"), 2, "missing ['b1', 'w2', 'b2']")
    for i in range(3):
        if i < 2:
            save_file(tensors, tmp_path / f"u{i}.safetensors")
        else:
            np.savez(tmp_path / f"u{i}.npz", **tensors)
        suffix = "safetensors" if i < 2 else "npz"
        succeeded(zkmarket(tmp_path, "commit", "b", f"u{i}.{suffix}", "-o", f"t/{i}"))
    succeeded(zkmarket(tmp_path, "prove", "b", "--updates", "t", "-o", "r.json"))
    succeeded(zkmarket(tmp_path, "open", "b", "r.json", "r.aggregate.npz", "-o", "m.npz"))
    opened = load_tensors(tmp_path / "m.npz")
    assert set(opened) == set(tensors)
    for name, value in tensors.items():
        np.testing.assert_array_equal(opened[name], value)
        assert opened[name].dtype == np.float32
    before = {name: np.ones_like(value) for name, value in tensors.items()}
    np.savez(tmp_path / "before.npz", running_mean=np.arange(4.0), **before)  # a buffer: no update changes it
    succeeded(zkmarket(tmp_path, "open", "b", "r.json", "r.aggregate.npz", "--model", "before.npz", "-o", "after.npz"))
    after = load_tensors(tmp_path / "after.npz")
    assert set(after) == {*tensors, "running_mean"} and after["running_mean"].tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(after["b2"], before["b2"] + tensors["b2"], atol=0.005)  # by w/2^ρ, near 1/3, each


@pytest.mark.exhaustive("test_build_of_an_onnx_model")
def test_build_of_a_factory(flow: Flow, tmp_path: Path) -> None:
    """package.module:factory, for a torch module; K chosen by the cost model would do as well."""
    arguments = ("build", "--trainers", 3, "--model", "zkmarket.learning:digits_mlp", *RULE, "-o", "b", "--json")
    result = succeeded(zkmarket(tmp_path, *arguments)).json
    assert (result["params"], result["chunks"]) == (2410, 3)
    layout = json.loads((tmp_path / "b/manifest.json").read_text())["layout"]
    assert [row["shape"] for row in layout] == [[32, 64], [32], [10, 32], [10]]


def test_build_of_a_factory_in_the_working_directory(flow: Flow, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import numpy\n\ndef make():\n    return {'w': numpy.zeros((8, 5), 'float32')}\n")
    arguments = ("build", "--trainers", 3, "--model", "mine:make", *RULE, "-o", "b", "--json")
    assert succeeded(zkmarket(tmp_path, *arguments)).json["params"] == 40
