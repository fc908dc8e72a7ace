"""Where the files that ship with agentpool lie: identities, starters and a `pool.toml` that explains itself."""

from __future__ import annotations

from pathlib import Path

from agentpool.model.errors import AgentpoolError

_PACKAGE = Path(__file__).resolve().parent.parent


def templates_directory() -> Path:
    """The shipped templates: inside the installed package, or at the top of a checkout.

    Raises:
        AgentpoolError: neither is there, so the installation is broken.
    """
    for candidate in (_PACKAGE / "templates", _PACKAGE.parent / "templates"):
        if (candidate / "pool.toml").is_file():
            return candidate
    raise AgentpoolError(f"{_PACKAGE} has no templates/", tip="install agentpool again")


def read_template(name: str) -> str:
    """The text of one template.

    Args:
        name: its path below the templates, e.g. `expert/identity.md`.

    Raises:
        AgentpoolError: the installation has no such template.
    """
    file = templates_directory() / name
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise AgentpoolError(f"{file}: cannot be read: {error.strerror}", tip="install agentpool again") from error
