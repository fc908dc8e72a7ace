from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agentpool.model import events as ev
from agentpool.model.board import RECENT
from agentpool.model.mail import Mail, MailType, Priority, Status
from agentpool.model.run import FailureKind, RunReport, Usage

if TYPE_CHECKING:
    from tests.model.history import History


def test_a_task_that_waits_for_nothing_is_ready(history: History) -> None:
    """The simplest mail may start at once."""
    history.send("health")
    assert history.state("health") == "ready"
    assert history.first() == "health"


def test_a_task_waits_until_the_last_thing_it_waits_for_is_done(history: History) -> None:
    """Two dependencies hold it until both are done."""
    history.send("schema")
    history.send("model")
    history.send("api", "schema", "model")
    history.run("schema")
    assert (history.state("api"), history.board.graph.waits_for("api")) == ("blocked", ("model",))
    history.run("model")
    assert history.state("api") == "ready"


def test_a_done_dependency_is_not_waited_for(history: History) -> None:
    """What was done before the mail came is satisfied already, also from the index."""
    history.send("schema")
    history.run("schema")
    history.send("api", "schema")
    assert history.state("api") == "ready"


def test_inputs_are_waited_for_like_dependencies(history: History) -> None:
    """A response that goes into the prompt must be there first; naming an id twice waits once."""
    history.send("survey")
    history.send("report", "survey", inputs=("survey",))
    assert (history.state("report"), history.task("report").waits) == ("blocked", 1)
    history.run("survey")
    assert history.state("report") == "ready"


def test_a_dependency_may_arrive_later(history: History) -> None:
    """An id that has not arrived is a placeholder until it comes, and then an ordinary dependency."""
    history.send("api", "schema")
    assert history.board.graph.placeholders == {"schema": 1_000.0}
    history.send("schema")
    assert history.board.graph.placeholders == {}
    assert history.states("api", "schema") == ["blocked", "ready"]
    history.run("schema")
    assert history.state("api") == "ready"


def test_a_placeholder_goes_with_the_last_task_that_waits_for_it(history: History) -> None:
    """Nobody is told of a missing id that nobody waits for any more."""
    history.send("api", "schema")
    history.send("docs", "schema")
    history.cancel("api")
    history.settle_due()
    assert "schema" in history.board.graph.placeholders
    history.cancel("docs")
    history.settle_due()
    assert history.board.graph.placeholders == {}


@pytest.mark.parametrize("step", [ev.Step.FAILED, ev.Step.CANCELLED])
def test_a_failure_is_passed_on_to_all_that_wait(history: History, step: ev.Step) -> None:
    """The cascade goes through `due`, one settlement after the other, and each names where it began."""
    history.send("schema")
    history.send("api", "schema")
    history.send("page", "api")
    history.send("other")
    history.run("schema", step)
    assert history.settle_due() == ["api", "page"]
    assert history.states("api", "page", "other") == ["failed", "failed", "ready"]
    assert history.task("api").failure is FailureKind.DEPENDENCY
    assert history.task("api").origin == history.task("page").origin == "schema"
    assert history.task("page").reason == "it waits for api, which failed"
    assert history.board.settled["page"].origin == "schema"


def test_a_failure_from_before_is_passed_on_at_once(history: History) -> None:
    """Mail that depends on a task that has failed does not wait; it names the first failure."""
    history.send("schema")
    history.send("api", "schema")
    history.run("schema", ev.Step.FAILED)
    history.settle_due()
    history.send("page", "api")
    assert history.first() is None
    assert history.settle_due() == ["page"]
    assert history.task("page").origin == "schema"


def test_a_diamond_fails_once(history: History) -> None:
    """A task that hears of the same failure on two ways is settled once."""
    history.send("top")
    history.send("left", "top")
    history.send("right", "top")
    history.send("bottom", "left", "right")
    history.run("top", ev.Step.FAILED)
    assert history.settle_due() == ["left", "right", "bottom"]
    assert history.task("bottom").reason == "it waits for left, which failed"


def test_a_diamond_is_done_in_order(history: History) -> None:
    """The last task starts after both sides."""
    history.send("bottom", "left", "right")
    history.send("right", "top")
    history.send("left", "top")
    history.send("top")
    assert history.order() == ["top", "right", "left", "bottom"]


