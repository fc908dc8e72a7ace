"""`agentpool ask`."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from agentpool.cli import answers
from agentpool.cli.client import Client
from agentpool.cli.completion import mailboxes
from agentpool.cli.moments import timeout as seconds_of
from agentpool.cli.new_id import new_id
from agentpool.cli.output import note
from agentpool.cli.progress import ProgressLine
from agentpool.cli.settlement import tell_settlement
from agentpool.cli.waiting import wait_for
from agentpool.model.errors import TimedOutError, UnknownIdError
from agentpool.model.mail import MailType
from agentpool.model.names import HUMAN
from agentpool.pool.layout import find_pool

app = typer.Typer()


@app.command()
def ask(
    to: Annotated[
        str,
        typer.Argument(metavar="TO", help="Whom to ask: an expert, architect or researcher.", autocompletion=mailboxes),
    ],
    question: Annotated[str, typer.Argument(metavar="QUESTION")],
    *,
    timeout: Annotated[
        str | None, typer.Option(metavar="SPAN", help="Give up waiting after this, e.g. 90s or 10m.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the task as one JSON object.")] = False,
) -> None:
    """Ask a question, wait, and print the answer.

    A question that is given up goes on: its answer then waits in the inbox.
    """
    client = Client(find_pool(Path.cwd()))
    seconds = seconds_of(timeout)
    task_id = new_id(question, to)
    fetch = f"fetch the answer with: agentpool wait {task_id}, or later: agentpool inbox"
    try:
        client.send({"id": task_id, "to": to, "type": MailType.QUESTION.value}, question)
        with ProgressLine(client, [task_id]) as progress:
            task = wait_for(client, task_id, seconds, progress)
    except TimedOutError as error:
        raise TimedOutError(f"no answer from {to} yet: {error.message}", tip=fetch) from None
    except KeyboardInterrupt:
        note(f"\n{task_id} goes on; {fetch}")
        raise
    response = answers.row(task, "response")
    # Somebody may have read it in the meantime; that is no reason to hide the answer.
    with contextlib.suppress(UnknownIdError):
        if response:
            client.read(answers.text(response, "id"), HUMAN)
    tell_settlement(task, as_json=as_json)
