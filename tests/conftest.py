"""Shared rounds and builds. Keys come from the user's cache when they are there, and are made when not."""

from __future__ import annotations

import copy
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import tiers
from zkmarket.backend import srs
from zkmarket.build import Build, Spec, make_build
from zkmarket.round import (
    Aggregate,
    Commitment,
    Opening,
    RoundId,
    RoundProof,
    Submission,
    open_with_fresh_salts,
    prove_round,
)
from zkmarket.round.commitment import commit
from zkmarket.rules import MultiKrum

# py_ecc lifts the recursion limit at import, so far that a test of deep nesting would crash the process
sys.setrecursionlimit(1000)

tiers.load_profile()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """`make test-all` has what is exhaustive, `make test-flower` and `make test-extras` what needs libraries of extras;
    so has who asks by the marker."""
    for marker in ("flower", "extras"):
        if marker in config.option.markexpr:
            continue
        needs = [item for item in items if item.get_closest_marker(marker)]
        config.hook.pytest_deselected(items=needs)
        items[:] = [item for item in items if not item.get_closest_marker(marker)]
    if not tiers.ALL and "exhaustive" not in config.option.markexpr:
        left_out = tiers.left_out(items)
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Short names for large values: a name goes into the environment of every process that a test starts."""
    return f"{argname}-{len(val)}" if isinstance(val, bytes | str) and len(val) > 60 else None


ROUND = RoundId(chain_id=31337, project=0xABCDEF, round=7)
TRAINERS, PARAMS, LOGROWS = 5, 2500, 10  # three chunks of 896 values: not a power of two, the last one padded
RULE = MultiKrum(1, 4)


@dataclass(frozen=True)
class Round:
    """An honest round: everything that its parties hold."""

    build: Build
    submissions: tuple[Submission, ...]
    proof: RoundProof
    aggregate: Aggregate

    def json(self) -> dict[str, Any]:
        """A fresh copy of round.json to tamper with."""
        return copy.deepcopy(self.proof.to_json())


def honest_updates(n: int, d: int, seed: int = 1, spread: int = 40, length: int = 60) -> list[np.ndarray]:
    """n similar integer updates (a common direction and noise), the last one an outlier."""
    rng = np.random.default_rng(seed)
    common = rng.integers(-length, length + 1, d)
    updates = [common + rng.integers(-spread, spread + 1, d) for _ in range(n - 1)]
    return [*updates, -common]


def submit(build: Build, values: np.ndarray, trainer: int, round_id: RoundId = ROUND) -> Submission:
    """Commit to integers."""
    opening = open_with_fresh_salts(np.asarray(values, np.int32), build.manifest)
    return Submission(Commitment(round_id, trainer, commit(build, opening)), opening)


def build_for(folder: Path, **changes: Any) -> Build:
    values: dict[str, Any] = {"trainers": TRAINERS, "params": PARAMS, "filter": RULE, "logrows": LOGROWS} | changes
    return make_build(Spec(**values), srs.generate(), folder)


@pytest.fixture(scope="session")
def small_build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """N = 5, D = 2500, K = 10: m = 3."""
    return build_for(tmp_path_factory.mktemp("builds") / "small")


@pytest.fixture(scope="session")
def one_chunk_build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """N = 3, D = 40, K = 10: m = 1, leave-one-out."""
    return build_for(
        tmp_path_factory.mktemp("builds") / "one", trainers=3, params=40, filter=MultiKrum(0, 3), score="leave-one-out"
    )


@pytest.fixture(scope="session")
def honest_round(small_build: Build) -> Round:
    """A proven round of five trainers, one of them an outlier."""
    submissions = tuple(
        submit(small_build, values, 0x1000 + i) for i, values in enumerate(honest_updates(TRAINERS, PARAMS))
    )
    proof, aggregate = prove_round(small_build, submissions)
    return Round(small_build, submissions, proof, aggregate)


__all__ = ["ROUND", "Opening", "Round", "honest_updates", "build_for", "submit"]