def test_a_chain_of_ten_thousand_fails_without_recursion(history: History) -> None:
    """The cascade costs what it touches, and no stack."""
    for number in range(10_000):
        history.send(f"t{number}", *([f"t{number - 1}"] if number else []))
    history.run("t0", ev.Step.FAILED)
    assert len(history.settle_due()) == 9_999
    assert not history.board.tasks
    assert history.board.settled["t9999"].origin == "t0"


@pytest.mark.parametrize("kind", [MailType.NOTIFY, MailType.CANCEL, MailType.RESPONSE])
def test_an_awaited_id_that_arrives_as_no_task_fails_those_who_wait(history: History, kind: MailType) -> None:
    """They would wait for ever otherwise."""
    history.send("other")
    history.send("api", "schema")
    history.receive(Mail("schema", "auth", kind, cancels="other", in_reply_to="other"))
    assert history.board.due["api"].reason == f"it waits for schema, which is no task but a {kind.value}"
    assert history.board.graph.waits_for("api") == ()
    history.settle_due()
    assert history.state("api") == "failed"


def test_a_dependency_on_a_note_of_before_fails(history: History) -> None:
    """A note's id is known, and never done."""
    history.note("news")
    history.send("api", "news")
    assert history.board.due["api"].reason == "it waits for news, which is no task"


def test_a_refusals_answer_takes_its_id(history: History) -> None:
    """What the supervisor writes is mail like any other: its id is taken, and nothing waits for it."""
    history.send("api", "x.refused")
    history.apply(
        ev.MailRefused(
            "postoffice/x.md", "x.md", "no addressee", Mail("x.refused", "human", MailType.NOTIFY, body="no")
        )
    )
    history.apply(ev.MailRefused("postoffice/y.md", "y.md", "a bounce of a bounce"))
    assert history.board.knows("x.refused")
    assert history.settle_due() == ["api"]


def test_a_person_is_told_once(history: History) -> None:
    """The key of a notice is remembered; its mail's id is taken, unless a task has it."""
    history.send("missing-a")
    history.send("api", "missing-a")
    for key in ("a", "b"):
        history.apply(ev.NoticeSent(key, Mail(f"missing-{key}", "human", MailType.NOTIFY, body="it does not come")))
    assert history.board.told == {"a", "b"}
    assert history.board.knows("missing-b")
    assert history.order() == ["missing-a", "api"]


# -- order ------------------------------------------------------------------------------------------------------------


def test_tasks_start_in_the_order_of_their_arrival(history: History) -> None:
    """First come, first served, also where all came in the same second."""
    for mail_id in ("c", "a", "b"):
        history.send(mail_id)
        history.now -= 1.0
    assert history.order() == ["c", "a", "b"]


def test_priority_is_a_head_start_and_nothing_starves(history: History) -> None:
    """High counts as an hour earlier, urgent as four, low as four later: what has waited longer still comes first."""
    arrivals = [
        ("low", 0.0, Priority.LOW),
        ("old", 0.0, Priority.NORMAL),
        ("high-in-time", 3_599.0, Priority.HIGH),
        ("high-too-late", 3_700.0, Priority.HIGH),
        ("urgent", 14_300.0, Priority.URGENT),
        ("new", 14_350.0, Priority.NORMAL),
        ("newest", 14_500.0, Priority.NORMAL),
    ]
    for mail_id, at, priority in arrivals:
        history.now = at
        history.send(mail_id, priority=priority)
    assert history.order() == ["urgent", "high-in-time", "old", "high-too-late", "new", "low", "newest"]


def test_a_busy_mailbox_holds_only_its_own_tasks(history: History) -> None:
    """Each mailbox has a queue of its own; of all free ones the best task starts."""
    history.send("a1")
    history.send("a2")
    history.send("b1", to="billing")
    history.send("b2", to="billing", priority=Priority.HIGH)
    assert history.first() == "b2"
    assert history.first("billing") == "a1"
    assert history.first("auth", "billing") is None


def test_a_task_of_a_person_is_in_their_queue(history: History) -> None:
    """Work for `human` is ready like any other: who starts runs leaves such mailboxes out."""
    history.send("approve", to="human")
    assert history.first("human") is None
    assert history.state("approve") == "ready"


