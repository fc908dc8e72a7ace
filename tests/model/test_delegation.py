from __future__ import annotations

from typing import TYPE_CHECKING

from agentpool.model import events as ev
from agentpool.model.mail import Mail, MailType
from agentpool.model.run import FailureKind, RunReport

if TYPE_CHECKING:
    from tests.model.history import History


def test_a_task_whose_run_sent_tasks_waits_for_all_of_them(history: History) -> None:
    """It goes on with a continuation, which uses no attempt."""
    history.send("plan")
    history.delegate("plan", "a", "b")
    assert history.states("plan", "a", "b") == ["delegated", "ready", "ready"]
    history.run("a")
    assert history.state("plan") == "delegated"
    history.run("b")
    task = history.task("plan")
    assert (task.state.value, task.purpose, task.children) == ("ready", ev.Purpose.CONTINUATION, ["a", "b"])
    history.run("plan")
    assert (task.state.value, task.attempt, task.continuations, task.starts) == ("done", 1, 1, 2)


def test_a_parent_goes_on_whatever_became_of_its_children(history: History) -> None:
    """A failed or cancelled child wakes it too: it decides what to do about it."""
    history.send("plan")
    history.delegate("plan", "a", "b")
    history.run("a", ev.Step.FAILED)
    history.cancel("b")
    history.settle_due()
    assert history.states("plan", "a", "b") == ["ready", "failed", "cancelled"]


def test_a_continuation_may_send_tasks_again(history: History) -> None:
    """The children add up; the parent waits for the new ones only."""
    history.send("plan")
    history.delegate("plan", "a")
    history.run("a")
    history.delegate("plan", "b")
    assert history.board.graph.waits_for("plan") == ("b",)
    assert history.task("plan").children == ["a", "b"]


def test_a_released_continuation_stays_one(history: History) -> None:
    """It is given back; a failed one is followed by an attempt."""
    history.send("plan")
    history.delegate("plan", "a")
    history.run("a")
    history.start("plan")
    history.end("plan", ev.Step.RELEASE, failure=FailureKind.LIMIT)
    task = history.task("plan")
    assert (task.continuations, task.purpose) == (0, ev.Purpose.CONTINUATION)
    history.start("plan")
    history.end("plan", ev.Step.RETRY, failure=FailureKind.CHECK)
    assert (task.continuations, task.attempt, task.purpose) == (1, 1, ev.Purpose.ATTEMPT)


def test_children_may_depend_on_each_other_in_any_order(history: History) -> None:
    """The whole outbox enters at once, so a child may name one that stands behind it."""
    history.send("plan")
    first = Mail("first", "auth", depends_on=("second",), body="x")
    history.run("plan", ev.Step.DELEGATE, first, Mail("second", "auth", body="x"))
    assert history.board.graph.placeholders == {}
    assert history.order() == ["second", "first", "plan"]


def test_notes_in_an_outbox_are_no_children(history: History) -> None:
    """They wait for nobody's end."""
    history.send("plan")
    outbox = Mail("part", "billing", body="x"), Mail("news", "billing", MailType.NOTIFY, body="x")
    history.run("plan", ev.Step.DELEGATE, *outbox)
    assert history.task("plan").children == ["part"]
    assert history.board.notes == {"billing": ["news"]}
    history.run("part")
    assert history.state("plan") == "ready"


def test_a_child_answers_its_parent_and_not_its_mailbox(history: History) -> None:
    """An open parent reads the response as an input; a parent that is over is told by a note."""
    history.send("plan")
    history.delegate("plan", "a", "b")
    history.run("a")
    history.cancel("plan")
    history.settle_due()
    history.run("b")
    assert history.board.notes == {"auth": ["b.response"]}


def test_a_drop_may_wait_for_a_delegated_task(history: History) -> None:
    """It starts when the whole work is done, not when it is handed on."""
    history.send("plan")
    history.send("deploy", "plan")
    history.delegate("plan", "a")
    history.run("a")
    assert history.state("deploy") == "blocked"
    history.run("plan")
    assert history.state("deploy") == "ready"


