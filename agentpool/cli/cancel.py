"""`agentpool cancel`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agentpool.cli import answers
from agentpool.cli.client import Client
from agentpool.cli.completion import task_ids
from agentpool.cli.output import say
from agentpool.cli.terminal import one_line
from agentpool.pool.layout import find_pool

app = typer.Typer()


@app.command()
def cancel(
    task_id: Annotated[str, typer.Argument(metavar="ID", autocompletion=task_ids)],
    *,
    tree: Annotated[bool, typer.Option("--tree", help="Also every open task that it sent, and theirs.")] = False,
) -> None:
    """Cancel a task.

    Its run is stopped, its sender is told. Tasks that it sent go on unless --tree is given.
    """
    meant = answers.names(Client(find_pool(Path.cwd())).cancel(task_id, tree=tree), "tasks")
    for name in meant:
        say(f"{one_line(name)}: to be cancelled")
