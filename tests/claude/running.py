"""One process that speaks the protocol of `claude -p`, started the way a pool starts it."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

#: How long anything may take before a test calls it broken, in seconds.
PATIENCE_SECONDS = 20.0

#: Room for a prompt of 300 kB; the kernel gives an unprivileged process up to 1 MiB.
PIPE_BYTES = 1 << 19

#: Every run of a pool has these.
PROTOCOL_FLAGS = ("-p", "--input-format", "stream-json", "--output-format", "stream-json", "--verbose")


def eventually(condition: Callable[[], object], what: str, *, seconds: float = PATIENCE_SECONDS) -> None:
    """Returns as soon as `condition()` is true.

    Raises:
        TimeoutError: it was not, within `seconds`; the message says `what`.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(0.01)


def user_line(text: str) -> bytes:
    """A user message as a line of `--input-format stream-json`."""
    return json.dumps({"type": "user", "message": {"role": "user", "content": text}}).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Workplace:
    """The directories and files of one run.

    Args:
        root: an empty directory; everything else is made in it.
    """

    root: Path

    @property
    def project(self) -> Path:
        """The directory that the run works in."""
        return self._made("project")

    @property
    def home(self) -> Path:
        """The run's HOME."""
        return self._made("home")

    @property
    def stream(self) -> Path:
        """The run's stdout."""
        return self.root / "stream.jsonl"

    @property
    def errors(self) -> Path:
        """The run's stderr."""
        return self.root / "stderr.log"

    @property
    def lock(self) -> Path:
        """The lock file that the run inherits."""
        return self.root / "alive"

    def _made(self, name: str) -> Path:
        directory = self.root / name
        directory.mkdir(exist_ok=True)
        return directory

    def lines(self) -> list[dict[str, Any]]:
        """The whole lines of the stream so far."""
        if not self.stream.exists():
            return []
        return [json.loads(line) for line in self.stream.read_bytes().splitlines(keepends=True) if line[-1:] == b"\n"]

    def result(self) -> dict[str, Any]:
        """The stream's one `result` line."""
        [result] = [line for line in self.lines() if line["type"] == "result"]
        return result

    def is_locked(self) -> bool:
        """Whether anybody holds the lock that the run inherits."""
        descriptor = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False


@dataclass(frozen=True, slots=True)
class Running:
    """A run that was started.

    Args:
        process: the run's own process.
        workplace: where it works and writes.
    """

    process: subprocess.Popen[bytes]
    workplace: Workplace

    def wait(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Waits for the end; gives the exit code.

        Raises:
            subprocess.TimeoutExpired: it did not end within `seconds`.
        """
        return self.process.wait(seconds)

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to the run's own process."""
        self.process.send_signal(number)

    def end(self) -> None:
        """Kills what is left of it."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE_SECONDS)


def spawn(argv: Sequence[str], environment: Mapping[str, str], workplace: Workplace, stdin: bytes) -> Running:
    """Starts a run: stdin whole in a closed pipe, stdout and stderr in files, a session and a lock of its own."""
    reading, writing = os.pipe()
    lock = os.open(workplace.lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        os.set_blocking(writing, False)
        assert os.write(writing, stdin) == len(stdin)
        os.close(writing)
        writing = -1
        with workplace.stream.open("ab") as stream, workplace.errors.open("ab") as errors:
            process = subprocess.Popen(
                argv,
                stdin=reading,
                stdout=stream,
                stderr=errors,
                cwd=workplace.project,
                env=dict(environment),
                pass_fds=(lock,),
                start_new_session=True,
            )
    finally:
        for descriptor in {reading, writing, lock} - {-1}:
            os.close(descriptor)
    return Running(process, workplace)


def main() -> None:
    """Starts a run from JSON on stdin and then does nothing, until it is killed: the parent in a test's crash."""
    order = json.load(sys.stdin)
    workplace = Workplace(Path(order["root"]))
    spawn(order["argv"], order["environment"], workplace, order["stdin"].encode())
    signal.pause()


if __name__ == "__main__":
    main()
