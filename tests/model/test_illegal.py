from __future__ import annotations

import pytest

from agentpool.model import events as ev
from agentpool.model.errors import IllegalTransitionError
from agentpool.model.mail import Mail, MailType
from agentpool.model.run import RunReport
from tests.model.history import History, dumped

_REPORT = RunReport(None, "done")
_RESPONSE = Mail("x.response", "human", MailType.RESPONSE)
_CHILD = Mail("child", "billing", body="x")


def _settled(run: str, task: str, step: ev.Step = ev.Step.DONE, *outbox: Mail) -> ev.RunSettled:
    return ev.RunSettled(run, task, step, _REPORT, outbox=outbox)


def _with_all_states() -> History:
    history = History()
    history.send("blocked", "missing")
    history.send("ready")
    history.send("plan", to="architect")
    history.delegate("plan", "part")
    for task_id, step in (("done", ev.Step.DONE), ("failed", ev.Step.FAILED), ("cancelled", ev.Step.CANCELLED)):
        history.send(task_id, to="billing")
        history.run(task_id, step)
    history.send("running")
    history.start("running")
    history.send("unwanted")
    history.cancel("unwanted")
    history.note("news")
    return history


_ILLEGAL: dict[str, ev.Event] = {
    "an id that an open task has": ev.MailAccepted(Mail("ready", "auth", body="x"), "other"),
    "an id that a settled task has": ev.MailAccepted(Mail("done", "auth", body="x"), "other"),
    "an id that a note has": ev.MailAccepted(Mail("news", "auth", MailType.NOTIFY), "other"),
    "start what is blocked": ev.RunStarting("blocked.1", "blocked", 1),
    "start what runs": ev.RunStarting("running.2", "running", 2),
    "start what is delegated": ev.RunStarting("plan.2", "plan", 2),
    "start what is over": ev.RunStarting("done.2", "done", 2),
    "start what is to be cancelled": ev.RunStarting("unwanted.1", "unwanted", 1),
    "start what nobody knows": ev.RunStarting("nobody.1", "nobody", 1),
    "start with a number that was used": ev.RunStarting("ready.0", "ready", 0),
    "a run that the task does not have": _settled("running.7", "running"),
    "a run of a task that has none": _settled("ready.1", "ready"),
    "a run of a task that is over": _settled("done.1", "done"),
    "a process of a task that is over": ev.RunStarted("done.1", "done", 1),
    "an outbox with a taken id": _settled("running.1", "running", ev.Step.DELEGATE, _CHILD, Mail("done", "auth")),
    "an outbox with an id twice": _settled("running.1", "running", ev.Step.DELEGATE, _CHILD, _CHILD),
    "a delegation to nobody": _settled("running.1", "running", ev.Step.DELEGATE, Mail("n", "auth", MailType.NOTIFY)),
    "settle what runs without its run": ev.TaskSettled("running", ev.Step.CANCELLED, _RESPONSE),
    "settle what is over": ev.TaskSettled("failed", ev.Step.FAILED, _RESPONSE),
    "settle by a step that does not settle": ev.TaskSettled("ready", ev.Step.RETRY, _RESPONSE),
    "retry what is done": ev.TaskRetried(Mail("done", "billing", body="x")),
    "retry what is open": ev.TaskRetried(Mail("ready", "auth", body="x")),
    "retry what nobody knows": ev.TaskRetried(Mail("nobody", "auth", body="x")),
}


@pytest.mark.parametrize("event", _ILLEGAL.values(), ids=_ILLEGAL.keys())
def test_an_illegal_event_changes_nothing(event: ev.Event) -> None:
    """The board says which id and why, and is the same as before."""
    history = _with_all_states()
    before = dumped(history.board)
    with pytest.raises(IllegalTransitionError) as caught:
        history.apply(event)
    assert any(word in caught.value.message for word in ("task", "id", "run"))
    assert dumped(history.board) == before
    assert [task.id for task in history.board.running()] == ["running"]


def test_a_retry_that_would_close_a_cycle_changes_nothing(history: History) -> None:
    """A delegated parent waits for its child again; the child may meanwhile wait for something that waits for it."""
    history.send("early", "plan")
    history.cancel("early")
    history.settle_due()
    history.send("plan")
    child = Mail("child", "billing", depends_on=("early",), body="x")
    history.run("plan", ev.Step.DELEGATE, child, Mail("other", "billing", body="x"))
    history.settle_due()
    assert history.states("plan", "child") == ["delegated", "failed"]
    history.retry("early")
    before = dumped(history.board)
    with pytest.raises(IllegalTransitionError, match="child waits for early waits for plan waits for child"):
        history.retry("child")
    assert dumped(history.board) == before
