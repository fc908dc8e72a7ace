"""Drop directories: what lies there, read without trusting it, and moved away when it is dealt with."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agentpool.model.errors import MailError
from agentpool.model.header import mail_from_header
from agentpool.model.mail import Mail
from agentpool.model.names import id_from_file_name
from agentpool.pool.mailfile import parse

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Seconds for which a drop that nobody announced as complete must not change before it is taken.
QUIET_SECONDS = 1.0

#: Errors of opening a file that trying again does not cure. Any other, such as too many open files, is not its fault.
_ITS_OWN_FAULT = (errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENXIO)


@dataclass(frozen=True, slots=True)
class Found:
    """A drop as a scan found it.

    Args:
        path: the whole path of the file.
        mailbox: whose inbox it lies in; None in the postoffice.
        changed: when it last changed, seconds since the epoch.
    """

    path: str
    name: str
    mailbox: str | None
    mode: int
    inode: int
    size: int
    mtime_ns: int
    changed: float

    @property
    def is_regular(self) -> bool:
        """Whether it is a plain file."""
        return stat.S_ISREG(self.mode)

    @property
    def signature(self) -> tuple[int, int, int]:
        """Equal as long as the file is the same and nobody wrote to it."""
        return self.inode, self.size, self.mtime_ns


@dataclass(frozen=True, slots=True)
class Drop:
    """A drop that could be read.

    Args:
        fingerprint: equal for the same drop seen again, and for the same mail sent again under its own id.
        named: whether its header names the id; otherwise the id comes from the file's name and may be numbered.
    """

    found: Found
    mail: Mail
    fingerprint: str
    named: bool


def scan(directory: Path, mailbox: str | None) -> Iterator[Found]:
    """The drops in a directory: every entry `*.md` that is no dotfile, whatever it is.

    Raises:
        OSError: the directory cannot be read.
    """
    with os.scandir(directory) as entries:
        for entry in entries:
            if not entry.name.endswith(".md") or entry.name.startswith("."):
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # taken away between the listing and the look
            yield Found(
                entry.path,
                entry.name,
                mailbox,
                status.st_mode,
                status.st_ino,
                status.st_size,
                status.st_mtime_ns,
                max(status.st_mtime, status.st_ctime),
            )


def signature_of(path: Path) -> tuple[int, int, int] | None:
    """What `Found.signature` would be of the file that is there now; None where there is none."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def read(found: Found, *, now: float, mail_bytes: int, header_bytes: int) -> Drop:
    """The mail of a drop.

    Args:
        now: seconds since the epoch.

    Raises:
        MailError: it cannot become mail; the message is for its sender.
        FileNotFoundError: somebody took it away meanwhile.
    """
    kinds = {stat.S_IFDIR: "a directory", stat.S_IFLNK: "a symbolic link", stat.S_IFIFO: "a named pipe"}
    if not found.is_regular:
        raise MailError(f"it is {kinds.get(stat.S_IFMT(found.mode), 'no plain file')}: mail is a plain file")
    if found.size > mail_bytes:
        raise MailError(f"it has {found.size} bytes; the limit is {mail_bytes} (`[limits] mail_bytes`)")
    data = _read_bytes(found, mail_bytes)
    header, body = parse(data, header_bytes=header_bytes)
    mail = mail_from_header(header, body, default_id=id_from_file_name(found.name), now=now, default_to=found.mailbox)
    named = header.get("id") is not None
    digest = hashlib.sha256(data)
    if not named:
        # The same words dropped again are a new task; only the very same file is the same drop.
        digest.update(os.fsencode(f"\0{found.mailbox}\0{found.name}\0{found.inode}\0{found.mtime_ns}"))
    else:
        digest.update(f"\0{mail.to}".encode())
    return Drop(found, mail, digest.hexdigest()[:32], named)


def read_sender(found: Found, header_bytes: int) -> tuple[str | None, str | None]:
    """The `from` and `type` that a refused drop claims, as far as they can be made out."""
    try:
        header, _ = parse(_read_bytes(found, header_bytes), header_bytes=header_bytes)
    except (MailError, OSError):
        return None, None
    sender, kind = header.get("from"), header.get("type")
    return (sender if isinstance(sender, str) else None), (kind if isinstance(kind, str) else None)


def is_quiet(found: Found, seen: dict[str, tuple[tuple[int, int, int], float]], now: float) -> bool:
    """Whether a drop has not changed for `QUIET_SECONDS`.

    Its own times tell, unless they lie in the future (a network file system with another clock): then it is compared
    with what an earlier scan saw.

    Args:
        seen: what earlier scans saw of drops that were not quiet yet; changed in place.
        now: seconds since the epoch.
    """
    if found.changed <= now and now - found.changed >= QUIET_SECONDS:
        seen.pop(found.path, None)
        return True
    signature, since = seen.get(found.path, (None, 0.0))
    clock = time.monotonic()
    if signature != found.signature:
        seen[found.path] = (found.signature, clock)
        return False
    return clock - since >= QUIET_SECONDS


def take_away(found: Found, target: Path) -> bool:
    """Move an accepted drop to `target`, or remove it where that is on another file system; whether it was moved.

    What was moved is what lay there at that moment: the caller compares it with `found`.

    Raises:
        OSError: it cannot be moved.
    """
    try:
        os.rename(found.path, target)  # noqa: PTH104 - a string, as the scan gave it
    except FileNotFoundError:
        if target.parent.is_dir() or not os.path.lexists(found.path):
            return False
        target.parent.mkdir(parents=True)
        os.rename(found.path, target)  # noqa: PTH104 - as above
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        remove(found)
        return False
    return True


def remove(found: Found) -> None:
    """Remove a drop that is in the pool already; another file that has its name by now stays.

    Raises:
        OSError: it cannot be removed.
    """
    path = Path(found.path)
    if signature_of(path) == found.signature:
        path.unlink(missing_ok=True)


def _read_bytes(found: Found, most: int) -> bytes:
    try:
        # Between the scan and now it may have become a link or a pipe: neither is followed nor waited for.
        fd = os.open(found.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _ITS_OWN_FAULT:
            raise MailError(f"it cannot be read: {error.strerror}") from None
        raise
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise MailError("it is no plain file any more")
        data = os.read(fd, most + 1)
    finally:
        os.close(fd)
    if len(data) > most:
        raise MailError(f"it has more than {most} bytes, which is the limit")
    return data
