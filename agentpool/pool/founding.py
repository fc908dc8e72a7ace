"""Founds a pool, and makes the directories that it works with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agentpool.model.errors import NoPoolError, UsageError
from agentpool.model.names import ARCHITECT, CONCIERGE, HUMAN, RESEARCHER
from agentpool.pool.experts import check_expert_name
from agentpool.pool.layout import POOL_DIRECTORY, Layout
from agentpool.pool.starters import starting_knowledge
from agentpool.pool.templates import read_template

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

#: `run/` holds tokens and what runs print: nobody else's business.
_PRIVATE = 0o700


@dataclass(frozen=True, slots=True)
class Founded:
    """What `found` did.

    Args:
        created: files that it wrote.
        kept: files that were there and stayed as they were.
    """

    created: tuple[Path, ...]
    kept: tuple[Path, ...]


def found(project: Path, experts: Sequence[str]) -> Founded:
    """Make `.agent-pool/` in a project, with a home for each expert and each role.

    Nothing is ever overwritten, so it can be called again to add experts.

    Args:
        project: an existing directory.
        experts: names of experts; further ones that the pool has already are left alone.

    Raises:
        UsageError: a name cannot be an expert's, or no pool can be there.
        AgentpoolError: the installation has no templates.
    """
    for name in experts:
        check_expert_name(name)
    if not project.is_dir():
        raise UsageError(f"{project} is not a directory", tip="make it first, or go to the project's directory")
    root = project.resolve() / POOL_DIRECTORY
    if root.parent == Path.home():
        raise UsageError(
            f"{root} holds your own defaults and shared experts, so it cannot be a pool",
            tip="go to a project's directory",
        )
    layout = Layout(root)
    _make(root)
    ensure_directories(layout, experts)
    created: list[Path] = []
    kept: list[Path] = []
    for file, text in _starters(layout, experts):
        (created if _placed(file, text) else kept).append(file)
    return Founded(tuple(created), tuple(kept))


def ensure_directories(layout: Layout, experts: Iterable[str], shared: Iterable[str] = ()) -> tuple[Path, ...]:
    """Make every directory of a pool that is missing, and keep `run/` private.

    Where all are there, it costs one `stat` each.

    Args:
        experts: the names of all experts.
        shared: those of them whose knowledge stands in the user's home directory.

    Returns:
        The directories that it made.

    Raises:
        NoPoolError: the pool itself is not there.
        UsageError: something else stands where a directory must be.
    """
    if not layout.root.is_dir():
        raise NoPoolError(f"there is no pool at {layout.root}", tip="make one with: agentpool init --expert NAME")
    overlays = [layout.shared_state / name for name in shared if not (layout.experts / name).is_dir()]
    made = [directory for directory in overlays if _make(directory)]
    made += [directory for directory in _directories(layout, experts) if _make(directory)]
    if layout.run.stat().st_mode & 0o777 != _PRIVATE:
        layout.run.chmod(_PRIVATE)
    return tuple(made)


def _directories(layout: Layout, experts: Iterable[str]) -> Iterator[Path]:
    yield from (layout.postoffice, layout.mail, layout.archive, layout.deadletter, layout.journal, layout.runs)
    yield from (layout.inbox(HUMAN), layout.inbox(CONCIERGE), layout.experts)
    for name in (ARCHITECT, RESEARCHER, *sorted(experts)):
        yield layout.inbox(name)
        yield layout.logs(name)


def _make(directory: Path) -> bool:
    if directory.is_dir():
        return False
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        in_the_way = isinstance(error, (FileExistsError, NotADirectoryError))
        tip = "move the file away that stands there" if in_the_way else "make sure that you may write there"
        raise UsageError(f"{directory} cannot be made: {error.strerror}", tip=tip) from error
    return True


def _starters(layout: Layout, experts: Sequence[str]) -> Iterator[tuple[Path, str]]:
    yield layout.configuration, read_template("pool.toml")
    yield layout.root / ".gitignore", read_template("gitignore")
    yield layout.home(CONCIERGE) / "identity.md", read_template("concierge/identity.md")
    for name in (ARCHITECT, RESEARCHER, *experts):
        for file, text in starting_knowledge(layout, name).items():
            yield layout.home(name) / file, text


def _placed(file: Path, text: str) -> bool:
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        return False
    return True
