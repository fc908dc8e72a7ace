"""Dead letters: refused mail, which a person mends and drops again."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from agentpool.model.errors import MailError, UnknownIdError
from agentpool.pool import atomic
from agentpool.pool.mailfile import parse

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from agentpool.pool.layout import Layout

_REASON = ".reason.md"


def replay(layout: Layout, name: str, directories: Collection[str]) -> Path:
    """Drop a dead letter again, where it was dropped before; into the postoffice where that is gone.

    Args:
        name: its file name under `deadletter/`, with or without `.md`.
        directories: the drop directories of the pool.

    Returns:
        Where it lies now.

    Raises:
        UnknownIdError: there is no such dead letter.
        OSError: it cannot be moved.
    """
    file_name = name if name.endswith(".md") else f"{name}.md"
    letter = layout.deadletter / file_name
    if letter.parent != layout.deadletter or file_name.endswith(_REASON) or not os.path.lexists(letter):
        raise UnknownIdError(f"there is no dead letter {file_name!a}", tip="see them with: agentpool replay --list")
    dropped_as = _dropped_as(layout, file_name)
    origin = layout.root / dropped_as if dropped_as else layout.postoffice / file_name
    if str(origin.parent) not in directories:
        origin = layout.postoffice / file_name
    dropped = letter.rename(origin) if letter.is_dir() and not letter.is_symlink() else atomic.move_new(letter, origin)
    (layout.deadletter / f"{file_name}{_REASON}").unlink(missing_ok=True)
    return dropped


def _dropped_as(layout: Layout, file_name: str) -> str:
    """Where a dead letter was dropped, relative to the pool; empty where nobody wrote it down."""
    try:
        header, _ = parse((layout.deadletter / f"{file_name}{_REASON}").read_bytes())
    except (OSError, MailError):
        return ""
    return str(header.get("dropped-as") or "")
