"""Who waits for whom: a directed acyclic graph of ids, and the only user of networkx."""

from __future__ import annotations

from typing import TYPE_CHECKING

import networkx

from agentpool.model.cycle import find_cycle

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping


class WaitGraph:
    """An edge `a → b` reads "b waits for a". Adding and taking out cost O(degree).

    Attributes:
        placeholders: ids that are waited for and have not arrived, with the time since when (seconds since the epoch).
    """

    def __init__(self) -> None:
        self.placeholders: dict[str, float] = {}
        self._graph: networkx.DiGraph[str] = networkx.DiGraph()

    def add(self, node: str) -> None:
        """An id arrives; what waited for it goes on waiting, now for a task."""
        self.placeholders.pop(node, None)
        self._graph.add_node(node)

    def wait(self, waiter: str, awaited: str) -> None:
        """`waiter` waits for `awaited`."""
        self._graph.add_edge(awaited, waiter)

    def expect(self, awaited: str, at: float) -> None:
        """An id is waited for that has not arrived."""
        self.placeholders.setdefault(awaited, at)

    def leave(self, node: str) -> list[str]:
        """Take an id out; the ids that waited for it. A placeholder that nobody else waits for goes with it."""
        self.placeholders.pop(node, None)
        if node not in self._graph:
            return []
        for awaited in list(self._graph.predecessors(node)):
            if awaited in self.placeholders and self._graph.out_degree(awaited) == 1:
                del self.placeholders[awaited]
                self._graph.remove_node(awaited)
        waiting = list(self._graph.successors(node))
        self._graph.remove_node(node)
        return waiting

    def waits_for(self, node: str) -> tuple[str, ...]:
        """The ids that an id still waits for."""
        return tuple(self._graph.predecessors(node)) if node in self._graph else ()

    def dependants(self, node: str) -> tuple[str, ...]:
        """The ids that wait for an id."""
        return tuple(self._graph.successors(node)) if node in self._graph else ()

    def cycle(self, arriving: Mapping[str, Collection[str]], parent: str | None = None) -> list[str] | None:
        """The cycle that arriving ids would close, as ids each of which waits for the next.

        Args:
            arriving: what each new id waits for.
            parent: the id that will wait for all of them, where a run sent them.

        A single id that nobody waits for yet cannot close a cycle, so the usual arrival searches nothing.
        """
        alone = parent is None and len(arriving) == 1
        starts = [new for new, awaited in arriving.items() if not alone or new in self._graph or new in awaited]

        def predecessors(node: str) -> Iterator[str]:
            yield from arriving.get(node, ())
            if node in self._graph:
                yield from self._graph.predecessors(node)
            if node == parent:
                yield from arriving

        return find_cycle(starts, predecessors)
