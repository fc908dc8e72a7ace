"""Runs as processes: silence, time, deafness, and what they leave behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil
import pytest

from tests.supervisor.served import eventually

if TYPE_CHECKING:
    from tests.supervisor.served import Pool


def test_a_silent_run_is_ended(pool: Pool) -> None:
    """Silence for `stall_timeout` ends a run, which is tried again like a timeout."""
    pool.configure(runs={"stall_timeout": "1s", "max_attempts": 1})
    pool.script('[[play]]\nsteps = [ { say = "x" }, { hang = true } ]\n')
    pool.start()
    pool.send("t", "a")
    task = pool.settled("t", "failed")
    assert task["failure"] == "timeout"
    assert "no output for `stall_timeout`" in task["reason"]
    assert pool.record("a", "t")["ended_by"] == "stall"


def test_a_run_that_works_too_long_is_ended(pool: Pool) -> None:
    """`run_timeout` ends a run however busy it is; it is not tried again."""
    pool.configure(runs={"run_timeout": "1s"})
    pool.script('[[play]]\nsteps = [ { run = ["sh", "-c", "while :; do echo x; done"] } ]\n')
    pool.start()
    pool.send("t", "a")
    assert pool.settled("t", "failed")["failure"] == "timeout"
    assert pool.record("a", "t")["ended_by"] == "timeout"
    assert len(pool.runs_of("t")) == 1


def test_a_deaf_run_is_ended_for_certain(pool: Pool) -> None:
    """A run that ignores SIGINT and SIGTERM is killed, with all that it started."""
    pool.script(
        '[[play]]\nsteps = [ { ignore = ["SIGINT", "SIGTERM"] }, '
        '{ background = { lives = "1h", ignore = ["SIGTERM"] } }, { say = "I begin." }, { hang = true } ]\n'
    )
    pool.start()
    pool.send("t", "a")
    pool.says("t.1", "I begin.")
    pool.client.cancel("t", tree=False)
    pool.settled("t", "cancelled")
    assert pool.family() == []


@pytest.mark.parametrize("own_session", ["true", "false"])
def test_what_a_run_leaves_behind_is_ended_before_it_settles(pool: Pool, own_session: str) -> None:
    """A background process, also in a session of its own, is gone when the next run begins."""
    pool.script(
        f'[[play]]\ntask = "t"\nsteps = [ {{ background = {{ lives = "1h", own_session = {own_session} }} }}, '
        '{ say = "I leave one." } ]\n'
    )
    pool.start()
    pool.send("t", "a")
    pool.settled("t")
    assert pool.family() == []
    assert pool.record("a", "t")["survivors"] == 1


def test_a_run_that_does_not_exit_after_its_result(pool: Pool) -> None:
    """The result is the end: a process that lingers is ended after a grace, and the task is done."""
    pool.script('[[play]]\nsteps = [ { say = "Done, and I stay." }, { linger = true } ]\n')
    pool.start()
    pool.send("t", "a")
    assert "Done, and I stay." in pool.answer("t")[1]
    pool.settled("t")
    assert pool.record("a", "t")["ended_by"] == "grace"
    assert pool.family() == []


def test_runs_have_the_environment_they_are_promised(pool: Pool) -> None:
    """A run sees its own markers and what is allowed, not what the supervisor was started with."""
    pool.script('[[play]]\nsteps = [ { run = ["sh", "-c", "env > $AGENTPOOL_TASK.env"] } ]\n')
    pool.start(OF_THE_SHELL="x", CLAUDECODE="1", ANTHROPIC_MODEL="allowed")
    pool.send("t", "a")
    pool.settled("t")
    lines = (pool.project / "t.env").read_text().splitlines()
    seen = dict(line.split("=", 1) for line in lines if "=" in line)
    assert "OF_THE_SHELL" not in seen
    assert "CLAUDECODE" not in seen
    assert seen["ANTHROPIC_MODEL"] == "allowed"
    assert seen["AGENTPOOL_RUN"] == "t.1"
    assert seen["AGENTPOOL_OUTBOX"] == str(pool.layout.run_directory("t.1") / "outbox")


def test_a_long_prompt_arrives_whole(pool: Pool) -> None:
    """A mail larger than a pipe's usual size reaches the agent, and what is cut of a longer one is said."""
    pool.script(
        """
        [[play]]
        mail = '(?s)BEGIN-OF-IT.*END-OF-IT'
        steps = [ { respond = { body = "All of it." } } ]
        [[play]]
        steps = [ { respond = { body = "Only a part." } } ]
        """
    )
    pool.start()
    pool.send("whole", "a", "BEGIN-OF-IT\n" + "x" * 100_000 + "\nEND-OF-IT")
    assert "All of it." in pool.answer("whole")[1]
    pool.send("cut", "a", "BEGIN-OF-IT\n" + "x" * 500_000 + "\nEND-OF-IT")
    pool.settled("cut")
    [size] = [size for size in pool.record("a", "cut")["sizes"] if size["section"] == "mail"]
    assert size["cut"] > 300_000


def test_one_run_for_each_task_at_a_time(pool: Pool) -> None:
    """With many experts and many tasks no expert ever has two processes at once."""
    pool.script(
        '[[play]]\nsteps = [ { run = ["sh", "-c", '
        '"mkdir busy-$AGENTPOOL_NAME && rmdir busy-$AGENTPOOL_NAME || echo x >> collisions"] } ]\n'
    )
    pool.start()
    for number in range(20):
        pool.send(f"t{number}", "ab"[number % 2])
    for number in range(20):
        pool.settled(f"t{number}")
    assert not (pool.project / "collisions").exists()


def test_no_process_is_left_when_a_run_has_ended(pool: Pool) -> None:
    """The supervisor keeps no zombies and no open files of runs that are over."""
    pool.start()
    supervisor = psutil.Process(pool.supervisor.pid)
    pool.send("first", "a")
    pool.settled("first")
    files = supervisor.num_fds()
    for number in range(10):
        pool.send(f"t{number}", "a")
    for number in range(10):
        pool.settled(f"t{number}")
    assert eventually(lambda: not supervisor.children(), "no child is left")
    assert supervisor.num_fds() <= files + 2
