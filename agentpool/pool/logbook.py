"""`logs/` of one role: a line for each settled task, a directory for each task, a record for each of its runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from agentpool.model.moment import iso

if TYPE_CHECKING:
    from pathlib import Path

    from agentpool.model.task import Task

_HEAD = """# Tasks

One line for each settlement, the newest last; the logs of its runs lie in the directory of the task's id.

| settled | task | state | runs | seconds | US dollars | subject |
|---|---|---|---|---|---|---|
"""


def add_line(logs: Path, task: Task, at: float, *, once: bool) -> None:
    """Add the line of a settled task to `logs/index.md`.

    Args:
        at: when it was settled, seconds since the epoch.
        once: whether the line may be there already, as after a crash.

    Raises:
        OSError: it cannot be written.
    """
    index = logs / "index.md"
    seconds = f"{at - task.started:.1f}" if task.started is not None else ""
    subject = task.subject.replace("|", "\\|")
    line = f"| {iso(at)} | {task.id} | {task.state} | {task.starts} | {seconds} | {task.cost_usd:.4f} | {subject} |\n"
    try:
        if once and line in index.read_text(encoding="utf-8"):
            return
        with index.open("a", encoding="utf-8") as file:
            file.write(line if file.tell() else _HEAD + line)
    except FileNotFoundError:
        logs.mkdir(parents=True, exist_ok=True)
        index.write_text(_HEAD + line, encoding="utf-8")


def attempts(logs: Path, task_id: str) -> list[dict[str, object]]:
    """The records of all runs of a task that have settled, the oldest first."""
    directory = logs / task_id
    numbers = (
        sorted(int(entry.name) for entry in directory.iterdir() if entry.name.isdecimal()) if directory.is_dir() else []
    )
    records = []
    for number in numbers:
        try:
            record = json.loads((directory / str(number) / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue  # a person may tidy logs away
        if isinstance(record, dict):
            records.append(record)
    return records
