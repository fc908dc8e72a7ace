"""A supervisor that dies at a chosen step of a mail's life: for each step one pool, a crash, and a restart.

    python -m tests.supervisor.crash_points DIRECTORY LIFE STRIDE

It forks its supervisors, so that the program is loaded once, and prints one JSON object: the number of crashes, and
what was wrong after which of them.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from agentpool.model.errors import AgentpoolError
from agentpool.pool import logbook
from agentpool.pool.founding import found
from agentpool.pool.journal import Journal
from agentpool.pool.layout import Layout
from agentpool.supervisor.service import serve

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_DEADLINE_SECONDS = 20.0
_LOOK_SECONDS = 0.003
_CRASHED = 77
_SETTINGS = """
[agent]
kind = "simulated"
script = "script.toml"
[pool]
sweep = "100ms"
[limits]
run_memory = 0
[runs]
stop_grace = "200ms"
"""
_SCRIPT = """
[[play]]
task = "plan"
run = 1
steps = [ { append = { path = "runs", text = "$run\\n" } }, { send = { name = "sub.md", to = "b", body = "x" } },
          { send = { name = "fyi.md", to = "human", type = "notify", body = "y" } } ]
[[play]]
steps = [ { append = { path = "runs", text = "$run\\n" } }, { respond = { body = "Done." } } ]
"""


class Life(NamedTuple):
    """What is dropped, and what must have come of it.

    Args:
        drops: file names in the postoffice, with their texts.
        people: names in `human/inbox/` at the end.
        archived: names in the archive at the end.
        letters: names among the dead letters at the end.
        runs: every run, each of which must have been played once.
    """

    drops: Mapping[str, str]
    people: frozenset[str]
    archived: frozenset[str]
    letters: frozenset[str]
    runs: frozenset[str]


def _life(drops: Mapping[str, str], people: str, archived: str, letters: str = "", runs: str = "") -> Life:
    sets = (frozenset(words.split()) for words in (people, archived, letters, runs))
    return Life(drops, *sets)


LIVES = {
    "task": _life({"t.md": "---\nto: a\n---\n\nhello\n"}, "t.response.md", "t.md", runs="t.1"),
    "named": _life({"x.md": "---\nid: t\nto: a\n---\n\nhello\n"}, "t.response.md", "t.md", runs="t.1"),
    "refused": _life({"t.md": "---\nto: nobody\n---\n\nhello\n"}, "t.refused.md", "", "t.md t.md.reason.md"),
    "delegation": _life(
        {"plan.md": "---\nto: a\n---\n\nhello\n"},
        "plan.response.md fyi.md",
        "plan.md sub.md sub.response.md",
        runs="plan.1 plan.2 sub.1",
    ),
    "notify": _life(
        {
            "n.md": "---\nto: a\ntype: notify\n---\n\nnews\n",
            "t.md": "---\nto: a\ndepends-on: [u]\n---\n\nhello\n",
            "u.md": "---\nto: b\n---\n\nhello\n",
        },
        "t.response.md u.response.md",
        "n.md t.md u.md",
        runs="t.1 u.1",
    ),
}


class Pool:
    """One pool in a directory of its own."""

    def __init__(self, directory: Path, life: Life) -> None:
        project = directory / "p"
        project.mkdir(parents=True)
        self.project, self.home, self.life = project, directory, life
        self.layout = Layout(project / ".agent-pool")
        found(project, ["a", "b"])
        self.layout.configuration.write_text(_SETTINGS)
        (self.layout.root / "script.toml").write_text(_SCRIPT)

    def drop(self) -> None:
        """Moves the mail in."""
        for name, text in self.life.drops.items():
            aside = self.home / name
            aside.write_text(text)
            aside.rename(self.layout.postoffice / name)

    def is_complete(self) -> bool:
        """Whether everything that is to come has come."""
        archived = {file.name for file in self.layout.archive.glob("*/*.md")}
        return (
            self.life.people <= _names(self.layout.inbox("human"))
            and self.life.archived <= archived
            and self.life.letters <= _names(self.layout.deadletter)
            and not _names(self.layout.runs)
            and not _names(self.layout.mail)
            and not _names(self.layout.postoffice)
        )

    def problems(self) -> list[str]:
        """What is not as it must be at the end."""
        archived = [file.name for file in self.layout.archive.glob("*/*.md")]
        played = self._lines(self.project / "runs")
        events = self._events()
        accepted = [event["mail"]["id"] for event in events if event["event"] == "mail.accepted"]
        settled = [event["run"] for event in events if event["event"] == "run.settled"]
        seqs = [event["seq"] for event in events]
        lines = [
            line.split(" | ")[1]
            for file in self.layout.experts.glob("*/logs/index.md")
            for line in self._lines(file)
            if line.startswith("| 20")
        ]
        checks = {
            f"people have {_names(self.layout.inbox('human'))}": _names(self.layout.inbox("human")) == self.life.people,
            f"archived: {archived}": sorted(archived) == sorted(self.life.archived),
            f"dead letters: {_names(self.layout.deadletter)}": _names(self.layout.deadletter) == self.life.letters,
            f"played: {played}": sorted(played) == sorted(self.life.runs),
            f"settled: {settled}": sorted(settled) == sorted(self.life.runs),
            f"accepted: {accepted}": len(accepted) == len(set(accepted)),
            f"in the log books: {lines}": sorted(lines) == sorted({run.rpartition(".")[0] for run in self.life.runs}),
            f"the journal has {seqs}": seqs == list(range(1, len(seqs) + 1)),
            "not complete": self.is_complete(),
        }
        return [problem for problem, holds in checks.items() if not holds]

    def _events(self) -> list[dict[str, Any]]:
        files = sorted(self.layout.journal.glob("segment-*.jsonl"))
        return [event for file in files for event in map(json.loads, self._lines(file)) if "event" in event]

    @staticmethod
    def _lines(file: Path) -> list[str]:
        return file.read_text().splitlines() if file.exists() else []


def _names(directory: Path) -> set[str]:
    return {name for name in os.listdir(directory) if not name.startswith(".")} if directory.is_dir() else set()  # noqa: PTH208


def _fork(pool: Pool, crash_at: int | None) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.setsid()
        log = os.open(pool.home / "supervisor.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        if crash_at is not None:
            _crash(crash_at)
        serve(pool.layout, home=pool.home)
        code = 0
    except AgentpoolError as error:
        sys.stderr.write(f"{error}\n")
    finally:
        os._exit(code)


def _crash(at: int) -> None:
    """Has this process die just before the given step, counted from the journal's first word about a mail."""
    count: int | None = None

    def step() -> None:
        nonlocal count
        if count is not None:
            count += 1
            if count > at:
                os._exit(_CRASHED)

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            step()
            return function(*arguments, **options)

        return call

    append = Journal.append

    def watched(self: Journal, events: Any, at: float) -> Any:
        nonlocal count
        if count is None and any(name.startswith("mail.") for name, _ in events):
            count = 0
        return append(self, events, at)

    Journal.append = watched  # type: ignore[method-assign]
    for name in ("rename", "replace", "unlink", "mkdir", "link", "fdatasync", "write", "pwrite", "truncate"):
        setattr(os, name, counted(getattr(os, name)))
    logbook.add_line = counted(logbook.add_line)
    subprocess.Popen.__init__ = counted(subprocess.Popen.__init__)  # type: ignore[method-assign]


