"""`agentpool wait`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentpool.cli import answers
from agentpool.cli.client import Client
from agentpool.cli.completion import task_ids
from agentpool.cli.moments import timeout as seconds_of
from agentpool.cli.output import say_all, say_json, say_markdown
from agentpool.cli.progress import ProgressLine
from agentpool.cli.settlement import summary
from agentpool.cli.terminal import table
from agentpool.cli.waiting import wait_for, wait_for_any
from agentpool.pool.layout import find_pool

if TYPE_CHECKING:
    from agentpool.cli.client import Json

app = typer.Typer()


@app.command()
def wait(
    ids: Annotated[list[str], typer.Argument(metavar="ID", autocompletion=task_ids)],
    *,
    timeout: Annotated[str | None, typer.Option(metavar="SPAN", help="Give up after this, e.g. 90s or 10m.")] = None,
    first: Annotated[bool, typer.Option("--any", help="Until the first of them is settled.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the settled tasks as one JSON object.")] = False,
) -> None:
    """Wait until tasks are settled.

    For one task its answer is printed, for several a line each. Exits with 1 when one of them failed.
    """
    tasks = _wait(Client(find_pool(Path.cwd())), ids, seconds_of(timeout), first=first)
    if as_json:
        say_json({"tasks": tasks})
    else:
        say_all(table([summary(task) for task in tasks]))
        if len(ids) == 1 and answers.row(tasks[0], "response"):
            say_markdown("\n" + answers.text(answers.row(tasks[0], "response"), "body"))
    if not all(answers.is_good(task) for task in tasks):
        raise typer.Exit(1)


def _wait(client: Client, ids: list[str], seconds: float | None, *, first: bool) -> list[Json]:
    with ProgressLine(client, ids) as progress:
        if first:
            return [wait_for_any(client, ids, seconds, progress)]
        deadline = None if seconds is None else time.monotonic() + seconds
        return [
            wait_for(client, task_id, None if deadline is None else max(0.0, deadline - time.monotonic()), progress)
            for task_id in dict.fromkeys(ids)
        ]
