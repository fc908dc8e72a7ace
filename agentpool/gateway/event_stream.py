"""Events as server-sent events: one `data:` line each, and a comment now and then while nothing happens."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agentpool.gateway.verbs import Json

_HEARTBEAT = b": alive\n\n"


async def server_sent(events: AsyncIterator[Json], *, closing: asyncio.Event, heartbeat: float) -> AsyncIterator[bytes]:
    """The bytes of the stream, until the events end or `closing` is set.

    An event with a `seq` also carries it as its `id:`, so that a browser which reconnects says where it was.

    Args:
        events: closed when this ends, however it ends, if it can be.
        closing: ends the stream.
        heartbeat: seconds of silence after which a comment tells that the stream is alive; it also makes the server
            notice a client that has gone.
    """
    closed = asyncio.create_task(_set(closing))
    following: asyncio.Task[Json | None] | None = asyncio.create_task(_next(events))
    try:
        # The first sign of life promises that no later event is missed, so the listening has to begin before it.
        await asyncio.sleep(0)
        yield _HEARTBEAT
        while not closing.is_set():
            if following is None:
                following = asyncio.create_task(_next(events))
            done, _ = await asyncio.wait({following, closed}, timeout=heartbeat, return_when=asyncio.FIRST_COMPLETED)
            if following in done:
                event = following.result()
                following = None
                if event is None:
                    return
                yield _line(event)
            elif not done:
                yield _HEARTBEAT
    finally:
        closed.cancel()
        if following is not None:
            following.cancel()
            # A generator that still runs cannot be closed.
            await asyncio.wait({following})
        close = getattr(events, "aclose", None)
        if close is not None:
            await close()


async def _set(closing: asyncio.Event) -> Json | None:
    await closing.wait()
    return None


async def _next(events: AsyncIterator[Json]) -> Json | None:
    return await anext(events, None)


def _line(event: Json) -> bytes:
    seq = event.get("seq")
    head = "" if seq is None else f"id: {seq}\n"
    return f"{head}data: {json.dumps(event)}\n\n".encode("ascii")
