"""One scene of the demo: the pool is shown live, or as plain lines, until something has happened."""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING

from agentpool.cli.client import Client
from agentpool.model.errors import NoSupervisorError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agentpool.cli.client import Json
    from agentpool.pool.layout import Layout

#: Seconds between two looks whether the scene is over.
_LOOK_SECONDS = 0.1
#: Seconds that a scene may take on a slow machine; it ends then, and the demo's checks say what is missing.
_LONGEST_SECONDS = 60.0


class Scene(Client):
    """A client whose events end with the scene, so that whatever shows them ends too.

    Args:
        layout: the pool.
        over: whether the scene is over; asked ten times a second. It may do something as well.
    """

    def __init__(self, layout: Layout, over: Callable[[], bool]) -> None:
        super().__init__(layout)
        self._over = over
        #: The number of the last event that was shown.
        self.last = 0

    def events(self, since: int | None = None) -> Iterator[Json]:
        """As the client's own, until the scene is over."""
        incoming: queue.SimpleQueue[Json | None] = queue.SimpleQueue()
        threading.Thread(target=self._listen, args=(since, incoming), daemon=True, name="scene").start()
        deadline = time.monotonic() + _LONGEST_SECONDS
        look = time.monotonic()
        while True:
            try:
                event = incoming.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                event = {}
            if event is None:
                return
            seq = event.get("seq")
            self.last = seq if isinstance(seq, int) else self.last
            yield event
            if time.monotonic() < look:
                continue
            look = time.monotonic() + _LOOK_SECONDS
            if self._over() or look > deadline:
                yield from _rest(incoming)
                return

    def _listen(self, since: int | None, incoming: queue.SimpleQueue[Json | None]) -> None:
        try:
            for event in super().events(since):
                incoming.put(event)
        except NoSupervisorError:
            # It was killed, or has not begun to serve: the scene ends here.
            pass
        finally:
            incoming.put(None)


def _rest(incoming: queue.SimpleQueue[Json | None]) -> Iterator[Json]:
    """What has come already."""
    while not incoming.empty():
        event = incoming.get()
        if event is not None:
            yield event


def show(scene: Scene, *, since: int, plain: bool) -> None:
    """Shows the pool until the scene is over.

    Args:
        since: the number of the event after which the lines begin.
        plain: lines, not a picture.
    """
    try:
        if plain:
            from agentpool.cli.watch import stream_lines  # noqa: PLC0415 - a terminal shows the picture instead

            stream_lines(scene, as_json=False, since=since, stay=False)
        else:
            from agentpool.cli.live_view import show_live  # noqa: PLC0415 - only a terminal pays for rich

            show_live(scene, stay=False)
    except NoSupervisorError:
        # What it did not do is said by the checks at the end.
        return
