"""Waiting for tasks to be settled, across restarts of the supervisor."""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING

from agentpool.cli import answers
from agentpool.cli.output import note
from agentpool.cli.progress import TICK
from agentpool.model.errors import AgentpoolError, NoSupervisorError, TimedOutError, UnknownIdError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentpool.cli.client import Client, Json
    from agentpool.cli.progress import ProgressLine

#: Seconds of one request. Short enough that a restarted supervisor is asked again soon.
_ONE_REQUEST = 30.0
#: Seconds that a supervisor which went away gets to come back.
_PATIENCE = 60.0
_PAUSE = 0.25
#: Seconds within which a drop that lies there is accepted or refused.
_ACCEPTED_WITHIN = 5.0


def wait_for(client: Client, task_id: str, seconds: float | None, progress: ProgressLine) -> Json:
    """The task once it is settled.

    Args:
        client: asks the supervisor.
        task_id: the task.
        seconds: None waits for ever.
        progress: is drawn meanwhile.

    Raises:
        TimedOutError: it is not settled after `seconds`.
        UnknownIdError: there is no such task.
        NoSupervisorError: nobody serves the pool, or nobody came back within a minute.
    """
    return _wait(client, task_id, seconds, progress, draws=True)


def _wait(client: Client, task_id: str, seconds: float | None, progress: ProgressLine, *, draws: bool) -> Json:
    deadline = None if seconds is None else time.monotonic() + seconds
    one_request = TICK if draws and progress.is_seen else _ONE_REQUEST
    try:
        task = client.task(task_id)
    except UnknownIdError:
        # A mail that was dropped a moment ago is not on the board yet; the supervisor knows to wait for that.
        task = client.settled(task_id, _ACCEPTED_WITHIN if seconds is None else min(seconds, _ACCEPTED_WITHIN))
    gone_since: float | None = None
    while not answers.is_settled(task):
        left = one_request if deadline is None else deadline - time.monotonic()
        if left <= 0:
            raise TimedOutError(
                f"{task_id} is not settled yet: it is {answers.text(task, 'state')}",
                tip=f"it goes on; wait again with: agentpool wait {task_id}",
            )
        try:
            task = client.settled(task_id, min(left, one_request))
            gone_since = None
            if draws and not answers.is_settled(task):
                progress.draw()
        except NoSupervisorError:
            now = time.monotonic()
            if gone_since is None:
                gone_since = now
                progress.clear()
                note("the supervisor went away; waiting for it to come back")
            if now - gone_since > _PATIENCE:
                raise
            time.sleep(min(left, _PAUSE))
    return task


def wait_for_any(client: Client, task_ids: Sequence[str], seconds: float | None, progress: ProgressLine) -> Json:
    """The first of these tasks that is settled; the arguments are those of `wait_for`.

    Raises:
        TimedOutError: none is settled after `seconds`.
        UnknownIdError: one of them does not exist.
        NoSupervisorError: nobody serves the pool, or nobody came back within a minute.
    """
    results: queue.SimpleQueue[Json | AgentpoolError] = queue.SimpleQueue()

    def wait(task_id: str) -> None:
        try:
            results.put(_wait(client, task_id, seconds, progress, draws=False))
        except AgentpoolError as error:
            results.put(error)

    for task_id in task_ids:
        threading.Thread(target=wait, args=(task_id,), daemon=True).start()
    first = None
    while first is None:
        try:
            first = results.get(timeout=TICK if progress.is_seen else None)
        except queue.Empty:
            progress.draw()
    if isinstance(first, AgentpoolError):
        raise first
    return first
