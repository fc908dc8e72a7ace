from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agentpool.model import events as ev
from agentpool.model.acceptance import (
    AcceptanceLimits,
    check_cycle,
    check_mail,
    check_never_used,
    check_outbox,
    check_retry,
    known_mailboxes,
)
from agentpool.model.errors import MailError
from agentpool.model.mail import Mail, MailType

if TYPE_CHECKING:
    from tests.model.history import History

_MAILBOXES = known_mailboxes(["auth", "billing"])


def _task(mail_id: str, *after: str, to: str = "auth", hops: int = 1) -> Mail:
    return Mail(mail_id, to, depends_on=after, hops=hops, body="x")


def _sent(history: History, *outbox: Mail, task: str = "plan", limits: AcceptanceLimits | None = None) -> str:
    """Why an outbox is refused; empty where it passes."""
    try:
        check_outbox(outbox, history.task(task), history.board, _MAILBOXES, limits or AcceptanceLimits())
    except MailError as error:
        return error.message
    return ""


@pytest.fixture
def planning(history: History) -> History:
    """A pool in which a run works on `plan`, while `other` is open and `old` is done."""
    history.send("old")
    history.run("old")
    history.send("plan", to="architect")
    history.start("plan")
    history.send("other", to="billing")
    return history


def test_mail_goes_to_experts_roles_and_people() -> None:
    """The mailboxes of a pool."""
    assert {"auth", "billing", "architect", "researcher", "concierge", "human"} == _MAILBOXES


@pytest.mark.parametrize(
    ("mail", "reason"),
    [
        (_task("a", to="aut"), "there is no mailbox 'aut': did you mean `auth`?"),
        (_task("a", to="xyz"), "there is no mailbox 'xyz'; there are: architect, auth, billing"),
        (_task("a", to="\u202e\n" + "x" * 500), "there is no mailbox '\\u202e\\nxxx"),
        (_task("open"), "the id open is taken by another mail"),
        (_task("over"), "the id over is taken by another mail"),
        (_task("note"), "the id note is taken by another mail"),
        (Mail("a", "auth", contracts=("api",)), "it names contracts, which this version"),
        (Mail("a", "auth", MailType.HANDOFF), "knows no handoff yet"),
        (Mail("a", "auth", MailType.CANCEL, cancels="over"), "it cancels over, which is no open task"),
        (Mail("a", "auth", MailType.CANCEL), "it cancels None, which is no open task"),
    ],
)
def test_mail_that_cannot_enter_is_refused(history: History, mail: Mail, reason: str) -> None:
    """The sender reads why, and what was probably meant."""
    history.send("over")
    history.run("over")
    history.send("open")
    history.note("note")
    with pytest.raises(MailError) as caught:
        check_mail(mail, history.board, _MAILBOXES)
    assert reason in caught.value.message
    assert caught.value.message.isascii()


@pytest.mark.parametrize(
    "mail",
    [
        _task("a", "missing"),
        Mail("a", "human", MailType.NOTIFY),
        Mail("a", "auth", MailType.CANCEL, cancels="open"),
        Mail("a", "auth", MailType.RESPONSE, in_reply_to="open"),
    ],
)
def test_good_mail_passes(history: History, mail: Mail) -> None:
    """Also a drop that waits for what has not arrived."""
    history.send("open")
    check_mail(mail, history.board, _MAILBOXES)
    check_cycle(mail, history.board)


def test_a_drop_that_would_close_a_cycle_is_refused(history: History) -> None:
    """The cycle is named, so that its sender sees which line to take out."""
    history.send("b", "a")
    history.send("c", "b")
    with pytest.raises(MailError, match="it would close a cycle: a waits for c waits for b waits for a"):
        check_cycle(_task("a", "c"), history.board)
    check_cycle(Mail("a", "auth", MailType.NOTIFY, depends_on=("c",)), history.board)
    with pytest.raises(MailError, match="x waits for x"):
        check_cycle(_task("x", "x"), history.board)


