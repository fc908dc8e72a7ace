"""How many runs the machine bears."""

from __future__ import annotations

import os


def runs_that_fit(run_memory: int) -> int:
    """How many runs may live at once: two for each core, as far as four fifths of the free memory go.

    Args:
        run_memory: bytes that one run is expected to need.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    by_memory = int(free_memory() * 0.8 // run_memory) if run_memory else 2 * cores
    return max(1, min(2 * cores, by_memory))


def free_memory() -> int:
    """Bytes that new processes can have without pushing others out."""
    import psutil  # noqa: PLC0415 - its import costs 23 ms, and only a supervisor asks

    return int(psutil.virtual_memory().available)
