"""From a ready task to a living run, and from an earlier supervisor's runs to ours."""

from __future__ import annotations

import errno
import logging
from typing import TYPE_CHECKING

from agentpool.model import events as ev
from agentpool.model.errors import AgentpoolError, JournalError
from agentpool.model.run import EndedBy
from agentpool.supervisor.briefing import brief

if TYPE_CHECKING:
    from agentpool.model.task import Task
    from agentpool.pool.layout import Layout
    from agentpool.supervisor.ledger import Ledger
    from agentpool.supervisor.runner import Runner
    from agentpool.supervisor.settings import Settings

log = logging.getLogger(__name__)

_ABOUT_ONE_FILE = (
    errno.EISDIR,
    errno.ENOTDIR,
    errno.EACCES,
    errno.EPERM,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENOTSUP,
)


class Launch:
    """Starts and adopts the runs of one pool."""

    def __init__(self, layout: Layout, settings: Settings, ledger: Ledger, runner: Runner) -> None:
        self._layout = layout
        self._settings = settings
        self._ledger = ledger
        self._runner = runner

    def announce(self, task: Task) -> ev.RunStarting:
        """The event that must be durable before `spawn`."""
        number = task.starts + 1
        notes = tuple(self._ledger.board.notes.get(task.to, ()))
        usd = self._settings.configuration.settings_for(task.to).run_usd
        return ev.RunStarting(f"{task.id}.{number}", task.id, number, task.purpose, notes, usd)

    def spawn(self, task: Task) -> list[ev.Event]:
        """Start the process of the run that a task is in; one that cannot start is over at once, with the reason."""
        run = task.run or ""
        try:
            mail = self._ledger.mail(task.id)
            if mail is None:
                raise JournalError(f"the text of {task.id} is not in the journal", tip="agentpool doctor")
            prompt = brief(task, mail, self._ledger, self._layout, self._settings)
            process = self._runner.start(task, prompt)
        except (AgentpoolError, OSError) as error:
            log.error("run %s cannot start: %s", run, error, extra={"action": "run.refused"})  # noqa: TRY400 - one line
            ended_by = EndedBy.VANISHED if _is_its_own(error) else EndedBy.NEVER_STARTED
            self._runner.give_up(task, str(error), ended_by)
            return []
        identity = process.identity
        if identity is None:
            return []
        sizes = tuple(ev.SectionSize(name, size.bytes, size.cut_bytes) for name, size in prompt.sizes.items())
        return [ev.RunStarted(run, task.id, identity.pid, identity.started, identity.boot, sizes)]

    def adopt(self) -> list[ev.Event]:
        """Go on with the runs of an earlier supervisor; those that never began are started."""
        happened: list[ev.Event] = []
        for task in self._ledger.board.running():
            living = self._runner.adopt(task)
            if living is None:
                happened += self.spawn(task)
            elif living.process is not None:
                identity = living.process.identity
                happened.append(ev.RunAdopted(living.run, task.id, identity.pid if identity is not None else None))
        return happened


def _is_its_own(error: Exception) -> bool:
    """Whether an error is about this task's text or this expert's files, so that others can start nevertheless."""
    return isinstance(error, JournalError) or (isinstance(error, OSError) and error.errno in _ABOUT_ONE_FILE)
