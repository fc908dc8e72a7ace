"""A pool to measure: on the disk, served by a real supervisor, with an agent that ends at once."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RESULT = (
    '{"type":"result","subtype":"success","is_error":false,"num_turns":1,"result":"ok","total_cost_usd":0,'
    '"usage":{"input_tokens":1,"output_tokens":1},"session_id":"s"}'
)
_DEADLINE = 120.0


class BenchPool:
    """A pool in a directory of its own.

    Attributes:
        root: the pool's directory.
    """

    def __init__(self, directory: Path, experts: int, settings: str) -> None:
        self.directory = directory
        self.root = directory / ".agent-pool"
        self.experts = [f"e{number}" for number in range(experts)]
        names = [part for name in self.experts for part in ("--expert", name)]
        self.command("init", *names)
        (self.root / "pool.toml").write_text(settings)

    def command(self, *arguments: str) -> str:
        """Run `agentpool` in the project; its output."""
        line = [sys.executable, "-m", "agentpool", *arguments]
        return subprocess.run(line, cwd=self.directory, check=True, capture_output=True, text=True).stdout

    @property
    def pid(self) -> int:
        """The supervisor's."""
        return int(json.loads((self.root / "run/supervisor.json").read_text())["pid"])

    def inbox(self, name: str) -> Path:
        """The drop directory of an expert."""
        return self.root / "experts" / name / "inbox"

    def memory(self) -> int:
        """Bytes that the supervisor has in memory now."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def cpu(self) -> float:
        """Seconds of processor time that the supervisor has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def served(experts: int, settings: str, before: Callable[[BenchPool], None] | None = None) -> Iterator[BenchPool]:
    """A pool that is served while the block runs.

    Args:
        settings: the text of its `pool.toml`.
        before: called before the supervisor starts.
    """
    directory = Path(tempfile.mkdtemp(prefix="agentpool-bench-"))
    try:
        pool = BenchPool(directory, experts, settings)
        if before is not None:
            before(pool)
        pool.command("start", "-d")
        try:
            yield pool
        finally:
            pool.command("stop", "--now")
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def instant_agent(directory: Path, first_line: str = "") -> Path:
    """A command that prints a result and ends.

    Args:
        first_line: of shell, done before.
    """
    script = directory / "instant.sh"
    script.write_text(f"#!/bin/sh\n{first_line}\necho '{RESULT}'\n")
    script.chmod(0o755)
    return script


def until(condition: Callable[[], bool], poll: float = 0.005) -> None:
    """Wait for a condition, at most two minutes.

    Raises:
        TimeoutError: it did not come true.
    """
    deadline = time.monotonic() + _DEADLINE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("what the benchmark waits for did not happen")
        time.sleep(poll)
