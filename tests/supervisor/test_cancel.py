"""Cancelling in every state, and trying again what failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agentpool.model.errors import UnknownIdError, UsageError
from tests.supervisor.served import eventually

if TYPE_CHECKING:
    from tests.supervisor.served import Pool

SCRIPT = """
[[play]]
task = "long*"
steps = [ { say = "I begin." }, { wait_for = "go" }, { respond = { body = "I was done." } } ]

[[play]]
task = "parent*"
run = 1
steps = [ { send = { name = "child-of-$task.md", to = "b", body = "long" } } ]

[[play]]
task = "child*"
steps = [ { say = "I begin." }, { wait_for = "go" } ]

[[play]]
task = "flaky"
run = 1
steps = [ { fail = "Not today." } ]
"""


def _cancelled(pool: Pool, task_id: str) -> None:
    pool.settled(task_id, "cancelled")
    header, text = pool.answer(task_id)
    assert header["status"] == "failed"
    assert "This task was cancelled" in text
    [_] = [
        event
        for event in pool.events("run.settled", "task.settled")
        if (event.get("response") or {}).get("id") == f"{task_id}.response"
    ]


def test_cancel_of_a_run(pool: Pool) -> None:
    """A running task's process is stopped, its outbox kept back, its sender told once."""
    pool.script(
        '[[play]]\nsteps = [ { send = { name = "more.md", to = "b", body = "x" } }, { say = "I begin." }, '
        '{ wait_for = "go" } ]\n'
    )
    pool.start()
    pool.send("long", "a")
    pool.says("long.1", "I begin.")
    assert pool.command("cancel", "long").returncode == 0
    _cancelled(pool, "long")
    assert pool.record("a", "long")["undelivered"] == 1
    with pytest.raises(UnknownIdError):
        pool.task("more")


def test_cancel_of_what_waits(pool: Pool) -> None:
    """Ready, blocked and delegated tasks are cancelled without a run; a dependant fails, a child goes on."""
    pool.script(SCRIPT)
    pool.start()
    pool.send("long", "a")
    pool.send("ready", "a")
    pool.send("blocked", "b", depends_on=["nowhere"])
    pool.send("dependant", "b", depends_on=["blocked"])
    pool.send("parent", "architect")
    pool.says("child-of-parent.1", "I begin.")
    for task_id in ("ready", "blocked", "parent"):
        pool.client.cancel(task_id, tree=False)
    for task_id in ("ready", "blocked", "parent"):
        _cancelled(pool, task_id)
    assert "it waits for blocked, which was cancelled" in pool.settled("dependant", "failed")["reason"]
    assert pool.task("child-of-parent")["state"] == "running"
    assert pool.runs_of("parent") == ["parent.1"]
    pool.touch("go")
    pool.settled("child-of-parent")


def test_cancel_of_a_whole_tree(pool: Pool) -> None:
    """`cancel --tree` stops what the task's runs sent as well."""
    pool.script(SCRIPT)
    pool.start()
    pool.send("parent", "a")
    pool.says("child-of-parent.1", "I begin.")
    said = pool.command("cancel", "--tree", "parent")
    assert said.returncode == 0
    _cancelled(pool, "parent")
    pool.settled("child-of-parent", "cancelled")
    assert "child-of-parent" in said.stdout


def test_cancel_by_mail(pool: Pool) -> None:
    """A dropped mail of type `cancel` cancels a running task."""
    pool.script(SCRIPT)
    pool.start()
    pool.send("long", "a")
    pool.says("long.1", "I begin.")
    pool.drop("stop-it.md", "---\nto: a\ntype: cancel\ncancels: long\n---\n\nno longer needed\n")
    _cancelled(pool, "long")


