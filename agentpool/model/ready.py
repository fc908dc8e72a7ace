"""The order in which ready tasks start: one queue for each mailbox, since a mailbox works on one task at a time."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, TypeAlias

from agentpool.model.task import TaskState

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from agentpool.model.task import Task

#: rank, order, place, id; and the numbers of the settlement and of the runs so far
_Entry: TypeAlias = tuple[float, int, int, str, int, int]


class ReadyQueue:
    """Ready tasks by rank. A push costs O(log n); a task that is no longer ready is skipped when it comes up.

    An entry belongs to one stretch of being ready, which the numbers of the settlement and of the runs so far name.
    """

    def __init__(self, tasks: Mapping[str, Task]) -> None:
        self._tasks = tasks
        self._heaps: dict[str, list[_Entry]] = {}
        self._later: list[tuple[float, _Entry]] = []

    def push(self, task: Task) -> None:
        """Queue a task that has just become ready; one that must wait for its `not_before` is queued by `due`."""
        entry = (task.rank, task.order, task.place, task.id, task.settlement, task.starts)
        if task.not_before > 0:
            heappush(self._later, (task.not_before, entry))
        else:
            self._queue(task.to, entry)

    def due(self, now: float) -> float | None:
        """Queue what has waited long enough; the moment at which the next one has, if any waits."""
        while self._later:
            moment, entry = self._later[0]
            task = self._current(entry)
            if task is not None and moment > now:
                return moment
            heappop(self._later)
            if task is not None:
                self._queue(task.to, entry)
        return None

    def first(self, busy: Collection[str]) -> Task | None:
        """The task that is to start next, of those whose mailbox is not in `busy`."""
        best: _Entry | None = None
        for mailbox, heap in list(self._heaps.items()):
            if mailbox in busy:
                continue
            while heap and self._current(heap[0]) is None:
                heappop(heap)
            if not heap:
                del self._heaps[mailbox]
            elif best is None or heap[0] < best:
                best = heap[0]
        return None if best is None else self._tasks[best[3]]

    def _queue(self, mailbox: str, entry: _Entry) -> None:
        heappush(self._heaps.setdefault(mailbox, []), entry)

    def _current(self, entry: _Entry) -> Task | None:
        *_, task_id, settlement, starts = entry
        task = self._tasks.get(task_id)
        if task is None or task.state is not TaskState.READY:
            return None
        return task if (task.settlement, task.starts) == (settlement, starts) else None
