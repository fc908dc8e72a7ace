"""The live picture of a pool: who works on what, what waits and why, the last answers.

It is drawn from what the supervisor says and from nothing else. Every text in it may come from mail, so each is put
in as plain `Text`, never as markup.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from agentpool.cli import answers
from agentpool.cli.answers import Row
from agentpool.cli.event_text import answer_of
from agentpool.cli.moments import dollars, dollars_so_far, local, since
from agentpool.cli.run_text import doing
from agentpool.cli.terminal import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType


_ANSWERS = 8
#: Lines that headings, blanks and the top take.
_FRAME = 11
_INDENT = (0, 0, 0, 1)
#: The widest that a column gets: of ids, of names, and of states, times and amounts. What is told gets the rest.
_ID, _NAME, _WORD = 26, 14, 10
_WITHOUT_RUN = ("ready", "blocked", "delegated")
_SAID = {
    "away": "no supervisor serves it",
    "stopping": "stopping once its runs have ended (Ctrl-C again, or: agentpool stop --now)",
}
_COLOURS = {
    "running": "green",
    "held": "bold red",
    "stopping": "yellow",
    "away": "bold red",
    "done": "green",
    "failed": "red",
    "cancelled": "red",
    "ready": "bold",
    "blocked": "yellow",
    "delegated": "blue",
}


@dataclass(slots=True)
class View:
    """What is on the screen.

    Args:
        status: the supervisor's last `status`.
        settled: the last answers, the newest first: task, state, first words.
        away: whether the supervisor is not there.
    """

    status: Row = field(default_factory=dict)
    settled: deque[tuple[str, str, str]] = field(default_factory=lambda: deque(maxlen=_ANSWERS))
    away: bool = False

    def take(self, event: Row) -> None:
        """Folds one event in: a run's progress at once, an answer into the list."""
        answer = answer_of(event)
        if answer is not None:
            self.settled.appendleft(answer)
        if answers.text(event, "event") == "run.progress":
            for run in answers.rows(self.status, "runs"):
                if run.get("run") == event.get("run"):
                    run |= {key: event[key] for key in ("tool", "tool_calls", "cost_usd") if key in event}

    def draw(self, *, height: int, now: float) -> RenderableType:
        """The picture in at most `height` lines.

        Args:
            height: lines, not less than 12.
            now: seconds since the epoch.
        """
        runs, waiting = answers.rows(self.status, "runs"), answers.rows(self.status, "waiting")
        top = self._top(now)
        room = max(4, height - _FRAME - len(top))
        # What works comes first; what waits gets at least a third, and each leaves what it does not need.
        told = min(len(self.settled), max(2, room // 4))
        for_runs = min(len(runs), max(room - told - min(len(waiting), room // 3), 1))
        for_waiting = max(room - told - for_runs, 1)
        told = min(len(self.settled), max(told, room - for_runs - min(len(waiting), for_waiting)))
        parts: list[RenderableType] = [*top, Text()]
        parts += self._runs(runs, for_runs, now)
        parts += _waiting(waiting, for_waiting, total=_waiting_in_all(self.status))
        parts += self._answers(told)
        return Group(*parts)

    def _top(self, now: float) -> list[Text]:
        status = self.status
        name = "away" if self.away else answers.text(status, "state")
        said = _SAID.get(name, name)
        first = Text(no_wrap=True, overflow="ellipsis")
        first.append(f" {_pool_name(status)} ", "bold reverse")
        first.append(f"  {said}", _COLOURS.get(name, ""))
        if name not in _SAID:
            # The time is the supervisor's; what holds the pool came later.
            up = " for" if name == "running" else ", up for"
            first.append(f"{up} {since(status.get('since'), now=now)}", "dim")
        first.append(f"   today {dollars(status.get('spent_today_usd'))} of {dollars(status.get('day_usd'))}")
        counts = answers.row(status, "counts")
        second = Text(no_wrap=True, overflow="ellipsis", style="dim")
        second.append(" " + "  ".join(f"{key} {value}" for key, value in counts.items() if value))
        lines = [first, second]
        for hold in answers.rows(status, "holds"):
            until = f" until {local(hold['until'])}" if hold.get("until") else ""
            said = f" HELD {answers.text(hold, 'hold')}{until}: {one_line(answers.text(hold, 'reason'))}"
            lines.append(_line(said, "bold red"))
            if hold.get("tip"):
                lines.append(_line(f"      {one_line(answers.text(hold, 'tip'))}", "red"))
        warnings = [one_line(warning) for warning in answers.names(status, "warnings")]
        lines += [_line(f" warning: {warning}", "yellow") for warning in warnings[:3]]
        return lines

    def _runs(self, runs: Sequence[Row], most: int, now: float) -> list[RenderableType]:
        if not runs:
            return [_line(" Nothing runs.", "bold"), Text()]
        grid = _grid(_NAME, _ID, _WORD, _WORD, None)
        for run in runs[:most]:
            grid.add_row(
                Text(one_line(answers.text(run, "name")), "cyan"),
                Text(one_line(answers.text(run, "task"))),
                Text(since(run.get("since"), now=now), "dim"),
                Text(dollars_so_far(run.get("cost_usd")), "dim"),
                Text(doing(run), "yellow" if run.get("retrying") else ""),
            )
        return [_line(f" Running {len(runs)}", "bold"), Padding(grid, _INDENT), *_rest(len(runs) - most), Text()]

    def _answers(self, most: int) -> list[RenderableType]:
        if not most:
            return []
        grid = _grid(_ID, _WORD, None)
        for task, step, said in list(self.settled)[:most]:
            grid.add_row(Text(one_line(task)), Text(step, _COLOURS.get(step, "")), Text(one_line(said), "dim"))
        return [_line(" Last answers", "bold"), Padding(grid, _INDENT)]


def _waiting(waiting: Sequence[Row], most: int, *, total: int) -> list[RenderableType]:
    if not waiting:
        return [_line(" Nothing waits.", "bold"), Text()]
    grid = _grid(_ID, _NAME, _WORD, None)
    for task in waiting[:most]:
        state = answers.text(task, "state")
        why = one_line(answers.text(task, "reason"))
        tip = one_line(answers.text(task, "tip"))
        grid.add_row(
            Text(one_line(answers.text(task, "id"))),
            Text(one_line(answers.text(task, "to")), "cyan"),
            Text(state, _COLOURS.get(state, "")),
            Text.assemble(why, (f"  {tip}" if tip else "", "dim")),
        )
    return [_line(f" Waiting {total}", "bold"), Padding(grid, _INDENT), *_rest(total - min(most, len(waiting))), Text()]


def _waiting_in_all(status: Row) -> int:
    """The supervisor lists only the first of many; its counts have all."""
    counts = answers.row(status, "counts")
    return max(len(answers.rows(status, "waiting")), sum(int(answers.number(counts, key)) for key in _WITHOUT_RUN))


def _grid(*most: int | None) -> Table:
    """A table without lines; a column takes what it needs, but no more than this, and one with None gets the rest."""
    grid = Table.grid(padding=(0, 2, 0, 0), expand=True)
    for width in most:
        grid.add_column(no_wrap=True, overflow="ellipsis", max_width=width, ratio=1 if width is None else None)
    return grid


def _line(text: str, style: str) -> Text:
    return Text(text, style, no_wrap=True, overflow="ellipsis")


def _rest(count: int) -> list[RenderableType]:
    return [_line(f" … and {count} more", "dim")] if count > 0 else []


def _pool_name(status: Row) -> str:
    return one_line(answers.text(status, "name")) or "agentpool"
