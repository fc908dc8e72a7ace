"""The keys of the Go agent-pool's `pool.toml`: taken over where they mean something here, noted where not."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

Table: TypeAlias = dict[str, object]

#: Tables of the Go program whose settings steer what is done in another way here, or by a person.
_TABLES_WITHOUT_EFFECT = ("concierge", "curation")
_KEYS_WITHOUT_EFFECT = (
    ("architect", "approval_mode"),
    ("architect", "human_inbox"),
    ("defaults", "log_retention_per_expert"),
)
_MOVED = (
    ("defaults", "model", "agent", "model"),
    ("defaults", "allowed_tools", "agent", "allowed_tools"),
    ("defaults", "session_timeout", "runs", "run_timeout"),
    ("pool", "session_timeout", "runs", "run_timeout"),
    ("agent", "session_timeout", "runs", "run_timeout"),
    ("runs", "session_timeout", "runs", "run_timeout"),
)
#: What the Go program reads as "not set".
_EMPTY: tuple[object, ...] = (None, "", [])


@dataclass(frozen=True, slots=True)
class Translation:
    """A file in this program's own keys.

    Args:
        table: its settings.
        notes: a sentence for each key that was changed or has no effect.
        renamed: dotted keys of `table`, and what stands in the file for each.
    """

    table: Table
    notes: list[str] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)


def translate(table: Table, *, project: Path, home: Path) -> Translation:
    """The same settings in this program's keys.

    A setting that stands in the file under both names keeps the value of this program's own.

    Args:
        table: a whole file, read; it is not changed.
        project: the directory that runs work in.
        home: what `~` means in a path.
    """
    own = Translation(_copied(table))
    own.notes.extend(
        f"[{name}] is a table of the Go agent-pool and has no effect"
        for name in _TABLES_WITHOUT_EFFECT
        if own.table.pop(name, None) is not None
    )
    own.notes.extend(
        f"{name}.{key} is a key of the Go agent-pool and has no effect"
        for name, key in _KEYS_WITHOUT_EFFECT
        if _take(own.table, name, key) is not None
    )
    for source, old, target, new in _MOVED:
        value = _take(own.table, source, old)
        destination = own.table.setdefault(target, {}) if value not in _EMPTY else None
        if isinstance(destination, dict):
            _put(own, destination, (new, value), f"{source}.{old}", f"{target}.{new}")
    for label, role in _roles(own.table):
        if role.get("model") == "":
            del role["model"]
        value = role.pop("session_timeout", None)
        if value not in _EMPTY:
            _put(own, role, ("run_timeout", value), f"{label}.session_timeout", f"{label}.run_timeout")
    directory = _take(own.table, "pool", "project_dir")
    if isinstance(directory, str) and directory and _expanded(directory, home).resolve() != project.resolve():
        own.notes.append(f"pool.project_dir is {directory!r}, but runs work in {project}, where the pool is")
    if own.table.get("defaults") == {}:
        del own.table["defaults"]
    return own


def _copied(table: Table) -> Table:
    return {key: _copied(value) if isinstance(value, dict) else value for key, value in table.items()}


def _take(table: Table, name: str, key: str) -> object:
    inner = table.get(name)
    return inner.pop(key, None) if isinstance(inner, dict) else None


def _roles(table: Table) -> list[tuple[str, Table]]:
    experts = table.get("experts")
    named: Table = {"architect": table.get("architect"), "researcher": table.get("researcher")}
    if isinstance(experts, dict):
        named |= {f"experts.{name}": role for name, role in experts.items()}
    return [(label, role) for label, role in named.items() if isinstance(role, dict)]


def _put(own: Translation, table: Table, entry: tuple[str, object], old: str, new: str) -> None:
    key, value = entry
    if key in table:
        own.notes.append(f"{old} of the Go agent-pool has no effect beside {new}")
        return
    table[key] = value
    own.renamed[new] = old
    own.notes.append(f"{old} of the Go agent-pool is read as {new}")


def _expanded(path: str, home: Path) -> Path:
    return home / path.removeprefix("~").lstrip("/") if path == "~" or path.startswith("~/") else Path(path)
