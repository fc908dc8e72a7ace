"""`agentpool stop`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from agentpool.cli import answers
from agentpool.cli.client import Client
from agentpool.cli.moments import timeout as seconds_of
from agentpool.cli.output import note, say
from agentpool.cli.terminal import counted
from agentpool.gateway.verbs import StopMode
from agentpool.model.errors import NoSupervisorError, TimedOutError, UsageError
from agentpool.pool.layout import find_pool
from agentpool.runs.process_table import state_of

app = typer.Typer()

_POLL_SECONDS = 0.05
_ASK_SECONDS = 1.0


@app.command()
def stop(
    *,
    now: Annotated[bool, typer.Option("--now", help="Stop the runs too; their tasks start again next time.")] = False,
    leave: Annotated[
        bool, typer.Option("--leave", help="Leave the runs; the next supervisor goes on with them.")
    ] = False,
    timeout: Annotated[
        str | None, typer.Option(metavar="SPAN", help="Give up waiting after this; the stop itself goes on.")
    ] = None,
) -> None:
    """Stop the supervisor; by default it lets the runs end first."""
    if now and leave:
        raise UsageError("--now and --leave exclude each other")
    mode = StopMode.NOW if now else StopMode.LEAVE if leave else StopMode.DRAIN
    seconds = seconds_of(timeout)
    client = Client(find_pool(Path.cwd()))
    pid = int(answers.number(client.status(), "pid"))
    runs = answers.names(client.stop(mode.value), "runs")
    if runs and mode is StopMode.DRAIN:
        note(f"waiting for {counted(len(runs), 'run')} to end: {', '.join(runs)}  (--now stops them)")
    elif runs:
        note(f"{'stopping' if mode is StopMode.NOW else 'leaving'} {counted(len(runs), 'run')}: {', '.join(runs)}")
    deadline = None if seconds is None else time.monotonic() + seconds
    asked = time.monotonic()
    while _lives(pid):
        if deadline is not None and time.monotonic() >= deadline:
            raise TimedOutError(
                f"the supervisor (pid {pid}) still stops after {timeout}",
                tip="it goes on stopping; to stop its runs as well: agentpool stop --now",
            )
        if runs and time.monotonic() - asked >= _ASK_SECONDS:
            runs, asked = _tell_progress(client, runs), time.monotonic()
        time.sleep(_POLL_SECONDS)
    say("stopped")


def _tell_progress(client: Client, runs: list[str]) -> list[str]:
    try:
        living = [answers.text(run, "run") for run in answers.rows(client.status(), "runs")]
    except NoSupervisorError:
        return runs
    for run in sorted(set(runs) - set(living)):
        note(f"{run} ended; {counted(len(living), 'run')} to go")
    return [run for run in runs if run in living]


def _lives(pid: int) -> bool:
    state = state_of(pid)
    return state is not None and not state.zombie
