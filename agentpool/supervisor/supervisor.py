"""The loop: accept what was dropped, settle what has ended, start what is ready.

Every decision is made here, one after the other, on a board that stands still meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

from agentpool.model import events as ev
from agentpool.model.board import HoldState
from agentpool.model.errors import AgentpoolError, JournalError
from agentpool.model.mail import Mail, MailType, iso
from agentpool.model.names import HUMAN, SUPERVISOR
from agentpool.model.run import EndedBy, FailureKind
from agentpool.model.spending import next_day
from agentpool.pool import taskboard
from agentpool.pool.founding import ensure_directories
from agentpool.supervisor.admission import Admission, Wait
from agentpool.supervisor.briefing import brief
from agentpool.supervisor.intake import Intake
from agentpool.supervisor.runner import LivingRun, Runner
from agentpool.supervisor.settling import settle_due, settle_run
from agentpool.supervisor.views import Views
from agentpool.supervisor.watch import Hints, start_watch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentpool.model.task import Task
    from agentpool.pool.layout import Layout
    from agentpool.supervisor.ledger import Ledger
    from agentpool.supervisor.settings import Settings

log = logging.getLogger(__name__)

#: A decision that somebody asked for: made inside the loop, since only there the board stands still.
Request: TypeAlias = Callable[[], Awaitable[None]]

#: Seconds between two tries to write to a disk that refused.
_DISK_PAUSE = 2.0
#: Seconds for which the pool is held when nothing says for how long.
_HOLD_SECONDS = {ev.Hold.LIMIT: 300.0, ev.Hold.AUTH: 600.0, ev.Hold.AGENT: 60.0}
#: A placeholder older than this is told to a person, in seconds.
_PLACEHOLDER_SECONDS = 86_400.0
#: Seconds between two writings of `taskboard.json`, at least.
_TASKBOARD_SECONDS = 2.0


class Supervisor:
    """Serves one pool.

    Args:
        clock: seconds since the epoch.

    Attributes:
        living: the runs that have not settled.
        warnings: what a person should know beside the board.
        closed: set once nothing is started any more.
    """

    def __init__(
        self, layout: Layout, settings: Settings, ledger: Ledger, clock: Callable[[], float] = time.time
    ) -> None:
        self._layout = layout
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        self._requests: deque[Request] = deque()
        self._hints = Hints(self._wake_from_thread)
        self._watch = start_watch(self._hints)
        self._disk: str | None = None
        self._disk_since = 0.0
        self._next_sweep = 0.0
        self._next_disk_try = 0.0
        self._taskboard_due = 0.0
        self._taskboard_seq = -1
        self._progress_listeners: list[Callable[[LivingRun], None]] = []
        self._leaving = False
        self.settings = settings
        self.ledger = ledger
        self.board = ledger.board
        self.views = Views(layout, ledger)
        self.intake = Intake(layout, settings, self.board, self._watch, self._hints)
        self.admission = Admission(settings, self.board)
        self.runner = Runner(layout, settings, ended=self._woken.set, progress=self._on_progress)
        self.since = clock()

    # -- what others may ask ----------------------------------------------------------------------------------------

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._clock()

    async def decide(self, decision: Callable[[], Sequence[ev.Event]]) -> list[ev.Entry]:
        """Have a decision made by the loop, when no other one is under way, and wait until it is durable and shown.

        Raises:
            AgentpoolError: what `decision` raised, or the journal cannot be written.
        """
        done: asyncio.Future[list[ev.Entry]] = self._loop.create_future()

        async def request() -> None:
            try:
                entries = await self._commit(decision())
            except AgentpoolError as error:
                if not done.cancelled():
                    done.set_exception(error)
            else:
                if not done.cancelled():
                    done.set_result(entries)

        self._requests.append(request)
        self._woken.set()
        return await done

    def on_progress(self, listener: Callable[[LivingRun], None]) -> Callable[[], None]:
        """Call `listener` whenever a run's stream says something new; returns what ends that."""
        self._progress_listeners.append(listener)
        return lambda: self._progress_listeners.remove(listener)

    @property
    def warnings(self) -> list[str]:
        """What a person should know of this pool beside its tasks."""
        found = [*self.settings.warnings, *self.ledger.notes]
        found += [f"{path}: {problem}" for path, problem in self.intake.problems.items()]
        found += [living.stuck for living in self.runner.living.values() if living.stuck is not None]
        if self._disk is not None:
            found.append(f"nothing can be written: {self._disk}")
        return found

    def holds(self) -> dict[ev.Hold, HoldState]:
        """Why nothing is started, in the journal or because it cannot be written."""
        if self._disk is None:
            return self.board.holds
        return {**self.board.holds, ev.Hold.DISK: HoldState(self._disk, self._disk_since)}

    def wake(self) -> None:
        """Have the loop look around now."""
        self._woken.set()

    def close_admission(self, reason: str) -> None:
        """Start nothing more."""
        self.admission.closed = Wait(reason)
        self._woken.set()

    def leave(self) -> None:
        """End the loop after the turn that is under way; runs go on."""
        self._leaving = True
        self._woken.set()

    # -- the loop ---------------------------------------------------------------------------------------------------

    async def begin(self, version: str, pid: int) -> None:
        """Take the pool over: what an earlier supervisor left goes on.

        Holds that a person may have ended meanwhile (a login, a command that is there now) are lifted.
        """
        holds = [hold for hold in (ev.Hold.AUTH, ev.Hold.AGENT, ev.Hold.DISK) if hold in self.board.holds]
        await self._commit([ev.PoolStarted(version, pid), *(ev.PoolReleased(hold) for hold in holds)])
        await self._adopt()

    async def end(self, how: str) -> None:
        """Give the pool up, with everything written that makes the next start short."""
        try:
            await self._commit([ev.PoolStopped(how)])
            self.write_taskboard()
            if not self.views.is_behind:
                await self.write_snapshot()
        except (JournalError, OSError) as error:
            self._hold_for_disk(error)

    async def run(self) -> None:
        """Serve the pool until `leave`, or until nothing lives after `close_admission`.

        Raises:
            AgentpoolError: the pool cannot be served any more, e.g. because its directory is gone.
        """
        while not self._is_over():
            self._woken.clear()
            await self._turn()
            if self._is_over():
                break
            timeout = max(0.0, self._next_moment() - self._clock())
            try:
                async with asyncio.timeout(timeout):
                    await self._woken.wait()
            except TimeoutError:
                continue

    async def close(self) -> None:
        """Give everything back; runs that live go on."""
        await self.runner.leave()
        self._watch.close()
        self.views.close()

    def _is_over(self) -> bool:
        return self._leaving or (self.admission.closed is not None and not self.runner.living)

    async def _turn(self) -> None:
        now = self._clock()
        try:
            if self._disk is not None and not await self._try_disk(now):
                return
            sweep = now >= self._next_sweep
            if sweep:
                await self._sweep(now)
            await self._take_requests()
            await self._take_drops(everything=sweep)
            await self._settle_runs()
            await self._settle_due()
            await self._start_runs()
            await self._tidy()
        except (JournalError, OSError) as error:
            self._hold_for_disk(error)

    def _next_moment(self) -> float:
        now = self._clock()
        if self._disk is not None:
            return self._next_disk_try
        moments = [self._next_sweep]
        if self.intake.again:
            moments.append(now + 0.25)
        if self._taskboard_seq != self.board.seq:
            moments.append(self._taskboard_due)
        later = self.board.ready.due(now)
        moments += [moment for moment in (later, self.board.next_expiry()) if moment is not None]
        return min(moments)

    async def _commit(self, happened: Sequence[ev.Event]) -> list[ev.Entry]:
        entries = await self.ledger.commit(happened, self._clock())
        for entry in entries:
            self.views.queue(entry)
            log.debug("%s", entry.event.name, extra={"action": entry.event.name})
        self._show()
        return entries

    def _show(self) -> None:
        """Do the effects of what is durable; where the disk refuses them, they stay pending and the pool is held."""
        try:
            self.views.catch_up()
        except OSError as error:
            self._hold_for_disk(error)

    def _hold_for_disk(self, error: Exception) -> None:
        if self._disk is None:
            self._disk_since = self._clock()
        self._disk = str(error)
        self._next_disk_try = self._clock() + _DISK_PAUSE
        log.error("the pool is held: %s", error, extra={"action": "pool.held"})

    def _wake_from_thread(self) -> None:
        self._loop.call_soon_threadsafe(self._woken.set)

    async def _sweep(self, now: float) -> None:
        self._next_sweep = now + self.settings.configuration.pool.sweep
        await self.ledger.restore_deleted()
        changed = self.settings.reload()
        if self.settings.refresh_experts() or changed:
            log.info("the configuration changed", extra={"action": "configuration.changed"})
        ensure_directories(self._layout, self.settings.experts, self.settings.configuration.shared.include)
        self.intake.watch_directories()
        await self._commit([*self._holds_to_release(now, changed=changed), *self._notices(now)])

    def _holds_to_release(self, now: float, *, changed: bool) -> list[ev.Event]:
        released: list[ev.Event] = []
        for hold, state in self.board.holds.items():
            over = state.until is not None and state.until <= now
            if hold is ev.Hold.BUDGET:
                over = over or not self.admission.budget_is_spent(now)
            elif hold in (ev.Hold.AGENT, ev.Hold.AUTH):
                over = over or changed
            if over:
                released.append(ev.PoolReleased(hold))
        return released

    def _notices(self, now: float) -> list[ev.Event]:
        """What a person must be told: ids that tasks wait for and that do not come."""
        notices: list[ev.Event] = []
        for awaited, since in self.board.graph.placeholders.items():
            key = f"placeholder:{awaited}"
            if now - since < _PLACEHOLDER_SECONDS or key in self.board.told:
                continue
            waiting = ", ".join(self.board.graph.dependants(awaited))
            body = (
                f"{waiting} waits for {awaited}, which has not arrived for a day.\n\nSend it, or: agentpool cancel ID"
            )
            notices.append(ev.NoticeSent(key, _notice(f"missing-{awaited}", body, now)))
        return notices

    async def _take_requests(self) -> None:
        while self._requests:
            await self._requests.popleft()()

    async def _take_drops(self, *, everything: bool) -> None:
        """One batch a turn, so that a burst of drops does not keep runs from being settled and started."""
        self.intake.look(everything=everything)
        batch = self.intake.batch(self._clock())
        events = [arrival.event for arrival in batch if arrival.event is not None]
        entries = iter(await self.ledger.commit(events, self._clock()))
        for arrival in batch:
            if arrival.event is None:
                self.views.put_away(arrival.found, arrival.mail_id, self._clock())
            else:
                self.views.queue(next(entries), arrival.found)
        self._show()
        if self.intake.more:
            self._woken.set()

    async def _settle_runs(self) -> None:
        for living in self.runner.ended():
            task, report = self.board.tasks[living.task], living.report
            assert report is not None  # noqa: S101 - `ended` names only those
            directory = self._layout.run_directory(living.run)
            event, verdict = settle_run(task, living.run, report, directory, self.board, self.settings, self._clock())
            happened: list[ev.Event] = [event]
            if verdict.hold is not None and verdict.hold not in self.board.holds:
                until = report.retry_at or self._clock() + _HOLD_SECONDS[verdict.hold]
                happened.append(ev.PoolHeld(verdict.hold, report.text, until))
            await self._commit(happened)
            self.runner.forget(task.id)

    async def _settle_due(self) -> None:
        now = self._clock()
        for task in self.board.expired(now):
            response = settle_due(task, ev.Step.FAILED, "expired", None, self.settings.mailboxes, now)
            await self._commit([ev.TaskSettled(task.id, ev.Step.FAILED, response, FailureKind.EXPIRED, "expired")])
        while self.board.due:
            events: list[ev.Event] = []
            for task_id, due in self.board.due.items():
                answer = self.ledger.mail(due.answer) if due.answer else None
                task = self.board.tasks[task_id]
                response = settle_due(task, due.step, due.reason, answer, self.settings.mailboxes, now)
                events.append(ev.TaskSettled(task_id, due.step, response, due.failure, due.reason))
            await self._commit(events)

    async def _start_runs(self) -> None:
        for task in self.board.running():
            if task.cancel_requested:
                self.runner.stop(task.id)
        now = self._clock()
        spawned: list[ev.Event] = []
        while (ready := self.admission.next(now)) is not None:
            number = ready.starts + 1
            notes = tuple(self.board.notes.get(ready.to, ()))
            usd = self.settings.configuration.settings_for(ready.to).run_usd
            starting = ev.RunStarting(f"{ready.id}.{number}", ready.id, number, ready.purpose, notes, usd)
            await self._commit([starting])
            spawned += self._spawn(ready)
        await self._commit(spawned)
        if self.admission.budget_is_spent(now) and ev.Hold.BUDGET not in self.board.holds and self.board.tasks:
            spent = self.board.spending.on(now)
            reason = f"${spent:.2f} of today's ${self.settings.configuration.budget.day_usd:.2f} are spent"
            await self._commit([ev.PoolHeld(ev.Hold.BUDGET, reason, next_day(now))])

    def _spawn(self, task: Task) -> list[ev.Event]:
        """Start the process of the run that a task is in; one that cannot start is settled in the next turn."""
        run = task.run or ""
        try:
            mail = self.ledger.mail(task.id)
            if mail is None:
                raise JournalError(f"the text of {task.id} is not in the journal", tip="agentpool doctor")
            prompt = brief(task, mail, self.ledger, self._layout, self.settings)
            process = self.runner.start(task, prompt)
        except (AgentpoolError, OSError) as error:
            log.error("run %s cannot start: %s", run, error, extra={"action": "run.refused"})  # noqa: TRY400 - as above
            ended_by = EndedBy.VANISHED if isinstance(error, JournalError) else EndedBy.NEVER_STARTED
            self.runner.give_up(task, str(error), ended_by)
            return []
        identity = process.identity
        if identity is None:
            return []
        sizes = tuple(ev.SectionSize(name, size.bytes, size.cut_bytes) for name, size in prompt.sizes.items())
        return [ev.RunStarted(run, task.id, identity.pid, identity.started, identity.boot, sizes)]

    async def _adopt(self) -> None:
        """Go on with the runs of an earlier supervisor; those that never began are started."""
        happened: list[ev.Event] = []
        for task in self.board.running():
            living = self.runner.adopt(task)
            if living is None:
                happened += self._spawn(task)
            elif living.process is not None:
                pid = living.process.identity.pid if living.process.identity is not None else None
                happened.append(ev.RunAdopted(living.run, task.id, pid))
        await self._commit(happened)

    async def _tidy(self) -> None:
        """What may be late: the snapshot and the readable view of the board."""
        now = self._clock()
        if self.ledger.snapshot_is_due() and not self.views.is_behind:
            await self.write_snapshot()
        if self._taskboard_seq != self.board.seq and now >= self._taskboard_due:
            self.write_taskboard()

    async def write_snapshot(self) -> None:
        """Make the next start short."""
        await self.ledger.write_snapshot(self._clock() - self.settings.configuration.pool.retention)

    def write_taskboard(self) -> None:
        """Rewrite `taskboard.json`; the next writing waits in proportion to what this one cost."""
        began = time.monotonic()
        self._taskboard_seq = self.board.seq
        taskboard.write(self._layout.taskboard, self.board)
        self._taskboard_due = self._clock() + max(_TASKBOARD_SECONDS, 50 * (time.monotonic() - began))

    async def _try_disk(self, now: float) -> bool:
        """Whether the disk that refused takes writes again; the hold then stands in the journal, with its end.

        Whoever asks for something meanwhile is told at once: the commit of the request fails.

        Raises:
            JournalError: it still refuses.
            OSError: as above.
        """
        if now < self._next_disk_try:
            await self._take_requests()
            return False
        self.views.catch_up()
        held = ev.PoolHeld(ev.Hold.DISK, self._disk or "")
        await self.ledger.commit([held, ev.PoolReleased(ev.Hold.DISK)], now)
        self._disk = None
        return True

    def _on_progress(self, living: LivingRun) -> None:
        for listener in tuple(self._progress_listeners):
            listener(living)


def _notice(notice_id: str, body: str, now: float) -> Mail:
    return Mail(notice_id, HUMAN, MailType.NOTIFY, SUPERVISOR, timestamp=iso(now), body=body)
