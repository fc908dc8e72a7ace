"""Why a task does not move: every wait has a reason in one line, and what unblocks it where anybody can."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentpool.model.task import TaskState
from agentpool.supervisor.admission import Wait

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentpool.model.task import Task
    from agentpool.supervisor.supervisor import Supervisor

#: Awaited tasks that are named.
_NAMED = 3
#: Tasks that are looked at for what unblocks a wait.
_LOOKED_AT = 50


def why_it_waits(task: Task, supervisor: Supervisor, now: float) -> Wait:
    """Why an open task without a run does not move.

    Args:
        now: seconds since the epoch.
    """
    board = supervisor.board
    if task.id in board.due:
        return Wait(f"it is being settled: {board.due[task.id].reason}")
    if task.state is TaskState.READY:
        wait = supervisor.admission.wait_of(task, board.running(), now) or supervisor.admission.wait_of_pool()
        return wait or Wait("it is about to start")
    awaited = board.graph.waits_for(task.id)
    missing = [each for each in awaited if each in board.graph.placeholders]
    named = ", ".join(awaited[:_NAMED]) + (f" and {len(awaited) - _NAMED} more" if len(awaited) > _NAMED else "")
    tip = _tip_of_the_root(awaited, supervisor, now)
    if task.state is TaskState.DELEGATED:
        return Wait(f"it waits for the tasks that it sent: {named}", tip)
    if missing:
        return Wait(f"it waits for {missing[0]}, which has not arrived", f"send it, or: agentpool cancel {task.id}")
    return Wait(f"it waits for {named}", tip)


def _tip_of_the_root(awaited: Sequence[str], supervisor: Supervisor, now: float) -> str:
    """What unblocks the first of the awaited tasks that somebody can unblock; a task that runs needs nobody."""
    seen: set[str] = set()
    path = list(awaited)
    while path and len(seen) < _LOOKED_AT:
        task = supervisor.board.tasks.get(path.pop(0))
        if task is None or task.id in seen or task.state is TaskState.RUNNING:
            continue
        seen.add(task.id)
        further = supervisor.board.graph.waits_for(task.id)
        if task.state is TaskState.READY or any(each in supervisor.board.graph.placeholders for each in further):
            tip = why_it_waits(task, supervisor, now).tip
            if tip:
                return tip
        path += further
    return ""
