"""The system's process table: who a process is, whose child it is, and how to signal exactly that one.

Linux is read through `/proc`, other systems through `psutil`, which is slower.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_HAS_PROC = sys.platform.startswith("linux")
_ZOMBIES = frozenset("ZX")
_KERNEL_THREAD = 0x00200000
#: How long a process is waited for that is just executing a program: longer only when its disk hangs.
_EXECUTE_SECONDS = 0.1
#: How often a process must be seen with arguments and no environment: it may execute again between two reads.
_BARE_LOOKS = 3


@dataclass(frozen=True, slots=True)
class ProcessState:
    """One row of the process table.

    Args:
        started: the start time: clock ticks after boot on Linux, microseconds since the epoch elsewhere. With the pid
            it names a process for as long as the machine is up.
        zombie: it has ended, and nobody has asked for its exit code yet.
        stuck: in uninterruptible sleep ("D"): no signal reaches it until the kernel lets go.
        command: its short name, for people.
    """

    pid: int
    parent: int
    session: int
    started: int
    zombie: bool
    stuck: bool
    command: str


@dataclass(frozen=True, slots=True)
class Identity:
    """What names one process for ever: its pid, its start time and the boot that these belong to.

    Args:
        started: as in `ProcessState`.
        boot: the boot's own id; empty where start times need none.
    """

    pid: int
    started: int
    boot: str

    def __str__(self) -> str:
        return f"{self.pid}/{self.started}/{self.boot}"

    @classmethod
    def parse(cls, text: str) -> Identity | None:
        """The identity that `str()` wrote; None when the text is none."""
        match text.strip().split("/"):
            case [pid, started, boot] if pid.isdecimal() and started.isdecimal():
                return cls(int(pid), int(started), boot)
        return None

    def fits(self, state: ProcessState | None) -> bool:
        """Whether that row of the table, read now, is this process."""
        return state is not None and (state.pid, state.started, boot_id()) == (self.pid, self.started, self.boot)


def identity(state: ProcessState) -> Identity:
    """What names the process of a row that was read just now."""
    return Identity(state.pid, state.started, boot_id())


@functools.cache
def boot_id() -> str:
    """The kernel's name for this boot; empty where there is none (macOS: start times there are dates)."""
    return (_read("/proc/sys/kernel/random/boot_id") or b"").decode().strip()


def state_of(pid: int) -> ProcessState | None:
    """The row of `pid`, or None when there is no such process (any more), or it is a thread of the kernel."""
    if not _HAS_PROC:
        return _state_by_psutil(pid)
    raw = _read(f"/proc/{pid}/stat")
    if not raw:
        return None
    # The name stands in brackets and may hold brackets and blanks itself: what follows the last one is fixed.
    name, _, rest = raw.rpartition(b")")
    fields = rest.split()
    if int(fields[6]) & _KERNEL_THREAD:
        return None
    state = fields[0].decode()
    return ProcessState(
        pid=pid,
        parent=int(fields[1]),
        session=int(fields[3]),
        started=int(fields[19]),
        zombie=state in _ZOMBIES,
        stuck=state == "D",
        command=name.partition(b"(")[2].decode(errors="replace"),
    )


def table() -> dict[int, ProcessState]:
    """Every process of the system that this user may see, by pid."""
    states = (state_of(pid) for pid in _pids())
    return {state.pid: state for state in states if state is not None}


def children() -> dict[int, ProcessState]:
    """The children of this process's main thread: orphans are given to it; those of other threads may be missing."""
    me = os.getpid()
    # Only kernels with CONFIG_PROC_CHILDREN have this file; without it the whole table is read (2 µs a process).
    listed = _read(f"/proc/{me}/task/{me}/children")
    if listed is None:
        return {pid: state for pid, state in table().items() if state.parent == me}
    states = (state_of(int(pid)) for pid in listed.split())
    return {state.pid: state for state in states if state is not None}


def environment_of(pid: int) -> bytes:
    """What `pid` was started with, each `NAME=value` ended by a NUL; empty where it has ended or may not be read."""
    if _HAS_PROC:
        return _environment_by_proc(pid)
    import psutil  # noqa: PLC0415 - only where there is no /proc: its import costs 23 ms

    try:
        pairs = psutil.Process(pid).environ().items()
    except (psutil.Error, OSError):
        return b""
    return b"".join(f"{name}={value}\0".encode(errors="surrogateescape") for name, value in pairs)


def peak_memory(pid: int) -> int | None:
    """The largest resident set of a living process so far, in bytes; None where the system does not tell."""
    _, found, rest = (_read(f"/proc/{pid}/status") or b"").partition(b"VmHWM:")
    return int(rest.split(maxsplit=1)[0]) * 1024 if found else None


def age(target: Identity) -> float:
    """Seconds since that process was started."""
    if not _HAS_PROC:
        return time.time() - target.started / 1e6
    return time.clock_gettime(time.CLOCK_BOOTTIME) - target.started / os.sysconf("SC_CLK_TCK")


def send(target: Identity, number: signal.Signals) -> bool:
    """Sends a signal to exactly this process; False when it is gone, or its pid belongs to another one by now.

    Raises:
        PermissionError: it runs as another user.
    """
    if not hasattr(os, "pidfd_open"):
        return _send_by_pid(target, number)
    try:
        handle = os.pidfd_open(target.pid)
    except ProcessLookupError:
        return False
    try:
        # The handle is bound to whoever has the pid now; only then is it safe to ask who that is.
        if not target.fits(state_of(target.pid)):
            return False
        signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)
    return True


def _environment_by_proc(pid: int) -> bytes:
    until = time.monotonic() + _EXECUTE_SECONDS
    seen_bare = 0
    while True:
        raw = _read(f"/proc/{pid}/environ")
        if raw or raw is None:
            return raw or b""
        # While a program is just being executed, its process has neither environment nor arguments: a moment in
        # which whoever looks for its marker would miss it.
        if _read(f"/proc/{pid}/cmdline"):
            seen_bare += 1
            if seen_bare == _BARE_LOOKS:
                return b""
            continue
        state = state_of(pid)
        if state is None or state.zombie or time.monotonic() > until:
            return b""
        time.sleep(0.0005)


def _send_by_pid(target: Identity, number: signal.Signals) -> bool:
    if not target.fits(state_of(target.pid)):
        return False
    try:
        os.kill(target.pid, number)
    except ProcessLookupError:
        return False
    return True


def _pids() -> Iterator[int]:
    if _HAS_PROC:
        return (int(name) for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208 - names are all it takes
    import psutil  # noqa: PLC0415 - as above

    return iter(psutil.pids())


def _read(path: str) -> bytes | None:
    """A file of /proc, or None when the process has ended or its owner hides it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    try:
        parts = []
        while part := os.read(descriptor, 65536):
            parts.append(part)
        return b"".join(parts)
    except (ProcessLookupError, PermissionError):
        return None
    finally:
        os.close(descriptor)


def _state_by_psutil(pid: int) -> ProcessState | None:
    import psutil  # noqa: PLC0415 - as above

    try:
        process = psutil.Process(pid)
        with process.oneshot():
            return ProcessState(
                pid=pid,
                parent=process.ppid(),
                session=os.getsid(pid),
                started=int(process.create_time() * 1e6),
                zombie=process.status() == psutil.STATUS_ZOMBIE,
                stuck=process.status() == psutil.STATUS_DISK_SLEEP,
                command=process.name(),
            )
    except (psutil.Error, ProcessLookupError, PermissionError):
        return None
