"""The supervisor dies by SIGKILL; what it started goes on, and is settled once."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from agentpool.runs.process_table import state_of
from tests.supervisor.served import eventually

if TYPE_CHECKING:
    from tests.supervisor.served import Pool

WAITS = """
[[play]]
steps = [
    { say = "I begin." },
    { wait_for = "$task.go" },
    { append = { path = "done", text = "$run " } },
    { respond = { body = "Waited." } },
]
"""


def _gone(pid: int) -> bool:
    state = state_of(pid)
    return state is None or state.zombie


@pytest.fixture
def busy(pool: Pool) -> Pool:
    """A pool in which the run `long.1` works and waits for `long.go`."""
    pool.script(WAITS)
    pool.start()
    pool.send("long", "a")
    pool.says("long.1", "I begin.")
    return pool


def _settled_once(pool: Pool, *runs: str) -> None:
    pool.settled("long")
    assert [event["run"] for event in pool.events("run.settled")] == list(runs)
    assert (pool.project / "done").read_text().split() == [runs[-1]]
    assert pool.human_inbox() == ["long.response.md"]
    assert not list(pool.layout.mail.iterdir())


def test_the_same_process_is_adopted(busy: Pool) -> None:
    """A run that lives when its supervisor is killed is found again by its pid, followed, and settled once."""
    pid = busy.run_pid("long.1")
    busy.restart()
    assert busy.run_pid("long.1") == pid
    [run] = busy.status()["runs"]
    assert run["adopted"]
    busy.touch("long.go")
    _settled_once(busy, "long.1")
    assert [event["pid"] for event in busy.events("run.adopted")] == [pid]


def test_a_run_outlives_many_supervisors(busy: Pool) -> None:
    """Three crashes in a row make no second run."""
    pid = busy.run_pid("long.1")
    for _ in range(3):
        busy.restart()
        assert busy.run_pid("long.1") == pid
    busy.touch("long.go")
    _settled_once(busy, "long.1")


def test_a_run_that_ended_meanwhile_is_settled(busy: Pool) -> None:
    """A run that ended while nobody served is settled by what it left, and not started again."""
    pid = busy.run_pid("long.1")
    busy.kill()
    busy.touch("long.go")
    eventually(lambda: _gone(pid), "the run ends")
    busy.start()
    _settled_once(busy, "long.1")


def test_a_run_that_was_killed_meanwhile_is_lost(busy: Pool) -> None:
    """A run that died without a result while nobody served counts as lost, and the next attempt does it."""
    pid = busy.run_pid("long.1")
    busy.kill()
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: _gone(pid), "the run ends")
    busy.touch("long.go")
    busy.start()
    _settled_once(busy, "long.1", "long.2")
    assert busy.record("a", "long", 1)["failure"] == "supervisor"


def test_a_run_that_never_began_is_started(pool: Pool) -> None:
    """A run whose start is in the journal and of which nothing else is there is started under the same name."""
    pool.script(WAITS)
    pool.start()
    pool.send("long", "a")
    pool.says("long.1", "I begin.")
    pid = pool.run_pid("long.1")
    pool.kill()
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: _gone(pid), "the run ends")
    # What a crash between the journal's record and the process leaves: no output.
    os.truncate(pool.layout.run_directory("long.1") / "stream.jsonl", 0)
    pool.touch("long.go")
    pool.start()
    _settled_once(pool, "long.1")


def test_what_an_adopted_run_left_behind_is_ended(pool: Pool) -> None:
    """A background process of a run that ended while nobody served does not outlive its settlement."""
    pool.script(
        '[[play]]\nsteps = [ { background = { lives = "1h" } }, { say = "I begin." }, { wait_for = "long.go" }, '
        '{ append = { path = "done", text = "$run " } } ]\n'
    )
    pool.start()
    pool.send("long", "a")
    pool.says("long.1", "I begin.")
    pid = pool.run_pid("long.1")
    pool.kill()
    pool.touch("long.go")
    eventually(lambda: _gone(pid), "the run ends")
    assert len(pool.family()) == 1
    pool.start()
    _settled_once(pool, "long.1")
    assert pool.family() == []


def test_an_adopted_run_can_be_cancelled(busy: Pool) -> None:
    """The stop ladder reaches a run that is no child of the supervisor."""
    pid = busy.run_pid("long.1")
    busy.restart()
    busy.client.cancel("long", tree=False)
    busy.settled("long", "cancelled")
    assert _gone(pid)
    assert busy.family() == []


def test_an_expert_stays_busy_over_a_crash(busy: Pool) -> None:
    """After the restart the expert's next task still waits for the run that lives."""
    busy.send("next", "a")
    busy.restart()
    busy.waits("next", "a works on long")
    busy.touch("next.go")
    busy.touch("long.go")
    busy.settled("next")
    assert (busy.project / "done").read_text().split() == ["long.1", "next.1"]


def test_reading_an_answer_survives_a_crash(pool: Pool) -> None:
    """An answer that was read does not come back, one that was not is still there."""
    pool.start()
    for task_id in ("read", "unread"):
        pool.send(task_id, "a")
        pool.answer(task_id)
    assert pool.command("inbox", "read.response").returncode == 0
    pool.restart()
    assert pool.human_inbox() == ["unread.response.md"]
