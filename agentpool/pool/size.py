"""Amounts of memory as people write them: 65536, "64KiB", "1.5 MiB", "300MB"."""

from __future__ import annotations

import re

_UNITS = {
    "": 1,
    "B": 1,
    "KB": 1_000,
    "MB": 1_000_000,
    "GB": 1_000_000_000,
    "KIB": 1 << 10,
    "MIB": 1 << 20,
    "GIB": 1 << 30,
}
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)\s*([A-Za-z]*)", re.ASCII)


def parse_size(text: str) -> int:
    """The bytes that a text such as "64KiB" stands for; KB, MB, GB are powers of ten, KiB, MiB, GiB of two.

    Raises:
        ValueError: the text is not a size; the message says what one looks like.
    """
    match = _SIZE.fullmatch(text.strip())
    unit = _UNITS.get(match[2].upper()) if match else None
    if match is None or unit is None or (unit == 1 and "." in match[1]):
        raise ValueError(f'{text!r} is no size: write bytes, or a number with a unit, like "64KiB" or "1MiB"')
    return round(float(match[1]) * unit)


def spell_size(count: int) -> str:
    """These bytes in the largest unit that leaves a whole number: "64KiB", "1MiB", "1000B".

    Args:
        count: bytes, not negative.
    """
    for name, shift in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        whole, rest = divmod(count, 1 << shift)
        if whole and not rest:
            return f"{whole}{name}"
    return f"{count}B"
