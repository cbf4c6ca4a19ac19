"""Manifests, settings and sizes that contradict themselves, and folders of something else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import ROUND, Round, build_for, submit
from zkmarket.build import Build, Manifest
from zkmarket.documents import write_json
from zkmarket.errors import ArtifactError, DomainError, InputError, ProofRejected, RuleError
from zkmarket.files import sha256_file
from zkmarket.round import (
    RoundProof,
    export,
    open_aggregate,
    prove_round,
    verify_round,
)
from zkmarket.rules import MultiKrum

pytestmark = [pytest.mark.proof, pytest.mark.usefixtures("remembered")]


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
