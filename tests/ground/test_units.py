"""Amounts and durations: exact, or refused."""

from __future__ import annotations

import pytest
from eth_utils import to_wei
from hypothesis import given
from hypothesis import strategies as st

from tests.support.project_files import (
    ETHER,
)
from zkmarket.units import DURATIONS, amount_text, date_text, duration_text, parse_amount, parse_duration, rough_text

pytestmark = pytest.mark.unit


@given(st.integers(0, 1 << 130))
def test_an_amount_comes_back(wei: int):
    assert parse_amount(amount_text(wei)) == wei


@given(st.integers(0, 10**30), st.integers(0, 18), st.sampled_from(["wei", "gwei", "ether"]))
def test_an_amount_is_exact_or_refused(digits: int, places: int, unit: str):
    text = f"{digits:0{places + 1}d}"
    text = f"{text[:-places]}.{text[-places:]}" if places else text
    exact = digits * to_wei(1, unit)
    if exact % 10**places:
        with pytest.raises(ValueError, match="whole number of wei"):
            parse_amount(f"{text} {unit}")
    else:
        assert parse_amount(f"{text} {unit}") == parse_amount(f"{text}{unit}") == exact // 10**places


@pytest.mark.parametrize(
    "text",
    ["", "1", "ether", "1 eth", "-1 ether", "1e18 wei", ".5 ether", "5. ether", "1 ether\n", "1  ether", "١ ether"],
)
def test_no_amount(text: str):
    with pytest.raises(ValueError, match="an amount such as"):
        parse_amount(text)


def test_amounts_read_well():
    some = {ETHER: "1 ether", 3 * ETHER // 2: "1.5 ether", 10**15: "0.001 ether", 2 * 10**11: "200 gwei", 5: "5 wei"}
    assert {wei: amount_text(wei) for wei in some} == some
    with pytest.raises(ValueError, match="not negative"):
        amount_text(-1)


@given(st.integers(0, 10**12))
def test_a_duration_comes_back(seconds: int):
    assert parse_duration(duration_text(seconds)) == seconds


@given(st.tuples(*[st.none() | st.integers(0, 10**6)] * 4), st.sampled_from(["", " "]))
def test_a_duration_is_the_sum_of_its_parts(counts: tuple[int | None, ...], between: str):
    sizes = zip(counts, DURATIONS.items(), strict=True)
    parts = [(f"{count}{unit}", count * size) for count, (unit, size) in sizes if count is not None]
    text = between.join(name for name, _ in parts)
    if parts:
        assert parse_duration(text) == sum(seconds for _, seconds in parts)
    else:
        with pytest.raises(ValueError, match="a duration such as"):
            parse_duration(text)


@pytest.mark.parametrize(
    "text", ["", " ", "5", "h", "1h 1d", "1.5h", "-1h", "1h ", " 1h", "1d  2h", "1w", "1h\n", "1H"]
)
def test_no_duration(text: str):
    with pytest.raises(ValueError, match="a duration such as"):
        parse_duration(text)


def test_times_read_well():
    some = {0: "0 s", 119: "119 s", 120: "2 min", 7199: "119 min", 7200: "2 h", 2 * 86400: "2 d", 10 * 86400 - 1: "9 d"}
    assert {seconds: rough_text(seconds) for seconds in some} == some
    assert date_text(1_800_000_000) == "2027-01-15 08:00:00 UTC"
    assert date_text(2**255) == f"second {2**255}"
