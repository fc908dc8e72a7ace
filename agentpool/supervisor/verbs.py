"""The verbs that the gateway offers, on top of the loop and the board."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections import Counter
from typing import TYPE_CHECKING

import agentpool
from agentpool.model import events as ev
from agentpool.model.acceptance import check_cycle, check_mail, check_never_used, check_retry
from agentpool.model.errors import MailError, UnknownIdError, UsageError
from agentpool.model.header import mail_from_header
from agentpool.model.mail import Mail, Status
from agentpool.model.moment import iso
from agentpool.model.names import PEOPLE, nearest, response_id
from agentpool.model.task import TaskState
from agentpool.pool import deadletter, logbook
from agentpool.pool.archive import is_archived
from agentpool.pool.inbox import list_inbox
from agentpool.pool.taskboard import task_fields
from agentpool.supervisor.admission import HOLD_TIPS
from agentpool.supervisor.stream import Stream, progress_fields
from agentpool.supervisor.waiting import why_it_waits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from agentpool.gateway.verbs import Json, StopMode
    from agentpool.model.task import Task
    from agentpool.pool.layout import Layout
    from agentpool.supervisor.supervisor import Supervisor

#: Waiting tasks that a status names.
_MOST_WAITING = 200


class PoolVerbs:
    """Implements `gateway.verbs.Verbs` for one supervisor.

    Args:
        stop: called with the mode when somebody asks the supervisor to stop.
    """

    def __init__(self, layout: Layout, supervisor: Supervisor, stop: Callable[[StopMode], None]) -> None:
        self._layout = layout
        self._supervisor = supervisor
        self._stop = stop
        self._stream = Stream(supervisor, layout)

    def status(self) -> Json:
        """See `Verbs.status`."""
        supervisor, board = self._supervisor, self._supervisor.board
        now = supervisor.now()
        holds = supervisor.holds()
        state = "stopping" if supervisor.admission.closed else "held" if holds else "running"
        counts = Counter(task.state.value for task in board.tasks.values())
        counts["settled"] = len(board.settled)
        return {
            "pid": os.getpid(),
            "pool": str(self._layout.root),
            "name": supervisor.settings.configuration.pool.name or self._layout.project.name,
            "version": agentpool.__version__,
            "seq": board.seq,
            "state": state,
            "since": iso(supervisor.since),
            "holds": [
                {
                    "hold": hold.value,
                    "reason": held.reason,
                    "since": iso(held.since),
                    "until": iso(held.until) if held.until is not None else None,
                    "tip": HOLD_TIPS[hold],
                }
                for hold, held in holds.items()
            ],
            "runs": [self._run(task) for task in board.running()],
            "waiting": self._waiting(now),
            "counts": dict(counts),
            "spent_today_usd": round(board.spending.on(now), 6),
            "day_usd": supervisor.settings.configuration.budget.day_usd,
            "warnings": supervisor.warnings,
        }

    def board(self, *, everything: bool) -> Json:
        """See `Verbs.board`."""
        board = self._supervisor.board
        tasks = [*board.recent.values()] if everything else []
        return {"tasks": [task_fields(task, board) for task in (*tasks, *board.tasks.values())]}

    def task(self, task_id: str) -> Json:
        """See `Verbs.task`."""
        task = self._find(task_id)
        ledger = self._supervisor.ledger
        mail = ledger.mail(task_id)
        response = ledger.mail(response_id(task_id, task.settlement)) if task.state.is_settled else None
        living = self._supervisor.runner.living.get(task_id)
        return {
            **task_fields(task, self._supervisor.board),
            "mail": mail.body if mail is not None else None,
            "response": _response_fields(response) if response is not None else None,
            "attempts": logbook.attempts(self._layout.logs(task.to), task_id),
            "logs": str((self._layout.logs(task.to) / task_id).relative_to(self._layout.root)),
            "run_directory": (
                str(self._layout.run_directory(living.run).relative_to(self._layout.root)) if living else None
            ),
        }

    async def settled(self, task_id: str, timeout: float) -> Json:  # noqa: ASYNC109 - the caller's own limit
        """See `Verbs.settled`; a drop that is about to be accepted counts as its task."""
        moved = asyncio.Event()

        def look(entry: ev.Entry) -> None:
            match entry.event:
                case ev.RunSettled(task=about) | ev.TaskSettled(task=about) if about == task_id:
                    moved.set()
                case ev.MailAccepted() | ev.MailRefused():
                    moved.set()
                case _:
                    pass

        end = self._supervisor.ledger.subscribe(look)
        try:
            async with asyncio.timeout(timeout):
                while not self._is_over(task_id):
                    moved.clear()
                    await moved.wait()
        except TimeoutError:
            pass
        finally:
            end()
        return self.task(task_id)

    def _is_over(self, task_id: str) -> bool:
        task = self._supervisor.board.find(task_id)
        if task is not None:
            return task.state.is_settled
        directories = self._supervisor.intake.directories
        return "/" in task_id or not any(os.path.lexists(f"{each}/{task_id}.md") for each in directories)

    async def send(self, header: Mapping[str, object], body: str) -> Json:
        """See `Verbs.send`."""
        supervisor = self._supervisor
        drawn = f"m-{secrets.token_hex(4)}"
        mail = mail_from_header(header, body, default_id=drawn, now=supervisor.now())
        size, limit = len(body.encode(errors="replace")), supervisor.settings.configuration.limits.mail_bytes
        if size > limit:
            raise MailError(f"it has {size} bytes; the limit is {limit} (`[limits] mail_bytes`)")

        def decide() -> list[ev.Event]:
            known = supervisor.board.find(mail.id)
            if known is not None and supervisor.ledger.mail(mail.id) == mail:
                return []
            check_mail(mail, supervisor.board, supervisor.settings.mailboxes)
            check_never_used(mail, archived=is_archived(self._layout, mail.id))
            check_cycle(mail, supervisor.board)
            return [ev.MailAccepted(mail)]

        await supervisor.decide(decide)
        task = supervisor.board.find(mail.id)
        state = task.state.value if task is not None else None
        return {"id": mail.id, "type": mail.type.value, "to": mail.to, "state": state}

    async def cancel(self, task_id: str, *, tree: bool) -> Json:
        """See `Verbs.cancel`."""
        board = self._supervisor.board
        meant: list[str] = []

        def decide() -> list[ev.Event]:
            task = self._find(task_id)
            if task.state.is_settled:
                raise UsageError(f"task {task_id} is {task.state} already", tip=f"agentpool show {task_id}")
            meant.extend((task_id, *(board.descendants(task_id) if tree else ())))
            return [ev.CancelRequested(task_id, tree)]

        await self._supervisor.decide(decide)
        return {"tasks": list(meant)}

    async def retry(self, task_id: str) -> Json:
        """See `Verbs.retry`."""
        supervisor = self._supervisor

        def decide() -> list[ev.Event]:
            if task_id in supervisor.board.tasks:
                raise UsageError(f"task {task_id} is not settled yet", tip=f"agentpool show {task_id}")
            settled = supervisor.board.settled.get(task_id)
            if settled is None:
                raise self._unknown(task_id)
            mail = supervisor.ledger.mail(task_id)
            if settled.state is TaskState.DONE:
                raise UsageError(f"task {task_id} is done", tip="send it again under another id: agentpool send")
            if mail is None:
                raise UnknownIdError(f"the text of {task_id} is not in the journal any more", tip="send it again")
            check_retry(mail, supervisor.board)
            return [ev.TaskRetried(mail)]

        await supervisor.decide(decide)
        return self.task(task_id)

    async def replay(self, name: str) -> Json:
        """See `Verbs.replay`."""
        dropped = deadletter.replay(self._layout, name, self._supervisor.intake.directories)
        self._supervisor.intake.forget_refused(dropped)
        self._supervisor.wake()
        return {"dropped": str(dropped.relative_to(self._layout.root))}

    def inbox(self, mailbox: str) -> Json:
        """See `Verbs.inbox`."""
        return {"mails": list_inbox(self._layout, _mailbox_of_people(mailbox))}

    async def read(self, mail_id: str, mailbox: str) -> Json:
        """See `Verbs.read`."""
        file = self._layout.inbox(_mailbox_of_people(mailbox)) / f"{mail_id}.md"
        if not mail_id.isprintable() or "/" in mail_id or not file.is_file():
            raise UnknownIdError(f"there is no mail {mail_id} in {mailbox}/inbox", tip="agentpool inbox")
        await self._supervisor.decide(lambda: [ev.MailRead(mail_id, mailbox)])
        return {"id": mail_id}

    async def stop(self, mode: StopMode) -> Json:
        """See `Verbs.stop`."""
        runs = [living.run for living in self._supervisor.runner.living.values()]
        self._stop(mode)
        return {"mode": mode.value, "runs": runs}

    def events(self, since: int | None) -> AsyncIterator[Json]:
        """See `Verbs.events`."""
        return self._stream.follow(since)

    def _run(self, task: Task) -> Json:
        living = self._supervisor.runner.living.get(task.id)
        summary = living.summary if living is not None else None
        retry = summary.retry if summary is not None else None
        return {
            "run": task.run,
            "task": task.id,
            "name": task.to,
            "attempt": task.attempt,
            "pid": task.process.pid if task.process is not None else None,
            "since": iso(task.started) if task.started is not None else None,
            **progress_fields(summary),
            "model": summary.model if summary is not None else None,
            "retrying": f"{retry.error}, retry {retry.attempt} of {retry.most}" if retry is not None else None,
            "subject": task.subject,
            "cancel_requested": task.cancel_requested,
            "adopted": living.adopted if living is not None else False,
        }

    def _waiting(self, now: float) -> list[Json]:
        found: list[Json] = []
        for task in self._supervisor.board.tasks.values():
            if task.state is TaskState.RUNNING:
                continue
            if len(found) == _MOST_WAITING:
                break
            wait = why_it_waits(task, self._supervisor, now)
            found.append(
                {"id": task.id, "to": task.to, "state": task.state.value, "reason": wait.reason, "tip": wait.tip}
            )
        return found

    def _find(self, task_id: str) -> Task:
        task = self._supervisor.board.find(task_id)
        if task is None:
            raise self._unknown(task_id)
        return task

    def _unknown(self, task_id: str) -> UnknownIdError:
        board = self._supervisor.board
        if task_id in board.settled:
            return UnknownIdError(f"task {task_id} was settled long ago", tip=f"look into archive/*/{task_id}.md")
        near = nearest(task_id, [*board.tasks, *board.recent][-1000:])
        tip = f"did you mean {near}? " if near else ""
        return UnknownIdError(f"there is no task {task_id[:100]!a}", tip=f"{tip}agentpool board --all lists them")


def _mailbox_of_people(name: str) -> str:
    if name not in PEOPLE:
        raise UsageError(f"{name!a} is no inbox that people read", tip=f"there are: {', '.join(sorted(PEOPLE))}")
    return name


def _response_fields(response: Mail) -> Json:
    return {
        "id": response.id,
        "from": response.sender,
        "status": (response.status or Status.DONE).value,
        "body": response.body,
    }
