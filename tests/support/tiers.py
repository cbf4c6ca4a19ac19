"""What a tier of tests runs: `make quick` and `make test` a few examples of a law, `make test-all` many.

`make test-all` sets ZKMARKET_TESTS=all, which also takes in what is marked ``exhaustive("why its sibling is enough")``,
or ``exhaustive("…", but=2)``: all cases but the first two. tests/README.md lists them; ``pytest -m exhaustive`` runs
them alone.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

ALL = os.environ.get("ZKMARKET_TESTS") == "all"
"""Whether everything is to run."""


def examples(many: int, **more: Any) -> settings:
    """Settings of a law: `many` random examples in `make test-all`, elsewhere a quarter, but not fewer than 5."""
    return settings(max_examples=many if ALL else max(many // 4, min(many, 5)), **more)


def left_out(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """Tests that `make test` leaves out."""
    found, seen = [], Counter[str]()
    for item in items:
        marker = item.get_closest_marker("exhaustive")
        if marker is None:
            continue
        if not (len(marker.args) == 1 and isinstance(marker.args[0], str) and set(marker.kwargs) <= {"but"}):
            raise pytest.UsageError(f'{item.nodeid}: write exhaustive("why its sibling is enough"), or with but=2')
        case = item.nodeid.partition("[")[0]
        seen[case] += 1
        if seen[case] > marker.kwargs.get("but", 0):
            found.append(item)
    return found


def load_profile() -> None:
    """No deadline and no check of hypothesis' own speed: a slow machine is not a false law.

    data_too_large: a few numbers of 254 bits are already much to hypothesis.
    """
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
    law = examples(100, deadline=None, print_blob=True, suppress_health_check=slow)
    settings.register_profile("zkmarket", law)
    settings.load_profile("zkmarket")
