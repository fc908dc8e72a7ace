"""The order in which ready tasks start: one queue for each mailbox, since a mailbox works on one task at a time."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

from agentpool.model.task import TaskState

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from agentpool.model.task import Task


class ReadyQueue:
    """Ready tasks by rank. A push costs O(log n); a task that is no longer ready is skipped when it comes up."""

    def __init__(self, tasks: Mapping[str, Task]) -> None:
        self._tasks = tasks
        self._heaps: dict[str, list[tuple[float, int, int, str]]] = {}
        self._later: list[tuple[float, int, str]] = []
        self._tickets = 0

    def push(self, task: Task) -> None:
        """Queue a task that has just become ready; one that must wait for its `not_before` is queued by `due`."""
        self._tickets += 1
        task.ticket = self._tickets
        if task.not_before > 0:
            heappush(self._later, (task.not_before, task.ticket, task.id))
        else:
            self._queue(task)

    def due(self, now: float) -> float | None:
        """Queue what has waited long enough; the moment at which the next one has, if any waits."""
        while self._later:
            moment, ticket, task_id = self._later[0]
            task = self._current(task_id, ticket)
            if task is not None and moment > now:
                return moment
            heappop(self._later)
            if task is not None:
                self._queue(task)
        return None

    def first(self, busy: Collection[str]) -> Task | None:
        """The task that is to start next, of those whose mailbox is not in `busy`."""
        best: tuple[float, int, int, str] | None = None
        for mailbox, heap in list(self._heaps.items()):
            if mailbox in busy:
                continue
            while heap and self._current(heap[0][3], heap[0][2]) is None:
                heappop(heap)
            if not heap:
                del self._heaps[mailbox]
            elif best is None or heap[0] < best:
                best = heap[0]
        return None if best is None else self._tasks[best[3]]

    def _queue(self, task: Task) -> None:
        heappush(self._heaps.setdefault(task.to, []), (task.rank, task.order, task.ticket, task.id))

    def _current(self, task_id: str, ticket: int) -> Task | None:
        task = self._tasks.get(task_id)
        return task if task is not None and task.ticket == ticket and task.state is TaskState.READY else None
