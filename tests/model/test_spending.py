from __future__ import annotations

from agentpool.model.spending import DAYS, Spending, day_of, next_day

_DAY = 86_400.0


def test_money_is_counted_by_the_day_in_utc() -> None:
    """The last second of a day and the first of the next are different days."""
    spending = Spending()
    spending.add(_DAY - 1, 1.0)
    spending.add(_DAY - 1, 0.5)
    spending.add(_DAY, 4.0)
    assert (spending.on(0.0), spending.on(_DAY), spending.on(2 * _DAY)) == (1.5, 4.0, 0.0)


def test_a_free_run_opens_no_day() -> None:
    """Nothing was spent."""
    spending = Spending()
    spending.add(0.0, 0.0)
    assert spending.by_day == {}


def test_old_days_are_forgotten() -> None:
    """The oldest first, in whatever order they came."""
    spending = Spending()
    for number in (*range(1, DAYS + 1), 0, DAYS + 1):
        spending.add(number * _DAY, 1.0)
    assert len(spending.by_day) == DAYS
    assert (spending.on(_DAY), spending.on(2 * _DAY)) == (0.0, 1.0)


def test_a_day_ends_where_the_next_begins() -> None:
    """Midnight belongs to the new day."""
    assert (next_day(0.0), next_day(_DAY - 0.5), next_day(_DAY)) == (_DAY, _DAY, 2 * _DAY)
    assert (day_of(_DAY - 0.5), day_of(_DAY)) == ("1970-01-01", "1970-01-02")