def test_what_was_sent_together_keeps_its_order(history: History) -> None:
    """Tasks of one outbox have the same rank; they start as they were sent, in whatever order they became ready."""
    history.send("gate")
    history.send("plan")
    parts = [Mail("z", "auth", depends_on=("gate",), body="x"), Mail("y", "auth", body="x")]
    history.run("plan", ev.Step.DELEGATE, *parts)
    history.run("gate")
    assert history.order() == ["z", "y", "plan"]


def test_a_task_that_must_pause_is_started_after_its_pause(history: History) -> None:
    """`not_before` keeps it out of the queue; the queue tells when to look again."""
    history.send("flaky")
    history.send("other")
    history.start("flaky")
    history.end("flaky", ev.Step.RETRY, failure=FailureKind.TRANSIENT, not_before=history.now + 60)
    assert history.first() == "other"
    due = history.board.ready.due(history.now)
    assert due == history.task("flaky").not_before
    assert history.first("billing") == "other"
    history.now = due
    assert history.first() == "flaky"
    assert history.board.ready.due(history.now) is None


def test_a_task_cancelled_in_its_pause_is_never_queued(history: History) -> None:
    """The pause of a task that is over ends nothing and is waited for by nobody."""
    history.send("flaky")
    history.start("flaky")
    history.end("flaky", ev.Step.RETRY, failure=FailureKind.TRANSIENT, not_before=history.now + 60)
    history.cancel("flaky")
    history.settle_due()
    assert history.board.ready.due(history.now) is None
    assert history.first() is None


def test_a_retried_task_is_queued_once(history: History) -> None:
    """What is left of its first stay in the queue does not start it before its pause is over."""
    history.send("flaky")
    history.start("flaky")
    history.end("flaky", ev.Step.RETRY, failure=FailureKind.TRANSIENT, not_before=history.now + 60)
    assert history.first() is None


# -- runs -------------------------------------------------------------------------------------------------------------


def test_a_run_that_ends_well_settles_its_task(history: History) -> None:
    """Its times, its cost and its state are kept; its mailbox is free again."""
    history.send("health")
    run = history.start("health")
    assert (history.task("health").run, history.task("health").reserved_usd) == (run, 5.0)
    assert [task.id for task in history.board.running()] == ["health"]
    history.end("health", cost_usd=0.25)
    task = history.task("health")
    assert (task.state.value, task.run, task.cost_usd, task.reserved_usd) == ("done", None, 0.25, 0.0)
    assert (task.created, task.started, task.ended) == (1_000.0, 1_001.0, 1_002.0)
    assert history.board.running() == []
    assert history.board.spending.on(history.now) == 0.25


def test_the_process_of_a_run_is_remembered_until_the_next(history: History) -> None:
    """A supervisor that comes back knows which process to look for."""
    history.send("health")
    run = history.start("health")
    started = ev.RunStarted(run, "health", 4711, 99, "boot")
    history.apply(started)
    assert history.task("health").process == started
    history.apply(ev.RunAdopted(run, "health", 4711))
    history.end("health", ev.Step.RETRY, failure=FailureKind.CHECK)
    history.start("health")
    assert history.task("health").process is None


def test_the_oldest_run_is_named_first(history: History) -> None:
    """Runs are listed by their start, not by their task."""
    history.send("a")
    history.send("b", to="billing")
    history.start("b")
    history.start("a")
    assert [task.id for task in history.board.running()] == ["b", "a"]
    assert [task.id for task in history.reloaded().running()] == ["b", "a"]


def test_a_retry_uses_an_attempt_and_a_release_does_not(history: History) -> None:
    """`release` is for what was not the task's fault."""
    history.send("health")
    history.start("health")
    history.end("health", ev.Step.RELEASE, failure=FailureKind.LIMIT)
    assert (history.state("health"), history.task("health").attempt, history.task("health").starts) == ("ready", 0, 1)
    history.start("health")
    history.end("health", ev.Step.RETRY, failure=FailureKind.CHECK)
    task = history.task("health")
    assert (task.attempt, task.starts, task.failure, task.reason) == (1, 2, FailureKind.CHECK, "check happened")


