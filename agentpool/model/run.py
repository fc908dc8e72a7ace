"""What a run of an agent comes to: the words in which its end is told."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FailureKind(StrEnum):
    """Why a run or a task failed; each kind is treated in its own way (`policies`)."""

    TRANSIENT = "transient"
    """The API stumbled (529, 5xx, connection): retried with backoff."""
    LIMIT = "limit"
    """A usage limit (429): a state of the pool, no attempt used."""
    AUTH = "auth"
    """No login, a wrong key: a state of the pool, no attempt used."""
    BUDGET = "budget"
    """The run reached its ceiling in US dollars."""
    PERMISSION = "permission"
    """The agent gave up because tools were denied to it."""
    TIMEOUT = "timeout"
    """Silent for `stall_timeout`, or longer than `run_timeout`."""
    CHECK = "check"
    """The supervisor's own checks refused what the run left behind, its outbox among it."""
    NEEDS_INPUT = "needs-input"
    """The agent asks a person before it can go on."""
    AGENT = "agent"
    """The agent says that it failed, or ended without a result."""
    EXPIRED = "expired"
    """The task's `expires` passed before it started."""
    DEPENDENCY = "dependency"
    """Something that the task waited for failed or was cancelled."""
    SUPERVISOR = "supervisor"
    """The supervisor lost the run, or could not start it."""


class EndedBy(StrEnum):
    """What brought a run's process to its end."""

    ITSELF = "itself"
    STOP = "stop"
    """A cancel, or `agentpool stop --now`."""
    STALL = "stall"
    """No output for `stall_timeout`."""
    TIMEOUT = "timeout"
    """`run_timeout` passed."""
    GRACE = "grace"
    """It had printed its result but did not exit."""
    NEVER_STARTED = "never-started"
    """The command could not be started."""
    VANISHED = "vanished"
    """It was gone when a supervisor looked again, and nobody saw its end."""


@dataclass(frozen=True, slots=True)
class Denial:
    """A tool call that was refused to the agent.

    Args:
        tool: the tool's name, as in `allowed_tools`.
        rule: the entry of `[agent] allowed_tools` that would have let it pass, e.g. `Bash(npm test:*)`.
    """

    tool: str
    rule: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens and money of one run, as the command counted them.

    Args:
        cost_usd: US dollars.
    """

    cost_usd: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    turns: int = 0


@dataclass(frozen=True, slots=True)
class RunReport:
    """All that is known about a run once its last process is gone.

    Args:
        failure: None when the run ended well.
        text: the agent's final answer, or what went wrong, in words that a person reads.
        ended_by: what brought the process to its end.
        exit_code: of the process; None when it was not our child. Never a criterion.
        has_result: whether the stream held a `result` line.
        has_output: whether the stream held anything at all.
        survivors: how many processes of the run's family had to be killed after it.
        peak_memory_bytes: the largest resident set seen over the run's family; None where it was not measured.
        seconds: wall time from spawn to end; None for an adopted run whose start nobody saw.
        retry_at: when the API said that it may be asked again, seconds since the epoch.
    """

    failure: FailureKind | None
    text: str
    ended_by: EndedBy = EndedBy.ITSELF
    usage: Usage = Usage()
    session_id: str | None = None
    model: str | None = None
    command_version: str | None = None
    exit_code: int | None = None
    has_result: bool = True
    has_output: bool = True
    denials: tuple[Denial, ...] = ()
    survivors: int = 0
    peak_memory_bytes: int | None = None
    seconds: float | None = None
    retry_at: float | None = None
    failed_mcp_servers: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the run ended well."""
        return self.failure is None
