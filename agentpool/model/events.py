"""Everything that can happen in a pool: the one list of event names.

The journal stores them, the board is their fold, and whatever anyone watches is this same stream. Each class has the
name under which it stands in the journal, in `agentpool watch --json` and as `action` in the log.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, TypeAlias

from agentpool.model.mail import Mail
from agentpool.model.plain import from_plain, to_plain
from agentpool.model.run import FailureKind, RunReport


class Hold(StrEnum):
    """Why a whole pool starts nothing."""

    LIMIT = "limit"
    AUTH = "auth"
    BUDGET = "budget"
    DISK = "disk"
    AGENT = "agent"
    """The agent command cannot be started at all."""


class Purpose(StrEnum):
    """Why a run is started."""

    ATTEMPT = "attempt"
    """Counts against `max_attempts`."""
    CONTINUATION = "continuation"
    """All children of a delegated task are settled; counts against `max_continuations`."""


class Step(StrEnum):
    """Where a task goes when a run of it has ended."""

    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    RETRY = "retry"
    """Ready again, the attempt used."""
    RELEASE = "release"
    """Ready again, the attempt not used: the pool was at fault, not the task."""
    DELEGATE = "delegate"
    """It waits for the tasks that it sent."""

    @property
    def settles(self) -> bool:
        """Whether the task is over and its sender is answered."""
        return self in (Step.DONE, Step.FAILED, Step.CANCELLED)


@dataclass(frozen=True, slots=True)
class PoolStarted:
    """A supervisor took the pool."""

    name: ClassVar[str] = "pool.started"
    version: str
    pid: int


@dataclass(frozen=True, slots=True)
class PoolStopped:
    """A supervisor gave the pool up; `how` is `drained`, `now` or `left`."""

    name: ClassVar[str] = "pool.stopped"
    how: str


@dataclass(frozen=True, slots=True)
class PoolHeld:
    """Nothing is started any more; `until` is in seconds since the epoch where an end is known."""

    name: ClassVar[str] = "pool.held"
    hold: Hold
    reason: str
    until: float | None = None


@dataclass(frozen=True, slots=True)
class PoolReleased:
    """A hold is over."""

    name: ClassVar[str] = "pool.released"
    hold: Hold


@dataclass(frozen=True, slots=True)
class MailAccepted:
    """A mail entered the pool; from here on it is answered for.

    Args:
        fingerprint: tells the same drop when it is seen again.
        source: where it was dropped, relative to the pool; empty for mail that came through the gateway.
    """

    name: ClassVar[str] = "mail.accepted"
    mail: Mail
    fingerprint: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class MailRefused:
    """A drop went to the dead letters.

    Args:
        file: its path relative to the pool when it was refused.
        deadletter: its name under `deadletter/`.
        answer: what its sender is told; None where that would be a bounce of a bounce.
        signature: inode, size and time of change (nanoseconds) of what was refused: another file of this name is not.
    """

    name: ClassVar[str] = "mail.refused"
    file: str
    deadletter: str
    reason: str
    answer: Mail | None = None
    signature: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class MailRead:
    """A person took a mail out of an inbox of people."""

    name: ClassVar[str] = "mail.read"
    id: str
    mailbox: str


@dataclass(frozen=True, slots=True)
class NoticeSent:
    """The supervisor told a person something, once for each `key`."""

    name: ClassVar[str] = "notice.sent"
    key: str
    mail: Mail


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """Somebody wants a task cancelled; durable before anything is stopped.

    Args:
        tree: whether its open descendants are meant too.
    """

    name: ClassVar[str] = "task.cancel-requested"
    task: str
    tree: bool = False


@dataclass(frozen=True, slots=True)
class RunStarting:
    """A run is about to be started; from here on it is never started as another one.

    Args:
        number: how many runs the task has had, this one included.
        notes: ids of the mail that is handed over in its prompt, beside the task's own.
        reserved_usd: US dollars that the run may cost, set aside from the day's budget.
    """

    name: ClassVar[str] = "run.starting"
    run: str
    task: str
    number: int
    purpose: Purpose = Purpose.ATTEMPT
    notes: tuple[str, ...] = ()
    reserved_usd: float = 0.0


@dataclass(frozen=True, slots=True)
class SectionSize:
    """Bytes of one section of a prompt: in the whole text, and left out of it."""

    section: str
    bytes: int
    cut: int = 0


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The process of a run lives.

    Args:
        start_ticks: the process's start time in clock ticks since the boot; with pid and boot id it names the process.
    """

    name: ClassVar[str] = "run.started"
    run: str
    task: str
    pid: int
    start_ticks: int | None = None
    boot_id: str | None = None
    sizes: tuple[SectionSize, ...] = ()