def test_a_row_of_transient_failures_begins_with_its_first(history: History) -> None:
    """Any other end of a run breaks the row."""
    history.send("health")
    seen = []
    for failure in (FailureKind.TRANSIENT, FailureKind.TRANSIENT, FailureKind.CHECK, FailureKind.TRANSIENT):
        history.start("health")
        history.end("health", ev.Step.RETRY, failure=failure)
        seen.append(history.task("health").first_failure)
    assert seen == [1_002.0, 1_002.0, None, 1_008.0]


def test_notes_are_handed_over_once(history: History) -> None:
    """They start nothing, wait for the mailbox's next run, and are gone with it; later ones wait for the one after."""
    history.note("news")
    history.note("more")
    history.note("elsewhere", to="billing")
    assert history.first() is None
    history.send("health")
    history.start("health", notes=("news", "more"))
    assert history.task("health").notes == ("news", "more")
    history.note("late")
    assert history.board.notes == {"auth": ["late"], "billing": ["elsewhere"]}
    history.end("health", ev.Step.RETRY, failure=FailureKind.CHECK)
    history.start("health", notes=("late",))
    assert history.task("health").notes == ("news", "more", "late")


def test_notes_for_people_wait_in_their_inbox_instead(history: History) -> None:
    """No run takes them along."""
    history.note("news", to="human")
    assert history.board.notes == {}
    assert history.board.knows("news")


def test_an_answer_without_an_open_parent_is_a_note_for_its_asker(history: History) -> None:
    """An expert that asked by hand hears of it with its next run; a person finds it in the inbox."""
    history.receive(Mail("q", "auth", sender="billing", body="where?"))
    history.run("q")
    history.receive(Mail("q2", "auth", sender="billing", body="when?"))
    history.cancel("q2")
    history.settle_due()
    history.send("p")
    history.run("p")
    assert history.board.notes == {"billing": ["q.response", "q2.response"]}


# -- people's answers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "state"),
    [(None, "done"), (Status.DONE, "done"), (Status.FAILED, "failed"), (Status.BLOCKED, "failed")],
)
def test_a_persons_answer_settles_a_task(history: History, status: Status | None, state: str) -> None:
    """By its status; the answer's id and subject are kept for the response."""
    history.send("which-port", to="human")
    history.send("configure", "which-port")
    history.answer("which-port", status)
    due = history.board.due["which-port"]
    assert (due.answer, due.reason) == ("answer-which-port", "use port 8080")
    history.settle_due()
    assert history.state("which-port") == state
    assert history.state("configure") == ("ready" if state == "done" else "failed")


def test_a_person_may_answer_a_task_that_still_waits(history: History) -> None:
    """Blocked or delegated: who knows the answer need not wait for others."""
    history.send("blocked", "missing")
    history.answer("blocked")
    history.send("plan")
    history.delegate("plan", "part")
    history.answer("plan")
    assert history.settle_due() == ["blocked", "plan"]
    assert history.states("blocked", "plan", "part") == ["done", "done", "ready"]
    history.run("part")
    assert not history.board.tasks


def test_the_first_answer_counts(history: History) -> None:
    """A second one, or a cancellation that comes after it, changes nothing."""
    history.send("which-port", to="human")
    history.answer("which-port", mail_id="first")
    history.answer("which-port", Status.FAILED, mail_id="second")
    history.cancel("which-port")
    history.settle_due()
    assert history.state("which-port") == "done"


def test_an_answer_to_a_running_task_waits_for_the_next_run(history: History) -> None:
    """The run settles its task; the person's word is not lost."""
    history.send("health")
    history.start("health")
    history.answer("health")
    assert history.board.due == {}
    assert history.board.notes == {"auth": ["answer-health"]}


def test_an_answer_to_what_is_over_is_a_note(history: History) -> None:
    """Nothing is settled twice."""
    history.send("health")
    history.run("health")
    history.answer("health")
    assert history.board.due == {}
    assert history.board.notes == {"auth": ["answer-health"]}


# -- expiry -----------------------------------------------------------------------------------------------------------


def test_a_task_expires_that_was_never_started(history: History) -> None:
    """Blocked or ready, at its moment and not before; each is named until it is settled."""
    history.send("ready", expires=2_000.0)
    history.send("blocked", "missing", expires=2_500.0)
    history.send("for-ever")
    assert history.board.next_expiry() == 2_000.0
    history.now = 1_999.0
    assert history.expire() == []
    history.now = 3_000.0
    assert history.expire() == ["ready", "blocked"]
    assert history.expire() == []
    assert history.board.next_expiry() is None
    assert history.task("blocked").failure is FailureKind.EXPIRED


