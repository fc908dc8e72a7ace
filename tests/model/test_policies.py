from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentpool.model.events import Hold, Step
from agentpool.model.mail import Mail, MailType, Priority, Status
from agentpool.model.policies import RetryPolicy, Verdict, after_run, backoff
from agentpool.model.run import Denial, EndedBy, FailureKind, RunReport
from agentpool.model.task import Task

_NOW = 10_000.0
_POLICY = RetryPolicy()


def _task(attempt: int = 1, *, continuations: int = 0, cancelled: bool = False, first: float | None = None) -> Task:
    task = Task("t", "auth", "human", MailType.TASK, Priority.NORMAL, "t", 1, 0.0)
    task.attempt, task.continuations, task.cancel_requested, task.first_failure = (
        attempt, continuations, cancelled, first,
    )  # fmt: skip
    return task


def _after(
    report: RunReport | FailureKind | None = None,
    *outbox: Mail,
    task: Task | None = None,
    ended_by: EndedBy = EndedBy.ITSELF,
    problem: str = "",
    policy: RetryPolicy = _POLICY,
) -> Verdict:
    if not isinstance(report, RunReport):
        report = RunReport(report, "as it went", ended_by)
    return after_run(task or _task(), report, policy=policy, now=_NOW, run="t.1", outbox=outbox, outbox_problem=problem)


def _response(status: Status | None, body: str = "") -> Mail:
    return Mail("r", "human", MailType.RESPONSE, status=status, body=body)


def test_a_run_that_ended_well_is_done() -> None:
    """With or without an answer of its own, and with notes beside it."""
    note = Mail("n", "auth", MailType.NOTIFY)
    assert _after() == _after(None, note) == _after(None, _response(None)) == Verdict(Step.DONE)
    assert _after(None, _response(Status.DONE)) == Verdict(Step.DONE)


@pytest.mark.parametrize("report", [None, FailureKind.TRANSIENT, FailureKind.LIMIT])
def test_a_cancelled_task_is_cancelled_whatever_its_run_came_to(report: FailureKind | None) -> None:
    """The request was durable before the result."""
    assert _after(report, task=_task(cancelled=True)) == Verdict(Step.CANCELLED, reason="cancelled")


def test_a_run_that_sent_tasks_delegates() -> None:
    """Also where it wrote an answer already."""
    assert _after(None, _response(Status.FAILED), Mail("a", "auth")) == Verdict(Step.DELEGATE)


def test_delegation_has_an_end() -> None:
    """After so many continuations no more tasks are sent."""
    assert _after(None, Mail("a", "auth"), task=_task(continuations=7)).step is Step.DELEGATE
    verdict = _after(None, Mail("a", "auth"), task=_task(continuations=8))
    assert (verdict.step, verdict.failure) == (Step.FAILED, FailureKind.AGENT)
    assert verdict.reason == "it sent tasks again after 8 continuations, which is the limit"
    assert _after(task=_task(continuations=8)).step is Step.DONE


@pytest.mark.parametrize(
    ("status", "failure", "reason"),
    [
        (Status.FAILED, FailureKind.AGENT, "the agent says that it failed"),
        (Status.BLOCKED, FailureKind.AGENT, "the agent says that it is blocked"),
        (Status.NEEDS_INPUT, FailureKind.NEEDS_INPUT, "the agent needs input"),
    ],
)
def test_the_agents_own_word_is_believed_when_it_is_bad(status: Status, failure: FailureKind, reason: str) -> None:
    """No second attempt is paid for; the reason is the answer's first line."""
    assert _after(None, _response(status)) == Verdict(Step.FAILED, failure, reason)
    verdict = _after(None, _response(status, "# no such table\nmore"))
    assert verdict == Verdict(Step.FAILED, failure, f"{reason}: no such table")


def test_an_agent_that_failed_for_want_of_tools_says_which() -> None:
    """The rules that would let them pass stand in the reason, each once; an agent that asks still asks."""
    denials = (Denial("Bash", "Bash(npm test:*)"), Denial("Bash", "Bash(npm test:*)"), Denial("Write", "Write"))
    report = RunReport(None, "as it went", denials=denials)
    verdict = _after(report, _response(Status.FAILED, "no tests"))
    assert (verdict.step, verdict.failure) == (Step.FAILED, FailureKind.PERMISSION)
    assert verdict.reason == ("tools were refused to it (`[agent] allowed_tools`: Bash(npm test:*), Write): no tests")
    assert _after(report, _response(Status.NEEDS_INPUT)).failure is FailureKind.NEEDS_INPUT
    assert _after(report, _response(Status.DONE)) == Verdict(Step.DONE)


def test_a_refused_outbox_is_tried_again_with_the_reason() -> None:
    """Until the attempts are used up; it is a check that failed."""
    verdict = _after(problem="a: there is no mailbox")
    assert verdict == Verdict(Step.RETRY, FailureKind.CHECK, "its outbox was refused: a: there is no mailbox")
    verdict = _after(problem="x", task=_task(3))
    assert verdict == Verdict(Step.FAILED, FailureKind.CHECK, "its outbox was refused: x (tried 3 times)")


