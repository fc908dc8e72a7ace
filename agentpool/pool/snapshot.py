"""A snapshot: `snapshot-000000001234.jsonl`, everything that the records up to number 1234 come to.

A header line with its own checksum, one line of JSON for each item, and a last line with the count of the items and the
CRC-32 of every byte before it. What the items mean is the caller's affair. It appears whole or not at all.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

from agentpool.model.errors import JournalError
from agentpool.pool import atomic
from agentpool.pool.record import encode, seal
from agentpool.pool.segment import FORMAT, damage, read_header

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_NAME = re.compile(r"snapshot-(\d{12,})\.jsonl")
_BUFFER_BYTES = 1 << 20
_LAST_LINE_BYTES = 256


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An open snapshot.

    Args:
        seq: of the last record that it covers.
        path: its name.
        fd: a descriptor for reading.
    """

    seq: int
    path: Path
    fd: int

    def segment(self) -> int:
        """The number of the segment that was begun for what follows this snapshot.

        Raises:
            JournalError: the header is unreadable, or of another format.
            OSError: the file cannot be read.
        """
        _, fields = read_header(self.path, self.fd)
        segment = fields.get("segment")
        if fields.get("snapshot") != self.seq or not isinstance(segment, int):
            raise damage(self.path, 0, 1, "the header belongs to another snapshot")
        return segment

    def lines(self) -> Iterator[dict[str, Any]]:
        """The items, once the whole file was checked: nothing is given of a snapshot that is damaged anywhere.

        Raises:
            JournalError: the snapshot is cut off or altered.
            OSError: the file cannot be read.
        """
        count = self.check()
        with open(self.fd, "rb", buffering=_BUFFER_BYTES, closefd=False) as file:
            file.seek(0)
            file.readline()
            for line in islice(file, count):
                yield json.loads(line)

    def check(self) -> int:
        """Reads the whole file once, against its checksum.

        Returns:
            How many items there are.

        Raises:
            JournalError, OSError: as `lines`.
        """
        self.segment()
        size = os.fstat(self.fd).st_size
        end = os.pread(self.fd, _LAST_LINE_BYTES, max(0, size - _LAST_LINE_BYTES))
        last = end[end.rfind(b"\n", 0, -1) + 1 :]
        rest, checksum, newlines = size - len(last), 0, 0
        for chunk in atomic.read_chunks(self.fd):
            body = chunk[:rest]
            checksum = crc32(body, checksum)
            newlines += body.count(b"\n")
            rest -= len(body)
        if last != _last_line(newlines - 1, checksum):
            problem = "the snapshot is cut off or altered: its last line does not match what stands before it"
            raise damage(self.path, size - len(last), newlines + 1, problem)
        return newlines - 1


def list_snapshots(directory: Path) -> list[tuple[int, Path]]:
    """The seqs and names of the snapshots in a directory, oldest first.

    Raises:
        OSError: the directory cannot be read.
    """
    matches = ((_NAME.fullmatch(path.name), path) for path in directory.iterdir())
    return sorted((int(match[1]), path) for match, path in matches if match)


def open_snapshot(path: Path, seq: int) -> Snapshot:
    """Opens a snapshot; nothing of it is read yet.

    Raises:
        OSError: it cannot be opened.
    """
    return Snapshot(seq, path, os.open(path, os.O_RDONLY))


def create_snapshot(directory: Path, seq: int, segment: int, lines: Iterable[Mapping[str, object]]) -> Snapshot:
    """Writes a snapshot, durable.

    Args:
        directory: the journal's.
        seq: of the last record that it covers.
        segment: the number of the segment that was begun for what follows.
        lines: the items; taken one after the other.

    Raises:
        JournalError: an item cannot be written as JSON; nothing was changed.
        OSError: the file could not be written.
    """
    path = directory / f"snapshot-{seq:012d}.jsonl"
    return Snapshot(seq, path, atomic.publish(path, _chunks(path, seq, segment, lines)))


def _chunks(path: Path, seq: int, segment: int, lines: Iterable[Mapping[str, object]]) -> Iterator[bytes]:
    buffer = bytearray(seal({"snapshot": seq, "segment": segment, "format": FORMAT}))
    checksum, count = 0, 0
    for count, item in enumerate(lines, start=1):
        try:
            buffer += encode(item)
        except (TypeError, ValueError, RecursionError) as error:
            raise JournalError(f"item {count} of {path} cannot be written as a line of JSON: {error}") from error
        buffer += b"\n"
        if len(buffer) >= _BUFFER_BYTES:
            checksum = crc32(buffer, checksum)
            yield bytes(buffer)
            buffer.clear()
    checksum = crc32(buffer, checksum)
    yield bytes(buffer) + _last_line(count, checksum)


def _last_line(count: int, checksum: int) -> bytes:
    return b'{"count":%d,"crc":"%08x"}\n' % (count, checksum)
