"""Drops become decisions: accept, refuse, or leave for later."""

from __future__ import annotations

import logging
import os
from collections import deque
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from agentpool.model import events as ev
from agentpool.model.acceptance import check_cycle, check_mail, check_never_used
from agentpool.model.errors import MailError
from agentpool.model.mail import Mail, MailType, Status
from agentpool.model.moment import iso
from agentpool.model.names import ARCHITECT, HUMAN, RESEARCHER, SUPERVISOR, id_from_file_name
from agentpool.pool import dropbox
from agentpool.pool.archive import is_archived
from agentpool.pool.dropbox import Drop, Found

if TYPE_CHECKING:
    from agentpool.model.board import Board
    from agentpool.pool.layout import Layout
    from agentpool.supervisor.settings import Settings
    from agentpool.supervisor.watch import Hints, Watch

log = logging.getLogger(__name__)

#: Drops that are decided on, and made durable, together.
BATCH = 250


class Postponed(Enum):
    """Why a drop is not decided on now."""

    YOUNG = "young"
    """It may still be written to."""
    AFTER_BATCH = "after-batch"
    """The decision depends on one that is not durable yet."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A decision on one drop.

    Args:
        event: None where the drop is already in the journal and is only put away.
        mail_id: the id under which it is known.
    """

    found: Found
    event: ev.MailAccepted | ev.MailRefused | None
    mail_id: str


