"""The supervisor's loop in this process, with a clock and a watch of the test's own."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from agentpool.pool.founding import ensure_directories
from agentpool.supervisor import supervisor as module
from agentpool.supervisor.ledger import Ledger
from agentpool.supervisor.settings import Settings
from agentpool.supervisor.supervisor import Supervisor
from agentpool.supervisor.watch import NoWatch
from tests.supervisor.served import DEADLINE_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import pytest

    from tests.supervisor.served import Pool


@asynccontextmanager
async def _supervisor(pool: Pool, clock: Callable[[], float] = time.time) -> AsyncIterator[Supervisor]:
    settings = Settings(pool.layout, pool.home)
    ensure_directories(pool.layout, settings.experts, ())
    ledger, _ = Ledger.open(pool.layout.journal, 0)
    supervisor = Supervisor(pool.layout, settings, ledger, clock)
    try:
        yield supervisor
    finally:
        await supervisor.close()
        ledger.close()


async def _eventually(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():  # noqa: ASYNC110 - what is waited for are files and a board, which tell of nothing
            await asyncio.sleep(0.01)


def test_a_clock_that_is_set_back_stops_nothing(pool: Pool) -> None:
    """A wall clock set back by a day: settings are read, drops found and a deleted journal written anew as before."""
    back = 0.0

    async def serve() -> None:
        nonlocal back
        async with _supervisor(pool, lambda: time.time() - back) as supervisor:
            await supervisor.begin("test", 1)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(supervisor.run())
                await _eventually(pool.layout.taskboard.exists)  # the first turn, with its sweep, is over
                back = 86_400.0
                pool.configure(budget={"day_usd": 77.0})
                await _eventually(lambda: supervisor.settings.configuration.budget.day_usd == 77.0)
                pool.layout.journal.rename(pool.layout.root / "aside")
                await _eventually(pool.layout.journal.exists)
                pool.drop("t.md", "hello\n", to="a")
                await _eventually(lambda: supervisor.board.find("t") is not None and not supervisor.board.tasks)
                supervisor.leave()

    asyncio.run(serve())


def test_drops_that_only_the_sweep_finds_are_said(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where no event tells of drops they are counted, warned of once, and named in a status."""
    monkeypatch.setattr(module, "start_watch", lambda _: NoWatch())

    async def look() -> None:
        async with _supervisor(pool) as supervisor:
            supervisor.intake.watch_directories()
            later = time.time() + 60.0
            supervisor.intake.look(later, everything=True)
            for name in ("a", "b"):
                pool.drop(f"for-{name}.md", "hello\n", to=name)
            supervisor.intake.look(later, everything=True)
            assert [arrival.mail_id for arrival in supervisor.intake.batch(later)] == ["for-a", "for-b"]
            assert any("2 drops were found by the sweep alone" in each for each in supervisor.warnings)

    asyncio.run(look())
    assert [record.action for record in caplog.records if "no event told" in record.message] == ["watch.missed"]  # type: ignore[attr-defined]
