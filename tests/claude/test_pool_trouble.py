"""A pool whose API, login or budget fails: each failure of the real command leads where the pool's rules say."""

from __future__ import annotations

import time
from datetime import datetime
from itertools import repeat
from typing import Any

import pytest

from tests.claude.messages_api import Hang, Refuse, Say, Tokens, Use
from tests.claude.pools import RealPool, nobody_listens
from tests.claude.replies import usage_limit
from tests.claude.running import eventually

pytestmark = pytest.mark.claude


def seconds_of(hold: dict[str, Any]) -> float:
    """How long a hold is to last."""
    since, until = (datetime.fromisoformat(hold[key]) for key in ("since", "until"))
    return (until - since).total_seconds()


def test_a_request_that_the_api_refuses(pool: RealPool) -> None:
    """A 400 fails the task at once, in the API's own words, and the pool goes on."""
    pool.api.script("Long.", [Refuse(400, "prompt is too long")])
    pool.api.script("Short.", [Say("Done.")])
    pool.start()
    pool.drop("backend", "long", "Long.")
    task = pool.settled("long")
    assert (task["state"], task["failure"], task["attempt"]) == ("failed", "agent", 1)
    assert "prompt is too long" in pool.answer("long").lower()
    pool.drop("backend", "short", "Short.")
    assert pool.settled("short")["state"] == "done"


def test_an_api_that_is_overloaded(pool: RealPool) -> None:
    """A 529 that outlasts the command's own retry costs an attempt, and the next one does the work."""
    pool.api.script("Wait for it.", [Refuse(529), Refuse(529), Say("Done.")])
    pool.start()
    pool.drop("backend", "patience", "Wait for it.")
    task = pool.settled("patience")
    assert [(each["step"], each["failure"]) for each in task["attempts"]] == [("retry", "transient"), ("done", None)]
    assert pool.status()["holds"] == []


def test_a_usage_limit_holds_the_pool(pool: RealPool) -> None:
    """A subscription at its limit holds the whole pool until the reset that the API named; no attempt is used."""
    resets_at = int(time.time()) + 3600
    pool.environment["CLAUDE_CODE_OAUTH_TOKEN"] = "scripted"  # noqa: S105 - what the scripted API is told
    del pool.environment["ANTHROPIC_API_KEY"]
    pool.api.script("Much.", [usage_limit(resets_at)])
    pool.start()
    pool.drop("backend", "much", "Much.")
    held = pool.hold("limit")
    assert held["until"] == time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(resets_at))
    assert "limit" in held["reason"]
    pool.drop("frontend", "other", "Much more.")
    eventually(lambda: pool.knows("other"), "other is accepted")
    waiting = {each["id"]: each["reason"] for each in pool.status()["waiting"]}
    assert waiting.keys() == {"much", "other"}
    assert all("limit" in reason for reason in waiting.values())
    task = pool.client.task("much")
    assert (task["state"], task["attempt"]) == ("ready", 0)
    assert len(pool.api.conversation()) == 1


def test_a_limit_of_a_key(pool: RealPool) -> None:
    """Where nobody says when a limit ends, the pool waits for minutes; a `retry-after` is taken as it is."""
    pool.api.script("Much.", repeat(Refuse(429, "slow down")))
    pool.start()
    pool.drop("backend", "much", "Much.")
    assert seconds_of(pool.hold("limit")) > 200
    assert len(pool.api.conversation()) == 2


def test_a_limit_with_a_pause(pool: RealPool) -> None:
    """What the API asks for in `retry-after` is when the pool asks again."""
    pool.api.script("Much.", [*repeat(Refuse(429, "slow down", {"retry-after": "1"}), 2), Say("Done.")])
    pool.start()
    pool.drop("backend", "much", "Much.")
    assert seconds_of(pool.hold("limit")) <= 2
    assert pool.settled("much")["attempt"] == 1


def test_a_limit_is_over(pool: RealPool) -> None:
    """When the reset has come the pool goes on by itself, with the same attempt."""
    pool.environment["CLAUDE_CODE_OAUTH_TOKEN"] = "scripted"  # noqa: S105 - as above
    del pool.environment["ANTHROPIC_API_KEY"]
    pool.api.script("Much.", [lambda _: usage_limit(int(time.time()) + 1), Say("Done.")])
    pool.start()
    pool.drop("backend", "much", "Much.")
    task = pool.settled("much")
    assert (task["state"], task["attempt"]) == ("done", 1)
    assert [each["step"] for each in task["attempts"]] == ["release", "done"]


