"""One line for a person who waits: who works on it, since when, at what. It is gone when the wait ends."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Self

from agentpool.cli import answers
from agentpool.cli.moments import dollars, since
from agentpool.cli.run_text import doing
from agentpool.cli.terminal import clip, is_terminal, one_line
from agentpool.model.errors import NoSupervisorError

if TYPE_CHECKING:
    from collections.abc import Collection

    from agentpool.cli.answers import Row
    from agentpool.cli.client import Client

#: Seconds between two drawings.
TICK = 1.0
_COLUMNS = 80
_CLEAR = "\r\033[K"


class ProgressLine:
    """A line on standard error that is drawn over itself; where that is no terminal, nothing at all.

    Used as a context: at its end the line is gone.

    Args:
        client: asks the supervisor.
        task_ids: the tasks that are waited for.
    """

    def __init__(self, client: Client, task_ids: Collection[str]) -> None:
        self._client = client
        self._task_ids = task_ids
        self._drawn = False
        self.is_seen = is_terminal(sys.stderr) and os.environ.get("TERM") != "dumb"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def draw(self) -> None:
        """Draws how things stand now."""
        if not self.is_seen:
            return
        try:
            text = progress_text(self._client.status(), self._task_ids)
        except NoSupervisorError:
            # Whoever waits finds out as well, and says so.
            return
        # A terminal that was told no size says 0.
        room = os.get_terminal_size(sys.stderr.fileno()).columns or _COLUMNS
        self._write(f"{_CLEAR}{clip(text, room - 1)}")
        self._drawn = True

    def clear(self) -> None:
        """Takes the line away, so that something else can be written there."""
        if self._drawn:
            self._write(_CLEAR)
            self._drawn = False

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


def progress_text(status: Row, task_ids: Collection[str]) -> str:
    """Who works on these tasks, or why none of them moves; empty where all of them are over."""
    runs = [run for run in answers.rows(status, "runs") if run.get("task") in task_ids]
    waiting = [task for task in answers.rows(status, "waiting") if task.get("id") in task_ids]
    more = f"  and {len(runs) + len(waiting) - 1} more" if len(runs) + len(waiting) > 1 else ""
    for run in runs:
        cost = dollars(run["cost_usd"]) if run.get("cost_usd") else ""
        facts = [f"{answers.text(run, 'name')} works on {answers.text(run, 'task')}", since(run.get("since")), cost]
        return "  ".join(one_line(fact) for fact in (*facts, doing(run)) if fact) + more
    for task in waiting:
        return (
            one_line(f"{answers.text(task, 'id')} is {answers.text(task, 'state')}: {answers.text(task, 'reason')}")
            + more
        )
    return ""