# -- cancelling -------------------------------------------------------------------------------------------------------


def test_what_has_no_run_is_cancelled_at_once(history: History) -> None:
    """Blocked, ready or delegated: it is due, and can no longer start."""
    history.send("blocked", "missing")
    history.send("ready")
    history.send("plan", to="architect")
    history.delegate("plan", "part")
    for task_id in ("blocked", "ready", "plan"):
        history.cancel(task_id)
        history.cancel(task_id)
    assert history.settle_due() == ["blocked", "ready", "plan"]
    assert history.states("blocked", "ready", "plan", "part") == ["cancelled"] * 3 + ["ready"]


def test_what_is_to_be_cancelled_does_not_move_any_more(history: History) -> None:
    """What it waited for comes too late."""
    history.send("gate", to="billing")
    history.send("api", "gate")
    history.send("plan", to="architect")
    history.delegate("plan", "part")
    history.cancel("api")
    history.cancel("plan")
    history.run("gate")
    history.run("part")
    assert history.states("api", "plan") == ["blocked", "delegated"]
    assert history.first() is None


def test_a_running_task_is_cancelled_when_its_run_has_ended(history: History) -> None:
    """The request is kept; who ends the run settles the task by it."""
    history.send("health")
    history.start("health")
    history.cancel("health")
    assert history.board.due == {}
    assert history.task("health").cancel_requested
    history.end("health", ev.Step.CANCELLED)
    assert history.state("health") == "cancelled"


def test_a_request_outlives_a_run_that_does_not_settle_its_task(history: History) -> None:
    """A lost or released run does not lose the cancellation."""
    history.send("health")
    history.start("health")
    history.cancel("health")
    history.end("health", ev.Step.RELEASE, failure=FailureKind.SUPERVISOR)
    assert history.settle_due() == ["health"]
    assert history.state("health") == "cancelled"


def test_a_tree_is_cancelled_with_all_its_branches(history: History) -> None:
    """The task, its open descendants, and nothing else."""
    history.send("plan")
    history.delegate("plan", "a", "b")
    history.delegate("a", "a1")
    history.send("other")
    assert list(history.board.descendants("plan")) == ["a", "b", "a1"]
    history.start("b")
    history.cancel("plan", tree=True)
    history.settle_due()
    assert history.states("plan", "a", "a1", "b", "other") == ["cancelled"] * 3 + ["running", "ready"]
    history.end("b", ev.Step.CANCELLED)
    assert list(history.board.tasks) == ["other"]


def test_a_tree_is_found_also_below_a_task_that_is_over(history: History) -> None:
    """A cancelled branch leaves its children open; a later cancellation of the whole still finds them."""
    history.send("plan")
    history.delegate("plan", "a")
    history.delegate("a", "a1")
    history.cancel("a")
    history.settle_due()
    assert history.states("plan", "a1") == ["ready", "ready"]
    history.cancel("plan", tree=True)
    assert sorted(history.settle_due()) == ["a1", "plan"]


def test_what_an_open_task_needs_is_not_forgotten(history: History) -> None:
    """An open parent still needs its child's answer, a waiting task its input; the rest is forgotten."""
    history.send("plan")
    history.delegate("plan", "a", "b")
    history.run("a")
    history.send("survey", to="billing")
    history.run("survey")
    history.send("other", to="billing")
    history.run("other")
    history.receive(Mail("report", "billing", inputs=("survey",), depends_on=("missing",)))
    history.apply(ev.HistoryForgotten(history.now + 1))
    assert [each for each in ("a", "survey", "other") if history.board.knows(each)] == ["a", "survey"]


def test_a_killed_run_counts_with_its_ceiling(history: History) -> None:
    """Nobody knows what it spent, so the day's budget assumes the most; a run that says its cost counts with that."""
    history.send("killed")
    history.start("killed")
    reserved = history.task("killed").reserved_usd
    report = RunReport(FailureKind.AGENT, "gone", has_result=False)
    history.apply(ev.RunSettled("killed.1", "killed", ev.Step.RETRY, report, FailureKind.AGENT))
    assert history.board.spending.on(history.now) == reserved
    assert history.task("killed").cost_usd == 0.0


