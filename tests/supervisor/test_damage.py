"""What people and programs do to a pool's files while it is served."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from agentpool.runs.process_table import state_of
from tests.supervisor.served import eventually

if TYPE_CHECKING:
    from tests.supervisor.served import Pool

WAITS = """
[[play]]
task = "long"
steps = [ { say = "I begin." }, { wait_for = "go" }, { respond = { body = "Waited." } } ]
"""


def _git(pool: Pool, *arguments: str, check: bool = True) -> None:
    line = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments]
    subprocess.run(line, cwd=pool.project, env=pool.environment, check=check, capture_output=True)


def test_git_clean_under_a_served_pool(pool: Pool) -> None:
    """`git clean -fdx` takes journal, run/ and mail/ away; the pool goes on, and a restart knows everything.

    A run whose outbox went with it is tried again: nobody knows what it had sent.
    """
    _git(pool, "init", "-q")
    _git(pool, "add", "-A")
    _git(pool, "add", "-f", ".agent-pool/script.toml")
    _git(pool, "commit", "-qm", "a pool")
    pool.script('[[play]]\ntask = "long"\nsteps = [ { say = "I begin." }, { wait_for = "go" }, { say = "Waited." } ]\n')
    pool.start()
    pool.send("first", "a")
    pool.settled("first")
    pool.send("long", "a")
    eventually(lambda: [run for run in pool.status()["runs"] if run["model"]], "its stream is followed")
    pool.send("blocked", "b", depends_on=["long"])
    # It complains about directories that are made anew while it works, and goes on.
    _git(pool, "clean", "-fdx", check=False)
    assert not pool.layout.mail_file("blocked").exists()
    eventually(lambda: pool.is_served_by(pool.supervisor.pid), "the socket comes back")
    eventually(lambda: list(pool.layout.journal.glob("segment-*.jsonl")), "the journal comes back")
    eventually(pool.layout.inbox("b").is_dir, "the inboxes come back")
    pool.drop("after.md", "hello\n", to="b")
    pool.settled("after")
    pool.touch("go")
    pool.settled("long")
    pool.settled("blocked")
    assert [each["reason"] for each in pool.task("long")["attempts"]][-1] == ""
    assert pool.runs_of("long") == ["long.1", "long.2"]
    pool.restart()
    assert pool.states() == dict.fromkeys(("first", "long", "blocked", "after"), "done")
    assert not pool.status()["holds"]


@pytest.mark.parametrize("name", ["mail", "archive", "human/inbox", "deadletter", "journal", "run/runs"])
def test_a_directory_that_is_removed_comes_back(pool: Pool, name: str) -> None:
    """Any directory of the pool's own may vanish at any moment: it is made anew when it is needed."""
    pool.configure(pool={"sweep": "1h"})
    pool.start()
    shutil.rmtree(pool.layout.root / name)
    pool.drop("bad.md", "---\nto: nobody\n---\n\nhello\n")
    pool.reason("bad.md")
    pool.drop("good.md", "---\nto: a\n---\n\nhello\n")
    pool.settled("good")
    pool.answer("good")
    assert not pool.status()["holds"]
    assert len(list(pool.layout.archive.glob("*/good.md"))) == 1


def test_the_whole_pool_is_removed(pool: Pool) -> None:
    """`rm -rf .agent-pool` ends the supervisor with a word about it; nothing is made again, runs are left alone."""
    pool.script(WAITS)
    pool.start()
    pool.send("long", "a")
    pool.says("long.1", "I begin.")
    pid = pool.run_pid("long.1")
    aside = pool.project / "aside"
    pool.layout.root.rename(aside)  # at once, so that nothing of it is made anew while it is removed
    shutil.rmtree(aside)
    assert pool.ended() == 3
    assert not pool.layout.root.exists()
    assert "while it was served; its runs are left alone" in pool.log()
    assert "Traceback" not in pool.log()
    state = state_of(pid)
    assert state is not None
    assert not state.zombie
    pool.touch("go")
    eventually(lambda: not pool.family(), "the run ends by itself")


def test_a_view_that_was_edited_is_only_a_view(pool: Pool) -> None:
    """Words that somebody writes into `mail/` change nothing: the run is told what the journal holds."""
    pool.script(
        """
        [[play]]
        task = "long"
        steps = [ { wait_for = "go" } ]
        [[play]]
        mail = "EVIL"
        steps = [ { respond = { body = "I was misled." } } ]
        """
    )
    pool.start()
    pool.send("long", "a")
    pool.send("t", "a", "good words")
    eventually(pool.layout.mail_file("t").exists, "the view")
    pool.layout.mail_file("t").write_text("EVIL")
    pool.touch("go")
    pool.settled("t")
    assert "I was misled." not in pool.answer("t")[1]
