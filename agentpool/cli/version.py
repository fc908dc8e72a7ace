"""`agentpool version`."""

from __future__ import annotations

import typer

from agentpool import __version__
from agentpool.cli.output import say

app = typer.Typer()


@app.command()
def version() -> None:
    """Print the version."""
    say(f"agentpool {__version__}")
