"""The tools that runs are allowed: combinations with which an agent cannot work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentpool.cli.checks.finding import Finding, note
from agentpool.model.names import ARCHITECT, RESEARCHER
from agentpool.pool.setting_types import AgentKind, PermissionMode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentpool.pool.configuration import Configuration

_CHANGE_FILES = ("Edit", "Write")
_READ = "Read"


def check_tools(configuration: Configuration) -> Iterator[Finding]:
    """Looks at the pool's own tools and at those of each role that differ."""
    if configuration.agent.kind is AgentKind.SIMULATED:
        return
    agent = configuration.agent
    lists = {"agent": (agent.allowed_tools, agent.permission_mode)}
    roles = {ARCHITECT: configuration.architect, RESEARCHER: configuration.researcher}
    roles |= {f"experts.{name}": table for name, table in configuration.experts.items()}
    for table, role in roles.items():
        if role.allowed_tools is not None:
            lists[table] = (role.allowed_tools, role.permission_mode or agent.permission_mode)
    for table, (rules, mode) in lists.items():
        tools = {rule.partition("(")[0].strip() for rule in rules}
        changing = [tool for tool in _CHANGE_FILES if tool in tools]
        # In the other modes the command offers its tools also where no rule allows them.
        if changing and _READ not in tools and mode is PermissionMode.DONT_ASK:
            yield note(
                "settings",
                f"[{table}] allowed_tools has {' and '.join(changing)} without {_READ}: "
                "a file that is there can only be changed after it was read",
                f'add "{_READ}" to it in pool.toml',
            )
