"""Files that appear whole or not at all, and bytes that are on the disk before a call returns."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import secrets
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

TEMP_PREFIX = ".agentpool-"
TEMP_SUFFIX = ".tmp"

_COPY_BYTES = 1 << 20


def write(path: Path, data: bytes | str, *, durable: bool, mode: int = 0o644) -> None:
    r"""Replaces the file at `path` by one that holds `data`: a reader sees the old text or the new, whole.

    Text is written as UTF-8; a lone surrogate, which UTF-8 cannot hold, as its escape (`\ud800`).

    Args:
        path: the file; its directory is there.
        data: all that it will hold.
        durable: whether the file and its name are on the disk when this returns.
        mode: permission bits, less the umask.

    Raises:
        OSError: it could not be written. `path` is as it was, unless the last step, the sync of its directory,
            failed: then it is new but may not survive a power cut.
    """
    os.close(publish(path, (_encoded(data),), durable=durable, mode=mode))


def publish(path: Path, chunks: Iterable[bytes], *, durable: bool = True, mode: int = 0o644) -> int:
    """As `write`, from pieces; the file stays open.

    Returns:
        A descriptor for reading and appending, not inherited by children. The caller closes it.

    Raises:
        OSError: as `write`.
    """
    with contextlib.ExitStack() as undo:
        fd, temp = _temporary(path.parent, mode)
        undo.callback(os.close, fd)
        undo.callback(temp.unlink, missing_ok=True)
        for chunk in chunks:
            write_all(fd, chunk)
        if durable:
            sync(fd)
        os.replace(temp, path)  # noqa: PTH105 - every step of the disk goes through `os`, where tests cut it
        if durable:
            sync_directory(path.parent)
        undo.pop_all()
    return fd


def place_new(path: Path, data: bytes | str, *, durable: bool = True, mode: int = 0o644) -> Path:
    """Puts a new, whole file at `path`, or beside it where that name is taken; never overwrites.

    Args:
        path: the wanted name. When it is taken, `q.md` becomes `q-2.md`, then `q-3.md` and so on.
        data: as in `write`.
        durable: as in `write`.
        mode: as in `write`.

    Returns:
        The name that was free.

    Raises:
        OSError: it could not be written, or the file system has no hard links.
    """
    with contextlib.ExitStack() as undo:
        fd, temp = _temporary(path.parent, mode)
        undo.callback(os.close, fd)
        undo.callback(temp.unlink, missing_ok=True)
        write_all(fd, _encoded(data))
        if durable:
            sync(fd)
        placed = link_new(temp, path)
    if durable:
        sync_directory(path.parent)
    return placed


def move_new(source: Path, path: Path) -> Path:
    """Renames a file to `path`, or beside it where that name is taken (as `place_new`); durable.

    A crash in the middle can leave the file under both names, never under none.

    Raises:
        OSError: it could not be renamed.
    """
    placed = link_new(source, path)
    source.unlink()
    sync_directory(path.parent)
    if source.parent != path.parent:
        sync_directory(source.parent)
    return placed


def link_new(source: Path, path: Path) -> Path:
    """Gives a file a second name: `path`, or one beside it where that is taken (as `place_new`). Not synced.

    Returns:
        The name that was free.

    Raises:
        OSError: the link could not be made.
    """
    candidate, number = path, 1
    while True:
        try:
            os.link(source, candidate, follow_symlinks=False)
        except FileExistsError:
            number += 1
            candidate = path.with_name(f"{path.stem}-{number}{path.suffix}")
        else:
            return candidate


def write_all(fd: int, data: bytes) -> None:
    """Writes all of `data`, however many calls that takes.

    Raises:
        OSError: some of it may be written.
    """
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def sync(fd: int) -> None:
    """Returns when the file's bytes and its length are on the disk.

    macOS has no `fdatasync`, and its `fsync` stops at the drive's cache: F_FULLFSYNC goes through, where the volume
    knows it (network volumes do not, and there `fsync` is all there is).

    Raises:
        OSError: they may not be. The same file must not be trusted again: the kernel forgets what it failed to write.
    """
    if sys.platform == "darwin":
        try:
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
        except OSError:
            os.fsync(fd)
    else:
        os.fdatasync(fd)


def sync_directory(directory: Path) -> None:
    """Returns when the names in the directory are on the disk.

    Raises:
        OSError: they may not be.
    """
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_file_system(directory: Path) -> None:
    """Returns when everything that was written to the file system of a directory is on the disk.

    Where the kernel cannot do it for one file system alone (macOS), it is done for all.

    Raises:
        OSError: it may not be.
    """
    if not sys.platform.startswith("linux"):
        os.sync()
        return
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(fd) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(directory))
    finally:
        os.close(fd)


def read_chunks(fd: int, start: int = 0) -> Iterator[bytes]:
    """The bytes of an open file from `start` to its end, in pieces; the descriptor's own position stays.

    Raises:
        OSError: they cannot be read.
    """
    while chunk := os.pread(fd, _COPY_BYTES, start):
        start += len(chunk)
        yield chunk


def remove_leftovers(directory: Path) -> None:
    """Removes the temporary files of writers that were killed. Only for directories with one writer, by that writer.

    Raises:
        OSError: the directory cannot be read, or a file in it cannot be removed.
    """
    for path in directory.glob(f"{TEMP_PREFIX}*{TEMP_SUFFIX}"):
        path.unlink(missing_ok=True)


def _temporary(directory: Path, mode: int) -> tuple[int, Path]:
    # Not derived from the target's name: that may already be as long as the file system allows.
    path = directory / f"{TEMP_PREFIX}{secrets.token_hex(8)}{TEMP_SUFFIX}"
    return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL, mode), path


def _encoded(data: bytes | str) -> bytes:
    return data.encode("utf-8", "backslashreplace") if isinstance(data, str) else data
