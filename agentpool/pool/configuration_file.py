"""Reads `pool.toml` and the user's own defaults into one configuration.

The user's `~/.agent-pool/config.toml` has the same tables as `pool.toml` and lies under it: the pool wins, key by
key; a list is one value. Whatever cannot be used is said in one error, all of it at once. What can be ignored is
a warning.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from pydantic import ValidationError

from agentpool.model.errors import ConfigurationError
from agentpool.pool.configuration import Configuration
from agentpool.pool.configuration_problems import Problem, problems_of, unknown_keys
from agentpool.pool.experts import misnamed_experts
from agentpool.pool.go_keys import Table, Translation, translate
from agentpool.pool.layout import POOL_DIRECTORY
from agentpool.pool.setting_types import AgentKind

if TYPE_CHECKING:
    from pathlib import Path

    from agentpool.pool.layout import Layout

#: mtime in nanoseconds, size and inode of a file; None where there is none that can be reached.
Stamp: TypeAlias = tuple[int, int, int] | None

_PLACE = re.compile(r" \(at line (\d+), column (\d+)\)$")


@dataclass(frozen=True, slots=True)
class LoadedConfiguration:
    """A configuration that can be used.

    Args:
        warnings: what was ignored or read as something else, each a sentence that names its file.
    """

    configuration: Configuration
    warnings: tuple[str, ...]


def user_file(home: Path) -> Path:
    """Where a user's own defaults stand, under the home directory `home`."""
    return home / POOL_DIRECTORY / "config.toml"


def fingerprint(layout: Layout, home: Path) -> tuple[Stamp, Stamp]:
    """A value that is another one after either file was edited, replaced, made or removed.

    Two calls of `stat`: cheap enough for every sweep. Take it before `load`, so that no edit between is missed.
    """
    return _stamp(layout.configuration), _stamp(user_file(home))


def load(layout: Layout, home: Path) -> LoadedConfiguration:
    """The configuration of a pool, with the user's defaults under it.

    Args:
        layout: the pool.
        home: the user's home directory.

    Raises:
        ConfigurationError: a file cannot be read, is not TOML, or a setting has a wrong type or value. The
            message names the file, the dotted key and what is allowed, for every such setting.
    """
    user, pool = user_file(home), layout.configuration
    files = {file: _read(file, layout, home) for file in (user, pool)}
    warnings = [f"{file}: {note}" for file, content in files.items() for note in content.notes]
    if "experts" in files[user].table:
        # Otherwise one user-level line would make an expert, with an inbox, in every pool.
        warnings.append(f"{user}: [experts] has no effect here: a pool names its own experts")
        del files[user].table["experts"]
    merged = _merged(files[user].table, files[pool].table)
    try:
        configuration = Configuration.model_validate(merged, context={"home": home, "project": layout.project})
    except ValidationError as error:
        raise _error(problems_of(error, files)) from error
    warnings += [f"{directory}: not an expert: {reason}" for directory, reason in misnamed_experts(layout)]
    script = configuration.agent.script_file(layout.root)
    if configuration.agent.kind is AgentKind.SIMULATED and script is not None and not script.is_file():
        raise _error([Problem(pool, "agent.script", f"there is no file {script}")])
    return LoadedConfiguration(configuration, tuple(warnings))


def _stamp(file: Path) -> Stamp:
    try:
        status = file.stat()
    except OSError:  # not there, or not to be reached: `load` says which
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _read(file: Path, layout: Layout, home: Path) -> Translation:
    table = _parse(file)
    if table is None:
        absent = [] if file != layout.configuration else ["not there, so that every setting has its default"]
        return Translation({}, absent)
    content = translate(table, project=layout.project, home=home)
    content.notes.extend(unknown_keys(content.table))
    return content


def _parse(file: Path) -> Table | None:
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(
            f"{file}: cannot be read: {error.strerror}", tip="make it a file that you can read"
        ) from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{file}, line {line}: not UTF-8 text", tip=f"save {file} as UTF-8") from error
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        reason = str(error)
        found = _PLACE.search(reason)
        line = int(found[1]) if found else text.count("\n") + 1
        where = f"line {line}, column {found[2]}" if found else f"line {line}"
        raise ConfigurationError(
            f"{file}, {where}: not TOML: {_PLACE.sub('', reason)}", tip=f"mend line {line} of {file}"
        ) from error


def _merged(below: Table, above: Table) -> Table:
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        result[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def _error(problems: list[Problem]) -> ConfigurationError:
    files = sorted({str(problem.file) for problem in problems})
    tip = f"edit {' and '.join(files)}"
    if len(problems) == 1:
        return ConfigurationError(str(problems[0]), tip=tip)
    lines = "".join(f"\n  {problem}" for problem in problems)
    return ConfigurationError(f"{len(problems)} settings cannot be used:{lines}", tip=tip)
