"""What an expert knows: the Markdown files that people keep in git."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

#: Bytes of one file that are read: far more than any budget of a prompt lets through.
_MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Knowledge:
    """The three files of one expert, as they are when a run starts. A file that is not there is empty."""

    identity: str
    state: str
    errors: str


def read_knowledge(home: Path, shared: Path | None = None) -> Knowledge:
    """Read the knowledge of a role; bytes that are not UTF-8 are shown as replacement characters.

    Args:
        home: its directory in the pool.
        shared: where the knowledge of a shared expert stands; what its home in the pool holds is added below it.

    Raises:
        OSError: a file is there and cannot be read.
    """
    own = Knowledge(*(_read(home / f"{name}.md") for name in ("identity", "state", "errors")))
    if shared is None:
        return own
    common = read_knowledge(shared)
    return Knowledge(
        common.identity or own.identity, _joined(common.state, own.state), _joined(common.errors, own.errors)
    )


def _joined(common: str, own: str) -> str:
    return f"{common.rstrip()}\n\n# In this project\n\n{own}" if common.strip() and own.strip() else common or own


def _read(path: Path) -> str:
    try:
        # A run can put a pipe here, and opening that must not wait for a writer.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    with open(fd, "rb") as file:  # noqa: PTH123 - a descriptor
        if stat.S_ISFIFO(os.fstat(fd).st_mode):
            raise OSError(errno.ENOTSUP, "it is a named pipe, not a plain file", str(path))
        return file.read(_MOST_BYTES).decode(errors="replace").removeprefix("\ufeff")
