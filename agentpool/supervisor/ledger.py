"""The journal and the board as one: what is durable is what is known."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Self

from agentpool.model import events as ev
from agentpool.model.board import Board
from agentpool.model.board_snapshot import dump, load
from agentpool.model.errors import IllegalTransitionError, JournalCutError, JournalError
from agentpool.model.mail import Mail
from agentpool.model.names import task_of
from agentpool.model.plain import from_plain, to_plain
from agentpool.pool.atomic import sync_file_system
from agentpool.pool.journal import Journal
from agentpool.pool.record import Place, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

log = logging.getLogger(__name__)

#: Events after which a snapshot is written, at least; with more open tasks it is as many as there are, so that the cost
#: of snapshots for each event does not grow.
SNAPSHOT_EVENTS = 10_000
#: Mails whose text stays in memory: between acceptance and start most are read again at once.
_TEXTS = 64


class Ledger:
    """Writes events to the journal and folds them into the board once they are durable.

    Attributes:
        board: the state that all durable events come to.
    """

    def __init__(
        self,
        directory: Path,
        journal: Journal,
        board: Board,
        places: dict[str, Place],
        kept: dict[str, Mail],
        notes: list[str],
    ) -> None:
        self.board = board
        self._directory = directory
        self._recovered = notes
        self._journal = journal
        self._places = places
        self._kept = kept
        self._subscribers: list[Callable[[ev.Entry], None]] = []
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._since_snapshot = board.seq - journal.snapshot_seq
        self._texts: OrderedDict[str, Mail] = OrderedDict()

    @classmethod
    def open(cls, directory: Path, after: int) -> tuple[Self, list[ev.Entry]]:
        """Read the journal.

        Args:
            after: entries with a greater sequence number are returned, as far as no snapshot covers them.

        Raises:
            JournalError: it is damaged or was written by a newer agentpool.
        """
        journal, recovery = Journal.open(directory)
        gc.disable()  # a hundred thousand live objects are only made here, none is garbage
        try:
            places: dict[str, Place] = {}
            kept: dict[str, Mail] = {}
            board = load(_without_mails(recovery.snapshot, places, kept)) if recovery.snapshot is not None else Board()
            later: list[ev.Entry] = []
            for record in recovery.records:
                entry = ev.Entry(record.seq, record.at, ev.decode(record.event, record.data))
                try:
                    board.apply(entry)
                except IllegalTransitionError as error:
                    # It changed nothing when it was written either; a pool must not be lost to one void event.
                    recovery.notes.append(f"event {record.seq} ({record.event}) is void: {error}")
                    continue
                _remember(places, entry.event, record.place)
                if record.seq > after:
                    later.append(entry)
        except (TypeError, ValueError) as error:
            raise JournalError(f"the journal in {directory} cannot be understood: {error}") from error
        finally:
            gc.enable()
        gc.freeze()
        return cls(directory, journal, board, places, kept, recovery.notes), later

    @property
    def notes(self) -> list[str]:
        """What a person should know of the journal: what its start found, and what happened to its files since."""
        return [*self._recovered, *self._journal.notes]

    def subscribe(self, subscriber: Callable[[ev.Entry], None]) -> Callable[[], None]:
        """Call `subscriber` with each entry once it is durable and applied; returns what ends that."""
        self._subscribers.append(subscriber)
        return lambda: self._subscribers.remove(subscriber)

    async def commit(self, happened: Sequence[ev.Event], at: float) -> list[ev.Entry]:
        """Make events durable, then apply them. One caller at a time.

        Raises:
            JournalError: none of them happened.
        """
        if not happened:
            return []
        lines = [(event.name, ev.encode(event)) for event in happened]
        loop = asyncio.get_running_loop()
        try:
            records = await loop.run_in_executor(self._writer, self._journal.append, lines, at)
        except JournalCutError as error:
            # The board has what was cut off, so a snapshot of it makes the journal whole again.
            log.error("%s", error, extra={"action": "journal.cut"})  # noqa: TRY400 - said in one line
            self._recovered.append(f"{error}; what was known is in a snapshot now")
            self._keep_what_was_cut()
            await self._save()
            records = await loop.run_in_executor(self._writer, self._journal.append, lines, at)
        return [self._apply(record, event) for record, event in zip(records, happened, strict=True)]

    def mail(self, mail_id: str) -> Mail | None:
        """A mail that entered the pool, with its text; None when the journal does not hold it (any more)."""
        known = self._texts.get(mail_id)
        if known is not None:
            return known
        place = self._places.get(mail_id)
        if place is None:
            return self._kept.get(mail_id)
        record = self._journal.read(place)
        return next((mail for mail in _mails(ev.decode(record.event, record.data)) if mail.id == mail_id), None)

    def snapshot_is_due(self) -> bool:
        """Whether enough has happened since the last snapshot."""
        return self._since_snapshot >= max(SNAPSHOT_EVENTS, len(self.board.tasks))

    async def write_snapshot(self, at: float, forget_before: float) -> None:
        """Write a snapshot, and remove the segments that nothing needs.

        Args:
            at: now; `forget_before`: what was settled before that is not remembered any more. Both in seconds since the
                epoch.

        Raises:
            JournalError: it could not be written; nothing is lost.
        """
        if self.board.holds_older(forget_before):
            await self.commit([ev.HistoryForgotten(forget_before)], at)
        self._forget_places()
        await self._save()
        oldest = min(self._places.values(), default=None)
        needed = self.board.seq if oldest is None else self._journal.read(oldest).seq
        await asyncio.get_running_loop().run_in_executor(self._writer, self._journal.prune, needed)

    async def _save(self) -> None:
        lines, seq = list(self._with_mails()), self.board.seq
        loop = asyncio.get_running_loop()
        # The effects of what the snapshot covers are not done again, so they must be on the disk before it.
        await loop.run_in_executor(self._writer, sync_file_system, self._directory)
        await loop.run_in_executor(self._writer, self._journal.write_snapshot, lines, seq)
        self._since_snapshot = 0

    async def restore_deleted(self) -> bool:
        """Write the journal anew where somebody deleted it; whether that was so."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, self._journal.restore)

    def close(self) -> None:
        """Give the journal's files back."""
        self._writer.shutdown()
        self._journal.close()

    def _apply(self, record: Record, event: ev.Event) -> ev.Entry:
        entry = ev.Entry(record.seq, record.at, event)
        self.board.apply(entry)
        _remember(self._places, event, record.place)
        for mail in _mails(event):
            self._texts[mail.id] = mail
            if len(self._texts) > _TEXTS:
                self._texts.popitem(last=False)
        self._since_snapshot += 1
        for subscriber in tuple(self._subscribers):
            subscriber(entry)
        return entry

    def _forget_places(self) -> None:
        for known in (self._places, self._kept):
            for mail_id in [mail_id for mail_id in known if not self.board.knows(task_of(mail_id))]:
                del known[mail_id]

    def _keep_what_was_cut(self) -> None:
        """Mails whose records are gone stand in the snapshots from here on, as far as they are in memory."""
        for mail_id, place in list(self._places.items()):
            try:
                self._journal.read(place)
            except JournalError:
                del self._places[mail_id]
                if mail_id in self._texts:
                    self._kept[mail_id] = self._texts[mail_id]

    def _with_mails(self) -> Iterator[dict[str, object]]:
        yield from dump(self.board)
        for mail in self._kept.values():
            yield {"kept": to_plain(mail)}
        for mail_id, place in self._places.items():
            yield {"place": mail_id, "in": list(place)}


def _without_mails(
    lines: Iterator[dict[str, object]], places: dict[str, Place], kept: dict[str, Mail]
) -> Iterator[dict[str, object]]:
    for line in lines:
        match line:
            case {"place": str(mail_id), "in": [int(segment), int(offset), int(length)]}:
                places[mail_id] = Place(segment, offset, length)
            case {"kept": dict(fields)}:
                mail = from_plain(Mail, fields)
                kept[mail.id] = mail
            case _:
                yield line


def _mails(event: ev.Event) -> Iterator[Mail]:
    """Every mail that an event brings into the pool."""
    match event:
        case ev.MailAccepted() | ev.NoticeSent() | ev.TaskRetried():
            yield event.mail
        case ev.RunSettled():
            yield from event.outbox
            if event.response is not None:
                yield event.response
        case ev.TaskSettled():
            yield event.response
        case ev.MailRefused() if event.answer is not None:
            yield event.answer
        case _:
            pass


def _remember(places: dict[str, Place], event: ev.Event, place: Place) -> None:
    for mail in _mails(event):
        places[mail.id] = place
