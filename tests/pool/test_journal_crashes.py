"""Whatever stops the writer, and wherever: what was acknowledged is there, and nothing else is in between.

The state that the journal of these tests comes to is a list of numbers in ascending order, so "a clean prefix" is
easily seen: what is recovered begins with all that was acknowledged and goes on with what was tried next, without a
hole.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Self

import pytest

from agentpool.model.errors import JournalError
from agentpool.pool.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

AT = 1_795_222_923.0
SEGMENT_BYTES = 400


class Cut(BaseException):
    """The process is gone: nothing that it does from now on reaches the disk."""


class Disk:
    """The calls that change a disk, counted, and stopped or failed where a test wants it; it knows what was synced.

    Args:
        directory: what is in it counts as synced.
        stop: is asked with the number of each call before it happens, and its name; it may raise. A write is done by
            half before the error of its second half is raised.
    """

    CALLS = ("open", "write", "fdatasync", "fsync", "replace", "link", "unlink", "ftruncate", "mkdir")

    def __init__(self, directory: Path, stop: Callable[[int, str], None]) -> None:
        self.stop = stop
        self.count = 0
        self.dead = False
        self.real: dict[str, Any] = {name: getattr(os, name) for name in self.CALLS}
        self.open_fds: dict[int, int] = {}
        self.synced_bytes: dict[int, bytes] = {}
        self.synced_names: dict[str, int] = {}
        for path in directory.iterdir() if directory.is_dir() else ():
            self.keep(os.open(path, os.O_RDONLY))
            self.synced_bytes[path.stat().st_ino] = path.read_bytes()
            self.synced_names[path.name] = path.stat().st_ino

    def __enter__(self) -> Self:
        for name in self.CALLS:
            setattr(os, name, self.wrapped(name))
        return self

    def __exit__(self, *_: object) -> None:
        for name, function in self.real.items():
            setattr(os, name, function)

    def close(self) -> None:
        """Closes the descriptors that were kept to look at files after their names were gone."""
        for fd in self.open_fds.values():
            os.close(fd)

    def keep(self, fd: int) -> None:
        """Keeps an inode's bytes within reach."""
        self.open_fds.setdefault(os.fstat(fd).st_ino, fd)

    def wrapped(self, name: str) -> Callable[..., Any]:
        """The call with its counter before it and its bookkeeping behind it."""

        def call(*arguments: Any, **options: Any) -> Any:
            if name == "open" and not arguments[1] & os.O_CREAT:
                return self.real["open"](*arguments, **options)
            if self.dead:
                raise Cut
            self.count += 1
            try:
                self.stop(self.count, name)
            except BaseException as reason:
                self.dead = isinstance(reason, Cut)
                if name == "write":
                    self.real["write"](arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
                raise
            result = self.real[name](*arguments, **options)
            if name == "open":
                self.keep(os.dup(result))
                self.synced_bytes[os.fstat(result).st_ino] = b""
            elif name in ("fdatasync", "fsync"):
                self.sync(arguments[0])
            return result

        return call

    def sync(self, fd: int) -> None:
        """Remembers what a sync made safe."""
        status = os.fstat(fd)
        if stat.S_ISDIR(status.st_mode):
            self.synced_names = {name: os.stat(name, dir_fd=fd).st_ino for name in os.listdir(fd)}
        else:
            self.synced_bytes[status.st_ino] = os.pread(self.open_fds[status.st_ino], status.st_size, 0)

    def after_a_power_cut(self, directory: Path, target: Path, *, new_names: bool, part: float) -> None:
        """Makes `target` what may be left of `directory`.

        Args:
            directory: as the dead process saw it.
            target: is made.
            new_names: whether names that were not synced are there nevertheless.
            part: of the bytes that were not synced, how many are there.
        """
        target.mkdir()
        names = {path.name: path.stat().st_ino for path in directory.iterdir()} if new_names else self.synced_names
        for name, inode in names.items():
            fd = self.open_fds[inode]
            now, safe = os.pread(fd, os.fstat(fd).st_size, 0), self.synced_bytes[inode]
            (target / name).write_bytes(
                now[: len(safe) + int((len(now) - len(safe)) * part)] if len(now) >= len(safe) else now
            )


def workload(directory: Path, acknowledged: list[int], *, patient: bool = False) -> None:
    """Recovers, appends, takes snapshots, prunes; `acknowledged` grows by what the journal confirmed."""
    journal, recovery = Journal.open(directory, segment_bytes=SEGMENT_BYTES)
    with journal:
        state = [line["n"] for line in recovery.snapshot or ()]
        state += [record.data["n"] for record in recovery.records]
        acknowledged[:] = state
        tried = max(state, default=0)
        for step in range(1, 11):
            batch = list(range(tried + 1, tried + 1 + step % 3))
            tried += len(batch)
            try:
                journal.append([("counted", {"n": value}) for value in batch], AT)
                acknowledged += batch
                if step in (3, 6, 7):
                    journal.write_snapshot([{"n": value} for value in acknowledged], journal.last_seq)
                if step == 8:
                    journal.prune(journal.last_seq)
            except JournalError:
                if not patient:
                    raise


def recovered(directory: Path) -> list[int]:
    """What a start finds."""
    journal, recovery = Journal.open(directory, segment_bytes=SEGMENT_BYTES)
    with journal:
        values = [line["n"] for line in recovery.snapshot or ()]
        values += [record.data["n"] for record in recovery.records]
        assert journal.last_seq >= len(values)
        return values


def count_calls(directory: Path) -> int:
    """How many calls the workload makes on a copy of the directory."""
    copy = directory.with_name("counted")
    shutil.copytree(directory, copy)
    with Disk(copy, lambda *_: None) as disk:
        workload(copy, [])
    disk.close()
    return disk.count


@pytest.fixture(params=["empty", "torn"])
def beginning(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A directory before the workload: without anything, or left by a writer that was killed while it wrote."""
    directory = tmp_path / "beginning"
    directory.mkdir()
    if request.param == "torn":
        workload(directory, [])
        last = max(directory.glob("segment-*"))
        os.truncate(last, last.stat().st_size - 5)
        (directory / ".agentpool-0.tmp").write_bytes(b"left behind")
    return directory


def cut_at(number: int) -> Callable[[int, str], None]:
    """Kills the process at a call."""

    def stop(count: int, _: str) -> None:
        if count == number:
            raise Cut

    return stop


def test_a_cut_at_any_call_loses_nothing_that_was_acknowledged(beginning: Path, tmp_path: Path) -> None:
    """Killed, or without power, before or in the middle of every single call: a start finds a clean prefix."""
    calls = count_calls(beginning)
    assert calls > 40
    for number in range(1, calls + 1):
        directory = tmp_path / str(number)
        shutil.copytree(beginning, directory)
        acknowledged: list[int] = []
        with Disk(directory, cut_at(number)) as disk, pytest.raises(Cut):
            workload(directory, acknowledged)
        found = {}
        for new_names, part in ((False, 0.0), (False, 0.5), (False, 1.0), (True, 0.5)):
            left = tmp_path / "left"
            disk.after_a_power_cut(directory, left, new_names=new_names, part=part)
            found[new_names, part] = recovered(left)
            shutil.rmtree(left)
        disk.close()
        found["killed"] = recovered(directory)
        for how, values in found.items():
            assert values[: len(acknowledged)] == acknowledged, (number, how)
            assert values == list(range(1, len(values) + 1)), (number, how)
        again: list[int] = []
        workload(directory, again)
        assert recovered(directory) == again
        shutil.rmtree(directory)


def fail_from(number: int, times: int, code: int, *, spare: tuple[str, ...]) -> Callable[[int, str], None]:
    """Lets calls fail from one on, so many times, except those named."""

    def stop(count: int, name: str) -> None:
        if number <= count < number + times and name not in spare:
            raise OSError(code, os.strerror(code))

    return stop


@pytest.mark.parametrize(
    ("times", "code", "spare"),
    [(1, errno.EIO, ()), (5, errno.ENOSPC, ("ftruncate", "unlink")), (10_000, errno.ENOSPC, ("ftruncate", "unlink"))],
    ids=["once", "for-a-while", "for-ever"],
)
def test_what_failed_never_comes_back(
    beginning: Path, tmp_path: Path, times: int, code: int, spare: tuple[str, ...]
) -> None:
    """A failed append is an error, later ones succeed, and a start finds exactly what was acknowledged."""
    before = tmp_path / "before"
    shutil.copytree(beginning, before)
    untouched = recovered(before)
    for number in range(1, count_calls(beginning) + 1):
        directory = tmp_path / str(number)
        shutil.copytree(beginning, directory)
        acknowledged: list[int] = []
        with Disk(directory, fail_from(number, times, code, spare=spare)) as disk:
            try:
                workload(directory, acknowledged, patient=True)
            except JournalError as error:
                assert isinstance(error.__cause__, OSError)  # noqa: PT017 - it may also come to no error
                acknowledged = untouched
        disk.close()
        assert recovered(directory) == acknowledged, number
        shutil.rmtree(directory)


def test_a_failed_append_that_cannot_be_cut_off_is_void(tmp_path: Path) -> None:
    """The sync fails, and so does the cut: the lines stay in the file, and the next segment's header voids them."""
    journal, recovery = Journal.open(tmp_path)
    with journal:
        list(recovery.records)
        journal.append([("counted", {"n": 1})], AT)

        def stop(_: int, name: str) -> None:
            if name in ("fdatasync", "ftruncate"):
                raise OSError(errno.EIO, os.strerror(errno.EIO))

        told = r"segment-00000001\.jsonl could not be appended to: .*errno 5"
        with Disk(tmp_path, stop) as disk, pytest.raises(JournalError, match=told):
            journal.append([("counted", {"n": 666})], AT)
        disk.close()
        assert b"666" in (tmp_path / "segment-00000001.jsonl").read_bytes()
        assert "may hold an append that failed" in journal.notes[0]
        record = journal.append([("counted", {"n": 2})], AT)[0]
        assert (record.seq, record.place.segment) == (2, 2)
    assert recovered(tmp_path) == [1, 2]


def test_writing_anew_after_a_deletion_is_never_quietly_shorter(tmp_path: Path) -> None:
    """Cut in the middle of putting a deleted journal back, a start finds damage or everything, not an older state."""
    for number in itertools.count(1):
        directory = tmp_path / str(number)
        journal, recovery = Journal.open(directory, segment_bytes=120)
        list(recovery.records)
        for value in range(1, 9):
            journal.append([("counted", {"n": value})], AT)
            if value in (3, 6):
                journal.write_snapshot([{"n": known} for known in range(1, value + 1)], value)
        journal.prune(100)
        shutil.rmtree(directory)
        with Disk(directory, cut_at(number)) as disk, contextlib.suppress(Cut):
            journal.append([("counted", {"n": 9})], AT)
        disk.close()
        journal.close()
        if directory.is_dir() and list(directory.glob("s*")):
            try:
                assert recovered(directory) in (list(range(1, 9)), list(range(1, 10))), number
            except JournalError as error:
                assert "missing" in error.message  # noqa: PT017 - the other outcome is as good
        if not disk.dead:
            break
    assert number > 20


WRITER = """
import os, sys
from pathlib import Path
from agentpool.pool.journal import Journal

journal, recovery = Journal.open(Path(sys.argv[1]), segment_bytes=4000)
state = [line["n"] for line in recovery.snapshot or ()] + [record.data["n"] for record in recovery.records]
os.write(1, b"ready\\n")
while True:
    batch = list(range(len(state) + 1, len(state) + 2 + len(state) % 7))
    journal.append([("counted", {"n": value, "text": "x" * (value % 400)}) for value in batch], 1795222923.0)
    state += batch
    os.write(1, b"%d\\n" % state[-1])
    if len(state) % 40 < 8:
        journal.write_snapshot([{"n": value} for value in state], journal.last_seq)
        journal.prune(journal.last_seq)
"""


def acknowledgements(process: subprocess.Popen[bytes]) -> Iterator[int]:
    """The numbers that a writer confirms, as they come."""
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    for line in process.stdout:
        if line.endswith(b"\n"):
            yield int(line)


def test_a_killed_writer_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    """A real process, killed again and again at moments of chance while it writes to the same journal."""
    chance = random.Random(7)  # noqa: S311 - no secret
    for _ in range(12):
        command = [sys.executable, "-c", WRITER, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            confirmed = acknowledgements(process)
            seen = list(itertools.islice(confirmed, 1 + chance.randrange(60)))
            process.send_signal(signal.SIGKILL)
            seen += confirmed
        values = recovered(tmp_path)
        assert values == list(range(1, len(values) + 1))
        assert len(values) >= seen[-1]
