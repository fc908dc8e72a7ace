"""The header of a mail: from YAML's values to typed ones and back, with every rule it must keep."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from difflib import get_close_matches
from enum import StrEnum
from math import isfinite
from types import NoneType
from typing import TYPE_CHECKING, TypeVar

from agentpool.model.duration import is_duration, parse_duration
from agentpool.model.errors import MailError
from agentpool.model.mail import Mail, MailType, Priority, Status
from agentpool.model.moment import iso
from agentpool.model.names import HUMAN, check_id, nearest, task_of

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Characters of a one-line text in a header at most.
_LINE = 200
#: Levels of lists and tables in what is kept of unknown keys.
_NESTING = 8
#: How near a key must be to a known one to be taken for a misspelling (`reply-to` and `depends` are, `author` is not).
_NEAR = 0.81
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_E = TypeVar("_E", bound=StrEnum)

#: The keys of a header, in the order in which they are written.
KEYS = (
    "id", "from", "to", "type", "priority", "status", "in-reply-to", "thread", "depends-on", "inputs", "contracts",
    "cancels", "expires", "timestamp",
)  # fmt: skip


def mail_from_header(
    header: Mapping[str, object], body: str, *, default_id: str, now: float, default_to: str | None = None
) -> Mail:
    """The mail that a header and a text make.

    Args:
        header: the header's keys and values, as YAML gives them.
        default_id: the id where the header has none, already safe.
        now: seconds since the epoch, from which an `expires: 2h` counts.
        default_to: the mailbox where the header names none.

    Raises:
        MailError: the header breaks rules; the message names each of them.
    """
    reader = _Reader(header)
    sender = reader.text("from") or HUMAN
    to = reader.text("to") or default_to
    mail_type = reader.choice("type", MailType) or MailType.TASK
    values = Mail(
        id=reader.identifier("id") or default_id,
        to=to or "",
        type=mail_type,
        sender=sender,
        priority=reader.choice("priority", Priority) or Priority.NORMAL,
        depends_on=reader.identifiers("depends-on"),
        contracts=reader.identifiers("contracts"),
        in_reply_to=reader.reference("in-reply-to"),
        thread=reader.identifier("thread"),
        inputs=reader.identifiers("inputs"),
        cancels=reader.identifier("cancels"),
        status=reader.choice("status", Status),
        expires=reader.expiry("expires", now),
        timestamp=reader.moment("timestamp"),
        extra=reader.rest(),
        body=reader.body(body),
    )
    if to is None:
        reader.problems.append("it names no addressee: add a line `to: NAME`")
    if mail_type is MailType.CANCEL and values.cancels is None:
        reader.problems.append("a cancel names no task: add a line `cancels: ID`")
    if values.id in values.awaited:
        reader.problems.append(f"it waits for itself ({values.id})")
    if mail_type.is_work and not body.strip():
        reader.problems.append("it has no text below the header, so there is nothing to do")
    if reader.problems:
        raise MailError("; ".join(reader.problems))
    return values


def header_of(mail: Mail) -> dict[str, object]:
    """The header of a mail as YAML would have it, in the order of `KEYS`, without what is empty."""
    values: dict[str, object | None] = {
        "id": mail.id,
        "from": mail.sender,
        "to": mail.to,
        "type": mail.type.value,
        "priority": None if mail.priority is Priority.NORMAL else mail.priority.value,
        "status": mail.status.value if mail.status else None,
        "in-reply-to": mail.in_reply_to,
        "thread": mail.thread,
        "depends-on": list(mail.depends_on),
        "inputs": list(mail.inputs),
        "contracts": list(mail.contracts),
        "cancels": mail.cancels,
        "expires": None if mail.expires is None else iso(mail.expires),
        "timestamp": mail.timestamp,
    }
    return {key: value for key, value in values.items() if value not in (None, [])} | mail.extra


class _Reader:
    """Reads a header key by key and collects every rule it breaks, so that a sender hears of all at once."""

    def __init__(self, header: Mapping[str, object]) -> None:
        self.header: dict[str, object] = {}
        self.problems: list[str] = []
        for key, value in header.items():
            self._take(key, value)

    def _take(self, key: str, value: object) -> None:
        known = key.lower().replace("_", "-")
        name = known if known in KEYS else key
        if name in self.header:
            self.problems.append(f"it has the key `{name[:40]}` twice: which one counts?")
        self.header[name] = value
        if name in KEYS:
            return
        if not name.isprintable():
            self.problems.append(f"the key {name[:40]!a} is not printable")
        # A misspelled `depends-on` must not start a task too early, so a near miss is refused, not kept.
        near = get_close_matches(known, KEYS, n=1, cutoff=_NEAR) or ["depends-on"] * known.startswith("depend")
        if near:
            self.problems.append(f"unknown key `{key[:40]}`: did you mean `{near[0]}`?")

    def text(self, key: str) -> str | None:
        value = self.header.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            self.problems.append(f"`{key}` must be one text, not {_kind(value)}: put it in quotes if it is one")
            return None
        text = str(value).strip()
        if len(text) > _LINE or not text.isprintable():
            self.problems.append(f"`{key}` must be one printable line of at most {_LINE} characters")
            return None
        return text or None

    def body(self, text: str) -> str:
        if "\0" in text:
            self.problems.append(f"its text has a NUL character at offset {text.index(chr(0))}")
        try:
            _check_writable(text)
        except MailError as error:
            self.problems.append(f"its text {error.message}")
        return text

    def identifier(self, key: str) -> str | None:
        value = self.text(key)
        return None if value is None else self._checked(value, key)

    def reference(self, key: str) -> str | None:
        """An id that may also be one of the pool's own, such as that of a response."""
        value = self.text(key)
        if value is None:
            return None
        return value if self._checked(task_of(value), key) else None

    def identifiers(self, key: str) -> tuple[str, ...]:
        value = self.header.get(key)
        if value is None:
            return ()
        items = value if isinstance(value, list) else [value]
        result = []
        for item in items:
            if isinstance(item, bool) or not isinstance(item, (str, int)):
                self.problems.append(f"`{key}` must be a list of ids; {_kind(item)} is none")
            elif self._checked(str(item).strip(), key):
                result.append(str(item).strip())
        return tuple(dict.fromkeys(result))

    def choice(self, key: str, kind: type[_E]) -> _E | None:
        value = self.text(key)
        if value is None:
            return None
        try:
            return kind(value.lower())
        except ValueError:
            allowed = ", ".join(kind)
            near = nearest(value, list(kind))
            hint = f": did you mean `{near}`?" if near else ""
            self.problems.append(f"`{key}: {value[:40]}` is not one of {allowed}{hint}")
            return None

    def moment(self, key: str) -> str | None:
        value = self.header.get(key)
        if isinstance(value, (datetime, date)):
            return value.isoformat()
        return self.text(key)

    def expiry(self, key: str, now: float) -> float | None:
        value = self.header.get(key)
        if value is None:
            return None
        try:
            moment = _moment(value, now)
            iso(moment)  # what has no place in a calendar could not be written into a file again
        except (TypeError, ValueError, OverflowError, OSError):
            self.problems.append(f"`{key}` must be a moment such as 2026-12-24T18:00Z or a duration such as 2h or 3d")
            return None
        return moment

    def rest(self) -> dict[str, object]:
        extra: dict[str, object] = {}
        for key, value in self.header.items():
            if key not in KEYS:
                try:
                    extra[key] = _kept(value)
                except MailError as error:
                    self.problems.append(f"`{key[:40]}` {error.message}")
        return extra

    def _checked(self, value: str, key: str) -> str | None:
        try:
            return check_id(value)
        except MailError as error:
            self.problems.append(f"`{key}`: {error.message}")
            return None


