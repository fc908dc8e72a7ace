"""Keeps the live picture on the terminal up to date: on events, at most twice a second."""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live

from agentpool.cli import answers
from agentpool.cli.news import RETRY_SECONDS, news
from agentpool.cli.view import View
from agentpool.model.errors import NoSupervisorError

if TYPE_CHECKING:
    from agentpool.cli.client import Client, Json

#: Seconds between two drawings at least.
_FASTEST = 0.5
#: Seconds between two drawings at most while something runs, so that its time goes on.
_TICK = 1.0
_SMALLEST = 12


def show_live(client: Client, *, stay: bool) -> None:
    """Draws the pool until Ctrl-C; without `stay` also until the supervisor ends.

    Args:
        client: asks the supervisor, which is there.
        stay: whether to wait for a supervisor that went away.
    """
    view = View(client.status())
    for task in _last_settled(client):
        view.settled.append(task)
    console = Console()
    incoming: queue.SimpleQueue[Json | None] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(client, incoming, stay), daemon=True, name="events").start()
    with Live(console=console, auto_refresh=False, screen=False, transient=False, vertical_overflow="crop") as live:
        while True:
            live.update(view.draw(height=max(_SMALLEST, console.height - 1), now=time.time()), refresh=True)
            drawn = time.monotonic()
            if not _gather(view, incoming):
                return
            time.sleep(max(0.0, drawn + _FASTEST - time.monotonic()))
            _gather_what_is_there(view, incoming)
            try:
                view.status, view.away = client.status(), False
            except NoSupervisorError:
                view.away = True


def _listen(client: Client, incoming: queue.SimpleQueue[Json | None], stay: bool) -> None:  # noqa: FBT001
    def gone() -> bool:
        incoming.put({"event": ""})
        return stay

    try:
        for event in news(client, None, gone=gone):
            incoming.put(event)
    except NoSupervisorError:
        pass
    finally:
        incoming.put(None)


def _gather(view: View, incoming: queue.SimpleQueue[Json | None]) -> bool:
    """Waits for an event, or for the clock of a run; False when there will be no more."""
    runs = answers.rows(view.status, "runs") and not view.away
    try:
        event = incoming.get(timeout=_TICK if runs else RETRY_SECONDS * 10)
    except queue.Empty:
        return True
    if event is None:
        return False
    view.take(event)
    return True


def _gather_what_is_there(view: View, incoming: queue.SimpleQueue[Json | None]) -> None:
    while True:
        try:
            event = incoming.get_nowait()
        except queue.Empty:
            return
        if event is None:
            incoming.put(None)
            return
        view.take(event)


def _last_settled(client: Client) -> list[tuple[str, str, str]]:
    tasks = [task for task in answers.rows(client.board(everything=True), "tasks") if answers.is_settled(task)]
    tasks.sort(key=lambda task: answers.text(task, "ended"), reverse=True)
    return [
        (
            answers.text(task, "id"),
            answers.text(task, "state"),
            answers.text(task, "reason") or answers.text(task, "subject"),
        )
        for task in tasks[:8]
    ]
