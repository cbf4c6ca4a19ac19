"""What each attacker sends instead of the honest update."""

from __future__ import annotations

import numpy as np
import pytest

from zkmarket.demo import Cast, default_attackers, undefeated
from zkmarket.errors import InputError
from zkmarket.learning import ATTACKS, REFUSED, Dataset, Lesson, attacking, poisoned, wrong_labels

pytestmark = pytest.mark.unit

HONEST = np.random.default_rng(0).normal(size=2410)
LAST = np.random.default_rng(2).normal(size=2410)


@pytest.mark.parametrize("attack", ATTACKS)
def test_poison(attack: str) -> None:
    sent = poisoned(attack, HONEST, LAST, np.random.default_rng(1))
    length = np.linalg.norm(HONEST)
    assert sent.shape == HONEST.shape and np.isfinite(sent).all()
    if attack == "sign-flip":
        np.testing.assert_array_equal(sent, -HONEST)
    elif attack == "scale":
        np.testing.assert_array_equal(sent, -5 * HONEST)
    elif attack == "noise":
        assert np.linalg.norm(sent) == pytest.approx(length)
        assert abs(sent @ HONEST) < 0.1 * length**2
    elif attack == "free-ride":
        np.testing.assert_array_equal(sent, LAST)
    else:  # poisoned are labels, a copied digest, an opened value, identities: the update itself is honest
        np.testing.assert_array_equal(sent, HONEST)


def test_a_free_rider_has_nothing_to_resend_at_first_and_never_trains() -> None:
    def learn(_: Lesson) -> np.ndarray:
        raise AssertionError("it trains")

    ride = attacking("free-ride", learn, seed=1)
    first = ride(Lesson(1, np.zeros(2410), None))
    assert 0 < np.linalg.norm(first) < 0.01 * np.linalg.norm(HONEST)
    np.testing.assert_array_equal(ride(Lesson(2, np.zeros(2410), LAST)), LAST)


def test_wrong_labels() -> None:
    data = Dataset(np.zeros((3, 2), np.float32), np.array([0, 4, 9]))
    assert wrong_labels(data).targets.tolist() == [9, 5, 0]
    with pytest.raises(InputError, match="label-flip needs class labels"):
        wrong_labels(Dataset(np.zeros((2, 2), np.float32), np.zeros((2, 1), np.float32)))


# ---------------------------------------------------------------- who they are in the demo


def test_clones_are_one_more_than_the_filter_bears_and_share_one_part() -> None:
    count = default_attackers("collude", 8)
    cast = Cast(8, count, "collude", 1, 1, "iid", 0)
    assert count == 3
    assert len({cast.data(i) for i in range(8)}) == 6
    assert len({cast.data(i) for i in range(5, 8)}) == 1


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_round_may_do_without_those_who_get_no_receipt(attack: str) -> None:
    assert Cast(8, 2, attack, 1, 1, "iid", 0).least == (6 if attack in REFUSED else 8)


def test_what_attackers_earned_is_said() -> None:
    cast = Cast(4, 1, "free-ride", 1, 100, "iid", 0)
    trainers = [{"honest": i < 3, "paid_wei": 20 if i < 3 else 40} for i in range(4)]
    (sentence,) = undefeated(cast, trainers, 100)
    assert "1 of 4 trainers earned 40.0% of the rewards; an equal share would be 25.0%" in sentence
    assert undefeated(cast, [dict(one, paid_wei=0) if not one["honest"] else one for one in trainers], 100) == []
