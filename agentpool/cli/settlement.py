"""How the end of a task is told: the answer, and the exit code of the command that waited for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from agentpool.cli import answers
from agentpool.cli.moments import dollars, seconds_of, span
from agentpool.cli.output import note, say_json, say_markdown

if TYPE_CHECKING:
    from agentpool.cli.client import Json


def tell_settlement(task: Json, *, as_json: bool) -> None:
    """Prints the answer to a settled task; what failed and where to look goes beside it.

    Raises:
        typer.Exit: with code 1 when the task failed or its answer is negative.
    """
    if as_json:
        say_json(task)
    else:
        response = answers.row(task, "response")
        say_markdown(answers.text(response, "body") or answers.text(task, "reason"))
        if not answers.is_good(task):
            status = answers.text(response, "status") or answers.text(task, "state")
            task_id = answers.text(task, "id")
            note(f"{task_id}: {status}; see: agentpool show {task_id}, agentpool logs {task_id}")
    if not answers.is_good(task):
        raise typer.Exit(1)


def summary(task: Json) -> tuple[str, ...]:
    """Cells of one line about a task: id, state, cost, time from start to end, and why it failed or what it was."""
    started, ended = seconds_of(task.get("started")), seconds_of(task.get("ended"))
    took = "" if started is None or ended is None else span(ended - started)
    return (
        answers.text(task, "id"),
        answers.text(task, "state"),
        dollars(task.get("cost_usd")),
        took,
        answers.text(task, "reason") or answers.text(task, "subject"),
    )
