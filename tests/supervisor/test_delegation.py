"""A run that sends tasks delegates: its task goes on once, when all of them are settled, and answers once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agentpool.model.errors import UnknownIdError
from tests.supervisor.served import eventually

if TYPE_CHECKING:
    from tests.supervisor.served import Pool

SCRIPT = """
[[play]]
task = "plan"
run = 1
steps = [
    { send = { name = "one.md", to = "a", body = "part one" } },
    { send = { name = "two.md", to = "b", body = "part two", depends-on = ["one"] } },
    { respond = { status = "done", body = "This is too early." } },
]

[[play]]
task = "plan"
run = 2
mail = '(?s)Answer of one.*Answer of two'
steps = [ { respond = { body = "Both are done." } } ]

[[play]]
task = "one"
steps = [ { wait_for = "go" }, { respond = { body = "Answer of one." } } ]

[[play]]
task = "two"
steps = [ { respond = { body = "Answer of two." } } ]
"""


def test_a_parent_goes_on_once_with_all_answers(pool: Pool) -> None:
    """The parent waits for its children, gets both answers in one continuation, and answers its sender once."""
    pool.script(SCRIPT)
    pool.start()
    pool.send("plan", "architect")
    line = pool.waits("plan", "it waits for the tasks that it sent")
    assert line["state"] == "delegated"
    pool.touch("go")
    assert "Both are done." in pool.answer("plan")[1]
    task = pool.settled("plan")
    assert (task["attempt"], task["children"]) == (1, ["one", "two"])
    assert pool.runs_of("plan") == ["plan.1", "plan.2"]
    assert pool.human_inbox() == ["plan.response.md"]
    child = pool.task("two")
    assert (child["parent"], child["from"], child["thread"]) == ("plan", "architect", "plan")


def test_a_failed_child_is_told_to_its_parent(pool: Pool) -> None:
    """A child that failed does not fail its parent: the continuation reads what happened."""
    pool.script(
        """
        [[play]]
        task = "plan"
        run = 1
        steps = [ { send = { name = "bad.md", to = "a", body = "try" } } ]
        [[play]]
        task = "plan"
        mail = '(?s)failed.*I cannot.'
        steps = [ { respond = { body = "I do it myself." } } ]
        [[play]]
        task = "bad"
        steps = [ { fail = "I cannot." } ]
        """
    )
    pool.start()
    pool.send("plan", "architect")
    assert "I do it myself." in pool.answer("plan")[1]
    assert pool.settled("bad", "failed")


def test_delegation_over_three_levels(pool: Pool) -> None:
    """A child that delegates itself is waited for to the last grandchild; each level answers the one above once."""
    pool.script(
        """
        [[play]]
        task = "top"
        run = 1
        steps = [ { send = { name = "mid.md", to = "a", body = "split it" } } ]
        [[play]]
        task = "mid"
        run = 1
        steps = [ { send = { name = "leaf-1.md", to = "b", body = "x" } },
                  { send = { name = "leaf-2.md", to = "b", body = "y" } } ]
        [[play]]
        task = "leaf*"
        steps = [ { respond = { body = "Answer of $task." } } ]
        [[play]]
        task = "mid"
        mail = '(?s)leaf-1.*leaf-2'
        steps = [ { respond = { body = "Middle is done." } } ]
        [[play]]
        task = "top"
        mail = 'Middle is done'
        steps = [ { respond = { body = "Top is done." } } ]
        """
    )
    pool.start()
    pool.send("top", "architect")
    assert "Top is done." in pool.answer("top")[1]
    assert [len(pool.runs_of(task_id)) for task_id in ("top", "mid", "leaf-1", "leaf-2")] == [2, 2, 1, 1]
    assert pool.human_inbox() == ["top.response.md"]
    assert not list(pool.layout.mail.iterdir())


def test_names_that_are_taken_are_numbered_in_an_outbox(pool: Pool) -> None:
    """Two parents that both send `part.md` get a child each, and what depends on it means its own."""
    pool.script(
        """
        [[play]]
        task = "plan*"
        run = 1
        steps = [ { send = { name = "part.md", to = "a", body = "x" } },
                  { send = { name = "then.md", to = "b", body = "y", depends-on = ["part"] } } ]
        """
    )
    pool.start()
    pool.send("plan-1", "architect")
    pool.settled("plan-1")
    pool.send("plan-2", "architect")
    pool.settled("plan-2")
    assert pool.task("then-2")["depends_on"] == ["part-2"]
    assert pool.task("plan-2")["children"] == ["part-2", "then-2"]


def test_work_does_not_spread_for_ever(pool: Pool) -> None:
    """A task that sends a task that sends a task is stopped by `[limits] hops`."""
    pool.configure(limits={"hops": 3}, runs={"max_attempts": 1})
    pool.script('[[play]]\nrun = 1\nsteps = [ { send = { name = "next-$task.md", to = "a", body = "again" } } ]\n')
    pool.start()
    pool.send("t", "a")
    pool.settled("t")
    failed = pool.settled("next-next-next-t", "failed")
    assert "it would be 4 hops away from a person; the limit is 3" in failed["reason"]


def test_a_task_sends_a_bounded_number_of_tasks(pool: Pool) -> None:
    """`[limits] fan_out` counts over all runs of a task; what is over it fails at settling, with the reason."""
    sends = ", ".join(f'{{ send = {{ name = "c{number}.md", to = "b", body = "x" }} }}' for number in range(3))
    pool.configure(limits={"fan_out": 2}, runs={"max_attempts": 1})
    pool.script(f'[[play]]\ntask = "plan"\nsteps = [ {sends} ]\n')
    pool.start()
    pool.send("plan", "a")
    assert "it sends 3 tasks in all; the limit is 2" in pool.settled("plan", "failed")["reason"]
    assert list(pool.states()) == ["plan"]


def test_a_parent_that_never_ends(pool: Pool) -> None:
    """A task that delegates in each continuation fails after `max_continuations`."""
    pool.configure(runs={"max_continuations": 2})
    pool.script('[[play]]\ntask = "plan"\nsteps = [ { send = { name = "part-$run.md", to = "b", body = "x" } } ]\n')
    pool.start()
    pool.send("plan", "a")
    assert "after 2 continuations, which is the limit" in pool.settled("plan", "failed")["reason"]
    assert len(pool.runs_of("plan")) == 3


def test_a_parent_waits_for_a_retried_child(pool: Pool) -> None:
    """A person tries a failed child again while its parent still waits for another: the parent waits for it too."""
    pool.script(
        """
        [[play]]
        task = "plan"
        run = 1
        steps = [ { send = { name = "bad.md", to = "a", body = "x" } },
                  { send = { name = "slow.md", to = "b", body = "y" } } ]
        [[play]]
        task = "bad"
        run = 1
        steps = [ { fail = "Not today." } ]
        [[play]]
        task = "bad"
        steps = [ { wait_for = "bad.go" }, { respond = { body = "Now it works." } } ]
        [[play]]
        task = "slow"
        steps = [ { wait_for = "slow.go" } ]
        [[play]]
        task = "plan"
        mail = "Now it works"
        steps = [ { respond = { body = "Good." } } ]
        """
    )
    pool.start()
    pool.send("plan", "architect")
    pool.settled("bad", "failed")
    pool.client.retry("bad")
    pool.touch("slow.go")
    pool.settled("slow")
    assert pool.task("plan")["state"] == "delegated"
    pool.touch("bad.go")
    assert "Good." in pool.answer("plan")[1]


def test_delegation_survives_crashes(pool: Pool) -> None:
    """Killed while the children run and again before the continuation, the parent goes on once and answers once."""
    pool.script(SCRIPT)
    pool.start()
    pool.send("plan", "architect")
    pool.when("plan", "delegated")
    pool.restart()
    pool.touch("go")
    pool.settled("one")
    pool.restart()
    assert "Both are done." in pool.answer("plan")[1]
    assert pool.runs_of("plan") == ["plan.1", "plan.2"]
    assert [pool.runs_of(child) for child in ("one", "two")] == [["one.1"], ["two.1"]]


def test_a_run_cannot_send_in_another_name(pool: Pool) -> None:
    """Who sent a mail is what the pool knows of the run, not what its header claims."""
    pool.script(
        '[[play]]\ntask = "plan"\nrun = 1\n'
        'steps = [ { send = { name = "sub.md", to = "b", from = "architect", body = "x" } } ]\n'
    )
    pool.start()
    pool.send("plan", "a")
    pool.settled("plan")
    assert pool.task("sub")["from"] == "a"


def test_an_unknown_addressee_fails_at_settling(pool: Pool) -> None:
    """An outbox that names nobody is refused as a whole; the next attempt reads why and does better."""
    pool.script(
        """
        [[play]]
        task = "plan"
        attempt = 1
        steps = [ { send = { name = "good.md", to = "b", body = "x" } },
                  { send = { name = "bad.md", to = "bb", body = "y" } } ]
        [[play]]
        task = "plan"
        attempt = 2
        mail = 'its outbox was refused: .*there is no mailbox .bb.'
        steps = [ { respond = { body = "I read why." } } ]
        """
    )
    pool.start()
    pool.send("plan", "a")
    assert "I read why." in pool.answer("plan")[1]
    assert pool.record("a", "plan", 1)["undelivered"] == 2
    with pytest.raises(UnknownIdError):
        pool.task("good")


@pytest.mark.parametrize(
    "steps",
    [
        '{ send = { name = "x.md", to = "b", body = "x", depends-on = ["nowhere"] } }',
        '{ send = { name = "x.md", to = "b", body = "x", id = "../x" } }',
        '{ send = { name = "x.md", to = "b", body = "x", id = "plan" } }',
        '{ send = { name = "x.md", to = "b", body = "x", depends-on = ["plan"] } }',
        '{ run = ["mkdir", "@OUTBOX@/x.md"] }',
        '{ run = ["ln", "-s", "/etc/passwd", "@OUTBOX@/x.md"] }',
        '{ run = ["mkfifo", "@OUTBOX@/x.md"] }',
        '{ run = ["dd", "if=/dev/zero", "of=@OUTBOX@/x.md", "bs=2M", "count=1"] }',
        '{ run = ["sh", "-c", "rm -r @OUTBOX@; echo no directory > @OUTBOX@"] }',
        '{ run = ["sh", "-c", "for n in $(seq 300); do echo x > @OUTBOX@/$n.md; done"] }',
    ],
)
def test_a_hostile_outbox(pool: Pool, steps: str) -> None:
    """Whatever a run leaves in its outbox, its task fails with a reason and the pool goes on."""
    outbox = pool.layout.run_directory("plan.1") / "outbox"
    pool.configure(runs={"max_attempts": 1})
    pool.script(f'[[play]]\ntask = "plan"\nsteps = [ {steps.replace("@OUTBOX@", str(outbox))} ]\n')
    pool.start()
    pool.send("plan", "a")
    assert "its outbox was refused" in pool.settled("plan", "failed")["reason"]
    pool.send("next", "b")
    pool.settled("next")
    assert not pool.status()["holds"]


def test_the_outbox_of_a_failed_attempt_is_not_delivered(pool: Pool) -> None:
    """What an attempt sent before it crashed never enters the pool; the next attempt's does, once."""
    pool.script(
        """
        [[play]]
        task = "plan"
        attempt = 1
        steps = [ { send = { name = "sub.md", to = "b", body = "from the first" } }, { overloaded = true } ]
        [[play]]
        task = "plan"
        run = 2
        steps = [ { send = { name = "sub.md", to = "b", body = "from the second" } } ]
        """
    )
    pool.start()
    pool.send("plan", "a")
    pool.settled("plan")
    assert pool.task("sub")["mail"] == "from the second"
    assert pool.task("plan")["children"] == ["sub"]
    eventually(lambda: pool.record("a", "plan", 1)["undelivered"] == 1, "it is recorded")
