"""Where the gateway's unix socket lies.

A socket's path must fit into a fixed field of the kernel. The pool's own `run/gateway.sock` does in most projects;
where it does not, the socket lies in a private directory of the user and `run/supervisor.json` names it.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from agentpool.model.errors import AgentpoolError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentpool.pool.layout import Layout

#: Bytes of a socket's path at most, the closing NUL not counted.
LONGEST = 107 if sys.platform.startswith("linux") else 103


def socket_path(layout: Layout, environment: Mapping[str, str], *, temporary: Path = Path("/tmp")) -> Path:  # noqa: S108 - owner and mode are checked
    """The path at which to bind the socket of this pool; its directory is there when this returns.

    Args:
        layout: the pool.
        environment: `XDG_RUNTIME_DIR` is read from it.
        temporary: the directory in which the user's own directory is made where there is no runtime directory.

    Raises:
        AgentpoolError: the private directory belongs to somebody else, or there is no path that is short enough.
    """
    if _fits(layout.socket):
        layout.run.mkdir(mode=0o700, exist_ok=True)
        return layout.socket
    name = hashlib.sha256(os.fsencode(layout.root)).hexdigest()[:16] + ".sock"
    runtime = environment.get("XDG_RUNTIME_DIR", "")
    private = Path(runtime, "agentpool") if runtime.startswith("/") and Path(runtime).is_dir() else None
    if private is None or not _fits(private / name):
        private = temporary / f"agentpool-{os.getuid()}"
    if not _fits(private / name):
        raise AgentpoolError(
            f"no path for the pool's socket is short enough: {private / name} is longer than {LONGEST} bytes",
            tip="set XDG_RUNTIME_DIR to a directory with a short path",
        )
    _make_private(private)
    return private / name


def _fits(path: Path) -> bool:
    return len(os.fsencode(path)) <= LONGEST


def _make_private(directory: Path) -> None:
    """Makes the directory, or makes sure that nobody else can have put anything into it."""
    directory.mkdir(mode=0o700, exist_ok=True)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise AgentpoolError(
            f"{directory} is not a directory of yours, so the pool's socket cannot lie in it",
            tip=f"remove {directory}, or set XDG_RUNTIME_DIR to a private directory",
        )
    if stat.S_IMODE(found.st_mode) != 0o700:  # noqa: PLR2004 - a mode reads best as its number
        directory.chmod(0o700)
