"""One event as one plain line: for pipes, logs and people who read over somebody's shoulder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentpool.cli import answers
from agentpool.cli.moments import dollars, local, span
from agentpool.cli.terminal import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentpool.cli.answers import Row

#: Characters of an answer that a line quotes.
_QUOTE = 120
_PROGRESS = "run.progress"


def line_of(event: Row) -> str | None:
    """The event in words, safe for a terminal; None for news that is too small for a line."""
    name = answers.text(event, "event")
    if name == _PROGRESS or not name:
        return None
    said = one_line(_said(name, event))
    return f"{local(event.get('at'))}  {name:<21} {said}".rstrip()


def answer_of(event: Row) -> tuple[str, str, str] | None:
    """The task, its state and the first words of its answer, where the event settles one."""
    if answers.text(event, "event") not in ("run.settled", "task.settled"):
        return None
    step = answers.text(event, "step")
    if step not in answers.SETTLED:
        return None
    response = answers.row(event, "response")
    text = answers.text(event, "reason") or answers.text(response, "body")
    return answers.text(event, "task"), step, one_line(text)[:_QUOTE]


def _said(name: str, event: Row) -> str:
    teller = _TELLERS.get(name)
    if teller is not None:
        return teller(event)
    # An event of a newer supervisor, or one whose run or task says enough.
    known = (answers.text(event, key) for key in ("run", "task", "id", "hold", "how"))
    return next(filter(None, known), "")


def _accepted(event: Row) -> str:
    mail = answers.row(event, "mail")
    sender = answers.text(mail, "sender") or "human"
    return f"{answers.text(mail, 'id')}  {sender} → {answers.text(mail, 'to')}: {_first_line(mail)}"


def _refused(event: Row) -> str:
    return f"{answers.text(event, 'file')}: {answers.text(event, 'reason')}"


def _read(event: Row) -> str:
    return f"{answers.text(event, 'id')}  by {answers.text(event, 'mailbox')}"


def _pool_started(event: Row) -> str:
    return f"agentpool {answers.text(event, 'version')}, pid {answers.text(event, 'pid')}"


def _pool_held(event: Row) -> str:
    until = f" until {local(event.get('until'))}" if event.get("until") else ""
    return f"{answers.text(event, 'hold')}{until}: {answers.text(event, 'reason')}"


def _cancel(event: Row) -> str:
    tree = " and all that it sent" if event.get("tree") else ""
    return f"{answers.text(event, 'task')}{tree}, by {answers.text(event, 'by') or 'human'}"


def _retried(event: Row) -> str:
    return answers.text(answers.row(event, "mail"), "id")


def _notice(event: Row) -> str:
    mail = answers.row(event, "mail")
    return f"{answers.text(mail, 'to')}: {_first_line(mail)}"


def _starting(event: Row) -> str:
    return f"{answers.text(event, 'run')}  {answers.text(event, 'purpose') or 'attempt'}"


def _lives(event: Row) -> str:
    return f"{answers.text(event, 'run')}  pid {answers.text(event, 'pid')}"


def _settled(event: Row) -> str:
    report = answers.row(event, "report")
    parts = [answers.text(event, "run") or answers.text(event, "task"), answers.text(event, "step")]
    seconds = report.get("seconds")
    parts += [span(float(seconds))] if isinstance(seconds, (int, float)) else []
    cost = answers.number(answers.row(report, "usage"), "cost_usd")
    parts += [dollars(cost)] if cost else []
    if event.get("failure"):
        parts.append(f"{answers.text(event, 'failure')}: {answers.text(event, 'reason')}")
    else:
        parts.append(_first_line(answers.row(event, "response"))[:_QUOTE])
    return " · ".join(filter(None, parts))


def _first_line(mail: Row) -> str:
    body = answers.text(mail, "body")
    return next((line.strip("# ").strip() for line in body.splitlines() if line.strip("# ").strip()), "")


_TELLERS: dict[str, Callable[[Row], str]] = {
    "mail.accepted": _accepted,
    "mail.refused": _refused,
    "mail.read": _read,
    "notice.sent": _notice,
    "pool.started": _pool_started,
    "pool.held": _pool_held,
    "task.cancel-requested": _cancel,
    "task.retried": _retried,
    "task.settled": _settled,
    "run.starting": _starting,
    "run.started": _lives,
    "run.adopted": _lives,
    "run.settled": _settled,
}
