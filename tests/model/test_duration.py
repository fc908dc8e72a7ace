from __future__ import annotations

import pytest

from agentpool.model.duration import is_duration, parse_duration, spell_duration


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("10m", 600), ("1h30m", 5400), ("250ms", 0.25), ("0s", 0)])
def test_a_span_is_read_and_written_back(text: str, seconds: float) -> None:
    """What people write is read as seconds, and seconds are written so that they read back the same."""
    assert parse_duration(text) == seconds
    assert parse_duration(spell_duration(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "7", "soon", "1h30", "-1s"])
def test_what_is_no_span_is_refused_with_an_example(text: str) -> None:
    """A number alone is refused too: nobody can tell seconds from minutes in it."""
    assert not is_duration(text)
    with pytest.raises(ValueError, match="write a number with a unit"):
        parse_duration(text)
