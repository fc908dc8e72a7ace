"""Serves an ASGI app on the pool's unix socket, inside the supervisor's own event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import stat
from typing import TYPE_CHECKING

import uvicorn

from agentpool.model.errors import AgentpoolError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.applications import Starlette

#: Seconds that requests under way get to end before they are cut off.
GRACE_SECONDS = 1
_BACKLOG = 128


class GatewayServer:
    """The gateway's server. `start` it once, `stop` it once.

    Args:
        app: what is served; `app.state.closing` is an `asyncio.Event` that ends its open streams (see `create_app`).
        address: the socket's path. A socket that lies there already is replaced: the caller holds the pool's lock, so
            nobody serves it any more.
    """

    def __init__(self, app: Starlette, address: Path) -> None:
        self._app = app
        self._address = address
        self._server: _Server | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Binds the socket (mode 0600) and serves; returns when a client can connect.

        Raises:
            AgentpoolError: the socket cannot be bound.
        """
        listening = _bind(self._address)
        self._server = _Server(self._app)
        self._task = asyncio.create_task(self._server.serve(sockets=[listening]), name="gateway")
        ready = asyncio.create_task(self._server.ready.wait())
        await asyncio.wait({self._task, ready}, return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            ready.cancel()
            await self._task

    async def stop(self) -> None:
        """Ends open streams and waits, gives other requests `GRACE_SECONDS`, and removes the socket."""
        if self._server is None or self._task is None:
            return
        server, task, self._server, self._task = self._server, self._task, None, None
        self._app.state.closing.set()
        server.stopping.set()
        await task
        server.abandon()
        if self.stands():  # what somebody put in its place is not ours to remove
            self._address.unlink(missing_ok=True)

    def stands(self) -> bool:
        """Whether the socket is still at its path: false after somebody cleaned the directory."""
        return self._address.is_socket()


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers (the supervisor has its own) and without its ten wake-ups a second."""

    def __init__(self, app: Starlette) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                loop="none",
                http="h11",
                ws="none",
                interface="asgi3",
                lifespan="off",
                access_log=False,
                log_config=None,
                log_level=logging.WARNING,
                proxy_headers=False,
                server_header=False,
                date_header=False,
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )
        self.ready = asyncio.Event()
        self.stopping = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    async def main_loop(self) -> None:
        await self.stopping.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def abandon(self) -> None:
        """Cuts the connections of clients that stopped reading: they never end by themselves."""
        for connection in list(self.server_state.connections):
            transport = getattr(connection, "transport", None)
            if transport is not None:
                transport.abort()


def _bind(path: Path) -> socket.socket:
    _make_way(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.bind(str(path))
        # Nobody can connect before `listen`, so there is no moment at which the socket is open to others.
        path.chmod(0o600)
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        raise AgentpoolError(f"the socket {path} cannot be made: {error.strerror}", tip="agentpool doctor") from error
    listening.setblocking(False)  # noqa: FBT003 - the standard library's own signature
    return listening


def _make_way(path: Path) -> None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise AgentpoolError(f"{path} is in the way of the pool's socket: it is not a socket", tip=f"remove {path}")
    path.unlink()