@pytest.mark.parametrize(("failure", "hold"), [(FailureKind.LIMIT, Hold.LIMIT), (FailureKind.AUTH, Hold.AUTH)])
def test_a_limit_and_a_missing_login_hold_the_pool(failure: FailureKind, hold: Hold) -> None:
    """No attempt is used, however many there were."""
    assert _after(failure, task=_task(99)) == Verdict(Step.RELEASE, failure, "as it went", hold=hold)


def test_a_command_that_cannot_be_started_holds_the_pool() -> None:
    """It is no task's fault."""
    verdict = _after(FailureKind.SUPERVISOR, ended_by=EndedBy.NEVER_STARTED)
    assert verdict == Verdict(Step.RELEASE, FailureKind.SUPERVISOR, "as it went", hold=Hold.AGENT)


def test_a_run_that_was_stopped_uses_no_attempt() -> None:
    """It goes on when a supervisor is back."""
    verdict = _after(FailureKind.AGENT, ended_by=EndedBy.STOP, task=_task(99))
    assert (verdict.step, verdict.hold) == (Step.RELEASE, None)
    assert verdict.reason == "it was stopped together with the supervisor"


@pytest.mark.parametrize("failure", [FailureKind.CHECK, FailureKind.SUPERVISOR])
def test_what_may_go_better_is_tried_again_at_once(failure: FailureKind) -> None:
    """So often as attempts are allowed."""
    assert _after(failure, task=_task(2)) == Verdict(Step.RETRY, failure, "as it went")
    assert _after(failure, task=_task(3)) == Verdict(Step.FAILED, failure, "as it went (tried 3 times)")
    assert _after(failure, task=_task(1), policy=RetryPolicy(max_attempts=1)).step is Step.FAILED


def test_a_silent_run_is_tried_again_and_one_that_is_too_long_is_not() -> None:
    """Silence may be a bad connection; a task that needs longer needs longer the next time too."""
    assert _after(FailureKind.TIMEOUT, ended_by=EndedBy.STALL).step is Step.RETRY
    assert _after(FailureKind.TIMEOUT, ended_by=EndedBy.TIMEOUT).step is Step.FAILED


@pytest.mark.parametrize(
    "failure", [FailureKind.BUDGET, FailureKind.PERMISSION, FailureKind.NEEDS_INPUT, FailureKind.AGENT]
)
def test_what_would_only_happen_again_fails(failure: FailureKind) -> None:
    """At the first attempt."""
    assert _after(failure) == Verdict(Step.FAILED, failure, "as it went")


def test_a_transient_failure_is_tried_again_after_a_pause() -> None:
    """Attempts first, and beyond them for as long as the horizon allows."""
    verdict = _after(FailureKind.TRANSIENT)
    assert (verdict.step, verdict.hold) == (Step.RETRY, None)
    assert verdict.not_before == _NOW + backoff(1, _POLICY, "t.1")
    assert _after(FailureKind.TRANSIENT, task=_task(5, first=_NOW - 900)).step is Step.RETRY
    assert _after(FailureKind.TRANSIENT, task=_task(5, first=0.0)).step is Step.FAILED
    assert _after(FailureKind.TRANSIENT, task=_task(2, first=0.0)).step is Step.RETRY
    verdict = _after(FailureKind.TRANSIENT, task=_task(5, first=_NOW - 1_800))
    assert verdict == Verdict(Step.FAILED, FailureKind.TRANSIENT, "as it went (tried 5 times)")


def test_transient_failures_outlast_a_quarter_of_an_hour() -> None:
    """A wall of overload of fifteen minutes fails no task."""
    now, attempt = 0.0, 1
    while True:
        task = _task(attempt, first=0.0)
        report = RunReport(FailureKind.TRANSIENT, "529")
        verdict = after_run(task, report, policy=_POLICY, now=now, run=f"t.{attempt}")
        if verdict.step is Step.FAILED:
            break
        assert verdict.not_before is not None
        now, attempt = verdict.not_before, attempt + 1
    assert now > 900


@given(st.integers(0, 10**6), st.text(max_size=20))
def test_a_pause_doubles_is_bounded_and_spread(attempt: int, run: str) -> None:
    """By at most a quarter; tasks that failed together do not come back together."""
    pause = backoff(attempt, _POLICY, run)
    assert 5.0 <= pause <= 300.0 * 1.25
    assert backoff(attempt + 1, _POLICY, run) in (pause, min(2 * pause, 300.0 / 5.0 * backoff(1, _POLICY, run)))


def test_pauses_of_different_runs_differ() -> None:
    """The run's id spreads them, the same each time."""
    pauses = [backoff(1, _POLICY, f"t{number}.1") for number in range(20)]
    assert len(set(pauses)) == 20
    assert pauses == [backoff(1, _POLICY, f"t{number}.1") for number in range(20)]
