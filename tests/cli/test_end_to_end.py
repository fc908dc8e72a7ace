"""The command against a real supervisor, with the simulated agent doing the work."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

import pytest

from agentpool.pool.layout import Layout
from agentpool.runs.process_table import state_of
from tests.cli.terminal import in_terminal
from tests.gateway.fake_verbs import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.conftest import Command

SCRIPT = """
[[play]]
mail = "wait"
steps = [ { say = "I begin." }, { wait_for = "go" }, { respond = { status = "done", body = "Waited." } } ]

[[play]]
mail = "resist"
steps = [ { ignore = ["SIGINT", "SIGTERM"] }, { say = "I begin." }, { wait_for = "go" } ]

[[play]]
mail = "fail"
steps = [ { fail = "I cannot." } ]

[[play]]
steps = [ { say = "I look." }, { cost = 0.25 }, { respond = { status = "done", body = "In **redis**." } } ]
"""


@pytest.fixture
def pool(command: Command) -> Iterator[Layout]:
    """A pool with one expert, played by a script; whatever serves it at the end is stopped."""
    assert command("init", "--expert", "auth").returncode == 0
    layout = Layout(command.project / ".agent-pool")
    layout.configuration.write_text('[agent]\nkind = "simulated"\nscript = "play.toml"\n[pool]\nsweep = "200ms"\n')
    (layout.root / "play.toml").write_text(SCRIPT)
    yield layout
    (command.project / "go").touch()
    command("stop", "--now")


def pid_of(layout: Layout) -> int:
    """The supervisor's pid."""
    return int(json.loads(layout.supervisor.read_bytes())["pid"])


def is_alive(pid: int) -> bool:
    """Whether the process has not ended."""
    state = state_of(pid)
    return state is not None and not state.zombie


def test_a_day_with_a_pool(command: Command, pool: Layout) -> None:
    """Start in the background, ask, fail, look, read, stop: each command does what its help says."""
    started = command("start", "-d")
    assert (started.returncode, started.stderr) == (0, "")
    assert f"pid {pid_of(pool)}" in started.stdout
    asked = command("ask", "auth", "Where are sessions stored?")
    assert (asked.returncode, asked.stdout) == (0, "In **redis**.\n")
    failed = command("send", "auth", "fail please", "--id", "bad", "--wait")
    assert (failed.returncode, failed.stdout) == (1, "I cannot.\n")
    assert command("wait", "bad").returncode == 1
    assert "bad" in command("board", "--all").stdout
    shown = command("show", "bad")
    assert "I cannot." in shown.stdout
    assert "→ " in shown.stdout
    assert "I look." in command("logs", asked_id(command)).stdout
    assert "bad.response" in command("inbox").stdout
    assert "I cannot." in command("inbox", "bad").stdout
    assert command("inbox").stdout == "no unread mail\n"
    assert command("retry", "bad").returncode == 0
    assert command("wait", "bad").returncode == 1
    status = json.loads(command("status", "--json").stdout)
    assert {"pid", "pool", "state", "since", "runs", "waiting"} <= set(status)
    assert status["spent_today_usd"] == pytest.approx(0.25)
    stopped = command("stop")
    assert (stopped.returncode, stopped.stdout) == (0, "stopped\n")
    assert command("status").returncode == 3


def asked_id(command: Command) -> str:
    """The id of the question that was asked."""
    tasks = json.loads(command("board", "--all", "--json").stdout)["tasks"]
    return next(task["id"] for task in tasks if task["type"] == "question")


def test_a_second_start_names_the_first(command: Command, pool: Layout) -> None:
    """In the background and in the foreground a second supervisor exits with 100 and names the first."""
    assert command("start", "-d").returncode == 0
    for arguments in (["start", "-d"], ["start"], ["start", "--quiet"]):
        said = command(*arguments)
        assert said.returncode == 100
        assert f"pid {pid_of(pool)}" in said.stderr
        assert "agentpool stop" in said.stderr


def test_a_start_that_fails_says_why(command: Command, pool: Layout) -> None:
    """When the supervisor in the background cannot start, its error and its exit code are the command's."""
    pool.configuration.write_text('[budget]\nrun_usd = "much"\n')
    for arguments in (["start", "-d"], ["start"]):
        said = command(*arguments)
        assert said.returncode == 2
        assert "budget.run_usd" in said.stderr
        assert "Traceback" not in said.stderr


def test_mail_that_was_sent_before_the_start(command: Command, pool: Layout) -> None:
    """A mail that was sent while nobody served the pool is done after the start, under the id that was printed."""
    sent = command("send", "auth", "look", "--id", "early")
    assert (sent.returncode, sent.stdout) == (0, "early\n")
    assert command("start", "-d").returncode == 0
    eventually((pool.inbox("human") / "early.response.md").exists)
    assert command("wait", "early").returncode == 0
    assert not any(pool.postoffice.iterdir())


def test_stop_waits_for_the_runs(command: Command, pool: Layout) -> None:
    """A drain names the runs that it waits for and ends when they have; `logs -f` follows such a run to its end."""
    assert command("start", "-d").returncode == 0
    assert command("send", "auth", "wait for it", "--id", "slow").returncode == 0
    following = command.start("logs", "slow", "-f")
    assert following.stdout is not None
    eventually(lambda: "I begin." in following.stdout.readline())
    stopping = command.start("stop")
    assert stopping.stderr is not None
    assert "slow.1" in stopping.stderr.readline()
    assert command("stop", "--timeout", "10ms").returncode == 4
    (command.project / "go").touch()
    output, _ = stopping.communicate(timeout=10)
    assert (stopping.returncode, output) == (0, "stopped\n")
    rest, _ = following.communicate(timeout=10)
    assert "── ended, " in rest
    assert command("status").returncode == 3
    assert not pool.supervisor.exists()


