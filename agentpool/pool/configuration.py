"""The configuration of a pool: every setting, its type, its bounds and its default.

A table of `pool.toml` is a class here and a key is a field. Durations are seconds, sizes are bytes. Objects
never change: a new configuration is a new object, and two are equal when every setting is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from agentpool.model.names import ARCHITECT, RESEARCHER
from agentpool.pool.environment import INHERITED, run_environment
from agentpool.pool.setting_types import (
    AgentKind,
    Command,
    Dollars,
    ExpertName,
    ExpertNames,
    Kind,
    MaybeEndless,
    Mode,
    PermissionMode,
    SettingSource,
    Sources,
    Text,
    Texts,
    VariableName,
    VariableValue,
    Writers,
    WritersRule,
    duration,
    duration_or_endless,
    duration_or_none,
    size,
)

if TYPE_CHECKING:
    from pathlib import Path

_KIB = 1 << 10
_MIB = 1 << 20
_GIB = 1 << 30

#: A prompt goes whole into a pipe before its run starts, and a pipe holds at most 1 MiB: this leaves room for
#: what JSON adds. It is also about what a model can read at once.
MOST_PROMPT_BYTES = 800_000


class Table(BaseModel):
    """A table of the file. A key that it does not know is warned of by the reader of the file, not refused."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", allow_inf_nan=False)


class PoolTable(Table):
    """`[pool]`: the pool as a whole.

    Args:
        name: what people see; None means the project directory's name.
        sweep: seconds between two full scans of the drop directories.
        retention: seconds that a settled task stays in the journal before it is in `archive/` alone.
        writers: which runs may share the tree.
    """

    name: Text | None = None
    sweep: Annotated[float, BeforeValidator(duration("100ms", "1h"))] = 2.0
    retention: Annotated[float, BeforeValidator(duration("1h", "3650d"))] = 30 * 86_400.0
    writers: WritersRule = Writers.ANY


class AgentTable(Table):
    """`[agent]`: the command that does the work, and what its runs may do.

    Args:
        kind: `claude`, or the built-in `simulated` one.
        command: the program and its arguments.
        script: of the simulated agent: what it plays, a path relative to the pool's directory.
        env: variables that every run gets.
        env_allow: names and patterns of the variables that runs inherit from the supervisor.
        env_also: further ones, so that one more needs no copy of the list.
        permission_mode: what happens to a tool that is not allowed.
        allowed_tools: the tools, as the command names them.
        model: None means the command's own default.
        setting_sources: whose settings the command loads.
    """

    kind: Kind = AgentKind.CLAUDE
    command: Command = ("claude",)
    script: Text | None = None
    env: Annotated[Mapping[VariableName, VariableValue], Field(repr=False)] = {}
    env_allow: Texts = INHERITED
    env_also: Texts = ()
    # The one mode that never waits for an answer: nobody sits before a run.
    permission_mode: Mode = PermissionMode.DONT_ASK
    allowed_tools: Texts = ("Read", "Write", "Edit", "Bash", "Grep", "Glob")
    model: Text | None = None
    # The project's own settings and hooks are written for people's sessions.
    setting_sources: Sources = (SettingSource.USER,)

    def environment(self, source: Mapping[str, str]) -> dict[str, str]:
        """What every run gets of `source`, the supervisor's own environment, and of `env`."""
        return run_environment(source, allow=(*self.env_allow, *self.env_also), given=self.env)

    def script_file(self, root: Path) -> Path | None:
        """Where the script lies in the pool with this root directory; None without one."""
        return None if self.script is None else root / self.script


class RunsTable(Table):
    """`[runs]`: how long runs may take and how often they are tried. All times in seconds.

    Args:
        run_timeout: wall time of one run; None means no end.
        stall_timeout: silence of a run, after which it counts as stuck.
        stop_grace: between two steps of the stop ladder.
        result_grace: between a run's result and the stop ladder.
        max_attempts: runs of one task that may fail before the task does.
        max_continuations: times a delegating task goes on after its children.
        retry_first: wait before the first repetition after a transient failure; it doubles from there.
        retry_most: the longest such wait.
        transient_horizon: how long transient failures in a row are repeated, even when all attempts are used.
    """

    # Whoever works is not stopped by the clock: silence is the better sign of a stuck run.
    run_timeout: Annotated[float | None, BeforeValidator(duration_or_none("1s"))] = None
    # A tool command may be silent for its own ten minutes; this leaves room for one.
    stall_timeout: Annotated[float, BeforeValidator(duration("1s"))] = 20 * 60.0
    stop_grace: Annotated[float, BeforeValidator(duration("0s", "1h"))] = 10.0
    result_grace: Annotated[float, BeforeValidator(duration("0s", "1h"))] = 5.0
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 3
    max_continuations: Annotated[int, Field(ge=0, le=1000)] = 8
    retry_first: Annotated[float, BeforeValidator(duration("10ms", "1h"))] = 5.0
    retry_most: Annotated[float, BeforeValidator(duration("10ms", "1d"))] = 5 * 60.0
    # Overloads of a quarter of an hour were seen; attempts are for failures that a repetition does not cure.
    transient_horizon: Annotated[float, BeforeValidator(duration("0s", "30d"))] = 30 * 60.0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.retry_first > self.retry_most:
            raise ValueError("retry_first must not be longer than retry_most")
        return self


