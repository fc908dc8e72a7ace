"""400 mails to 8 experts on an agent that ends at once, against a bare asyncio loop doing the same disk work."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.pool import instant_agent, served, until
from benchmarks.report import Figure

if TYPE_CHECKING:
    from collections.abc import Iterator

MAILS = 400
EXPERTS = 8


def measure() -> Iterator[Figure]:
    """Both rates, from the same file system, one right after the other, and their ratio."""
    with tempfile.TemporaryDirectory(prefix="agentpool-bench-") as name:
        agent = instant_agent(Path(name))
        pool_rate = _pool_rate(agent)
        bare_rate = asyncio.run(_bare_rate(agent, Path(name)))
    yield Figure("agentpool", pool_rate, "mails/s")
    yield Figure("bare loop", bare_rate, "tasks/s")
    yield Figure("agentpool : bare loop (0.5 is aimed for)", pool_rate / bare_rate, "", 0.25, at_least=True)


def _pool_rate(agent: Path) -> float:
    settings = (
        f'[agent]\ncommand = "{agent}"\n[limits]\nrun_memory = 0\nmax_runs = {EXPERTS}\n[budget]\nday_usd = 1000.0\n'
    )
    with served(EXPERTS, settings) as pool:
        staged = pool.directory / "staged"
        staged.mkdir()
        for number in range(MAILS):
            (staged / f"m{number}.md").write_text(f"---\nid: m{number}\ntype: task\n---\nDo it\n")
        answers = pool.root / "human/inbox"
        # One for each expert first: what is imported on first use is not what a mail costs.
        for name in pool.experts:
            (pool.inbox(name) / "first.md").write_text("Do it\n")
        until(lambda: sum(1 for _ in answers.iterdir()) >= EXPERTS)
        began = time.perf_counter()
        for number in range(MAILS):
            (staged / f"m{number}.md").rename(pool.inbox(f"e{number % EXPERTS}") / f"m{number}.md")
        until(lambda: sum(1 for _ in answers.iterdir()) >= MAILS + EXPERTS)
        return MAILS / (time.perf_counter() - began)


async def _bare_rate(agent: Path, directory: Path) -> float:
    """Per task: a directory with two files, two appends each made durable, and the command; `EXPERTS` at once."""
    log = os.open(directory / "log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    slots = asyncio.Semaphore(EXPERTS)

    def append() -> None:
        os.write(log, b"x" * 300 + b"\n")
        os.fdatasync(log)

    async def task(number: int) -> None:
        async with slots:
            place = directory / f"bare-{number}"
            place.mkdir()
            (place / "prompt").write_text("Do it\n")
            with (place / "stream").open("wb") as stream:
                append()
                process = await asyncio.create_subprocess_exec(agent, stdout=stream)
                await process.wait()
            append()

    began = time.perf_counter()
    await asyncio.gather(*(task(number) for number in range(MAILS)))
    return MAILS / (time.perf_counter() - began)
