"""Processes of a pool on the real command: stopped to the last one, and never lost with their supervisor."""

from __future__ import annotations

import signal

import psutil
import pytest

from tests.claude.messages_api import Say, Use
from tests.claude.pools import RealPool, is_alive
from tests.claude.running import eventually

pytestmark = pytest.mark.claude

#: A command that works until the test makes the file `go`, and answers to signals as any other does.
UNTIL_GO = "touch begun; until [ -e go ]; do read -t 0.02 <> <(:); done; echo went"


def begin(pool: RealPool, command: str = UNTIL_GO) -> int:
    """Has `backend` work on the task `slow`, in a Bash command; gives the pid of its run."""
    pool.api.script("Take your time.", [Use("Bash", {"command": command}), Say("It took a while.")])
    pool.start()
    pool.drop("backend", "slow", "Take your time.")
    eventually((pool.project / "begun").exists, "the command works")
    return pool.run_pid("slow.1")


def go(pool: RealPool) -> None:
    """Lets the command end."""
    (pool.project / "go").touch()


def test_a_run_is_cancelled_with_its_commands(pool: RealPool) -> None:
    """A cancel ends the run and the command that its Bash tool started, and the sender is told."""
    run = begin(pool)
    assert len(pool.family()) > 1
    assert pool("cancel", "slow").returncode == 0
    task = pool.settled("slow")
    assert task["state"] == "cancelled"
    assert not is_alive(run)
    assert pool.family() == []
    record = pool.record("backend", "slow")
    assert (record["ended_by"], record["step"]) == ("stop", "cancelled")
    assert "status: failed" in pool.answer("slow")
    assert "cancelled" in pool.answer("slow")


def test_what_ignores_every_request_is_killed(pool: RealPool) -> None:
    """A command in a session of its own that ignores SIGINT and SIGTERM is gone before the cancelled run settles."""
    pool.configure(runs={"stop_grace": "300ms"})
    stubborn = "trap '' INT TERM HUP; touch begun; while :; do sleep 1000; done"
    begin(pool, f'setsid bash -c "{stubborn}" & wait')
    pool("cancel", "slow")
    assert pool.settled("slow")["state"] == "cancelled"
    assert pool.family() == []
    assert pool.record("backend", "slow")["survivors"] >= 1


def test_what_a_run_leaves_behind_is_ended(pool: RealPool) -> None:
    """A server that the agent left running does not outlive its run, and the run itself counts as done."""
    begin(pool, "setsid sleep 1000 > /dev/null 2>&1 & touch begun")
    assert pool.settled("slow")["state"] == "done"
    assert pool.family() == []
    assert pool.record("backend", "slow")["survivors"] == 1


def test_a_killed_supervisor_loses_nothing(pool: RealPool) -> None:
    """After kill -9 in the middle, the next supervisor adopts the same process and settles its run once."""
    run = begin(pool)
    pool.kill()
    assert is_alive(run)
    pool.start()
    [adopted] = pool.status()["runs"]
    assert (adopted["run"], adopted["pid"], adopted["adopted"]) == ("slow.1", run, True)
    go(pool)
    task = pool.settled("slow")
    assert (task["state"], len(task["attempts"])) == ("done", 1)
    assert pool.answer("slow").endswith("It took a while.\n")
    assert len(pool.events("run.settled")) == 1
    assert len(pool.events("run.starting")) == 1
    assert len(pool.api.conversation()) == 2
    assert task["cost_usd"] > 0
    assert task["attempts"][0]["peak_memory_bytes"] > 50 << 20


def test_a_run_that_ended_while_nobody_looked(pool: RealPool) -> None:
    """A run that ends while no supervisor lives is settled by its result, and not started again."""
    run = begin(pool)
    pool.kill()
    go(pool)
    eventually(lambda: not is_alive(run), "the run has ended")
    pool.start()
    task = pool.settled("slow")
    assert (task["state"], len(task["attempts"])) == ("done", 1)
    assert pool.answer("slow").endswith("It took a while.\n")
    assert len(pool.api.conversation()) == 2


def test_left_and_found_again(pool: RealPool) -> None:
    """`stop --leave` ends the supervisor alone; the next start goes on with the same process."""
    run = begin(pool)
    assert pool("stop", "--leave").returncode == 0
    assert pool.ended() == 0
    assert is_alive(run)
    pool.start()
    assert pool.run_pid("slow.1") == run
    go(pool)
    assert pool.settled("slow")["state"] == "done"
    assert len(pool.events("run.starting")) == 1


def test_stopped_at_once_and_started_anew(pool: RealPool) -> None:
    """`stop --now` ends the run with its commands; the task starts anew later, without an attempt used."""
    run = begin(pool)
    assert pool("stop", "--now").returncode == 0
    assert not is_alive(run)
    assert pool.family() == []
    go(pool)
    pool.api.script("Take your time.", [Say("The second time was quick.")])
    pool.start()
    task = pool.settled("slow")
    assert (task["state"], task["attempt"]) == ("done", 1)
    assert [each["step"] for each in task["attempts"]] == ["release", "done"]


def test_a_run_that_is_killed_from_outside(pool: RealPool) -> None:
    """A run that somebody kills is no success: its commands are ended, and the task is answered as failed."""
    run = begin(pool)
    psutil.Process(run).send_signal(signal.SIGKILL)
    task = pool.settled("slow")
    assert (task["state"], task["failure"]) == ("failed", "agent")
    assert "killed by SIGKILL" in pool.answer("slow")
    assert pool.family() == []
