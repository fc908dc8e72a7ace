"""A board as plain lines and back: what a snapshot of the journal holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentpool.model.board import Board, Due, HoldState
from agentpool.model.events import Hold
from agentpool.model.plain import from_plain, to_plain
from agentpool.model.task import Settled, Task

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def dump(board: Board) -> Iterator[dict[str, object]]:
    """The board as JSON objects, one for each thing it holds; `load` makes an equal board of them."""
    yield {"board": {"seq": board.seq, "told": sorted(board.told), "spending": board.spending.by_day}}
    for hold, state in board.holds.items():
        yield {"hold": hold.value, "state": to_plain(state)}
    for task in board.tasks.values():
        line: dict[str, object] = {"task": to_plain(task)}
        awaited = board.graph.waits_for(task.id)
        if awaited:
            line["waits_for"] = list(awaited)
        yield line
    for awaited_id, since in board.graph.placeholders.items():
        yield {"placeholder": awaited_id, "since": since}
    for task_id, due in board.due.items():
        yield {"due": task_id, "state": to_plain(due)}
    for task_id, settled in board.settled.items():
        yield {"settled": task_id, "state": to_plain(settled)}
    for task in board.recent.values():
        yield {"recent": to_plain(task)}
    for mail_id, at in board.other_mail.items():
        yield {"mail": mail_id, "at": at}
    for mailbox, notes in board.notes.items():
        if notes:
            yield {"notes": mailbox, "ids": notes}
    for fingerprint, mail_id in board.fingerprints.items():
        yield {"fingerprint": fingerprint, "id": mail_id}


def load(lines: Iterable[dict[str, object]]) -> Board:
    """The board that `dump` wrote.

    Raises:
        TypeError: a line is not one of `dump`'s; a newer agentpool wrote it.
    """
    board = Board()
    for line in lines:
        match line:
            case {"task": dict(fields), **rest}:
                awaited = rest.get("waits_for")
                nodes = [str(node) for node in awaited] if isinstance(awaited, list) else ()
                board.restore(from_plain(Task, fields), nodes)
            case {"settled": str(task_id), "state": dict(fields)}:
                board.settled[task_id] = from_plain(Settled, fields)
            case {"fingerprint": str(fingerprint), "id": str(mail_id)}:
                board.fingerprints[fingerprint] = mail_id
            case {"recent": dict(fields)}:
                task = from_plain(Task, fields)
                board.recent[task.id] = task
            case {"mail": str(mail_id), "at": float(at) | int(at)}:
                board.other_mail[mail_id] = at
            case {"placeholder": str(node), "since": float(since) | int(since)}:
                board.graph.expect(node, since)
            case {"due": str(task_id), "state": dict(fields)}:
                board.due[task_id] = from_plain(Due, fields)
            case {"notes": str(mailbox), "ids": list(ids)}:
                board.notes[mailbox] = [str(note) for note in ids]
            case {"hold": str(hold), "state": dict(fields)}:
                board.holds[Hold(hold)] = from_plain(HoldState, fields)
            case {"board": {"seq": int(seq), "told": list(told), "spending": dict(spending)}}:
                board.seq = seq
                board.told = {str(key) for key in told}
                board.spending.by_day = {str(day): float(usd) for day, usd in spending.items()}
            case _:
                raise TypeError(
                    f"a snapshot line with the keys {sorted(line)} is unknown: was it written by a newer agentpool?"
                )
    return board
