"""The journal: every record is read and checked; on request it is repaired."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentpool.cli.checks.finding import Finding, note, ok, problem
from agentpool.cli.terminal import counted
from agentpool.model.errors import JournalError
from agentpool.pool.lock import PoolLock
from agentpool.pool.repair import repair
from agentpool.pool.replay import Replay
from agentpool.pool.traces import trace_without_journal

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
    trace = trace_without_journal(layout)
    if trace is not None:
        tip = "restore journal/ from a backup; without it the states of all tasks are lost"
        yield problem(_AREA, f"there is no journal, but a history: {trace.relative_to(layout.root)}", tip)
        return
    if not any(layout.journal.glob("*.jsonl")):
        yield ok(_AREA, "no journal yet: nothing was started")
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
    snapshot = f"a snapshot of {counted(lines, 'line')}, and after it " if lines else ""
    yield ok(_AREA, f"sound: {snapshot}{counted(records, 'record')}")
    for line in notes:
        yield note(_AREA, line)