def test_a_run_outlives_its_supervisor(command: Command, pool: Layout) -> None:
    """After `stop --leave`, and after a kill -9, the same run goes on, and a waiting command gets its answer."""
    assert command("start", "-d").returncode == 0
    assert command("send", "auth", "wait for it", "--id", "slow").returncode == 0
    eventually((pool.run_directory("slow.1") / "stream.jsonl").exists)
    waiting = command.start("wait", "slow")
    run = json.loads(command("status", "--json").stdout)["runs"][0]
    assert command("stop", "--leave").returncode == 0
    assert "runs live without a supervisor: slow.1" in command("doctor").stdout
    assert command("start", "-d").returncode == 0
    killed = pid_of(pool)
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: not is_alive(killed))
    assert command("start", "-d").returncode == 0
    again = json.loads(command("status", "--json").stdout)["runs"][0]
    assert (again["run"], again["pid"], again["adopted"]) == (run["run"], run["pid"], True)
    (command.project / "go").touch()
    output, _ = waiting.communicate(timeout=20)
    assert waiting.returncode == 0
    assert "Waited." in output


def test_a_requested_cancel_is_said_while_its_run_still_lives(command: Command, pool: Layout) -> None:
    """Until the run is gone, `show` and the board say that the task is to be cancelled."""
    assert command("start", "-d").returncode == 0
    assert command("send", "auth", "resist all signals", "--id", "slow").returncode == 0
    stream = pool.run_directory("slow.1") / "stream.jsonl"
    eventually(lambda: stream.exists() and "I begin." in stream.read_text())
    assert "to be cancelled" not in command("show", "slow").stdout
    assert command("cancel", "slow").returncode == 0
    shown = command("show", "slow").stdout
    assert shown.startswith("slow  running, to be cancelled")
    assert "slow.1  running" in shown
    assert command("board").stdout.splitlines()[-1].strip() == "to be cancelled"
    (command.project / "go").touch()
    assert command("wait", "slow").stdout.startswith("slow  cancelled")


def test_start_in_a_terminal_draws_and_drains(command: Command, pool: Layout) -> None:
    """In the foreground the picture shows the work; Ctrl-C drains, ends the view, and exits with 0."""
    assert command("send", "auth", "wait for it", "--id", "slow").returncode == 0
    typed: list[str] = []

    def react(drawn: str) -> bytes:
        if not typed and "Running 1" in drawn:
            typed.append("Ctrl-C")
            return b"\x03"
        if "stopping once its runs have ended" in drawn:
            (command.project / "go").touch()
        return b""

    code, drawn = in_terminal(command, "start", react=react)
    assert code == 0
    assert "Waited." in drawn
    assert "Traceback" not in drawn
    assert not pool.supervisor.exists()


def test_start_in_a_pipe_prints_lines(command: Command, pool: Layout) -> None:
    """Piped, the foreground prints a plain line an event; SIGTERM leaves at once."""
    supervisor = command.start("start")
    eventually(pool.supervisor.exists)
    assert command("send", "auth", "look", "--id", "x", "--wait").returncode == 0
    supervisor.terminate()
    output, _ = supervisor.communicate(timeout=10)
    assert supervisor.returncode == 0
    assert "x.1 · done" in output
    assert "\x1b" not in output


def test_refused_mail_is_replayed(command: Command, pool: Layout) -> None:
    """A dead letter says why, and once it is mended `replay` has it done."""
    assert command("start", "-d").returncode == 0
    (pool.postoffice / "odd.md").write_text("---\nto: atuh\n---\n\nlook\n")
    eventually((pool.deadletter / "odd.md").exists)
    assert "auth" in command("replay").stdout
    (pool.deadletter / "odd.md").write_text("---\nto: auth\n---\n\nlook\n")
    unknown = command("replay", "even")
    assert unknown.returncode == 1
    assert "tip: see them with: agentpool replay --list" in unknown.stderr
    assert command("replay", "odd").returncode == 0
    eventually((pool.inbox("human") / "odd.response.md").exists)
    assert command("wait", "odd").returncode == 0
    assert command("replay").stdout == "no dead letters\n"


def test_doctor_of_a_served_pool(command: Command, pool: Layout) -> None:
    """A served pool on the simulated agent is healthy, and the doctor says who serves it."""
    assert command("start", "-d").returncode == 0
    said = command("doctor")
    assert said.returncode == 0
    assert f"pid {pid_of(pool)}" in said.stdout


def test_a_very_deep_project(command: Command, tmp_path: Path) -> None:
    """A pool whose path is too long for a socket works all the same."""
    project = tmp_path / ("deep" * 20) / ("deeper" * 20)
    project.mkdir(parents=True)
    assert command("init", "-e", "auth", str(project)).returncode == 0
    (project / ".agent-pool" / "pool.toml").write_text('[agent]\nkind = "simulated"\n')
    runtime = tmp_path / "r"
    runtime.mkdir(mode=0o700)
    surroundings = {"XDG_RUNTIME_DIR": str(runtime)}
    assert command("start", "-d", cwd=project, **surroundings).returncode == 0
    try:
        assert command("ask", "auth", "hello", cwd=project).returncode == 0
    finally:
        assert command("stop", "--now", cwd=project).returncode == 0
