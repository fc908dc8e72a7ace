"""The texts that a role starts with, from the shipped templates."""

from __future__ import annotations

from string import Template
from typing import TYPE_CHECKING

from agentpool.model.names import ARCHITECT, RESEARCHER
from agentpool.pool.templates import read_template

if TYPE_CHECKING:
    from agentpool.pool.layout import Layout


def identity(layout: Layout, name: str) -> str:
    """Who this role or expert is, until a person says more, followed by `protocol`.

    Also what stands in for a missing `identity.md`, where `pool.toml` alone names an expert.

    Raises:
        AgentpoolError: the installation has no templates.
    """
    role = name if name in (ARCHITECT, RESEARCHER) else "expert"
    return f"{_filled(layout, name, f'{role}/identity.md')}\n{protocol(layout, name)}"


def protocol(layout: Layout, name: str) -> str:
    """How any run answers, sends mail and keeps what it learned: for an identity that does not say so itself.

    Raises:
        AgentpoolError: the installation has no templates.
    """
    return _filled(layout, name, "protocol.md")


def starting_knowledge(layout: Layout, name: str) -> dict[str, str]:
    """The three knowledge files of a role or expert as it starts, by file name.

    Raises:
        AgentpoolError: the installation has no templates.
    """
    return {
        "identity.md": identity(layout, name),
        "state.md": read_template("state.md"),
        "errors.md": read_template("errors.md"),
    }


def _filled(layout: Layout, name: str, template: str) -> str:
    home = layout.home(name).relative_to(layout.project).as_posix()
    # Not `substitute`: `$AGENTPOOL_OUTBOX` in a template is for the agent to read.
    return Template(read_template(template)).safe_substitute(expert=name, home=home)
