"""Starting and stopping: draining, stopping, leaving, signals, a second supervisor, odd places."""

from __future__ import annotations

import os
import shutil
import signal
from typing import TYPE_CHECKING

import pytest

from agentpool.pool.configuration_file import load
from agentpool.runs.process_table import state_of
from tests.supervisor.served import REPOSITORY, Pool, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WAITS = """
[[play]]
task = "long"
steps = [ { say = "I begin." }, { wait_for = "go" }, { respond = { body = "Waited." } } ]
"""


def _lives(pid: int) -> bool:
    state = state_of(pid)
    return state is not None and not state.zombie


def _busy(pool: Pool) -> int:
    """The pid of a run that works and waits for `go`."""
    pool.script(WAITS)
    pool.start()
    pool.send("long", "a")
    pool.says("long.1", "I begin.")
    return pool.run_pid("long.1")


def test_stop_drains(pool: Pool) -> None:
    """A stop lets the runs end and starts nothing more; what waits is there for the next supervisor."""
    _busy(pool)
    pool.client.stop("drain")
    pool.send("next", "b")
    assert pool.waits("next", "the supervisor is stopping")
    assert pool.status()["state"] == "stopping"
    pool.touch("go")
    assert pool.ended() == 0
    assert "Waited." in pool.answer("long")[1]
    assert pool.runs_of("next") == []
    pool.start()
    pool.settled("next")


def test_stop_now(pool: Pool) -> None:
    """`stop --now` ends the runs; their tasks start again with the next supervisor, with no attempt used."""
    pid = _busy(pool)
    assert pool.command("stop", "--now").returncode == 0
    assert not _lives(pid)
    assert pool.family() == []
    pool.touch("go")
    pool.start()
    assert pool.settled("long")["attempt"] == 1
    assert pool.runs_of("long") == ["long.1", "long.2"]


def test_stop_now_in_the_middle_of_many_starts(pool: Pool) -> None:
    """A run that is just being started when the stop comes is stopped as well."""
    experts = [f"e{number}" for number in range(16)]
    pool.configure(limits={"max_runs": 16}, **{f"experts.{name}": {} for name in experts})
    pool.script('[[play]]\nsteps = [ { wait_for = "never" } ]\n')
    for name in experts:
        pool.layout.inbox(name).mkdir(parents=True)
        pool.drop(f"for-{name}.md", "hello\n", to=name)
    pool.start()
    eventually(lambda: pool.events("run.starting"), "the first run is started")
    pool.client.stop("now")
    assert pool.ended() == 0
    assert pool.family() == []


def test_stop_leave(pool: Pool) -> None:
    """`stop --leave` ends the supervisor at once and leaves the run, which the next one takes over."""
    pid = _busy(pool)
    assert pool.command("stop", "--leave").returncode == 0
    assert _lives(pid)
    pool.start()
    assert pool.run_pid("long.1") == pid
    pool.touch("go")
    pool.settled("long")


def test_a_weaker_stop_can_be_made_stronger(pool: Pool) -> None:
    """While it drains, a supervisor can still be told to stop its runs."""
    _busy(pool)
    pool.client.stop("drain")
    pool.client.stop("now")
    assert pool.ended() == 0
    assert pool.family() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_that_leave(pool: Pool, number: signal.Signals) -> None:
    """SIGTERM and SIGHUP end the supervisor and leave the runs."""
    pid = _busy(pool)
    pool.supervisor.send_signal(number)
    assert pool.ended() == 0
    assert _lives(pid)
    assert not pool.layout.supervisor.exists()
    pool.touch("go")
    pool.start()
    pool.settled("long")
    assert pool.runs_of("long") == ["long.1"]


def test_ctrl_c_drains_and_twice_stops(pool: Pool) -> None:
    """The first SIGINT lets the runs end, the second stops them; the runs do not hear it themselves."""
    pid = _busy(pool)
    os.killpg(pool.supervisor.pid, signal.SIGINT)
    eventually(lambda: pool.status()["state"] == "stopping", "it drains")
    assert _lives(pid)
    pool.supervisor.send_signal(signal.SIGINT)
    assert pool.ended() == 0
    assert not _lives(pid)
    assert [event["how"] for event in pool.events("pool.stopped")] == ["now"]


