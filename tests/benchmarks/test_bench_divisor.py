"""Which divisor a coalition's model has decides who is paid; a floor bounds what an owner's batch takes back."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.bench_divisor import School, what_an_owner_takes_back, whom_it_pays

pytestmark = pytest.mark.unit

SEEDS = range(3)


def test_mean_of_the_coalition_pays_by_deviation() -> None:
    """To first order u_i − ū, which sums to nothing: half of the honest get none, and who scales gets all."""
    one, own = whom_it_pays(True, SEEDS), whom_it_pays(False, SEEDS)
    assert one["sum_of_values"] > 0.85 and one["honest_unpaid"] == 0
    assert one["three_who_scale"] < 0.75 and 0.15 < one["two_clones"] < 0.3
    assert own["sum_of_values"] < 0.05 and own["honest_unpaid"] >= 3
    assert own["three_who_scale"] > 0.9


@pytest.mark.parametrize("of_all", [True, False])
def test_an_update_of_zeros_is_worth_nothing(of_all: bool) -> None:
    """Exactly, with one divisor; with the coalition's own, its mean differs without it."""
    school = School(0)
    values, _ = school.values([*school.updates[:-1], np.zeros_like(school.updates[0])], of_all)
    assert (values[-1] == 0) == of_all


def test_a_floor_bounds_what_a_niche_batch_takes_back() -> None:
    """A batch of a class that its owner alone has."""
    (bare,), (quarter,) = (what_an_owner_takes_back(floor, SEEDS).values() for floor in (0.0, 0.25))
    assert bare > 0.9 and quarter == pytest.approx(0.75 * bare + 0.25 / 8, abs=1e-3)
