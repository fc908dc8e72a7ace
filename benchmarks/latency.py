"""From the rename of a mail into an inbox to the start of its agent, in an idle pool."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.pool import instant_agent, served, until
from benchmarks.report import Figure, median, percentile

if TYPE_CHECKING:
    from collections.abc import Iterator

MAILS = 200


def measure() -> Iterator[Figure]:
    """Median and 99th percentile over `MAILS` mails, each dropped when nothing else happens."""
    with tempfile.TemporaryDirectory(prefix="agentpool-bench-") as name:
        directory = Path(name)
        starts = directory / "starts"
        agent = instant_agent(directory, f'date +%s.%N >> "{starts}"')
        settings = f'[agent]\ncommand = "{agent}"\n[limits]\nrun_memory = 0\n'
        times: list[float] = []
        with served(1, settings) as pool:
            answers = pool.root / "human/inbox"
            for number in range(MAILS):
                staged = pool.root / f"m{number}.md"
                staged.write_text("Do it\n")
                began = time.time()
                staged.rename(pool.inbox("e0") / staged.name)
                until(lambda number=number: (answers / f"m{number}.response.md").exists())
                times.append(float(starts.read_text().split()[number]) - began)
    yield Figure("rename → start of the agent, median", median(times) * 1000, "ms", 15)
    yield Figure("rename → start of the agent, 99th percentile", percentile(times, 0.99) * 1000, "ms", 60)
