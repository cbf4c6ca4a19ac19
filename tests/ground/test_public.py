"""What `zkmarket` exports, in the hands of somebody at a prompt: any path, short texts, words for a wrong argument."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zkmarket
from zkmarket import (
    Aggregate,
    Build,
    Commitment,
    Decision,
    FixedPoint,
    Manifest,
    Opening,
    ParameterLayout,
    RoundProof,
    Submission,
    ZkmarketError,
    admit,
    commit_update,
    export,
    load_submissions,
    load_update,
    make_build,
    open_aggregate,
    prove_round,
    verify_round,
)
from zkmarket.documents import read_json, write_json
from zkmarket.errors import InputError
from zkmarket.processes import SOURCE_TREE
from zkmarket.round import KnownReferences, load_submission
from zkmarket.updates import load_model_file, load_tensors
from zkmarket.updates.quantise import quantise

pytestmark = pytest.mark.unit

GOLDEN = SOURCE_TREE / "artifacts/golden"
MANIFEST = Manifest(read_json(GOLDEN / "build/manifest.json", "manifest"))
BUILD = Build(GOLDEN / "build", MANIFEST)
PROOF = RoundProof.load(GOLDEN / "round.json", MANIFEST)
DECISION = Decision((1, 2, 3), (1, 0, 1), (5, 0, 7), 11, PROOF.commitments[0].points)
AGGREGATE = Aggregate(np.arange(40), np.zeros((1, 8, 32), np.uint8))
OPENING = Opening(np.arange(40), np.full((1, 8, 32), 23, np.uint8))

FUNCTIONS = [
    *(admit, commit_update, export, load_submissions, make_build, open_aggregate, prove_round, verify_round),
    *(load_update, load_tensors, load_model_file, load_submission, quantise, zkmarket.dequantise),
    *(Build.load, RoundProof.load, Commitment.load, Opening.load, Aggregate.load, ParameterLayout.of),
]


# ---------------------------------------------------------------- wrong arguments


JUNK = (None, "junk", 3, 2.5, [], ["junk"], {}, object())


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__qualname__)
def test_a_wrong_argument_is_said_in_words(
    function: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """InputError, or Python's own TypeError for what is no path; never an attribute that something has not got."""
    monkeypatch.chdir(tmp_path)
    wanted = [p for p in inspect.signature(function).parameters.values() if p.default is p.empty]
    for junk in JUNK:
        with pytest.raises((ZkmarketError, TypeError)) as caught:
            function(*[junk] * len(wanted))
        assert "object has no attribute" not in str(caught.value) and len(str(caught.value)) < 400
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: verify_round("BUILD", PROOF), "the build is of type Build: got 'BUILD'"),
        (lambda: verify_round(BUILD, "round.json"), "the round proof is of type RoundProof: got 'round.json'"),
        (
            lambda: prove_round(BUILD, ["trainer-0"]),
            "a submission of `load_submissions` is of type Submission",
        ),
        (
            lambda: open_aggregate(BUILD, PROOF, AGGREGATE),
            "the decision of `verify_round` is of type Decision",
        ),
        (lambda: open_aggregate(BUILD, DECISION, "a.npz"), "the aggregate is of type Aggregate: got 'a.npz'"),
        (lambda: commit_update(BUILD, np.zeros(40), "t", trainer="0x71"), "an address is 20 bytes of hex: got '0x71'"),
        (lambda: commit_update(BUILD, np.zeros(40), "t", trainer=-1), "a trainer is an address of 160 bits"),
        (lambda: commit_update(BUILD, {"w": np.zeros(40)}, "t", trainer=1), "the build knows no names"),
        (lambda: make_build("8 trainers", None, "B"), "what to build is of type Spec: got '8 trainers'"),
        (
            lambda: RoundProof.load(GOLDEN / "round.json", BUILD),
            "a build is of type Manifest: got Build",
        ),
    ],
)
def test_the_message_says_what_is_wanted(
    call: Callable[[], Any], reason: str, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        call()
    assert reason in str(caught.value)
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- paths


def test_files_are_named_by_text_or_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    PROOF.save("round.json")
    assert RoundProof.load("round.json", MANIFEST) == PROOF == RoundProof.load(tmp_path / "round.json", MANIFEST)
    AGGREGATE.save("aggregate.npz")
    assert (Aggregate.load("aggregate.npz", MANIFEST).values == AGGREGATE.values).all()
    Path("trainer-0").mkdir()
    OPENING.save("trainer-0")
    write_json("trainer-0/commitment.json", PROOF.commitments[0].to_json())
    assert (Opening.load("trainer-0", MANIFEST).values == OPENING.values).all()
    assert Commitment.load("trainer-0/commitment.json", MANIFEST) == PROOF.commitments[0]
    assert load_submission(BUILD, "trainer-0").commitment == PROOF.commitments[0]
    assert len(load_submissions(BUILD, ".")) == 1
    np.save("update.npy", np.zeros(40))
    assert load_update("update.npy").tolist() == [0] * 40 and load_model_file("update.npy")[1] == {}


# ---------------------------------------------------------------- reprs


LAYOUT = ParameterLayout.of({f"layer.{i}.weight": np.zeros((3, 4)) for i in range(100)})
SHOWN = [
    *(MANIFEST, BUILD, PROOF, DECISION, AGGREGATE, OPENING, LAYOUT, PROOF.commitments[0], PROOF.settlement),
    *(Submission(PROOF.commitments[0], OPENING), quantise(np.zeros(40), FixedPoint(12, 13)), PROOF.references),
    KnownReferences(PROOF.commitments[0], PROOF.commitments[0].points),
]


@pytest.mark.parametrize("value", SHOWN, ids=lambda value: type(value).__name__)
def test_what_a_prompt_shows_is_short_and_no_secret(value: object) -> None:
    text = repr(value)
    assert text.startswith(f"{type(value).__name__}(") and len(text) < 400 and "\n" not in text
    assert "23, 23" not in text and "23 23" not in text, "a salt"


def test_what_a_prompt_shows_says_which_one_it_is() -> None:
    digest = MANIFEST.value["digest"]
    assert f"digest {digest[:40]}" in repr(BUILD) and str(GOLDEN) in repr(BUILD)
    assert repr(LAYOUT) == "ParameterLayout(100 tensors, 1200 parameters)"
    assert repr(DECISION) == "Decision(2 of 3 accepted, mask [1, 0, 1], nu 11)"
    assert digest[2:18] in repr(PROOF) and "3 trainers" in repr(PROOF)
