"""Serving a pool from its start to its end: lock, journal, adoption, gateway, loop, signals."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
from typing import TYPE_CHECKING

import agentpool
from agentpool.gateway.address import socket_path
from agentpool.gateway.app import create_app
from agentpool.gateway.server import GatewayServer
from agentpool.gateway.verbs import StopMode
from agentpool.model import events as ev
from agentpool.model.errors import AgentpoolError, JournalError, NoPoolError
from agentpool.model.moment import iso
from agentpool.pool import atomic
from agentpool.pool.founding import ensure_directories
from agentpool.pool.lock import PoolLock
from agentpool.pool.traces import trace_without_journal
from agentpool.runs.family import become_subreaper
from agentpool.supervisor.ledger import Ledger
from agentpool.supervisor.settings import Settings
from agentpool.supervisor.supervisor import Supervisor
from agentpool.supervisor.verbs import PoolVerbs
from agentpool.supervisor.views import read_mark

if TYPE_CHECKING:
    from pathlib import Path

    from agentpool.pool.layout import Layout

log = logging.getLogger(__name__)

_STRENGTH = {StopMode.DRAIN: 0, StopMode.NOW: 1, StopMode.LEAVE: 2}


def serve(layout: Layout, *, home: Path) -> None:
    """Serve a pool until somebody stops it.

    The first SIGINT drains, the second stops the runs; SIGTERM and SIGHUP leave the runs to the next supervisor.

    Args:
        home: the user's home directory, for the defaults in `.agent-pool/config.toml` there.

    Raises:
        PoolHeldError: another supervisor serves it.
        ConfigurationError: `pool.toml` cannot be used.
        JournalError: the journal is damaged, or missing where there is a history.
        NoPoolError: the pool's directory is not there, or was taken away while it was served.
    """
    with PoolLock.acquire(layout.root, holder=layout.supervisor) as lock:
        settings = Settings(layout, home)
        ensure_directories(layout, settings.experts, settings.configuration.shared.include)
        _refuse_lost_journal(layout)
        become_subreaper()
        asyncio.run(_Service(layout, settings, lock).run())


class _Service:
    def __init__(self, layout: Layout, settings: Settings, lock: PoolLock) -> None:
        self._layout = layout
        self._settings = settings
        self._lock = lock
        self._mode: StopMode | None = None
        self._supervisor: Supervisor | None = None
        self._server: GatewayServer | None = None

    async def run(self) -> None:
        layout = self._layout
        ledger, later = Ledger.open(layout.journal, read_mark(layout))
        supervisor = self._supervisor = Supervisor(layout, self._settings, ledger)
        try:
            supervisor.redo(later)
            self._handle_signals()
            supervisor.intake.watch_directories()
            await supervisor.begin(agentpool.__version__, os.getpid())
            address = socket_path(layout, os.environ)
            verbs = PoolVerbs(layout, supervisor, self.stop)
            await self._open_gateway(verbs, address)
            log.info("serving %s", layout.root, extra={"action": ev.PoolStarted.name})
            guard = asyncio.create_task(self._guard(verbs, address))
            try:
                await supervisor.run()
            finally:
                guard.cancel()
            if not self._lock.stands():
                raise NoPoolError(
                    f"{layout.root} was removed, moved or replaced while it was served; its runs are left alone",
                    tip="put it back, or make a new one with: agentpool init",
                )
            await supervisor.end((self._mode or StopMode.LEAVE).value)
        finally:
            if self._lock.stands():
                layout.supervisor.unlink(missing_ok=True)
            if self._server is not None:
                await self._server.stop()
            await supervisor.close()
            ledger.close()

    async def _open_gateway(self, verbs: PoolVerbs, address: Path) -> None:
        self._server = GatewayServer(create_app(verbs), address)
        await self._server.start()
        self._announce(address)

    def stop(self, mode: StopMode) -> None:
        """Begin to stop; a stronger mode may follow a weaker one, a weaker one after a stronger changes nothing."""
        supervisor = self._supervisor
        if supervisor is None or (self._mode is not None and _STRENGTH[mode] < _STRENGTH[self._mode]):
            return
        self._mode = mode
        log.info("stopping (%s)", mode, extra={"action": "pool.stopping"})
        if mode is StopMode.LEAVE:
            supervisor.leave()
            return
        supervisor.close_admission("the supervisor is stopping")
        if mode is StopMode.NOW:
            supervisor.stop_runs()

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(
            signal.SIGINT, lambda: self.stop(StopMode.DRAIN if self._mode is None else StopMode.NOW)
        )
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self.stop, StopMode.LEAVE)

    def _announce(self, address: Path) -> None:
        """Say who serves the pool, for those who look without a lock."""
        said = {
            "pid": os.getpid(),
            "since": iso(self._supervisor.since if self._supervisor else 0.0),
            "socket": str(address),
            "version": agentpool.__version__,
        }
        atomic.write(self._layout.supervisor, json.dumps(said) + "\n", durable=False)

    async def _guard(self, verbs: PoolVerbs, address: Path) -> None:
        """Notice what `git clean` and `rm` do to a pool that is served: its socket comes back, the pool does not."""
        while self._lock.stands():
            await asyncio.sleep(self._settings.configuration.pool.sweep)
            try:
                await self._restore(verbs, address)
            except (AgentpoolError, OSError) as error:
                log.error("the gateway cannot be restored: %s", error, extra={"action": "gateway.lost"})  # noqa: TRY400
        self.stop(StopMode.LEAVE)

    async def _restore(self, verbs: PoolVerbs, address: Path) -> None:
        if not self._layout.run.is_dir():
            return  # the next sweep makes it
        if self._server is not None and not self._server.stands():
            log.warning("%s was removed; it is made anew", address, extra={"action": "gateway.restored"})
            await self._server.stop()
            await self._open_gateway(verbs, address)
        elif not self._layout.supervisor.exists():
            self._announce(address)


def _refuse_lost_journal(layout: Layout) -> None:
    """A history without a journal means that the journal was lost: an empty board would run old mail again.

    Raises:
        JournalError: naming what was found.
    """
    trace = trace_without_journal(layout)
    if trace is not None:
        raise JournalError(
            f"there is a history ({trace.relative_to(layout.root)}) but no journal in {layout.journal}",
            tip="restore journal/ from a backup; or, to begin anew, move that file and its like away",
        )
