"""When the API, the money or the command itself is the trouble: holds, retries, ceilings, each with its reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.supervisor.served import Pool


def test_a_usage_limit_holds_the_pool_until_its_reset(pool: Pool) -> None:
    """A limit starts nothing more, uses no attempt, says until when, and the pool goes on by itself."""
    pool.script(
        """
        [[play]]
        task = "first"
        run = 1
        steps = [ { limit = { reset_in = "2s" } } ]
        """
    )
    pool.start()
    pool.send("first", "a")
    hold = pool.hold("limit")
    assert hold["until"]
    assert "limit" in hold["reason"]
    pool.send("second", "b")
    assert "the pool is held (limit)" in pool.waits("second", "the pool is held")["reason"]
    pool.settled("first")
    pool.settled("second")
    assert pool.task("first")["attempt"] == 1
    assert pool.runs_of("first") == ["first.1", "first.2"]
    assert pool.runs_of("second") == ["second.1"]


def test_a_limit_outlives_its_supervisor(pool: Pool) -> None:
    """The hold of a limit is still there after a crash: nothing asks again before the reset."""
    pool.script('[[play]]\nsteps = [ { limit = { reset_in = "10m" } } ]\n')
    pool.start()
    pool.send("first", "a")
    until = pool.hold("limit")["until"]
    pool.restart()
    pool.send("second", "b")
    assert pool.hold("limit")["until"] == until
    assert pool.waits("second", "the pool is held (limit)")
    assert len(pool.events("run.starting")) == 1


@pytest.mark.parametrize("login", ["key", "login"])
def test_a_lost_login_holds_the_pool(pool: Pool, login: str) -> None:
    """No attempt is used without a login; the tip says how to log in, and the next supervisor tries again."""
    pool.script(f'[[play]]\nrun = 1\nsteps = [ {{ auth = "{login}" }} ]\n')
    pool.start()
    pool.send("t", "a")
    hold = pool.hold("auth")
    assert "claude /login" in hold["tip"]
    assert pool.task("t")["attempt"] == 0
    pool.restart()
    assert pool.settled("t")["attempt"] == 1


def test_an_overloaded_api_is_tried_again(pool: Pool) -> None:
    """A transient failure is tried again after a pause that a status names, and the reason stays readable."""
    pool.configure(runs={"retry_first": "1s", "retry_most": "1s"})
    pool.script("[[play]]\nrun = 1\nsteps = [ { overloaded = true } ]\n")
    pool.start()
    pool.send("t", "a")
    assert "529" in pool.waits("t", "it is tried again in")["reason"]
    task = pool.settled("t")
    assert (task["attempt"], [each["failure"] for each in task["attempts"]]) == (2, ["transient", None])


def test_transient_failures_end_some_time(pool: Pool) -> None:
    """When attempts and time are used up the task fails, and says how often it was tried."""
    pool.configure(runs={"transient_horizon": "0s", "max_attempts": 3})
    pool.script("[[play]]\nsteps = [ { unreachable = true } ]\n")
    pool.start()
    pool.send("t", "a")
    task = pool.settled("t", "failed")
    assert "(tried 3 times)" in task["reason"]
    assert (task["failure"], len(pool.runs_of("t"))) == ("transient", 3)


def test_a_run_has_a_ceiling(pool: Pool) -> None:
    """A run that reaches its ceiling fails for its budget and is not tried again."""
    pool.configure(budget={"run_usd": 1.0})
    pool.script("[[play]]\nsteps = [ { cost = 2.0 } ]\n")
    pool.start()
    pool.send("t", "a")
    task = pool.settled("t", "failed")
    assert (task["failure"], task["cost_usd"]) == ("budget", 2.0)


def test_what_living_runs_may_cost_is_reserved(pool: Pool) -> None:
    """A run starts only when the day still has its worst case; the wait says what is reserved."""
    pool.configure(budget={"run_usd": 4.0, "day_usd": 6.0})
    pool.script('[[play]]\nsteps = [ { say = "I begin." }, { wait_for = "go" }, { cost = 0.5 } ]\n')
    pool.start()
    pool.send("one", "a")
    pool.says("one.1", "I begin.")
    pool.send("two", "b")
    reason = pool.waits("two", "reserved")["reason"]
    assert "its run may cost $4.00" in reason
    assert "of today's $6.00" in reason
    pool.touch("go")
    pool.settled("one")
    pool.settled("two")
    assert pool.status()["spent_today_usd"] == 1.0


def test_a_spent_day_holds_the_pool(pool: Pool) -> None:
    """When not even one run more fits into the day the pool is held until tomorrow, also after a restart."""
    pool.configure(budget={"run_usd": 2.0, "day_usd": 3.0})
    pool.script("[[play]]\nsteps = [ { cost = 1.5 } ]\n")
    pool.start()
    pool.send("one", "a")
    pool.settled("one")
    pool.send("two", "a")
    hold = pool.hold("budget")
    assert "$1.50 of today's $3.00 are spent" in hold["reason"]
    assert hold["until"].endswith("T00:00:00Z")
    pool.restart()
    pool.hold("budget")
    assert pool.runs_of("two") == []
    pool.configure(budget={"run_usd": 1.6, "day_usd": 10.0})
    pool.settled("two")


def test_a_command_that_is_not_there_holds_the_pool(pool: Pool) -> None:
    """Without its command the pool is held with a reason, uses no attempt, and goes on once pool.toml is mended."""
    pool.configure(agent={"kind": "claude", "command": "no-such-command"})
    pool.start()
    pool.send("t", "a")
    hold = pool.hold("agent")
    assert "no-such-command" in hold["reason"]
    assert "doctor" in hold["tip"]
    pool.configure()
    assert pool.settled("t")["attempt"] == 1


def test_a_refused_tool_is_named(pool: Pool) -> None:
    """A run that gave up because a tool was refused fails for permission, with the rule that would have let it pass."""
    pool.script(
        '[[play]]\nsteps = [ { deny = { tool = "WebFetch", input = { url = "https://example.org/x" } } }, '
        '{ fail = "I may not." } ]\n'
    )
    pool.start()
    pool.send("t", "a")
    task = pool.settled("t", "failed")
    assert task["failure"] == "permission"
    assert "WebFetch(domain:example.org)" in task["reason"]
    assert pool.record("a", "t")["denials"] == [{"tool": "WebFetch", "rule": "WebFetch(domain:example.org)"}]


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ('{ say = "x" }, { torn = true }', "in the middle of a line"),
        ('{ say = "x" }, { crash = true }', "killed by SIGKILL"),
        ('{ say = "x" }, { crash = 3 }', "exit code 3"),
        ('{ say = "x" }, { results = 0 }', "it ended without a result (exit code 0)"),
        ('{ error = { status = 400, text = "prompt is too long" } }', "prompt is too long"),
    ],
)
def test_a_run_that_ends_badly(pool: Pool, steps: str, reason: str) -> None:
    """Torn output, a crash, no result or an error of the API: the task fails, and its sender reads why."""
    pool.script(f"[[play]]\nsteps = [ {steps} ]\n")
    pool.start()
    pool.send("t", "a")
    assert reason in pool.settled("t", "failed")["reason"]
    assert reason in pool.answer("t")[1]


def test_two_results_are_one_run(pool: Pool) -> None:
    """A run that prints two results settles once, by the last."""
    pool.script('[[play]]\nsteps = [ { say = "Twice." }, { results = 2 } ]\n')
    pool.start()
    pool.send("t", "a")
    assert "Twice." in pool.answer("t")[1]
    pool.settled("t")
    assert len(pool.events("run.settled")) == 1


def test_noise_in_the_stream_is_borne(pool: Pool) -> None:
    """Lines that are no JSON, or JSON of another kind, do not disturb a run."""
    pool.script(
        "[[play]]\nsteps = [ { raw = '{\"type\": 7}' }, { raw = 'warning: x' }, { raw = '[1]' }, { say = \"OK.\" } ]\n"
    )
    pool.start()
    pool.send("t", "a")
    assert "OK." in pool.answer("t")[1]


def test_a_script_with_an_error_says_where(pool: Pool) -> None:
    """A script that cannot be played holds the pool with the place of the error; no attempt is used."""
    pool.script('[[play]]\nsteps = [ { shout = "x" } ]\n')
    pool.start()
    pool.send("t", "a")
    assert "play[1].steps[1] has an unknown key shout" in pool.hold("agent")["reason"]
    pool.script("")
    pool.restart()
    assert pool.settled("t")["attempt"] == 1
