"""`agentpool demo`: a real bug, mended by real processes in a real repository."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agentpool.pool.layout import Layout
from agentpool.runs import process_table
from tests.cli.conftest import Command
from tests.cli.terminal import in_terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

_TASKS = ("one-cent", "fix-price", "guard-checkout", "since-when", "receipts", "tell-support", "release-note")


@dataclass(frozen=True, slots=True)
class Shown:
    """A demo that has ended."""

    project: Path
    done: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """The whole demo, once for all tests, with its lines piped."""
    parent = tmp_path_factory.mktemp("demo")
    command = Command(parent, parent)
    done = subprocess.run(
        command.argv("demo", "--keep", "shop"),
        cwd=parent,
        env=command.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    yield Shown(parent / "shop", done)
    # Whatever a broken demo leaves behind must not outlive the tests.
    subprocess.run(command.argv("-C", "shop", "stop", "--now"), cwd=parent, capture_output=True, check=False)


def _processes_in(project: Path) -> list[str]:
    """Living processes that were started in the project: its supervisors and their runs."""
    marker = str(project).encode()
    states = [state for state in process_table.table().values() if not state.zombie]
    found = [state for state in states if marker in process_table.environment_of(state.pid)]
    return [f"{state.pid} {state.command}" for state in found]


def test_every_promise_holds(shown: Shown) -> None:
    """The demo ends with 0, and each of its own checks is told and holds."""
    assert shown.done.returncode == 0, shown.done.stdout + shown.done.stderr
    assert "FAILED  " not in shown.done.stdout
    assert "All 9 checks hold" in shown.done.stdout
    assert "Traceback" not in shown.done.stdout + shown.done.stderr


def test_it_tells_what_a_newcomer_wants_to_know(shown: Shown) -> None:
    """The bug, the kill and the adoption, the board, the answers, the fix and where to look stand in its lines."""
    for told in (
        "AssertionError: 1998 != 1999",
        "kill -9",
        "run.adopted           fix-price.1",
        "did you mean `pricing`",
        *_TASKS,
        "The missing cent is found, fixed and guarded.",
        "-    return int(float(label) * 100)",
        "agentpool init --expert NAME",
        str(shown.project),
    ):
        assert told in shown.done.stdout


def test_without_a_terminal_nothing_is_drawn(shown: Shown) -> None:
    """Piped, it prints plain lines: no colour, no cursor movement."""
    assert "\x1b" not in shown.done.stdout + shown.done.stderr


def test_the_bug_is_really_gone(shown: Shown) -> None:
    """The project's tests pass afterwards, and fail again with the code that git has."""
    tests = [sys.executable, "-B", "-m", "unittest"]
    assert subprocess.run(tests, cwd=shown.project, capture_output=True, check=False).returncode == 0
    committed = subprocess.run(
        ["git", "show", "HEAD:shop/price.py"], cwd=shown.project, capture_output=True, text=True, check=True
    )
    broken = shown.project.parent / "broken"
    (broken / "shop").mkdir(parents=True)
    (broken / "shop" / "price.py").write_text(committed.stdout)
    code = "from shop.price import cents; assert cents('19.99') == 1998"
    assert subprocess.run([sys.executable, "-B", "-c", code], cwd=broken, check=False).returncode == 0


def test_the_pool_it_leaves_can_be_read(shown: Shown) -> None:
    """Every task has one answer in the archive or the inbox, and what was learned is in the expert's own file."""
    layout = Layout(shown.project / ".agent-pool")
    for task in _TASKS:
        answers = [*layout.root.glob(f"archive/*/{task}.response*.md"), *layout.root.glob(f"*/inbox/{task}.response*")]
        assert len(answers) == 1, task
    assert "Decimal" in (layout.home("pricing") / "state.md").read_text()


def test_nothing_runs_on(shown: Shown) -> None:
    """No supervisor and no run is left when the demo has ended."""
    assert _processes_in(shown.project) == []


def test_an_interrupt_stops_everything(command: Command) -> None:
    """Ctrl-C in the live picture ends the supervisor and its runs; the terminal gets its cursor back."""
    keys = iter([b"\x03"])
    code, drawn = in_terminal(
        command, "demo", "--keep", "shop", react=lambda drawn: next(keys, b"") if "Running" in drawn else b""
    )
    assert code == 130
    assert "nothing is left running" in drawn
    assert drawn.rindex("\x1b[?25h") > drawn.rindex("\x1b[?25l")
    assert _processes_in(command.project / "shop") == []


def test_it_overwrites_nothing(command: Command) -> None:
    """A directory that holds something is refused and stays as it is."""
    (command.project / "mine").write_text("mine")
    said = command("demo", "--keep", ".")
    assert said.returncode == 2
    assert "not empty" in said.stderr
    assert [file.name for file in command.project.iterdir()] == ["mine"]


def test_it_says_that_it_needs_git(command: Command) -> None:
    """Without git it ends with one sentence and no traceback."""
    said = command("demo", "--keep", "shop", PATH="/nonexistent")
    assert said.returncode == 1
    assert "needs git" in said.stderr
    assert "Traceback" not in said.stderr
