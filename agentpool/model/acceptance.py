"""What may enter the pool: the rules that a mail must keep beyond its own header."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentpool.model.errors import MailError
from agentpool.model.mail import MailType
from agentpool.model.names import ARCHITECT, PEOPLE, RESEARCHER, nearest
from agentpool.model.task import TaskState

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from agentpool.model.board import Board
    from agentpool.model.mail import Mail
    from agentpool.model.task import Task


@dataclass(frozen=True, slots=True)
class AcceptanceLimits:
    """How far work may spread.

    Args:
        hops: runs that may stand between a person and a mail.
        fan_out: tasks that one task may send in all.
    """

    hops: int = 8
    fan_out: int = 50


def known_mailboxes(experts: Collection[str]) -> frozenset[str]:
    """Every name that mail can be addressed to."""
    return frozenset(experts) | PEOPLE | {ARCHITECT, RESEARCHER}


def check_mail(mail: Mail, board: Board, mailboxes: Collection[str]) -> None:
    """Let a mail pass that can enter the pool as it is.

    Raises:
        MailError: it cannot; the message says why, and what was probably meant.
    """
    if mail.to not in mailboxes:
        raise MailError(_unknown_addressee(mail.to, mailboxes))
    if board.knows(mail.id):
        raise MailError(f"the id {mail.id} is taken by another mail: choose another id, or leave the line `id:` out")
    if mail.contracts:
        raise MailError("it names contracts, which this version of agentpool cannot enforce yet: take `contracts:` out")
    if mail.type is MailType.HANDOFF:
        raise MailError("this version of agentpool knows no handoff yet: send a task instead")
    if mail.type is MailType.CANCEL and mail.cancels not in board.tasks:
        raise MailError(f"it cancels {mail.cancels}, which is no open task")


def check_never_used(mail: Mail, *, archived: bool) -> None:
    """Refuse an id that the board has forgotten and `archive/` has not.

    Raises:
        MailError: it is such an id.
    """
    if archived:
        raise MailError(f"the id {mail.id} was used long ago, and lies in archive/: choose another")


def check_cycle(mail: Mail, board: Board) -> None:
    """Refuse a dropped task that would close a cycle.

    Raises:
        MailError: naming the cycle.
    """
    if mail.type.is_work:
        _refuse_cycle(board.graph.cycle({mail.id: mail.awaited}))


def check_retry(mail: Mail, board: Board) -> None:
    """Let a person try a settled task again.

    Args:
        mail: the task's own, as it was accepted.

    Raises:
        MailError: it is no failed or cancelled task, or would close a cycle.
    """
    settled = board.settled.get(mail.id)
    if settled is None or settled.state is TaskState.DONE:
        raise MailError(f"{mail.id} has not failed and was not cancelled")
    _refuse_cycle(board.retry_cycle(mail))


def check_outbox(
    outbox: Sequence[Mail], task: Task, board: Board, mailboxes: Collection[str], limits: AcceptanceLimits
) -> None:
    """Let the outbox of a run pass as a whole.

    Raises:
        MailError: a rule is broken; the message names the mail and the rule.
    """
    work = [mail for mail in outbox if mail.type.is_work]
    sent = {mail.id for mail in work}
    twice = [mail_id for mail_id, times in Counter(mail.id for mail in outbox).items() if times > 1]
    if twice:
        raise MailError(f"{twice[0]}: two mails have this id")
    for mail in outbox:
        try:
            _check_sent(mail, sent, task, board, mailboxes, limits)
        except MailError as error:
            raise MailError(f"{mail.id}: {error.message}") from None
    if len(task.children) + len(work) > limits.fan_out:
        raise MailError(f"it sends {len(task.children) + len(work)} tasks in all; the limit is {limits.fan_out}")
    if work:
        _refuse_cycle(board.graph.cycle({mail.id: mail.awaited for mail in work}, parent=task.id))


def _check_sent(
    mail: Mail,
    sent: Collection[str],
    task: Task,
    board: Board,
    mailboxes: Collection[str],
    limits: AcceptanceLimits,
) -> None:
    check_mail(mail, board, mailboxes)
    if mail.hops > limits.hops:
        raise MailError(f"it would be {mail.hops} hops away from a person; the limit is {limits.hops}")
    if mail.type is MailType.CANCEL and mail.cancels not in set(board.descendants(task.id)):
        raise MailError(f"it cancels {mail.cancels}, which is none of the tasks that {task.id} sent")
    if mail.type is MailType.RESPONSE and mail.in_reply_to != task.id and mail.in_reply_to in board.tasks:
        raise MailError(f"it answers {mail.in_reply_to}, which is another run's task: answer {task.id}")
    for awaited in mail.awaited:
        if awaited not in sent and awaited not in board.tasks and awaited not in board.settled:
            raise MailError(f"it waits for {awaited}, which is no task")


def _refuse_cycle(cycle: list[str] | None) -> None:
    if cycle:
        raise MailError("it would close a cycle: " + " waits for ".join(cycle))


def _unknown_addressee(name: str, mailboxes: Collection[str]) -> str:
    near = nearest(name, mailboxes)
    meant = f": did you mean `{near}`?" if near else f"; there are: {', '.join(sorted(mailboxes))}"
    return f"there is no mailbox {name[:64]!a}{meant}"
