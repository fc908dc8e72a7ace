"""A disk that refuses: the pool is held until it takes writes again, and nothing that was decided is lost."""

from __future__ import annotations

import errno
import logging
import time

from agentpool.model.board import HoldState
from agentpool.model.errors import JournalError

log = logging.getLogger(__name__)

#: What a disk says that takes no more. Any other error of a file is about that file alone.
_REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
#: Seconds between two tries.
_PAUSE = 2.0


def is_refusal(error: Exception) -> bool:
    """Whether an error means that the disk as a whole takes no writes, or that the journal cannot be written."""
    return isinstance(error, JournalError) or (isinstance(error, OSError) and error.errno in _REFUSALS)


class DiskHold:
    """Whether the disk refuses, why, and when it is tried again.

    Attributes:
        state: None while the disk takes what is written.
        next_try: when it is tried again, by `time.monotonic`.
    """

    def __init__(self) -> None:
        self.state: HoldState | None = None
        self.next_try = 0.0

    def begin(self, error: Exception, now: float) -> None:
        """It refused; `now` is in seconds since the epoch."""
        log.error("the pool is held: %s", error, extra={"action": "pool.held"})
        self.state = HoldState(str(error), self.state.since if self.state is not None else now)
        self.next_try = time.monotonic() + _PAUSE

    def end(self) -> None:
        """It takes writes again."""
        log.info("the disk takes writes again", extra={"action": "pool.released"})
        self.state = None
