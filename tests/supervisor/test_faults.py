"""What a disk, a clock or another program does at the worst moment."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from tests.supervisor.faults import fault
from tests.supervisor.served import eventually

if TYPE_CHECKING:
    from tests.supervisor.served import Pool

_WAITS = """
[[play]]
task = "t"
steps = [ { append = { path = "played", text = "$run " } }, { say = "I begin." }, { wait_for = "go" } ]
"""


def test_the_disk_is_full_right_after_a_spawn(pool: Pool) -> None:
    """A run whose mark cannot be written lives nevertheless: it is not started again, not even after a crash."""
    pool.script(_WAITS)
    code = """
        import errno, os
        pwrite = os.pwrite
        def full(fd, data, offset):
            if os.readlink(f"/proc/self/fd/{fd}").endswith("/alive"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return pwrite(fd, data, offset)
        os.pwrite = full
    """
    pool.start(**fault(pool, code))
    pool.send("t", "a")
    pool.says("t.1", "I begin.")
    pool.restart()
    pool.touch("go")
    pool.settled("t")
    assert (pool.project / "played").read_text() == "t.1 "
    assert pool.runs_of("t") == ["t.1"]


def test_a_journal_that_is_cut_under_a_living_supervisor(pool: Pool) -> None:
    """What was known is written anew: nothing is lost, the next start works, and a status says what happened."""
    pool.script(_WAITS)
    pool.start()
    pool.send("old", "b")
    pool.settled("old")
    pool.send("t", "a")
    pool.says("t.1", "I begin.")
    pool.send("blocked", "b", "words of the blocked one", depends_on=["t"])
    [segment] = pool.layout.journal.glob("segment-*.jsonl")
    os.truncate(segment, segment.stat().st_size // 3)
    pool.send("new", "b")
    pool.settled("new")
    assert any("was cut" in each for each in pool.status()["warnings"])
    pool.restart()
    pool.touch("go")
    assert pool.settled("t")["attempt"] == 1
    pool.settled("blocked")
    assert "words of the blocked one" in pool.answer("blocked")[1]
    assert pool.states() == dict.fromkeys(("old", "t", "blocked", "new"), "done")


@pytest.mark.parametrize("header", ["---\nto: a\n---\n\n", ""])
def test_a_drop_is_replaced_as_it_is_taken_and_the_supervisor_dies(pool: Pool, header: str) -> None:
    """Both mails are there in the end: the one that was read as a task, the other as a task or a dead letter."""
    code = f"""
        import os
        from agentpool.pool import dropbox
        take_away = dropbox.take_away
        def replaced(found, target):
            other = found.path + ".new"
            with open(other, "w") as file:
                file.write({header + "second words"!r})
            os.rename(other, found.path)
            take_away(found, target)
            os._exit(9)
        dropbox.take_away = replaced
    """
    pool.start(**fault(pool, code))
    pool.drop("t.md", "first words", to="a")
    assert pool.ended() == 9
    pool.start()
    assert "first words" in pool.answer("t")[1]
    if header:
        assert "second words" in pool.answer("returned")[1]
    else:
        assert pool.reason("returned.md")
        assert "second words" in (pool.layout.deadletter / "returned.md").read_text()
    assert not list(pool.layout.mail.iterdir())


@pytest.mark.parametrize("code", [errno.EROFS, errno.ENOSPC])
def test_a_start_on_a_disk_that_takes_nothing(pool: Pool, code: int) -> None:
    """A start that cannot write says so in one line, and leaves all as it was."""
    pool.drop("t.md", "hello\n", to="a")
    refuses = f"""
        import os
        opened, written, made = os.open, os.write, os.mkdir
        def refuse(path):
            raise OSError({code}, os.strerror({code}), str(path))
        def is_ours(path):
            return ".agent-pool/" in os.fsdecode(path)
        def open_(path, flags, *rest, **options):
            if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and is_ours(path):
                refuse(path)
            return opened(path, flags, *rest, **options)
        def mkdir(path, *rest, **options):
            if is_ours(path) and not os.path.isdir(path):
                refuse(path)
            return made(path, *rest, **options)
        os.open, os.mkdir = open_, mkdir
    """
    pool.start(wait=False, **fault(pool, refuses))
    assert pool.ended() != 0
    assert os.strerror(code) in pool.log()
    assert "Traceback" not in pool.log()
    pool.start()
    pool.settled("t")


def test_a_start_whose_effects_the_disk_refuses(pool: Pool) -> None:
    """What an earlier supervisor did not get to waits for the disk; the pool is served and says so meanwhile."""
    dies = """
        import os
        from agentpool.supervisor.views import Views
        Views.catch_up = lambda self: self._pending and self.is_behind and any(
            entry.event.name == "mail.accepted" for entry, *_ in self._pending) and os._exit(9)
    """
    pool.start(**fault(pool, dies))
    pool.drop("n.md", "---\nid: n\nto: human\ntype: notify\n---\n\nnews\n")
    assert pool.ended() == 9
    assert pool.human_inbox() == []
    refuses = f"""
        import errno, os
        from agentpool.pool import atomic
        write = atomic.write
        def full(path, *rest, **options):
            if "human/inbox" in str(path) and not os.path.exists({str(pool.home / "room")!r}):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            return write(path, *rest, **options)
        atomic.write = full
    """
    pool.start(**fault(pool, refuses))
    assert "No space left" in pool.hold("disk")["reason"]
    (pool.home / "room").touch()
    eventually(lambda: pool.human_inbox() == ["n.md"], "the notify")
    eventually(lambda: not pool.status()["holds"], "the hold ends")
    assert not list(pool.layout.postoffice.iterdir())


def test_no_watch_is_left_in_the_system(pool: Pool) -> None:
    """Where the system has no inotify instance left the pool is served all the same; the sweep finds drops."""
    code = """
        import errno, os
        from watchdog.observers import inotify_c
        def refuse(*_):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        inotify_c.InotifyFD = refuse
    """
    pool.start(**fault(pool, code))
    assert "nothing can be watched" in pool.log()
    pool.drop("t.md", "hello\n", to="a")
    pool.settled("t")


def test_the_word_of_who_serves_is_said_again(pool: Pool) -> None:
    """A disk that refuses once does not end the guard of `run/`: what is removed there still comes back."""
    code = """
        import errno, os
        from agentpool.pool import atomic
        write, count = atomic.write, 0
        def once(path, *rest, **options):
            global count
            if path.name == "supervisor.json":
                count += 1
                if count == 2:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            return write(path, *rest, **options)
        atomic.write = once
    """
    pool.start(**fault(pool, code))
    pool.layout.supervisor.unlink()
    eventually(pool.layout.supervisor.exists, "supervisor.json comes back")
    pool.layout.socket.unlink()
    eventually(lambda: pool.is_served_by(pool.supervisor.pid), "the socket comes back")
