"""`agentpool demo`."""

from __future__ import annotations

import signal
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from agentpool.cli import demo_checks
from agentpool.cli.demo_acts import Acts
from agentpool.cli.demo_project import make_project
from agentpool.cli.demo_supervisor import DemoSupervisor
from agentpool.cli.output import note
from agentpool.cli.terminal import is_terminal

app = typer.Typer()


@app.command()
def demo(
    *,
    keep: Annotated[
        Path | None, typer.Option("--keep", metavar="DIR", help="Make it there; default: a new temporary directory.")
    ] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Lines instead of the live picture.")] = False,
) -> None:
    """Watch a made-up pool work for half a minute; costs nothing.

    A small project with a real bug, four roles, and agents that play a script:
    real processes, real commands, real files, and no model. The directory stays,
    to look around in. Exits with 1 when something did not come out as it should.
    """
    project = Path(tempfile.mkdtemp(prefix="agentpool-demo-"), "shop") if keep is None else keep.resolve()
    for number in (signal.SIGTERM, signal.SIGHUP):
        # Whoever ends the demo ends all that it started, as Ctrl-C does.
        signal.signal(number, signal.default_int_handler)
    layout = make_project(project)
    acts = Acts(layout, plain=plain or not is_terminal())
    try:
        with DemoSupervisor(layout) as supervisor:
            checks = acts.play(supervisor)
    except KeyboardInterrupt:
        note(f"\ninterrupted; nothing is left running, and {project} stays")
        raise
    checks.append(demo_checks.check_of_the_end(layout))
    acts.close(checks)
    if not all(check.holds for check in checks):
        raise typer.Exit(1)
