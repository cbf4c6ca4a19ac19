"""What a tier of tests runs: `make quick` and `make test` a few examples of a law, `make test-all` many.

`make test-all` sets ZKMARKET_TESTS=all, which also takes in what is marked ``exhaustive("why its sibling is enough")``;
tests/README.md lists those. ``pytest -m exhaustive`` runs them alone.
"""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, settings

ALL = os.environ.get("ZKMARKET_TESTS") == "all"
"""Whether everything is to run."""


def examples(many: int, **more: Any) -> settings:
    """Settings of a law: `many` random examples in `make test-all`, elsewhere a quarter, but not fewer than 5."""
    return settings(max_examples=many if ALL else max(many // 4, min(many, 5)), **more)


def load_profile() -> None:
    """No deadline and no check of hypothesis' own speed: a slow machine is not a false law.

    data_too_large: a few numbers of 254 bits are already much to hypothesis.
    """
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
    law = examples(100, deadline=None, print_blob=True, suppress_health_check=slow)
    settings.register_profile("zkmarket", law)
    settings.load_profile("zkmarket")
