"""Reading a journal from its newest snapshot to its end, without changing a byte of it."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from agentpool.pool.segment import (
    Segment,
    damage,
    list_segments,
    open_segment,
    scan,
    segment_path,
    valid_records,
)
from agentpool.pool.snapshot import Snapshot, list_snapshots, open_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agentpool.pool.record import Record

#: So many snapshots, with the segments behind the older one, are kept: one to start from and one to fall back to.
KEPT_SNAPSHOTS = 2


@dataclass(frozen=True, slots=True)
class Tail:
    """How a journal ends.

    Args:
        seq: of the last record, or of the snapshot where nothing follows it.
        segment_seq: of the last record in the last segment; below `seq` where that segment lacks what the snapshot
            covers, so that nothing may be appended to it.
        offset: the end of that record, in bytes.
        torn: how many bytes lie behind it, without one good record: the mark of a writer that was killed.
    """

    seq: int
    segment_seq: int
    offset: int
    torn: int


class Replay:
    """A journal being read. It may belong to a living supervisor: its files are opened at once and read as they are.

    The snapshot's lines come first, then the records after it, each checked; both are read as they are asked for.

    Args:
        directory: the journal's; it need not be there.
        segments: oldest first.
        snapshots: the last two, oldest first.

    Attributes:
        notes: what a person should know of the state the files were in.
        tail: how the journal ends; None until `records` has come to its end.
    """

    __slots__ = ("directory", "notes", "segments", "snapshots", "tail")

    def __init__(self, directory: Path, segments: list[Segment], snapshots: list[Snapshot]) -> None:
        self.directory = directory
        self.segments = segments
        self.snapshots = snapshots
        self.notes: list[str] = []
        self.tail: Tail | None = None

    @classmethod
    def open(cls, directory: Path, *, writable: bool = False) -> Self:
        """Opens every segment and the last two snapshots.

        Args:
            directory: the journal's; one that is not there is an empty journal.
            writable: whether the segments are opened for appending too.

        Raises:
            JournalError: a segment's header is unreadable.
            OSError: a file cannot be opened.
        """
        segments: list[Segment] = []
        snapshots: list[Snapshot] = []
        if not directory.is_dir():
            return cls(directory, segments, snapshots)
        with contextlib.ExitStack() as undo:
            # Snapshots first: what a living writer prunes between the two steps was not needed by the newer ones.
            for seq, path in list_snapshots(directory)[-KEPT_SNAPSHOTS:]:
                snapshots.append(open_snapshot(path, seq))
                undo.callback(os.close, snapshots[-1].fd)
            for number, path in list_segments(directory):
                segments.append(open_segment(path, number, writable=writable))
                undo.callback(os.close, segments[-1].fd)
            undo.pop_all()
        return cls(directory, segments, snapshots)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def snapshot_seq(self) -> int:
        """The last record that the snapshot covers; 0 where there is no snapshot."""
        return self.snapshots[-1].seq if self.snapshots else 0

    def close(self) -> None:
        """Closes the files."""
        for fd in (*(segment.fd for segment in self.segments), *(snapshot.fd for snapshot in self.snapshots)):
            os.close(fd)
        self.segments, self.snapshots = [], []

    def snapshot(self) -> Iterator[dict[str, Any]] | None:
        """The newest snapshot's items (see `Snapshot.lines`); None where there is no snapshot."""
        return self.snapshots[-1].lines() if self.snapshots else None

    def records(self) -> Iterator[Record]:
        """The records after the snapshot, in order and without a gap. To be asked for once.

        A suffix of the last segment that holds no good record is what a killed writer leaves: it is passed over, with a
        note. Lines that the snapshot covers are not needed and may be unreadable, also with a note.

        Raises:
            JournalError: anything else is damaged or missing; the message names the file, the byte and the line.
            OSError: a file cannot be read.
        """
        since = self.snapshot_seq
        chain = self._chain()
        for segment, successor in zip(chain, [*chain[1:], None], strict=False):
            end = yield from scan(segment, since=since, until=successor.after if successor else None)
            if end.skipped:
                self.notes.append(f"{segment.path}: {end.skipped} unreadable lines that the snapshot covers")
            torn = 0
            if successor is None and end.problem is not None:
                torn = self._torn_bytes(segment, end.offset)
            if end.problem is not None and not torn:
                raise damage(segment.path, end.offset, end.line, end.problem)
            if successor is None:
                self.tail = Tail(max(end.seq, since), end.seq, end.offset, torn)
        if not chain:
            self.tail = Tail(0, 0, 0, 0)

    def _chain(self) -> list[Segment]:
        """The segments that hold what follows the snapshot."""
        if self.snapshots:
            snapshot = self.snapshots[-1]
            begun = snapshot.segment()
            if all(segment.number != begun for segment in self.segments):
                path = segment_path(self.directory, begun)
                raise damage(path, 0, 1, f"the segment is missing; {snapshot.path.name} says that it was begun")
        since = self.snapshot_seq
        for index in reversed(range(len(self.segments))):
            if self.segments[index].after <= since:
                return self.segments[index:]
        if self.segments:
            first = self.segments[0]
            raise damage(first.path, 0, 1, f"records {since + 1} to {first.after}, which come before it, are missing")
        return []

    def _torn_bytes(self, segment: Segment, offset: int) -> int:
        """The bytes from `offset` on, or 0 when there is a good record among them."""
        if next(valid_records(segment.fd, segment.number, offset), None) is not None:
            return 0
        torn = os.fstat(segment.fd).st_size - offset
        self.notes.append(
            f"{segment.path}: the last {torn} bytes, from byte {offset} on, are an append that was cut off; "
            f"they were never acknowledged and are left out"
        )
        return torn
