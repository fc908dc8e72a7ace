"""The stop ladder: SIGINT to the command, then SIGTERM and SIGKILL to its whole family, until none is left."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from typing import TYPE_CHECKING

from agentpool.model.errors import TimedOutError
from agentpool.runs.process_table import Identity, identity, send

if TYPE_CHECKING:
    from agentpool.runs.family import Family
    from agentpool.runs.process import RunProcess

#: How long the kernel may take to end what got SIGKILL: it does not before a disk or network wait is over.
KILL_SECONDS = 10.0

_FIRST_LOOK_SECONDS = 0.002
_LAST_LOOK_SECONDS = 0.05


async def stop(process: RunProcess, grace_s: float) -> int:
    """Ends a run: first politely, so that the command ends its tools and says what it cost; in the end for certain.

    Args:
        process: the run.
        grace_s: how long each of SIGINT and SIGTERM is given, in seconds.

    Returns:
        How many processes of the family had to be ended after the command itself.

    Raises:
        TimedOutError: something survived SIGKILL; its message says what.
    """
    process.interrupt()
    try:
        await asyncio.wait_for(process.wait(), grace_s)
    except TimeoutError:
        leader = process.identity.pid if process.identity is not None else None
        return await clear(process.family, grace_s, leader=leader)
    return await clear(process.family, grace_s)


async def clear(family: Family, grace_s: float, *, leader: int | None = None) -> int:
    """Ends every process of the family: SIGTERM, after `grace_s` SIGKILL.

    Args:
        family: of the run.
        grace_s: seconds between the two.
        leader: the pid of the command where it still lives; it is not counted.

    Returns:
        How many processes had to be told, without the leader.

    Raises:
        TimedOutError: something survived SIGKILL; its message says what.
    """
    told: set[int] = set()
    for number, patience in ((signal.SIGTERM, grace_s), (signal.SIGKILL, KILL_SECONDS)):
        if await _gone(family, number, patience, told):
            return len(told - {leader})
    alive = ", ".join(
        f"{state.pid} ({state.command}{', in an uninterruptible wait' if state.stuck else ''})"
        for state in family.find()
    )
    raise TimedOutError(
        f"processes of a run survived SIGKILL for {KILL_SECONDS:g} s: {alive}",
        tip="look at the disk or network they wait for; the run settles when they are gone",
    )


async def _gone(family: Family, number: signal.Signals, patience: float, told: set[int]) -> bool:
    until = time.monotonic() + patience
    pause = _FIRST_LOOK_SECONDS
    signalled: set[Identity] = set()
    looks = 0
    while True:
        members = family.find()
        # A process that was just being forked can slip through one look at the table, not through two.
        looks = 0 if members else looks + 1
        if looks == 2:  # noqa: PLR2004
            return True
        for state in members:
            target = identity(state)
            if target not in signalled:
                signalled.add(target)
                # What runs as another user stays in the list, and is named when the ladder ends.
                with contextlib.suppress(PermissionError):
                    send(target, number)
                told.add(state.pid)
        if members and time.monotonic() >= until:
            return False
        if members:
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LAST_LOOK_SECONDS)
