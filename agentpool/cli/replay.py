"""`agentpool replay`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentpool.cli import answers
from agentpool.cli.client import Client
from agentpool.cli.output import note, say, say_all, say_error
from agentpool.cli.terminal import one_line, printable, table
from agentpool.model.errors import AgentpoolError, UnknownIdError, UsageError
from agentpool.pool.layout import find_pool

if TYPE_CHECKING:
    from agentpool.pool.layout import Layout

app = typer.Typer()

_REASON = ".reason.md"


@app.command()
def replay(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Files under deadletter/.")] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Every dead letter.")] = False,
    only_list: Annotated[bool, typer.Option("--list", "-l", help="List them with their reasons.")] = False,
) -> None:
    """Drop refused mail again, after its reason is mended.

    Edit the file under deadletter/ first. Without a name the dead letters are listed.
    """
    layout = find_pool(Path.cwd())
    letters = _letters(layout)
    if everything and names:
        raise UsageError("names and --all exclude each other")
    if only_list or not (names or everything):
        _list(layout, letters)
        return
    client = Client(layout)
    failed: AgentpoolError | None = None
    for name in letters if everything else names or []:
        file = Path(name).name
        if file not in letters and f"{file}.md" in letters:
            file += ".md"
        try:
            say(f"{one_line(file)}: dropped as {one_line(answers.text(client.replay(file), 'dropped'))}")
        except UnknownIdError as error:
            say_error(error)
            failed = error
    if failed is not None:
        raise typer.Exit(failed.exit_code)


def _letters(layout: Layout) -> list[str]:
    if not layout.deadletter.is_dir():
        return []
    return sorted(
        file.name for file in layout.deadletter.iterdir() if file.is_file() and not file.name.endswith(_REASON)
    )


def _list(layout: Layout, letters: list[str]) -> None:
    if not letters:
        say("no dead letters")
        return
    say_all(table([(name, _reason(layout.deadletter / f"{name}{_REASON}")) for name in letters]))
    note("mend the file under deadletter/, then: agentpool replay NAME")


def _reason(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return "(nobody wrote down why)"
    body = text.partition("\n---\n")[2] if text.startswith("---\n") else text
    first = next((line.strip() for line in printable(body).splitlines() if line.strip()), "")
    return first.removeprefix("This mail was refused: ")
