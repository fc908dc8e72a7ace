"""`agentpool board`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentpool.cli import answers
from agentpool.cli.client import Client
from agentpool.cli.left_board import left_tasks
from agentpool.cli.moments import dollars, local
from agentpool.cli.output import note, say, say_json, state
from agentpool.cli.terminal import table
from agentpool.model.errors import NoSupervisorError
from agentpool.pool.layout import find_pool

if TYPE_CHECKING:
    from agentpool.cli.answers import Row

app = typer.Typer()


@app.command()
def board(
    *,
    everything: Annotated[bool, typer.Option("--all", "-a", help="Also the tasks that were settled lately.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List the open tasks.

    Where nobody serves the pool, the last board that was written is shown, and the exit code is 3.
    """
    layout = find_pool(Path.cwd())
    try:
        tasks = answers.rows(Client(layout).board(everything=everything), "tasks")
    except NoSupervisorError:
        _tell(left_tasks(layout, everything=everything), as_json=as_json)
        if layout.taskboard.is_file():
            note(f"this is the board as it was written at {local(layout.taskboard.stat().st_mtime)}")
        raise
    _tell(tasks, as_json=as_json)


def _tell(tasks: list[dict[str, object]], *, as_json: bool) -> None:
    if as_json:
        say_json({"tasks": tasks})
    elif not tasks:
        say("no open tasks")
    else:
        lines = table([("ID", "TO", "STATE", "CREATED", "COST", "ABOUT"), *map(_cells, tasks)])
        say(lines[0])
        for task, line in zip(tasks, lines[1:], strict=True):
            name = answers.text(task, "state")
            say(line.replace(f" {name} ", f" {state(name)} ", 1))


def _cells(task: Row) -> tuple[str, ...]:
    waits = answers.names(task, "waits_for")
    about = answers.text(task, "reason") or answers.text(task, "subject")
    if waits and not answers.text(task, "reason"):
        about = f"waits for {', '.join(waits)}: {about}"
    return (
        answers.text(task, "id"),
        answers.text(task, "to"),
        answers.text(task, "state"),
        local(task.get("created")),
        dollars(task.get("cost_usd")) if task.get("cost_usd") else "",
        about,
    )
