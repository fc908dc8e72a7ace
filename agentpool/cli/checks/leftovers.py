"""What earlier supervisors and runs left: runs that live, runs that nobody settled, stray processes, dead sockets."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from agentpool.cli.checks.finding import Finding, note, ok, problem
from agentpool.pool.lock import is_held
from agentpool.runs import process_table
from agentpool.runs.family import MARKER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agentpool.pool.layout import Layout

_AREA = "leftovers"


def check_leftovers(layout: Layout, *, served: bool) -> Iterator[Finding]:
    """Looks through `run/` and the process table.

    Args:
        layout: the pool.
        served: whether a supervisor serves it: then runs that live are its own.
    """
    living: list[Path] = []
    dead: list[Path] = []
    for directory in sorted(layout.runs.iterdir()) if layout.runs.is_dir() else []:
        if directory.is_dir():
            (living if is_held(directory / "alive") else dead).append(directory)
    if not served:
        if living:
            names = ", ".join(directory.name for directory in living)
            yield note(_AREA, f"runs live without a supervisor: {names}", "agentpool start takes them up")
        for directory in dead:
            task = directory.name.rpartition(".")[0]
            if layout.mail_file(task).is_file():
                yield note(_AREA, f"the run {directory.name} has not settled", "agentpool start settles it")
            else:
                yield note(_AREA, f"{directory} belongs to no open task", f"look into it, then: rm -r {directory}")
        if layout.socket.is_socket():
            yield note(_AREA, f"{layout.socket} is a dead socket", "nothing to do: the next start replaces it")
    strays = _strays(layout, living)
    for pid, command, run in strays:
        yield problem(_AREA, f"the process {pid} ({command}) outlived its run {run}", f"kill {pid}")
    if not (strays or (not served and (living or dead))):
        yield ok(_AREA, "none")


def _strays(layout: Layout, living: list[Path]) -> list[tuple[int, str, str]]:
    """Processes that carry the marker of a run of this pool whose command has ended: pid, command, run."""
    begin = f"{MARKER}={layout.runs}/".encode(errors="surrogateescape")
    alive = {os.fsencode(directory.name) for directory in living}
    found = []
    for state in process_table.table().values():
        if state.zombie or state.pid == os.getpid():
            continue
        for variable in process_table.environment_of(state.pid).split(b"\0"):
            name = variable.removeprefix(begin)
            if name != variable and name.rstrip(b"/") not in alive:
                found.append((state.pid, state.command, os.fsdecode(name)))
    return found
