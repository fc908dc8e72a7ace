from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agentpool.model.errors import TimedOutError
from agentpool.runs import process_table, stop
from agentpool.runs.agent import Command
from agentpool.runs.family import MARKER, Family, is_subreaper
from agentpool.runs.process import lives, spawn
from agentpool.runs.process_table import ProcessState, identity

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentpool.runs.process import RunProcess

#: A command that ignores what can be ignored.
STUBBORN = "trap '' INT TERM; while :; do sleep 600; done"


def commands(states: list[ProcessState]) -> list[str]:
    """The names of processes, sorted."""
    return sorted(state.command for state in states)


def own_children() -> list[int]:
    """The pids of this process's children, ended ones among them."""
    return [state.pid for state in process_table.table().values() if state.parent == os.getpid()]


def wait(process: RunProcess) -> None:
    """Waits for the command to end."""
    asyncio.run(asyncio.wait_for(process.wait(), 20))


def test_a_family_is_the_command_and_its_descendants(
    run_directory: Path, shell: Callable[..., Command], until: Callable[..., Any]
) -> None:
    """Children, and children that took a session of their own, belong to the run."""
    process = spawn(shell("sleep 600 & setsid sleep 600 & exec cat /dev/zero >/dev/null"), run_directory)
    until(lambda: commands(process.family.find()) == ["cat", "sleep", "sleep"])


@pytest.mark.parametrize("text", ["setsid -f sleep 600", "(setsid sleep 600 &)"])
def test_orphans_are_found_by_their_marker(
    run_directory: Path, shell: Callable[..., Command], until: Callable[..., Any], text: str
) -> None:
    """What moved away and lost its parent is found after the command's end, by its own supervisor and by others."""
    process = spawn(shell(text), run_directory)
    wait(process)
    until(lambda: commands(process.family.left_behind()) == ["sleep"])
    process.reap()
    assert commands(Family(run_directory, None, ours=False).find()) == ["sleep"]


@pytest.mark.usefixtures("subreaper")
def test_a_subreaper_finds_orphans_without_a_marker(run_directory: Path, shell: Callable[..., Command]) -> None:
    """An orphan that cleared its environment is found by its session."""
    assert is_subreaper()
    process = spawn(shell("env -i sleep 600 &"), run_directory)
    wait(process)
    # `sh` may still be on its way to `sleep`.
    left = process.family.left_behind()
    assert len(left) == 1
    assert left[0].parent == os.getpid()
    asyncio.run(stop.clear(process.family, 0.1))
    process.reap()


@pytest.mark.usefixtures("subreaper")
def test_ended_orphans_leave_the_process_table(run_directory: Path, shell: Callable[..., Command]) -> None:
    """Orphans that a subreaper inherited are buried, whether they ended by themselves or were killed."""
    before = set(own_children())
    process = spawn(shell("sleep 600 & true & setsid -f sleep 600"), run_directory)
    wait(process)
    assert asyncio.run(stop.clear(process.family, 5)) == 2
    process.reap()
    assert set(own_children()) <= before


@pytest.mark.usefixtures("subreaper")
def test_burying_leaves_the_children_of_others_alone(run_directory: Path, shell: Callable[..., Command]) -> None:
    """The exit codes of processes that the supervisor started otherwise stay for whoever started them."""
    others = [subprocess.Popen(["/bin/sh", "-c", "exit 3"], start_new_session=new) for new in (True, False)]
    for other in others:
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
    process = spawn(shell("sleep 600 &"), run_directory)
    wait(process)
    asyncio.run(stop.clear(process.family, 5))
    assert [other.wait() for other in others] == [3, 3]
    process.reap()


def test_a_process_that_is_just_executing_is_not_missed(run_directory: Path, shell: Callable[..., Command]) -> None:
    """While a process executes one program after the other, each look finds it by its marker."""
    text = 'n=$((${1:-200} - 1)); [ $n -gt 0 ] && exec /bin/sh -c "$0" "$0" $n'
    again = Command(("/bin/sh", "-c", text, text), shell("").environment, run_directory, b"")
    process = spawn(again, run_directory)
    looks = 0
    while found := Family(run_directory, None, ours=False).find():
        assert len(found) == 1
        looks += 1
    assert process.has_ended()
    assert looks > 1


