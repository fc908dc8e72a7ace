"""The processes of one run: the command itself and everything that it left behind, wherever that moved to.

A command that an agent starts gets a session of its own, so neither the process group nor the session of the run
holds its family together. Three things do: the environment marker `AGENTPOOL_RUN_DIRECTORY`, which every process
inherits; descent; and, where the supervisor is a *child subreaper*, that a process whose parent has ended becomes a
child of the supervisor. Nothing is ever looked for by its name, and no signal goes to a process that is not known by
its pid **and** its start time.

What escapes: a process that clears its environment, takes a session of its own **and** loses its parent.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import sys
from typing import TYPE_CHECKING

from agentpool.model.errors import AgentError
from agentpool.runs import process_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from agentpool.runs.process_table import Identity, ProcessState

#: The variable that marks every process of a run; its value is the run's directory, absolute.
MARKER = "AGENTPOOL_RUN_DIRECTORY"

_PR_SET_CHILD_SUBREAPER = 36
_PR_GET_CHILD_SUBREAPER = 37


def become_subreaper() -> bool:
    """Makes this process the parent of every descendant whose own parent ends; True where the system can (Linux).

    To be called once, before the first run is started. It makes the look for what a run left behind cheap, and lets
    ended orphans leave the process table.

    Raises:
        AgentError: the kernel refused.
    """
    libc = _libc()
    if libc is None:
        return False
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise AgentError(f"this process cannot become a child subreaper: {reason}", tip="agentpool doctor")
    return True


def is_subreaper() -> bool:
    """Whether orphans among the descendants of this process become its own children."""
    libc = _libc()
    if libc is None:
        return False
    answer = ctypes.c_int(0)
    libc.prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(answer), 0, 0, 0)
    return answer.value == 1


class Family:
    """All processes of one run.

    Args:
        directory: the run's directory, absolute: the value of its marker.
        leader: the command itself; None where it is not known (an adopted run whose start left no trace).
        ours: whether the leader is a child of this process. Then its pid, kept until `RunProcess.reap`, cannot be
            given to another process while the family is looked for.
    """

    def __init__(self, directory: Path, leader: Identity | None, *, ours: bool) -> None:
        self._marker = _marker(directory)
        self._leader = leader
        self._ours = ours
        self._known: set[tuple[int, int]] = set()

    def find(self) -> list[ProcessState]:
        """Every living process of the run, the leader among them; reads the whole process table once."""
        table = process_table.table()
        roots = [state for state in table.values() if self._belongs(state)]
        found = list(_with_descendants(roots, table))
        self._known.update((state.pid, state.started) for state in found)
        self._bury(table)
        return [state for state in found if not state.zombie]

    def left_behind(self) -> list[ProcessState]:
        """What the run left behind, once its leader has ended.

        Reads no more than the children of this process where that is enough: when it is a subreaper and started the
        run itself.
        """
        if not self._ours or not is_subreaper():
            return self.find()
        children = process_table.children()
        if any(self._belongs(state) for state in children.values() if not state.zombie):
            return self.find()
        self._bury(children)
        return []

    def _is_leader(self, state: ProcessState) -> bool:
        return self._leader is not None and self._leader.fits(state)

    def _belongs(self, state: ProcessState) -> bool:
        if state.pid == os.getpid():
            # A supervisor that an agent started inside the run carries the run's marker too.
            return False
        if self._is_leader(state) or (state.pid, state.started) in self._known:
            return True
        if self._ours and self._leader is not None and state.session == self._leader.pid:
            return True
        return not state.zombie and _carries(state.pid, self._marker)

    def _bury(self, table: Mapping[int, ProcessState]) -> None:
        """Asks for the exit code of ended orphans, so that they leave the process table.

        Children that this process started itself are left to whoever started them: they are in its own session, or
        lead one of their own. An orphan that leads a session is buried only when it was seen alive.
        """
        if not self._ours:
            return
        me, session = os.getpid(), os.getsid(0)
        for state in table.values():
            if state.parent != me or not state.zombie or self._is_leader(state):
                continue
            if (state.pid, state.started) in self._known or state.session not in (session, state.pid):
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(state.pid, os.WNOHANG)


def find_leader(directory: Path) -> Identity | None:
    """The command of a run whose start left no record: the oldest living process that carries its marker."""
    marker, me = _marker(directory), os.getpid()
    marked = [
        state
        for state in process_table.table().values()
        if not state.zombie and state.pid != me and _carries(state.pid, marker)
    ]
    oldest = min(marked, key=lambda state: (state.started, state.pid), default=None)
    return process_table.identity(oldest) if oldest is not None else None


def _marker(directory: Path) -> bytes:
    return f"\0{MARKER}={directory}\0".encode(errors="surrogateescape")


def _carries(pid: int, marker: bytes) -> bool:
    return marker in b"\0" + process_table.environment_of(pid)


def _with_descendants(roots: list[ProcessState], table: Mapping[int, ProcessState]) -> Iterator[ProcessState]:
    by_parent: dict[int, list[ProcessState]] = {}
    for state in table.values():
        by_parent.setdefault(state.parent, []).append(state)
    seen, waiting = {os.getpid()}, list(roots)
    while waiting:
        state = waiting.pop()
        if state.pid not in seen:
            seen.add(state.pid)
            yield state
            waiting.extend(by_parent.get(state.pid, ()))


@functools.cache
def _libc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None, use_errno=True) if sys.platform.startswith("linux") else None
