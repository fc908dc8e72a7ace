"""`agentpool status`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentpool.cli import answers
from agentpool.cli.client import Client
from agentpool.cli.left_board import left_tasks, note_of_drops
from agentpool.cli.moments import dollars, dollars_so_far, local, since
from agentpool.cli.output import heading, note, say, say_all, say_json, state
from agentpool.cli.run_text import doing
from agentpool.cli.terminal import one_line, style, table
from agentpool.model.errors import NoSupervisorError
from agentpool.pool.layout import find_pool

if TYPE_CHECKING:
    from agentpool.cli.answers import Row
    from agentpool.pool.layout import Layout

app = typer.Typer()

#: Waiting tasks that are listed with their reasons; the board has all.
_LISTED = 25


@app.command()
def status(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """What runs, what waits and why, and what today has cost."""
    layout = find_pool(Path.cwd())
    try:
        now = Client(layout).status()
    except NoSupervisorError:
        _tell_what_is_left(layout, as_json=as_json)
        raise
    if as_json:
        say_json(now)
        return
    say_all([*_top(now), *_runs(answers.rows(now, "runs")), *_waiting(now)])


def _top(now: Row) -> list[str]:
    name = answers.text(now, "state")
    colour = {"running": "green", "held": "red"}.get(name, "yellow")
    # The time is the supervisor's own; what holds or stops the pool came later.
    up = f"{'' if name == 'running' else ', up'} for {since(now.get('since'))}"
    lines = [
        f"{style(one_line(answers.text(now, 'name')), 'bold')}  {style(name, colour)}{up}",
        one_line(answers.text(now, "pool")),
        f"pid {answers.text(now, 'pid')}  agentpool {one_line(answers.text(now, 'version'))}",
        f"today {dollars(now.get('spent_today_usd'))} of {dollars(now.get('day_usd'))}  {_counts(now)}".rstrip(),
    ]
    for hold in answers.rows(now, "holds"):
        until = f" until {local(hold['until'])}" if hold.get("until") else ""
        lines.append(
            f"{style('held:', 'red')} {one_line(answers.text(hold, 'hold'))}{until}: "
            f"{one_line(answers.text(hold, 'reason'))}"
        )
        lines += _tip(hold)
    lines += [f"{style('warning:', 'yellow')} {one_line(warning)}" for warning in answers.names(now, "warnings")]
    return lines


def _counts(now: Row) -> str:
    counts = answers.row(now, "counts")
    return "  ".join(f"{name} {count}" for name, count in counts.items() if count)


def _runs(runs: list[dict[str, object]]) -> list[str]:
    if not runs:
        return ["", heading("Nothing runs.")]
    cells = [
        (
            answers.text(run, "name"),
            answers.text(run, "task"),
            since(run.get("since")),
            dollars_so_far(run.get("cost_usd")),
            doing(run),
        )
        for run in runs
    ]
    return ["", heading("Running", str(len(runs))), *table(cells, indent="  ")]


def _waiting(now: Row) -> list[str]:
    waiting = answers.rows(now, "waiting")
    if not waiting:
        return ["", heading("Nothing waits.")]
    shown = waiting[:_LISTED]
    lines = table([[answers.text(task, key) for key in ("id", "to", "state", "reason")] for task in shown], indent="  ")
    counts = answers.row(now, "counts")
    total = max(len(waiting), sum(int(answers.number(counts, key)) for key in ("ready", "blocked", "delegated")))
    result = ["", heading("Waiting", str(total))]
    for task, line in zip(shown, lines, strict=True):
        name = answers.text(task, "state")
        result.append(line.replace(f"  {name}  ", f"  {state(name)}  ", 1))
        result += _tip(task)
    if total > len(shown):
        result.append(style(f"  … and {total - len(shown)} more: agentpool board", "dim"))
    return result


def _tip(row: Row) -> list[str]:
    tip = answers.text(row, "tip")
    return [style(f"      {one_line(tip)}", "dim")] if tip else []


def _tell_what_is_left(layout: Layout, *, as_json: bool) -> None:
    left = left_tasks(layout)
    if as_json:
        waiting = [{key: task.get(key) for key in ("id", "to", "state", "reason")} for task in left]
        say_json(
            {"pid": None, "pool": str(layout.root), "state": "stopped", "since": None, "runs": [], "waiting": waiting}
        )
        return
    if left:
        say(heading("Open when the last supervisor ended", str(len(left))))
        cells = [[answers.text(task, key) for key in ("id", "to", "state", "subject")] for task in left[:_LISTED]]
        say_all(table(cells, indent="  "))
    drops = note_of_drops(layout)
    if drops:
        note(drops)
