"""What the gateway can ask of the pool: the port that the supervisor implements."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

#: An object that `json.dumps` takes.
Json: TypeAlias = dict[str, object]


class StopMode(StrEnum):
    """How a supervisor gives its pool up."""

    DRAIN = "drain"
    """Start nothing more, wait for the runs to end."""
    NOW = "now"
    """Run the stop ladder on every run; their tasks are ready again, no attempt used."""
    LEAVE = "leave"
    """Leave the runs to be adopted by the next supervisor."""


class Verbs(Protocol):
    """The pool's verbs. Answers are plain JSON objects with documented keys; errors are `AgentpoolError`s.

    A *task* has `id, to, from, type, state, reason, attempt, priority, depends_on, created, started, ended, cost_usd`
    (times as ISO 8601 in UTC, null where there is none; money in US dollars) and also `subject, thread, parent,
    waits_for, children, failure, settlement, run, cancel_requested`; the last is true from the request on, also while
    its run is still being stopped.
    """

    def status(self) -> Json:
        """`pid, pool, name, version, seq, state, since, holds, runs, waiting, counts, warnings` and money.

        Money is `spent_today_usd, day_usd`; `name` is what people see.

        `state` is `running`, `held` or `stopping`. `holds`: `[{hold, reason, since, until, tip}]`. `runs`:
        `[{run, task, name, attempt, pid, since, tool, tool_calls, cost_usd, model, retrying, subject, cancel_requested,
        adopted}]`. `waiting`: `[{id, to, state, reason, tip}]`, one for each open task that has no run, at most 200.
        `counts`: open tasks by state, and `settled`.
        """
        ...

    def board(self, *, everything: bool) -> Json:
        """`{"tasks": […]}`: the open tasks, with `everything` also the recently settled ones."""
        ...

    def task(self, task_id: str) -> Json:
        """One task with also `mail` (its text), `response`, `attempts`, `logs`, `run_directory`.

        `response`: `{id, from, status, body}`, or null.

        `attempts`: `[{run, started, ended, step, failure, reason, cost_usd, turns, input_tokens, output_tokens, model,
        command_version, peak_memory_bytes, seconds, ended_by, denials, sizes, undelivered}]`. `logs`: directory of its
        logs relative to the pool. `run_directory`: that of its living run relative to the pool, or null.

        Raises:
            UnknownIdError: there is no such task; the tip may name one that is near.
        """
        ...

    async def settled(self, task_id: str, timeout: float) -> Json:  # noqa: ASYNC109 - running out is an answer, no error
        """`task` once it is settled, or as it stands after `timeout` seconds."""
        ...

    async def send(self, header: Mapping[str, object], body: str) -> Json:
        """Accept a mail (header keys as in a drop) and return `{id, type, to, state}` when that is durable.

        Raises:
            MailError: it is refused; the message is the reason.
        """
        ...

    async def cancel(self, task_id: str, *, tree: bool) -> Json:
        """Ask for a cancellation; returns `{"tasks": [ids that are meant]}` when the request is durable."""
        ...

    async def retry(self, task_id: str) -> Json:
        """Open a new settlement for a failed or cancelled task; returns the task."""
        ...

    async def replay(self, name: str) -> Json:
        """Drop a dead letter again (name of its file under `deadletter/`); returns `{"dropped": path}`."""
        ...

    def inbox(self, mailbox: str) -> Json:
        """`{"mails": [{id, from, type, status, in_reply_to, subject, at, body, file}]}`: unread mail, oldest first."""
        ...

    async def read(self, mail_id: str, mailbox: str) -> Json:
        """Mark a mail of an inbox of people as read; it moves to the archive. Returns `{"id": …}`."""
        ...

    async def stop(self, mode: StopMode) -> Json:
        """Begin to stop; returns `{"mode": …, "runs": [ids of runs that live]}` at once."""
        ...

    def events(self, since: int | None) -> AsyncIterator[Json]:
        """The journal's events after `since` (None: from now on), each with `seq, at, event` and its fields, then live.

        Events without a `seq` are passing news that is not journaled: `run.progress` with `run, task, tool, tool_calls,
        cost_usd`.
        """
        ...
