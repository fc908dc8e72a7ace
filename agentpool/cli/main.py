"""The `agentpool` command: runs what was typed, and turns errors into one line, a tip and an exit code."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from pathlib import Path

import typer

from agentpool.cli.commands import Commands
from agentpool.cli.output import say_error
from agentpool.model.errors import AgentpoolError

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 ok, 1 failed task or negative answer, 2 usage, 3 no pool or no supervisor, 4 timed out, "
    "100 another supervisor holds the pool.",
)


@app.callback()
def _agentpool(
    directory: str = typer.Option(None, "--directory", "-C", metavar="DIR", help="Act as if started in DIR."),
) -> None:
    """A pool of specialist AI coding agents that works off mail."""
    if directory is not None:
        try:
            os.chdir(directory)
        except OSError as error:
            raise typer.BadParameter(f"{directory}: {error.strerror}", param_hint="--directory") from None


def main() -> None:
    """Runs the command and ends the process with its exit code."""
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # A terminal that cannot show a character shows a `?`, and the command goes on.
            stream.reconfigure(errors="replace")
    try:
        code = _run()
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has gone (`agentpool board | head`): the interpreter must not try to flush once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)


def _open_closed_streams() -> None:
    """A caller may have closed standard output or error (`>&-`): what is said there then goes nowhere."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - as long as the process


def _run() -> int:
    try:
        app(prog_name="agentpool")
    except AgentpoolError as error:
        say_error(error)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except SystemExit as end:
        if isinstance(end.code, str):
            raise
        # typer ends a command whose reader has gone with 1; `agentpool board | head` is no failure.
        return 0 if isinstance(end.__context__, BrokenPipeError) else end.code or 0
    return 0
