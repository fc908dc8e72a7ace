"""What a check of the doctor comes to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    NOTE = "note"
    """Worth knowing; the pool works."""
    PROBLEM = "problem"
    """Something does not work, or soon will not."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Args:
        area: what was looked at, one or two words.
        text: what was found.
        tip: what to do about it; empty where there is nothing to do.
    """

    area: str
    level: Level
    text: str
    tip: str = ""


def ok(area: str, text: str) -> Finding:
    """All is well."""
    return Finding(area, Level.OK, text)


def note(area: str, text: str, tip: str = "") -> Finding:
    """Worth knowing."""
    return Finding(area, Level.NOTE, text, tip)


def problem(area: str, text: str, tip: str = "") -> Finding:
    """Something to be mended."""
    return Finding(area, Level.PROBLEM, text, tip)
