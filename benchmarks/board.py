"""A board of 100,000 open tasks against one of 1,000: transitions, insertions, and the start with that journal."""

from __future__ import annotations

import asyncio
import gc
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from agentpool.model import events as ev
from agentpool.model.board import Board
from agentpool.model.mail import Mail
from agentpool.model.run import RunReport
from agentpool.pool.journal import Journal
from agentpool.supervisor.ledger import Ledger
from benchmarks.report import Figure, median

if TYPE_CHECKING:
    from collections.abc import Iterator

SMALL, LARGE = 1_000, 100_000
SAMPLES = 500
ROUNDS = 5


def measure() -> Iterator[Figure]:
    """Medians of `ROUNDS`, each of `SAMPLES` tasks; then a start from a snapshot and one from segments alone."""
    small, large = _filled(SMALL), _filled(LARGE)
    gc.collect()
    gc.freeze()  # as the supervisor does after its start
    costs = {(size, step): [] for size in ("small", "large") for step in ("insert", "move")}
    for number in range(ROUNDS):
        for size, board in (("small", small), ("large", large)):
            insert, move = _sample(board, f"{size}-{number}")
            costs[size, "insert"].append(insert)
            costs[size, "move"].append(move)
    cost = {key: median(values) for key, values in costs.items()}
    yield Figure("a transition at 1,000 tasks", cost["small", "move"] * 1e6, "µs")
    yield Figure("at 100,000, in ratio", cost["large", "move"] / cost["small", "move"], "", 1.5)
    yield Figure("an insertion at 1,000 tasks", cost["small", "insert"] * 1e6, "µs")
    yield Figure("at 100,000, in ratio", cost["large", "insert"] / cost["small", "insert"], "", 2.5)
    gc.unfreeze()
    del small, large
    gc.collect()
    yield from _starts()


def _mail(number: object, *waits: object) -> Mail:
    body = "Do what is to be done, and say what you did. " * 8
    return Mail(id=f"task-{number}", to="expert", depends_on=tuple(f"task-{each}" for each in waits), body=body)


def _history(size: int) -> Iterator[ev.MailAccepted]:
    for number in range(size):
        waits = (number - 1,) if number % 4 else ()
        yield ev.MailAccepted(
            _mail(number, *waits), fingerprint=f"{number:032x}", source=f"experts/e/inbox/{number}.md"
        )


def _filled(size: int) -> Board:
    board = Board()
    for number, event in enumerate(_history(size), start=1):
        board.apply(ev.Entry(number, float(number), event))
    return board


def _sample(board: Board, prefix: str) -> tuple[float, float]:
    """Seconds for an insertion, and for a transition: two for each task, start and end, each releasing a dependant."""

    def apply(event: ev.Event) -> None:
        board.apply(ev.Entry(board.seq + 1, 1.0, event))

    pairs = [(_mail(f"{prefix}-{n}"), _mail(f"{prefix}-{n}-after", f"{prefix}-{n}")) for n in range(SAMPLES)]
    began = time.perf_counter()
    for first, second in pairs:
        apply(ev.MailAccepted(first))
        apply(ev.MailAccepted(second))
    inserted = time.perf_counter()
    for pair in pairs:
        for mail in pair:
            apply(ev.RunStarting(f"{mail.id}.1", mail.id, 1))
            apply(ev.RunSettled(f"{mail.id}.1", mail.id, ev.Step.DONE, RunReport(None, "")))
    moved = time.perf_counter()
    return (inserted - began) / (2 * SAMPLES), (moved - inserted) / (4 * SAMPLES)


def _starts() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory(prefix="agentpool-bench-") as name:
        directory = Path(name) / "journal"
        journal, recovery = Journal.open(directory)
        assert not list(recovery.records)
        batch: list[tuple[str, dict[str, object]]] = []
        for event in _history(LARGE):
            batch.append((event.name, ev.encode(event)))
            if len(batch) == 1_000:
                journal.append(batch, 1.0)
                batch.clear()
        journal.close()
        yield Figure("start with 100,000 open tasks, from segments", _start(directory, snapshot=True), "s", 20)
        yield Figure("start with 100,000 open tasks, from a snapshot", _start(directory, snapshot=False), "s", 5)


def _start(directory: Path, *, snapshot: bool) -> float:
    began = time.perf_counter()
    ledger, _ = Ledger.open(directory, 0)
    seconds = time.perf_counter() - began
    assert len(ledger.board.tasks) == LARGE
    if snapshot:
        asyncio.run(ledger.write_snapshot(1.0, 0.0))
    ledger.close()
    gc.unfreeze()
    return seconds
