"""`agentpool init`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agentpool.cli.output import heading, say, say_all
from agentpool.cli.terminal import printable, style, table
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
    steps = [
        (f"edit .agent-pool/experts/{first}/identity.md", f"what {first} knows and owns"),
        ("agentpool doctor", "is everything there?"),
        ("agentpool start", "serve the pool; -d: in the background"),
        (f'agentpool ask {first} "What do you own?"', "waits, and prints the answer"),
    ]
    if not experts:
        steps.insert(0, ("agentpool init --expert NAME", "an expert for each domain"))
    say_all(table(steps, indent="  "))


def _relative(file: Path, project: Path) -> str:
    return str(file.relative_to(project)) if file.is_relative_to(project) else str(file)
