"""`agentpool board`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentpool.cli import answers
from agentpool.cli.client import Client
from agentpool.cli.left_board import left_tasks, note_of_drops
from agentpool.cli.moments import dollars, local
from agentpool.cli.output import note, say, say_all, say_json, state
from agentpool.cli.terminal import style, table
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

    Where nobody serves the pool: as they were last written, with exit code 3.
    """
    layout = find_pool(Path.cwd())
    try:
        tasks = answers.rows(Client(layout).board(everything=everything), "tasks")
    except NoSupervisorError:
        _tell(left_tasks(layout, everything=everything), as_json=as_json)
        if layout.taskboard.is_file():
            note(f"this is the board as it was written at {local(layout.taskboard.stat().st_mtime)}")
        drops = note_of_drops(layout)
        if drops:
            note(drops)
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
            why = _why(task)
            if why:
                say_all(style(below, "dim") for below in table([(why,)], indent="    "))


def _cells(task: Row) -> tuple[str, ...]:
    return (
        answers.text(task, "id"),
        answers.text(task, "to"),
        answers.text(task, "state"),
        local(task.get("created")),
        dollars(task.get("cost_usd")) if task.get("cost_usd") else "",
        answers.text(task, "subject"),
    )


def _why(task: Row) -> str:
    """What stands below a task: that it is to end, why it failed, what it waits for."""
    if task.get("cancel_requested") and not answers.is_settled(task):
        return "to be cancelled"
    reason, waits = answers.text(task, "reason"), answers.names(task, "waits_for")
    if reason and reason != answers.text(task, "state"):
        return reason
    return f"waits for {', '.join(waits)}" if waits else ""
