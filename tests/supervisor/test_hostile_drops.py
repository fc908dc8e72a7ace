"""Hostile input through real files: each is refused with a clear reason, kept, and the supervisor unharmed."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING

import pytest

from tests.supervisor.served import Pool, eventually, place_whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    """One pool for all of them: it must bear one after the other."""
    directory = tmp_path_factory.mktemp("hostile")
    (directory / "home").mkdir(mode=0o700)
    (directory / "p").mkdir()
    pool = Pool(directory / "p", directory / "home")
    pool.found("a", "b")
    pool.start()
    yield pool
    pool.close()


def _is_well(pool: Pool, name: str) -> None:
    """The same supervisor goes on working."""
    assert pool.supervisor.poll() is None, pool.log()
    pool.send(f"after-{name}", "b")
    pool.settled(f"after-{name}")
    assert "Traceback" not in pool.log()


def _mail(header: str, body: str = "hello") -> bytes:
    return f"---\n{header}\n---\n\n{body}\n".encode()


HOSTILE = {
    "id-with-a-path": (_mail("to: a\nid: ../../evil"), "the id '../../evil' is not allowed"),
    "id-absolute": (_mail("to: a\nid: /etc/passwd"), "is not allowed"),
    "id-dotfile": (_mail("to: a\nid: .hidden"), "is not allowed"),
    "id-of-a-response": (_mail("to: a\nid: x.response"), "the pool keeps the endings"),
    "id-too-long": (_mail(f"to: a\nid: {'x' * 150}"), "at most 100 characters"),
    "addressee-with-a-path": (_mail("to: ../../../tmp"), "there is no mailbox '../../../tmp'"),
    "reference-with-a-path": (_mail("to: a\ndepends-on: [../x]"), "`depends-on`"),
    "ten-megabytes": (_mail("to: a", "x" * 10_000_000), "the limit is 1048576 (`[limits] mail_bytes`)"),
    "large-header": (_mail("to: a\nnote: " + "x" * 17_000), "its header is over 16384 bytes"),
    "thirty-thousand-brackets": (_mail("to: a\nnote: " + "[" * 30_000), "its header is over 16384 bytes"),
    "many-brackets": (_mail("to: a\nnote: " + "[" * 16_000), "nested deeper than 8"),
    "anchors": (_mail("to: a\nx: &x [1, 1]\ny: [*x, *x]"), "anchor"),
    "tags": (_mail("to: a\nx: !!python/object/apply:os.system ['true']"), "YAML"),
    "nul-byte": (_mail("to: a", "he\0llo"), "it has a NUL byte at offset"),
    "latin-1": ("---\nto: a\n---\n\nGrüße\n".encode("latin-1"), "UTF-8"),
    "utf-16": ("---\nto: a\n---\n\nhello\n".encode("utf-16"), "it is written in UTF-16"),
    "byte-order-mark": (b"\xef\xbb\xbf" + _mail("to: a"), "byte order mark"),
    "no-closing-fence": (b"---\nto: a\n\nhello\n", "its header has no end"),
    "duplicate-keys": (_mail("to: a\nto: b"), "twice"),
    "list-as-header": (_mail("- to: a"), "its header is a list"),
    "boolean-key": (_mail("to: a\nno: x"), "its header has a key that YAML reads as"),
    "misspelled-key": (_mail("to: a\ndepends: [x]"), "did you mean `depends-on`?"),
    "empty": (b"", "it has no text"),
    "header-alone": (_mail("to: a", ""), "it has no text below the header"),
    "waits-for-itself": (_mail("to: a\nid: selfish\ndepends-on: [selfish]"), "it waits for itself"),
    "cancels-nothing": (_mail("to: a\ntype: cancel\ncancels: nobody-knows"), "which is no open task"),
    "wrong-type": (_mail("to: a\ntype: tsak"), "did you mean `task`?"),
    "nobody": (b"hello\n", "it names no addressee"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file(served: Pool, name: str) -> None:
    """It becomes a dead letter with its reason, byte for byte, its sender is told, and nothing else happens."""
    data, reason = HOSTILE[name]
    before = len(served.events("mail.accepted"))
    served.drop(f"{name}.md", data)
    assert reason in served.reason(f"{name}.md")
    assert (served.layout.deadletter / f"{name}.md").read_bytes() == data
    eventually((served.layout.inbox("human") / f"{name}.refused.md").exists, "the sender is told")
    assert len(served.events("mail.accepted")) == before
    _is_well(served, name)


def _directory(path: Path) -> None:
    path.mkdir()
    (path / "inside.txt").write_text("kept")


def _symlink(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def _dangling(path: Path) -> None:
    path.symlink_to("nowhere")


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    here = os.open(path.parent, os.O_RDONLY)
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind(f"/proc/self/fd/{here}/{path.name}")
    os.close(here)


ODD = {
    "directory": (_directory, "it is a directory"),
    "symlink": (_symlink, "it is a symbolic link"),
    "dangling": (_dangling, "it is a symbolic link"),
    "fifo": (_fifo, "it is a named pipe"),
    "socket": (_socket, "it is no plain file"),
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_no_file(served: Pool, name: str) -> None:
    """A directory, link, pipe or socket named `x.md` is put away unread, as it is."""
    make, reason = ODD[name]
    path = served.layout.inbox("a") / f"{name}.md"
    make(path)
    assert reason in served.reason(f"{name}.md")
    eventually(lambda: not os.path.lexists(path), "it is put away")
    _is_well(served, name)


def test_the_same_name_refused_twice_overwrites_nothing(served: Pool) -> None:
    """Two refused files of one name lie beside each other among the dead letters, each with its reason."""
    served.drop("bad.md", "---\nto: nobody\n---\n\nfirst\n")
    served.reason("bad.md")
    served.drop("bad.md", "---\nto: nobody\n---\n\nsecond\n")
    served.reason("bad-2.md")
    assert "first" in (served.layout.deadletter / "bad.md").read_text()
    assert "second" in (served.layout.deadletter / "bad-2.md").read_text()


def test_a_file_that_changes_while_it_is_refused_is_looked_at_again(served: Pool) -> None:
    """A bad drop that its writer mends in place within the second is accepted, not refused."""
    path = served.layout.postoffice / "mended.md"
    path.write_text("---\nto: a\n")
    place_whole(path, "---\nto: a\n---\n\nhello\n")
    served.settled("mended")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read(served: Pool) -> None:
    """A drop without read permission is refused, with the reason."""
    path = served.layout.postoffice / ".secret"
    path.write_text("---\nto: a\n---\n\nhello\n")
    path.chmod(0)
    path.rename(served.layout.postoffice / "secret.md")
    assert "Permission denied" in served.reason("secret.md")
    _is_well(served, "secret")
