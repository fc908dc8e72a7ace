"""Fixtures for tests that talk to the real `claude` command, and to the simulated one in its words."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.claude.messages_api import MessagesApi
from tests.claude.pools import RealPool
from tests.claude.running import Workplace
from tests.claude.scenario import REPOSITORY, ClaudeScenario, Scenario, SimulatedScenario

if TYPE_CHECKING:
    from collections.abc import Iterator

# A pipe that takes a whole prompt, and the signs that these tests look for, are Linux's.
collect_ignore_glob = [] if sys.platform == "linux" else ["test_*.py"]

INSTALLED = REPOSITORY / ".cache" / "claude" / "node_modules" / ".bin" / "claude"


@pytest.fixture(scope="session")
def claude_command() -> Path:
    """The path of the real command; the test is skipped where there is none."""
    command = Path(os.environ.get("AGENTPOOL_TEST_CLAUDE") or INSTALLED)
    if not os.access(command, os.X_OK):
        pytest.skip(f"no claude command at {command}: `make test` installs it when npm is there")
    return command


@pytest.fixture
def api() -> Iterator[MessagesApi]:
    """A scripted Messages API that serves."""
    with MessagesApi() as api:
        yield api


@pytest.fixture
def claude(claude_command: Path, api: MessagesApi, tmp_path: Path) -> Iterator[ClaudeScenario]:
    """The real command, and the API behind it."""
    scenario = ClaudeScenario(Workplace(tmp_path), command=claude_command, api=api)
    yield scenario
    scenario.close()


@pytest.fixture
def simulated(tmp_path: Path) -> Iterator[SimulatedScenario]:
    """The simulated command."""
    scenario = SimulatedScenario(Workplace(tmp_path))
    yield scenario
    scenario.close()


@pytest.fixture
def pool(claude_command: Path, api: MessagesApi, tmp_path: Path) -> Iterator[RealPool]:
    """A pool on the real command that is not served yet."""
    with RealPool(tmp_path, claude_command, api) as pool:
        yield pool


@pytest.fixture(params=[pytest.param("claude", marks=pytest.mark.claude), "simulated"])
def agent(request: pytest.FixtureRequest) -> Scenario:
    """Each agent in turn."""
    scenario: Scenario = request.getfixturevalue(request.param)
    return scenario
