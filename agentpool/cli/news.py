"""The pool's events for a client that stays: over restarts of the supervisor, each event once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from agentpool.model.errors import NoSupervisorError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agentpool.cli.client import Client, Json

#: Seconds between two looks for a supervisor that went away.
RETRY_SECONDS = 0.5


def news(client: Client, since: int | None, *, gone: Callable[[], bool]) -> Iterator[Json]:
    """Events with `seq` after `since` and passing news without one; an empty object is a sign of life.

    A stream that broke off is taken up again where it ended.

    Args:
        client: asks the supervisor.
        since: None means from now on.
        gone: called when the supervisor is not there; returns whether to wait for it. It is called every half second.

    Raises:
        NoSupervisorError: nobody serves the pool, and `gone` did not want to wait.
    """
    last = since
    while True:
        try:
            for event in client.events(last):
                seq = event.get("seq")
                if isinstance(seq, int):
                    if last is not None and seq <= last:
                        continue
                    last = seq
                yield event
        except NoSupervisorError:
            if not gone():
                raise
        else:
            if not gone():
                return
        time.sleep(RETRY_SECONDS)
