r"""One line of the journal: a JSON object with a checksum at its end.

    {"seq":1,"at":"2026-11-21T01:02:03.456789Z","event":"mail.accepted",…,"crc":"9abcdef0"}

The checksum is the CRC-32 of the bytes before `,"crc":`. Text is UTF-8; a line that holds a lone surrogate, which UTF-8
cannot hold, is written with `\u` escapes throughout and reads back the same (two halves that stand together read back
as the character that they are halves of).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from zlib import crc32

from agentpool.model.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Names that a record's own fields cannot have.
RESERVED = frozenset({"seq", "at", "event", "crc"})

_SEAL = b',"crc":"%08x"}\n'
_SEAL_LENGTH = len(_SEAL % 0)
_compact = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_escaped = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode


class Place(NamedTuple):
    """Where a record's line lies; small enough to be kept instead of the record, and written in JSON as a list.

    Args:
        segment: the segment's number.
        offset: the line's first byte in it.
        length: in bytes, the newline included.
    """

    segment: int
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Record:
    """One event as the journal holds it.

    Args:
        seq: 1 for the first record of a pool, and one more for each.
        at: seconds since the epoch, to the microsecond.
        event: the event's name.
        data: its own fields.
        place: where it lies.
    """

    seq: int
    at: float
    event: str
    data: dict[str, Any]
    place: Place


def encode(fields: Mapping[str, object]) -> bytes:
    """The compact JSON of an object on one line, in UTF-8, without checksum or newline.

    Raises:
        TypeError: it holds something that JSON has no word for.
        ValueError: it holds NaN, an infinity or itself.
        RecursionError: it is nested too deeply.
    """
    try:
        return _compact(fields).encode()
    except UnicodeEncodeError:
        return _escaped(fields).encode()


def seal(fields: Mapping[str, object]) -> bytes:
    """A line with its checksum and newline.

    Raises:
        TypeError, ValueError, RecursionError: as `encode`.
    """
    body = encode(fields)[:-1]
    return body + _SEAL % crc32(body)


def unseal(line: bytes) -> dict[str, Any]:
    """The fields of a line that `seal` made, the checksum left out.

    Raises:
        ValueError: the line is torn or altered; the message says how.
    """
    body = line[:-_SEAL_LENGTH]
    if line[-_SEAL_LENGTH:] != _SEAL % crc32(body):
        raise ValueError("the line is cut off" if line[-1:] != b"\n" else "the checksum does not match")
    try:
        fields = json.loads(body + b"}")
    except RecursionError:
        raise ValueError("the line is nested too deeply") from None
    if not isinstance(fields, dict):
        raise ValueError("the line is not an object")  # noqa: TRY004 - one error for every bad line
    return fields


def seal_record(seq: int, at: float, event: str, data: Mapping[str, object]) -> bytes:
    """The line of one record.

    Raises:
        JournalError: the event cannot be written; nothing else is wrong with the journal.
    """
    if not RESERVED.isdisjoint(data):
        taken = ", ".join(sorted(RESERVED.intersection(data)))
        raise JournalError(f"event {event} cannot be written: it has fields that the journal itself uses: {taken}")
    try:
        when = datetime.fromtimestamp(at, UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
        return seal({"seq": seq, "at": f"{when}Z", "event": event, **data})
    except (TypeError, ValueError, OverflowError, OSError, RecursionError) as error:
        raise JournalError(f"event {event} cannot be written as a line of JSON: {error}") from error


def unseal_record(line: bytes, place: Place) -> Record:
    """The record of a line that `seal_record` made.

    Raises:
        ValueError: the line is torn or altered, or is not a record.
    """
    fields = unseal(line)
    seq, at, event = fields.pop("seq", None), fields.pop("at", None), fields.pop("event", None)
    if not (isinstance(seq, int) and isinstance(at, str) and isinstance(event, str)):
        raise ValueError("the line is not a record")  # noqa: TRY004 - one error for every bad line
    return Record(seq, datetime.fromisoformat(at).timestamp(), event, fields, place)
