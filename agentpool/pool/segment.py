"""One file of the journal: `segment-00000007.jsonl`, a header line and then records.

The header, `{"segment":7,"after":1234,"format":1,"crc":"…"}`, says after which record the segment begins, and with that
it ends its predecessor: **what lies in an older segment beyond `after` is void**. That is how an append that failed (a
full disk, a sync that was refused) is taken back without touching the file that failed: the next append opens a new
segment after the last record that was acknowledged. A segment appears with its header or not at all.
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentpool.model.errors import JournalError
from agentpool.pool import atomic
from agentpool.pool.record import Place, Record, seal, unseal, unseal_record

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

FORMAT = 1
REPAIR_TIP = "agentpool doctor --repair"

_NAME = re.compile(r"segment-(\d{8,})\.jsonl")
_BUFFER_BYTES = 1 << 20
_HEADER_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Segment:
    """An open segment.

    Args:
        number: of the file; each new one has a higher number.
        after: the seq of the last record before it, 0 where there is none.
        start: the offset of its first record in bytes.
        path: its name.
        fd: a descriptor for reading, and for appending where it was opened so.
    """

    number: int
    after: int
    start: int
    path: Path
    fd: int


@dataclass(frozen=True, slots=True)
class End:
    """Where the good part of a segment ends.

    Args:
        seq: of the last good record, or the segment's `after`.
        offset: of the first byte that is not good, or not there.
        line: the number of that line, counted from 1.
        problem: what is wrong there; None at the end of the file and before what is void.
        skipped: unreadable lines before it that a snapshot covers.
    """

    seq: int
    offset: int
    line: int
    problem: str | None = None
    skipped: int = 0


def damage(path: Path, offset: int, line: int, problem: str) -> JournalError:
    """The error that stops a start: the file, the place in it, and the command that repairs it."""
    return JournalError(f"{path}, byte {offset}, line {line}: {problem}", tip=REPAIR_TIP)


def is_damage(error: JournalError) -> bool:
    """Whether `repair` is the answer to the error, as against a newer format or a file that cannot be opened."""
    return error.tip == REPAIR_TIP


def segment_path(directory: Path, number: int) -> Path:
    """The name of a segment."""
    return directory / f"segment-{number:08d}.jsonl"


def list_segments(directory: Path) -> list[tuple[int, Path]]:
    """The numbers and names of the segments in a directory, oldest first.

    Raises:
        OSError: the directory cannot be read.
    """
    matches = ((_NAME.fullmatch(path.name), path) for path in directory.iterdir())
    return sorted((int(match[1]), path) for match, path in matches if match)


def header(number: int, after: int) -> bytes:
    """A segment's first line."""
    return seal({"segment": number, "after": after, "format": FORMAT})


def create_segment(directory: Path, number: int, after: int) -> Segment:
    """A new segment that holds only its header, durable, open for appending.

    Raises:
        OSError: it could not be made; where the file is there nevertheless, it is an empty segment and does no harm.
    """
    path, first = segment_path(directory, number), header(number, after)
    return Segment(number, after, len(first), path, atomic.publish(path, (first,)))


def open_segment(path: Path, number: int, *, writable: bool) -> Segment:
    """Opens a segment and reads its header.

    Raises:
        JournalError: the header is unreadable or of another format.
        OSError: the file cannot be opened.
    """
    fd = os.open(path, os.O_RDWR | os.O_APPEND if writable else os.O_RDONLY)
    with contextlib.ExitStack() as undo:
        undo.callback(os.close, fd)
        first, fields = read_header(path, fd)
        after = fields.get("after")
        if fields.get("segment") != number or not isinstance(after, int):
            raise damage(path, 0, 1, "the header belongs to another segment")
        undo.pop_all()
        return Segment(number, after, len(first), path, fd)


def read_header(path: Path, fd: int) -> tuple[bytes, dict[str, Any]]:
    """The first line of a segment or a snapshot, and its fields.

    Raises:
        JournalError: it is unreadable, or of another format.
        OSError: the file cannot be read.
    """
    line = b"".join(os.pread(fd, _HEADER_BYTES, 0).partition(b"\n")[:2])
    try:
        fields = unseal(line)
    except ValueError as error:
        raise damage(path, 0, 1, f"the header is unreadable: {error}") from None
    if fields.get("format") != FORMAT:
        raise JournalError(
            f"{path} has format {fields.get('format')}, and this program reads {FORMAT}",
            tip="start the version of agentpool that wrote it",
        )
    return line, fields


def scan(segment: Segment, *, since: int, until: int | None) -> Generator[Record, None, End]:
    """The records of a segment in order, each one checked, as far as they are good.

    Args:
        segment: it is read from the file as it is now; one scan of a segment at a time.
        since: records up to this seq are covered by a snapshot: they are not given, and may be unreadable.
        until: `after` of the next segment: what lies beyond is void. None for the last segment.

    Returns:
        Where the good part ends.

    Raises:
        OSError: the file cannot be read.
    """
    seq, offset, line_number, skipped = segment.after, segment.start, 1, 0
    with open(segment.fd, "rb", buffering=_BUFFER_BYTES, closefd=False) as file:
        file.seek(offset)
        for line in file:
            if seq == until:
                return End(seq, offset, line_number + 1, skipped=skipped)
            line_number += 1
            try:
                record = unseal_record(line, Place(segment.number, offset, len(line)))
            except ValueError as error:
                if seq >= since:
                    return End(seq, offset, line_number, str(error), skipped)
                skipped += 1
            else:
                # A jump is harmless where the snapshot covers all that was jumped over.
                if record.seq != seq + 1 and not seq < record.seq <= since + 1:
                    problem = f"record {seq + 1} is due here, and {record.seq} was found"
                    return End(seq, offset, line_number, problem, skipped)
                seq = record.seq
                if seq > since:
                    yield record
            offset += len(line)
    missing = None if until is None or seq == until else f"records {seq + 1} to {until} are missing"
    return End(seq, offset, line_number + 1, missing, skipped)


def valid_records(fd: int, number: int, start: int) -> Iterator[Record]:
    """Every line from `start` to the end of the file that is a good record, whatever lies between.

    Raises:
        OSError: the file cannot be read.
    """
    with open(fd, "rb", buffering=_BUFFER_BYTES, closefd=False) as file:
        file.seek(start)
        offset = start
        for line in file:
            with contextlib.suppress(ValueError):
                yield unseal_record(line, Place(number, offset, len(line)))
            offset += len(line)
