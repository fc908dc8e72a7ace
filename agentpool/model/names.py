"""Names and ids: what may become one component of a path.

An id from mail is hostile until `check_id` has passed it: no separators, no leading dot, no control characters, ASCII
only, so that it means the same file on every file system.
"""

from __future__ import annotations

import re
import unicodedata
from difflib import get_close_matches
from typing import TYPE_CHECKING

from agentpool.model.errors import MailError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

HUMAN = "human"
CONCIERGE = "concierge"
ARCHITECT = "architect"
RESEARCHER = "researcher"
#: Mailboxes that people read; no run is ever started for them.
PEOPLE = frozenset({HUMAN, CONCIERGE})
#: The sender of what the supervisor itself has to say; no mailbox.
SUPERVISOR = "agentpool"

#: Characters of an id at most: with suffixes and endings a file name stays far below the 255 bytes of a file system.
ID_LENGTH = 100
#: Characters of the name of an expert at most.
NAME_LENGTH = 64

_ID = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{ID_LENGTH - 1}}}")
_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{NAME_LENGTH - 1}}}")
_RESERVED = re.compile(r"\.response(-\d+)?$|\.(md|reason|refused|missing)$", re.IGNORECASE)
_RESPONSE = re.compile(r"\.response(-\d+)?$")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def check_id(value: str) -> str:
    """Return `value` if it is a safe id.

    Raises:
        MailError: it is empty, too long, has a character that is not allowed, or an ending that the pool keeps.
    """
    if not _ID.fullmatch(value):
        raise MailError(
            f"the id {_shown(value)} is not allowed: letters, digits, '.', '_' and '-', "
            f"starting with a letter or digit, at most {ID_LENGTH} characters"
        )
    if _RESERVED.search(value):
        raise MailError(
            f"the id {_shown(value)} is not allowed: "
            "the pool keeps the endings .response, .refused, .missing, .reason and .md"
        )
    return value


def check_name(value: str) -> str:
    """Return `value` if it can name an expert.

    Raises:
        UsageError: it cannot be one component of a path.
    """
    if not _NAME.fullmatch(value):
        raise UsageError(
            f"{_shown(value)} cannot name an expert: letters, digits, '.', '_' and '-', "
            f"starting with a letter or digit, at most {NAME_LENGTH} characters"
        )
    return value


def id_from_file_name(name: str) -> str:
    """The id of a mail that brings none, from the name of its file (`Wie geht's.md` → `Wie-geht-s`)."""
    stem = name.removesuffix(".md")
    ascii_stem = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode("ascii")
    safe = _UNSAFE.sub("-", ascii_stem).strip("-._")[:80].rstrip("-._")
    return _RESERVED.sub(lambda ending: ending[0].replace(".", "-"), safe) or "mail"


def response_id(task_id: str, settlement: int) -> str:
    """The id of the one response to a settlement, numbered from 1 (`health.response`, `health.response-2`)."""
    return f"{task_id}.response" if settlement == 1 else f"{task_id}.response-{settlement}"


def task_of(mail_id: str) -> str:
    """The task that an id belongs to: its own, or the one that a response answers."""
    return _RESPONSE.sub("", mail_id)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that a mistyped one most likely means, if any is near."""
    matches = get_close_matches(name.lower(), known, n=1, cutoff=0.6)
    return matches[0] if matches else None


def _shown(value: str) -> str:
    return ascii(value if len(value) <= ID_LENGTH else value[:ID_LENGTH] + "…")
