"""The watch over the drop directories: whether the system will tell of new mail, or the sweep has to find it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from agentpool.cli.checks.finding import Finding, note, ok, problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentpool.pool.layout import Layout

_AREA = "watch"
_LIMITS = Path("/proc/sys/fs/inotify")
_MOUNTS = Path("/proc/self/mountinfo")
#: File systems on which changes from another machine, or from outside of a container, make no event here.
_REMOTE = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "virtiofs", "vboxsf", "fuse.sshfs", "fuse.grpcfuse", "fuse.osxfs",
     "fakeowner", "prl_fs", "vmhgfs", "fuse.vmhgfs-fuse", "afs", "ceph", "glusterfs", "fuse.glusterfs", "lustre"}
)  # fmt: skip
#: A pool itself needs one watch a directory; editors and build tools in the same session need thousands.
_FEW_WATCHES, _FEW_INSTANCES = 8192, 16
_RAISE = "sysctl fs.inotify.max_user_watches=524288 fs.inotify.max_user_instances=128"
#: Fields of a line of the mount table before its optional ones.
_FIELDS = 5


def check_watching(layout: Layout) -> Iterator[Finding]:
    """File system and kernel limits."""
    if not sys.platform.startswith("linux"):
        yield note(
            _AREA,
            "this system does not tell when a file is complete: mail is taken when it has been quiet for a second",
        )
        return
    kind = _file_system(layout.root)
    if kind in _REMOTE:
        tip = "mail from elsewhere is found by the sweep alone ([pool] sweep), locks may be weak: use a local disk"
        yield note(_AREA, f"the pool lies on {kind}", tip)
    else:
        yield ok(_AREA, f"the pool lies on {kind or 'a local file system'}")
    watches, instances = _limit("max_user_watches"), _limit("max_user_instances")
    if watches == 0 or instances == 0:
        yield problem(_AREA, "inotify is switched off", _RAISE)
    elif watches is not None and instances is not None and (watches < _FEW_WATCHES or instances < _FEW_INSTANCES):
        yield note(_AREA, f"the system allows only {watches} watches in {instances} instances a user", _RAISE)
    else:
        yield ok(_AREA, f"{watches} inotify watches are allowed")


def _limit(name: str) -> int | None:
    try:
        return int((_LIMITS / name).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _file_system(path: Path) -> str:
    """The type of the mount that a path lies on; empty where the system does not tell."""
    try:
        lines = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    best, kind = "", ""
    for line in lines:
        left, _, right = line.partition(" - ")
        fields = left.split()
        if len(fields) < _FIELDS or not right:
            continue
        point = fields[4].encode("latin-1", "replace").decode("unicode_escape")
        if len(point) >= len(best) and (path.is_relative_to(point)):
            best, kind = point, right.split()[0]
    return kind
