"""Whether a ready task may start now, and if not, why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentpool.model.events import Hold
from agentpool.model.names import PEOPLE
from agentpool.model.ownership import overlap
from agentpool.pool.setting_types import Writers
from agentpool.supervisor.memory import free_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agentpool.model.board import Board, HoldState
    from agentpool.model.task import Task
    from agentpool.supervisor.settings import Settings


@dataclass(frozen=True, slots=True)
class Wait:
    """Why something does not move.

    Args:
        reason: one line.
        tip: the command, or the setting, that unblocks it; empty where only time does.
    """

    reason: str
    tip: str = ""


class Admission:
    """Decides which ready task starts next."""

    def __init__(self, settings: Settings, board: Board, holds: Callable[[], Mapping[Hold, HoldState]]) -> None:
        self._settings = settings
        self._board = board
        self._holds = holds
        self.closed: Wait | None = None

    def next(self, now: float, starting: Sequence[Task] = ()) -> Task | None:
        """The ready task that may start now, if any; `None` leaves the reason to `wait_of_pool` and `wait_of`.

        Args:
            now: seconds since the epoch.
            starting: tasks that this has named already and whose start the board does not know of yet.
        """
        self._board.ready.due(now)
        if self.wait_of_pool(len(starting)) is not None:
            return None
        running = [*self._board.running(), *starting]
        blocked = {task.to for task in running} | PEOPLE
        while (task := self._board.ready.first(blocked)) is not None:
            if self.wait_of(task, running, now) is None:
                return task
            blocked.add(task.to)
        return None

    def wait_of_pool(self, starting: int = 0) -> Wait | None:
        """Why nothing at all starts; `starting` counts the runs that are about to."""
        if self.closed is not None:
            return self.closed
        for hold, state in self._holds().items():
            return Wait(f"the pool is held ({hold}): {state.reason}", HOLD_TIPS[hold])
        running = len(self._board.running()) + starting
        if running >= self._settings.max_runs:
            return Wait(f"{running} runs live, which is the limit", "agentpool status; raise `[limits] max_runs`")
        needed = self._settings.configuration.limits.run_memory
        if needed and free_memory() < needed * (starting + 1):
            return Wait(
                "there is too little free memory for another run", "free memory, or lower `[limits] run_memory`"
            )
        return None

    def wait_of(  # noqa: PLR0911 - one return for each reason
        self, task: Task, running: list[Task], now: float
    ) -> Wait | None:
        """Why this ready task in particular does not start, apart from what holds the whole pool."""
        if task.to in PEOPLE:
            return Wait(
                f"it waits for an answer of {task.to}",
                f'agentpool send {task.sender} "…" --type response --in-reply-to {task.id} --from {task.to}',
            )
        if task.to not in self._settings.mailboxes:
            return Wait(f"there is no expert {task.to} any more", f"agentpool init --expert {task.to}")
        if task.not_before > now:
            return Wait(f"it is tried again in {task.not_before - now:.0f} s: {task.reason}")
        busy = next((other for other in running if other.to == task.to), None)
        if busy is not None:
            return Wait(f"{task.to} works on {busy.id}")
        settings = self._settings.configuration.settings_for(task.to)
        budget = self._settings.configuration.budget
        reserved = sum(other.reserved_usd or self._may_cost(other) for other in running)
        spent = self._board.spending.on(now)
        if spent + reserved + settings.run_usd > budget.day_usd:
            return Wait(
                f"its run may cost ${settings.run_usd:.2f}; of today's ${budget.day_usd:.2f}, ${spent:.2f} are spent "
                f"and ${reserved:.2f} reserved by runs that live",
                "" if reserved else "raise `[budget] day_usd`, or wait for tomorrow (UTC)",
            )
        if self._settings.configuration.pool.writers is Writers.OWNED:
            for other in running:
                if overlap(settings.owns, self._settings.configuration.settings_for(other.to).owns):
                    return Wait(f"{other.to} writes to the same files (task {other.id})")
        return None

    def _may_cost(self, task: Task) -> float:
        return self._settings.configuration.settings_for(task.to).run_usd

    def budget_is_spent(self, now: float) -> bool:
        """Whether not even one run more fits into today's budget, with nothing reserved."""
        budget = self._settings.configuration.budget
        return self._board.spending.on(now) + budget.run_usd > budget.day_usd + 1e-9


HOLD_TIPS = {
    Hold.LIMIT: "nothing to do: it goes on by itself",
    Hold.AUTH: "log in with `claude /login` or set ANTHROPIC_API_KEY, then: agentpool stop --leave; agentpool start -d",
    Hold.BUDGET: "raise `[budget] day_usd`, or wait for tomorrow (UTC)",
    Hold.DISK: "free space on the disk: df -h; it goes on by itself",
    Hold.AGENT: "see what is wrong with: agentpool doctor",
}
