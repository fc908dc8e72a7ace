"""A pool at rest: 50 blocked tasks, 20 notifies and a delegated parent, over 60 seconds."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.pool import BenchPool, served, until
from benchmarks.report import Figure

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = 60
SCRIPT = """
[[play]]
task = "parent"
steps = [{ send = { name = "child.md", to = "human", type = "question", body = "May I?" } }]
"""


def measure() -> Iterator[Figure]:
    """Runs started, share of one core, and memory."""
    with tempfile.TemporaryDirectory(prefix="agentpool-bench-") as name:
        script = Path(name) / "script.toml"
        script.write_text(SCRIPT)
        with served(4, f'[agent]\nkind = "simulated"\nscript = "{script}"\n') as pool:
            _fill(pool)
            starts, cpu, began = _starts(pool), pool.cpu(), time.monotonic()
            time.sleep(SECONDS)
            share = (pool.cpu() - cpu) / (time.monotonic() - began) * 100
            started, memory = _starts(pool) - starts, pool.memory()
    yield Figure("runs started", float(started), "", 0)
    yield Figure("of one core", share, "%", 0.5)
    yield Figure("memory", memory / 2**20, "MiB", 100)


def _fill(pool: BenchPool) -> None:
    for number in range(50):
        text = "---\ndepends-on: [never]\n---\nLater\n"
        (pool.inbox(f"e{number % 4}") / f"blocked-{number}.md").write_text(text)
    for number in range(20):
        text = f"---\nto: e{number % 4}\ntype: notify\n---\nFor your information\n"
        (pool.root / "postoffice" / f"note-{number}.md").write_text(text)
    (pool.inbox("e0") / "parent.md").write_text("Ask a person\n")
    until(lambda: _count(pool, "mail.accepted") >= 71 and _state(pool, "parent") == "delegated", poll=0.2)


def _state(pool: BenchPool, task: str) -> str:
    tasks = json.loads(pool.command("board", "--json"))["tasks"]
    return next((each["state"] for each in tasks if each["id"] == task), "")


def _starts(pool: BenchPool) -> int:
    return _count(pool, "run.starting")


def _count(pool: BenchPool, event: str) -> int:
    segments = (pool.root / "journal").glob("segment-*.jsonl")
    return sum(segment.read_text().count(f'"event":"{event}"') for segment in segments)
