"""A pool's history, told event by event as a supervisor would: what the tests of the board are written in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from agentpool.model import events as ev
from agentpool.model.board import Board
from agentpool.model.board_snapshot import dump, load
from agentpool.model.mail import Mail, MailType, Priority, Status, sent_by_run
from agentpool.model.names import response_id
from agentpool.model.run import FailureKind, RunReport, Usage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentpool.model.task import Task

Line = dict[str, object]


def dumped(board: Board) -> list[Line]:
    """What a snapshot of the board holds, through JSON as in a file."""
    lines: list[Line] = json.loads(json.dumps(list(dump(board))))
    return lines


class History:
    """A board and every event that made it.

    Attributes:
        entries: the events so far.
        now: the time of the next event, seconds since the epoch; each event takes a second.
    """

    def __init__(self) -> None:
        self.board = Board()
        self.entries: list[ev.Entry] = []
        self.mails: dict[str, Mail] = {}
        self.now = 1_000.0

    def apply(self, event: ev.Event) -> None:
        """The event happens; one that is refused is not kept."""
        entry = ev.Entry(len(self.entries) + 1, self.now, event)
        self.board.apply(entry)
        self.entries.append(entry)
        self.now += 1.0

    # -- mail ---------------------------------------------------------------------------------------------------------

    def send(
        self,
        mail_id: str,
        *after: str,
        to: str = "auth",
        priority: Priority = Priority.NORMAL,
        inputs: tuple[str, ...] = (),
        expires: float | None = None,
    ) -> None:
        """Somebody drops a task that waits for others."""
        self.receive(
            Mail(mail_id, to, priority=priority, depends_on=after, inputs=inputs, expires=expires, body=f"do {mail_id}")
        )

    def receive(self, mail: Mail, fingerprint: str = "") -> None:
        """A mail is accepted."""
        self.apply(ev.MailAccepted(mail, fingerprint or f"print-{mail.id}"))
        self.mails[mail.id] = mail

    def note(self, mail_id: str, to: str = "auth") -> None:
        """Somebody sends a notify."""
        self.receive(Mail(mail_id, to, MailType.NOTIFY, body="by the way"))

    def answer(self, task_id: str, status: Status | None = None, mail_id: str = "") -> None:
        """A person answers a task."""
        self.receive(
            Mail(
                mail_id or f"answer-{task_id}",
                "auth",
                MailType.RESPONSE,
                in_reply_to=task_id,
                status=status,
                body="use port 8080",
            )
        )

    def cancel(self, task_id: str, *, tree: bool = False) -> None:
        """A person cancels a task."""
        self.apply(ev.CancelRequested(task_id, tree=tree))

    def retry(self, task_id: str) -> None:
        """A person wants a settled task tried again."""
        self.apply(ev.TaskRetried(self.mails[task_id]))

    # -- runs ---------------------------------------------------------------------------------------------------------

    def start(self, task_id: str, notes: tuple[str, ...] = ()) -> str:
        """A run of the task is started; its id."""
        task = self.task(task_id)
        run = f"{task_id}.{task.starts + 1}"
        self.apply(ev.RunStarting(run, task_id, task.starts + 1, task.purpose, notes, 5.0))
        return run

    def end(
        self,
        task_id: str,
        step: ev.Step = ev.Step.DONE,
        *outbox: Mail,
        failure: FailureKind | None = None,
        not_before: float | None = None,
        cost_usd: float = 0.0,
    ) -> None:
        """The task's run settles."""
        task = self.task(task_id)
        reason = f"{failure} happened" if failure else ""
        report = RunReport(failure, "the end", usage=Usage(cost_usd))
        sent = tuple(
            sent_by_run(mail, sender=task.to, parent=task_id, thread=task.thread, hops=task.hops + 1) for mail in outbox
        )
        response = self._response(task, step, reason) if step.settles else None
        assert task.run is not None
        self.apply(
            ev.RunSettled(
                task.run, task_id, step, report, failure, reason, sent, response=response, not_before=not_before
            )
        )
        self.mails.update({mail.id: mail for mail in sent})

    def run(self, task_id: str, step: ev.Step = ev.Step.DONE, *outbox: Mail, cost_usd: float = 0.0) -> None:
        """The task is started and its run settles."""
        self.start(task_id)
        failure = FailureKind.AGENT if step is ev.Step.FAILED else None
        self.end(task_id, step, *outbox, failure=failure, cost_usd=cost_usd)

    def delegate(self, task_id: str, *children: str) -> None:
        """The task is started, and its run sends tasks to a mailbox each."""
        self.run(task_id, ev.Step.DELEGATE, *(Mail(child, f"expert-{child}", body="a part") for child in children))

    def settle_due(self) -> list[str]:
        """The supervisor settles all that is due, until nothing is; the ids in order."""
        settled = []
        while self.board.due:
            task_id, due = next(iter(self.board.due.items()))
            response = self._response(self.board.tasks[task_id], due.step, due.reason)
            self.apply(ev.TaskSettled(task_id, due.step, response, due.failure, due.reason))
            settled.append(task_id)
        return settled

    def expire(self) -> list[str]:
        """The supervisor settles what has expired; the ids in order."""
        expired = self.board.expired(self.now)
        for task in expired:
            response = self._response(task, ev.Step.FAILED, "expired")
            self.apply(ev.TaskSettled(task.id, ev.Step.FAILED, response, FailureKind.EXPIRED, "expired"))
        return [task.id for task in expired]

    def _response(self, task: Task, step: ev.Step, reason: str) -> Mail:
        status = Status.DONE if step is ev.Step.DONE else Status.FAILED
        return Mail(
            response_id(task.id, task.settlement),
            task.sender,
            MailType.RESPONSE,
            task.to,
            in_reply_to=task.id,
            thread=task.thread,
            status=status,
            parent=task.parent,
            body=reason,
        )

    # -- what can be seen ---------------------------------------------------------------------------------------------

    def task(self, task_id: str) -> Task:
        """The task, open or recently settled."""
        task = self.board.find(task_id)
        assert task is not None, f"no task {task_id}"
        return task

    def state(self, task_id: str) -> str:
        """Where the task stands."""
        return self.task(task_id).state.value

    def states(self, *task_ids: str) -> list[str]:
        """Where the tasks stand."""
        return [self.state(task_id) for task_id in task_ids]

    def first(self, *busy: str) -> str | None:
        """The task that would start now."""
        self.board.ready.due(self.now)
        task = self.board.ready.first(busy)
        return task.id if task else None

    def order(self) -> list[str]:
        """The tasks in the order in which they start, one at a time; each ends well."""
        ids = []
        while (task_id := self.first()) is not None:
            self.run(task_id)
            ids.append(task_id)
        return ids

    def reloaded(self) -> Board:
        """The board that a snapshot of this one makes."""
        return load(dumped(self.board))

    def replayed(self, entries: Iterable[ev.Entry] | None = None) -> Board:
        """The board that the journal makes, each event through JSON as in a file."""
        board = Board()
        for entry in self.entries if entries is None else entries:
            data = json.loads(json.dumps(ev.encode(entry.event)))
            board.apply(ev.Entry(entry.seq, entry.at, ev.decode(entry.event.name, data)))
        return board
