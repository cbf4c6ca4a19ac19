"""A manifest's own arithmetic is recomputed: what it derives cannot contradict what it is derived from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import documents
from zkmarket.build import Build, Manifest, check_consistent
from zkmarket.build.folder import _check_circuits
from zkmarket.build.statements import settlement_logrows
from zkmarket.crypto import Q, encode_point
from zkmarket.documents import check_schema
from zkmarket.errors import ArtifactError, DomainError, InputError, ProofRejected, RuleError, ZkmarketError
from zkmarket.round import Opening
from zkmarket.rules import Domain, Filter, RuleSet, score_shift

pytestmark = pytest.mark.unit


def check(**changes: Any) -> None:
    value = documents.manifest() | changes
    check_schema(value, "manifest", "manifest")
    check_consistent(Manifest(value))


def test_the_honest_manifest_is_consistent():
    check()
    manifest = Manifest(documents.manifest())
    assert (manifest.columns.rows, manifest.columns.width) == (29, 32)
    assert (manifest.chunk, manifest.chunks, manifest.bound, manifest.norm_bound) == (896, 3, 512, 2500 * 512**2)
    assert (manifest.projection.blocks, manifest.projection.tail) == (15, (708, 896))
    assert manifest.layout.size == manifest.params
    assert manifest.digest().hex() == manifest.value["digest"][2:]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"rows": 28}, "rows is 28, wanted 29"),
        ({"width": 64}, "width is 64, wanted 32"),
        ({"chunk": 928}, "chunk is 928, wanted 896"),
        ({"chunks": 4}, "chunks is 4, wanted 3"),
        ({"params": 4000}, "chunks is 3, wanted 5"),
        ({"salts": 33}, "salts is 33, wanted 32"),
        ({"value_bound": 508}, "value_bound is 508, wanted 512"),
        ({"insecure": False}, "insecure is False, wanted True"),
        ({"beta_max": str(10**6)}, "digest is .*wanted"),
        ({"beta_max": str(2500 * 512**2 + 1)}, "beta_max is 655360001, wanted 655360000"),
        ({"filter": "multi-krum:f=0,m=4"}, "domain is .*wanted"),
        ({"trainers": 6}, "domain is .*wanted"),
        ({"score": "leave-one-out"}, "domain is .*wanted"),
    ],
    ids=lambda value: "" if isinstance(value, str) else next(iter(value)),
)
def test_a_changed_fact_contradicts_another(change: dict[str, Any], reason: str):
    with pytest.raises(ArtifactError, match=f"manifest contradicts itself: {reason}"):
        check(**change)


def test_a_bound_below_its_own_is_refused():
    """A smaller penalty would let long updates win the ranking."""
    domain = documents.manifest()["domain"]
    for change in ({"penalty": "1"}, {"digits": domain["digits"] - 1}, {"bounds": {}}):
        with pytest.raises(ArtifactError, match="manifest contradicts itself: domain"):
            check(domain=domain | change)
    with pytest.raises(ArtifactError, match="manifest contradicts itself: digit_bits is 9, wanted"):
        check(domain=domain | {"digit_bits": 9})


def test_another_digest_is_refused():
    with pytest.raises(ArtifactError, match="manifest contradicts itself: digest is 0x0000"):
        check(digest="0x" + "00" * 32)
    with pytest.raises(ArtifactError, match="manifest contradicts itself: digest"):
        check(srs={"kind": "development", "id": "12" * 32})  # what it is the digest of


def test_a_layout_of_another_model_is_refused():
    rows = [{"name": "w", "shape": [50, 51], "dtype": "float32"}]
    with pytest.raises(ArtifactError, match="parameters of the layout is 2550, wanted 2500"):
        check(layout=rows)
    with pytest.raises(InputError, match=r"not a layout: unknown dtypes \['float128'\]"):
        check(layout=[{"name": "w", "shape": [2500], "dtype": "float128"}])
    with pytest.raises(InputError, match="or a name twice"):
        check(layout=[{"name": "w", "shape": [1250], "dtype": "float32"}] * 2)


@pytest.mark.parametrize(
    ("change", "error", "reason"),
    [
        ({"filter": "multi-krum:f=1,m=2"}, RuleError, "3 <= m <= N: got m=2, N=5"),
        ({"beta_max": str(1 << 120)}, DomainError, "--beta-max"),
    ],
    ids=["m", "beta_max"],
)
def test_a_rule_that_is_not_legal_is_refused(change: dict[str, Any], error: type[ZkmarketError], reason: str):
    with pytest.raises(error, match=reason):
        check(**change)


@pytest.mark.parametrize(("params", "chunks"), [(2500, 3), (1792, 2), (40, 1)])
def test_the_circuits_are_the_same_two_whatever_the_size(tmp_path: Path, params: int, chunks: int):
    value = documents.manifest(params, chunks, layout=None)
    check_consistent(Manifest(value))
    assert list(value["circuits"]) == ["base", "settlement"]
    some = value["circuits"]["settlement"]
    for circuits in ({"settlement": some}, dict.fromkeys(("base", "range", "settlement"), some)):
        with pytest.raises(ArtifactError, match=r"manifest has the circuits .* wanted \['base', 'settlement'\]"):
            _check_circuits(Build(tmp_path, Manifest(value | {"circuits": circuits})))


def test_an_update_in_which_sums_would_wrap_around_is_refused():
    chunks = (1 << 26) // 896
    with pytest.raises(DomainError, match=r"an update has at most 2\^26 values with its padding: got 67109504"):
        check_consistent(Manifest(documents.manifest(chunks * 896 + 1, chunks + 1, layout=None)))


def test_another_commitment_of_zero_is_in_the_digest():
    """B itself is recomputed from the SRS when a build is loaded."""
    with pytest.raises(ArtifactError, match="manifest contradicts itself: digest"):
        check(blinding_point="0x" + encode_point((1, Q - 2)).hex())
    with pytest.raises(ProofRejected, match="not on BN254 G1"):
        check(blinding_point="0x" + "00" * 64)


# ---------------------------------------------------------------- values


def test_a_value_beyond_q_is_refused():
    """Q is the project's, 256 here, whatever K is."""
    few = Manifest(documents.manifest() | {"fixed_point": {"scale_bits": 8, "value_bits": 9}})
    assert few.bound == 256
    salts = np.arange(3 * 8 * 32, dtype=np.uint8).reshape(3, 8, 32) & 15
    for value in (-256, 255):
        Opening(np.full(2500, value, np.int32), salts).check(few)
    for value in (-257, 256, 507):
        with pytest.raises(DomainError, match=rf"values lie in \[−256, 256\): got .*{value}"):
            Opening(np.array([0] * 2499 + [value], np.int32), salts).check(few)


