"""`agentpool retry`."""

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
def retry(
    ids: Annotated[list[str], typer.Argument(metavar="ID", autocompletion=task_ids)],
) -> None:
    """Try a failed or cancelled task again.

    The same mail gets a new settlement and a new answer.
    """
    client = Client(find_pool(Path.cwd()))
    for task_id in ids:
        task = client.retry(task_id)
        say(f"{one_line(answers.text(task, 'id'))}: {answers.text(task, 'state')}")