def test_a_wrong_key_holds_the_pool(pool: RealPool) -> None:
    """A 401 holds the pool and says how to log in; a start with another key goes on with the same attempt."""
    pool.api.script("Open up.", repeat(Refuse(401, "invalid x-api-key")))
    pool.start()
    pool.drop("backend", "locked", "Open up.")
    held = pool.hold("auth")
    assert "Invalid API key" in held["reason"]
    assert "claude /login" in held["tip"]
    assert pool("stop").returncode == 0
    pool.api.script("Open up.", [Say("Open.")])
    pool.start(ANTHROPIC_API_KEY="another")
    task = pool.settled("locked")
    assert (task["state"], task["attempt"]) == ("done", 1)
    assert pool.api.conversation()[-1].headers["x-api-key"] == "another"


def test_no_login_holds_the_pool(pool: RealPool) -> None:
    """Without any login the pool is held before a token is spent, and `agentpool status` says what to do."""
    del pool.environment["ANTHROPIC_API_KEY"]
    pool.start()
    pool.drop("backend", "nobody", "Who are you?")
    assert "Not logged in" in pool.hold("auth")["reason"]
    said = pool("status").stdout
    assert "Not logged in" in said
    assert "claude /login" in said
    assert pool.api.conversation() == []


def test_a_run_that_reaches_its_budget(pool: RealPool) -> None:
    """The command stops itself at the run's ceiling; the task fails for it, and its price is counted."""
    pool.configure(budget={"run_usd": 0.5, "day_usd": 20})
    pool.api.script("Write a book.", [Say("Dear reader, …", Tokens(output=1_000_000))])
    pool.start()
    pool.drop("backend", "book", "Write a book.")
    task = pool.settled("book")
    assert (task["state"], task["failure"]) == ("failed", "budget")
    assert task["cost_usd"] > 0.5
    assert pool.record("backend", "book")["cost_usd"] == pytest.approx(task["cost_usd"])
    assert pool.status()["spent_today_usd"] == pytest.approx(task["cost_usd"])
    assert "budget" in pool.answer("book")


def test_an_api_that_nobody_serves(pool: RealPool) -> None:
    """An API that cannot be reached is tried again, and in the end the task fails with the reason."""
    with nobody_listens() as url:
        pool.configure(agent={"env": {"ANTHROPIC_BASE_URL": url}}, runs={"max_attempts": 2, "transient_horizon": "0s"})
        pool.start()
        pool.drop("backend", "alone", "Is anybody there?")
        task = pool.settled("alone")
    assert (task["state"], task["failure"], task["attempt"]) == ("failed", "transient", 2)
    assert "Unable to connect" in pool.answer("alone")


def test_an_api_that_falls_silent(pool: RealPool) -> None:
    """A run that says nothing for `stall_timeout` is ended, and the task is tried again."""
    pool.configure(runs={"stall_timeout": "1s"})
    pool.api.script("Speak.", [Hang("Well, "), Say("Here I am.")])
    pool.start()
    pool.drop("backend", "silent", "Speak.")
    task = pool.settled("silent")
    assert (task["state"], task["attempt"]) == ("done", 2)
    first, second = task["attempts"]
    assert (first["failure"], first["ended_by"], second["ended_by"]) == ("timeout", "stall", "itself")


def test_an_outbox_that_is_refused(pool: RealPool) -> None:
    """A run that writes to nobody fails its check, nothing of it is sent, and the next attempt is told why."""
    misspelt = "printf -- '---\\nto: frontent\\n---\\nBuild it.\\n' > $AGENTPOOL_OUTBOX/form.md"
    pool.api.script("Delegate.", [Use("Bash", {"command": misspelt}), Say("Sent."), Say("I did it myself.")])
    pool.start()
    pool.drop("architect", "plan", "Delegate.")
    task = pool.settled("plan")
    assert [(each["step"], each["failure"]) for each in task["attempts"]] == [("retry", "check"), ("done", None)]
    told = pool.api.conversation("Delegate.")[-1].prompt
    assert "did you mean `frontend`?" in told
    assert told.index("did you mean") < told.index("Delegate.")
    assert not pool.knows("form")
