"""What the journal says, as files: each effect has a fixed name, so doing it again changes nothing."""

from __future__ import annotations

import json
import os
import shutil
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from agentpool.model import events as ev
from agentpool.model.errors import JournalError
from agentpool.model.header import header_of
from agentpool.model.moment import iso
from agentpool.model.names import PEOPLE, response_id
from agentpool.pool import atomic, dropbox, logbook
from agentpool.pool.mailfile import render
from agentpool.runs.process_table import boot_id
from agentpool.supervisor.disk import is_refusal
from agentpool.supervisor.run_record import run_record

if TYPE_CHECKING:
    from agentpool.model.board import Board
    from agentpool.model.mail import Mail
    from agentpool.pool.dropbox import Found
    from agentpool.pool.layout import Layout
    from agentpool.supervisor.ledger import Ledger

#: What a drop is called between its being moved away and its being looked at; no scanner takes a dotfile.
_TAKEN = ".taken-"


class Views:
    """Keeps `mail/`, `archive/`, `deadletter/`, the inboxes of people and `logs/` as the journal has it.

    Attributes:
        done: the sequence number up to which all effects are there.
        problems: effects that one file in the way keeps from being done, by sequence number; they are tried again.
    """

    def __init__(self, layout: Layout, ledger: Ledger) -> None:
        """Open the mark.

        Raises:
            JournalError: the disk takes no writes.
        """
        self._layout = layout
        self._ledger = ledger
        self._pending: deque[tuple[ev.Entry, Found | None, bool]] = deque()
        try:
            self._mark = os.open(layout.run / "views", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            reason = f"{layout.run} cannot be written to: {error.strerror}"
            raise JournalError(reason, tip="look at the disk (df -h) and at its permissions") from error
        self._boot = boot_id()
        self._failed: dict[int, tuple[ev.Entry, Found | None]] = {}
        self.problems: dict[int, str] = {}
        self.done = 0

    @property
    def is_behind(self) -> bool:
        """Whether effects are pending, because the disk refused them."""
        return bool(self._pending)

    def close(self) -> None:
        """Give the file back that says how far the views are."""
        os.close(self._mark)

    def remove_leftovers(self) -> None:
        """Remove what a killed supervisor had half written. To be called at a start only.

        Raises:
            OSError: it cannot be removed.
        """
        layout = self._layout
        for directory in (layout.mail, layout.deadletter, *map(layout.inbox, PEOPLE), *layout.archive.iterdir()):
            atomic.remove_leftovers(directory)

    def queue(self, entry: ev.Entry, found: Found | None = None, *, redo: bool = False) -> None:
        """Have the effects of an entry done by the next `catch_up`.

        Args:
            found: the drop that it decided on.
            redo: whether some of them may be there already, as after a crash.
        """
        self._pending.append((entry, found, redo))

    def catch_up(self) -> None:
        """Do all pending effects, in order.

        Raises:
            OSError: the disk refused; what is pending stays pending.
        """
        if not self._pending:
            return
        while self._pending:
            entry, found, redo = self._pending[0]
            self._attempt(entry, found, redo=redo)
            self._pending.popleft()
            self.done = entry.seq
        self._write_mark()

    def try_again(self) -> None:
        """Do the effects that something stood in the way of.

        Raises:
            OSError: the disk refused.
        """
        for entry, found in list(self._failed.values()):
            self._attempt(entry, found, redo=True)
            self._write_mark()

    def _attempt(self, entry: ev.Entry, found: Found | None, *, redo: bool) -> None:
        try:
            self._show(entry, found, redo=redo)
        except OSError as error:
            if is_refusal(error):
                raise
            self._failed[entry.seq] = entry, found
            self.problems[entry.seq] = f"what event {entry.seq} ({entry.event.name}) says cannot be shown: {error}"
        else:
            self._failed.pop(entry.seq, None)
            self.problems.pop(entry.seq, None)

    def _write_mark(self) -> None:
        done = min(self._failed, default=self.done + 1) - 1
        os.pwrite(self._mark, f"{done:020d} {self._boot}\n".encode(), 0)

    def put_away(self, found: Found, mail_id: str, at: float) -> None:
        """Move a drop away that the journal already has; who sent a settled task again is answered again.

        Args:
            at: seconds since the epoch.

        Raises:
            OSError: it cannot be moved.
        """
        board = self._ledger.board
        mail = self._ledger.mail(mail_id)
        if mail is not None and mail_id in board.tasks:
            self._take_drop(found, mail_id)
            self._write_open(mail)
            return
        settled = board.settled.get(mail_id)
        response = self._ledger.mail(response_id(mail_id, settled.settlement)) if settled is not None else None
        if response is not None:
            self._deliver(response, at, redo=False)
        dropbox.remove(found)

    def _show(self, entry: ev.Entry, found: Found | None, *, redo: bool) -> None:
        board = self._ledger.board
        match entry.event:
            case ev.MailAccepted(mail=mail):
                self._show_accepted(mail, entry.at, found, board, redo=redo)
            case ev.MailRefused():
                self._show_refused(entry.event, entry.at)
                if entry.event.answer is not None:
                    self._deliver(entry.event.answer, entry.at, redo=redo)
            case ev.NoticeSent(mail=mail):
                self._deliver(mail, entry.at, redo=redo)
            case ev.MailRead():
                source = self._layout.inbox(entry.event.mailbox) / f"{entry.event.id}.md"
                self._move(source, self._archive_file(entry.event.id, entry.at))
            case ev.RunStarting():
                for note in entry.event.notes:
                    self._move(self._layout.mail_file(note), self._archive_file(note, entry.at))
            case ev.RunSettled():
                self._show_run(entry.event, entry.at, board)
                for mail in entry.event.outbox:
                    self._show_accepted(mail, entry.at, None, board, redo=redo)
                if entry.event.step.settles:
                    self._show_settled(entry.event.task, entry.event.response, entry.at, redo=redo)
            case ev.TaskSettled():
                self._show_settled(entry.event.task, entry.event.response, entry.at, redo=redo)
            case ev.TaskRetried(mail=mail):
                self._write_open(mail)
            case _:
                pass

    def _show_accepted(self, mail: Mail, at: float, found: Found | None, board: Board, *, redo: bool) -> None:
        """Open work and notes for a run stand in `mail/`, what people read in their inbox, the rest in `archive/`."""
        waits = mail.id in board.tasks or mail.id in board.notes.get(mail.to, ())
        if found is not None:
            self._take_drop(found, mail.id)
        if waits:
            if not redo or not self._layout.mail_file(mail.id).is_file():
                self._write_open(mail)
        elif mail.to not in PEOPLE and (
            not redo or not (mail.type.is_work or self._archive_file(mail.id, at).is_file())
        ):
            self._write_open(mail)
            self._move(self._layout.mail_file(mail.id), self._archive_file(mail.id, at))
        if mail.to in PEOPLE:
            self._deliver(mail, at, redo=redo)
            if not mail.type.is_work:
                self._layout.mail_file(mail.id).unlink(missing_ok=True)

    def return_what_was_taken(self) -> None:
        """Deal with drops that an earlier supervisor had moved away when it ended, and not looked at yet.

        Raises:
            OSError: one of them cannot be moved.
        """
        for taken in self._layout.mail.glob(f"{_TAKEN}*"):
            signature = tuple(int(part) for part in taken.name.removeprefix(_TAKEN).split("-") if part.isdecimal())
            self._look_at_taken(taken, signature, self._layout.postoffice / "returned.md", "a mail")

    def _take_drop(self, found: Found, mail_id: str) -> None:
        """Move a drop away, then look at what was moved: another file may have got its name in between."""
        # The name tells what was meant, so that a start after a crash in between can tell it too.
        taken = self._layout.mail / (_TAKEN + "-".join(str(part) for part in found.signature))
        if dropbox.take_away(found, taken):
            self._look_at_taken(taken, found.signature, Path(found.path), mail_id)

    def _look_at_taken(self, taken: Path, signature: tuple[int, ...], origin: Path, mail_id: str) -> None:
        moved = dropbox.signature_of(taken)
        if moved == signature:
            taken.unlink()
        elif moved is not None and moved[0] == signature[0]:
            reason = f"{mail_id} was accepted as it was read; then somebody wrote to the file, which is this one now"
            self._bury(taken, _free(self._layout.deadletter / f"{mail_id}-changed.md").name, reason, str(origin))
        elif taken.is_dir() and not taken.is_symlink():
            taken.rename(_free(origin))
        else:
            atomic.move_new(taken, origin)

    def _write_open(self, mail: Mail) -> None:
        _write(self._layout.mail_file(mail.id), render(header_of(mail), mail.body))

    def _deliver(self, mail: Mail, at: float, *, redo: bool) -> None:
        """Put a mail where its addressee finds it: people in their inbox; for a run it waits in the journal."""
        archived = self._archive_file(mail.id, at)
        text = render(header_of(mail), mail.body)
        if mail.to not in PEOPLE:
            _write(archived, text)
        elif not redo or not archived.is_file():
            _write(self._layout.inbox(mail.to) / f"{mail.id}.md", text)

    def _show_refused(self, event: ev.MailRefused, at: float) -> None:
        drop = self._layout.root / event.file
        if dropbox.signature_of(drop) == event.signature:
            self._bury(drop, event.deadletter, event.reason, event.file, at=at)

    def _bury(self, drop: Path, name: str, reason: str, source: str, at: float | None = None) -> None:
        """The reason first, so that no dead letter is ever without one."""
        header = {"file": name, "dropped-as": source, "refused": iso(at) if at is not None else None}
        text = f"This mail was refused: {reason}\n\nMend {name}, then: agentpool replay {name.removesuffix('.md')}"
        reason_file = self._layout.deadletter / f"{name}.reason.md"
        _write(reason_file, render({k: v for k, v in header.items() if v}, text))
        drop.rename(self._layout.deadletter / name)

    def _show_run(self, event: ev.RunSettled, at: float, board: Board) -> None:
        """The run's directory becomes its log, with a record of what it came to."""
        task = board.find(event.task)
        directory = self._layout.run_directory(event.run)
        if task is None or not directory.is_dir():
            return
        number = event.run.rpartition(".")[2]
        target = self._layout.logs(task.to) / task.id / number
        target.parent.mkdir(parents=True, exist_ok=True)
        record = run_record(event, task, at)
        lines = ",\n".join(
            f" {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in record.items()
        )
        _write(directory / "run.json", f"{{\n{lines}\n}}\n")
        (directory / "alive").unlink(missing_ok=True)
        shutil.move(directory, _free(target))

    def _show_settled(self, task_id: str, response: Mail | None, at: float, *, redo: bool) -> None:
        task = self._ledger.board.find(task_id)
        self._move(self._layout.mail_file(task_id), self._archive_file(task_id, at))
        if task is None:
            return
        if task.to in PEOPLE:
            (self._layout.inbox(task.to) / f"{task_id}.md").unlink(missing_ok=True)
        else:
            logbook.add_line(self._layout.logs(task.to), task, at, once=redo)
        if response is not None:
            self._deliver(response, at, redo=redo)

    def _archive_file(self, mail_id: str, at: float) -> Path:
        month = datetime.fromtimestamp(at, UTC).strftime("%Y-%m")
        return self._layout.archive_file(mail_id, month)

    @staticmethod
    def _move(source: Path, target: Path) -> None:
        try:
            source.rename(target)
        except FileNotFoundError:
            if os.path.lexists(source):
                target.parent.mkdir(parents=True, exist_ok=True)
                source.rename(target)


def _free(path: Path) -> Path:
    """A path that nothing has: this one, or it with a number."""
    number, free = 1, path
    while os.path.lexists(free):
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return free


def _write(path: Path, text: str) -> None:
    """Write a view, with its directory where that is new or somebody removed it."""
    try:
        atomic.write(path, text, durable=False)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write(path, text, durable=False)


def read_mark(layout: Layout) -> int:
    """How far the views of an earlier supervisor were; 0 where that is not known, and then all is done again.

    The mark of an earlier boot is not believed: after a power cut it may be there while the files are not.
    """
    with suppress(OSError, ValueError):
        seq, _, boot = (layout.run / "views").read_text().strip().partition(" ")
        if boot == boot_id():
            return int(seq)
    return 0
