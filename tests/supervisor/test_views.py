"""Drops that change between the moment they are read and the moment they are put away."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from agentpool.model import events as ev
from agentpool.pool import dropbox
from agentpool.pool.founding import found
from agentpool.pool.layout import Layout
from agentpool.supervisor.ledger import Ledger
from agentpool.supervisor.views import Views

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A pool that nobody serves."""
    found(tmp_path, ["a"])
    return Layout(tmp_path / ".agent-pool")


def _accept(layout: Layout, meanwhile: Callable[[Path], object]) -> Path:
    """Accepts the drop `t.md`, to which something happens meanwhile; where it lay."""
    path = layout.inbox("a") / "t.md"
    path.write_text("first words\n")

    async def decide() -> None:
        ledger, _ = Ledger.open(layout.journal, 0)
        views = Views(layout, ledger)
        [drop] = dropbox.scan(path.parent, "a")
        mail = dropbox.read(drop, now=0.0, mail_bytes=1000, header_bytes=1000).mail
        [entry] = await ledger.commit([ev.MailAccepted(mail)], 0.0)
        meanwhile(path)
        views.queue(entry, drop)
        views.catch_up()
        views.close()
        ledger.close()

    asyncio.run(decide())
    return path


def _replace(path: Path) -> None:
    other = path.with_name(".other")
    other.write_text("other words\n")
    other.replace(path)


def _replace_by_directory(path: Path) -> None:
    # Moved away, not removed: a number that is free again could name the directory as well.
    path.rename(path.with_name(".kept"))
    (path / "inside").mkdir(parents=True)


def _replace_by_link(path: Path) -> None:
    path.with_name(".other").symlink_to("nowhere")
    path.with_name(".other").replace(path)


def test_a_drop_that_stays_as_it_was_is_moved(layout: Layout) -> None:
    """The usual case: nothing is left in the inbox, the view holds the mail."""
    path = _accept(layout, lambda _: None)
    assert not path.exists()
    assert "first words" in layout.mail_file("t").read_text()


def test_another_file_under_the_name_is_a_drop_of_its_own(layout: Layout) -> None:
    """A file that took the accepted one's place is not swallowed: it lies in the inbox, to be looked at next."""
    path = _accept(layout, _replace)
    assert path.read_text() == "other words\n"
    assert "first words" in layout.mail_file("t").read_text()


def test_a_directory_under_the_name_is_left(layout: Layout) -> None:
    """So does a directory, with what is in it."""
    path = _accept(layout, _replace_by_directory)
    assert (path / "inside").is_dir()
    assert "first words" in layout.mail_file("t").read_text()


def test_a_link_under_the_name_is_left(layout: Layout) -> None:
    """So does a link, which nobody followed."""
    path = _accept(layout, _replace_by_link)
    assert path.is_symlink()
    assert "first words" in layout.mail_file("t").read_text()


def test_words_that_were_added_after_it_was_read_are_kept(layout: Layout) -> None:
    """A writer that went on after the drop was read finds its file among the dead letters, with the reason."""
    path = _accept(layout, lambda path: path.write_text("first words, and more\n"))
    assert not path.exists()
    assert (layout.deadletter / "t-changed.md").read_text() == "first words, and more\n"
    assert "somebody wrote to the file" in (layout.deadletter / "t-changed.md.reason.md").read_text()
    assert "first words" in layout.mail_file("t").read_text()


def test_a_drop_that_is_taken_away_meanwhile_stays_accepted(layout: Layout) -> None:
    """A person who removes the file too late has sent it nevertheless."""
    path = _accept(layout, lambda path: path.unlink())
    assert not path.exists()
    assert "first words" in layout.mail_file("t").read_text()
