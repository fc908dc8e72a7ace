from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from agentpool.runs.agent import Command
from agentpool.runs.family import Family, become_subreaper
from agentpool.runs.process_table import identity, send

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DEADLINE_SECONDS = 20.0
LOOK_SECONDS = 0.005


@pytest.fixture
def until() -> Callable[[Callable[[], Any]], Any]:
    """Waits until a condition holds and returns what it came to; fails after a deadline."""

    def wait(condition: Callable[[], Any]) -> Any:
        never = threading.Event()
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not (value := condition()):
            assert time.monotonic() < deadline, "what was waited for did not happen"
            never.wait(LOOK_SECONDS)
        return value

    return wait


@pytest.fixture
def run_directory(tmp_path: Path) -> Iterator[Path]:
    """The directory of one run; whatever still carries its marker afterwards is killed."""
    directory = tmp_path / "runs" / "health.1"
    directory.mkdir(parents=True)
    yield directory
    for state in Family(directory, None, ours=False).find():
        send(identity(state), signal.SIGKILL)


@pytest.fixture
def shell(tmp_path: Path) -> Callable[..., Command]:
    """Makes a command of shell text."""

    def command(text: str, stdin: bytes = b"") -> Command:
        return Command(("/bin/sh", "-c", text), {"PATH": os.environ["PATH"]}, tmp_path, stdin)

    return command


@pytest.fixture
def subreaper() -> Iterator[None]:
    """This process is a child subreaper for the time of one test."""
    become_subreaper()
    yield
    ctypes.CDLL(None).prctl(36, 0, 0, 0, 0)
