"""A value of a script's TOML file together with its place, so that every refusal names the file and the key."""

from __future__ import annotations

import re
from typing import NamedTuple

from agentpool.model.duration import parse_duration
from agentpool.model.errors import ConfigurationError

#: Where a person finds what is allowed.
REFERENCE = "every key and step is explained at the top of agentpool/runs/script.py"
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
_MOST_USD = 1e9


class Value(NamedTuple):
    """A value of the file, and where it stands. Each method raises `ConfigurationError` where it is another thing."""

    file: str
    key: str
    value: object

    def wrong(self, message: str) -> ConfigurationError:
        """The refusal of this value; `message` goes on after the key."""
        where = f"{self.file}: {self.key}" if self.key else self.file
        return ConfigurationError(f"{where} {message}", tip=REFERENCE)

    def text(self) -> str:
        """A text."""
        if not isinstance(self.value, str):
            raise self.wrong(f"must be a text, not {self.value!r}")
        return self.value

    def one_of(self, allowed: tuple[str, ...]) -> str:
        """One of these texts."""
        if self.value not in allowed:
            raise self.wrong(f"must be one of {', '.join(allowed)}, not {self.value!r}")
        return self.text()

    def flag(self) -> bool:
        """True or false."""
        if not isinstance(self.value, bool):
            raise self.wrong(f"must be true or false, not {self.value!r}")
        return self.value

    def only_true(self) -> bool:
        """True: for steps that have nothing to set."""
        if self.value is not True:
            raise self.wrong(f"must be true, not {self.value!r}; leave the step out where it is not meant")
        return True

    def whole(self, low: int, high: int) -> int:
        """A whole number in this range, both ends included."""
        if isinstance(self.value, bool) or not isinstance(self.value, int) or not low <= self.value <= high:
            raise self.wrong(f"must be a whole number from {low} to {high}, not {self.value!r}")
        return self.value

    def usd(self) -> float:
        """An amount of US dollars, not negative."""
        if isinstance(self.value, bool) or not isinstance(self.value, int | float) or not 0 <= self.value < _MOST_USD:
            raise self.wrong(f"must be a number of US dollars, not {self.value!r}")
        return float(self.value)

    def seconds(self) -> float:
        """The seconds of a text such as "200ms"."""
        try:
            return parse_duration(self.text())
        except ValueError as error:
            raise self.wrong(f"is wrong: {error}") from error

    def pattern(self) -> re.Pattern[str]:
        """A regular expression in which `^` and `$` stand for the ends of lines."""
        try:
            return re.compile(self.text(), re.MULTILINE)
        except re.error as error:
            raise self.wrong(f"is no regular expression: {error}") from error

    def items(self) -> list[Value]:
        """The members of a list, counted from 1."""
        if not isinstance(self.value, list):
            raise self.wrong(f"must be a list, not {self.value!r}")
        return [Value(self.file, f"{self.key}[{n}]", item) for n, item in enumerate(self.value, 1)]

    def texts(self) -> tuple[str, ...]:
        """A list of texts."""
        return tuple(item.text() for item in self.items())

    def signals(self) -> tuple[str, ...]:
        """A list of names of signals."""
        return tuple(item.one_of(_SIGNALS) for item in self.items())

    def table(self, allowed: set[str], required: tuple[str, ...] = ()) -> dict[str, Value]:
        """The members of a table with no other keys than these."""
        members = self.open_table(required)
        for name in members:
            if name not in allowed:
                raise self.wrong(f"has an unknown key {name}{_nearest(name, allowed)}")
        return members

    def open_table(self, required: tuple[str, ...] = ()) -> dict[str, Value]:
        """The members of a table that may have any key."""
        if not isinstance(self.value, dict):
            raise self.wrong(f"must be a table, not {self.value!r}")
        for name in required:
            if name not in self.value:
                raise self.wrong(f"lacks the key {name}")
        prefix = f"{self.key}." if self.key else ""
        return {name: Value(self.file, prefix + name, item) for name, item in self.value.items()}

    def options(self, allowed: set[str]) -> dict[str, Value]:
        """The members of a table that is written as `true` where nothing is set."""
        return {} if self.value is True else self.table(allowed)


def _nearest(name: str, allowed: set[str]) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - only a wrong script needs it

    near = get_close_matches(name, allowed, n=1)
    return f"; did you mean {near[0]}?" if near else f"; allowed: {', '.join(sorted(allowed))}"
