"""Where the output of a task's runs lies, found by the files alone: it works without a supervisor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agentpool.model.errors import UnknownIdError
from agentpool.model.names import check_id, nearest

if TYPE_CHECKING:
    from agentpool.pool.layout import Layout

STREAM = "stream.jsonl"
STDERR = "stderr.log"


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The directory of one run.

    Args:
        number: which run of its task it is, from 1.
        lives: whether it has not settled.
    """

    number: int
    directory: Path
    lives: bool


def runs_of(layout: Layout, task_id: str) -> list[RunFiles]:
    """The runs of a task whose files are there, the first one first.

    Raises:
        MailError: this is no id.
    """
    check_id(task_id)
    found: dict[int, RunFiles] = {}
    for home in _homes(layout):
        for directory in _directories(home / "logs" / task_id):
            if directory.name.isdigit():
                found[int(directory.name)] = RunFiles(int(directory.name), directory, lives=False)
    for directory in _directories(layout.runs):
        name, _, number = directory.name.rpartition(".")
        if name == task_id and number.isdigit():
            found[int(number)] = RunFiles(int(number), directory, lives=True)
    return [found[number] for number in sorted(found)]


def is_known(layout: Layout, task_id: str) -> bool:
    """Whether the pool holds the mail of this task."""
    return layout.mail_file(task_id).is_file() or any(layout.archive.glob(f"*/{task_id}.md"))


def unknown(layout: Layout, task_id: str) -> UnknownIdError:
    """The error that says that there is no such task, and which one is near."""
    names = [file.stem for file in layout.mail.glob("*.md")]
    names += [directory.name for home in _homes(layout) for directory in _directories(home / "logs")]
    near = nearest(task_id, names)
    return UnknownIdError(
        f"there is no task {task_id}",
        tip=f"did you mean {near}?" if near else "see the tasks with: agentpool board --all",
    )


def _homes(layout: Layout) -> list[Path]:
    shared = layout.root / "shared-state"
    return [*_directories(layout.root), *_directories(layout.experts), *_directories(shared)]


def _directories(parent: Path) -> list[Path]:
    try:
        return [entry for entry in parent.iterdir() if entry.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
