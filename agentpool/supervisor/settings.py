"""The configuration that is in force, and what follows from it; edits take effect while the pool is served."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from agentpool.model.acceptance import AcceptanceLimits, known_mailboxes
from agentpool.model.errors import ConfigurationError
from agentpool.model.policies import RetryPolicy
from agentpool.pool.configuration_file import fingerprint, load
from agentpool.pool.experts import experts_of
from agentpool.pool.layout import shared_expert
from agentpool.pool.setting_types import AgentKind
from agentpool.runs.claude import Claude
from agentpool.runs.simulated import Simulated
from agentpool.supervisor.memory import runs_that_fit

if TYPE_CHECKING:
    from pathlib import Path

    from agentpool.pool.configuration import Configuration
    from agentpool.pool.layout import Layout
    from agentpool.runs.agent import Agent


class Settings:
    """Configuration, experts and agent of one pool.

    Attributes:
        configuration: what is in force.
        experts: the names of all experts.
        mailboxes: every name that mail can be addressed to.
        agent: the adapter that starts runs.
        environment: the variables of every run, its own markers aside.
        warnings: what a person should know of the configuration as it stands in the files.
    """

    def __init__(self, layout: Layout, home: Path) -> None:
        """Read the files.

        Raises:
            ConfigurationError: they cannot be used; there is nothing to fall back to yet.
        """
        self._layout = layout
        self._home = home
        self.experts: frozenset[str] = frozenset()
        self.mailboxes = known_mailboxes(self.experts)
        self._stamp: object = fingerprint(layout, home)
        loaded = load(layout, home)
        self.warnings: tuple[str, ...] = loaded.warnings
        self._use(loaded.configuration)
        self.warnings += self._without_knowledge()
        self.refresh_experts()

    def reload(self) -> bool:
        """Read the files again if they were edited; whether another configuration is in force now.

        A broken edit keeps the configuration that is in force, and says so in `warnings`.
        """
        stamp = fingerprint(self._layout, self._home)
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        if _is_empty(self._layout.configuration):
            # Its defaults are not what anybody chose: an editor truncates before it writes, `git stash` removes.
            self.warnings = (f"{self._layout.configuration} is gone or empty: what it said before stays in force",)
            return False
        try:
            loaded = load(self._layout, self._home)
        except ConfigurationError as error:
            self.warnings = (f"the configuration from before stays in force: {error.message}",)
            return False
        self.warnings = loaded.warnings
        if loaded.configuration == self.configuration:
            return False
        self._use(loaded.configuration)
        self.warnings += self._without_knowledge()
        return True

    def refresh_experts(self) -> bool:
        """Look which experts there are; whether that has changed."""
        experts = experts_of(self._layout, self.configuration)
        if experts == self.experts:
            return False
        self.experts = experts
        self.mailboxes = known_mailboxes(experts)
        return True

    def shared_home(self, name: str) -> Path | None:
        """Where the knowledge of a shared expert stands; None for an expert of the pool's own."""
        if name not in self.configuration.shared.include or (self._layout.experts / name).is_dir():
            return None
        return shared_expert(self._home, name)

    @property
    def limits(self) -> AcceptanceLimits:
        """How far work may spread."""
        return AcceptanceLimits(self.configuration.limits.hops, self.configuration.limits.fan_out)

    @property
    def retries(self) -> RetryPolicy:
        """How often is tried again."""
        runs = self.configuration.runs
        return RetryPolicy(
            max_attempts=runs.max_attempts,
            max_continuations=runs.max_continuations,
            first_delay=runs.retry_first,
            most_delay=runs.retry_most,
            transient_horizon=runs.transient_horizon,
        )

    def _without_knowledge(self) -> tuple[str, ...]:
        shared = [(name, self.shared_home(name)) for name in self.configuration.shared.include]
        return tuple(
            f"[shared] includes {name}, but {home / 'identity.md'} is not there"
            for name, home in shared
            if home is not None and not (home / "identity.md").is_file()
        )

    def _use(self, configuration: Configuration) -> None:
        self.configuration = configuration
        agent = configuration.agent
        self.agent: Agent = (
            Simulated(agent.script_file(self._layout.root))
            if agent.kind is AgentKind.SIMULATED
            else Claude(agent.command, agent.setting_sources)
        )
        self.environment = agent.environment(os.environ)
        self.max_runs = configuration.limits.max_runs or runs_that_fit(configuration.limits.run_memory)


def _is_empty(path: Path) -> bool:
    try:
        return path.stat().st_size == 0
    except FileNotFoundError:
        return True
