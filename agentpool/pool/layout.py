"""Where everything lies in a pool: the one place that knows its paths."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from agentpool.model.errors import NoPoolError
from agentpool.model.names import ARCHITECT, CONCIERGE, HUMAN, RESEARCHER

POOL_DIRECTORY = ".agent-pool"
_SHARED_STATE = "shared-state"


@dataclass(frozen=True)
class Layout:
    """The paths of one pool, each put together once: a run asks for dozens of them.

    Args:
        root: the pool's own directory, absolute (`/…/project/.agent-pool`).
    """

    root: Path

    @cached_property
    def project(self) -> Path:
        """The directory that the pool belongs to; runs work in it."""
        return self.root.parent

    @cached_property
    def configuration(self) -> Path:
        """`pool.toml`."""
        return self.root / "pool.toml"

    @cached_property
    def postoffice(self) -> Path:
        """Where anyone drops mail that is routed by its `to:`."""
        return self.root / "postoffice"

    @cached_property
    def experts(self) -> Path:
        """The parent directory of the experts' homes."""
        return self.root / "experts"

    @cached_property
    def mail(self) -> Path:
        """Accepted and open mail, one file each: a view of the journal."""
        return self.root / "mail"

    @cached_property
    def archive(self) -> Path:
        """Settled mail by month: a view of the journal."""
        return self.root / "archive"

    @cached_property
    def deadletter(self) -> Path:
        """Refused mail, each with a `.reason.md` beside it."""
        return self.root / "deadletter"

    @cached_property
    def journal(self) -> Path:
        """The append-only segments and snapshots: the only truth about states."""
        return self.root / "journal"

    @cached_property
    def taskboard(self) -> Path:
        """A readable view of the board, rewritten lazily."""
        return self.root / "taskboard.json"

    @cached_property
    def run(self) -> Path:
        """Runtime only, mode 0700."""
        return self.root / "run"

    @cached_property
    def runs(self) -> Path:
        """One directory for each run that has not settled."""
        return self.run / "runs"

    @cached_property
    def socket(self) -> Path:
        """The gateway's unix socket, where its path is short enough (see `gateway.address`)."""
        return self.run / "gateway.sock"

    @cached_property
    def supervisor(self) -> Path:
        """Who holds the pool: pid, start time and the socket's address, as JSON."""
        return self.run / "supervisor.json"

    @cached_property
    def shared_state(self) -> Path:
        """The parent directory of this project's overlays for experts that all pools of a user share."""
        return self.root / _SHARED_STATE

    def home(self, role: str) -> Path:
        """The directory of a role or expert: its knowledge, inbox and logs. `role` must be a checked name.

        A shared expert's is its overlay in `shared-state/`, unless the pool has an expert of its own by that name.
        """
        if role in (ARCHITECT, RESEARCHER, CONCIERGE, HUMAN):
            return self.root / role
        own, overlay = self.experts / role, f"{self.root}/{_SHARED_STATE}/{role}"
        # Asked many times for each run, mostly about an expert of the pool's own: then one look is all that it costs.
        return Path(overlay) if os.path.isdir(overlay) and not own.is_dir() else own  # noqa: PTH112 - a string is faster

    def inbox(self, role: str) -> Path:
        """The drop directory of a role (for people: where their answers wait)."""
        return self.home(role) / "inbox"

    def logs(self, role: str) -> Path:
        """The logs of the tasks of a role, one directory a task."""
        return self.home(role) / "logs"

    def mail_file(self, mail_id: str) -> Path:
        """The view of an accepted, open mail."""
        return self.mail / f"{mail_id}.md"

    def archive_file(self, mail_id: str, month: str) -> Path:
        """The view of a settled mail; `month` is `YYYY-MM`."""
        return self.archive / month / f"{mail_id}.md"

    def run_directory(self, run_id: str) -> Path:
        """The directory of a run that has not settled."""
        return self.runs / run_id


def shared_expert(home: Path, name: str) -> Path:
    """Where a user keeps the knowledge of an expert that all pools share; `home` is the user's home directory."""
    return home / POOL_DIRECTORY / "experts" / name


def find_pool(start: Path) -> Layout:
    """The pool of the nearest directory at or above `start`.

    Raises:
        NoPoolError: there is none.
    """
    here = start.resolve()
    for directory in (here, *here.parents):
        candidate = directory / POOL_DIRECTORY
        if directory.name == POOL_DIRECTORY:
            candidate = directory
        if candidate.is_dir() and candidate != Path.home() / POOL_DIRECTORY:
            return Layout(candidate)
    raise NoPoolError(
        f"there is no {POOL_DIRECTORY}/ in {here} or above it", tip="make one with: agentpool init --expert NAME"
    )