def test_cancel_of_a_run_that_ends_at_that_moment(pool: Pool) -> None:
    """A run that ends by itself after the cancel was asked for counts as cancelled: the request came first."""
    pool.script(
        '[[play]]\nsteps = [ { ignore = ["SIGINT", "SIGTERM"] }, { say = "I begin." }, { wait_for = "go" }, '
        '{ respond = { body = "I was done." } } ]\n'
    )
    pool.configure(runs={"stop_grace": "10s"})
    pool.start()
    pool.send("long", "a")
    pool.says("long.1", "I begin.")
    pool.client.cancel("long", tree=False)
    pool.touch("go")
    _cancelled(pool, "long")


def test_cancel_is_asked_for_before_a_crash(pool: Pool) -> None:
    """A cancel that was durable when the supervisor died is carried out by the next one."""
    pool.script(SCRIPT)
    pool.configure(runs={"stop_grace": "1h"})
    pool.script('[[play]]\nsteps = [ { ignore = ["SIGINT"] }, { say = "I begin." }, { wait_for = "go" } ]\n')
    pool.start()
    pool.send("long", "a")
    pool.says("long.1", "I begin.")
    pool.client.cancel("long", tree=False)
    pool.kill()
    pool.configure()
    pool.start()
    _cancelled(pool, "long")
    assert pool.runs_of("long") == ["long.1"]


def test_cancel_of_what_is_over(pool: Pool) -> None:
    """A settled or unknown task cannot be cancelled, and the tip says where to look."""
    pool.start()
    pool.send("quick", "a")
    pool.settled("quick")
    with pytest.raises(UsageError, match="is done already"):
        pool.client.cancel("quick", tree=False)
    with pytest.raises(UnknownIdError) as caught:
        pool.client.cancel("quik", tree=False)
    assert "did you mean quick?" in (caught.value.tip or "")


def test_retry_opens_a_new_settlement(pool: Pool) -> None:
    """A failed task that a person tries again gets a second, numbered answer and keeps counting its runs."""
    pool.script(SCRIPT)
    pool.start()
    pool.send("flaky", "a")
    pool.settled("flaky", "failed")
    assert pool.command("retry", "flaky").returncode == 0
    pool.answer("flaky", 2)
    task = pool.settled("flaky")
    assert (task["settlement"], pool.runs_of("flaky")) == (2, ["flaky.1", "flaky.2"])
    assert pool.human_inbox() == ["flaky.response-2.md", "flaky.response.md"]
    assert not list(pool.layout.mail.iterdir())


def test_retry_of_a_cancelled_task(pool: Pool) -> None:
    """A cancelled task can be tried again too."""
    pool.script(SCRIPT)
    pool.start()
    pool.send("long", "a")
    pool.says("long.1", "I begin.")
    pool.client.cancel("long", tree=False)
    pool.settled("long", "cancelled")
    pool.touch("go")
    pool.client.retry("long")
    pool.answer("long", 2)
    pool.settled("long")


def test_retry_of_what_has_not_failed(pool: Pool) -> None:
    """What is done, open or unknown is not tried again."""
    pool.script(SCRIPT)
    pool.start()
    pool.send("quick", "a")
    pool.send("long", "b")
    pool.settled("quick")
    with pytest.raises(UsageError, match="is done"):
        pool.client.retry("quick")
    with pytest.raises(UsageError, match="not settled yet"):
        pool.client.retry("long")
    with pytest.raises(UnknownIdError):
        pool.client.retry("nobody")


def test_retry_survives_a_crash(pool: Pool) -> None:
    """A retry that was acknowledged is carried out, once, whatever happens to the supervisor."""
    pool.script(SCRIPT)
    pool.start()
    pool.send("flaky", "a")
    pool.settled("flaky", "failed")
    pool.client.retry("flaky")
    pool.restart()
    pool.answer("flaky", 2)
    pool.settled("flaky")
    eventually(lambda: not list(pool.layout.mail.iterdir()), "mail/ is empty")
    assert pool.runs_of("flaky") == ["flaky.1", "flaky.2"]
