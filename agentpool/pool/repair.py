"""Making a damaged journal readable again. Nothing is deleted: what cannot stay is moved aside, beside the rest.

The rule: the newest readable snapshot is the base, and from it on the longest sequence of good records without a gap is
kept. A record after a gap cannot be kept, because what it builds on is missing; it is moved aside whole, and `salvage`
reads it again. A segment whose header alone is damaged gets a new one.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from agentpool.model.errors import JournalError
from agentpool.pool import atomic
from agentpool.pool.replay import Replay
from agentpool.pool.segment import (
    End,
    Segment,
    create_segment,
    header,
    is_damage,
    list_segments,
    open_segment,
    scan,
    valid_records,
)
from agentpool.pool.snapshot import list_snapshots, open_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agentpool.pool.record import Record


def repair(directory: Path) -> list[str]:
    """Moves aside what keeps a journal from being opened. The caller holds the pool's lock.

    Interrupted, it can be called again.

    Args:
        directory: the journal's.

    Returns:
        What was done, a line each; empty for a sound journal.

    Raises:
        JournalError: there is neither a readable snapshot nor the first record, so nothing to begin from; or the files
            cannot be written. Where there is nothing to begin from, nothing was changed.
    """
    if not directory.exists():
        return []
    try:
        return _Repair(directory).run()
    except OSError as error:
        raise JournalError(f"{directory} could not be repaired: {error}") from error


def salvage(path: Path) -> Iterator[Record]:
    """The good records in a file that was moved aside, in whatever state the file is; their places mean nothing.

    Raises:
        OSError: the file cannot be read.
    """
    fd = os.open(path, os.O_RDONLY)
    try:
        yield from valid_records(fd, 0, 0)
    finally:
        os.close(fd)


class _Repair:
    """One pass over a journal's files: snapshots, headers, then the sequence of the records."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.done: list[str] = []

    def run(self) -> list[str]:
        """Does it all; returns what was done."""
        good, bad = self._snapshots()
        headless = self._headless()
        first = min((after for after in self._afters(headless) if after is not None), default=None)
        if not good and first != 0 and (bad or first is not None or headless):
            raise JournalError(
                f"{self.directory} has neither a readable snapshot nor the first record: nothing to begin from",
                tip=f"put {self.directory} back from a backup, or move it away to begin with an empty pool",
            )
        for path in bad:
            self._set_aside(path)
        for path, number, after in headless:
            self._give_header(path, number, after)
        self._keep_sequence(*(good[-1] if good else (0, None)))
        if self.done:
            self._prove()
        return self.done

    def _snapshots(self) -> tuple[list[tuple[int, int]], list[Path]]:
        """The seq and the first segment of each sound snapshot, oldest first, and the files of the others."""
        good: list[tuple[int, int]] = []
        bad: list[Path] = []
        for seq, path in list_snapshots(self.directory):
            snapshot = open_snapshot(path, seq)
            try:
                snapshot.check()
                good.append((seq, snapshot.segment()))
            except JournalError as error:
                if not is_damage(error):
                    raise
                bad.append(path)
            finally:
                os.close(snapshot.fd)
        return good, bad

    def _headless(self) -> list[tuple[Path, int, int | None]]:
        """The segments without a readable header, and after which record each seems to begin."""
        headless: list[tuple[Path, int, int | None]] = []
        for number, path in list_segments(self.directory):
            try:
                os.close(open_segment(path, number, writable=False).fd)
            except JournalError as error:
                if not is_damage(error):
                    raise
                record = next(salvage(path), None)
                # The first segment begins before the first record, also when none can be read.
                headless.append((path, number, record.seq - 1 if record else 0 if number == 1 else None))
        return headless

    def _afters(self, headless: list[tuple[Path, int, int | None]]) -> Iterator[int | None]:
        unreadable = {path for path, _, _ in headless}
        for number, path in list_segments(self.directory):
            if path not in unreadable:
                segment = open_segment(path, number, writable=False)
                os.close(segment.fd)
                yield segment.after
        yield from (after for _, _, after in headless)

    def _give_header(self, path: Path, number: int, after: int | None) -> None:
        if after is None:
            self._set_aside(path)
            return
        kept = atomic.link_new(path, _aside(path))
        fd = os.open(path, os.O_RDONLY)
        try:
            record = next(valid_records(fd, number, 0), None)
            records = atomic.read_chunks(fd, record.place.offset) if record else ()
            atomic.write(path, header(number, after) + b"".join(records), durable=True)
        finally:
            os.close(fd)
        self.done.append(f"{path} got a new header; what it was before is {kept}")

    def _keep_sequence(self, since: int, begun: int | None) -> None:
        """Keeps what follows the snapshot without a gap, and moves the rest aside."""
        with Replay.open(self.directory, writable=True) as replay:
            older = [segment for segment in replay.segments if segment.after <= since]
            # Of those that begin before the base, only the last can hold what follows it.
            chain = older[-1:] + replay.segments[len(older) :] if older else []
            kept, rest, seq = older, replay.segments[len(older) :], since
            for index, segment in enumerate(chain):
                until = chain[index + 1].after if index + 1 < len(chain) else None
                end = _end(segment, since, until)
                kept, rest, seq = older + chain[1 : index + 1], chain[index + 1 :], max(end.seq, since)
                # A torn tail is not damage: opening the journal deals with it.
                torn = until is None and next(valid_records(segment.fd, 0, end.offset), None) is None
                if end.problem is not None and not torn:
                    self._cut(segment, end.offset)
                    break
            for segment in rest:
                self._set_aside(segment.path)
            if begun is not None and all(segment.number != begun for segment in kept):
                after = next((segment.after for segment in kept if segment.number > begun), seq)
                os.close(create_segment(self.directory, begun, after).fd)
                self.done.append(f"segment {begun}, which was missing, was begun anew after record {after}")

    def _cut(self, segment: Segment, offset: int) -> None:
        tail = b"".join(atomic.read_chunks(segment.fd, offset))
        if not tail:
            return
        path = atomic.place_new(_aside(segment.path), tail)
        os.ftruncate(segment.fd, offset)
        atomic.sync(segment.fd)
        self.done.append(f"{segment.path} was cut at byte {offset}; {_content(path)}")

    def _set_aside(self, path: Path) -> None:
        placed = atomic.move_new(path, _aside(path))
        self.done.append(f"{path} was taken out of the journal; {_content(placed)}")

    def _prove(self) -> None:
        with Replay.open(self.directory) as replay:
            for _ in replay.snapshot() or ():
                pass
            for _ in replay.records():
                pass


def _end(segment: Segment, since: int, until: int | None) -> End:
    """Where the good part of a segment ends."""
    records = scan(segment, since=since, until=until)
    while True:
        try:
            next(records)
        except StopIteration as stop:
            end: End = stop.value
            return end


def _aside(path: Path) -> Path:
    return path.with_name(f"damaged-{path.name}")


def _content(path: Path) -> str:
    count = sum(1 for _ in salvage(path))
    return f"what was there is {path}, with {count} good records"
