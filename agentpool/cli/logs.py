"""`agentpool logs`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentpool.cli.completion import task_ids
from agentpool.cli.output import note, say
from agentpool.cli.run_files import STDERR, STREAM, RunFiles, is_known, runs_of, unknown
from agentpool.cli.stream_text import lines_of
from agentpool.cli.terminal import printable
from agentpool.model.errors import UnknownIdError
from agentpool.pool.layout import find_pool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentpool.pool.layout import Layout

app = typer.Typer()

_POLL_SECONDS = 0.2
_CHUNK = 1 << 16


@app.command()
def logs(
    task_id: Annotated[
        str, typer.Argument(metavar="ID", help="A task, or a run such as health.2.", autocompletion=task_ids)
    ],
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run ends.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="Print the stream as it is.")] = False,
    attempt: Annotated[int | None, typer.Option("--attempt", "-n", metavar="N", help="Default: the last run.")] = None,
    stderr: Annotated[bool, typer.Option("--stderr", help="What the command wrote to its standard error.")] = False,
) -> None:
    """Show what a run of a task said and did.

    The texts and tool calls, the beginnings of their results, and the end with its cost.
    """
    layout = find_pool(Path.cwd())
    run = _choose(layout, task_id, attempt, follow=follow)
    file = run.directory / (STDERR if stderr else STREAM)
    for line in _lines(layout, task_id, run, file, follow=follow):
        if raw or stderr:
            typer.echo(line if raw else printable(line))
        else:
            for text in lines_of(line):
                say(text)


def _choose(layout: Layout, task_id: str, attempt: int | None, *, follow: bool) -> RunFiles:
    runs = runs_of(layout, task_id)
    name, _, number = task_id.rpartition(".")
    if not runs and attempt is None and number.isdigit() and name:
        return _choose(layout, name, int(number), follow=follow)
    if not runs and not is_known(layout, task_id):
        raise unknown(layout, task_id)
    if not runs and follow and attempt is None:
        note(f"{task_id} has not started yet; waiting for its run")
        while not runs:
            time.sleep(_POLL_SECONDS)
            runs = runs_of(layout, task_id)
    if not runs:
        raise UnknownIdError(f"{task_id} has not been started yet", tip=f"see why with: agentpool show {task_id}")
    if attempt is None:
        return runs[-1]
    for run in runs:
        if run.number == attempt:
            return run
    numbers = ", ".join(str(run.number) for run in runs)
    raise UnknownIdError(f"{task_id} has no run {attempt}", tip=f"it has these: {numbers}")


def _lines(layout: Layout, task_id: str, run: RunFiles, file: Path, *, follow: bool) -> Iterator[str]:
    """The lines of the file; with `follow` until its run has settled. A torn last line is given too."""
    try:
        stream = file.open("rb")
    except FileNotFoundError:
        return
    # Once open, the file may be moved to the logs: its descriptor goes on.
    with stream:
        rest = b""
        ended = not (follow and run.lives)
        while True:
            while chunk := stream.read(_CHUNK):
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    yield line.decode(errors="replace")
            if ended:
                break
            # Asked before the last read, so that nothing which was written in between is missed.
            ended = not any(other.number == run.number and other.lives for other in runs_of(layout, task_id))
            if not ended:
                time.sleep(_POLL_SECONDS)
        if rest:
            yield rest.decode(errors="replace")