def _moment(value: object, now: float) -> float:
    """Seconds since the epoch. A day lasts until its end; a moment without a zone is in UTC."""
    if isinstance(value, str):
        together = "".join(value.split())
        if is_duration(together):
            return now + parse_duration(together)
        read = date if _DAY.fullmatch(value.strip()) else datetime
        value = read.fromisoformat(value.strip())
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp() + 86_400
    raise TypeError


def _kept(value: object, depth: int = 1) -> object:
    """A header value that JSON and YAML can hold: dates and what is no finite number become text.

    Raises:
        MailError: they cannot hold it.
    """
    if depth > _NESTING:
        raise MailError(f"is nested deeper than {_NESTING}")
    if isinstance(value, list):
        return [_kept(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {_check_writable(str(key)): _kept(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (int, NoneType)) or (isinstance(value, float) and isfinite(value)):
        return value
    return _check_writable(str(value))


def _check_writable(text: str) -> str:
    """Text that came as JSON can hold what no UTF-8 file can."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise MailError(f"has half a character (a lone surrogate) at offset {error.start}") from None
    return text


def _kind(value: object) -> str:
    names = {bool: "a yes/no", list: "a list", dict: "a table", float: "a fraction", type(None): "nothing"}
    return names.get(type(value), f"a {type(value).__name__}")
