"""What the roles of one file of tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.town import town_chain
from zkmarket.chain import Chain


@pytest.fixture(scope="module")
def chain() -> Iterator[Chain]:
    """One connection a process: tests whose victim is a chain of their own come before those that ask for this one."""
    with town_chain() as found:
        yield found


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first owner says which contracts it has deployed, so that the next one deploys none again."""
    return tmp_path_factory.mktemp("contracts") / "deployed.json"
