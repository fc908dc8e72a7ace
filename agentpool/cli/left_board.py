"""What can be told of a pool that nobody serves: the view of its board that the last supervisor left."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from agentpool.cli import answers

if TYPE_CHECKING:
    from agentpool.pool.layout import Layout


def left_tasks(layout: Layout, *, everything: bool = False) -> list[dict[str, object]]:
    """The tasks in `taskboard.json`; none where it is missing or of another program.

    Args:
        layout: the pool.
        everything: also the settled ones.
    """
    try:
        board = json.loads(layout.taskboard.read_bytes())
    except (OSError, ValueError):
        return []
    tasks = answers.rows(board, "tasks") if isinstance(board, dict) else []
    return [task for task in tasks if "state" in task and (everything or not answers.is_settled(task))]