def test_a_cancel_by_mail_means_one_task(history: History) -> None:
    """The mail's id is taken, its task is due."""
    history.send("health")
    history.receive(Mail("stop", "auth", MailType.CANCEL, cancels="health"))
    assert history.settle_due() == ["health"]
    assert history.board.knows("stop")


def test_a_cancel_of_what_is_over_changes_nothing(history: History) -> None:
    """It came too late."""
    history.send("health")
    history.run("health")
    history.cancel("health")
    history.cancel("unknown", tree=True)
    assert (history.state("health"), history.board.due) == ("done", {})


# -- a person tries again ---------------------------------------------------------------------------------------------


def test_a_retry_opens_a_new_settlement(history: History) -> None:
    """The same mail, its place in the order and its history; no attempt is used up."""
    history.send("health")
    history.run("health", ev.Step.FAILED, cost_usd=0.5)
    history.send("later")
    history.retry("health")
    task = history.task("health")
    assert (task.state.value, task.settlement, task.attempt, task.starts, task.cost_usd) == ("ready", 2, 0, 1, 0.5)
    assert not history.board.settled
    assert history.order() == ["health", "later"]
    assert history.board.settled["health"].settlement == 2
    assert history.replayed().settled == history.board.settled


def test_a_retried_task_waits_as_it_did_at_first(history: History) -> None:
    """What it depends on counts again: failed fails it, retried is waited for."""
    history.send("schema")
    history.send("api", "schema")
    history.run("schema", ev.Step.FAILED)
    history.settle_due()
    history.retry("api")
    assert history.settle_due() == ["api"]
    history.retry("schema")
    history.retry("api")
    assert history.state("api") == "blocked"
    assert history.order() == ["schema", "api"]


def test_a_delegated_parent_waits_for_a_retried_child(history: History) -> None:
    """It goes on when the child is settled again."""
    history.send("plan")
    history.delegate("plan", "a", "b")
    history.run("a", ev.Step.FAILED)
    history.retry("a")
    history.run("b")
    assert history.state("plan") == "delegated"
    history.run("a", ev.Step.FAILED)
    assert history.state("plan") == "ready"


def test_a_settled_parent_is_told_and_not_woken(history: History) -> None:
    """The second answer waits as a note for its mailbox."""
    history.send("plan")
    history.delegate("plan", "a")
    history.run("a", ev.Step.FAILED)
    history.run("plan")
    history.retry("a")
    history.run("a")
    assert history.state("plan") == "done"
    assert history.board.notes == {"auth": ["a.response-2"]}


def test_a_parent_that_runs_already_is_told_by_a_note(history: History) -> None:
    """Its continuation began before the second answer, which is not lost on it."""
    history.send("plan")
    history.delegate("plan", "a")
    history.run("a", ev.Step.FAILED)
    history.retry("a")
    history.start("plan")
    history.run("a")
    assert history.board.notes == {"auth": ["a.response-2"]}
    history.end("plan")
    assert not history.board.tasks


def test_a_retried_parent_waits_for_an_old_child_that_is_retried(history: History) -> None:
    """A child of its first settlement wakes it too, also when that was long ago."""
    history.send("plan")
    history.delegate("plan", "old")
    history.run("old", ev.Step.FAILED)
    history.run("plan", ev.Step.FAILED)
    del history.board.recent["plan"]  # as after five hundred others
    history.retry("plan")
    assert (history.task("plan").children, history.task("plan").starts) == ([], 2)
    history.delegate("plan", "new")
    history.retry("old")
    history.run("new")
    assert history.state("plan") == "delegated"
    history.run("old", ev.Step.FAILED)
    assert history.state("plan") == "ready"


def test_a_retry_means_it_also_after_the_expiry(history: History) -> None:
    """A person who tries an expired task again does not hear that it expired."""
    history.send("health", expires=1_001.0)
    history.now = 2_000.0
    assert history.expire() == ["health"]
    history.retry("health")
    assert (history.expire(), history.state("health")) == ([], "ready")
