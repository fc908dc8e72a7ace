"""`agentpool demo`."""

from __future__ import annotations

import typer

app = typer.Typer()


@app.command()
def demo() -> None:
    """Watch a made-up pool work for half a minute; costs nothing."""
