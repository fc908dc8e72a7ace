"""How the simulated agent waits: one place where time, input, ended children and signals meet.

SIGTERM and SIGHUP end the process at once, with exit codes 143 and 129 and without a result, as they end the real
command. SIGINT is a request: it is answered where the agent waits, so that no line is cut in two.
"""

from __future__ import annotations

import os
import select
import signal
import time
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from types import FrameType


class InterruptedBySignal(Exception):  # noqa: N818 - not an error: a person or the supervisor asked for it
    """SIGINT came."""


class Signals:
    """The process's signal handlers, and the one wait that they wake. Made once, in the main thread."""

    def __init__(self) -> None:
        self._interrupted = False
        self._wakeup, woken = os.pipe()
        os.set_blocking(self._wakeup, False)
        os.set_blocking(woken, False)
        signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        signal.signal(signal.SIGINT, self._interrupt)
        signal.signal(signal.SIGTERM, _end)
        signal.signal(signal.SIGHUP, _end)
        signal.signal(signal.SIGCHLD, _nothing)

    def ignore(self, names: Collection[str]) -> None:
        """From here on these signals do nothing here; commands that are started later still obey them."""
        for name in names:
            # A handler, not SIG_IGN: that would be inherited by every command.
            signal.signal(signal.Signals[name], _nothing)

    def wait(self, *descriptors: int, seconds: float | None = None) -> list[int]:
        """Those of the descriptors that can be read: none when the time is over, or something else happened.

        Args:
            descriptors: what to wait for, beside signals and ended children.
            seconds: at most so long; None means for ever.

        Raises:
            InterruptedBySignal: SIGINT came, now or since the last wait.
        """
        if not self._interrupted:
            ready, _, _ = select.select([self._wakeup, *descriptors], [], [], seconds)
            if self._wakeup in ready:
                os.read(self._wakeup, 4096)
                ready.remove(self._wakeup)
        else:
            ready = []
        if self._interrupted:
            self._interrupted = False
            raise InterruptedBySignal
        return ready

    def wait_until(self, condition: Callable[[], bool], *, poll: float | None = None) -> None:
        """Returns when the condition holds; it is asked after each event, and every `poll` seconds.

        Raises:
            InterruptedBySignal: SIGINT came first.
        """
        while not condition():
            self.wait(seconds=poll)

    def pause(self, seconds: float | None) -> None:
        """Returns after that time; never where it is None.

        Raises:
            InterruptedBySignal: SIGINT came first.
        """
        end = None if seconds is None else time.monotonic() + seconds
        while end is None or time.monotonic() < end:
            self.wait(seconds=None if end is None else max(0.0, end - time.monotonic()))

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        self._interrupted = True


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    os._exit(128 + number)


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """Being called is all: it wakes the wait."""