def _await(pool: Pool, pid: int, *, drop: bool = False) -> int | None:
    """The exit code of a supervisor; None once the life is complete, or nothing comes of it.

    Args:
        drop: whether the mail is to be moved in once the pool is served.
    """
    end = time.monotonic() + _DEADLINE_SECONDS
    while time.monotonic() < end:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if drop and pool.layout.supervisor.exists():
            pool.drop()
            drop = False
        if not drop and pool.is_complete():
            return None
        time.sleep(_LOOK_SECONDS)
    return None


def _leave(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)


def main(directory: Path, life: Life, stride: int) -> dict[str, object]:
    """Crashes at every `stride`-th step until a life passes without a crash."""
    problems: dict[int, list[str]] = {}
    point = 0
    while True:
        pool = Pool(directory / str(point), life)
        pid = _fork(pool, point)
        code = _await(pool, pid, drop=True)
        if code is None:
            _leave(pid)
            return {
                "crashes": point // stride,
                "problems": problems | ({point: found} if (found := pool.problems()) else {}),
            }
        if code != _CRASHED:
            problems[point] = [f"it ended with {code}: {(pool.home / 'supervisor.log').read_text()}"]
            return {"crashes": point // stride, "problems": problems}
        for _ in range(2):
            # The second restart finds nothing to do, and must do nothing.
            pid = _fork(pool, None)
            _await(pool, pid)
            _leave(pid)
        if found := pool.problems():
            problems[point] = found
        point += stride


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), LIVES[sys.argv[2]], int(sys.argv[3]))))  # noqa: T201 - its answer
