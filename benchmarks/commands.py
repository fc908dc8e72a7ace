"""What a person types, against an empty typer command with one typed option."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.pool import served
from benchmarks.report import Figure, median

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUNDS = 15
EMPTY = """
import typer

app = typer.Typer()


@app.command()
def main(count: int = 1) -> None:
    pass


app()
"""


def measure() -> Iterator[Figure]:
    """Whole processes, in turn, so that a change of the machine's speed meets all of them."""
    with (
        tempfile.TemporaryDirectory(prefix="agentpool-bench-") as name,
        served(2, '[agent]\nkind = "simulated"\n') as pool,
    ):
        empty = Path(name) / "empty.py"
        empty.write_text(EMPTY)
        agentpool = str(Path(sys.executable).with_name("agentpool"))
        lines = {
            "an empty command": [sys.executable, str(empty), "--count", "2"],
            "agentpool --help": [agentpool, "--help"],
            "agentpool status": [agentpool, "status"],
            "agentpool send": [agentpool, "send", "human", "hello", "--type", "notify"],
        }
        times: dict[str, list[float]] = {name: [] for name in lines}
        for _ in range(ROUNDS):
            for label, line in lines.items():
                began = time.perf_counter()
                subprocess.run(line, cwd=pool.directory, check=True, capture_output=True)
                times[label].append(time.perf_counter() - began)
    empty_time = median(times["an empty command"])
    yield Figure("an empty command", empty_time * 1000, "ms")
    for label in list(lines)[1:]:
        yield Figure(f"{label}, in ratio", median(times[label]) / empty_time, "", 1.3)
