"""The journal's files, each kept open as long as it is needed: what somebody deletes can then be written anew."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

from agentpool.pool import atomic
from agentpool.pool.replay import KEPT_SNAPSHOTS
from agentpool.pool.segment import Segment
from agentpool.pool.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_File = TypeVar("_File", Segment, Snapshot)


class LiveFiles:
    """The open segments and snapshots of one journal.

    Args:
        directory: the journal's; it is there.
        segments: open; they belong to this object from now on.
        snapshots: likewise.

    Attributes:
        segments: by number.
        snapshots: by seq.
    """

    def __init__(self, directory: Path, segments: Iterable[Segment], snapshots: Iterable[Snapshot]) -> None:
        self.directory = directory
        self.segments = {segment.number: segment for segment in segments}
        self.snapshots = {snapshot.seq: snapshot for snapshot in snapshots}
        self._directory_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        # Guards descriptors against being closed, and their numbers reused, under a `read` in another thread.
        self._descriptors = threading.Lock()

    def close(self) -> None:
        """Closes everything."""
        with self._descriptors:
            for fd in (*(file.fd for file in self._newest_first()), self._directory_fd):
                os.close(fd)
            self.segments, self.snapshots = {}, {}

    def add_segment(self, segment: Segment) -> None:
        """Keeps a new segment."""
        self.segments[segment.number] = segment

    def add_snapshot(self, snapshot: Snapshot) -> None:
        """Keeps a new snapshot, also in the place of one of the same seq."""
        with self._descriptors:
            replaced = self.snapshots.get(snapshot.seq)
            self.snapshots[snapshot.seq] = snapshot
            if replaced:
                os.close(replaced.fd)

    def read(self, segment: int, offset: int, length: int) -> bytes | None:
        """Bytes of a segment; None when there is no such segment. May be called from any thread.

        Raises:
            OSError: they cannot be read.
        """
        with self._descriptors:
            file = self.segments.get(segment)
            return None if file is None else os.pread(file.fd, length, offset)

    def prune(self, keep_from_seq: int) -> list[Path]:
        """See `Journal.prune`.

        Raises:
            JournalError: the older kept snapshot has an unreadable header; nothing was removed.
            OSError: a file could not be removed.
        """
        seqs = sorted(self.snapshots)
        if len(seqs) < KEPT_SNAPSHOTS:
            return []
        older = self.snapshots[seqs[-KEPT_SNAPSHOTS]]
        # The segment that the snapshot names stays also where it is empty: a start looks for it.
        begun, unneeded = older.segment(), min(keep_from_seq - 1, older.seq)
        removed = [self._remove(self.snapshots, seq) for seq in seqs[:-KEPT_SNAPSHOTS]]
        for number, successor in pairwise(sorted(self.segments)):
            if number >= begun or self.segments[successor].after > unneeded:
                break
            removed.append(self._remove(self.segments, number))
        if removed:
            atomic.sync_directory(self.directory)
        return removed

    def restore(self) -> int | None:
        """Writes anew what was deleted, moved away or replaced; a stranger's file in its place is moved aside.

        Returns:
            How many files were written; None when all was in order.

        Raises:
            OSError: it could not be written; what is still missing is written by the next call.
        """
        replaced = not _leads_to(self.directory, self._directory_fd)
        if not replaced and all(os.fstat(file.fd).st_nlink for file in self._newest_first()):
            return None
        if replaced:
            self.directory.mkdir(exist_ok=True)
            atomic.sync_directory(self.directory.parent)
        missing = [file for file in self._newest_first() if not _leads_to(file.path, file.fd)]
        for file in missing:
            self._rewrite(file)
        if replaced:
            fd = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
            os.close(self._directory_fd)
            self._directory_fd = fd
        return len(missing)

    def _newest_first(self) -> list[Segment | Snapshot]:
        """An order in which every incomplete set is found damaged at a start, and not taken for an older journal."""
        snapshots = [self.snapshots[seq] for seq in sorted(self.snapshots, reverse=True)]
        segments = [self.segments[number] for number in sorted(self.segments, reverse=True)]
        return [*snapshots[:1], *segments, *snapshots[1:]]

    def _rewrite(self, file: Segment | Snapshot) -> None:
        if file.path.exists():
            atomic.move_new(file.path, file.path.with_name(f"foreign-{file.path.name}"))
        fd = atomic.publish(file.path, atomic.read_chunks(file.fd))
        with self._descriptors:
            if isinstance(file, Segment):
                self.segments[file.number] = replace(file, fd=fd)
            else:
                self.snapshots[file.seq] = replace(file, fd=fd)
            os.close(file.fd)

    def _remove(self, files: dict[int, _File], key: int) -> Path:
        path = files[key].path
        path.unlink(missing_ok=True)
        with self._descriptors:
            os.close(files.pop(key).fd)
        return path


def _leads_to(path: Path, fd: int) -> bool:
    """Whether the path names what the descriptor has open."""
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except FileNotFoundError:
        return False
