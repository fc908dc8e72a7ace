"""The journal: the append-only log of events, the only truth about states. Pure I/O: it does not know what events mean.

One writer, who holds the pool's lock (`lock`). `journal/` holds segments (`segment`) and snapshots (`snapshot`); what a
start reads is told by `replay`, what is done about damage by `repair`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from agentpool.model.errors import JournalCutError, JournalError
from agentpool.pool import atomic
from agentpool.pool.live_files import LiveFiles
from agentpool.pool.record import Place, Record, seal_record, unseal_record
from agentpool.pool.replay import Replay
from agentpool.pool.segment import REPAIR_TIP, Segment, create_segment
from agentpool.pool.snapshot import create_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

SEGMENT_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Recovery:
    """What a journal held when it was opened. Take the snapshot first, then the records.

    Args:
        snapshot: the items of the newest snapshot, which is checked before the first; None where there is none.
        snapshot_seq: the last record that it covers, or 0.
        records: those after it. When this iterator has come to its end, all that it gave is on the disk, and the
            journal can be appended to.
        notes: what a person should know, e.g. of a torn last line; complete when `records` is at its end.
    """

    snapshot: Iterator[dict[str, Any]] | None
    snapshot_seq: int
    records: Iterator[Record]
    notes: list[str]


class Journal:
    """A journal open for writing.

    Blocking, and to be called from one thread at a time; only `read` may be called from others meanwhile.

    Attributes:
        notes: what a person should know of what happened since it was opened; the caller may clear it.
    """

    def __init__(self, directory: Path, files: LiveFiles, segment_bytes: int) -> None:
        self._directory = directory
        self._files = files
        self._segment_bytes = segment_bytes
        self._number = max(files.segments, default=0)
        self._active: Segment | None = None
        self._size = 0
        self._seq = 0
        self._recovered = False
        self.notes: list[str] = []

    @classmethod
    def open(cls, directory: Path, *, segment_bytes: int = SEGMENT_BYTES) -> tuple[Self, Recovery]:
        """Opens a journal, which is made when it is not there.

        Nothing in it is changed before `Recovery.records` has come to its end.

        Args:
            directory: the journal's, `.agent-pool/journal`.
            segment_bytes: a segment of this size is followed by a new one.

        Raises:
            JournalError: a segment's header is unreadable, or a file cannot be opened.
        """
        try:
            if not directory.is_dir():
                directory.mkdir(parents=True)
                atomic.sync_directory(directory.parent)
            replay = Replay.open(directory, writable=True)
            files = LiveFiles(directory, replay.segments, replay.snapshots)
        except OSError as error:
            raise _failed("opened", directory, error) from error
        journal = cls(directory, files, segment_bytes)
        return journal, Recovery(replay.snapshot(), replay.snapshot_seq, journal._recover(replay), replay.notes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def last_seq(self) -> int:
        """The seq of the last record that is acknowledged; 0 where there is none."""
        return self._seq

    @property
    def snapshot_seq(self) -> int:
        """The last record that the newest snapshot covers; 0 where there is none."""
        return max(self._files.snapshots, default=0)

    def close(self) -> None:
        """Closes the files. What was acknowledged is on the disk already."""
        self._active = None
        self._files.close()

    def append(self, events: Sequence[tuple[str, Mapping[str, object]]], at: float) -> list[Record]:
        """Appends events and returns when all of them are on the disk: one write and one sync for all.

        The events of one call are not one unit: after a crash in the middle of the call any number of the first of them
        may be there. What must be together belongs into one event.

        Args:
            events: names, and fields that JSON can hold.
            at: seconds since the epoch.

        Returns:
            The records exactly as a replay will give them.

        Raises:
            JournalError: none of the events counts. Where the disk was the reason (`__cause__` is the OSError) the
                segment is finished, and a later call will begin a new one.
        """
        self._require_recovered()
        lines = [seal_record(seq, at, name, data) for seq, (name, data) in enumerate(events, start=self._seq + 1)]
        if not lines:
            return []
        self.restore()
        segment = self._writable()
        offset = self._size
        records = []
        for line in lines:
            try:
                records.append(unseal_record(line, Place(segment.number, offset, len(line))))
            except ValueError as error:
                raise JournalError(f"an event cannot be read back from the line it makes: {error}") from error
            offset += len(line)
        try:
            atomic.write_all(segment.fd, b"".join(lines))
            atomic.sync(segment.fd)
        except OSError as error:
            self._finish(segment)
            raise _failed("appended to", segment.path, error) from error
        self._size = offset
        self._seq += len(lines)
        return records

    def read(self, place: Place) -> Record:
        """One record again, straight from its place.

        Raises:
            JournalError: its segment was pruned, or the line is damaged.
        """
        try:
            line = self._files.read(*place)
        except OSError as error:
            raise _failed("read", self._directory, error) from error
        if line is None:
            raise JournalError(f"{self._directory} has no segment {place.segment} any more")
        try:
            return unseal_record(line, place)
        except ValueError as error:
            problem = f"segment {place.segment} of {self._directory}, byte {place.offset}: {error}"
            raise JournalError(problem, tip=REPAIR_TIP) from None

    def write_snapshot(self, lines: Iterable[Mapping[str, object]], seq: int) -> None:
        """Writes a snapshot, durable, and begins a new segment.

        Args:
            lines: what the records up to `seq` come to; taken one after the other.
            seq: a record that is acknowledged, not older than the last snapshot.

        Raises:
            JournalError: there is no new snapshot; the journal goes on with the ones it had.
        """
        self._require_recovered()
        if not self.snapshot_seq <= seq <= self._seq:
            span = f"from {self.snapshot_seq} to {self._seq}"
            raise JournalError(f"a snapshot of {self._directory} can cover records {span}, not {seq}")
        self.restore()
        # The segment first: the snapshot names it, so that a start can tell when it is missing.
        segment = self._active
        if segment is None or self._size > segment.start:
            segment = self._begin_segment()
        try:
            self._files.add_snapshot(create_snapshot(self._directory, seq, segment.number, lines))
        except OSError as error:
            raise _failed("given a snapshot", self._directory, error) from error

    def prune(self, keep_from_seq: int) -> list[Path]:
        """Removes old snapshots, and whole segments from the oldest on, that nothing needs.

        The last two snapshots are kept, with all records after the older of them, whatever is asked for: with one
        snapshot or none nothing is removed.

        Args:
            keep_from_seq: the first record that somebody still wants to `read`.

        Returns:
            What was removed.

        Raises:
            JournalError: a file could not be read or removed; asking again is safe.
        """
        self._require_recovered()
        try:
            return self._files.prune(keep_from_seq)
        except OSError as error:
            raise _failed("pruned", self._directory, error) from error

    def restore(self) -> bool:
        """Writes anew, from descriptors that are still open, the files that somebody deleted.

        `append` and `write_snapshot` do it themselves; an idle supervisor calls it now and then. A crash in the middle
        leaves a journal that a start finds damaged, never one that is quietly shorter.

        Returns:
            Whether anything was missing (with a note then).

        Raises:
            JournalError: it could not be written; the descriptors are still open, and a later call tries again.
        """
        self._require_recovered()
        try:
            written = self._files.restore()
        except OSError as error:
            raise _failed("written anew after somebody deleted it", self._directory, error) from error
        if written is None:
            return False
        self._active = None
        self.notes.append(
            f"{self._directory} was deleted, whole or in part, under the supervisor: "
            f"its {written} missing files were written anew, nothing is lost"
        )
        return True

    def _recover(self, replay: Replay) -> Iterator[Record]:
        try:
            yield from replay.records()
            tail = replay.tail
            if tail is None:
                return
            atomic.remove_leftovers(self._directory)
            self._seq = tail.seq
            if self._number:
                segment = self._files.segments[self._number]
                if tail.torn:
                    torn = b"".join(atomic.read_chunks(segment.fd, tail.offset))
                    path = atomic.place_new(self._directory / f"torn-{tail.seq + 1}.bin", torn)
                    os.ftruncate(segment.fd, tail.offset)
                    replay.notes.append(f"those {tail.torn} bytes are now in {path}")
                # A killed writer's last lines may be in the kernel's memory only; effects will follow from them.
                atomic.sync(segment.fd)
                if tail.segment_seq == tail.seq:
                    self._active, self._size = segment, tail.offset
            atomic.sync_directory(self._directory)
        except OSError as error:
            raise _failed("recovered", self._directory, error) from error
        self._recovered = True

    def _require_recovered(self) -> None:
        if not self._recovered:
            raise JournalError(f"the records of {self._directory} must be read to their end before it is written to")

    def _writable(self) -> Segment:
        """The segment to append to: a new one where the last is full, finished or not as it was left."""
        segment = self._active
        if segment is None or self._size >= self._segment_bytes:
            return self._begin_segment()
        size = os.fstat(segment.fd).st_size
        if size == self._size:
            return segment
        self._finish(segment)
        if size < self._size:
            problem = f"{segment.path} was cut from {self._size} to {size} bytes: acknowledged records are gone"
            raise JournalCutError(problem, tip=REPAIR_TIP)
        self.notes.append(f"{segment.path} held {size - self._size} bytes too many, which this journal did not write")
        return self._begin_segment()

    def _begin_segment(self) -> Segment:
        # Should this fail, the file may be there nevertheless: then its header voids what its predecessor gets from now
        # on. So nothing more goes into that one, and each number is used once.
        self._active = None
        self._number += 1
        try:
            segment = create_segment(self._directory, self._number, self._seq)
        except OSError as error:
            raise _failed("given a new segment", self._directory, error) from error
        self._files.add_segment(segment)
        self._active, self._size = segment, segment.start
        return segment

    def _finish(self, segment: Segment) -> None:
        """Takes the segment out of use behind its last acknowledged record; its successor's header will void the rest.

        Cutting the rest off as well makes a restart forget it even when no successor could be written before.
        """
        self._active = None
        try:
            if os.fstat(segment.fd).st_size > self._size:
                os.ftruncate(segment.fd, self._size)
        except OSError as error:
            self.notes.append(f"{segment.path} may hold an append that failed, from byte {self._size} on: {error}")


def _failed(action: str, path: Path, error: OSError) -> JournalError:
    reason = f"{error.strerror} (errno {error.errno})" if error.errno else str(error)
    return JournalError(f"{path} could not be {action}: {reason}", tip="look at the disk: df -h")
