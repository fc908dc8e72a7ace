"""`agentpool start`."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentpool.cli import answers
from agentpool.cli.client import Client
from agentpool.cli.output import note, say
from agentpool.cli.terminal import is_terminal, printable
from agentpool.model.errors import AgentpoolError, NoSupervisorError, PoolHeldError, TimedOutError
from agentpool.pool.layout import find_pool

if TYPE_CHECKING:
    from agentpool.pool.layout import Layout

app = typer.Typer()

#: Seconds that a supervisor in the background gets until it serves: a large journal is read first.
_START_SECONDS = 120.0
#: Seconds after which the wait is explained.
_EXPLAIN_SECONDS = 5.0
_POLL_SECONDS = 0.02
_LOG = "supervisor.log"


@app.command()
def start(
    *,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="In the background; returns when it serves.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No view, no lines: only what goes wrong.")] = False,
) -> None:
    """Serve the pool: start runs for the mail that comes in.

    Ctrl-C lets the runs end first, a second Ctrl-C stops them. A closed terminal leaves them to the next supervisor.
    """
    layout = find_pool(Path.cwd())
    if detach:
        _detach(layout)
        return
    from agentpool.supervisor.service import serve  # noqa: PLC0415 - a detached start does not pay for it

    _log_to(None if quiet or not is_terminal() else _log_file(layout))
    stopped = threading.Event()
    view = None if quiet else threading.Thread(target=_view, args=(layout, stopped), daemon=True, name="view")
    if view is not None:
        view.start()
    try:
        serve(layout, home=Path.home())
    finally:
        stopped.set()
        if view is not None:
            # It ends with the event stream; a terminal must not be left in the middle of a drawing.
            view.join(timeout=2.0)


def _view(layout: Layout, stopped: threading.Event) -> None:
    """Draws what the supervisor in this process tells, as any client of it would."""
    client = Client(layout)
    while not _is_served_by(client, os.getpid()):
        if stopped.wait(_POLL_SECONDS):
            return
    try:
        if is_terminal():
            from agentpool.cli.live_view import show_live  # noqa: PLC0415 - only a terminal pays for rich

            show_live(client, stay=False)
        else:
            from agentpool.cli.watch import stream_lines  # noqa: PLC0415 - as above

            stream_lines(client, as_json=False, since=None, stay=False)
    except NoSupervisorError:
        # It ended between two questions, and says why itself.
        return


def _detach(layout: Layout) -> None:
    client = Client(layout)
    _refuse_second(client, layout)
    layout.run.mkdir(mode=0o700, exist_ok=True)
    log = _log_file(layout)
    with log.open("ab") as output:
        begun = output.tell()
        process = subprocess.Popen(
            [sys.executable, "-m", "agentpool", "start", "--quiet"],
            cwd=layout.project,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    started = time.monotonic()
    explained = False
    while not _is_served_by(client, process.pid):
        code = process.poll()
        passed = time.monotonic() - started
        if code is not None:
            typer.echo(_said_since(log, begun), nl=False, err=True)
            raise typer.Exit(code if code > 0 else 1)
        if passed > _START_SECONDS:
            raise TimedOutError(
                f"the supervisor (pid {process.pid}) does not serve after {passed:.0f} s", tip=f"it goes on; see {log}"
            )
        if passed > _EXPLAIN_SECONDS and not explained:
            note("reading the journal …")
            explained = True
        time.sleep(_POLL_SECONDS)
    say(f"serving {printable(str(layout.root))}, pid {process.pid}")
    say("see it work with: agentpool watch")


def _refuse_second(client: Client, layout: Layout) -> None:
    """Says so at once where the pool is served, and not in the log of the one that serves it.

    Raises:
        PoolHeldError: it is served.
    """
    try:
        pid = answers.text(client.status(), "pid")
    except NoSupervisorError:
        return
    raise PoolHeldError(
        f"{layout.root} is served by the supervisor with pid {pid}",
        tip="see what it does with: agentpool status; end it with: agentpool stop",
    )


def _is_served_by(client: Client, pid: int) -> bool:
    try:
        return answers.number(client.status(), "pid") == pid
    except NoSupervisorError:
        return False


def _said_since(log: Path, begun: int) -> str:
    try:
        with log.open("rb") as file:
            file.seek(begun)
            return file.read().decode(errors="replace")
    except OSError as error:
        raise AgentpoolError(f"the supervisor ended, and its log {log} cannot be read: {error.strerror}") from error


def _log_file(layout: Layout) -> Path:
    return layout.run / _LOG


def _log_to(file: Path | None) -> None:
    """Sends the log to a file, where a live view has the terminal, or to standard error."""
    if file is not None:
        file.parent.mkdir(mode=0o700, exist_ok=True)
    handler = logging.StreamHandler() if file is None else logging.FileHandler(file, encoding="utf-8")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", handlers=[handler])
