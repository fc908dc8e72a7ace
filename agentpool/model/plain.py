"""Values to plain JSON types and back, by the type hints of frozen data classes.

A field that has its default value is left out, so that records stay short and a new field with a default can be added
without a new format. An unknown field is an error: it was written by a newer agentpool, and dropping it would lose what
it says.
"""

from __future__ import annotations

import dataclasses
from enum import Enum
from types import NoneType, UnionType
from typing import TYPE_CHECKING, TypeVar, Union, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")
_FIELDS: dict[type[object], tuple[tuple[str, object], ...]] = {}
_DECODERS: dict[type[object], dict[str, Callable[[object], object]]] = {}


def to_plain(value: object) -> dict[str, object]:
    """The fields of a data class that differ from their defaults, as JSON types."""
    result: dict[str, object] = {}
    for name, default in _written(type(value)):
        item = getattr(value, name)
        if item != default:
            result[name] = _encode(item)
    return result


def from_plain(kind: type[T], data: Mapping[str, object]) -> T:
    """The value that `to_plain` wrote.

    Raises:
        TypeError: a field is missing, unknown or of another type.
        ValueError: an enum has no such member.
    """
    decoders = _decoders(kind)
    try:
        return kind(**{name: decoders[name](item) for name, item in data.items()})
    except KeyError as error:
        raise TypeError(f"{kind.__name__} has no field {error}: was this written by a newer agentpool?") from None


def _written(kind: type[object]) -> tuple[tuple[str, object], ...]:
    known = _FIELDS.get(kind)
    if known is None:
        missing = object()  # equal to nothing, so that a field without a default is always written
        known = tuple(
            (
                field.name,
                field.default_factory()
                if field.default_factory is not dataclasses.MISSING
                else missing
                if field.default is dataclasses.MISSING
                else field.default,
            )
            for field in dataclasses.fields(kind)  # type: ignore[arg-type] # only data classes come here
        )
        _FIELDS[kind] = known
    return known


def _encode(value: object) -> object:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (str, int, float, NoneType)):
        return value
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_encode(item) for item in value]
    if isinstance(value, dict):
        return {key: _encode(item) for key, item in value.items()}
    return to_plain(value)


def _decoders(kind: type[object]) -> dict[str, Callable[[object], object]]:
    known = _DECODERS.get(kind)
    if known is None:
        hints = get_type_hints(kind)
        fields = dataclasses.fields(kind)  # type: ignore[arg-type] # as above
        known = {field.name: _decoder(hints[field.name]) for field in fields}
        _DECODERS[kind] = known
    return known


def _decoder(hint: object) -> Callable[[object], object]:  # noqa: PLR0911 - one return for each shape of a hint
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        inner = [_decoder(part) for part in get_args(hint) if part is not NoneType]
        if len(inner) != 1:
            return _same
        return lambda item: None if item is None else inner[0](item)
    if origin in (tuple, list):
        one = _decoder(get_args(hint)[0])
        build = tuple if origin is tuple else list
        if one is _same:
            return lambda item: build(_expect_list(item))
        return lambda item: build(one(part) for part in _expect_list(item))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return lambda item: from_plain(hint, _expect_dict(item))
    return _same


def _same(item: object) -> object:
    return item


def _expect_list(item: object) -> list[object]:
    if not isinstance(item, list):
        raise TypeError(f"a list was expected, not {type(item).__name__}")
    return item


def _expect_dict(item: object) -> dict[str, object]:
    if not isinstance(item, dict):
        raise TypeError(f"an object was expected, not {type(item).__name__}")
    return item
