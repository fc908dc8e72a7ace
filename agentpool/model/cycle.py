"""Cycles among what waits for what."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


def find_cycle(starts: Iterable[str], predecessors: Callable[[str], Iterable[str]]) -> list[str] | None:
    """A cycle that can be reached from the starts: ids each of which waits for the next, closed by the first.

    Only what the starts wait for is visited, each id once.
    """
    finished: set[str] = set()
    for start in starts:
        path: dict[str, Iterator[str]] = {} if start in finished else {start: iter(predecessors(start))}
        while path:
            node = next(reversed(path))
            step = next(path[node], None)
            if step is None:
                finished.add(node)
                del path[node]
            elif step in path:
                ids = list(path)
                return [*ids[ids.index(step) :], step]
            elif step not in finished:
                path[step] = iter(predecessors(step))
    return None