def test_values_of_more_bits_than_the_argument_takes():
    """19, sign included, at every K: the native arithmetic counts on it."""
    for bits, fits in ((19, True), (20, False)):
        bound = 1 << (bits - 1)
        change = {"fixed_point": {"scale_bits": 8, "value_bits": bits}, "value_bound": bound}
        with pytest.raises((ArtifactError, InputError), match="domain is" if fits else "value_bits"):
            check(**change)


# ---------------------------------------------------------------- further filters and scores


def further(rule: str, score: str, most: int | None = None) -> dict[str, Any]:
    """A manifest of other rules, consistent in itself."""
    value = documents.manifest()
    rules = RuleSet(5, 2500, 512, 10**7, Filter.parse(rule), score, most)
    logrows = settlement_logrows(rules)
    domain = Domain.of(rules, logrows - 1)
    numbers = {name: getattr(domain, name) for name in ("digit_bits", "digits")}
    bounds = {name: str(bound) for name, bound in domain.bounds.items()}
    value |= {"filter": rule, "score": score}
    value["domain"] = {"bounds": bounds, "penalty": str(domain.penalty), **numbers}
    value["circuits"]["settlement"] = value["circuits"]["settlement"] | {"logrows": logrows}
    if most is not None:
        value |= {"most_trainers": most, "score_shift": score_shift(rules)}
    return value | {"digest": "0x" + Manifest(value).digest().hex()}


EVERY_PART = "multi-krum:f=1,m=4,three-sigma:lambda=3,cosine:tau=1/10"
FURTHER = [
    ("norm", "equal"),
    ("norm", "shapley"),
    ("norm,cosine:tau=1/10", "equal"),
    ("norm,cosine:tau=1/10", "root"),
    ("multi-krum:f=1,m=4", "root"),
    ("multi-krum:f=1,m=4", "cosine-shapley"),
    ("multi-krum:f=1,m=4,three-sigma:lambda=3", "shapley"),
    ("multi-krum:f=1,m=4,three-sigma:lambda=1/3", "shapley"),
    ("multi-krum:f=1,m=4,cosine:tau=1/3", "shapley"),
    ("multi-krum:f=1,m=4", "novel", 5),
    ("multi-krum:f=1,m=4", "novel", 6),
    (EVERY_PART, "novel", 5),
    (EVERY_PART, "root"),
]


def test_every_filter_and_score_has_a_manifest_of_its_own():
    """Each is consistent, and each is another one, were all keys the same."""
    digests = {documents.manifest()["digest"]}
    for rules in FURTHER:
        value = further(*rules)
        check_schema(value, "manifest", "manifest")
        check_consistent(Manifest(value))
        digests.add(value["digest"])
    assert len(digests) == len(FURTHER) + 1


def test_the_references_of_a_manifest():
    manifest = Manifest(further(EVERY_PART, "novel", 5))
    assert (manifest.references, manifest.slots, manifest.most_trainers) == (("root", "last"), 8, 5)
    assert Manifest(further("multi-krum:f=1,m=4", "novel", 5)).references == ("last",)
    assert Manifest(further("multi-krum:f=1,m=4", "root")).references == ("root",)
    plain = Manifest(documents.manifest())
    assert (plain.references, plain.slots, plain.most_trainers, plain.score_shift) == ((), 6, None, 0)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (further("multi-krum:f=1,m=4", "novel", 4), "most trainers is 4, wanted 5"),
        ({"most_trainers": 6}, "domain is"),
        ({"score_shift": 1}, "score_shift is 1, wanted 0"),
        ({"filter": "norm,multi-krum:f=1,m=4"}, "filter is norm"),
        ({"filter": "multi-krum:f=1,m=4,cosine:tau=2/20"}, "(filter|domain) is"),
    ],
    ids=lambda value: "" if isinstance(value, str) else next(iter(value)),
)
def test_what_a_novel_score_needs_cannot_contradict_it(change: dict[str, Any], reason: str):
    value = further("multi-krum:f=1,m=4", "novel", 5) | change
    with pytest.raises((ArtifactError, InputError), match=reason):
        check_consistent(Manifest(value))
    if "filter" in change and "norm" in change["filter"]:
        with pytest.raises(InputError, match="does not fit its schema at filter"):
            check_schema(value, "manifest", "manifest")


def test_a_manifest_without_what_a_novel_score_needs():
    for name in ("most_trainers", "score_shift"):
        value = further("multi-krum:f=1,m=4", "novel", 5)
        del value[name]
        with pytest.raises(ArtifactError, match="manifest contradicts itself"):
            check_consistent(Manifest(value))
        with pytest.raises(ArtifactError, match="most_trainers and score_shift"):
            check_consistent(Manifest(documents.manifest() | {name: 5}))
