"""`agentpool inbox`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentpool.cli import answers
from agentpool.cli.client import Client
from agentpool.cli.moments import local
from agentpool.cli.output import note, say, say_all, say_json, say_markdown
from agentpool.cli.terminal import one_line, style, table
from agentpool.model.errors import NoSupervisorError, UnknownIdError, UsageError
from agentpool.model.names import CONCIERGE, HUMAN, nearest
from agentpool.pool.layout import find_pool

if TYPE_CHECKING:
    from agentpool.cli.answers import Row
    from agentpool.pool.layout import Layout

app = typer.Typer()


class Mailbox(StrEnum):
    """Whose answers wait."""

    HUMAN = HUMAN
    CONCIERGE = CONCIERGE


@app.command()
def inbox(
    mail_id: Annotated[str | None, typer.Argument(metavar="ID", help="Print this mail and mark it as read.")] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", "-a", help="Print all of them and mark them as read.")] = False,
    mailbox: Annotated[Mailbox, typer.Option(help="Whose inbox.")] = Mailbox.HUMAN,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List the answers that nobody has read yet; with an id, print one.

    What was read moves to the archive, unless nobody serves the pool.
    """
    layout = find_pool(Path.cwd())
    client = Client(layout)
    try:
        mails, served = answers.rows(client.inbox(mailbox.value), "mails"), True
    except NoSupervisorError:
        mails, served = _left(layout, mailbox), False
    if mail_id is None and not everything:
        _list(mails, as_json=as_json)
        return
    chosen = mails if mail_id is None else [_find(mails, mail_id)]
    if as_json:
        say_json({"mails": chosen})
    for index, mail in enumerate(chosen):
        if not as_json:
            _print(mail, first=index == 0)
        if served:
            client.read(answers.text(mail, "id"), mailbox.value)
    if chosen and not served:
        note("it stays unread and in the inbox: no supervisor serves this pool")


def _left(layout: Layout, mailbox: Mailbox) -> list[dict[str, object]]:
    from agentpool.pool.inbox import list_inbox  # noqa: PLC0415 - it reads YAML, which a served pool does not cost

    try:
        return list_inbox(layout, mailbox.value)
    except OSError as error:
        raise UsageError(f"{layout.inbox(mailbox.value)} cannot be read: {error.strerror}") from error


def _list(mails: list[dict[str, object]], *, as_json: bool) -> None:
    if as_json:
        say_json({"mails": mails})
        return
    if not mails:
        say("no unread mail")
        return
    say_all(table([("ID", "FROM", "STATUS", "AT", "ABOUT"), *map(_cells, mails)]))
    note("read one with: agentpool inbox ID")


def _cells(mail: Row) -> tuple[str, ...]:
    return (
        answers.text(mail, "id"),
        answers.text(mail, "from"),
        answers.text(mail, "status") or answers.text(mail, "type"),
        local(mail.get("at")),
        answers.text(mail, "subject"),
    )


def _find(mails: list[dict[str, object]], wanted: str) -> dict[str, object]:
    """The mail with this id, or the newest answer to the task with this id."""
    for key in ("id", "in_reply_to"):
        for mail in reversed(mails):
            if mail.get(key) == wanted:
                return mail
    near = nearest(wanted, [answers.text(mail, "id") for mail in mails])
    raise UnknownIdError(
        f"no unread mail has the id {wanted}",
        tip=f"did you mean {near}?"
        if near
        else "see them with: agentpool inbox; read ones are in .agent-pool/archive/",
    )


def _print(mail: Row, *, first: bool) -> None:
    if not first:
        say()
    about = [answers.text(mail, "id"), f"from {answers.text(mail, 'from')}"]
    about += [answers.text(mail, "status")] if mail.get("status") else []
    about += [f"in reply to {answers.text(mail, 'in_reply_to')}"] if mail.get("in_reply_to") else []
    about += [local(mail.get("at"))]
    say(style(one_line(" · ".join(about)), "bold"))
    say()
    say_markdown(answers.text(mail, "body"))