class Intake:
    """Looks into the drop directories and decides on what lies there.

    Attributes:
        directories: every drop directory, with the mailbox that mail in it is for; None for the postoffice.
        problems: directories and drops that could not be dealt with, with the reason; drops stay where they are.
        missed: drops that no event told of, as on a network file system; the sweep found them.
    """

    def __init__(self, layout: Layout, settings: Settings, board: Board, watch: Watch, hints: Hints) -> None:
        self._layout = layout
        self._settings = settings
        self._board = board
        self._watch = watch
        self._hints = hints
        self._candidates: deque[Found] = deque()
        self._complete: set[str] = set()
        self._seen: dict[str, tuple[tuple[int, int, int], float]] = {}
        self._refused: dict[str, tuple[int, int, int]] = {}
        self._numbers: dict[str, int] = {}
        self._unwatched: set[str] = set()
        self._young: set[str] = set()
        self._looked = False
        self.directories: dict[str, str | None] = {}
        self.problems: dict[str, str] = {}
        self.missed = 0

    @property
    def again(self) -> bool:
        """Whether a drop was too young to be taken, so that it must be looked at again soon."""
        return bool(self._young)

    @property
    def more(self) -> bool:
        """Whether drops were found that are not decided on yet."""
        return bool(self._candidates)

    def watch_directories(self) -> None:
        """Find the drop directories, and watch those that are not watched yet.

        To be called before a scan, or the gap loses hints.
        """
        # Where people read, nobody drops.
        names = (ARCHITECT, RESEARCHER, *sorted(self._settings.experts))
        self.directories = {str(self._layout.postoffice): None}
        self.directories |= {str(self._layout.inbox(name)): name for name in names}
        for directory in self.directories:
            try:
                self._watch.add(Path(directory))
            except OSError as error:
                if directory not in self._unwatched:
                    self._unwatched.add(directory)
                    log.warning(
                        "%s cannot be watched (%s): drops there are found by the sweep",
                        directory,
                        error.strerror,
                        extra={"action": "watch.refused"},
                    )

    def look(self, now: float, *, everything: bool) -> None:
        """Scan the directories that the watch announced, or all.

        Args:
            now: seconds since the epoch.
        """
        dirty, complete, lost = self._hints.take()
        self._complete |= complete
        dirty |= self._young
        self._young = set()
        waiting = {found.path for found in self._candidates}
        fresh: list[Found] = []
        for directory, mailbox in self.directories.items():
            if not (everything or lost or directory in dirty):
                continue
            try:
                here = [
                    found
                    for found in dropbox.scan(Path(directory), mailbox)
                    if found.path not in waiting and self._refused.get(found.path) != found.signature
                ]
            except OSError as error:
                self.problems[directory] = f"it cannot be read: {error.strerror}"
                continue
            self.problems.pop(directory, None)
            fresh += here
            if self._looked and not lost and directory not in dirty:
                self._count_missed(sum(now - found.changed > dropbox.QUIET_SECONDS for found in here), directory)
        self._looked = True
        # A directory lists its files in an order of its own; who came first is to be served first.
        self._candidates.extend(sorted(fresh, key=lambda found: found.changed))

    def _count_missed(self, number: int, directory: str) -> None:
        if number and not self.missed:
            log.warning(
                "no event told of a drop in %s: the sweep found it, which takes longer",
                directory,
                extra={"action": "watch.missed"},
            )
        self.missed += number

    def forget_refused(self, path: Path) -> None:
        """A person mended this drop: it is looked at again even if it looks the same."""
        self._refused.pop(str(path), None)

    def batch(self, now: float) -> list[Arrival]:
        """Decide on the next drops, at most `BATCH`, none of which depends on a decision that is not durable yet.

        Args:
            now: seconds since the epoch.
        """
        arrivals: list[Arrival] = []
        taken: set[str] = set()
        awaited: set[str] = set()
        while self._candidates and len(arrivals) < BATCH:
            found = self._candidates.popleft()
            try:
                decision = self._decide(found, taken, awaited, now)
            except FileNotFoundError:
                continue  # somebody took it away
            except OSError as error:
                self.problems[found.path] = f"it cannot be read now: {error.strerror}"
                continue
            if decision is Postponed.AFTER_BATCH:
                self._candidates.appendleft(found)
                break
            if decision is Postponed.YOUNG:
                self._young.add(str(Path(found.path).parent))
                continue
            self.problems.pop(found.path, None)
            arrivals.append(decision)
        if not self._candidates:
            self._complete.clear()
        return arrivals

    def _decide(
        self, found: Found, taken: set[str], awaited: set[str], now: float
    ) -> Arrival | Literal[Postponed.YOUNG, Postponed.AFTER_BATCH]:
        quiet = dropbox.is_quiet(found, self._seen, now)
        if not quiet and found.path not in self._complete:
            return Postponed.YOUNG
        limits = self._settings.configuration.limits
        try:
            drop = dropbox.read(found, now=now, mail_bytes=limits.mail_bytes, header_bytes=limits.header_bytes)
            known = self._board.fingerprints.get(drop.fingerprint)
            if known is not None:
                return Arrival(found, None, known)
            mail = self._numbered(drop, taken)
            # Who waits for it was accepted in this batch: whether that closes a cycle is known after it.
            if mail.id in awaited or not taken.isdisjoint({mail.id, mail.cancels, mail.in_reply_to}):
                return Postponed.AFTER_BATCH
            check_mail(mail, self._board, self._settings.mailboxes)
            check_never_used(mail, archived=is_archived(self._layout, mail.id))
            check_cycle(mail, self._board)
        except MailError as error:
            return self._refuse(found, error, now) if quiet else Postponed.YOUNG
        taken.add(mail.id)
        awaited.update(mail.awaited)
        source = str(Path(found.path).relative_to(self._layout.root))
        return Arrival(found, ev.MailAccepted(mail, drop.fingerprint, source), mail.id)

    def _numbered(self, drop: Drop, taken: set[str]) -> Mail:
        """The mail under an id that is free, where its id only comes from a file's name."""
        base = drop.mail.id
        if drop.named or not (self._is_taken(base) or base in taken):
            return drop.mail
        number = self._numbers.get(base, 1) + 1
        while self._is_taken(f"{base}-{number}") or f"{base}-{number}" in taken:
            number += 1
        self._numbers[base] = number
        return replace(drop.mail, id=f"{base}-{number}")

    def _is_taken(self, mail_id: str) -> bool:
        return self._board.knows(mail_id) or is_archived(self._layout, mail_id)

    def _refuse(self, found: Found, error: MailError, now: float) -> Arrival:
        self._refused[found.path] = found.signature
        name = self._free_deadletter(id_from_file_name(found.name))
        sender, kind = dropbox.read_sender(found, self._settings.configuration.limits.header_bytes)
        bounce = sender == SUPERVISOR or kind == MailType.RESPONSE
        work = kind in (None, MailType.TASK, MailType.QUESTION)
        source = str(Path(found.path).relative_to(self._layout.root))
        answer = Mail(
            id=f"{name}.refused",
            to=sender if sender in self._settings.mailboxes else HUMAN,
            type=MailType.RESPONSE if work else MailType.NOTIFY,
            sender=SUPERVISOR,
            status=Status.FAILED if work else None,
            timestamp=iso(now),
            body=f"Your mail {source} was refused: {error.message}\n\n"
            f"It lies in deadletter/{name}.md. Mend it there, then: agentpool replay {name}",
        )
        event = ev.MailRefused(source, f"{name}.md", error.message, None if bounce else answer, found.signature)
        return Arrival(found, event, name)

    def _free_deadletter(self, stem: str) -> str:
        number = self._numbers.get(f"deadletter/{stem}", 0)
        while True:
            number += 1
            name = stem if number == 1 else f"{stem}-{number}"
            if not (os.path.lexists(self._layout.deadletter / f"{name}.md") or self._board.knows(f"{name}.refused")):
                self._numbers[f"deadletter/{stem}"] = number
                return name
