"""A file is there whole or not at all, and nothing is ever overwritten that was to be kept."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Any

import pytest

from agentpool.pool import atomic

if TYPE_CHECKING:
    from pathlib import Path


def names(directory: Path) -> list[str]:
    """What is in a directory, hidden files too."""
    return sorted(path.name for path in directory.iterdir())


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_is_replaced_whole(tmp_path: Path, durable: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """The new text is there, who has the old one open still reads the old one, and no other file is left."""
    path = tmp_path / "board.json"
    atomic.write(path, "old", durable=durable)
    with path.open() as reader:
        atomic.write(path, b"new\xff", durable=durable)
        assert reader.read() == "old"
    assert path.read_bytes() == b"new\xff"
    assert names(tmp_path) == ["board.json"]


def test_the_mode_is_what_was_asked_for(tmp_path: Path) -> None:
    """A secret is never readable by others, not even while it is written."""
    atomic.write(tmp_path / "token", "secret", durable=False, mode=0o600)
    assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o600


def test_a_name_of_full_length_can_be_written(tmp_path: Path) -> None:
    """The temporary name does not grow with the wanted one."""
    path = tmp_path / ("x" * 255)
    atomic.write(path, "text", durable=False)
    assert path.read_text() == "text"


def test_text_that_utf8_cannot_hold_is_escaped(tmp_path: Path) -> None:
    """A lone surrogate does not stop the writer."""
    atomic.write(tmp_path / "view.md", "é\ud800", durable=False)
    assert (tmp_path / "view.md").read_text(encoding="utf-8") == "é\\ud800"


@pytest.mark.parametrize("call", ["write", "fdatasync", "replace", "fsync"])
@pytest.mark.skipif(not hasattr(os, "fdatasync"), reason="the platform syncs by another call")
def test_an_error_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """Whichever step fails, its error comes through, the temporary file is gone and a text stands there whole."""
    path = tmp_path / "board.json"
    atomic.write(path, "old", durable=True)

    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(OSError, match="full"):
            atomic.write(path, "new", durable=True)
    assert path.read_text() == ("new" if call == "fsync" else "old")
    assert names(tmp_path) == ["board.json"]


def test_the_file_is_on_the_disk_before_its_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order of the steps is what makes it durable: bytes, name, directory; and none of it where nobody asked."""
    steps: list[str] = []

    def noted(name: str, function: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            steps.append(name)
            return function(*arguments, **options)

        return call

    for name in ("write", "replace"):
        monkeypatch.setattr(os, name, noted(name, getattr(os, name)))
    monkeypatch.setattr(atomic, "sync", noted("sync", atomic.sync))
    monkeypatch.setattr(atomic, "sync_directory", noted("sync_directory", atomic.sync_directory))
    atomic.write(tmp_path / "a", "x", durable=True)
    assert steps == ["write", "sync", "replace", "sync_directory"]
    steps.clear()
    atomic.write(tmp_path / "a", "x", durable=False)
    assert steps == ["write", "replace"]


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that takes three bytes at a time gets them all."""
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, bytes(data)[:3]))
    atomic.write(tmp_path / "a", "0123456789", durable=False)
    monkeypatch.undo()
    assert (tmp_path / "a").read_text() == "0123456789"


def test_a_new_file_never_overwrites(tmp_path: Path) -> None:
    """A name that is taken gets a number before its suffix, and the file there stays as it is."""
    path = tmp_path / "q.md"
    placed = [atomic.place_new(path, text) for text in ("one", "two", "three")]
    assert [one.name for one in placed] == ["q.md", "q-2.md", "q-3.md"]
    assert [one.read_text() for one in placed] == ["one", "two", "three"]
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    assert atomic.place_new(tmp_path / "dangling", "x", durable=False).name == "dangling-2"
    assert names(tmp_path) == ["dangling", "dangling-2", "q-2.md", "q-3.md", "q.md"]


def test_a_moved_file_never_overwrites(tmp_path: Path) -> None:
    """Moving is renaming to a free name, also into another directory."""
    (tmp_path / "aside").mkdir()
    for text in ("one", "two"):
        (tmp_path / "source").write_text(text)
        atomic.move_new(tmp_path / "source", tmp_path / "aside" / "bad.bin")
    assert (tmp_path / "aside" / "bad.bin").read_text() == "one"
    assert (tmp_path / "aside" / "bad-2.bin").read_text() == "two"
    assert not (tmp_path / "source").exists()


def test_a_published_file_stays_open_for_appending(tmp_path: Path) -> None:
    """What is appended goes into the file that has the name now."""
    fd = atomic.publish(tmp_path / "log", [b"one\n", b"two\n"])
    atomic.write_all(fd, b"three\n")
    assert b"".join(atomic.read_chunks(fd, 4)) == b"two\nthree\n"
    assert not os.get_inheritable(fd)
    os.close(fd)
    assert (tmp_path / "log").read_bytes() == b"one\ntwo\nthree\n"


def test_leftovers_of_killed_writers_can_be_removed(tmp_path: Path) -> None:
    """Only files with the temporary name go."""
    for name in (".agentpool-0123.tmp", ".gitignore", "agentpool.tmp"):
        (tmp_path / name).touch()
    atomic.remove_leftovers(tmp_path)
    assert names(tmp_path) == [".gitignore", "agentpool.tmp"]
