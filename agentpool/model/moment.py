"""Moments as people read them."""

from __future__ import annotations

from datetime import UTC, datetime


def iso(at: float) -> str:
    """A moment in seconds since the epoch as ISO 8601 in UTC, to the second."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
