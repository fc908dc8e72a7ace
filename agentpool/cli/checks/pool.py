"""The pool on the disk: who may read and write it, and how much room is left."""

from __future__ import annotations

import os
import shutil
import stat
from typing import TYPE_CHECKING

from agentpool.cli.checks.finding import Finding, note, ok, problem
from agentpool.cli.terminal import counted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agentpool.pool.layout import Layout

_AREA = "pool"
_MIB = 1 << 20
#: Below the first number a run may already fail in the middle of its work; below the second it soon will.
_LITTLE, _NO_ROOM = 1024, 100
_PRIVATE = 0o700
_DEADLETTER_REASON = ".reason.md"


def check_pool(layout: Layout) -> Iterator[Finding]:
    """Permissions, disk space, dead letters."""
    directories = [layout.root, layout.postoffice, layout.mail, layout.archive, layout.deadletter, layout.journal]
    closed = [path for path in directories if path.is_dir() and not os.access(path, os.R_OK | os.W_OK | os.X_OK)]
    for path in closed:
        yield problem(_AREA, f"{path} cannot be written", f"run the supervisor as its owner, or: chmod u+rwx {path}")
    if not closed:
        yield ok(_AREA, f"{layout.root} can be read and written")
    yield from _check_run(layout.run)
    yield from _check_space(layout.root)
    letters = [file for file in _files(layout.deadletter) if not file.endswith(_DEADLETTER_REASON)]
    if letters:
        yield note("dead letters", counted(len(letters), "refused mail"), "see why with: agentpool replay --list")


def _check_run(run: Path) -> Iterator[Finding]:
    try:
        found = run.lstat()
    except FileNotFoundError:
        yield ok(_AREA, f"{run} is not there yet; the first start makes it")
        return
    mode = stat.S_IMODE(found.st_mode)
    if not stat.S_ISDIR(found.st_mode):
        yield problem(_AREA, f"{run} is not a directory", f"remove {run}")
    elif found.st_uid != os.geteuid():
        yield problem(_AREA, f"{run} belongs to another user", f"remove {run}, or run agentpool as its owner")
    elif mode != _PRIVATE:
        yield problem(_AREA, f"others may look into {run} (mode {mode:04o})", f"chmod 700 {run}")
    else:
        yield ok(_AREA, f"{run} is private")


def _check_space(root: Path) -> Iterator[Finding]:
    free = shutil.disk_usage(root).free // _MIB
    files = os.statvfs(root)
    if files.f_files and files.f_favail == 0:
        yield problem("disk", "the pool's disk has no inodes left, so no file can be made", "delete some files")
    elif free < _NO_ROOM:
        yield problem("disk", f"only {free} MiB are free on the pool's disk", "make room: the journal cannot grow")
    elif free < _LITTLE:
        yield note("disk", f"{free} MiB are free on the pool's disk", "make room soon")
    else:
        yield ok("disk", f"{free // 1024} GiB are free")


def _files(directory: Path) -> list[str]:
    try:
        return [entry.name for entry in os.scandir(directory) if entry.is_file()]
    except FileNotFoundError:
        return []
