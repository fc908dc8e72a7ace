"""The readable view of the board."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from agentpool.model import events as ev
from agentpool.model.board import Board
from agentpool.model.mail import Mail
from agentpool.pool import taskboard

if TYPE_CHECKING:
    from pathlib import Path


def _board(tasks: int) -> Board:
    board = Board()
    for seq in range(1, tasks + 1):
        board.apply(ev.Entry(seq, 1000.0 + seq, ev.MailAccepted(Mail(f"t{seq}", "a", body="x"))))
    return board


def test_a_board_of_a_few_tasks_is_whole(tmp_path: Path) -> None:
    """All open tasks are there, none is left out, and an empty board is valid JSON as well."""
    path = tmp_path / "taskboard.json"
    for tasks in (0, 3):
        taskboard.write(path, _board(tasks))
        data = json.loads(path.read_text())
        assert data["seq"] == tasks
        assert data["left_out"] == 0
        assert [task["id"] for task in data["tasks"]] == [f"t{seq}" for seq in range(1, tasks + 1)]


def test_very_many_open_tasks_are_not_all_written(tmp_path: Path) -> None:
    """Of more than 5,000 open tasks the oldest are written, and how many are left out."""
    path = tmp_path / "taskboard.json"
    taskboard.write(path, _board(5_007))
    data = json.loads(path.read_text())
    assert data["left_out"] == 7
    assert [data["tasks"][0]["id"], data["tasks"][-1]["id"], len(data["tasks"])] == ["t1", "t5000", 5_000]
