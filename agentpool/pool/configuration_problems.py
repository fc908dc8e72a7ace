"""Says in plain words what is wrong with a setting, in which file, and what was probably meant."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from pydantic import BaseModel

from agentpool.model.names import nearest
from agentpool.pool.configuration import Configuration

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

    from agentpool.pool.go_keys import Table, Translation

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_SHOWN = 60

#: What must stand there, by the kind of pydantic's finding; the braces take values from its context.
_ALLOWED = {
    "bool_type": "must be true or false",
    "dict_type": "must be a table",
    "enum": "must be one of {expected}",
    "finite_number": "must be a finite number",
    "float_type": "must be a number",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "int_type": "must be a whole number, without quotes",
    "less_than_equal": "must be at most {le}",
    "mapping_type": "must be a table",
    "model_type": "must be a table",
    "string_too_short": "must not be empty",
    "string_type": "must be text in quotes",
    "tuple_type": "must be a list",
    "value_error": "{error}",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One setting that cannot be used.

    Args:
        file: the file that it stands in.
        key: its dotted key.
        finding: what is wrong and what is allowed.
    """

    file: Path
    key: str
    finding: str

    def __str__(self) -> str:
        return f"{self.file}: {self.key}: {self.finding}" if self.key else f"{self.file}: {self.finding}"


def problems_of(error: ValidationError, files: Mapping[Path, Translation]) -> list[Problem]:
    """Every finding of a validation, in the words of the file.

    Args:
        error: what pydantic found.
        files: what each file holds, the one that wins last.
    """
    return [_problem(details, files) for details in error.errors(include_url=False)]


def unknown_keys(table: Table) -> list[str]:
    """A sentence for each key that no setting has, with the nearest one that there is."""
    return list(_unknown(table, Configuration, ""))


def _problem(details: ErrorDetails, files: Mapping[Path, Translation]) -> Problem:
    place = tuple(part for part in details["loc"] if part != "[key]")
    kind = details["type"]
    pattern = _ALLOWED.get(kind)
    finding = pattern.format(**details.get("ctx", {})) if pattern else details["msg"]
    value = details["input"]
    # The values of variables may be secrets, and a table or a list says nothing in one line.
    if isinstance(value, (str, int, float)) and place[:2] != ("agent", "env") and "[key]" not in details["loc"]:
        finding = f"{finding}, not {_shown(value)}" if finding.startswith("must") else finding
    file = _file_of(place, files)
    key = _dotted(place)
    return Problem(file, files[file].renamed.get(key, key), finding)


def _file_of(place: tuple[int | str, ...], files: Mapping[Path, Translation]) -> Path:
    """The file whose value was used: the last one that has something there, or else the last one."""
    candidates = list(files)
    return next((file for file in reversed(candidates) if _has(files[file].table, place)), candidates[-1])


def _has(value: object, place: tuple[int | str, ...]) -> bool:
    for part in place:
        if isinstance(part, int) and isinstance(value, list):
            return part < len(value)
        if not isinstance(value, dict) or part not in value:
            return False
        value = value[part]
    return True


def _dotted(place: tuple[int | str, ...]) -> str:
    text = ""
    for part in place:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _BARE_KEY.fullmatch(part) else json.dumps(part))
    return text


def _shown(value: str | float) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _unknown(table: Table, model: type[BaseModel], prefix: str) -> Iterator[str]:
    for key, value in table.items():
        field = model.model_fields.get(key)
        dotted = f"{prefix}{_dotted((key,))}"
        if field is None:
            kind = "a table" if isinstance(value, dict) else "a setting"
            yield f"{dotted} is not {kind} of agentpool and has no effect{_meant(key, model, prefix)}"
        elif isinstance(value, dict):
            inner = _table_in(field.annotation)
            if inner is not None:
                yield from _unknown(value, inner, f"{dotted}.")
                continue
            for entry_model in filter(None, map(_table_in, get_args(field.annotation))):
                for name, entry in value.items():
                    if isinstance(entry, dict):
                        yield from _unknown(entry, entry_model, f"{dotted}.{_dotted((name,))}.")


def _table_in(annotation: object) -> type[BaseModel] | None:
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _meant(key: str, model: type[BaseModel], prefix: str) -> str:
    """The nearest key of the same table; else the same or nearest key of any other."""
    near = nearest(key, model.model_fields)
    if near:
        return f": did you mean {prefix}{near}?"
    elsewhere = {
        name: f"{table}.{name}"
        for table, field in Configuration.model_fields.items()
        if field.annotation is not None
        and isinstance(field.annotation, type)
        and issubclass(field.annotation, BaseModel)
        for name in field.annotation.model_fields
    }
    near = nearest(key, elsewhere)
    return f": did you mean {elsewhere[near]}?" if near else ""