class LimitsTable(Table):
    """`[limits]`: how much of anything. Sizes in bytes.

    Args:
        max_runs: runs at once; None means that the supervisor computes it from cores and free memory.
        mail_bytes: one mail file; a larger one is refused.
        header_bytes: the header of a mail.
        hops: mails that may cause each other in a row.
        fan_out: tasks that one task may send.
        run_memory: what one run is expected to need, for admission.
    """

    max_runs: Annotated[int, Field(ge=1, le=1000)] | None = None
    mail_bytes: Annotated[int, BeforeValidator(size(_KIB, 16 * _MIB))] = _MIB
    # No more than the default: deeper YAML than fits into it has crashed the C loader.
    header_bytes: Annotated[int, BeforeValidator(size(256, 16 * _KIB))] = 16 * _KIB
    hops: Annotated[int, Field(ge=1, le=100)] = 8
    fan_out: Annotated[int, Field(ge=1, le=10_000)] = 50
    run_memory: Annotated[int, BeforeValidator(size(0, 1024 * _GIB))] = 300 * _MIB

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.header_bytes > self.mail_bytes:
            raise ValueError("header_bytes must not be larger than mail_bytes")
        return self


class BudgetTable(Table):
    """`[budget]`: ceilings in US dollars.

    Args:
        run_usd: of one run.
        day_usd: of all runs of one day, which begins at midnight UTC.
    """

    run_usd: Dollars = 5.0
    day_usd: Dollars = 50.0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.run_usd > self.day_usd:
            raise ValueError("run_usd must not be more than day_usd")
        return self


class PromptTable(Table):
    """`[prompt]`: what each section of a prompt may take, in bytes; the rest is cut, and the prompt says so.

    `mail` may be smaller than `limits.mail_bytes`: a long mail is accepted whole and stays whole in its file,
    which the prompt names, so that an attached log doesn't fill a model's context before the work begins.
    """

    identity: Annotated[int, BeforeValidator(size(_KIB, MOST_PROMPT_BYTES))] = 32 * _KIB
    errors: Annotated[int, BeforeValidator(size(0, MOST_PROMPT_BYTES))] = 32 * _KIB
    state: Annotated[int, BeforeValidator(size(0, MOST_PROMPT_BYTES))] = 64 * _KIB
    inputs: Annotated[int, BeforeValidator(size(0, MOST_PROMPT_BYTES))] = 128 * _KIB
    feedback: Annotated[int, BeforeValidator(size(0, MOST_PROMPT_BYTES))] = 16 * _KIB
    mail: Annotated[int, BeforeValidator(size(_KIB, MOST_PROMPT_BYTES))] = 128 * _KIB

    @property
    def total(self) -> int:
        """The sum of all sections, in bytes."""
        return self.identity + self.errors + self.state + self.inputs + self.feedback + self.mail

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.total > MOST_PROMPT_BYTES:
            raise ValueError(f"its sections must not be more than {MOST_PROMPT_BYTES} bytes together")
        return self


class SharedTable(Table):
    """`[shared]`: experts that all pools of a user share.

    Args:
        include: names of directories in `~/.agent-pool/experts/`.
    """

    include: ExpertNames = ()


class RoleTable(Table):
    """`[architect]`, `[researcher]`, `[experts.NAME]`: what differs for one role; None means as everywhere.

    Args:
        run_timeout: seconds; infinity lifts the pool's own.
        owns: globs of the files that are this role's to write, relative to the project.
    """

    model: Text | None = None
    allowed_tools: Texts | None = None
    permission_mode: Mode | None = None
    run_usd: Dollars | None = None
    run_timeout: Annotated[MaybeEndless | None, BeforeValidator(duration_or_endless("1s"))] = None
    owns: Texts = ()


@dataclass(frozen=True, slots=True)
class RoleSettings:
    """What holds for the runs of one role or expert, with everything decided.

    Args:
        run_usd: ceiling of one run in US dollars.
        run_timeout: seconds; None means no end.
    """

    model: str | None
    allowed_tools: tuple[str, ...]
    permission_mode: PermissionMode
    run_usd: float
    run_timeout: float | None
    owns: tuple[str, ...]


class Configuration(Table):
    """All settings of one pool; `Configuration()` has the defaults."""

    pool: PoolTable = PoolTable()
    agent: AgentTable = AgentTable()
    runs: RunsTable = RunsTable()
    limits: LimitsTable = LimitsTable()
    budget: BudgetTable = BudgetTable()
    prompt: PromptTable = PromptTable()
    architect: RoleTable = RoleTable()
    researcher: RoleTable = RoleTable()
    shared: SharedTable = SharedTable()
    experts: Mapping[ExpertName, RoleTable] = {}

    @model_validator(mode="after")
    def _affordable(self) -> Self:
        roles = {ARCHITECT: self.architect, RESEARCHER: self.researcher}
        roles |= {f"experts.{name}": table for name, table in self.experts.items()}
        for key, role in roles.items():
            if role.run_usd is not None and role.run_usd > self.budget.day_usd:
                raise ValueError(f"{key}.run_usd must not be more than budget.day_usd, {self.budget.day_usd}")
        return self

    def settings_for(self, name: str) -> RoleSettings:
        """What holds for the runs of this mailbox; one that no file names has the pool's own."""
        role = {ARCHITECT: self.architect, RESEARCHER: self.researcher}.get(name)
        if role is None:
            role = self.experts.get(name, RoleTable())
        return RoleSettings(
            model=role.model or self.agent.model,
            allowed_tools=self.agent.allowed_tools if role.allowed_tools is None else role.allowed_tools,
            permission_mode=role.permission_mode or self.agent.permission_mode,
            run_usd=self.budget.run_usd if role.run_usd is None else role.run_usd,
            run_timeout=self.runs.run_timeout if role.run_timeout is None else _finite(role.run_timeout),
            owns=role.owns,
        )


def _finite(seconds: float) -> float | None:
    return None if math.isinf(seconds) else seconds
