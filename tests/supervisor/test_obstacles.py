"""One file in the way of one thing: it is said, holds nothing else up, and is made good when the obstacle is gone."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.supervisor.served import eventually

if TYPE_CHECKING:
    from tests.supervisor.served import Pool


def _warning(pool: Pool, words: str) -> str:
    """The warning of a status that holds these words, once it is there."""
    found: str = eventually(
        lambda: next((each for each in pool.status()["warnings"] if words in each), None), f"a warning: {words}"
    )
    return found


def _no_warning(pool: Pool, words: str) -> None:
    eventually(lambda: not any(words in each for each in pool.status()["warnings"]), f"no warning: {words}")


def test_a_pipe_where_knowledge_should_be(pool: Pool) -> None:
    """A named pipe as `state.md` fails that expert's tasks with the reason; nobody waits for its writer."""
    pool.start()
    state = pool.layout.home("a") / "state.md"
    state.unlink()
    os.mkfifo(state)
    pool.send("t", "a")
    pool.send("other", "b")
    assert "named pipe" in pool.settled("t", "failed")["reason"]
    pool.settled("other")
    assert not pool.status()["holds"]
    pool.supervisor.send_signal(signal.SIGTERM)
    assert pool.ended() == 0


def test_a_directory_where_the_record_of_a_run_should_be(pool: Pool) -> None:
    """A run that makes a directory `run.json` is settled; its log is written when the directory is gone."""
    pool.script('[[play]]\ntask = "t"\nsteps = [ { run = ["sh", "-c", "mkdir $AGENTPOOL_RUN_DIRECTORY/run.json"] } ]\n')
    pool.start()
    pool.send("t", "a")
    pool.settled("t")
    pool.send("other", "a")
    pool.settled("other")
    assert "run.json" in _warning(pool, "run.settled")
    assert not pool.status()["holds"]
    pool.layout.run_directory("t.1").joinpath("run.json").rmdir()
    _no_warning(pool, "run.settled")
    assert pool.record("a", "t")["run"] == "t.1"
    pool.answer("t")


def test_a_directory_where_a_view_of_mail_should_be(pool: Pool) -> None:
    """A directory as `mail/<id>.md` is a warning; the view is written when it is gone, also by the next supervisor."""
    pool.script('[[play]]\ntask = "first"\nsteps = [ { wait_for = "go" } ]\n')
    pool.start()
    for name in ("t", "u"):
        pool.layout.mail_file(name).mkdir()
    pool.send("first", "a")
    pool.send("t", "b", "words of t", depends_on=["first"])
    pool.send("u", "b", "words of u", depends_on=["first"])
    _warning(pool, "t.md")
    _warning(pool, "u.md")
    pool.send("other", "b")
    pool.settled("other")
    assert not pool.status()["holds"]
    pool.layout.mail_file("t").rmdir()
    eventually(pool.layout.mail_file("t").is_file, "the view of t")
    assert "words of t" in pool.layout.mail_file("t").read_text()
    pool.kill()
    pool.layout.mail_file("u").rmdir()
    pool.start()
    assert "words of u" in pool.layout.mail_file("u").read_text()
    pool.touch("go")
    pool.settled("t")
    pool.settled("u")


def test_a_directory_where_the_socket_should_be(pool: Pool) -> None:
    """A directory in the place of the gateway's socket is said; the socket comes back when it is gone."""
    pool.start()
    pool.layout.socket.unlink()
    pool.layout.socket.mkdir()
    eventually(lambda: "is in the way of the pool's socket" in pool.log(), "a word about it")
    pool.drop("meanwhile.md", "hello\n", to="b")
    pool.answer("meanwhile")
    pool.layout.socket.rmdir()
    eventually(lambda: pool.is_served_by(pool.supervisor.pid), "the socket comes back")
    pool.send("t", "a")
    pool.settled("t")


@pytest.mark.parametrize("content", [None, ""])
def test_settings_that_vanish_stay_in_force(pool: Pool, content: str | None) -> None:
    """A `pool.toml` that is removed or emptied under a living supervisor changes nothing, and that is said."""
    pool.configure(budget={"day_usd": 77.0})
    pool.start()
    if content is None:
        pool.layout.configuration.unlink()
    else:
        pool.layout.configuration.write_text(content)
    assert "stays in force" in _warning(pool, "pool.toml")
    pool.send("t", "a")
    pool.settled("t")
    assert pool.status()["day_usd"] == 77.0
    pool.configure(budget={"day_usd": 78.0})
    eventually(lambda: pool.status()["day_usd"] == 78.0, "the new settings")
    _no_warning(pool, "stays in force")


def test_a_weaker_stop_after_a_stronger_changes_nothing(pool: Pool) -> None:
    """Who asks for `stop` after somebody's `stop --now` does not take that back."""
    pool.configure(runs={"stop_grace": "1s"})
    pool.script('[[play]]\nsteps = [ { ignore = ["SIGINT"] }, { say = "I begin." }, { wait_for = "go" } ]\n')
    pool.start()
    pool.send("t", "a")
    pool.says("t.1", "I begin.")
    pool.client.stop("now")
    pool.client.stop("drain")
    assert pool.ended() == 0
    assert [event["how"] for event in pool.events("pool.stopped")] == ["now"]
