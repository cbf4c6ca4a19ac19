"""What an owner publishes: the initial model in integers, which no round may make wrap around."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.support.project_files import DIGITS, load
from zkmarket.errors import DomainError, InputError
from zkmarket.market import Prospectus
from zkmarket.roles.deployment import write_prospectus
from zkmarket.rules import longest_step, norm_bound

pytestmark = pytest.mark.unit

CEREMONY: Any = SimpleNamespace(id="ab" * 32)


def published(tmp_path: Path, theta: np.ndarray, **changes: str) -> Prospectus:
    file = load(tmp_path, keys__theta_bits="9", **changes)
    (tmp_path / "state").mkdir(exist_ok=True)
    return write_prospectus(tmp_path / "state", file, DIGITS, theta, CEREMONY)


def test_parameters_are_published_as_the_nearest_integers(tmp_path: Path) -> None:
    theta = np.linspace(-3, 3, DIGITS.size)
    made = published(tmp_path, theta)
    assert made.theta_bits == 9 and np.array_equal(made.theta, np.rint(theta * 2**21).astype(np.int64))
    assert published(tmp_path, theta).to_bytes() == made.to_bytes()


def test_theta_outgrows_its_bound_before_the_last_round(tmp_path: Path) -> None:
    """Terms with which the rounds together could do it are refused, while nothing is paid."""
    step = longest_step(10**9, 8, 9, norm_bound(DIGITS.size, 1 << 12))
    room = (1 << 62) - 1 - 3 * step
    theta = np.zeros(DIGITS.size)
    theta[7] = -float(room // 2**21) + 1.0
    published(tmp_path, theta)
    theta[7] -= 2.0
    with pytest.raises(DomainError, match="the model would outgrow its integers"):
        published(tmp_path, theta)
    theta[7] = 2.0**42
    with pytest.raises(InputError, match="does not fit 62 bits at scale 2\\^21"):
        published(tmp_path, theta)
