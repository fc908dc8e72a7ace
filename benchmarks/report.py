"""How a measured figure is told: with its target, and on which machine."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure.

    Args:
        target: what it must not exceed, or with `at_least` what it must reach; None where it is told for comparison.
    """

    name: str
    value: float
    unit: str = ""
    target: float | None = None
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether the target is met."""
        if self.target is None:
            return True
        return self.value >= self.target if self.at_least else self.value <= self.target

    def __str__(self) -> str:
        text = f"{self.name:<58} {self.value:>10.3f} {self.unit:<8}"
        if self.target is None:
            return text.rstrip()
        return f"{text} {'≥' if self.at_least else '≤'} {self.target:g}  {'met' if self.met else 'NOT MET'}"


def describe_machine() -> str:
    """Processor, cores, memory, kernel and Python, on one line."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.release()}, "
        f"{platform.python_implementation()} {platform.python_version()}"
    )


def percentile(values: list[float], share: float) -> float:
    """The value below which a share (0 to 1) of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


__all__ = ["Figure", "describe_machine", "median", "percentile"]
