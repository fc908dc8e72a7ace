from __future__ import annotations

import pytest

from agentpool.model import events as ev
from agentpool.model.board_snapshot import load
from agentpool.model.mail import Mail
from agentpool.model.run import FailureKind
from tests.model.history import History, dumped


@pytest.fixture
def eventful() -> History:
    """A pool in which something of every kind is there."""
    history = History()
    history.apply(ev.PoolHeld(ev.Hold.BUDGET, "spent", 9_000.0))
    history.apply(ev.NoticeSent("key", Mail("missing-x", "human", body="it does not come")))
    history.send("plan", to="architect")
    history.delegate("plan", "a", "b")
    history.run("a", cost_usd=1.5)
    history.send("failed")
    history.send("passed-on", "failed")
    history.run("failed", ev.Step.FAILED)
    history.send("waits", "missing", expires=20_000.0)
    history.send("pauses")
    history.start("pauses")
    history.end("pauses", ev.Step.RETRY, failure=FailureKind.TRANSIENT, not_before=history.now + 60.0)
    run = history.start("b")
    history.apply(ev.RunStarted(run, "b", 4711, 12, "boot", (ev.SectionSize("identity", 10),)))
    history.note("news")
    return history


def test_a_snapshot_makes_the_same_board(eventful: History) -> None:
    """Everything that a board knows is in it."""
    board = eventful.reloaded()
    assert dumped(board) == dumped(eventful.board)
    assert all(board.knows(mail_id) for mail_id in ("a", "waits", "news", "missing-x"))
    assert (board.told, board.notes, board.fingerprints["print-news"]) == ({"key"}, {"auth": ["news"]}, "news")


def test_the_journal_makes_the_same_board(eventful: History) -> None:
    """The board is the fold of its events."""
    assert dumped(eventful.replayed()) == dumped(eventful.board)


def test_a_snapshot_and_the_rest_of_the_journal_make_the_same_board(eventful: History) -> None:
    """A start from a snapshot goes on exactly as a start from the first record."""
    middle = eventful.reloaded()
    seen = len(eventful.entries)
    eventful.settle_due()
    eventful.end("b", ev.Step.FAILED, failure=FailureKind.AGENT)
    eventful.now += 1_000
    assert eventful.order() == ["plan", "pauses"]
    eventful.apply(ev.PoolReleased(ev.Hold.BUDGET))
    for entry in eventful.entries[seen:]:
        middle.apply(entry)
    assert dumped(middle) == dumped(eventful.board)


def test_an_empty_mailbox_of_notes_is_not_written(history: History) -> None:
    """A board whose notes were all handed over is as one that never had any."""
    history.note("news")
    history.send("health")
    history.start("health", notes=("news",))
    assert not [line for line in dumped(history.board) if "notes" in line]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"contract": "api", "state": {}}, "unknown: was it written by a newer agentpool"),
        ({"task": {"id": "x", "mood": "good"}}, "newer agentpool"),
        ({"settled": "x", "state": {"state": "done", "ended": 1.0, "settlement": 1, "by": "me"}}, "newer agentpool"),
        ({"recent": {"id": "x"}}, "missing"),
    ],
)
def test_a_snapshot_of_a_newer_agentpool_is_refused(line: dict[str, object], message: str) -> None:
    """A line or field that nobody knows is not dropped: it says something."""
    with pytest.raises(TypeError, match=message):
        load([line])


def test_a_state_of_a_newer_agentpool_is_refused() -> None:
    """As an unknown value, with its name."""
    with pytest.raises(ValueError, match="verifying"):
        load([{"settled": "x", "state": {"state": "verifying", "ended": 1.0, "settlement": 1}}])
