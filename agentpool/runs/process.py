"""One run's process: started so that it outlives its supervisor, and found again by the next one.

Everything that a run needs is in its own hands before it starts: its prompt lies in a pipe whose other end is closed,
its output goes to files, and it holds a lock on `alive` for as long as it lives. So there is no moment at which the
supervisor's death harms it. The lock alone tells the next supervisor whether it lives; its pid is only for signals.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentpool.model.errors import AgentError
from agentpool.pool import lock
from agentpool.runs import process_table
from agentpool.runs.family import MARKER, Family, find_leader
from agentpool.runs.process_table import Identity

if TYPE_CHECKING:
    from pathlib import Path

    from agentpool.runs.agent import Command

#: The files of a run's directory that belong to its process.
ALIVE = "alive"
STREAM = "stream.jsonl"
ERRORS = "stderr.log"
PROMPT = "stdin.jsonl"

#: How often a process is looked at where nothing announces its end (no pidfd: macOS).
_POLL_SECONDS = 0.05
#: What a pipe holds where its size cannot be set (macOS).
_PIPE_BYTES = 65536


@dataclass(frozen=True, slots=True)
class Exit:
    """How a run's process ended.

    Args:
        code: its exit code, negative for a signal; None when it was not our child.
        peak_memory_bytes: the largest resident set of the command, or of a process that it waited for; None where it
            could not be measured.
    """

    code: int | None
    peak_memory_bytes: int | None


class RunProcess:
    """The process of one run, made by `spawn` and `adopt`.

    Args:
        directory: the run's directory, absolute.
        identity: names the command's process; None when an adopted run's start left no trace.
        ours: whether it is a child of this process.
        feeder: the process that feeds it a prompt too large for a pipe.
    """

    def __init__(
        self,
        directory: Path,
        identity: Identity | None,
        *,
        ours: bool,
        feeder: subprocess.Popen[bytes] | None = None,
    ) -> None:
        self.directory = directory
        self.identity = identity
        self.ours = ours
        self.family = Family(directory, identity, ours=ours)
        self._feeder = feeder
        self._began = None if identity is None else time.monotonic() - (0 if ours else process_table.age(identity))
        self._peak: int | None = None
        self._exit: Exit | None = None
        #: The command had ended before it was adopted: only something that it left behind held the lock.
        self.gone = not ours and self.has_ended()

    def seconds(self) -> float | None:
        """Wall time since it was started; None where that is not known."""
        return None if self._began is None else time.monotonic() - self._began

    def has_ended(self) -> bool:
        """Whether the command itself has ended; others of its family may live on."""
        if self._exit is not None:
            return True
        if self.identity is None:
            return not lives(self.directory)
        if not self.ours:
            state = process_table.state_of(self.identity.pid)
            return state is None or state.zombie or not self.identity.fits(state)
        if not hasattr(os, "waitid"):
            return self._collect()
        # WNOWAIT keeps the pid taken, so that nobody else can get it while the family is looked for.
        return os.waitid(os.P_PID, self.identity.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    async def wait(self) -> None:
        """Returns when the command itself has ended; cancelling it leaves the process alone."""
        handle = self._handle()
        if handle is None:
            while not self.has_ended():  # noqa: ASYNC110 - nothing announces it
                await asyncio.sleep(_POLL_SECONDS)
            return
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        loop.add_reader(handle, ended.set)
        try:
            # Asked after the handle is bound: it may be bound to a stranger that got the pid since.
            if not self.has_ended():
                await ended.wait()
        finally:
            loop.remove_reader(handle)
            os.close(handle)

    def interrupt(self) -> None:
        """Sends SIGINT to the command alone: `claude` then ends its tools and prints a result."""
        if self.identity is not None and not self.has_ended():
            process_table.send(self.identity, signal.SIGINT)

    def sample_memory(self) -> None:
        """Notes the peak memory so far, which the kernel tells of a process that is not a child only while it lives."""
        if self.identity is not None and not self.has_ended():
            self._peak = process_table.peak_memory(self.identity.pid) or self._peak

    def reap(self) -> Exit:
        """How it ended. To be called last, when its family is gone: it gives the pid back.

        Raises:
            RuntimeError: it has not ended.
        """
        if self._feeder is not None:
            self._feeder.poll()
        if self._exit is None and not self.ours and self.has_ended():
            self._exit = Exit(None, self._peak)
        if self._exit is None and self.ours:
            self._collect()
        if self._exit is None:
            raise RuntimeError(f"the run in {self.directory} has not ended")
        return self._exit

    def _handle(self) -> int | None:
        if self.identity is None or self._exit is not None or not hasattr(os, "pidfd_open"):
            return None
        try:
            return os.pidfd_open(self.identity.pid)
        except ProcessLookupError:
            return None

    def _collect(self) -> bool:
        assert self.identity is not None  # noqa: S101 - a child's identity is known
        pid, status, usage = os.wait4(self.identity.pid, os.WNOHANG)
        if pid == 0:
            return False
        unit = 1 if sys.platform == "darwin" else 1024
        peak: int | None = usage.ru_maxrss * unit
        # A child starts inside its parent's memory (vfork), so a peak no larger than our own says nothing about it.
        if peak is not None and peak <= resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit:
            peak = self._peak
        self._exit = Exit(os.waitstatus_to_exitcode(status), peak)
        return True


def lives(directory: Path) -> bool:
    """Whether the run of that directory lives: whether anybody holds the lock that it inherited."""
    return lock.is_held(directory / ALIVE)


def adopt(directory: Path, identity: Identity | None = None) -> RunProcess | None:
    """The living run of that directory, started by an earlier supervisor; None when nothing of it holds the lock.

    Args:
        directory: the run's directory, absolute.
        identity: as the journal has it; without it the one that `spawn` left in `alive` is taken, and at worst the
            oldest process that carries the run's marker.
    """
    if not lives(directory):
        return None
    identity = identity or Identity.parse((directory / ALIVE).read_text()) or find_leader(directory)
    return RunProcess(directory, identity, ours=False)


def spawn(command: Command, directory: Path) -> RunProcess:
    """Starts a run in its own session, with `directory` (absolute) as its lock, its output and its marker.

    Raises:
        AgentError: the command cannot be started, or a run already lives in that directory.
    """
    with contextlib.ExitStack() as stack:

        def opened(name: str, flags: int) -> int:
            descriptor = os.open(directory / name, flags | os.O_CREAT | os.O_CLOEXEC, 0o600)
            stack.callback(os.close, descriptor)
            return descriptor

        alive = lock.take(directory / ALIVE)
        stack.callback(os.close, alive)
        output = opened(STREAM, os.O_WRONLY | os.O_APPEND)
        errors = opened(ERRORS, os.O_WRONLY | os.O_APPEND)
        environment = {**command.environment, MARKER: str(directory)}
        prompt, feeder = _filled_pipe(command.stdin), None
        if prompt is None:
            prompt, feeder = _fed_pipe(command.stdin, directory, environment)
        stack.callback(os.close, prompt)
        try:
            child = subprocess.Popen(
                command.argv,
                stdin=prompt,
                stdout=output,
                stderr=errors,
                cwd=command.directory,
                env=environment,
                start_new_session=True,
                pass_fds=(alive,),
            )
        except (OSError, ValueError) as error:
            if feeder is not None:
                feeder.kill()
                feeder.wait()
            reason = getattr(error, "strerror", None) or error
            raise AgentError(
                f"cannot start {command.argv[0]} in {command.directory}: {reason}", tip="agentpool doctor"
            ) from error
        # wait4 collects it, for its memory's sake, and it may outlive us: Popen must neither wait nor warn.
        child.returncode = 0
        state = process_table.state_of(child.pid)
        if state is None:
            child.kill()
            raise AgentError(f"process {child.pid} of the run in {directory} was collected by somebody else")
        identity = process_table.identity(state)
        # It lives from here on, so nothing may make it look as if it did not: its marker names it as well.
        with contextlib.suppress(OSError):
            os.pwrite(alive, f"{identity}\n".encode(), 0)
    return RunProcess(directory, identity, ours=True, feeder=feeder)


def _filled_pipe(data: bytes) -> int | None:
    """The reading end of a pipe that holds all of `data` and ends there; None when that is more than a pipe takes."""
    reading, writing = os.pipe()
    try:
        if len(data) > _PIPE_BYTES and hasattr(fcntl, "F_SETPIPE_SZ"):
            # Refused beyond /proc/sys/fs/pipe-max-size; the write below then comes out short.
            with contextlib.suppress(PermissionError):
                fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, len(data))
        os.set_blocking(writing, False)
        whole = not data or os.write(writing, data) == len(data)
    except BlockingIOError:
        whole = False
    finally:
        os.close(writing)
    if whole:
        return reading
    os.close(reading)
    return None


def _fed_pipe(data: bytes, directory: Path, environment: dict[str, str]) -> tuple[int, subprocess.Popen[bytes]]:
    """The reading end of a pipe that `cat` fills from a file, as a process of the run: it outlives us as well.

    The command itself takes no regular file as its standard input.
    """
    path = directory / PROMPT
    path.write_bytes(data)
    reading, writing = os.pipe()
    try:
        with path.open("rb") as source:
            feeder = subprocess.Popen(
                ["cat"], stdin=source, stdout=writing, env=environment, start_new_session=True, cwd=directory
            )
    except OSError as error:
        os.close(reading)
        raise AgentError(f"cannot feed a prompt of {len(data)} bytes by `cat`: {error.strerror}") from error
    finally:
        os.close(writing)
    return reading, feeder
