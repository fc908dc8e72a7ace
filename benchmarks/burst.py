"""10,000 mails renamed at once into 100 inboxes of a pool that may start nothing."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from benchmarks.pool import BenchPool, served, until
from benchmarks.report import Figure

if TYPE_CHECKING:
    from collections.abc import Iterator

MAILS = 10_000
INBOXES = 100


def measure() -> Iterator[Figure]:
    """Time until the last is durable, memory for each, and whether each was accepted once."""
    # Every task waits for one that never comes, so that only accepting is measured.
    text = "---\nto: {name}\ndepends-on: [never]\n---\nDo it\n"
    with served(INBOXES, '[agent]\nkind = "simulated"\n') as pool:
        staged = pool.directory / "staged"
        staged.mkdir()
        for number in range(MAILS):
            name = pool.experts[number % INBOXES]
            (staged / f"m{number}.md").write_text(text.format(name=name))
        memory, cpu = pool.memory(), pool.cpu()
        began = time.perf_counter()
        for number in range(MAILS):
            (staged / f"m{number}.md").rename(pool.inbox(pool.experts[number % INBOXES]) / f"m{number}.md")
        renamed = time.perf_counter() - began
        until(lambda: not any(next(pool.inbox(name).iterdir(), None) for name in pool.experts), poll=0.05)
        seconds = time.perf_counter() - began
        grown, used = pool.memory() - memory, pool.cpu() - cpu
        ids = _accepted(pool)
    yield Figure("until all were accepted", seconds, "s", 10)
    yield Figure("of which renaming them", renamed, "s")
    yield Figure("processor time for each mail", used / MAILS * 1000, "ms")
    yield Figure("memory for each mail", grown / MAILS / 1024, "KiB", 5)
    yield Figure("mails that are missing or came twice", float(abs(len(ids) - MAILS) + len(ids) - len(set(ids))), "", 0)


def _accepted(pool: BenchPool) -> list[str]:
    ids = []
    for segment in sorted((pool.root / "journal").glob("segment-*.jsonl")):
        for line in segment.read_text().splitlines():
            record = json.loads(line)
            if record.get("event") == "mail.accepted":
                ids.append(record["mail"]["id"])
    return ids
