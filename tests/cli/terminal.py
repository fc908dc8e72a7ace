"""A pseudo terminal of 80 columns and 40 rows, in which a command runs to its end."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from typing import TYPE_CHECKING

from tests.gateway.fake_verbs import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Command

_SIZE = struct.pack("HHHH", 40, 80, 0, 0)


def in_terminal(
    command: Command, *arguments: str, react: Callable[[str], bytes] = lambda _: b"", **variables: str
) -> tuple[int, str]:
    """Runs the command in a terminal; returns its exit code and all that it drew.

    Args:
        react: gets all that was drawn so far, and returns what is typed.
    """
    argv = command.argv(*arguments)
    environment = command.environment | {"TERM": "xterm-256color"} | variables
    environment.pop("COLUMNS")
    pid, terminal = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, _SIZE)
        os.chdir(command.project)
        os.execve(argv[0], argv, environment)  # noqa: S606
    drawn = b""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        ready, _, _ = select.select([terminal], [], [], 0.05)
        try:
            drawn += os.read(terminal, 65536) if ready else b""
        except OSError:
            # Linux's way to say that the last process has closed its side.
            break
        keys = react(drawn.decode(errors="replace"))
        if keys:
            os.write(terminal, keys)
    else:
        os.kill(pid, signal.SIGKILL)
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), drawn.decode(errors="replace")
