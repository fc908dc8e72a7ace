"""`taskboard.json`: the board as people and scripts may read it without a supervisor."""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING

from agentpool.model.moment import iso
from agentpool.pool import atomic

if TYPE_CHECKING:
    from pathlib import Path

    from agentpool.model.board import Board
    from agentpool.model.task import Task

#: Open tasks that are written: more are nothing that a person reads, and writing them holds the loop up.
_MOST_OPEN = 5_000
#: What every file of ours begins with.
_OPENING = b'{\n "seq":'


def task_fields(task: Task, board: Board) -> dict[str, object]:
    """A task with the documented keys: times as ISO 8601 in UTC, money in US dollars."""
    return {
        "id": task.id,
        "to": task.to,
        "from": task.sender,
        "type": task.type.value,
        "state": task.state.value,
        "reason": task.reason,
        "attempt": task.attempt,
        "priority": task.priority.value,
        "depends_on": list(task.depends_on),
        "created": iso(task.created, precise=True),
        "started": _moment(task.started),
        "ended": _moment(task.ended),
        "cost_usd": round(task.cost_usd, 6),
        "subject": task.subject,
        "thread": task.thread,
        "parent": task.parent,
        "waits_for": list(board.graph.waits_for(task.id)),
        "children": list(task.children),
        "failure": task.failure.value if task.failure else None,
        "settlement": task.settlement,
        "run": task.run,
        "cancel_requested": task.cancel_requested,
    }


def write(path: Path, board: Board) -> None:
    """Write the recently settled tasks and the open ones; of very many, the oldest, and how many are left out.

    Raises:
        OSError: it cannot be written; the file is as it was.
    """
    _keep_foreign(path)
    tasks = [*board.recent.values(), *islice(board.tasks.values(), _MOST_OPEN)]
    lines = ",\n".join(f"  {json.dumps(task_fields(task, board), ensure_ascii=False)}" for task in tasks)
    left_out = max(0, len(board.tasks) - _MOST_OPEN)
    text = f'{_OPENING.decode()} {board.seq},\n "left_out": {left_out},\n "tasks": [\n{lines}\n ]\n}}\n'
    atomic.write(path, text, durable=False)


def _keep_foreign(path: Path) -> None:
    """Another program's file of this name, such as the Go agent-pool's, is set aside once."""
    aside = path.with_name("taskboard.foreign.json")
    try:
        with path.open("rb") as file:
            foreign = not file.read(len(_OPENING)).startswith(_OPENING)
    except FileNotFoundError:
        return
    if foreign and not aside.exists():
        path.rename(aside)


def _moment(at: float | None) -> str | None:
    return None if at is None else iso(at, precise=True)