@dataclass(frozen=True, slots=True)
class RunAdopted:
    """A supervisor found a run that lives and goes on with it."""

    name: ClassVar[str] = "run.adopted"
    run: str
    task: str
    pid: int | None = None


@dataclass(frozen=True, slots=True)
class RunSettled:
    """A run is over: its report, what it sent, and where its task goes, in one record.

    Args:
        failure: why the task fails or is tried again; None when the run ended well.
        reason: the same in words; the next attempt reads it.
        outbox: what enters the pool; empty when the run failed.
        undelivered: how many mails its outbox held that do not enter the pool.
        response: the answer to the task's sender when `step` settles it.
        not_before: seconds since the epoch before which the next attempt is not started.
    """

    name: ClassVar[str] = "run.settled"
    run: str
    task: str
    step: Step
    report: RunReport
    failure: FailureKind | None = None
    reason: str = ""
    outbox: tuple[Mail, ...] = ()
    undelivered: int = 0
    response: Mail | None = None
    not_before: float | None = None


@dataclass(frozen=True, slots=True)
class TaskSettled:
    """A task is over without a run of its own: expired, cancelled before it started, a dependency failed, answered."""

    name: ClassVar[str] = "task.settled"
    task: str
    step: Step
    response: Mail
    failure: FailureKind | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class TaskRetried:
    """A person wants a settled task tried again: the same mail, a new settlement."""

    name: ClassVar[str] = "task.retried"
    mail: Mail


@dataclass(frozen=True, slots=True)
class HistoryForgotten:
    """What was settled before a moment (seconds since the epoch) left the journal's memory; `archive/` keeps it."""

    name: ClassVar[str] = "history.forgotten"
    before: float


Event: TypeAlias = (
    PoolStarted
    | PoolStopped
    | PoolHeld
    | PoolReleased
    | MailAccepted
    | MailRefused
    | MailRead
    | NoticeSent
    | CancelRequested
    | RunStarting
    | RunStarted
    | RunAdopted
    | RunSettled
    | TaskSettled
    | TaskRetried
    | HistoryForgotten
)

_KINDS: dict[str, type[Event]] = {
    kind.name: kind
    for kind in (
        PoolStarted, PoolStopped, PoolHeld, PoolReleased, MailAccepted, MailRefused, MailRead, NoticeSent,
        CancelRequested, RunStarting, RunStarted, RunAdopted, RunSettled, TaskSettled, TaskRetried,
        HistoryForgotten,
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """An event and when it happened.

    Args:
        seq: its place in the journal, counted from 1 without a gap.
        at: seconds since the epoch.
    """

    seq: int
    at: float
    event: Event


def subject(event: Event) -> str:
    """What an event is about, for the log: the id of its run, task or mail; empty where it is about the pool."""
    for name in ("run", "task", "id", "file"):
        value = getattr(event, name, None)
        if value is not None:
            return str(value)
    mail = getattr(event, "mail", None)
    return mail.id if isinstance(mail, Mail) else ""


def encode(event: Event) -> dict[str, object]:
    """The fields of an event as JSON types."""
    return to_plain(event)


def decode(name: str, data: dict[str, object]) -> Event:
    """The event that `encode` wrote under `name`.

    Raises:
        TypeError: no such event or field; a newer agentpool wrote it.
        ValueError: a value that this agentpool does not know.
    """
    kind = _KINDS.get(name)
    if kind is None:
        raise TypeError(f"there is no event {name!r}: was this written by a newer agentpool?")
    return from_plain(kind, data)
