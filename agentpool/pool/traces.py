"""Traces of a pool's past life: where they are, a journal must be."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from agentpool.pool.layout import Layout

_TRACES = (
    "archive/*/*.md",
    "mail/*.md",
    "*/logs/*/*/run.json",
    "experts/*/logs/*/*/run.json",
    "shared-state/*/logs/*/*/run.json",
)


def trace_without_journal(layout: Layout) -> Path | None:
    """A file that only a pool with a journal can have made, where there is no journal; otherwise None.

    Raises:
        OSError: the journal's directory cannot be read.
    """
    if layout.journal.is_dir() and any(file.suffix == ".jsonl" for file in layout.journal.iterdir()):
        return None
    return next((found for trace in _TRACES for found in layout.root.glob(trace)), None)
