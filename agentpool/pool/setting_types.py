"""The types of single settings: how a value is written in `pool.toml`, and what it may be."""

from __future__ import annotations

import math
import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from agentpool.model.duration import parse_duration, spell_duration
from agentpool.model.errors import UsageError
from agentpool.pool.environment import is_session_variable
from agentpool.pool.experts import check_expert_name
from agentpool.pool.size import parse_size, spell_size

if TYPE_CHECKING:
    from collections.abc import Callable

#: Lifts a limit that a file below sets: TOML has no null.
NONE = "none"

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


class AgentKind(StrEnum):
    """Which adapter starts the runs."""

    CLAUDE = "claude"
    SIMULATED = "simulated"


class Writers(StrEnum):
    """Which runs may share the project's tree."""

    ANY = "any"
    OWNED = "owned"
    """Only runs of experts whose `owns` do not overlap."""


class PermissionMode(StrEnum):
    """What the command does with a tool that is not in `allowed_tools`; its own words."""

    ACCEPT_EDITS = "acceptEdits"
    AUTO = "auto"
    BYPASS = "bypassPermissions"
    DEFAULT = "default"
    DONT_ASK = "dontAsk"
    PLAN = "plan"


class SettingSource(StrEnum):
    """Whose settings of its own the command loads."""

    USER = "user"
    PROJECT = "project"
    LOCAL = "local"


def duration(least: str, most: str = "365d") -> Callable[[object], float]:
    """Reads a setting that is written as a duration, in seconds; both bounds are allowed."""
    bottom, top = parse_duration(least), parse_duration(most)

    def read(value: object) -> float:
        seconds = parse_duration(value if isinstance(value, str) else str(value))
        if not bottom <= seconds <= top:
            raise ValueError(f'must be from "{spell_duration(bottom)}" to "{spell_duration(top)}"')
        return seconds

    return read


def duration_or_none(least: str, most: str = "365d") -> Callable[[object], float | None]:
    """As `duration`; "none" reads as None."""
    read = duration(least, most)
    return lambda value: None if value == NONE else read(value)


def duration_or_endless(least: str, most: str = "365d") -> Callable[[object], float]:
    """As `duration`; "none" reads as infinity, where None already says that the setting is not there."""
    read = duration(least, most)
    return lambda value: math.inf if value == NONE else read(value)


def size(least: int, most: int) -> Callable[[object], int]:
    """Reads a setting that is written as bytes or with a unit, in bytes; both bounds are allowed."""

    def read(value: object) -> int:
        # A boolean is an int to Python, not to whoever wrote `true`.
        count = value if isinstance(value, int) and not isinstance(value, bool) else parse_size(str(value))
        if not least <= count <= most:
            raise ValueError(f'must be from "{spell_size(least)}" to "{spell_size(most)}"')
        return count

    return read


def _read_command(value: object, info: ValidationInfo) -> tuple[str, ...]:
    """A program, or the list of it and its arguments; a relative path begins at the project of the context."""
    if isinstance(value, str):
        if value.split()[1:] and "/" not in value:
            # There is no shell that would split it, and no program has such a name.
            raise ValueError(f"must be a list when it has arguments: {value.split()}")
        value = [value]
    if not isinstance(value, list) or not value or not all(isinstance(word, str) and word for word in value):
        raise ValueError('must be a program, like "claude", or a list of it and its arguments')
    context = info.context or {}
    program = value[0]
    if program.startswith("~/") and "home" in context:
        program = str(Path(context["home"], program.removeprefix("~/")))
    elif "/" in program and "project" in context:
        program = str(Path(context["project"], program))
    return (program, *value[1:])


def _check_variable(name: str) -> str:
    if not _VARIABLE.fullmatch(name):
        raise ValueError("is no name of an environment variable: letters, digits and _ only")
    if is_session_variable(name):
        raise ValueError("belongs to the supervisor or to an enclosing agent session: no run can be given it")
    return name


def _check_value(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not hold a NUL character")
    return value


def _check_expert(name: str) -> str:
    try:
        return check_expert_name(name)
    except UsageError as error:
        raise ValueError(error.message) from error


Text = Annotated[str, Field(min_length=1), AfterValidator(_check_value)]
Texts = Annotated[tuple[Text, ...], Field(strict=False)]
MaybeEndless = Annotated[float, Field(allow_inf_nan=True)]
Dollars = Annotated[float, Field(gt=0)]
Command = Annotated[tuple[str, ...], BeforeValidator(_read_command)]
VariableName = Annotated[str, AfterValidator(_check_variable)]
VariableValue = Annotated[str, AfterValidator(_check_value)]
ExpertName = Annotated[str, AfterValidator(_check_expert)]
ExpertNames = Annotated[tuple[ExpertName, ...], Field(strict=False)]

# Strict is right for numbers ("7" is not 7), but an enum has no other spelling in TOML than its text.
Kind = Annotated[AgentKind, Field(strict=False)]
WritersRule = Annotated[Writers, Field(strict=False)]
Mode = Annotated[PermissionMode, Field(strict=False)]
Source = Annotated[SettingSource, Field(strict=False)]
Sources = Annotated[tuple[Source, ...], Field(strict=False)]
