"""What a shell offers after Tab: task ids and mailboxes, from the files alone, so that it never waits."""

from __future__ import annotations

from pathlib import Path

from agentpool.cli import answers
from agentpool.cli.left_board import left_tasks
from agentpool.model.errors import NoPoolError
from agentpool.model.names import ARCHITECT, CONCIERGE, HUMAN, RESEARCHER
from agentpool.pool.layout import find_pool


def task_ids(incomplete: str) -> list[str]:
    """The tasks on the board whose ids begin so, the newest first."""
    try:
        tasks = left_tasks(find_pool(Path.cwd()), everything=True)
    except NoPoolError:
        return []
    ids = [answers.text(task, "id") for task in reversed(tasks)]
    return [task_id for task_id in ids if task_id.startswith(incomplete)]


def mailboxes(incomplete: str) -> list[str]:
    """The mailboxes whose names begin so."""
    try:
        experts = find_pool(Path.cwd()).experts
        names = sorted(entry.name for entry in experts.iterdir() if (entry / "identity.md").is_file())
    except (NoPoolError, FileNotFoundError):
        names = []
    return [name for name in (*names, ARCHITECT, RESEARCHER, CONCIERGE, HUMAN) if name.startswith(incomplete)]
