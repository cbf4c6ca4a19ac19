"""Amounts of coin and durations as people write them, and exactly what they mean; times as dates."""

from __future__ import annotations

import re
from datetime import UTC, datetime

COIN = {"ether": 10**18, "gwei": 10**9, "wei": 1}
HOUR, DAY = 3600, 24 * 3600
DURATIONS = {"d": DAY, "h": HOUR, "m": 60, "s": 1}


def parse_amount(text: str) -> int:
    """Wei of ``1.5 ether``, ``200 gwei`` or ``5 wei``, exactly; ValueError says what is wanted instead."""
    match = re.fullmatch(r"([0-9]+)(?:\.([0-9]+))? ?(wei|gwei|ether)", text)
    if not match:
        raise ValueError('an amount such as "1.5 ether" or "200 gwei"')
    whole, part, unit = match[1], match[2] or "", match[3]
    scale: int = 10 ** len(part)
    wei, rest = divmod(int(whole + part) * COIN[unit], scale)
    if rest:
        raise ValueError("a whole number of wei, the smallest unit")
    return wei


def amount_text(wei: int) -> str:
    """Exactly this amount: in ether from a thousandth on, in gwei from one on, else in wei."""
    for unit, least in (("ether", 10**15), ("gwei", 10**9), ("wei", 0)):
        if wei >= least:
            whole, rest = divmod(wei, COIN[unit])
            places = len(str(COIN[unit])) - 1
            return f"{whole}.{rest:0{places}d}".rstrip("0").rstrip(".") + f" {unit}" if rest else f"{whole} {unit}"
    raise ValueError(f"an amount is not negative: got {wei}")


def reward_text(amount: int, native: bool = True) -> str:
    """A reward, fee or pool: in coin, or in a token's units."""
    return amount_text(amount) if native else f"{amount:,} units of the token"


def parse_duration(text: str) -> int:
    """Seconds of ``6h``, ``30m``, ``1d 12h`` or ``90s``; ValueError says what is wanted instead."""
    match = re.fullmatch(r"(?=[0-9])(?:([0-9]+)d)?(?: ?([0-9]+)h)?(?: ?([0-9]+)m)?(?: ?([0-9]+)s)?", text)
    if not match:
        raise ValueError('a duration such as "6h", "30m", "1d 12h" or "90s"')
    return sum(int(count or 0) * seconds for count, seconds in zip(match.groups(), DURATIONS.values(), strict=True))


def duration_text(seconds: int) -> str:
    """The same duration, as `parse_duration` reads it."""
    parts = []
    for unit, size in DURATIONS.items():
        count, seconds = divmod(seconds, size)
        parts += [f"{count}{unit}"] * bool(count)
    return " ".join(parts) or "0s"


def rough_text(seconds: int) -> str:
    """About how long: "45 s", "3 min", "5 h", "2 d"; never more than it is."""
    for unit, size in (("d", DAY), ("h", HOUR), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def date_text(seconds: int) -> str:
    """A time of a block as a date in UTC; its number of seconds since 1970 where no date is so late."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return f"second {seconds}"
