"""`agentpool init`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agentpool.cli.output import heading, say, say_all
from agentpool.cli.terminal import counted, printable, style, table
from agentpool.model.errors import UsageError
from agentpool.pool.founding import found
from agentpool.pool.layout import POOL_DIRECTORY, Layout

app = typer.Typer()

_IDENTITY = "identity.md"


@app.command()
def init(
    path: Annotated[Path | None, typer.Argument(metavar="PATH", help="The project; default: here.")] = None,
    experts: Annotated[
        list[str] | None, typer.Option("--expert", "-e", metavar="NAME", help="An expert; repeatable.")
    ] = None,
) -> None:
    """Make a pool in a project; never overwrites a file.

    In a pool that is already there, it adds what is missing.
    """
    project = (path or Path.cwd()).resolve()
    if not project.is_dir():
        raise UsageError(f"{project} is not a directory", tip=f"make it with: mkdir -p {project}")
    founded = found(project, experts or [])
    layout = Layout(project / POOL_DIRECTORY)
    is_new = layout.configuration in founded.created
    say(heading(f"{'Made a' if is_new else 'There is already a'} pool: {printable(str(layout.root))}"))
    for file in founded.created:
        say(f"  {style('made', 'green')} {printable(_relative(file, project))}")
    if founded.kept:
        say(f"  {style('kept', 'dim')} {counted(len(founded.kept), 'file')} as they were")
    added = []
    for name in dict.fromkeys(experts or []):
        if layout.home(name) / _IDENTITY in founded.created:
            added.append(name)
        else:
            say(f"  {style('kept', 'dim')} the expert {name}, who was there already")
    if not is_new and not founded.created:
        say("  nothing was missing")
    _tell_next(experts or [], added, is_new=is_new)


def _tell_next(experts: list[str], added: list[str], *, is_new: bool) -> None:
    steps = [] if experts or not is_new else [("agentpool init --expert NAME", "an expert for each domain")]
    shown = added or (["NAME"] if is_new else [])
    steps += [(f"edit .agent-pool/experts/{name}/{_IDENTITY}", f"what {name} knows and owns") for name in shown]
    if is_new:
        steps.append(("agentpool doctor", "is everything there?"))
        steps.append(("agentpool start", "serve the pool; -d: in the background"))
    steps += [(f'agentpool ask {name} "What do you own?"', "waits, and prints the answer") for name in shown[:1]]
    if steps:
        say()
        say(heading("Next"))
        say_all(table(steps, indent="  "))


def _relative(file: Path, project: Path) -> str:
    return str(file.relative_to(project)) if file.is_relative_to(project) else str(file)
