"""Hints of what was dropped where. A hint only wakes the loop; what is there is what a scan finds.

On Linux this uses watchdog's inotify reader without its event pipeline: that one hides whether a file was moved in or
is still being written, needs a thread for each directory, says nothing when the kernel refuses a watch, and pairs moves
in time quadratic in the backlog (read in watchdog 7.1). Elsewhere watchdog's observer marks directories only.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from watchdog.events import FileSystemEvent, FileSystemEventHandler

if TYPE_CHECKING:
    from collections.abc import Callable

    from watchdog.observers.inotify_c import InotifyEvent, WatchDescriptor

log = logging.getLogger(__name__)


class Hints:
    """What the watch has announced since the last `take`. Safe between threads.

    Args:
        wake: called from any thread when there is something to take, once until it is taken.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._lock = threading.Lock()
        self._dirty: set[str] = set()
        self._complete: set[str] = set()
        self._lost = False

    def add(self, directory: str, name: str | None = None) -> None:
        """Something changed in a directory; `name` is a file in it that was closed after writing or moved in."""
        with self._lock:
            first = not self._dirty and not self._lost
            self._dirty.add(directory)
            if name is not None:
                self._complete.add(f"{directory}/{name}")
        if first:
            self._wake()

    def lose(self) -> None:
        """Events were lost: everything must be looked at."""
        with self._lock:
            self._lost = True
        self._wake()

    def take(self) -> tuple[set[str], set[str], bool]:
        """Directories to scan, files in them that are complete, and whether events were lost."""
        with self._lock:
            taken = self._dirty, self._complete, self._lost
            self._dirty, self._complete, self._lost = set(), set(), False
        return taken


class Watch(Protocol):
    """Fills `Hints` for the directories it was given."""

    def add(self, directory: Path) -> None:
        """Watch a directory; once is enough, and a directory that was made anew is watched anew.

        Raises:
            OSError: the system refuses; drops there are found by the sweep alone.
        """
        ...

    def close(self) -> None:
        """Stop watching."""
        ...


def start_watch(hints: Hints) -> Watch:
    """The watch of this platform; where the system refuses one, none, and the sweep finds every drop."""
    try:
        return InotifyWatch(hints) if sys.platform == "linux" else ObserverWatch(hints)
    except OSError as error:
        log.warning(
            "nothing can be watched (%s): drops are found by the sweep", error, extra={"action": "watch.refused"}
        )
        return NoWatch()


class NoWatch:
    """Tells of nothing."""

    def add(self, directory: Path) -> None:
        """See `Watch.add`."""

    def close(self) -> None:
        """See `Watch.close`."""


class InotifyWatch:
    """Closed and moved-in files are named as complete; a file that was only created marks its directory."""

    def __init__(self, hints: Hints) -> None:
        from watchdog.observers.inotify_c import InotifyConstants, InotifyFD, Mask  # noqa: PLC0415 - Linux only

        self._hints = hints
        self._complete = InotifyConstants.IN_CLOSE_WRITE | InotifyConstants.IN_MOVED_TO
        self._mask = Mask(self._complete | InotifyConstants.IN_CREATE | InotifyConstants.IN_ONLYDIR)
        self._directories: dict[int, str] = {}
        self._lock = threading.Lock()
        self._inotify = InotifyFD()
        self._inotify.daemon = True
        self._inotify.start()

    def add(self, directory: Path) -> None:
        """See `Watch.add`."""
        from watchdog.observers.inotify_c import CallbackId  # noqa: PLC0415 - Linux only

        path = str(directory)
        with self._lock:
            if path in self._directories.values():
                return
            wd = self._inotify.add_callback(os.fsencode(path), self._mask, self, CallbackId(id(self)))
            self._directories[wd] = path

    def close(self) -> None:
        """See `Watch.close`."""
        self._inotify.stop()
        self._inotify.join()

    def on_event(self, event: InotifyEvent) -> None:
        """Called by watchdog's reader for each event."""
        directory = self._directories.get(event.wd)
        if directory is not None:
            complete = event.mask & self._complete
            self._hints.add(directory, os.fsdecode(event.name) if complete else None)

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:
        """Called by watchdog's reader when a watched directory is gone."""
        with self._lock:
            self._directories.pop(wd, None)
        self._hints.lose()

    def on_queue_overflow(self) -> None:
        """Called by watchdog's reader when the kernel dropped events."""
        log.info(
            "the kernel's event queue overflowed; all drop directories are scanned", extra={"action": "watch.overflow"}
        )
        self._hints.lose()


class ObserverWatch(FileSystemEventHandler):
    """Marks directories only: macOS has no close events, so a drop is taken once it has been quiet for a moment."""

    def __init__(self, hints: Hints) -> None:
        from watchdog.observers import Observer  # noqa: PLC0415 - not used on Linux

        self._hints = hints
        self._known: set[str] = set()
        self._observer = Observer()
        self._observer.start()

    def add(self, directory: Path) -> None:
        """See `Watch.add`."""
        if str(directory) not in self._known:
            self._observer.schedule(self, str(directory), recursive=False)
            self._known.add(str(directory))

    def close(self) -> None:
        """See `Watch.close`."""
        self._observer.stop()
        self._observer.join()

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Called by watchdog for each event."""
        for path in (event.src_path, event.dest_path):
            if path:
                self._hints.add(str(Path(os.fsdecode(path)).parent))
