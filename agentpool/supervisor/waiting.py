"""Why a task does not move: every wait has a reason in one line, and the command that unblocks it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentpool.model.task import TaskState
from agentpool.supervisor.admission import Wait

if TYPE_CHECKING:
    from agentpool.model.task import Task
    from agentpool.supervisor.supervisor import Supervisor

_NAMED = 3


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
    if task.state is TaskState.DELEGATED:
        return Wait(f"it waits for the tasks that it sent: {named}", f"agentpool show {awaited[0]}" if awaited else "")
    if missing:
        return Wait(f"it waits for {missing[0]}, which has not arrived", f"send it, or: agentpool cancel {task.id}")
    return Wait(f"it waits for {named}", f"agentpool show {awaited[0]}" if awaited else "")
