"""One mail, as typed values."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

from agentpool.model.names import HUMAN


class MailType(StrEnum):
    """What a mail is for."""

    TASK = "task"
    QUESTION = "question"
    RESPONSE = "response"
    NOTIFY = "notify"
    HANDOFF = "handoff"
    CANCEL = "cancel"

    @property
    def is_work(self) -> bool:
        """Whether the board tracks it and it gets a response."""
        return self in (MailType.TASK, MailType.QUESTION)


class Priority(StrEnum):
    """How much of a head start a task has over others."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"
    URGENT = "urgent"

    @property
    def head_start(self) -> float:
        """Seconds by which it counts as accepted earlier than it was: nothing starves, since time passes."""
        return _HEAD_START[self]


_HEAD_START = {
    Priority.LOW: -14_400.0,
    Priority.NORMAL: 0.0,
    Priority.HIGH: 3_600.0,
    Priority.URGENT: 14_400.0,
}


class Status(StrEnum):
    """What a response says of the work."""

    DONE = "done"
    FAILED = "failed"
    BLOCKED = "blocked"
    NEEDS_INPUT = "needs-input"


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail that keeps the rules.

    Args:
        depends_on: ids of tasks that must be done before this one starts.
        inputs: ids of tasks whose responses are put in the prompt; each is also waited for.
        expires: seconds since the epoch after which the task is not started any more.
        parent: the task whose run sent this; empty for a drop. Never read from a header.
        hops: how many runs stand between a person and this mail. Never read from a header.
        extra: unknown keys of the header, kept as they came.
        body: the text below the header.
    """

    id: str
    to: str
    type: MailType = MailType.TASK
    sender: str = HUMAN
    priority: Priority = Priority.NORMAL
    depends_on: tuple[str, ...] = ()
    contracts: tuple[str, ...] = ()
    in_reply_to: str | None = None
    thread: str | None = None
    inputs: tuple[str, ...] = ()
    cancels: str | None = None
    status: Status | None = None
    expires: float | None = None
    timestamp: str | None = None
    parent: str | None = None
    hops: int = 0
    extra: dict[str, object] = field(default_factory=dict)
    body: str = ""

    @property
    def awaited(self) -> tuple[str, ...]:
        """Every id that this task waits for, once."""
        return tuple(dict.fromkeys(self.depends_on + self.inputs))

    @property
    def subject(self) -> str:
        """The first line that says something, cut to 80 printable characters: for lists."""
        for line in self.body.splitlines():
            text = "".join(filter(str.isprintable, line)).strip().lstrip("#").strip()
            if text:
                return text if len(text) <= _SUBJECT else text[: _SUBJECT - 1] + "…"
        return ""


_SUBJECT = 80


def sent_by_run(mail: Mail, *, sender: str, parent: str, thread: str, hops: int) -> Mail:
    """The same mail under the identity of the run that sent it: a header cannot claim another."""
    return replace(mail, sender=sender, parent=parent, thread=thread, hops=hops)
