"""The supervisor of the demo: started, killed, started again, and stopped with all that it started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from agentpool.cli import answers
from agentpool.cli.client import Client
from agentpool.gateway.verbs import StopMode
from agentpool.model.errors import AgentpoolError, NoSupervisorError, TimedOutError
from agentpool.runs import process_table
from agentpool.runs.family import Family

if TYPE_CHECKING:
    from agentpool.pool.layout import Layout

_START_SECONDS = 30.0
_STOP_SECONDS = 20.0
_POLL_SECONDS = 0.02


class DemoSupervisor:
    """The supervisors of one pool, one after the other, each a process of its own as `agentpool start -d` makes it.

    Used as a context: whatever happens in it, nothing runs any more afterwards.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._client = Client(layout)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # A second Ctrl-C must not leave behind what the first one meant to end.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            self.stop(StopMode.NOW)
        finally:
            signal.signal(signal.SIGINT, before)

    @property
    def log(self) -> Path:
        """Where the supervisor writes what a person should know."""
        return self._layout.run / "supervisor.log"

    @property
    def pid(self) -> int:
        """Of the one that was started last."""
        return 0 if self._process is None else self._process.pid

    def start(self) -> None:
        """Starts a supervisor and returns once it serves.

        Raises:
            AgentpoolError: it ended; its log says why.
            TimedOutError: it does not serve in time.
        """
        with self.log.open("ab") as log:
            self._process = process = subprocess.Popen(
                [sys.executable, "-m", "agentpool", "start", "--quiet"],
                cwd=self._layout.project,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + _START_SECONDS
        while not self._serves(process.pid):
            if process.poll() is not None:
                raise AgentpoolError("the supervisor of the demo did not start", tip=f"it says why in {self.log}")
            if time.monotonic() > deadline:
                raise TimedOutError("the supervisor of the demo does not serve", tip=f"look into {self.log}")
            time.sleep(_POLL_SECONDS)

    def kill(self) -> None:
        """Ends the supervisor in the middle of whatever it does; its runs go on."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    def stop(self, mode: StopMode = StopMode.DRAIN) -> None:
        """Ends the supervisor, and every run that one of the demo's supervisors has left.

        Raises:
            TimedOutError: the supervisor does not end by itself; it is killed.
        """
        try:
            self._end_supervisor(mode)
        finally:
            self._end_runs()

    def _end_supervisor(self, mode: StopMode) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        try:
            self._client.stop(mode.value)
        except NoSupervisorError:
            # It does not serve yet: the signal reaches it in any case.
            process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired as error:
            process.kill()
            process.wait()
            raise TimedOutError(
                f"the supervisor of the demo did not stop in {_STOP_SECONDS:.0f} s and was killed",
                tip=f"look into {self.log}",
            ) from error

    def _end_runs(self) -> None:
        """Nobody is left who would stop them by the ladder: they end at once."""
        directories = list(self._layout.runs.iterdir()) if self._layout.runs.is_dir() else []
        for directory in directories:
            for state in Family(directory, None, ours=False).find():
                process_table.send(process_table.identity(state), signal.SIGKILL)

    def _serves(self, pid: int) -> bool:
        try:
            return answers.number(self._client.status(), "pid") == pid
        except NoSupervisorError:
            return False


def _environment() -> dict[str, str]:
    """The user's own, in which `python3` is the Python that runs the demo."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    return {**os.environ, "PATH": path}
