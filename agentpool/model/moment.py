"""Moments as people and scripts read them."""

from __future__ import annotations

from datetime import UTC, datetime


def iso(at: float, *, precise: bool = False) -> str:
    """A moment in seconds since the epoch as ISO 8601 in UTC, to the second; where `precise`, to the millisecond."""
    said = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds" if precise else "seconds")
    return said.replace("+00:00", "Z")
