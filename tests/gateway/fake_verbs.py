"""A pool in memory behind the gateway's port, and a thread that serves it on a real socket."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from agentpool.gateway.address import socket_path
from agentpool.gateway.app import create_app
from agentpool.gateway.server import GatewayServer
from agentpool.model.errors import MailError, UnknownIdError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from agentpool.gateway.verbs import Json, StopMode
    from agentpool.pool.layout import Layout

DEADLINE = 10.0


def eventually(condition: Callable[[], object]) -> None:
    """Returns once the condition holds; fails after ten seconds."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.005)


def task(task_id: str, **more: object) -> Json:
    """A task with all documented keys."""
    base: Json = {
        "id": task_id, "to": "auth", "from": "human", "type": "task", "state": "ready", "reason": "", "attempt": 0,
        "priority": "normal", "depends_on": [], "created": "2026-11-21T08:00:00Z", "started": None, "ended": None,
        "cost_usd": 0.0, "subject": f"about {task_id}", "thread": task_id, "parent": None, "waits_for": [],
        "children": [], "failure": None, "settlement": 1, "run": None, "mail": f"do {task_id}", "response": None,
        "attempts": [], "logs": None, "run_directory": None,
    }  # fmt: skip
    return base | more


def response(task_id: str, body: str, *, status: str = "done") -> Json:
    """The answer to a task."""
    return {"id": f"{task_id}.response", "from": "auth", "status": status, "body": body}


class FakeVerbs:
    """Keeps what it is told; `on_send` decides what a sent task comes to."""

    def __init__(self) -> None:
        self.tasks: dict[str, Json] = {}
        self.mails: list[Json] = []
        self.sent: list[tuple[dict[str, object], str]] = []
        self.calls: list[tuple[object, ...]] = []
        self.state: Json = {
            "pid": os.getpid(), "pool": "shop", "name": "shop", "version": "0.1.0", "state": "running",
            "since": "2026-11-21T08:00:00Z",
            "holds": [], "runs": [], "waiting": [], "counts": {}, "spent_today_usd": 1.5, "day_usd": 50.0,
            "warnings": [],
        }  # fmt: skip
        self.on_send: Callable[[Json], None] = lambda _: None
        self.on_stop: Callable[[], None] = lambda: None
        self.refusal: str | None = None
        self.broken = False
        self.listeners: list[asyncio.Queue[Json | None]] = []
        self.history: list[Json] = []
        self.changed = asyncio.Event()
        self.waiting = 0

    def status(self) -> Json:
        """See `Verbs.status`."""
        if self.broken:
            raise ZeroDivisionError("a defect")
        return self.state

    def board(self, *, everything: bool) -> Json:
        """See `Verbs.board`."""
        settled = ("done", "failed", "cancelled")
        return {"tasks": [task for task in self.tasks.values() if everything or task["state"] not in settled]}

    def task(self, task_id: str) -> Json:
        """See `Verbs.task`."""
        if task_id not in self.tasks:
            raise UnknownIdError(f"there is no task {task_id}", tip="agentpool board --all")
        return self.tasks[task_id]

    async def settled(self, task_id: str, timeout: float) -> Json:  # noqa: ASYNC109
        """See `Verbs.settled`."""
        self.waiting += 1
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self.task(task_id)["state"] not in ("done", "failed", "cancelled"):
                    await self.changed.wait()
                    self.changed.clear()
        return self.task(task_id)

    async def send(self, header: Mapping[str, object], body: str) -> Json:
        """See `Verbs.send`."""
        if self.refusal is not None:
            raise MailError(self.refusal)
        self.sent.append((dict(header), body))
        name = str(header["id"])
        self.tasks[name] = task(name, to=header["to"], type=header["type"], mail=body)
        self.on_send(self.tasks[name])
        return {"id": name, "type": header["type"], "to": header["to"], "state": self.tasks[name]["state"]}

    async def cancel(self, task_id: str, *, tree: bool) -> Json:
        """See `Verbs.cancel`."""
        self.calls.append(("cancel", task_id, tree))
        return {"tasks": [self.task(task_id)["id"]]}

    async def retry(self, task_id: str) -> Json:
        """See `Verbs.retry`."""
        self.calls.append(("retry", task_id))
        self.task(task_id)["state"] = "ready"
        return self.task(task_id)

    async def replay(self, name: str) -> Json:
        """See `Verbs.replay`."""
        if not name.endswith(".md"):
            raise UnknownIdError(f"there is no dead letter {name}")
        self.calls.append(("replay", name))
        return {"dropped": f"postoffice/{name}"}

    def inbox(self, mailbox: str) -> Json:
        """See `Verbs.inbox`."""
        return {"mails": self.mails if mailbox == "human" else []}

    async def read(self, mail_id: str, mailbox: str) -> Json:
        """See `Verbs.read`."""
        self.calls.append(("read", mail_id, mailbox))
        self.mails = [mail for mail in self.mails if mail["id"] != mail_id]
        return {"id": mail_id}

    async def stop(self, mode: StopMode) -> Json:
        """See `Verbs.stop`."""
        self.calls.append(("stop", mode.value))
        self.on_stop()
        return {"mode": mode.value, "runs": []}

    async def events(self, since: int | None) -> AsyncIterator[Json]:
        """See `Verbs.events`."""
        mine: asyncio.Queue[Json | None] = asyncio.Queue()
        self.listeners.append(mine)
        try:
            for event in self.history:
                if since is not None and int(str(event["seq"])) > since:
                    yield event
            while (event := await mine.get()) is not None:
                yield event
        finally:
            self.listeners.remove(mine)

    def tell(self, event: Json) -> None:
        """Sends an event to everyone who listens; to be called on the server's loop."""
        if "seq" in event:
            self.history.append(event)
        for listener in self.listeners:
            listener.put_nowait(event)


class ServedPool:
    """Serves verbs on a pool's socket, in a thread with a loop of its own."""

    def __init__(self, layout: Layout, verbs: FakeVerbs) -> None:
        self.layout = layout
        self.verbs = verbs
        self.address = socket_path(layout, os.environ)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: GatewayServer | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        self._await(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._await(_cancel_the_rest())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE)
        self._loop.close()

    def stop(self) -> None:
        """Ends the server as a supervisor's end would."""
        if self._server is not None:
            server, self._server = self._server, None
            self._await(server.stop())

    def stop_when_asked(self) -> None:
        """Ends the server once somebody waits for a task."""
        eventually(lambda: self.verbs.waiting)
        self.stop()

    def restart(self) -> None:
        """Serves again after `stop`."""
        self._await(self._start())

    def tell(self, event: Json) -> None:
        """Sends an event to everyone who listens."""
        self._loop.call_soon_threadsafe(self.verbs.tell, event)

    def change(self, task_id: str, **more: object) -> None:
        """Changes a task and wakes those who wait for it."""

        def change() -> None:
            self.verbs.tasks[task_id] |= more
            self.verbs.changed.set()

        self._loop.call_soon_threadsafe(change)

    async def _start(self) -> None:
        self._server = GatewayServer(create_app(self.verbs), self.address)
        await self._server.start()
        said = {"pid": os.getpid(), "since": "2026-11-21T08:00:00Z", "socket": str(self.address), "version": "0.1.0"}
        self.layout.supervisor.write_text(json.dumps(said))

    def _await(self, work: object) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(DEADLINE)  # type: ignore[arg-type]


async def _cancel_the_rest() -> None:
    """Nothing may be pending when the loop is closed."""
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for each in rest:
        each.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
