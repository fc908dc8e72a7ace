"""The board: the graph of tasks, and the state of each, as the fold of the journal.

A task counts what it still waits for, so a transition touches only its neighbours in the graph. Settled tasks leave the
graph and resolve from an index. `apply` changes the board in place; it reads no clock, no file and no process.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush
from typing import TYPE_CHECKING, TypeGuard

from agentpool.model import events as ev
from agentpool.model.errors import IllegalTransitionError
from agentpool.model.graph import WaitGraph
from agentpool.model.mail import MailType, Status
from agentpool.model.names import PEOPLE
from agentpool.model.ready import ReadyQueue
from agentpool.model.run import FailureKind
from agentpool.model.spending import Spending
from agentpool.model.task import TRANSITIONS, Settled, Task, TaskState, task_from_mail

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agentpool.model.mail import Mail

#: Settled tasks that stay on the board in full, for those who look at it.
RECENT = 500


@dataclass(frozen=True, slots=True)
class Due:
    """Why an open task is to be settled without a run.

    Args:
        answer: the id of the mail that answers it, where a person did.
        origin: the id whose failure or cancellation is passed on.
    """

    step: ev.Step
    failure: FailureKind | None = None
    reason: str = ""
    answer: str | None = None
    origin: str | None = None


@dataclass(frozen=True, slots=True)
class HoldState:
    """A hold of the whole pool; times in seconds since the epoch."""

    reason: str
    since: float
    until: float | None = None


class Board:
    """All tasks of a pool and what they wait for.

    Attributes:
        seq: the number of the last event that was applied.
        tasks: the open tasks.
        recent: the last settled ones in full, oldest first.
        settled: the index of all settled ones that are remembered, oldest first.
        due: open tasks that are to be settled without a run; the supervisor does so.
        graph: who waits for whom.
        notes: mail that waits in each mailbox for the next run to take it along.
        holds: why the whole pool starts nothing.
        told: keys of what a person was told, so that it is said once.
        fingerprints: of every drop that is remembered.
    """

    def __init__(self) -> None:
        self.seq = 0
        self.tasks: dict[str, Task] = {}
        self.recent: dict[str, Task] = {}
        self.settled: dict[str, Settled] = {}
        self.due: dict[str, Due] = {}
        self.graph = WaitGraph()
        self.notes: dict[str, list[str]] = {}
        self.holds: dict[ev.Hold, HoldState] = {}
        self.told: set[str] = set()
        self.fingerprints: dict[str, str] = {}
        self.other_mail: dict[str, float] = {}
        self.spending = Spending()
        self.ready = ReadyQueue(self.tasks)
        self._expiries: list[tuple[float, str]] = []
        self._running: dict[str, None] = {}

    # -- what can be asked ------------------------------------------------------------------------------------------

    def knows(self, mail_id: str) -> bool:
        """Whether the id is taken."""
        return mail_id in self.tasks or mail_id in self.settled or mail_id in self.other_mail

    def find(self, task_id: str) -> Task | None:
        """The task, open or among the recent ones."""
        return self.tasks.get(task_id) or self.recent.get(task_id)

    def descendants(self, task_id: str) -> Iterator[str]:
        """The open tasks that were sent on behalf of this one, at any depth, also by way of tasks that are over."""
        stack, seen = [task_id], {task_id}
        while stack:
            parent = self.find(stack.pop())
            for child in parent.children if parent else ():
                if child not in seen:
                    seen.add(child)
                    stack.append(child)
                    if child in self.tasks:
                        yield child

    def retry_cycle(self, mail: Mail) -> list[str] | None:
        """The cycle that trying a settled task again would close: its parent may wait for it once more."""
        parent = self._delegating_parent(mail)
        return self.graph.cycle({mail.id: mail.awaited}, parent=parent.id if parent else None)

    def running(self) -> list[Task]:
        """The tasks that have a run which has not settled, the oldest run first."""
        tasks = [self.tasks[task_id] for task_id in self._running]
        return sorted(tasks, key=lambda task: (task.started or 0.0, task.order, task.place))

    def expired(self, now: float) -> list[Task]:
        """Open tasks that were never started and whose time is over; named until they are settled."""
        result = []
        while self._expiries and self._expiries[0][0] <= now:
            task = self.tasks.get(heappop(self._expiries)[1])
            if task is not None and not task.starts and task.expires is not None and task.expires <= now:
                result.append(task)
        for task in result:
            heappush(self._expiries, (task.expires or now, task.id))
        return result

    def holds_older(self, before: float) -> bool:
        """Whether something was settled before a moment and is still remembered."""
        oldest = next(iter(self.settled.values()), None)
        return oldest is not None and oldest.ended < before

    def next_expiry(self) -> float | None:
        """When the next task may expire, in seconds since the epoch."""
        return self._expiries[0][0] if self._expiries else None

    # -- what happens -----------------------------------------------------------------------------------------------

    def apply(self, entry: ev.Entry) -> None:
        """Fold one event into the board.

        Raises:
            IllegalTransitionError: the event asks for a step that the table has no row for; nothing was changed.
        """
        event, at = entry.event, entry.at
        match event:
            case ev.MailAccepted():
                self._accept(event.mail, at, entry.seq, event.fingerprint)
            case ev.RunStarting():
                self._start(event, at)
            case ev.RunStarted():
                self._open(event.task).process = event
            case ev.RunSettled():
                self._settle_run(event, entry)
            case ev.TaskSettled():
                self._settle_without_run(event, at)
                self._deliver(event.response)
            case ev.CancelRequested():
                self._request_cancel(event.task, tree=event.tree)
            case ev.TaskRetried():
                self._reopen(event.mail, at, entry.seq)
            case ev.MailRefused():
                if event.answer is not None:
                    self._take_note(event.answer, at)
            case ev.NoticeSent():
                self.told.add(event.key)
                self._take_note(event.mail, at)
            case ev.HistoryForgotten():
                self._forget(event.before)
            case ev.PoolHeld():
                self.holds[event.hold] = HoldState(event.reason, at, event.until)
            case ev.PoolReleased():
                self.holds.pop(event.hold, None)
            case (
                ev.PoolStarted() | ev.PoolStopped() | ev.MailRead() | ev.RunAdopted()
            ):  # pragma: no branch - there is no other
                pass
        self.seq = entry.seq

    def restore(self, task: Task, awaited: Iterable[str]) -> None:
        """Put an open task back that a snapshot held."""
        self.tasks[task.id] = task
        self.graph.add(task.id)
        for node in awaited:
            self.graph.wait(task.id, node)
        if task.state is TaskState.RUNNING:
            self._running[task.id] = None
        elif task.state is TaskState.READY:
            self.ready.push(task)
        if task.expires is not None and not task.starts:
            heappush(self._expiries, (task.expires, task.id))

    def _accept(self, mail: Mail, at: float, seq: int, fingerprint: str = "", place: int = 0) -> None:
        if self.knows(mail.id):
            raise IllegalTransitionError(f"the id {mail.id} is taken")
        if fingerprint:
            self.fingerprints[fingerprint] = mail.id
        if mail.type.is_work:
            self._add(task_from_mail(mail, order=seq, at=at, place=place, fingerprint=fingerprint), at)
            return
        if mail.type is MailType.CANCEL and mail.cancels is not None:
            self._request_cancel(mail.cancels, tree=False)
        elif mail.type is MailType.RESPONSE and self._is_answerable(mail.in_reply_to):
            self._answer(self.tasks[mail.in_reply_to], mail)
        else:
            self._take_note(mail, at)
            return
        self._is_no_task(mail, at)

    def _add(self, task: Task, at: float) -> None:
        self.tasks[task.id] = task
        self.graph.add(task.id)
        for awaited in dict.fromkeys(task.depends_on + task.inputs):
            self._await(task, awaited, at)
        task.state = TaskState.BLOCKED
        if task.expires is not None:
            heappush(self._expiries, (task.expires, task.id))
        if not task.waits and task.id not in self.due:
            self._make_ready(task)

    def _await(self, task: Task, awaited: str, at: float) -> None:
        settled = self.settled.get(awaited)
        if settled is not None:
            if settled.state is not TaskState.DONE:
                self._pass_on(task, f"it waits for {awaited}, which {_ENDED[settled.state]}", settled.origin or awaited)
            return
        if awaited in self.other_mail:
            self._pass_on(task, f"it waits for {awaited}, which is no task", awaited)
            return
        if awaited not in self.tasks:
            self.graph.expect(awaited, at)
        self.graph.wait(task.id, awaited)
        task.waits += 1

    def _pass_on(self, task: Task, reason: str, origin: str) -> None:
        task.origin = origin
        self.due.setdefault(task.id, Due(ev.Step.FAILED, FailureKind.DEPENDENCY, reason, origin=origin))

    def _make_ready(self, task: Task) -> None:
        self._move(task, TaskState.READY)
        self.ready.push(task)

    def _start(self, event: ev.RunStarting, at: float) -> None:
        task = self._open(event.task)
        if event.number != task.starts + 1:
            raise IllegalTransitionError(f"run {event.run} is number {event.number} of a task that had {task.starts}")
        if task.cancel_requested or task.id in self.due:
            raise IllegalTransitionError(f"task {task.id} is to be settled, not started")
        self._move(task, TaskState.RUNNING)
        self._running[task.id] = None
        task.run, task.purpose, task.starts = event.run, event.purpose, event.number
        task.process = None
        task.started, task.not_before, task.reserved_usd = at, 0.0, event.reserved_usd
        if event.purpose is ev.Purpose.ATTEMPT:
            task.attempt += 1
        else:
            task.continuations += 1
        if event.notes:
            task.notes += event.notes
            taken = set(event.notes)
            self.notes[task.to] = [note for note in self.notes.get(task.to, ()) if note not in taken]

    def _settle_run(self, event: ev.RunSettled, entry: ev.Entry) -> None:
        task = self._open(event.task)
        if task.state is not TaskState.RUNNING or task.run != event.run:
            raise IllegalTransitionError(f"run {event.run} is not the one that task {task.id} has")
        self._check_outbox(event)
        usd = event.report.usage.cost_usd
        # A run that was killed has told nobody what it spent: then its ceiling counts, or crashes would cost nothing.
        untold = event.report.has_output and not event.report.has_result
        self.spending.add(entry.at, max(usd, task.reserved_usd) if untold else usd)
        task.cost_usd += usd
        task.run, task.reserved_usd = None, 0.0
        del self._running[task.id]
        for place, mail in enumerate(event.outbox):
            self._accept(mail, entry.at, entry.seq, place=place)
        if event.step.settles:
            self._settle(task, event.step, event.failure, event.reason, entry.at)
        elif event.step is ev.Step.DELEGATE:
            self._delegate(task, event.outbox)
        else:
            self._try_again(task, event, entry.at)
        if event.response is not None:
            self._deliver(event.response)
        if task.cancel_requested and not task.state.is_settled:
            self.due.setdefault(task.id, Due(ev.Step.CANCELLED, reason="cancelled"))

    def _check_outbox(self, event: ev.RunSettled) -> None:
        seen: set[str] = set()
        for mail in event.outbox:
            if mail.id in seen or self.knows(mail.id):
                raise IllegalTransitionError(f"the id {mail.id} is taken")
            seen.add(mail.id)
        if event.step is ev.Step.DELEGATE and not any(mail.type.is_work for mail in event.outbox):
            raise IllegalTransitionError(f"task {event.task} cannot wait for tasks: run {event.run} sent none")

    def _delegate(self, task: Task, outbox: Iterable[Mail]) -> None:
        self._move(task, TaskState.DELEGATED)
        task.reason, task.failure, task.first_failure = "", None, None
        for mail in outbox:
            if mail.type.is_work:
                task.children.append(mail.id)
                self._wait_for_child(task, mail.id)

    def _wait_for_child(self, parent: Task, child: str) -> None:
        self.graph.wait(parent.id, child)
        parent.waits += 1

    def _try_again(self, task: Task, event: ev.RunSettled, at: float) -> None:
        task.reason, task.failure, task.not_before = event.reason, event.failure, event.not_before or 0.0
        if event.step is ev.Step.RELEASE:
            if task.purpose is ev.Purpose.ATTEMPT:
                task.attempt -= 1
            else:
                task.continuations -= 1
        else:
            task.purpose = ev.Purpose.ATTEMPT
            task.first_failure = (task.first_failure or at) if event.failure is FailureKind.TRANSIENT else None
        self._make_ready(task)

    def _settle_without_run(self, event: ev.TaskSettled, at: float) -> None:
        task = self._open(event.task)
        if task.state is TaskState.RUNNING:
            raise IllegalTransitionError(f"task {task.id} cannot be settled: run {task.run} works on it")
        if not event.step.settles:
            raise IllegalTransitionError(f"task {task.id} cannot be settled by the step {event.step}")
        self._settle(task, event.step, event.failure, event.reason, at)

    def _settle(self, task: Task, step: ev.Step, failure: FailureKind | None, reason: str, at: float) -> None:
        state = TaskState(step.value)
        due = self.due.get(task.id)
        self._move(task, state)
        task.ended, task.failure, task.reason = at, failure, reason
        self.due.pop(task.id, None)
        self._running.pop(task.id, None)
        del self.tasks[task.id]
        self.settled[task.id] = Settled(
            state, at, task.settlement, task.starts, task.fingerprint, due.origin if due else None
        )
        self.recent[task.id] = task
        if len(self.recent) > RECENT:
            del self.recent[next(iter(self.recent))]
        origin = (due.origin if due else None) or task.id
        for waiting in self.graph.leave(task.id):
            self._satisfied(self.tasks[waiting], task.id, state, origin)

    def _satisfied(self, task: Task, by: str, state: TaskState, origin: str) -> None:
        task.waits -= 1
        if task.state is TaskState.DELEGATED:
            if not task.waits and task.id not in self.due:
                task.purpose = ev.Purpose.CONTINUATION
                self._make_ready(task)
        elif state is not TaskState.DONE:
            self._pass_on(task, f"it waits for {by}, which {_ENDED[state]}", origin)
        elif not task.waits and task.state is TaskState.BLOCKED and task.id not in self.due:
            self._make_ready(task)

    def _request_cancel(self, task_id: str, *, tree: bool) -> None:
        meant = [task_id, *(self.descendants(task_id) if tree else ())]
        for each in meant:
            task = self.tasks.get(each)
            if task is None or task.cancel_requested:
                continue
            task.cancel_requested = True
            if task.state is not TaskState.RUNNING:
                self.due.setdefault(each, Due(ev.Step.CANCELLED, reason="cancelled"))

    def _is_answerable(self, task_id: str | None) -> TypeGuard[str]:
        """A task that a run works on is settled by that run; a person's word on it waits for the next one."""
        task = self.tasks.get(task_id or "")
        return task is not None and task.state is not TaskState.RUNNING

    def _answer(self, task: Task, mail: Mail) -> None:
        """A person's answer settles a task that no run works on."""
        step = ev.Step.DONE if mail.status in (None, Status.DONE) else ev.Step.FAILED
        failure = None if step is ev.Step.DONE else FailureKind.AGENT
        self.due.setdefault(task.id, Due(step, failure, reason=mail.subject, answer=mail.id))

    def _take_note(self, mail: Mail, at: float) -> None:
        if mail.to not in PEOPLE:
            self.notes.setdefault(mail.to, []).append(mail.id)
        self._is_no_task(mail, at)

    def _is_no_task(self, mail: Mail, at: float) -> None:
        """The id is taken from now on; a task that waited for it would wait for ever."""
        if self.knows(mail.id):
            return
        self.other_mail[mail.id] = at
        for task_id in self.graph.leave(mail.id):
            task = self.tasks[task_id]
            task.waits -= 1
            self._pass_on(task, f"it waits for {mail.id}, which is no task but a {mail.type}", mail.id)

    def _deliver(self, response: Mail) -> None:
        """A parent reads it as an input of its next run; who has none, or is in its last, gets it as a note."""
        parent = self.tasks.get(response.parent or "")
        if (parent is None or parent.state is TaskState.RUNNING) and response.to not in PEOPLE:
            self.notes.setdefault(response.to, []).append(response.id)

    def _reopen(self, mail: Mail, at: float, seq: int) -> None:
        settled = self.settled.get(mail.id)
        if settled is None or settled.state is TaskState.DONE:
            raise IllegalTransitionError(f"task {mail.id} has not failed and was not cancelled")
        cycle = self.retry_cycle(mail)
        if cycle:
            raise IllegalTransitionError("it would close a cycle: " + " waits for ".join(cycle))
        before = self.recent.pop(mail.id, None)
        del self.settled[mail.id]
        task = task_from_mail(mail, order=seq, at=at, fingerprint=settled.fingerprint)
        task.settlement, task.starts = settled.settlement + 1, settled.starts
        task.expires = None  # a person who tries again means it
        if before is not None:
            task.cost_usd, task.created = before.cost_usd, before.created
            task.children = list(before.children)
        self._add(task, at)
        parent = self._delegating_parent(mail)
        if parent is not None:
            self._wait_for_child(parent, task.id)

    def _delegating_parent(self, mail: Mail) -> Task | None:
        parent = self.tasks.get(mail.parent or "")
        return parent if parent is not None and parent.state is TaskState.DELEGATED else None

    def _forget(self, before: float) -> None:
        needed = {each for task in self.tasks.values() for each in (*task.depends_on, *task.inputs, *task.children)}
        for task_id, settled in list(self.settled.items()):
            if settled.ended >= before:
                break
            if task_id in needed:
                continue
            del self.settled[task_id]
            self.recent.pop(task_id, None)
        waiting = {note for notes in self.notes.values() for note in notes}
        for mail_id, at in list(self.other_mail.items()):
            if at < before and mail_id not in waiting:
                del self.other_mail[mail_id]
        self.fingerprints = {mark: mail_id for mark, mail_id in self.fingerprints.items() if self.knows(mail_id)}

    def _open(self, task_id: str) -> Task:
        task = self.tasks.get(task_id)
        if task is None:
            raise IllegalTransitionError(f"there is no open task {task_id}")
        return task

    def _move(self, task: Task, state: TaskState) -> None:
        if state not in TRANSITIONS[task.state]:
            raise IllegalTransitionError(f"task {task.id} cannot go from {task.state} to {state}")
        task.state = state


_ENDED = {TaskState.FAILED: "failed", TaskState.CANCELLED: "was cancelled"}
