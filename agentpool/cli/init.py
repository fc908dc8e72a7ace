"""`agentpool init`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agentpool.cli.output import heading, say
from agentpool.cli.terminal import printable, style
from agentpool.model.errors import UsageError
from agentpool.pool.founding import found

app = typer.Typer()


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
    for file in founded.created:
        say(f"{style('made', 'green')} {printable(_relative(file, project))}")
    for file in founded.kept:
        say(f"{style('kept', 'dim')} {printable(_relative(file, project))}")
    first = experts[0] if experts else "NAME"
    say()
    say(heading("Next"))
    if not experts:
        say("  agentpool init --expert NAME                   an expert, for each domain of the project")
    say(f"  edit .agent-pool/experts/{first}/identity.md   say what {first} knows and owns")
    say("  agentpool doctor                               is everything there?")
    say("  agentpool start                                serve the pool (-d: in the background)")
    say(f'  agentpool ask {first} "What do you own?"')


def _relative(file: Path, project: Path) -> str:
    return str(file.relative_to(project)) if file.is_relative_to(project) else str(file)
