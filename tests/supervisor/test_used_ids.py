"""Ids that lie in `archive/` although the board has forgotten them: nothing there is overwritten."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agentpool.model.errors import AgentpoolError

if TYPE_CHECKING:
    from tests.supervisor.served import Pool

_LONG_AGO = "words of long ago\n"


@pytest.fixture
def served(pool: Pool) -> Pool:
    """A served pool in whose archive `daily` lies, of which its journal knows nothing any more."""
    pool.start()
    archived = pool.layout.archive_file("daily", "2026-01")
    archived.parent.mkdir(parents=True)
    archived.write_text(_LONG_AGO)
    return pool


def test_a_file_name_gets_a_number(served: Pool) -> None:
    """A hand-dropped file whose name was used long ago is a task of its own."""
    served.drop("daily.md", "hello\n", to="a")
    served.settled("daily-2")
    assert served.states() == {"daily-2": "done"}
    assert served.layout.archive_file("daily", "2026-01").read_text() == _LONG_AGO


def test_a_named_id_is_refused(served: Pool) -> None:
    """A mail that names such an id is refused with the reason, dropped or sent."""
    served.drop("x.md", "---\nid: daily\nto: a\n---\n\nhello\n")
    assert "was used long ago" in served.reason("x.md")
    with pytest.raises(AgentpoolError, match="was used long ago"):
        served.send("daily", "a")
    sent = served.command("send", "a", "hello", "--id", "daily")
    assert sent.returncode != 0
    assert "was used long ago" in sent.stderr
    assert served.states() == {}


def test_an_outbox_keeps_to_it(served: Pool) -> None:
    """In an outbox, too, a file's name gets a number, and a named id fails the run with the reason."""
    served.script(
        """
        [[play]]
        task = "plan"
        run = 1
        steps = [ { send = { name = "daily.md", to = "b", body = "hello" } } ]
        [[play]]
        task = "named"
        steps = [ { send = { name = "x.md", id = "daily", to = "b", body = "hello" } } ]
        """
    )
    served.send("plan", "a")
    served.settled("daily-2")
    served.settled("plan")
    served.send("named", "a")
    assert "was used long ago" in served.settled("named", "failed")["reason"]
