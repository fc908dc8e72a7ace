"""What may start, and in which order: priorities, dependencies, placeholders, cycles, cascades, expiry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agentpool.model.errors import MailError
from tests.supervisor.served import eventually

if TYPE_CHECKING:
    from tests.supervisor.served import Pool

FIRST_WAITS = '[[play]]\ntask = "first"\nsteps = [ { wait_for = "go" } ]\n'


def _started(pool: Pool) -> list[str]:
    return [event["task"] for event in pool.events("run.starting")]


def test_priority_is_a_head_start(pool: Pool) -> None:
    """Of what waits for one expert, urgent starts before high, high before normal, low last."""
    pool.script(FIRST_WAITS)
    pool.start()
    pool.send("first", "a")
    for priority in ("low", "normal", "high", "urgent"):
        pool.send(priority, "a", priority=priority)
    pool.touch("go")
    for priority in ("low", "normal", "high", "urgent"):
        pool.settled(priority)
    assert _started(pool) == ["first", "urgent", "high", "normal", "low"]


def test_one_run_for_each_expert(pool: Pool) -> None:
    """Two tasks of one expert run one after the other, those of two experts side by side; the wait has a reason."""
    pool.script('[[play]]\nsteps = [ { say = "I begin." }, { wait_for = "go" } ]\n')
    pool.start()
    for task_id, expert in (("a1", "a"), ("a2", "a"), ("b1", "b")):
        pool.send(task_id, expert)
    pool.says("a1.1", "I begin.")
    pool.says("b1.1", "I begin.")
    pool.waits("a2", "a works on a1")
    pool.touch("go")
    pool.settled("a2")


def test_max_runs_holds_for_the_whole_pool(pool: Pool) -> None:
    """No more runs than `[limits] max_runs`; what waits for a free place says so."""
    pool.configure(limits={"max_runs": 1})
    pool.script('[[play]]\nsteps = [ { say = "I begin." }, { wait_for = "go" } ]\n')
    pool.start()
    pool.send("one", "a")
    pool.send("two", "b")
    line = pool.waits("two", "1 runs live, which is the limit")
    assert "max_runs" in line["tip"]
    pool.touch("go")
    pool.settled("two")


def test_a_dependant_starts_when_the_last_one_is_done(pool: Pool) -> None:
    """A task that waits for two others is blocked, says for whom, and starts after both."""
    pool.script('[[play]]\ntask = "first*"\nsteps = [ { wait_for = "$task.go" } ]\n')
    pool.start()
    pool.send("first-1", "a")
    pool.send("first-2", "b")
    pool.send("last", "b", depends_on=["first-1", "first-2"])
    assert pool.waits("last", "it waits for")["state"] == "blocked"
    pool.touch("first-1.go")
    pool.settled("first-1")
    assert pool.waits("last", "it waits for first-2")["tip"] == "", "it runs: nobody has to do anything"
    pool.touch("first-2.go")
    pool.settled("last")
    assert _started(pool)[-1] == "last"


def test_an_id_that_has_not_arrived_is_waited_for(pool: Pool) -> None:
    """A drop may name what comes later; until then its wait says what is missing and how to end it."""
    pool.start()
    pool.drop("last.md", "---\ndepends-on: [first]\n---\n\nhello\n", to="a")
    line = pool.waits("last", "it waits for first, which has not arrived")
    assert "agentpool cancel last" in line["tip"]
    pool.drop("first.md", "hello\n", to="b")
    pool.settled("last")
    assert _started(pool) == ["first", "last"]


def test_a_chain_that_arrives_backwards_runs_forwards(pool: Pool) -> None:
    """Ten tasks dropped in the wrong order, while nobody serves, start in the order in which they wait."""
    chain = [f"t{number}" for number in range(10)]
    for before, task_id in reversed(list(zip([None, *chain], chain, strict=False))):
        header = f"---\ndepends-on: [{before}]\n---\n" if before else ""
        pool.drop(f"{task_id}.md", f"{header}\nhello\n", to="a")
    pool.start()
    pool.settled("t9")
    assert _started(pool) == chain


def test_a_cycle_is_refused(pool: Pool) -> None:
    """The drop that would close a cycle becomes a dead letter that names it; the others go on waiting."""
    pool.start()
    pool.drop("one.md", "---\nid: one\ndepends-on: [two]\n---\n\nhello\n", to="a")
    pool.when("one", "blocked")
    pool.drop("two.md", "---\nid: two\ndepends-on: [three]\n---\n\nhello\n", to="a")
    pool.when("two", "blocked")
    pool.drop("three.md", "---\nid: three\ndepends-on: [one]\n---\n\nhello\n", to="b")
    assert "it would close a cycle: " in pool.reason("three.md")
    with pytest.raises(MailError, match="cycle"):
        pool.send("three", "b", depends_on=["one"])
    pool.send("three", "b")
    pool.settled("one")


def test_a_failure_cascades_and_everyone_is_answered_once(pool: Pool) -> None:
    """Who waits for a failed task fails with it, at any depth; each sender gets one answer that names the cause."""
    pool.script('[[play]]\ntask = "root"\nsteps = [ { wait_for = "go" }, { fail = "I cannot." } ]\n')
    pool.start()
    pool.send("root", "a")
    for task_id, awaited in (("mid", "root"), ("other", "root"), ("leaf", "mid"), ("both", "leaf")):
        pool.send(task_id, "b", depends_on=[awaited])
    pool.send("free", "b")
    pool.touch("go")
    for task_id in ("root", "mid", "other", "leaf", "both"):
        assert pool.settled(task_id, "failed")
        assert pool.answer(task_id)[0]["status"] == "failed"
    pool.settled("free")
    assert "root" in pool.answer("mid")[1]
    assert sorted(pool.runs_of(task_id) for task_id in ("mid", "other", "leaf", "both")) == [[], [], [], []]
    answers = [event["response"]["id"] for event in pool.events("run.settled", "task.settled")]
    assert len(answers) == len(set(answers)) == 6


def test_waiting_for_what_has_failed_already_fails_at_once(pool: Pool) -> None:
    """A task that names a failed one as its dependency is answered as failed without a run."""
    pool.script('[[play]]\ntask = "root"\nsteps = [ { fail = "I cannot." } ]\n')
    pool.start()
    pool.send("root", "a")
    pool.settled("root", "failed")
    pool.send("late", "b", depends_on=["root"])
    assert "it waits for root, which failed" in pool.settled("late", "failed")["reason"]


def test_inputs_are_put_into_the_prompt(pool: Pool) -> None:
    """The answers of the tasks that a mail names as `inputs` stand in its prompt, and it waits for them."""
    pool.script(
        """
        [[play]]
        task = "first"
        steps = [ { respond = { body = "The key is 4711." } } ]
        [[play]]
        task = "second"
        mail = "The key is 4711"
        steps = [ { respond = { body = "I have the key." } } ]
        """
    )
    pool.start()
    pool.send("second", "b", inputs=["first"])
    pool.send("first", "a")
    assert "I have the key." in pool.answer("second")[1]


def test_what_a_run_is_told_and_in_which_order(pool: Pool) -> None:
    """Errors, state, inputs and mail stand in the prompt in this order."""
    home = pool.layout.home("a")
    (home / "state.md").write_text("STATE-TEXT\n")
    (home / "errors.md").write_text("ERRORS-TEXT\n")
    pool.script(
        """
        [[play]]
        task = "first"
        steps = [ { respond = { body = "INPUT-TEXT" } } ]
        [[play]]
        mail = '(?s)ERRORS-TEXT.*STATE-TEXT.*INPUT-TEXT.*MAIL-TEXT'
        steps = [ { respond = { body = "In this order." } } ]
        """
    )
    pool.start()
    pool.send("first", "b")
    pool.send("second", "a", "MAIL-TEXT", inputs=["first"])
    assert "In this order." in pool.answer("second")[1]
    sizes = {size["section"]: size["bytes"] for size in pool.record("a", "second")["sizes"]}
    assert sizes["state"] == len("STATE-TEXT")


def test_mail_expires_that_has_not_started(pool: Pool) -> None:
    """A task whose time is over before its run is answered as failed (expired), without a run."""
    pool.script(FIRST_WAITS)
    pool.start()
    pool.send("first", "a")
    pool.when("first", "running")
    pool.send("late", "a", expires="1s")
    task = pool.settled("late", "failed")
    assert (task["failure"], task["reason"]) == ("expired", "expired")
    assert pool.answer("late")[0]["status"] == "failed"
    assert pool.runs_of("late") == []
    pool.touch("go")
    pool.settled("first")


def test_a_run_that_began_in_time_does_not_expire(pool: Pool) -> None:
    """Once a task has started, its `expires` does nothing any more."""
    pool.script(FIRST_WAITS)
    pool.start()
    pool.send("first", "a", expires="1s")
    pool.says("first.1", "session_id")
    pool.send("clock", "b", expires="1s", depends_on=["first"])
    pool.settled("clock", "failed")
    assert pool.task("first")["state"] == "running"
    pool.touch("go")
    pool.settled("first")


def test_mail_that_expired_while_nobody_served(pool: Pool) -> None:
    """What was over before the supervisor came up is answered and never started."""
    pool.drop("late.md", "---\nexpires: 2020-01-01\n---\n\nhello\n", to="a")
    pool.start()
    pool.settled("late", "failed")
    assert pool.runs_of("late") == []


def test_every_wait_has_a_reason(pool: Pool) -> None:
    """A status names each open task that has no run, with a reason and, where a person can help, a tip."""
    pool.script('[[play]]\ntask = "busy"\nsteps = [ { send = { name = "sub.md", to = "human", body = "?" } } ]\n')
    pool.start()
    pool.send("busy", "a")
    pool.send("asked", "human", "please decide")
    pool.send("stuck", "b", depends_on=["asked"])
    pool.send("missing", "b", depends_on=["nowhere"])
    eventually(lambda: pool.status()["counts"].get("delegated"), "busy delegates")
    lines = {line["id"]: line for line in pool.status()["waiting"]}
    assert set(lines) == {"busy", "asked", "stuck", "missing", "sub"}
    assert all(line["reason"] for line in lines.values())
    assert all(lines[task_id]["tip"] for task_id in ("asked", "missing", "sub"))
    said = pool.command("status").stdout
    assert all(task_id in said for task_id in lines)
