"""Spans of time as people write them: "90s", "10m", "1h30m", "250ms"."""

from __future__ import annotations

import re

#: Seconds in one of each unit, the largest first: the order in which they are written.
_UNITS = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|[dhms])", re.ASCII)
_WHOLE = re.compile(rf"(?:{_PART.pattern})+", re.ASCII)


def parse_duration(text: str) -> float:
    """The seconds that a text such as "10m" or "1h30m" stands for.

    A number without a unit is refused, because nobody can tell seconds from minutes in it; "0s" is allowed.

    Raises:
        ValueError: the text is not a duration; the message says what one looks like.
    """
    bare = text.strip()
    if not is_duration(bare):
        raise ValueError(f'{text!r} is no duration: write a number with a unit, like "90s", "10m", "2h", "1d"')
    return sum(float(amount) * _UNITS[unit] for amount, unit in _PART.findall(bare))


def is_duration(text: str) -> bool:
    """Whether `parse_duration` can read a text."""
    return _WHOLE.fullmatch(text.strip()) is not None


def spell_duration(seconds: float) -> str:
    """The shortest text that `parse_duration` reads back as these seconds, to the millisecond.

    Args:
        seconds: not negative.
    """
    left = round(seconds * 1000)
    parts = []
    for unit, size in _UNITS.items():
        count, left = divmod(left, round(size * 1000))
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
