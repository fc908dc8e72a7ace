"""The journal: every record is read and checked; on request it is repaired."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentpool.cli.checks.finding import Finding, note, ok, problem
from agentpool.model.errors import JournalError
from agentpool.pool.lock import PoolLock
from agentpool.pool.repair import repair
from agentpool.pool.replay import Replay

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentpool.pool.layout import Layout

_AREA = "journal"


def check_journal(layout: Layout, *, mend: bool) -> Iterator[Finding]:
    """Reads the whole journal.

    Args:
        layout: the pool; nobody serves it.
        mend: whether to move aside what is damaged.

    Raises:
        PoolHeldError: it is to be mended and somebody took the pool in the meantime.
    """
    if not layout.journal.is_dir():
        if _has_history(layout):
            tip = "restore journal/ from a backup; without it the states of all tasks are lost"
            yield problem(_AREA, "there is no journal, but archive/ or logs/ of settled tasks are there", tip)
        else:
            yield ok(_AREA, "there is none yet")
        return
    if mend:
        with PoolLock.acquire(layout.root, holder=layout.supervisor):
            for line in repair(layout.journal):
                yield note(_AREA, f"repaired: {line}")
    try:
        with Replay.open(layout.journal) as replay:
            lines = sum(1 for _ in replay.snapshot() or ())
            records = sum(1 for _ in replay.records())
            notes = tuple(replay.notes)
    except (JournalError, OSError) as error:
        yield problem(_AREA, str(error), "agentpool doctor --repair")
        return
    yield ok(_AREA, f"sound: {records} records after a snapshot of {lines} lines")
    for line in notes:
        yield note(_AREA, line)


def _has_history(layout: Layout) -> bool:
    return (
        any(layout.archive.glob("*/*.md"))
        or any(layout.root.glob("*/logs/*/"))
        or any(layout.experts.glob("*/logs/*/"))
    )
