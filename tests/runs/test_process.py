from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agentpool.model.errors import AgentError
from agentpool.runs import process_table
from agentpool.runs.agent import Command
from agentpool.runs.process import ALIVE, ERRORS, STREAM, Exit, RunProcess, adopt, lives, spawn
from agentpool.runs.process_table import Identity, send

if TYPE_CHECKING:
    from collections.abc import Callable

MEBIBYTE = 1024 * 1024


def ended(process: RunProcess) -> Exit:
    """Waits for the command to end, and reaps it."""
    asyncio.run(asyncio.wait_for(process.wait(), 20))
    return process.reap()


def test_the_prompt_is_whole_and_ends(run_directory: Path, shell: Callable[..., Command]) -> None:
    """A prompt of a mebibyte reaches the command completely, and then its input ends."""
    prompt = os.urandom(MEBIBYTE)
    assert ended(spawn(shell("cat", stdin=prompt), run_directory)).code == 0
    assert (run_directory / STREAM).read_bytes() == prompt


def test_a_prompt_that_no_pipe_holds(
    run_directory: Path, shell: Callable[..., Command], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where pipes stay small, the prompt still reaches the command completely."""
    monkeypatch.delattr(fcntl, "F_SETPIPE_SZ")
    prompt = os.urandom(MEBIBYTE)
    assert ended(spawn(shell("cat", stdin=prompt), run_directory)).code == 0
    assert (run_directory / STREAM).read_bytes() == prompt


def test_an_empty_prompt_is_the_end_of_input(run_directory: Path, shell: Callable[..., Command]) -> None:
    """Without a prompt the command reads the end of its input at once."""
    ended(spawn(shell("wc -c"), run_directory))
    assert (run_directory / STREAM).read_text().strip() == "0"


def test_output_goes_to_files(run_directory: Path, shell: Callable[..., Command]) -> None:
    """What the command prints is appended to two files that only their owner can read."""
    (run_directory / STREAM).write_text("before\n")
    ended(spawn(shell("echo out; echo err >&2"), run_directory))
    assert (run_directory / STREAM).read_text() == "before\nout\n"
    assert (run_directory / ERRORS).read_text() == "err\n"
    assert (run_directory / ERRORS).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("text", "code"), [("exit 7", 7), ("kill -TERM $$", -signal.SIGTERM), ("true", 0)])
def test_the_exit_code(run_directory: Path, shell: Callable[..., Command], text: str, code: int) -> None:
    """The exit code is the command's own, negative for a signal."""
    assert ended(spawn(shell(text), run_directory)).code == code


def test_the_environment_is_what_was_given(run_directory: Path, shell: Callable[..., Command]) -> None:
    """The command gets the environment that it was given and the run's marker, nothing of the supervisor's."""
    ended(spawn(shell("env -u PWD -u OLDPWD -u SHLVL -u _"), run_directory))
    assert set((run_directory / STREAM).read_text().splitlines()) == {
        f"PATH={os.environ['PATH']}",
        f"AGENTPOOL_RUN_DIRECTORY={run_directory}",
    }


def test_the_command_leads_a_session(run_directory: Path, shell: Callable[..., Command]) -> None:
    """A run has a session of its own, so the terminal's Ctrl-C is not for it."""
    process = spawn(shell("exec sleep 600"), run_directory)
    assert process.identity is not None
    assert os.getsid(process.identity.pid) == process.identity.pid


def test_nothing_else_is_inherited_or_left_open(run_directory: Path, shell: Callable[..., Command]) -> None:
    """The command has its three streams and the lock; the supervisor keeps no descriptor of a run at all."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    process = spawn(shell("exec sleep 600"), run_directory)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert process.identity is not None
    links = Path(f"/proc/{process.identity.pid}/fd").iterdir()
    files = {link.readlink().name for link in links if link.readlink().is_relative_to(run_directory)}
    assert files == {ALIVE, STREAM, ERRORS}


def test_it_lives_as_long_as_the_lock_is_held(run_directory: Path, shell: Callable[..., Command]) -> None:
    """A run lives from its spawn to its end, whoever asks."""
    assert not lives(run_directory)
    process = spawn(shell("exec sleep 600"), run_directory)
    assert lives(run_directory)
    assert lives(run_directory)
    process.interrupt()
    assert ended(process).code == -signal.SIGINT
    assert not lives(run_directory)


def test_one_run_a_directory(run_directory: Path, shell: Callable[..., Command]) -> None:
    """A second run cannot be started in the directory of one that lives."""
    spawn(shell("exec sleep 600"), run_directory)
    with pytest.raises(AgentError, match="held by a process that lives"):
        spawn(shell("true"), run_directory)


@pytest.mark.parametrize("missing", ["program", "directory"])
def test_a_command_that_cannot_be_started(tmp_path: Path, run_directory: Path, missing: str) -> None:
    """A program or a working directory that is not there is an error with a tip, and leaves no lock."""
    program = "/nonexistent/agent" if missing == "program" else "/bin/true"
    where = tmp_path if missing == "program" else tmp_path / "gone"
    with pytest.raises(AgentError, match="cannot start") as caught:
        spawn(Command((program,), {}, where, b""), run_directory)
    assert caught.value.tip
    assert not lives(run_directory)


def test_reaping_a_living_run_is_a_mistake(run_directory: Path, shell: Callable[..., Command]) -> None:
    """Only a process that has ended can be reaped."""
    process = spawn(shell("exec sleep 600"), run_directory)
    with pytest.raises(RuntimeError):
        process.reap()


def test_peak_memory_is_the_commands_own(run_directory: Path, tmp_path: Path) -> None:
    """A command that needs much memory is reported so; one that needs less than the supervisor is not guessed."""
    big = Command((sys.executable, "-c", "bytearray(400 << 20)"), {}, tmp_path, b"")
    peak = ended(spawn(big, run_directory)).peak_memory_bytes
    assert peak is not None
    assert peak > 400 << 20
    assert ended(spawn(Command(("/bin/true",), {}, tmp_path, b""), run_directory)).peak_memory_bytes is None


def test_a_cancelled_wait_leaves_the_process_alone(run_directory: Path, shell: Callable[..., Command]) -> None:
    """Whoever stops waiting does not end the run, and can wait again."""
    process = spawn(shell("exec sleep 600"), run_directory)

    async def give_up() -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), 0.01)

    asyncio.run(give_up())
    assert not process.has_ended()
    process.interrupt()
    assert ended(process).code == -signal.SIGINT


def test_waiting_without_process_handles(
    run_directory: Path, shell: Callable[..., Command], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the system has no pidfd and no waitid, the end is seen and signals arrive all the same."""
    monkeypatch.delattr(os, "pidfd_open")
    monkeypatch.delattr(os, "waitid")
    process = spawn(shell("exec sleep 600"), run_directory)
    process.interrupt()
    assert ended(process).code == -signal.SIGINT


def test_identities_are_text_and_back() -> None:
    """An identity survives the journal; other text is none."""
    identity = Identity(17, 4711, "0b7c")
    assert Identity.parse(f"{identity}\n") == identity
    assert Identity.parse("") is None
    assert Identity.parse("seventeen/1/2") is None


def test_a_stranger_with_the_same_pid_gets_no_signal(run_directory: Path, shell: Callable[..., Command]) -> None:
    """A signal for a process that is gone does not reach the one that has its pid now."""
    process = spawn(shell("exec sleep 600"), run_directory)
    assert process.identity is not None
    pid, started, boot = process.identity.pid, process.identity.started, process.identity.boot
    assert not send(Identity(pid, started - 1, boot), signal.SIGKILL)
    assert not send(Identity(pid, started, "another boot"), signal.SIGKILL)
    assert not process.has_ended()


SUPERVISOR = """
import json, os, sys
from pathlib import Path
from agentpool.runs.agent import Command
from agentpool.runs.process import spawn
directory = Path(sys.argv[1])
process = spawn(Command(("/bin/sh", "-c", sys.argv[2]), dict(os.environ), directory, b"prompt"), directory)
print(process.identity, flush=True)
os.kill(os.getpid(), 9)
"""


def left_by_a_dead_supervisor(directory: Path, text: str) -> Identity:
    """Starts a run by a process that is then killed."""
    finished = subprocess.run(
        [sys.executable, "-c", SUPERVISOR, str(directory), text], stdout=subprocess.PIPE, check=False
    )
    assert finished.returncode == -signal.SIGKILL
    identity = Identity.parse(finished.stdout.decode())
    assert identity is not None
    return identity


@pytest.mark.parametrize("known", ["journal", "alive", "marker"])
def test_adoption_after_the_supervisor_was_killed(run_directory: Path, until: Callable[..., Any], known: str) -> None:
    """A run goes on without its supervisor, and the next one finds it by whatever record there is."""
    identity = left_by_a_dead_supervisor(run_directory, "cat; exec sleep 600")
    if known == "marker":
        (run_directory / ALIVE).write_text("")
    process = adopt(run_directory, identity if known == "journal" else None)
    assert process is not None
    assert process.identity == identity
    assert not process.has_ended()
    until(lambda: (run_directory / STREAM).read_text() == "prompt")
    process.sample_memory()
    process.interrupt()
    exit_ = ended(process)
    assert exit_.code is None
    assert exit_.peak_memory_bytes
    assert adopt(run_directory) is None


def test_an_adopted_run_knows_its_age(run_directory: Path) -> None:
    """The wall time of an adopted run counts from its own start, not from its adoption."""
    left_by_a_dead_supervisor(run_directory, "exec sleep 600")
    process = adopt(run_directory)
    assert process is not None
    assert process.identity is not None
    seconds = process.seconds()
    assert seconds is not None
    assert seconds == pytest.approx(process_table.age(process.identity), abs=0.5)


def test_a_held_lock_whose_command_is_gone(run_directory: Path, until: Callable[..., Any]) -> None:
    """When only a descendant still holds the lock, the run is adopted and its command has ended."""
    identity = left_by_a_dead_supervisor(run_directory, "setsid sleep 600 & echo")
    process = adopt(run_directory, identity)
    assert process is not None
    until(process.has_ended)
    until(lambda: [state.command for state in process.family.find()] == ["sleep"])


def test_nothing_to_adopt(run_directory: Path, until: Callable[..., Any]) -> None:
    """A run that ended while nobody looked is not adopted."""
    left_by_a_dead_supervisor(run_directory, "exit 0")
    until(lambda: not lives(run_directory))
    assert adopt(run_directory) is None
