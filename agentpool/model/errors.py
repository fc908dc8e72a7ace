"""Every error that agentpool raises on purpose, in one small tree.

    AgentpoolError
    ├── UsageError               2    the caller asked for something that cannot be
    │   ├── ConfigurationError   2    a setting has a wrong type or value
    │   └── UnknownIdError       1    no such task, mail or role
    ├── MailError                1    a drop cannot be accepted as it is
    ├── NoPoolError              3    no `.agent-pool/` here or above
    ├── NoSupervisorError        3    nobody serves this pool
    ├── PoolHeldError          100    another supervisor serves this pool
    ├── JournalError             1    the journal cannot be read or written
    │   └── JournalCutError      1    somebody cut acknowledged records off
    ├── AgentError               1    the agent command cannot be started
    ├── IllegalTransitionError   1    an event that the board's table has no row for
    └── TimedOutError            4    what was waited for did not happen in time

The number is the exit code of the command that the error ends. Each message says what happened and to which file or
id; `tip` says what to do next and is printed on a line of its own.
"""

from __future__ import annotations


class AgentpoolError(Exception):
    """The root of the tree.

    Args:
        message: one sentence: what happened, to which file or id.
        tip: what to do next, as a command where there is one.
    """

    exit_code = 1

    def __init__(self, message: str, *, tip: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.tip = tip


class UsageError(AgentpoolError):
    """The caller asked for something that cannot be."""

    exit_code = 2


class ConfigurationError(UsageError):
    """A setting has a wrong type or value: the file, the dotted key and what is allowed are in the message."""


class UnknownIdError(UsageError):
    """There is no such task, mail or role in this pool."""

    exit_code = 1


class MailError(AgentpoolError):
    """A drop cannot be accepted as it is; the message is the reason its sender reads."""


class NoPoolError(AgentpoolError):
    """There is no `.agent-pool/` in this directory or above it."""

    exit_code = 3


class NoSupervisorError(AgentpoolError):
    """No supervisor serves this pool."""

    exit_code = 3


class PoolHeldError(AgentpoolError):
    """Another supervisor serves this pool (100 is daemontools' code for "already running")."""

    exit_code = 100


class JournalError(AgentpoolError):
    """The journal cannot be read or written; the place is in the message."""


class JournalCutError(JournalError):
    """Acknowledged records are gone from the journal's file; whoever has them in memory can write them anew."""


class AgentError(AgentpoolError):
    """The agent command cannot be started."""


class IllegalTransitionError(AgentpoolError):
    """An event asks the board for a step that its table has no row for."""


class TimedOutError(AgentpoolError):
    """What was waited for did not happen in time."""

    exit_code = 4