def test_another_runs_processes_are_not_family(
    tmp_path: Path, run_directory: Path, shell: Callable[..., Command]
) -> None:
    """A run whose directory's name only begins alike is another run."""
    other = Path(f"{run_directory}0")
    other.mkdir()
    process = spawn(shell("exec sleep 600"), other)
    assert Family(run_directory, None, ours=False).find() == []
    assert asyncio.run(stop.stop(process, 5)) == 0


def test_a_supervisor_inside_a_run_does_not_find_itself(run_directory: Path) -> None:
    """A process that carries the marker itself never counts itself to the family."""
    script = (
        "import sys; from pathlib import Path; from agentpool.runs.family import Family\n"
        "print(Family(Path(sys.argv[1]), None, ours=False).find())"
    )
    finished = subprocess.run(
        [sys.executable, "-c", script, str(run_directory)],
        env={**os.environ, MARKER: str(run_directory)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert finished.stdout.strip() == "[]"


POLITE = """
import signal, sys
expected = {signal.SIGINT, signal.SIGTERM}
signal.pthread_sigmask(signal.SIG_BLOCK, expected)
print("ready", flush=True)
print(signal.sigwait(expected).name, flush=True)
sys.exit(1)
"""


def test_the_ladder_begins_politely(run_directory: Path, tmp_path: Path, until: Callable[..., Any]) -> None:
    """SIGINT comes first, and what ends by it is not told anything else."""
    process = spawn(Command((sys.executable, "-c", POLITE), {}, tmp_path, b""), run_directory)
    stream = run_directory / "stream.jsonl"
    until(lambda: "ready" in stream.read_text())
    assert asyncio.run(stop.stop(process, 20)) == 0
    assert stream.read_text().split() == ["ready", "SIGINT"]
    assert process.reap().code == 1


def test_the_ladder_ends_the_stubborn(
    run_directory: Path, shell: Callable[..., Command], until: Callable[..., Any]
) -> None:
    """A command and a grandchild in a session of its own that both ignore SIGINT and SIGTERM are killed."""
    process = spawn(shell(f'setsid /bin/sh -c "{STUBBORN}" & {STUBBORN}'), run_directory)
    until(lambda: commands(process.family.find()) == ["sh", "sh", "sleep", "sleep"])
    asyncio.run(stop.stop(process, 0.1))
    assert process.family.find() == []
    assert not lives(run_directory)
    assert process.reap().code == -signal.SIGKILL


def test_a_family_that_keeps_forking_is_ended(run_directory: Path, shell: Callable[..., Command]) -> None:
    """Processes that are started while the ladder is climbed are ended with the rest."""
    text = "trap '' INT TERM; while :; do setsid sh -c 'trap \"\" TERM; sleep 600' & sleep 0.01; done"
    process = spawn(shell(text), run_directory)
    asyncio.run(stop.stop(process, 0.1))
    assert process.family.find() == []
    process.reap()


def test_who_survives_is_named(
    run_directory: Path, shell: Callable[..., Command], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What not even SIGKILL ends is an error that names it."""
    monkeypatch.setattr(stop, "send", lambda *_: True)
    monkeypatch.setattr(stop, "KILL_SECONDS", 0.05)
    process = spawn(shell("exec sleep 600"), run_directory)
    assert process.identity is not None
    with pytest.raises(TimedOutError, match=rf"{process.identity.pid} \(sleep\)"):
        asyncio.run(stop.clear(process.family, 0.05))


def test_the_process_table_on_other_systems(
    run_directory: Path, shell: Callable[..., Command], until: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is no /proc, the same family is found through psutil."""
    monkeypatch.setattr(process_table, "_HAS_PROC", False)
    process = spawn(shell("setsid -f sleep 600"), run_directory)
    wait(process)
    # `setsid` is seen under its own name until it has become the command.
    until(lambda: commands(process.family.find()) == ["sleep"])
    [orphan] = process.family.find()
    assert process_table.age(identity(orphan)) < 60
    assert asyncio.run(stop.clear(process.family, 5)) == 1
    process.reap()
