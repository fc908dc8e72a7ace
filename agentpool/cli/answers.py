"""Typed access to the JSON that the supervisor answers with; what is missing or null reads as empty."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

Row: TypeAlias = Mapping[str, object]

#: The states in which a task is over.
SETTLED = frozenset({"done", "failed", "cancelled"})


def text(row: Row, key: str) -> str:
    """A text, or the text of a number."""
    value = row.get(key)
    return "" if value is None else str(value)


def number(row: Row, key: str) -> float:
    """A number; 0 where there is none."""
    value = row.get(key)
    return float(value) if isinstance(value, (int, float)) else 0.0


def row(parent: Row, key: str) -> dict[str, object]:
    """An object; an empty one where there is none."""
    value = parent.get(key)
    return value if isinstance(value, dict) else {}


def rows(parent: Row, key: str) -> list[dict[str, object]]:
    """A list of objects."""
    value = parent.get(key)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def names(parent: Row, key: str) -> list[str]:
    """A list of texts."""
    value = parent.get(key)
    return [str(item) for item in value] if isinstance(value, list) else []


def is_settled(task: Row) -> bool:
    """Whether a task is over."""
    return text(task, "state") in SETTLED


def is_good(task: Row) -> bool:
    """Whether a task is over and its answer says that the work is done."""
    status = text(row(task, "response"), "status")
    return text(task, "state") == "done" and status in ("", "done")
