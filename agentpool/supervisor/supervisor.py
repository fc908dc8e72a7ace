"""The loop: accept what was dropped, settle what has ended, start what is ready.

Every decision is made here, one after the other, on a board that stands still meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from itertools import zip_longest
from typing import TYPE_CHECKING, TypeAlias

from agentpool.model import events as ev
from agentpool.model.errors import AgentpoolError, JournalError
from agentpool.model.run import FailureKind
from agentpool.model.spending import next_day
from agentpool.supervisor.admission import Admission, Wait
from agentpool.supervisor.disk import DiskHold, is_refusal
from agentpool.supervisor.intake import Intake
from agentpool.supervisor.launch import Launch
from agentpool.supervisor.runner import LivingRun, Runner
from agentpool.supervisor.settling import has_outbox, response_without_run, settle_run
from agentpool.supervisor.upkeep import Upkeep
from agentpool.supervisor.views import Views
from agentpool.supervisor.watch import Hints, start_watch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentpool.model.board import HoldState
    from agentpool.model.task import Task
    from agentpool.pool.dropbox import Found
    from agentpool.pool.layout import Layout
    from agentpool.supervisor.intake import Arrival
    from agentpool.supervisor.ledger import Ledger
    from agentpool.supervisor.settings import Settings

log = logging.getLogger(__name__)

#: A decision that somebody asked for: made inside the loop, since only there the board stands still.
Request: TypeAlias = Callable[[], Awaitable[None]]

#: Seconds for which the pool is held when nothing says for how long.
_HOLD_SECONDS = {ev.Hold.LIMIT: 300.0, ev.Hold.AUTH: 600.0, ev.Hold.AGENT: 60.0}
#: No usage limit is longer than a week; what an API says beyond is an error of somebody's.
_LONGEST_HOLD = 8 * 86_400.0
#: Seconds after which a drop that was too young is looked at again.
_YOUNG_SECONDS = 0.25


class Supervisor:
    """Serves one pool.

    Args:
        clock: seconds since the epoch.

    Attributes:
        settings, ledger, board, views, intake, admission, runner: its parts; others only read from them.
        since: when it began, seconds since the epoch.
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
        self._disk = DiskHold()
        self._progress_listeners: list[Callable[[LivingRun], None]] = []
        self._leaving = False
        self._stopping_runs = False
        self.settings = settings
        self.ledger = ledger
        self.board = ledger.board
        self.views = Views(layout, ledger)
        self.intake = Intake(layout, settings, self.board, self._watch, self._hints)
        self.admission = Admission(settings, self.board, self.holds)
        self.runner = Runner(layout, settings, ended=self._woken.set, progress=self._on_progress)
        self._launch = Launch(layout, settings, ledger, self.runner)
        self._upkeep = Upkeep(layout, settings, ledger, self.intake, self.admission)
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
        if self.intake.missed:
            found.append(
                f"{self.intake.missed} drops were found by the sweep alone: no events come from this file system"
            )
        found += self.views.problems.values()
        found += [living.stuck for living in self.runner.living.values() if living.stuck is not None]
        return found

    def holds(self) -> dict[ev.Hold, HoldState]:
        """Why nothing is started, in the journal or because it cannot be written."""
        held = self._disk.state
        return self.board.holds if held is None else {**self.board.holds, ev.Hold.DISK: held}

    def wake(self) -> None:
        """Have the loop look around now."""
        self._woken.set()

    def close_admission(self, reason: str) -> None:
        """Start nothing more."""
        self.admission.closed = Wait(reason)
        self._woken.set()

    def stop_runs(self) -> None:
        """Have the stop ladder run on every run, and start nothing more."""
        self._stopping_runs = True
        for task_id in list(self.runner.living):
            self.runner.stop(task_id)
        self._woken.set()

    def leave(self) -> None:
        """End the loop after the turn that is under way; runs go on."""
        self._leaving = True
        self._woken.set()

    # -- the loop ---------------------------------------------------------------------------------------------------

    def redo(self, entries: Sequence[ev.Entry]) -> None:
        """Do what an earlier supervisor may not have got to after these entries were durable."""
        for entry in entries:
            self.views.queue(entry, redo=True)
        self._show()
        try:
            self.views.return_what_was_taken()
            self.views.remove_leftovers()
        except OSError as error:
            self._disk.begin(error, self._clock())

    async def begin(self, version: str, pid: int) -> None:
        """Take the pool over: what an earlier supervisor left goes on.

        Holds that a person may have ended meanwhile (a login, a command that is there now) are lifted.
        """
        holds = [hold for hold in (ev.Hold.AUTH, ev.Hold.AGENT, ev.Hold.DISK) if hold in self.board.holds]
        await self._commit([ev.PoolStarted(version, pid), *(ev.PoolReleased(hold) for hold in holds)])
        await self._commit(self._launch.adopt())

    async def end(self, how: str) -> None:
        """Give the pool up, with everything written that makes the next start short."""
        try:
            await self._commit([ev.PoolStopped(how)])
            self._upkeep.write_taskboard()
            if not self.views.is_behind:
                await self._upkeep.write_snapshot(self._clock())
        except (JournalError, OSError) as error:
            self._disk.begin(error, self._clock())

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
            timeout = max(0.0, self._pause())
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
        if self._leaving or self.admission.closed is None:
            return self._leaving
        # What has ended and cannot be settled on a disk that refuses, the next supervisor settles.
        return not self.runner.living or (self._disk.state is not None and not self.runner.alive())

    async def _turn(self) -> None:
        now = self._clock()
        try:
            if self._disk.state is not None and not await self._try_disk(now):
                return
            sweep = self._upkeep.is_sweep_due()
            if sweep:
                await self._commit(await self._upkeep.sweep(now))
                self.views.try_again()
            await self._take_requests()
            await self._take_drops(everything=sweep)
            await self._settle_runs()
            await self._settle_due()
            await self._start_runs()
            await self._upkeep.tidy(self._clock(), shown=not self.views.is_behind)
        except JournalError as error:
            self._disk.begin(error, self._clock())
        except OSError as error:
            if not is_refusal(error):
                raise
            self._disk.begin(error, self._clock())

    def _pause(self) -> float:
        """Seconds until there is something to do that nothing wakes the loop for."""
        if self._disk.state is not None:
            return self._disk.next_try - time.monotonic()
        pauses = [self._upkeep.pause(), *([_YOUNG_SECONDS] if self.intake.again else [])]
        now = self._clock()
        moments = (self.board.ready.due(now), self.board.next_expiry())
        return min([*pauses, *(moment - now for moment in moments if moment is not None)])

    async def _commit(self, happened: Sequence[ev.Event], drops: Sequence[Found] = ()) -> list[ev.Entry]:
        """Make events durable, then show them; `drops` are those that they decided on, where they did."""
        entries = await self.ledger.commit(happened, self._clock())
        for entry, found in zip_longest(entries, drops):
            self.views.queue(entry, found)
            log.debug("%s %s", entry.event.name, ev.subject(entry.event), extra={"action": entry.event.name})
        self._show()
        return entries

    def _show(self) -> None:
        """Do the effects of what is durable; where the disk refuses them, they stay pending and the pool is held."""
        try:
            self.views.catch_up()
        except OSError as error:
            self._disk.begin(error, self._clock())

    def _wake_from_thread(self) -> None:
        self._loop.call_soon_threadsafe(self._woken.set)

    async def _take_requests(self) -> None:
        while self._requests:
            await self._requests.popleft()()

    async def _take_drops(self, *, everything: bool) -> None:
        """One batch a turn, so that a burst of drops does not keep runs from being settled and started."""
        self.intake.look(self._clock(), everything=everything)
        batch = self.intake.batch(self._clock())
        decided = [(arrival.event, arrival.found) for arrival in batch if arrival.event is not None]
        await self._commit([event for event, _ in decided], [found for _, found in decided])
        for arrival in batch:
            if arrival.event is None:
                self._put_away(arrival)
        if self.intake.more:
            self._woken.set()

    def _put_away(self, arrival: Arrival) -> None:
        try:
            self.views.put_away(arrival.found, arrival.mail_id, self._clock())
        except OSError as error:
            if is_refusal(error):
                raise
            self.intake.problems[arrival.found.path] = f"it cannot be moved away: {error.strerror}"

    async def _settle_runs(self) -> None:
        """All that have ended at once; but what one run sends may meet what another sends, so those go one by one."""
        settled: list[LivingRun] = []
        events: list[ev.Event] = []
        for living in self.runner.ended():
            if events and self._may_send(living):
                await self._settle(settled, events)
                settled, events = [], []
            events += self._end(living, events)
            settled.append(living)
            if self._may_send(living):
                await self._settle(settled, events)
                settled, events = [], []
        await self._settle(settled, events)

    async def _settle(self, settled: Sequence[LivingRun], events: Sequence[ev.Event]) -> None:
        await self._commit(events)
        for living in settled:
            self.runner.forget(living.task)

    def _may_send(self, living: LivingRun) -> bool:
        return has_outbox(self._layout, living.run)

    def _end(self, living: LivingRun, others: Sequence[ev.Event]) -> list[ev.Event]:
        """What the end of a run comes to; `others` are events that are not durable yet."""
        task, report = self.board.tasks[living.task], living.report
        assert report is not None  # noqa: S101 - only runs that are over come here
        event, verdict = settle_run(task, living.run, report, self._layout, self.board, self.settings, self._clock())
        held = {*self.board.holds, *(other.hold for other in others if isinstance(other, ev.PoolHeld))}
        if verdict.hold is None or verdict.hold in held:
            return [event]
        return [event, ev.PoolHeld(verdict.hold, report.text, self._end_of(verdict.hold, report.retry_at))]

    def _end_of(self, hold: ev.Hold, retry_at: float | None) -> float:
        """When a hold ends. Reset times were seen to lie in the past, and nothing is believed that lies far off."""
        now = self._clock()
        if retry_at is None or retry_at > now + _LONGEST_HOLD:
            return now + _HOLD_SECONDS[hold]
        return max(retry_at, now + self.settings.configuration.runs.retry_first)

    async def _settle_due(self) -> None:
        now = self._clock()
        for task in self.board.expired(now):
            response = response_without_run(task, ev.Step.FAILED, "expired", None, self.settings.mailboxes, now)
            await self._commit([ev.TaskSettled(task.id, ev.Step.FAILED, response, FailureKind.EXPIRED, "expired")])
        while self.board.due:
            events: list[ev.Event] = []
            for task_id, due in self.board.due.items():
                answer = self.ledger.mail(due.answer) if due.answer else None
                task = self.board.tasks[task_id]
                response = response_without_run(task, due.step, due.reason, answer, self.settings.mailboxes, now)
                events.append(ev.TaskSettled(task_id, due.step, response, due.failure, due.reason))
            await self._commit(events)

    async def _start_runs(self) -> None:
        now = self._clock()
        starting: list[Task] = []
        while (ready := self.admission.next(now, starting)) is not None:
            starting.append(ready)
        await self._commit([self._launch.announce(task) for task in starting])
        spawned = [event for task in starting for event in self._launch.spawn(task)]
        # After the starts: a stop may have come while one of them was made durable.
        for task in self.board.running():
            if task.cancel_requested or self._stopping_runs:
                self.runner.stop(task.id)
        await self._commit(spawned)
        if self.admission.budget_is_spent(now) and ev.Hold.BUDGET not in self.board.holds and self.board.tasks:
            spent = self.board.spending.on(now)
            reason = f"${spent:.2f} of today's ${self.settings.configuration.budget.day_usd:.2f} are spent"
            await self._commit([ev.PoolHeld(ev.Hold.BUDGET, reason, next_day(now))])

    async def _try_disk(self, now: float) -> bool:
        """Whether the disk that refused takes writes again; the hold then stands in the journal, with its end.

        Whoever asks for something meanwhile is told at once: the commit of the request fails.

        Raises:
            JournalError: it still refuses.
            OSError: as above.
        """
        held = self._disk.state
        if held is None or time.monotonic() < self._disk.next_try:
            await self._take_requests()
            return held is None
        self.views.catch_up()
        await self.ledger.commit([ev.PoolHeld(ev.Hold.DISK, held.reason), ev.PoolReleased(ev.Hold.DISK)], now)
        self._disk.end()
        return True

    def _on_progress(self, living: LivingRun) -> None:
        for listener in tuple(self._progress_listeners):
            listener(living)