def test_a_second_start_names_who_serves(pool: Pool) -> None:
    """A pool has one supervisor: the second exits with 100 and says which process holds it."""
    pool.start()
    said = pool.command("start")
    assert said.returncode == 100
    assert f"pid {pool.supervisor.pid}" in said.stderr
    pool.send("t", "a")
    pool.settled("t")


def test_a_start_after_a_crash_needs_no_cleaning(pool: Pool) -> None:
    """Lock, socket and pid file of a killed supervisor are in nobody's way."""
    for _ in range(3):
        pool.start()
        pool.kill()
        assert pool.command("status").returncode == 3
    pool.start()
    pool.send("t", "a")
    pool.settled("t")


def test_a_broken_pool_toml_stops_the_start(pool: Pool) -> None:
    """With nothing to fall back to, a wrong setting ends the start with file, key and what is allowed."""
    pool.configure(limits={"max_runs": "many"})
    process = pool.start(wait=False)
    assert process.wait(20) == 2
    assert "limits.max_runs" in pool.log()
    assert "pool.toml" in pool.log()


def test_a_lost_journal_stops_the_start(pool: Pool) -> None:
    """A history without a journal is refused: an empty board would do old work again."""
    pool.start()
    pool.send("t", "a")
    pool.settled("t")
    pool.client.stop("now")
    pool.ended()
    shutil.rmtree(pool.layout.journal)
    process = pool.start(wait=False)
    assert process.wait(20) == 1
    assert "no journal" in pool.log()


def test_a_torn_last_line_is_dropped_and_said(pool: Pool) -> None:
    """What a crash left of a last line is put aside with a note; everything before it holds."""
    pool.start()
    pool.send("t", "a")
    pool.settled("t")
    pool.kill()
    last = max(pool.layout.journal.glob("segment-*.jsonl"))
    with last.open("ab") as file:
        file.write(b'{"seq":99,"at":"2026')
    pool.start()
    assert pool.task("t")["state"] == "done"
    assert any("torn" in warning for warning in pool.status()["warnings"])


def test_damage_in_the_middle_of_the_journal_stops_the_start(pool: Pool) -> None:
    """A changed line is found by its checksum; the message names the place and the command that repairs."""
    pool.start()
    pool.send("t", "a", "the original words")
    pool.settled("t")
    pool.kill()
    first = min(pool.layout.journal.glob("segment-*.jsonl"))
    first.write_text(first.read_text().replace("the original words", "the changed words!"))
    process = pool.start(wait=False)
    assert process.wait(20) == 1
    assert first.name in pool.log()
    assert "doctor --repair" in pool.log()


def test_the_example_pool_starts(tmp_path: Path) -> None:
    """`.agent-pool.example`, copied, is a pool that serves and answers."""
    (tmp_path / "home").mkdir(mode=0o700)
    (tmp_path / "p").mkdir()
    pool = Pool(tmp_path / "p", tmp_path / "home")
    shutil.copytree(REPOSITORY / ".agent-pool.example", pool.layout.root)
    loaded = load(pool.layout, pool.home)
    assert not loaded.warnings
    try:
        pool.start()
        assert not pool.status()["warnings"]
        pool.drop("hello.md", "Where is the login?\n", to="backend")
        pool.when("hello", "done")
    finally:
        pool.close()


@pytest.fixture
def elsewhere(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Pool]:
    """A pool in a project at another path."""
    (tmp_path / "home").mkdir(mode=0o700)
    project = tmp_path / request.param
    project.mkdir(parents=True)
    pool = Pool(project, tmp_path / "home")
    pool.found("a", "b")
    yield pool
    pool.close()


@pytest.mark.parametrize(
    "elsewhere",
    [
        "/".join(["a-long-name-for-a-directory"] * 6),
        "mit Leerzeichen und Ümläuten/ソース",
        "quo'te \"and $HOME; `x`/[a]*?{b}",
    ],
    indirect=True,
)
def test_a_project_at_an_odd_path(elsewhere: Pool) -> None:
    """Long, blank, non-ASCII and shell-like paths change nothing, through a crash and an adoption too."""
    pid = _busy(elsewhere)
    elsewhere.restart()
    assert elsewhere.run_pid("long.1") == pid
    elsewhere.touch("go")
    assert "Waited." in elsewhere.answer("long")[1]
    elsewhere.drop("x.md", "hello\n", to="b")
    elsewhere.settled("x")
    assert elsewhere.command("status", "--json").returncode == 0
