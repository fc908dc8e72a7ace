"""What runs have cost, by day."""

from __future__ import annotations

from datetime import UTC, datetime

#: Days whose sums are kept.
DAYS = 40


class Spending:
    """US dollars by day in UTC."""

    def __init__(self) -> None:
        self.by_day: dict[str, float] = {}

    def add(self, at: float, usd: float) -> None:
        """Count what was spent at a moment (seconds since the epoch)."""
        if not usd:
            return
        day = day_of(at)
        self.by_day[day] = self.by_day.get(day, 0.0) + usd
        while len(self.by_day) > DAYS:
            del self.by_day[min(self.by_day)]

    def on(self, at: float) -> float:
        """US dollars spent on the day of a moment."""
        return self.by_day.get(day_of(at), 0.0)


def day_of(at: float) -> str:
    """The day of a moment, in UTC, as `YYYY-MM-DD`."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")


def next_day(at: float) -> float:
    """When the day after that of `at` begins, seconds since the epoch."""
    return (at // 86_400 + 1) * 86_400