def test_an_outbox_that_keeps_the_rules_passes(planning: History) -> None:
    """Its tasks may wait for each other, for what is open and what is done; an answer and notes may lie beside them."""
    outbox = [
        _task("a", "b", "old"),
        _task("b", "other", to="billing"),
        Mail("n", "billing", MailType.NOTIFY),
        Mail("r", "human", MailType.RESPONSE, in_reply_to="plan"),
        Mail("r2", "human", MailType.RESPONSE, in_reply_to="old"),
    ]
    assert _sent(planning, *outbox) == ""


@pytest.mark.parametrize(
    ("outbox", "reason"),
    [
        ([_task("a"), Mail("a", "auth", MailType.NOTIFY)], "a: two mails have this id"),
        ([_task("a", to="nobody")], "a: there is no mailbox 'nobody'"),
        ([_task("other")], "other: the id other is taken"),
        ([_task("a", hops=9)], "a: it would be 9 hops away from a person; the limit is 8"),
        ([_task("a", "missing")], "a: it waits for missing, which is no task"),
        ([_task("a", "n"), Mail("n", "auth", MailType.NOTIFY)], "a: it waits for n, which is no task"),
        ([_task("a", "news")], "a: it waits for news, which is no task"),
        ([_task("a", "plan")], "it would close a cycle: a waits for plan waits for a"),
        ([_task("a", "b"), _task("b", "a")], "it would close a cycle: a waits for b waits for a"),
        ([Mail("x", "auth", MailType.CANCEL, cancels="other")], "x: it cancels other, which is none of the tasks"),
        ([Mail("x", "billing", MailType.RESPONSE, in_reply_to="other")], "x: it answers other, which is another run's"),
    ],
)
def test_an_outbox_that_breaks_a_rule_is_refused_as_a_whole(planning: History, outbox: list[Mail], reason: str) -> None:
    """The mail and the rule are named: the next attempt reads them."""
    planning.note("news")
    assert reason in _sent(planning, *outbox)


def test_a_task_sends_so_many_tasks_in_all(planning: History) -> None:
    """Those of its earlier runs count; notes do not."""
    limits = AcceptanceLimits(fan_out=2)
    note = Mail("n", "auth", MailType.NOTIFY)
    assert _sent(planning, _task("a"), _task("b"), note, limits=limits) == ""
    planning.end("plan", ev.Step.DELEGATE, _task("a"))
    planning.run("a")
    planning.start("plan")
    assert _sent(planning, _task("b"), _task("c"), limits=limits) == "it sends 3 tasks in all; the limit is 2"


def test_a_run_may_cancel_what_its_own_task_sent(planning: History) -> None:
    """At any depth."""
    planning.end("plan", ev.Step.DELEGATE, _task("a"), _task("b"))
    planning.delegate("a", "a1")
    planning.run("b")
    assert _sent(planning, Mail("stop", "auth", MailType.CANCEL, cancels="a1")) == ""


def test_a_failed_or_cancelled_task_may_be_tried_again(history: History) -> None:
    """Nothing else may."""
    history.send("failed")
    history.run("failed", ev.Step.FAILED)
    history.send("done")
    history.run("done")
    history.send("open")
    check_retry(history.mails["failed"], history.board)
    for task_id in ("done", "open"):
        with pytest.raises(MailError, match=f"{task_id} has not failed and was not cancelled"):
            check_retry(history.mails[task_id], history.board)


def test_a_retry_that_would_close_a_cycle_is_refused(history: History) -> None:
    """A delegated parent waits for its child again; what the child waits for may meanwhile wait for the parent."""
    history.send("early", "plan")
    history.cancel("early")
    history.settle_due()
    history.send("plan", to="architect")
    history.run("plan", ev.Step.DELEGATE, _task("child", "early"), _task("other"))
    history.settle_due()
    check_retry(history.mails["child"], history.board)
    history.retry("early")
    with pytest.raises(MailError, match="child waits for early waits for plan waits for child"):
        check_retry(history.mails["child"], history.board)


def test_an_id_that_only_the_archive_knows_is_taken() -> None:
    """The board forgets after its retention; the file of that name is still somebody's."""
    mail = Mail("daily", "auth")
    check_never_used(mail, archived=False)
    with pytest.raises(MailError, match="daily was used long ago"):
        check_never_used(mail, archived=True)
