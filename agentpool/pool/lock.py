"""Locks that the kernel drops when their holder dies, however it dies."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
from typing import TYPE_CHECKING, Self

from agentpool.model.errors import AgentError, NoPoolError, PoolHeldError
from agentpool.pool.atomic import TEMP_PREFIX, TEMP_SUFFIX

if TYPE_CHECKING:
    from pathlib import Path


class PoolLock:
    """The right to serve a pool: a lock on the pool's directory itself, which `git clean` inside it cannot remove."""

    __slots__ = ("_directory", "_fd")

    def __init__(self, directory: Path, fd: int) -> None:
        self._directory = directory
        self._fd = fd

    @classmethod
    def acquire(cls, directory: Path, *, holder: Path) -> Self:
        """Takes the lock, at once or not at all. It is held until `release` or the end of this process.

        Child processes do not inherit it.

        Args:
            directory: the pool's, `.agent-pool`.
            holder: a JSON file in which the supervisor that serves the pool says who it is (`pid`).

        Raises:
            PoolHeldError: another process holds it, or the file system knows no locks.
            NoPoolError: there is no such directory.
        """
        try:
            fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            raise NoPoolError(f"{directory} is not a directory", tip="make a pool with: agentpool init") from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise PoolHeldError(
                f"{directory} is served by {_holder_name(holder)}",
                tip="see what it does with: agentpool status; end it with: agentpool stop",
            ) from None
        except OSError as error:
            os.close(fd)
            raise PoolHeldError(
                f"{directory} cannot be locked: {error.strerror}", tip="put the pool on a local file system"
            ) from error
        return cls(directory, fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def stands(self) -> bool:
        """Whether the locked directory is still the one at its path: false after it was deleted, moved or replaced."""
        try:
            return os.path.samestat(self._directory.stat(), os.fstat(self._fd))
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Gives the lock back; a second time does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def take(path: Path, *, inheritable: bool = False) -> int:
    """Makes a file that is locked from its first moment on, e.g. a run's `alive`.

    The lock belongs to the descriptor: it is held until the last process that has it, by inheritance too, has closed it
    or is gone.

    Args:
        path: the file; a free one of an earlier holder is replaced.
        inheritable: whether programs that this process starts get the descriptor.

    Returns:
        The descriptor.

    Raises:
        AgentError: the file is held.
        OSError: it cannot be made or locked.
    """
    if is_held(path):
        raise AgentError(f"{path} is held by a process that lives", tip="see the runs with: agentpool status")
    with contextlib.ExitStack() as undo:
        # Locked before it has its name, so that a probe can never come between the two.
        temp = path.with_name(f"{TEMP_PREFIX}{secrets.token_hex(8)}{TEMP_SUFFIX}")
        fd = os.open(temp, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        undo.callback(os.close, fd)
        undo.callback(temp.unlink, missing_ok=True)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.set_inheritable(fd, inheritable)
        temp.replace(path)
        undo.pop_all()
    return fd


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock on a file; one that is not there is not held.

    Raises:
        OSError: the file cannot be opened, or its file system knows no locks.
    """
    try:
        fd = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        # Shared, so that two who ask at the same time do not take each other for the holder.
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _holder_name(holder: Path) -> str:
    try:
        pid = json.loads(holder.read_bytes())["pid"]
    except (OSError, ValueError, KeyError, TypeError):
        return f"another process ({holder.name} does not say which)"
    return f"the supervisor with pid {pid}"
