"""Which experts a pool has, and what they may be called."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from agentpool.model.errors import UsageError
from agentpool.model.names import ARCHITECT, CONCIERGE, HUMAN, RESEARCHER, SUPERVISOR, check_name

if TYPE_CHECKING:
    from pathlib import Path

    from agentpool.pool.configuration import Configuration
    from agentpool.pool.layout import Layout

#: Names that no expert can have: other mailboxes, and the sender of the pool's own mail.
RESERVED = (ARCHITECT, CONCIERGE, HUMAN, RESEARCHER, SUPERVISOR)


def check_expert_name(name: str) -> str:
    """Return `name` if an expert can have it.

    Raises:
        UsageError: it is no safe name, or one that the pool uses itself.
    """
    check_name(name)
    if name in RESERVED:
        raise UsageError(f"{name!r} cannot name an expert: the pool uses {', '.join(RESERVED)} itself")
    return name


def experts_of(layout: Layout, configuration: Configuration) -> frozenset[str]:
    """The experts of a pool: those that `pool.toml` names, shared ones too, and those whose `identity.md` is there.

    A directory whose name no expert can have is none (see `misnamed_experts`).
    """
    named = frozenset(configuration.experts) | frozenset(configuration.shared.include)
    return named | {name for name in _with_identity(layout) if _objection(name) is None}


def misnamed_experts(layout: Layout) -> list[tuple[Path, str]]:
    """Directories that look like an expert's but cannot be, because of their names; each with the reason."""
    objections = ((layout.experts / name, _objection(name)) for name in sorted(_with_identity(layout)))
    return [(directory, reason) for directory, reason in objections if reason is not None]


def _with_identity(layout: Layout) -> list[str]:
    try:
        names = os.listdir(layout.experts)  # noqa: PTH208 - names are what is wanted
    except FileNotFoundError:
        return []
    return [name for name in names if (layout.experts / name / "identity.md").is_file()]


def _objection(name: str) -> str | None:
    try:
        check_expert_name(name)
    except UsageError as error:
        return error.message
    return None
