"""The stream of events that people watch: the journal's, from any point on, then what happens."""

from __future__ import annotations

import asyncio
from itertools import zip_longest
from typing import TYPE_CHECKING

from agentpool.model import events as ev
from agentpool.model.moment import iso
from agentpool.pool.replay import Replay
from agentpool.pool.segment import valid_records

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from agentpool.gateway.verbs import Json
    from agentpool.pool.layout import Layout
    from agentpool.pool.record import Record
    from agentpool.runs.stream import StreamSummary
    from agentpool.supervisor.runner import LivingRun
    from agentpool.supervisor.supervisor import Supervisor

#: News that a slow reader may be behind before the stream is ended for it; it comes back with `since`.
_BACKLOG = 10_000


class Stream:
    """Follows one supervisor's events for any number of readers."""

    def __init__(self, supervisor: Supervisor, layout: Layout) -> None:
        self._supervisor = supervisor
        self._layout = layout

    async def follow(self, since: int | None) -> AsyncIterator[Json]:
        """The entries after `since` (None: from now on), then all that happens.

        Ends when the reader is too far behind; with the last `seq` that it saw it can go on.
        """
        news: asyncio.Queue[Json | None] = asyncio.Queue()

        def put(item: Json) -> None:
            if news.qsize() < _BACKLOG:
                news.put_nowait(item)
            elif news.qsize() == _BACKLOG:
                news.put_nowait(None)

        # Subscribed before the past is read, so that nothing falls between the two.
        ends = [
            self._supervisor.ledger.subscribe(lambda entry: put(_fields(entry))),
            self._supervisor.on_progress(lambda living: put(_progress(living))),
        ]
        last = self._supervisor.board.seq if since is None else since
        try:
            if since is not None:
                for record in await asyncio.to_thread(_records_after, self._layout.journal, since):
                    last = record.seq
                    yield {"seq": record.seq, "at": iso(record.at, precise=True), "event": record.event, **record.data}
            while (item := await news.get()) is not None:
                seq = item.get("seq")
                if not isinstance(seq, int) or seq > last:
                    yield item
        finally:
            for end in ends:
                end()


def _records_after(journal: Path, seq: int) -> list[Record]:
    """What the journal still has after a sequence number; what lies behind a segment's successor is void."""
    with Replay.open(journal) as replay:
        ends = [segment.after for segment in replay.segments[1:]]
        return [
            record
            for segment, end in zip_longest(replay.segments, ends)
            for record in valid_records(segment.fd, segment.number, segment.start)
            if record.seq > seq and (end is None or record.seq <= end)
        ]


def _fields(entry: ev.Entry) -> Json:
    return {"seq": entry.seq, "at": iso(entry.at, precise=True), "event": entry.event.name, **ev.encode(entry.event)}


def progress_fields(summary: StreamSummary | None) -> Json:
    """What a run is doing: the tool call that it is in as one line, how many there were, US dollars as far as known."""
    call = summary.tool if summary is not None else None
    return {
        "tool": None if call is None else f"{call.name} {call.argument}".strip(),
        "tool_calls": summary.tool_calls if summary is not None else 0,
        "cost_usd": round(summary.usage.cost_usd, 6) if summary is not None else 0.0,
    }


def _progress(living: LivingRun) -> Json:
    return {"event": "run.progress", "run": living.run, "task": living.task, **progress_fields(living.summary)}
