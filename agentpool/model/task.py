"""A task as the board tracks it: its state, and what is known of it beside its text."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from agentpool.model.events import Purpose, RunStarted
from agentpool.model.mail import MailType, Priority
from agentpool.model.run import FailureKind

if TYPE_CHECKING:
    from agentpool.model.mail import Mail


class TaskState(StrEnum):
    """Where a task stands (design, section 6)."""

    BLOCKED = "blocked"
    READY = "ready"
    RUNNING = "running"
    DELEGATED = "delegated"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_settled(self) -> bool:
        """Whether the task is over."""
        return self in (TaskState.DONE, TaskState.FAILED, TaskState.CANCELLED)


#: Every row of the board's table. What is not here cannot happen.
TRANSITIONS: dict[TaskState, frozenset[TaskState]] = {
    TaskState.BLOCKED: frozenset({TaskState.READY, TaskState.FAILED, TaskState.CANCELLED, TaskState.DONE}),
    TaskState.READY: frozenset({TaskState.RUNNING, TaskState.FAILED, TaskState.CANCELLED, TaskState.DONE}),
    TaskState.RUNNING: frozenset(
        {TaskState.READY, TaskState.DELEGATED, TaskState.DONE, TaskState.FAILED, TaskState.CANCELLED}
    ),
    TaskState.DELEGATED: frozenset({TaskState.READY, TaskState.CANCELLED, TaskState.DONE, TaskState.FAILED}),
    TaskState.DONE: frozenset(),
    TaskState.FAILED: frozenset({TaskState.READY, TaskState.BLOCKED}),
    TaskState.CANCELLED: frozenset({TaskState.READY, TaskState.BLOCKED}),
}


@dataclass(slots=True)
class Task:
    """One task. The board alone changes it; everyone else reads.

    Args:
        order: the sequence number of its acceptance: the tie-breaker of equal ranks.
        place: its place among the tasks that were accepted in the same event: the last tie-breaker.
        created: when it was accepted, seconds since the epoch; `started`, `ended` and `not_before` likewise.
        settlement: the number of the settlement that is open or was the last, from 1.
        waits: how many predecessors in the graph are not satisfied.
        attempt: attempts used; `starts` counts all runs.
        children: ids of all tasks that its runs sent.
        purpose: why the next run is started, or why the current one was.
        first_failure: when the first of the current row of transient failures happened.
        notes: ids of the mail that its runs are handed over beside its own.
        process: what is known of the process of the current or the last run.
        origin: the id whose failure or cancellation made this one fail.
    """

    id: str
    to: str
    sender: str
    type: MailType
    priority: Priority
    thread: str
    order: int
    created: float
    place: int = 0
    parent: str | None = None
    hops: int = 0
    expires: float | None = None
    depends_on: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    subject: str = ""
    fingerprint: str = ""
    settlement: int = 1
    state: TaskState = TaskState.READY
    waits: int = 0
    attempt: int = 0
    starts: int = 0
    continuations: int = 0
    run: str | None = None
    purpose: Purpose = Purpose.ATTEMPT
    children: list[str] = field(default_factory=list)
    not_before: float = 0.0
    reason: str = ""
    failure: FailureKind | None = None
    first_failure: float | None = None
    origin: str | None = None
    cancel_requested: bool = False
    started: float | None = None
    ended: float | None = None
    cost_usd: float = 0.0
    reserved_usd: float = 0.0
    notes: tuple[str, ...] = ()
    process: RunStarted | None = None

    @property
    def rank(self) -> float:
        """Its place in the order: the time of acceptance less the head start of its priority."""
        return self.created - self.priority.head_start


def task_from_mail(mail: Mail, *, order: int, at: float, place: int = 0, fingerprint: str = "") -> Task:
    """The task that an accepted mail makes."""
    return Task(
        id=mail.id,
        to=mail.to,
        sender=mail.sender,
        type=mail.type,
        priority=mail.priority,
        thread=mail.thread or mail.id,
        order=order,
        place=place,
        created=at,
        parent=mail.parent,
        hops=mail.hops,
        expires=mail.expires,
        depends_on=mail.depends_on,
        inputs=mail.inputs,
        subject=mail.subject,
        fingerprint=fingerprint,
    )


@dataclass(frozen=True, slots=True)
class Settled:
    """What stays in memory of a task that is over.

    Args:
        ended: seconds since the epoch.
        starts: runs that the task has had, so that a retry goes on counting.
        origin: the id whose failure made it fail, if it did not fail by itself.
    """

    state: TaskState
    ended: float
    settlement: int
    starts: int = 0
    fingerprint: str = ""
    origin: str | None = None
