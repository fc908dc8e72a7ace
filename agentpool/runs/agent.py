"""The port behind which an agent command stands: `claude`, or the built-in `simulated` one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from agentpool.model.run import RunReport
    from agentpool.runs.stream import StreamSummary


@dataclass(frozen=True, slots=True)
class RunSpec:
    """One run as the supervisor wants it.

    Args:
        run_id: the run's id, one safe path component.
        task_id: the task it works on.
        name: the mailbox that it works for: an expert's name, `architect` or `researcher`.
        role: `expert`, `architect` or `researcher`.
        pool: the pool's directory.
        project: the directory that the run works in.
        directory: `run/runs/<run-id>/`, made by the supervisor together with `outbox/` in it.
        identity: the text of the system prompt's addition.
        message: the text of the one user message: errors, state, contracts, inputs, mail.
        model: None means the command's own default.
        max_usd: the run's ceiling in US dollars; None where there is none.
        allowed_tools: what the agent may use without being asked.
        permission_mode: as the command knows it.
        deny: permission rules that stand without a server, e.g. `Edit(//abs/path/**)`.
        environment: the whole environment of the run, markers included.
    """

    run_id: str
    task_id: str
    name: str
    role: str
    pool: Path
    project: Path
    directory: Path
    identity: str
    message: str
    model: str | None
    max_usd: float | None
    allowed_tools: tuple[str, ...]
    permission_mode: str
    deny: tuple[str, ...]
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Command:
    """What is started: argument list, environment, directory, and all of its standard input."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    directory: Path
    stdin: bytes


class Agent(Protocol):
    """An adapter for a command that speaks the stream-json protocol of `claude -p`."""

    def command(self, spec: RunSpec) -> Command:
        """The command for one run; writes the files that it names into `spec.directory`.

        Raises:
            AgentError: the command is not there or cannot be executed.
        """
        ...

    def judge(self, summary: StreamSummary, report: RunReport) -> RunReport:
        """The same report with `failure` and `text` decided from what the stream said."""
        ...
