"""`agentpool doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentpool import __version__
from agentpool.cli import answers
from agentpool.cli.checks.command import check_command
from agentpool.cli.checks.finding import Finding, Level, note, ok, problem
from agentpool.cli.checks.journal import check_journal
from agentpool.cli.checks.leftovers import check_leftovers
from agentpool.cli.checks.pool import check_pool
from agentpool.cli.checks.tools import check_tools
from agentpool.cli.checks.watching import check_watching
from agentpool.cli.client import Client
from agentpool.cli.output import say, say_json
from agentpool.cli.terminal import one_line, printable, style
from agentpool.model.errors import ConfigurationError, NoSupervisorError, PoolHeldError
from agentpool.pool.configuration_file import load
from agentpool.pool.layout import find_pool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentpool.pool.layout import Layout

app = typer.Typer()

_COLOURS = {Level.OK: "green", Level.NOTE: "yellow", Level.PROBLEM: "red"}
_AREA_WIDTH = 12


@app.command()
def doctor(
    *,
    repair: Annotated[
        bool, typer.Option("--repair", help="Move aside what is damaged in the journal; nothing is deleted.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Look for what is wrong with the pool, and say what to do about it.

    Exits with 1 when something is wrong. Nothing is changed without --repair, and no server is asked.
    """
    layout = find_pool(Path.cwd())
    findings = []
    for finding in _look(layout, Path.home(), repair=repair):
        findings.append(finding)
        if not as_json:
            _tell(finding)
    sick = any(finding.level is Level.PROBLEM for finding in findings)
    if as_json:
        listed = [
            {"area": finding.area, "level": finding.level.value, "text": finding.text, "tip": finding.tip or None}
            for finding in findings
        ]
        say_json({"ok": not sick, "findings": listed})
    if sick:
        raise typer.Exit(1)


def _look(layout: Layout, home: Path, *, repair: bool) -> Iterator[Finding]:
    supervisor = _supervisor(layout)
    served = supervisor is not None
    if served and repair:
        raise PoolHeldError("the journal cannot be repaired under a living supervisor", tip="agentpool stop")
    yield from check_pool(layout)
    try:
        loaded = load(layout, home)
    except ConfigurationError as error:
        yield problem("settings", error.message, error.tip or "")
    else:
        for warning in loaded.warnings:
            yield note("settings", warning)
        if not loaded.warnings:
            yield ok("settings", f"{layout.configuration} is sound")
        yield from check_tools(loaded.configuration)
        yield from check_command(layout, loaded.configuration, home)
    yield from check_watching(layout)
    yield supervisor or ok("supervisor", "none serves this pool")
    if not served:
        yield from check_journal(layout, mend=repair)
    yield from check_leftovers(layout, served=served)


def _supervisor(layout: Layout) -> Finding | None:
    """What is to be said of the supervisor; None where there is none."""
    try:
        status = Client(layout).status()
    except NoSupervisorError:
        return None
    about = f"pid {answers.text(status, 'pid')}, {answers.text(status, 'state')}"
    version = answers.text(status, "version")
    if version != __version__:
        tip = "agentpool stop --leave && agentpool start -d: the runs go on"
        return note("supervisor", f"{about}, is agentpool {version}, and this is {__version__}", tip)
    return ok("supervisor", about)


def _tell(finding: Finding) -> None:
    level = style(f"{finding.level.value:<8}", _COLOURS[finding.level])
    say(f"{level}{finding.area:<{_AREA_WIDTH}}  {printable(finding.text)}")
    if finding.tip:
        say(" " * (10 + _AREA_WIDTH) + style(one_line(f"→ {finding.tip}"), "cyan"))
