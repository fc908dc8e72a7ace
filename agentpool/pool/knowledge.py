"""What an expert knows: the Markdown files that people keep in git."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

#: Bytes of one file that are read: far more than any budget of a prompt lets through.
_MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Knowledge:
    """The three files of one expert, as they are when a run starts. A file that is not there is empty."""

    identity: str
    state: str
    errors: str


def read_knowledge(home: Path) -> Knowledge:
    """Read the knowledge of a role; bytes that are not UTF-8 are shown as replacement characters.

    Raises:
        OSError: a file is there and cannot be read.
    """
    return Knowledge(*(_read(home / f"{name}.md") for name in ("identity", "state", "errors")))


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES).decode(errors="replace").removeprefix("\ufeff")
    except FileNotFoundError:
        return ""