def test_a_task_that_was_started_or_is_over_does_not_expire(history: History) -> None:
    """Its time was meant for the start."""
    history.send("released", expires=2_000.0)
    history.start("released")
    history.end("released", ev.Step.RELEASE, failure=FailureKind.LIMIT)
    history.send("cancelled", expires=2_000.0)
    history.cancel("cancelled")
    history.settle_due()
    history.now = 3_000.0
    assert history.expire() == []
    assert history.board.expired(3_000.0) == []


def test_expiry_is_known_after_a_restart(history: History) -> None:
    """A snapshot keeps it, except for what was started already."""
    history.send("ready", expires=2_000.0)
    history.send("started", to="billing", expires=1_500.0)
    history.start("started")
    assert history.reloaded().next_expiry() == 2_000.0


# -- memory -----------------------------------------------------------------------------------------------------------


def test_the_graph_is_empty_when_nothing_is_open(history: History) -> None:
    """Settled tasks leave it: memory is that of what is open."""
    for number in range(50):
        history.send(f"t{number}", *([f"t{number - 1}"] if number else []))
    assert len(history.order()) == 50
    assert len(history.board.graph._graph) == 0
    assert len(history.board.settled) == 50


def test_only_the_last_settled_tasks_are_kept_in_full(history: History) -> None:
    """The others are remembered by their state."""
    for number in range(RECENT + 3):
        history.send(f"t{number}")
        history.run(f"t{number}")
    assert len(history.board.recent) == RECENT
    assert history.board.find("t2") is None
    assert history.board.knows("t2")


def test_what_is_old_is_forgotten(history: History) -> None:
    """Settled tasks and other mail from before a moment go, with their fingerprints; what is open or waits stays."""
    history.send("old")
    history.run("old")
    history.send("open")
    history.note("waiting")
    history.note("read", to="human")
    moment = history.now
    history.send("new")
    history.run("new")
    history.note("new-note", to="human")
    history.apply(ev.HistoryForgotten(moment))
    board = history.board
    known = [mail_id for mail_id in ("old", "open", "waiting", "read", "new", "new-note") if board.knows(mail_id)]
    assert known == ["open", "waiting", "new", "new-note"]
    assert sorted(board.fingerprints) == ["print-new", "print-new-note", "print-open", "print-waiting"]
    assert board.find("old") is None


def test_a_mail_without_a_fingerprint_leaves_none(history: History) -> None:
    """Mail that came through the gateway has no file to recognise."""
    history.apply(ev.MailAccepted(Mail("health", "auth", body="x")))
    assert history.board.fingerprints == {}


# -- the pool ---------------------------------------------------------------------------------------------------------


def test_holds_come_and_go(history: History) -> None:
    """Each has its reason, its beginning and, where known, its end."""
    history.apply(ev.PoolStarted("1.0", 1))
    history.apply(ev.PoolHeld(ev.Hold.LIMIT, "resets at noon", 5_000.0))
    hold = history.board.holds[ev.Hold.LIMIT]
    assert (hold.reason, hold.since, hold.until) == ("resets at noon", 1_001.0, 5_000.0)
    history.apply(ev.PoolReleased(ev.Hold.LIMIT))
    history.apply(ev.PoolReleased(ev.Hold.LIMIT))
    history.apply(ev.MailRead("x", "human"))
    history.apply(ev.PoolStopped("drained"))
    assert history.board.holds == {}
    assert history.board.seq == 6


def test_the_cost_of_every_run_counts(history: History) -> None:
    """Failed runs cost money too: on the task, and on its day."""
    history.send("health")
    run = history.start("health")
    report = RunReport(FailureKind.CHECK, "red", usage=Usage(0.5))
    history.apply(ev.RunSettled(run, "health", ev.Step.RETRY, report, FailureKind.CHECK))
    history.run("health", cost_usd=0.25)
    assert history.task("health").cost_usd == 0.75
    assert history.board.spending.by_day == {"1970-01-01": 0.75}
