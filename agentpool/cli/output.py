"""What commands print: text for people, JSON for programs, notes beside the output."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import typer

from agentpool.cli.terminal import columns, is_terminal, printable, style

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agentpool.model.errors import AgentpoolError

#: Columns up to which prose is easy to read.
_PROSE = 100
_STATES = {
    "done": "green",
    "failed": "red",
    "cancelled": "red",
    "running": "cyan",
    "delegated": "blue",
    "ready": "bold",
    "blocked": "yellow",
    "needs-input": "yellow",
}


def say(line: str = "") -> None:
    """A line on standard output; `line` is safe for a terminal."""
    typer.echo(line)


def say_all(lines: Iterable[str]) -> None:
    """Lines on standard output."""
    for line in lines:
        typer.echo(line)


def note(line: str) -> None:
    """A line beside the output, on standard error."""
    typer.echo(printable(line), err=True)


def say_error(error: AgentpoolError) -> None:
    """An error beside the output: what happened, and on a line of its own what to do next."""
    typer.echo(f"{style('error:', 'red', sys.stderr)} {printable(error.message)}", err=True)
    if error.tip:
        typer.echo(f"  {style('tip:', 'cyan', sys.stderr)} {printable(error.tip)}", err=True)


def say_json(value: Mapping[str, object]) -> None:
    """One JSON object on standard output, and nothing else."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def say_markdown(text: str) -> None:
    """Markdown: rendered for a person, byte for byte for a program."""
    if not is_terminal():
        typer.echo(text.rstrip("\n"))
        return
    from rich.console import Console  # noqa: PLC0415 - only a terminal pays for it
    from rich.markdown import Markdown  # noqa: PLC0415 - as above

    Console(width=min(columns(), _PROSE)).print(Markdown(printable(text), hyperlinks=False))


def heading(title: str, about: str = "") -> str:
    """A line above a list."""
    return style(title, "bold") + (f"  {style(about, 'dim')}" if about else "")


def state(name: str, padded: str | None = None) -> str:
    """A state in its colour; `padded` is the text to show where it is not the name itself."""
    shown = name if padded is None else padded
    colour = _STATES.get(name)
    return style(shown, colour) if colour else shown
