"""What a run left behind becomes one event: its outbox, its response, and where its task goes."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from agentpool.model import events as ev
from agentpool.model.acceptance import check_never_used, check_outbox
from agentpool.model.errors import MailError
from agentpool.model.header import mail_from_header
from agentpool.model.mail import Mail, MailType, Status, sent_by_run
from agentpool.model.moment import iso
from agentpool.model.names import HUMAN, id_from_file_name, response_id
from agentpool.model.policies import Verdict, after_run
from agentpool.pool.archive import is_archived
from agentpool.pool.mailfile import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from agentpool.model.board import Board
    from agentpool.model.run import RunReport
    from agentpool.model.task import Task
    from agentpool.pool.layout import Layout
    from agentpool.supervisor.settings import Settings

#: The directory in a run's own that holds what it wants to send.
OUTBOX = "outbox"
#: Mails in one outbox that are looked at; a run that writes more is out of control.
_MOST_MAILS = 200


@dataclass(frozen=True, slots=True)
class Outbox:
    """What a run wants to send.

    Args:
        mails: without its response.
        response: its own answer to its task, if it wrote one.
        problem: why nothing of it can enter the pool; empty when it can.
        files: how many mails it wrote.
    """

    mails: tuple[Mail, ...]
    response: Mail | None
    problem: str
    files: int


def settle_run(
    task: Task, run: str, report: RunReport, layout: Layout, board: Board, settings: Settings, now: float
) -> tuple[ev.RunSettled, Verdict]:
    """The event that settles a run.

    Args:
        now: seconds since the epoch.

    Raises:
        OSError: the outbox cannot be read.
    """
    report = _without_own_rules(report, settings.configuration.settings_for(task.to).allowed_tools)
    outbox = _read_outbox(task, run, layout, board, settings, now)
    everything = (*outbox.mails, outbox.response) if outbox.response else outbox.mails
    verdict = after_run(
        task,
        report,
        policy=settings.retries,
        now=now,
        run=run,
        outbox=everything,
        outbox_problem=outbox.problem,
    )
    delivers = verdict.failure is None and verdict.step is not ev.Step.CANCELLED and not outbox.problem
    own = outbox.response if delivers or (report.ok and not outbox.problem) else None
    event = ev.RunSettled(
        run=run,
        task=task.id,
        step=verdict.step,
        report=replace(report, text="") if verdict.step.settles else report,
        failure=verdict.failure,
        reason=verdict.reason,
        outbox=outbox.mails if delivers else (),
        undelivered=0 if delivers else outbox.files - (own is not None),
        response=_answer(task, verdict, report.text, own, settings.mailboxes, now) if verdict.step.settles else None,
        not_before=verdict.not_before,
    )
    return event, verdict


def has_outbox(layout: Layout, run: str) -> bool:
    """Whether a run left anything in its outbox, or nobody can tell."""
    try:
        with os.scandir(layout.run_directory(run) / OUTBOX) as entries:
            return next(entries, None) is not None
    except OSError:
        return True


def response_without_run(
    task: Task, step: ev.Step, reason: str, answer: Mail | None, mailboxes: Collection[str], now: float
) -> Mail:
    """The response to a task that is settled without a run; `answer` is the mail with which a person answered it."""
    body = answer.body if answer is not None else f"{_WITHOUT_RUN[step]}: {reason}"
    return _response(task, _STATUS[step], body, answer.sender if answer else task.to, mailboxes, now)


_STATUS = {ev.Step.DONE: Status.DONE, ev.Step.FAILED: Status.FAILED, ev.Step.CANCELLED: Status.FAILED}
_WITHOUT_RUN = {ev.Step.FAILED: "This task failed without a run", ev.Step.CANCELLED: "This task was cancelled"}


def _without_own_rules(report: RunReport, allowed_tools: Collection[str]) -> RunReport:
    """Without refusals of tools that are allowed as a whole: no further entry of `allowed_tools` would end these."""
    # A rule that denies stopped them: the pool's own, such as the one on `git stash`, or one of the user's settings.
    return replace(report, denials=tuple(each for each in report.denials if each.tool not in allowed_tools))


def _answer(task: Task, verdict: Verdict, text: str, own: Mail | None, mailboxes: Collection[str], now: float) -> Mail:
    status = own.status if own is not None and own.status is not None else _STATUS[verdict.step]
    if verdict.step is not ev.Step.DONE and status is Status.DONE:
        status = Status.FAILED
    words = own.body if own is not None else text
    if verdict.step is ev.Step.CANCELLED:
        body = "This task was cancelled while it ran." + (f"\n\nIts run ended with:\n\n{words}" if words else "")
    elif own is not None or verdict.step is ev.Step.DONE:
        body = words
    else:
        body = f"This task failed ({verdict.failure}): {verdict.reason}"
        body += f"\n\n{text}" if text and text not in verdict.reason else ""
    return _response(task, status, body, task.to, mailboxes, now)


def _response(task: Task, status: Status, body: str, sender: str, mailboxes: Collection[str], now: float) -> Mail:
    return Mail(
        id=response_id(task.id, task.settlement),
        to=task.sender if task.sender in mailboxes else HUMAN,
        type=MailType.RESPONSE,
        sender=sender,
        in_reply_to=task.id,
        thread=task.thread,
        status=status,
        timestamp=iso(now),
        parent=task.parent,
        hops=task.hops,
        body=body,
    )


def _read_outbox(task: Task, run: str, layout: Layout, board: Board, settings: Settings, now: float) -> Outbox:
    files: list[Path] = []

    def is_taken(mail_id: str) -> bool:
        return board.knows(mail_id) or is_archived(layout, mail_id)

    try:
        files = _files(layout.run_directory(run) / OUTBOX)
        mails, response = _parse_outbox(task, files, is_taken, settings, now)
        check_outbox(mails, task, board, settings.mailboxes, settings.limits)
        for mail in mails:
            check_never_used(mail, archived=is_archived(layout, mail.id))
    except MailError as error:
        return Outbox((), None, error.message, len(files))
    return Outbox(mails, response, "", len(files))


def _parse_outbox(
    task: Task, files: Sequence[Path], is_taken: Callable[[str], bool], settings: Settings, now: float
) -> tuple[tuple[Mail, ...], Mail | None]:
    if len(files) > _MOST_MAILS:
        raise MailError(f"it holds {len(files)} files; at most {_MOST_MAILS} are looked at")
    mails: list[Mail] = []
    responses: list[Mail] = []
    renamed: dict[str, str] = {}
    for file in files:
        try:
            mail, named = _read(file, task, settings, now)
        except MailError as error:
            raise MailError(f"{file.name}: {error.message}") from None
        if mail.type is MailType.RESPONSE:
            responses.append(mail)
            continue
        if not named:
            mail = _numbered(mail, is_taken, {other.id for other in mails}, renamed)
        mails.append(sent_by_run(mail, sender=task.to, parent=task.id, thread=task.thread, hops=task.hops + 1))
    if len(responses) > 1:
        raise MailError(f"it holds {len(responses)} responses; a task has one")
    return tuple(_with_new_names(mail, renamed) for mail in mails), responses[0] if responses else None


def _files(directory: Path) -> list[Path]:
    try:
        files = list(directory.iterdir())
    except FileNotFoundError:
        # Nobody knows what it held, so this run's end cannot be taken for all that it had to say.
        raise MailError("it is gone: somebody removed it while the run lived") from None
    except (NotADirectoryError, PermissionError) as error:
        raise MailError(f"it cannot be read: {error.strerror}") from None
    return sorted(file for file in files if file.name.endswith(".md") and not file.name.startswith("."))


def _read(path: Path, task: Task, settings: Settings, now: float) -> tuple[Mail, bool]:
    limits = settings.configuration.limits
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise MailError("it is no plain file")
    if status.st_size > limits.mail_bytes:
        raise MailError(f"it has {status.st_size} bytes; the limit is {limits.mail_bytes}")
    try:
        data = path.read_bytes()
    except PermissionError as error:
        raise MailError(f"it cannot be read: {error.strerror}") from None
    header, body = parse(data, header_bytes=limits.header_bytes)
    is_response = header.get("type") == MailType.RESPONSE or (path.name == "response.md" and "type" not in header)
    if is_response:
        header = {**header, "type": "response", "to": header.get("to", task.sender)}
        header.pop("id", None)
    mail = mail_from_header(header, body, default_id=id_from_file_name(path.name), now=now)
    return mail, header.get("id") is not None


def _numbered(mail: Mail, is_taken: Callable[[str], bool], taken: Collection[str], renamed: dict[str, str]) -> Mail:
    """A name that is taken gets a number; the others in the outbox that meant this one still do."""
    number, free = 1, mail.id
    while is_taken(free) or free in taken:
        number += 1
        free = f"{mail.id}-{number}"
    if free != mail.id:
        renamed[mail.id] = free
    return replace(mail, id=free)


def _with_new_names(mail: Mail, renamed: dict[str, str]) -> Mail:
    if not renamed:
        return mail
    return replace(
        mail,
        depends_on=tuple(renamed.get(each, each) for each in mail.depends_on),
        inputs=tuple(renamed.get(each, each) for each in mail.inputs),
    )
