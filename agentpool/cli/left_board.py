"""What can be told of a pool that nobody serves: the board that the last supervisor left, and the drops."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from agentpool.cli import answers
from agentpool.cli.terminal import counted
from agentpool.model.names import PEOPLE

if TYPE_CHECKING:
    from pathlib import Path

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


def note_of_drops(layout: Layout) -> str:
    """How many drops nobody has accepted yet, in words; empty where there are none."""
    count = sum(_drops(directory) for directory in _drop_directories(layout))
    return f"{counted(count, 'dropped mail')} to be accepted by: agentpool start" if count else ""


def _drop_directories(layout: Layout) -> list[Path]:
    homes = (layout.root, layout.experts, layout.shared_state)
    inboxes = [inbox for parent in homes for inbox in parent.glob("*/inbox") if inbox.parent.name not in PEOPLE]
    return [layout.postoffice, *inboxes]


def _drops(directory: Path) -> int:
    return sum(1 for file in directory.glob("*.md") if not file.name.startswith("."))
