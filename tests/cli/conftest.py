"""A project with a pool, a supervisor in memory, and the command as a process."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agentpool.pool.layout import Layout
from tests.gateway.fake_verbs import FakeVerbs, ServedPool

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Command:
    """The `agentpool` command in a project, with a home and an environment of its own."""

    project: Path
    home: Path

    @property
    def environment(self) -> dict[str, str]:
        """What every process of the test gets."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "PYTHONPATH": str(REPOSITORY),
            "COLUMNS": "80",
            "TZ": "UTC",
            "LANG": "C.UTF-8",
        }

    def argv(self, *arguments: str) -> list[str]:
        """The command line."""
        return [sys.executable, "-m", "agentpool", *arguments]

    def __call__(
        self, *arguments: str, stdin: str = "", cwd: Path | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Runs the command to its end."""
        return subprocess.run(
            self.argv(*arguments),
            cwd=cwd or self.project,
            env=self.environment | environment,
            input=stdin,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=30,
            check=False,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Starts the command and returns while it runs."""
        return subprocess.Popen(
            self.argv(*arguments),
            cwd=self.project,
            env=self.environment | {"PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """The command in an empty project."""
    (tmp_path / "home").mkdir()
    (tmp_path / "p").mkdir()
    return Command(tmp_path / "p", tmp_path / "home")


@pytest.fixture
def layout(command: Command) -> Layout:
    """The directory of a pool that nobody serves."""
    layout = Layout(command.project / ".agent-pool")
    layout.run.mkdir(parents=True, mode=0o700)
    layout.postoffice.mkdir()
    return layout


@pytest.fixture
def served(layout: Layout) -> Iterator[ServedPool]:
    """The pool, served from memory."""
    with ServedPool(layout, FakeVerbs()) as pool:
        yield pool
