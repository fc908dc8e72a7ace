"""Where a task goes when a run of it has ended: the rules, without any I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from zlib import crc32

from agentpool.model.events import Hold, Step
from agentpool.model.mail import Mail, MailType, Status
from agentpool.model.run import EndedBy, FailureKind, RunReport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentpool.model.task import Task


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and for how long is tried again; all times in seconds.

    Args:
        max_attempts: attempts that may be used.
        max_continuations: continuation runs that may be used.
        first_delay: pause before the second attempt after a transient failure; each further one is twice as long.
        most_delay: the longest pause.
        transient_horizon: for how long transient failures in a row are tried again, whatever the attempts.
    """

    max_attempts: int = 3
    max_continuations: int = 8
    first_delay: float = 5.0
    most_delay: float = 300.0
    transient_horizon: float = 1800.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where the task goes.

    Args:
        not_before: seconds since the epoch; None when it may start at once or is settled.
        hold: what the whole pool is to be held for.
    """

    step: Step
    failure: FailureKind | None = None
    reason: str = ""
    not_before: float | None = None
    hold: Hold | None = None


_RETRIED = (FailureKind.CHECK, FailureKind.SUPERVISOR)
_HOLDS = {FailureKind.LIMIT: Hold.LIMIT, FailureKind.AUTH: Hold.AUTH}
_NEGATIVE = {
    Status.FAILED: (FailureKind.AGENT, "the agent says that it failed"),
    Status.BLOCKED: (FailureKind.AGENT, "the agent says that it is blocked"),
    Status.NEEDS_INPUT: (FailureKind.NEEDS_INPUT, "the agent needs input"),
}


def after_run(  # noqa: PLR0911 - one return for each rule, in the order in which they hold
    task: Task,
    report: RunReport,
    *,
    policy: RetryPolicy,
    now: float,
    run: str,
    outbox: Sequence[Mail] = (),
    outbox_problem: str = "",
) -> Verdict:
    """Where a task goes after its run.

    Args:
        outbox: what the run wants to send, its response among it.
        outbox_problem: why nothing of the outbox can enter the pool; empty when it can.
        now: seconds since the epoch.
        run: the run's id, which spreads the pauses of tasks that failed together.
    """
    if task.cancel_requested:
        return Verdict(Step.CANCELLED, reason="cancelled")
    if report.failure is not None:
        return _after_failure(task, report, report.failure, policy, now, run)
    if outbox_problem:
        return _try_again(task, FailureKind.CHECK, f"its outbox was refused: {outbox_problem}", policy, None)
    response = next((mail for mail in outbox if mail.type is MailType.RESPONSE), None)
    if any(mail.type.is_work for mail in outbox):
        if task.continuations >= policy.max_continuations:
            reason = f"it sent tasks again after {task.continuations} continuations, which is the limit"
            return Verdict(Step.FAILED, FailureKind.AGENT, reason)
        return Verdict(Step.DELEGATE)
    if response is not None and response.status in _NEGATIVE:
        failure, reason = _NEGATIVE[response.status]
        if report.denials and failure is FailureKind.AGENT:
            rules = ", ".join(dict.fromkeys(denial.rule for denial in report.denials))
            failure, reason = FailureKind.PERMISSION, f"tools were refused to it (`[agent] allowed_tools`: {rules})"
        return Verdict(Step.FAILED, failure, f"{reason}: {response.subject}" if response.subject else reason)
    return Verdict(Step.DONE)


def _after_failure(  # noqa: PLR0911 - as above
    task: Task, report: RunReport, failure: FailureKind, policy: RetryPolicy, now: float, run: str
) -> Verdict:
    if report.ended_by is EndedBy.STOP:
        return Verdict(Step.RELEASE, failure, "it was stopped together with the supervisor")
    if report.ended_by is EndedBy.NEVER_STARTED:
        return Verdict(Step.RELEASE, failure, report.text, hold=Hold.AGENT)
    if failure in _HOLDS:
        return Verdict(Step.RELEASE, failure, report.text, hold=_HOLDS[failure])
    if failure is FailureKind.TRANSIENT:
        first = task.first_failure if task.first_failure is not None else now
        pause = backoff(task.attempt, policy, run)
        if task.attempt < policy.max_attempts or now + pause - first <= policy.transient_horizon:
            return Verdict(Step.RETRY, failure, report.text, now + pause)
        return Verdict(Step.FAILED, failure, f"{report.text} (tried {task.attempt} times)")
    if failure in _RETRIED or report.ended_by is EndedBy.STALL:
        return _try_again(task, failure, report.text, policy, None)
    return Verdict(Step.FAILED, failure, report.text)


def _try_again(task: Task, failure: FailureKind, reason: str, policy: RetryPolicy, not_before: float | None) -> Verdict:
    if task.attempt < policy.max_attempts:
        return Verdict(Step.RETRY, failure, reason, not_before)
    return Verdict(Step.FAILED, failure, f"{reason} (tried {task.attempt} times)")


def backoff(attempt: int, policy: RetryPolicy, run: str) -> float:
    """Seconds to wait after the given attempt: doubling, bounded, and spread by up to a quarter by the run's id."""
    doublings = min(max(0, attempt - 1), 64)  # a configured `max_attempts` may be in the thousands
    pause = min(policy.first_delay * 2.0**doublings, policy.most_delay)
    spread = crc32(run.encode()) / 2**32
    return pause * (1 + spread / 4)
