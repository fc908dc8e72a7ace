"""What a pool needs now and then: settings read again, holds lifted, people told, readable views, snapshots."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from agentpool.model import events as ev
from agentpool.model.errors import NoPoolError, UsageError
from agentpool.model.mail import Mail, MailType
from agentpool.model.moment import iso
from agentpool.model.names import HUMAN, SUPERVISOR
from agentpool.pool import taskboard
from agentpool.pool.founding import ensure_directories
from agentpool.supervisor.disk import is_refusal

if TYPE_CHECKING:
    from agentpool.pool.layout import Layout
    from agentpool.supervisor.admission import Admission
    from agentpool.supervisor.intake import Intake
    from agentpool.supervisor.ledger import Ledger
    from agentpool.supervisor.settings import Settings

log = logging.getLogger(__name__)

#: Age of a placeholder at which a person is told, in seconds.
_PLACEHOLDER_SECONDS = 86_400.0
#: Seconds between two writings of `taskboard.json`, at least; and how many times what one costs.
_TASKBOARD_SECONDS = 2.0
_TASKBOARD_SHARE = 50


class Upkeep:
    """Keeps one pool in order beside its work. Its own pace does not follow the wall clock, which may be set back."""

    def __init__(
        self, layout: Layout, settings: Settings, ledger: Ledger, intake: Intake, admission: Admission
    ) -> None:
        self._layout = layout
        self._settings = settings
        self._ledger = ledger
        self._intake = intake
        self._admission = admission
        self._taskboard_seq = -1
        self._taskboard_due = 0.0
        self._next_sweep = 0.0

    async def sweep(self, now: float) -> list[ev.Event]:
        """Look after what no event tells of; what has happened in the pool's own eyes.

        Raises:
            JournalError: a deleted journal cannot be written anew.
            NoPoolError: the pool's directory is gone.
        """
        self._next_sweep = time.monotonic() + self._settings.configuration.pool.sweep
        if not self._layout.root.is_dir():
            raise NoPoolError(f"{self._layout.root} was removed while it was served; its runs are left alone")
        await self._ledger.restore_deleted()
        changed = self._settings.reload()
        if self._settings.refresh_experts() or changed:
            log.info("the settings changed", extra={"action": "settings.changed"})
        try:
            ensure_directories(self._layout, self._settings.experts, self._settings.configuration.shared.include)
            self._intake.problems.pop(str(self._layout.root), None)
        except UsageError as error:
            self._intake.problems[str(self._layout.root)] = error.message
        self._intake.watch_directories()
        return [*self._holds_that_end(now, changed=changed), *self._notices(now)]

    def is_sweep_due(self) -> bool:
        """Whether everything is to be looked through now."""
        return time.monotonic() >= self._next_sweep

    def pause(self) -> float:
        """Seconds until there is something to do here."""
        due = self._next_sweep
        if self._taskboard_seq != self._ledger.board.seq:
            due = min(due, self._taskboard_due)
        return due - time.monotonic()

    async def tidy(self, now: float, *, shown: bool) -> None:
        """Write what may be late.

        Args:
            shown: whether all effects of the journal are on the disk, so that a snapshot may stand for it.

        Raises:
            JournalError: the snapshot cannot be written.
            OSError: `taskboard.json` cannot be written.
        """
        if shown and self._ledger.snapshot_is_due():
            await self.write_snapshot(now)
        if self._taskboard_seq != self._ledger.board.seq and time.monotonic() >= self._taskboard_due:
            self.write_taskboard()

    async def write_snapshot(self, now: float) -> None:
        """Make the next start short.

        Raises:
            JournalError: it cannot be written.
        """
        await self._ledger.write_snapshot(now, now - self._settings.configuration.pool.retention)

    def write_taskboard(self) -> None:
        """Rewrite `taskboard.json`; the next writing waits in proportion to what this one cost.

        Raises:
            OSError: the disk refuses.
        """
        began = time.monotonic()
        self._taskboard_seq = self._ledger.board.seq
        try:
            taskboard.write(self._layout.taskboard, self._ledger.board)
            self._intake.problems.pop(str(self._layout.taskboard), None)
        except OSError as error:
            if is_refusal(error):
                raise
            self._intake.problems[str(self._layout.taskboard)] = f"it cannot be written: {error.strerror}"
        ended = time.monotonic()
        self._taskboard_due = ended + max(_TASKBOARD_SECONDS, _TASKBOARD_SHARE * (ended - began))

    def _holds_that_end(self, now: float, *, changed: bool) -> list[ev.Event]:
        ended: list[ev.Event] = []
        for hold, state in self._ledger.board.holds.items():
            over = state.until is not None and state.until <= now
            if hold is ev.Hold.BUDGET:
                over = over or not self._admission.budget_is_spent(now)
            elif hold in (ev.Hold.AGENT, ev.Hold.AUTH):
                over = over or changed
            if over:
                ended.append(ev.PoolReleased(hold))
        return ended

    def _notices(self, now: float) -> list[ev.Event]:
        """What a person must be told: ids that tasks wait for and that do not come."""
        board = self._ledger.board
        notices: list[ev.Event] = []
        for awaited, since in board.graph.placeholders.items():
            key = f"placeholder:{awaited}"
            if now - since < _PLACEHOLDER_SECONDS or key in board.told:
                continue
            waiting = board.graph.dependants(awaited)
            body = (
                f"{', '.join(waiting)} waits for {awaited}, which has not arrived for a day.\n\n"
                f"Send it, or: agentpool cancel {waiting[0]}"
            )
            mail = Mail(f"{awaited}.missing", HUMAN, MailType.NOTIFY, SUPERVISOR, timestamp=iso(now), body=body)
            notices.append(ev.NoticeSent(key, mail))
        return notices
