from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agentpool.model.events import Step
from agentpool.model.mail import Mail, Priority, Status
from agentpool.model.run import FailureKind
from agentpool.model.task import TRANSITIONS, TaskState, task_from_mail

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.model.history import History

_B, _R, _X, _D = TaskState.BLOCKED, TaskState.READY, TaskState.RUNNING, TaskState.DELEGATED
_DONE, _FAILED, _CANCELLED = TaskState.DONE, TaskState.FAILED, TaskState.CANCELLED


def _blocked(history: History) -> None:
    history.send("t", "gate")


def _ready(history: History) -> None:
    history.send("t")


def _running(history: History) -> None:
    history.send("t")
    history.start("t")


def _delegated(history: History) -> None:
    history.send("t")
    history.delegate("t", "part")


def _blocked_and_cancelled(history: History) -> None:
    history.send("t", "gate")
    history.cancel("t")
    history.settle_due()


def _blocked_and_failed(history: History) -> None:
    history.send("t", "gate")
    history.answer("t", Status.FAILED)
    history.settle_due()


def _over(step: Step) -> Callable[[History], None]:
    def walk(history: History) -> None:
        history.send("t")
        history.run("t", step)

    return walk


def _gate_opens(history: History) -> None:
    history.send("gate", to="billing")
    history.run("gate")


def _answered(status: Status) -> Callable[[History], None]:
    def walk(history: History) -> None:
        history.answer("t", status)
        history.settle_due()

    return walk


def _cancelled(history: History) -> None:
    history.cancel("t")
    history.settle_due()


def _ends(step: Step) -> Callable[[History], None]:
    return lambda history: history.end("t", step, *([Mail("part", "auth")] if step is Step.DELEGATE else []))


_ROWS: dict[tuple[TaskState, TaskState], tuple[Callable[[History], None], Callable[[History], object]]] = {
    (_B, _R): (_blocked, _gate_opens),
    (_B, _FAILED): (_blocked, _answered(Status.FAILED)),
    (_B, _DONE): (_blocked, _answered(Status.DONE)),
    (_B, _CANCELLED): (_blocked, _cancelled),
    (_R, _X): (_ready, lambda history: history.start("t")),
    (_R, _FAILED): (_ready, _answered(Status.FAILED)),
    (_R, _DONE): (_ready, _answered(Status.DONE)),
    (_R, _CANCELLED): (_ready, _cancelled),
    (_X, _R): (_running, _ends(Step.RETRY)),
    (_X, _D): (_running, _ends(Step.DELEGATE)),
    (_X, _DONE): (_running, _ends(Step.DONE)),
    (_X, _FAILED): (_running, _ends(Step.FAILED)),
    (_X, _CANCELLED): (_running, _ends(Step.CANCELLED)),
    (_D, _R): (_delegated, lambda history: history.run("part")),
    (_D, _DONE): (_delegated, _answered(Status.DONE)),
    (_D, _FAILED): (_delegated, _answered(Status.FAILED)),
    (_D, _CANCELLED): (_delegated, _cancelled),
    (_FAILED, _R): (_over(Step.FAILED), lambda history: history.retry("t")),
    (_FAILED, _B): (_blocked_and_failed, lambda history: history.retry("t")),
    (_CANCELLED, _R): (_over(Step.CANCELLED), lambda history: history.retry("t")),
    (_CANCELLED, _B): (_blocked_and_cancelled, lambda history: history.retry("t")),
}


@pytest.mark.parametrize("row", _ROWS, ids=lambda row: f"{row[0]}-{row[1]}")
def test_a_row_of_the_table_is_walked(history: History, row: tuple[TaskState, TaskState]) -> None:
    """What people, runs and the supervisor do takes a task from one state to the other."""
    arrange, act = _ROWS[row]
    arrange(history)
    before = history.task("t").state
    act(history)
    assert (before, history.task("t").state) == row


def test_the_table_has_no_row_that_nothing_walks() -> None:
    """Each row above stands in the table, and each of the table's above."""
    assert set(_ROWS) == {(before, after) for before, allowed in TRANSITIONS.items() for after in allowed}


def test_a_state_is_settled_or_open() -> None:
    """Three of them are an end."""
    assert {state for state in TaskState if state.is_settled} == {_DONE, _FAILED, _CANCELLED}


def test_a_task_is_made_of_its_mail() -> None:
    """Its thread is its own where the mail names none; its rank is its time less the head start."""
    mail = Mail("t", "auth", priority=Priority.HIGH, depends_on=("a",), inputs=("b",), expires=9.0, body="# Do it\n")
    task = task_from_mail(mail, order=7, at=5_000.0, fingerprint="f")
    assert (task.thread, task.subject, task.order, task.rank) == ("t", "Do it", 7, 1_400.0)
    assert (task.depends_on, task.inputs, task.expires, task.fingerprint) == (("a",), ("b",), 9.0, "f")


def test_a_tasks_failure_is_of_a_known_kind(history: History) -> None:
    """It is kept with its reason until the task goes on well."""
    history.send("t")
    history.start("t")
    history.end("t", Step.RETRY, failure=FailureKind.CHECK)
    assert history.task("t").failure is FailureKind.CHECK
    history.delegate("t", "part")
    assert (history.task("t").failure, history.task("t").reason) == (None, "")
