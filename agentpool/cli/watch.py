"""`agentpool watch`."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentpool.cli import answers
from agentpool.cli.client import Client
from agentpool.cli.event_text import line_of
from agentpool.cli.news import news
from agentpool.cli.output import note, say
from agentpool.cli.terminal import is_terminal, one_line
from agentpool.pool.layout import find_pool

if TYPE_CHECKING:
    from agentpool.cli.answers import Row

app = typer.Typer()


@app.command()
def watch(
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="Stream the journal's events, one JSON object a line.")
    ] = False,
    since: Annotated[
        int | None, typer.Option(metavar="SEQ", min=0, help="Begin after this event; 0 shows all that is kept.")
    ] = None,
) -> None:
    """Follow the pool live.

    In a terminal: who works on what, what waits and why, the last answers.
    Piped: a line an event. It waits for a supervisor that is restarted.
    """
    client = Client(find_pool(Path.cwd()))
    if is_terminal() and not as_json and since is None:
        from agentpool.cli.live_view import show_live  # noqa: PLC0415 - only a terminal pays for rich

        client.status()
        show_live(client, stay=True)
        return
    status = client.status()
    note(f"watching {one_line(answers.text(status, 'name'))}")
    stream_lines(client, as_json=as_json, since=_now(status) if since is None else since, stay=True)


def stream_lines(client: Client, *, as_json: bool, since: int | None, stay: bool) -> None:
    """Prints each event as a line until the stream ends; with `stay` over restarts of the supervisor.

    Raises:
        NoSupervisorError: nobody serves the pool, and `stay` is not set or nobody ever did.
    """
    away = _Away(stay=stay)
    for event in news(client, since, gone=away):
        away.is_back()
        if as_json:
            if "seq" in event:
                say(json.dumps(event, ensure_ascii=False))
        else:
            line = line_of(event)
            if line is not None:
                say(line)


def _now(status: Row) -> int | None:
    """The last event's number, from which on a restarted supervisor's first events are not missed."""
    seq = status.get("seq")
    return seq if isinstance(seq, int) else None


class _Away:
    """Says once that the supervisor went away."""

    def __init__(self, *, stay: bool) -> None:
        self._stay = stay
        self._since: float | None = None

    def __call__(self) -> bool:
        if self._stay and self._since is None:
            self._since = time.monotonic()
            note("the supervisor went away; waiting for it to come back (Ctrl-C ends this)")
        return self._stay

    def is_back(self) -> None:
        self._since = None
