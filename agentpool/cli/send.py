"""`agentpool send`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentpool.cli import answers
from agentpool.cli.client import Client
from agentpool.cli.completion import mailboxes, task_ids
from agentpool.cli.moments import timeout as seconds_of
from agentpool.cli.new_id import new_id
from agentpool.cli.output import note, say, say_json
from agentpool.cli.progress import ProgressLine
from agentpool.cli.settlement import tell_settlement
from agentpool.cli.waiting import wait_for
from agentpool.model.errors import NoSupervisorError, UsageError
from agentpool.model.header import mail_from_header
from agentpool.model.mail import MailType, Priority, Status
from agentpool.pool.layout import find_pool

if TYPE_CHECKING:
    from agentpool.pool.layout import Layout

app = typer.Typer()


@app.command()
def send(
    to: Annotated[
        str,
        typer.Argument(
            metavar="TO", help="An expert, architect, researcher, concierge or human.", autocompletion=mailboxes
        ),
    ],
    body: Annotated[
        str | None, typer.Argument(metavar="BODY", help="The text, or - for stdin. Without: an editor.")
    ] = None,
    *,
    mail_id: Annotated[str | None, typer.Option("--id", help="Default: made from the first words.")] = None,
    mail_type: Annotated[MailType, typer.Option("--type", "-t")] = MailType.TASK,
    priority: Annotated[Priority, typer.Option("--priority", "-p")] = Priority.NORMAL,
    depends_on: Annotated[
        list[str] | None,
        typer.Option(
            "--depends-on", "-d", metavar="ID", help="Wait for this task; repeatable.", autocompletion=task_ids
        ),
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", "-i", metavar="ID", help="Wait for this task and hand its answer over; repeatable."),
    ] = None,
    thread: Annotated[str | None, typer.Option(metavar="ID")] = None,
    expires: Annotated[
        str | None, typer.Option(metavar="WHEN", help="Not started after this: 2h, 3d, 2026-12-24T18:00Z.")
    ] = None,
    sender: Annotated[str | None, typer.Option("--from", metavar="NAME", help="Default: human.")] = None,
    in_reply_to: Annotated[str | None, typer.Option("--in-reply-to", metavar="ID")] = None,
    status: Annotated[Status | None, typer.Option(help="Of a response.")] = None,
    cancels: Annotated[str | None, typer.Option(metavar="ID", help="Of a cancel.")] = None,
    more: Annotated[
        list[str] | None, typer.Option("--header", metavar="KEY=VALUE", help="Any other header; repeatable.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait until it is settled and print the answer.")] = False,
    timeout: Annotated[
        str | None, typer.Option(metavar="SPAN", help="With --wait: give up after this, e.g. 90s or 10m.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Send a mail and print its id.

    Without a supervisor the mail is dropped into the post office, where the next one finds it.
    """
    layout = find_pool(Path.cwd())
    seconds = seconds_of(timeout)
    text = _body(body)
    header: dict[str, object] = {"id": mail_id or new_id(text, to), "from": sender, "to": to, "type": mail_type.value}
    header |= {
        "priority": None if priority is Priority.NORMAL else priority.value,
        "status": status.value if status else None,
        "in-reply-to": in_reply_to,
        "thread": thread,
        "depends-on": _ids(depends_on),
        "inputs": _ids(inputs),
        "cancels": cancels,
        "expires": expires,
    }
    header = {key: value for key, value in (header | _pairs(more)).items() if value}
    # The same rules that the supervisor keeps: so a mistake is said now, and not in a dead letter tomorrow.
    mail = mail_from_header(header, text, default_id=str(header["id"]), now=time.time())
    client = Client(layout)
    try:
        accepted = client.send(header, text)
    except NoSupervisorError:
        if wait:
            raise
        drop(layout, mail.id, header, text)
        note("no supervisor serves this pool: the mail waits in the post office until `agentpool start`")
        accepted = {"id": mail.id, "type": mail.type.value, "to": mail.to, "state": "dropped"}
    if not wait:
        say_json(accepted) if as_json else say(answers.text(accepted, "id"))
        return
    sent = answers.text(accepted, "id")
    note(sent)
    with ProgressLine(client, [sent]) as progress:
        task = wait_for(client, sent, seconds, progress)
    tell_settlement(task, as_json=as_json)


def drop(layout: Layout, mail_id: str, header: dict[str, object], body: str) -> None:
    """Puts a mail into the post office, whole or not at all.

    Raises:
        UsageError: it cannot be written.
    """
    from agentpool.pool.atomic import place_new  # noqa: PLC0415 - where a supervisor serves, no file is written
    from agentpool.pool.mailfile import render  # noqa: PLC0415 - as above

    try:
        layout.postoffice.mkdir(exist_ok=True)
        place_new(layout.postoffice / f"{mail_id}.md", render(header, body))
    except OSError as error:
        raise UsageError(f"the mail cannot be dropped into {layout.postoffice}: {error.strerror}") from error


def _ids(given: list[str] | None) -> list[str]:
    return [part.strip() for value in given or [] for part in value.split(",") if part.strip()]


def _pairs(given: list[str] | None) -> dict[str, object]:
    pairs: dict[str, object] = {}
    for pair in given or []:
        key, equals, value = pair.partition("=")
        if not (equals and key.strip()):
            raise typer.BadParameter(f"{pair!r} is not KEY=VALUE", param_hint="--header")
        pairs[key.strip()] = value
    return pairs


def _body(given: str | None) -> str:
    if given is None and not sys.stdin.isatty():
        # Reading it unasked would hang wherever standard input is open and nobody types.
        raise UsageError("the mail has no text", tip="give it as an argument, or - to read standard input")
    if given == "-":
        try:
            return sys.stdin.buffer.read().decode("utf-8")
        except UnicodeDecodeError as error:
            raise UsageError(f"standard input is not UTF-8 (at byte {error.start})") from None
    if given is not None:
        return given
    from agentpool.cli.editor import edited_mail  # noqa: PLC0415 - only who types pays for it

    return edited_mail()
