"""Living runs: started, adopted, followed to their end, stopped."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from agentpool.model.errors import AgentpoolError, TimedOutError
from agentpool.model.names import ARCHITECT, PEOPLE, RESEARCHER
from agentpool.model.run import EndedBy, FailureKind, RunReport
from agentpool.runs.agent import RunSpec
from agentpool.runs.family import find_leader
from agentpool.runs.follow import Timings, follow, settle_vanished
from agentpool.runs.process import RunProcess, adopt, spawn
from agentpool.runs.process_table import Identity
from agentpool.runs.stream import StreamSummary
from agentpool.supervisor.settling import OUTBOX

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agentpool.model.task import Task
    from agentpool.pool.layout import Layout
    from agentpool.runs.prompt import Prompt
    from agentpool.supervisor.settings import Settings

log = logging.getLogger(__name__)

#: Seconds between two tries to end what survived SIGKILL.
_STUCK_PAUSE = 5.0


@dataclass(slots=True)
class LivingRun:
    """A run that has not settled.

    Args:
        process: None where it was gone before anybody looked.
        summary: what its stream said so far.
        report: what it came to, once it is over.
        adopted: whether an earlier supervisor started it.
        stuck: what survives of it although it was killed.
    """

    run: str
    task: str
    name: str
    process: RunProcess | None
    stop: asyncio.Event
    adopted: bool = False
    summary: StreamSummary | None = None
    report: RunReport | None = None
    stuck: str | None = None
    follower: asyncio.Task[None] | None = None


class Runner:
    """All living runs of the pool, by task.

    Args:
        ended: called when a run is over and its report is there.
        progress: called when the stream of a run said something new.
    """

    def __init__(
        self,
        layout: Layout,
        settings: Settings,
        *,
        ended: Callable[[], None],
        progress: Callable[[LivingRun], None],
    ) -> None:
        self._layout = layout
        self._settings = settings
        self._ended = ended
        self._progress = progress
        self.living: dict[str, LivingRun] = {}

    def start(self, task: Task, prompt: Prompt) -> RunProcess:
        """Start the run that the task is in.

        Raises:
            AgentError: the command cannot be started.
            OSError: its directory cannot be made.
        """
        run = task.run or ""
        directory = self._layout.run_directory(run)
        # One after the other: asking for both at once tries the inner one first, which costs as much as making it.
        directory.mkdir(parents=True, exist_ok=True)
        (directory / OUTBOX).mkdir(exist_ok=True)
        command = self._settings.agent.command(self._spec(task, prompt))
        process = spawn(command, directory)
        self._follow(LivingRun(run, task.id, task.to, process, asyncio.Event()))
        return process

    def give_up(self, task: Task, reason: str, ended_by: EndedBy) -> None:
        """The run that the task is in could not be started: it is over before it began."""
        report = RunReport(FailureKind.SUPERVISOR, reason, ended_by=ended_by, has_result=False, has_output=False)
        self.living[task.id] = LivingRun(task.run or "", task.id, task.to, None, asyncio.Event(), report=report)
        self._ended()

    def adopt(self, task: Task) -> LivingRun | None:
        """Go on with a run that an earlier supervisor started; None when it never began, so that it can be started.

        A run that lives is followed from the first byte of its stream. One that is gone is settled by what it left.
        """
        run = task.run or ""
        directory = self._layout.run_directory(run)
        known = task.process
        identity = None
        if known is not None and known.run == run and known.start_ticks is not None:
            identity = Identity(known.pid, known.start_ticks, known.boot_id or "")
        process = adopt(directory, identity) if directory.is_dir() else None
        if process is None and not _has_output(directory / "stream.jsonl") and find_leader(directory) is None:
            return None
        living = LivingRun(run, task.id, task.to, process, asyncio.Event(), adopted=True)
        self._follow(living)
        return living

    def stop(self, task_id: str) -> None:
        """Have the stop ladder run on a task's run; its report follows."""
        living = self.living.get(task_id)
        if living is not None:
            living.stop.set()

    def ended(self) -> list[LivingRun]:
        """The runs that are over and not settled yet."""
        return [living for living in self.living.values() if living.report is not None]

    def alive(self) -> list[LivingRun]:
        """The runs that are not over."""
        return [living for living in self.living.values() if living.report is None]

    def forget(self, task_id: str) -> None:
        """The run of a task has settled."""
        self.living.pop(task_id, None)

    async def leave(self) -> None:
        """Stop following; the runs go on by themselves."""
        followers = [living.follower for living in self.living.values() if living.follower is not None]
        for follower in followers:
            follower.cancel()
        await asyncio.gather(*followers, return_exceptions=True)

    def _follow(self, living: LivingRun) -> None:
        self.living[living.task] = living
        living.follower = asyncio.create_task(self._watch(living), name=f"run {living.run}")
        living.follower.add_done_callback(lambda follower: self._unforeseen(living, follower))

    def _unforeseen(self, living: LivingRun, follower: asyncio.Task[None]) -> None:
        """A defect in following one run must not leave it unsettled for ever."""
        error = None if follower.cancelled() else follower.exception()
        if error is not None:
            log.error("run %s could not be followed", living.run, exc_info=error, extra={"action": "run.lost"})
            living.report = self._lost(living, error)
            self._ended()

    async def _watch(self, living: LivingRun) -> None:
        directory = self._layout.run_directory(living.run)
        agent = self._settings.agent
        runs = self._settings.configuration.runs
        settings = self._settings.configuration.settings_for(living.name)
        timings = Timings(runs.stall_timeout, settings.run_timeout, runs.result_grace, runs.stop_grace)

        def on_progress(summary: StreamSummary) -> None:
            living.summary = summary
            self._progress(living)

        process = living.process
        while living.report is None:
            try:
                if process is None:
                    living.report = await settle_vanished(directory, agent, runs.stop_grace)
                else:
                    living.report = await follow(process, agent, directory, timings, on_progress, living.stop)
            except TimedOutError as error:
                # Something of it survives even SIGKILL. Until it is gone the run is not over: it may still write.
                log.error("%s", error, extra={"action": "run.stuck"})  # noqa: TRY400 - said in one line
                living.stuck, process = error.message, None
                await asyncio.sleep(_STUCK_PAUSE)
            except (AgentpoolError, OSError) as error:
                log.exception("run %s could not be followed", living.run, extra={"action": "run.lost"})
                living.report = self._lost(living, error)
        self._ended()

    def _lost(self, living: LivingRun, error: BaseException) -> RunReport:
        return RunReport(
            FailureKind.SUPERVISOR,
            f"the supervisor lost the run: {error}",
            ended_by=EndedBy.VANISHED,
            has_result=False,
            has_output=_has_output(self._layout.run_directory(living.run) / "stream.jsonl"),
        )

    def _spec(self, task: Task, prompt: Prompt) -> RunSpec:
        configuration = self._settings.configuration
        settings = configuration.settings_for(task.to)
        run, layout = task.run or "", self._layout
        directory = layout.run_directory(run)
        role = task.to if task.to in (ARCHITECT, RESEARCHER) else "expert"
        markers = {
            "AGENTPOOL_RUN": run,
            "AGENTPOOL_RUN_DIRECTORY": str(directory),
            "AGENTPOOL_OUTBOX": str(directory / OUTBOX),
            "AGENTPOOL_TASK": task.id,
            "AGENTPOOL_NAME": task.to,
            "AGENTPOOL_ROLE": role,
            "AGENTPOOL_ATTEMPT": str(task.attempt),
            "AGENTPOOL_POOL": str(layout.root),
            "AGENTPOOL_HOME": str(layout.home(task.to)),
        }
        return RunSpec(
            run_id=run,
            task_id=task.id,
            name=task.to,
            role=role,
            pool=layout.root,
            project=layout.project,
            directory=directory,
            identity=prompt.identity,
            message=prompt.message,
            model=settings.model,
            max_usd=task.reserved_usd or None,
            allowed_tools=settings.allowed_tools,
            permission_mode=settings.permission_mode.value,
            deny=_off_limits(layout, task.to, self._settings.experts),
            environment={**self._settings.environment, **markers},
        )


@lru_cache(maxsize=256)
def _off_limits(layout: Layout, name: str, experts: frozenset[str]) -> tuple[str, ...]:
    """Rules that keep a run to its outbox and its own knowledge: mail by another way would escape its settling."""
    root, home = layout.root, layout.home(name)
    files = [layout.configuration, layout.taskboard, layout.supervisor, home / "identity.md"]
    trees = [layout.journal, layout.mail, layout.archive, layout.deadletter, layout.postoffice, root / "approvals"]
    trees += [home / "inbox", *(layout.home(each) for each in PEOPLE)]
    trees += [layout.home(each) for each in (ARCHITECT, RESEARCHER, *sorted(experts)) if each != name]
    return (*(f"Edit(/{path})" for path in files), *(f"Edit(/{path}/**)" for path in sorted(trees)))


def _has_output(stream: Path) -> bool:
    try:
        return stream.stat().st_size > 0
    except FileNotFoundError:
        return False
