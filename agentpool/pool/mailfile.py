"""A mail as a file: Markdown with a YAML header, from bytes that may be hostile, and back."""

from __future__ import annotations

import re
from functools import cache, partial
from typing import TYPE_CHECKING

from agentpool.model.errors import MailError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from yaml import CSafeLoader, ScalarNode
    from yaml.events import Event

#: Bytes of a header at most: the C parser of YAML overflows its stack on deeply nested input (measured: 30,000 `[`).
HEADER_BYTES = 16 * 1024
#: Levels of lists and tables in a header.
_NESTING = 8
_FENCE = re.compile(rb"---[ \t]*\r?\n")
_CLOSING = re.compile(rb"^---[ \t]*\r?$", re.MULTILINE)
#: What follows a `---` that is a Markdown rule, not the fence of a header.
_BLANK = re.compile(rb"[ \t]*\r?\n")


def parse(data: bytes, *, header_bytes: int = HEADER_BYTES) -> tuple[dict[str, object], str]:
    r"""The header and the text of a mail. A file without a header is all text.

    So is a file that begins with a rule: a `---` that has an empty line below it and no second `---`. Line ends become
    `\n`; empty lines around the text are dropped.

    Raises:
        MailError: the bytes are not such a file; the message says why, for the one who wrote it.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise MailError("it is written in UTF-16: save it as UTF-8")
    if data.startswith(b"\xef\xbb\xbf"):
        raise MailError("it starts with a byte order mark (BOM): save it as UTF-8 without one")
    if b"\0" in data:
        raise MailError(f"it has a NUL byte at offset {data.index(0)}: it is no text")
    header, body = _split(data, header_bytes)
    return (_mapping(header) if header is not None else {}), _text(body, "text")


def render(header: Mapping[str, object], body: str) -> str:
    """The file that `parse` reads back to the same header and text; half a character becomes its escape."""
    import yaml  # noqa: PLC0415 - half of the CLI's commands never write a mail

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # the C one is ten times as fast, and not everywhere
    dump = partial(yaml.dump, Dumper=dumper, sort_keys=False, allow_unicode=True, width=2**16)
    try:
        lines = dump(dict(header))
    except UnicodeEncodeError:
        lines = dump({key: _escaped(value) for key, value in header.items()})
    return f"---\n{lines}---\n\n{_plain_lines(body)}\n"


def _escaped(value: object) -> object:
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value


def _split(data: bytes, header_bytes: int) -> tuple[bytes | None, bytes]:
    opening = _FENCE.match(data)
    if opening is None:
        return None, data
    closing = _CLOSING.search(data, opening.end())
    if closing is None:
        if _BLANK.match(data, opening.end()):
            return None, data
        raise MailError("its header has no end: close it with a line `---`")
    if closing.start() - opening.end() > header_bytes:
        raise MailError(f"its header is over {header_bytes} bytes: put the text below the second `---`")
    return data[opening.end() : closing.start()], data[closing.end() :]


def _mapping(raw: bytes) -> dict[str, object]:
    import yaml  # noqa: PLC0415 - half of the CLI's commands never read a mail
    from frontmatter.default_handlers import YAMLHandler  # noqa: PLC0415 - as above

    text = _text(raw, "header")
    try:
        _refuse_tricks(yaml.parse(text, Loader=yaml.CSafeLoader))
        header = YAMLHandler().load(text, Loader=_loader())
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        reason = " ".join(str(error).split())[:200]
        raise MailError(f"its header is not valid YAML: {reason}") from None
    if header is None:
        return {}
    if not isinstance(header, dict):
        kind = "list" if isinstance(header, list) else "single value"
        raise MailError(
            f"its header is a {kind}: it must be lines of `key: value`; "
            f"if the first `---` is a rule of the text, put an empty line above it"
        )
    for key in header:
        if not isinstance(key, str):
            raise MailError(f"its header has a key that YAML reads as {key!r}, not as text: put it in quotes")
    return header


@cache
def _loader() -> type[CSafeLoader]:
    """A loader that keeps a number as text where reading it would change how it was written (`007`, `1.10`, `.nan`)."""
    import yaml  # noqa: PLC0415 - as above

    class Loader(yaml.CSafeLoader):
        pass

    for tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float"):
        Loader.add_constructor(tag, partial(_number, yaml.CSafeLoader.yaml_constructors[tag]))
    return Loader


def _number(construct: Callable[[CSafeLoader, ScalarNode], object], loader: CSafeLoader, node: ScalarNode) -> object:
    value = construct(loader, node)
    return value if str(value) == node.value else node.value


def _refuse_tricks(stream: Iterable[Event]) -> None:
    """Refuse what loading would hide or choke on, from the stream of events, which needs no stack."""
    depth, place, seen, is_table = 0, 0, set[str](), False
    for event in stream:
        if getattr(event, "anchor", None) is not None:
            raise MailError("its header uses YAML anchors or aliases (`&`, `*`): write the values out, or quote them")
        if getattr(event, "tag", None) is not None:
            raise MailError("its header uses YAML tags (`!`): write plain values, or quote them")
        kind = type(event).__name__
        if depth == 0:
            is_table = kind == "MappingStartEvent"
        elif depth == 1 and is_table and (kind == "ScalarEvent" or kind.endswith("StartEvent")):
            key = getattr(event, "value", None)
            if place % 2 == 0 and isinstance(key, str):
                known = key.lower().replace("_", "-")
                if known == "<<":
                    raise MailError("its header uses a YAML merge key (`<<`): write the values out")
                if known in seen:
                    raise MailError(f"its header has the key `{key[:40]}` twice: which one counts?")
                seen.add(known)
            place += 1
        if kind in ("MappingStartEvent", "SequenceStartEvent"):
            depth += 1
        elif kind in ("MappingEndEvent", "SequenceEndEvent"):
            depth -= 1
        if depth > _NESTING:
            raise MailError(f"its header is nested deeper than {_NESTING}: a header holds plain values and short lists")


def _text(raw: bytes, part: str) -> str:
    try:
        return _plain_lines(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise MailError(f"its {part} is not UTF-8 (byte {raw[error.start]:#04x} at offset {error.start})") from None


def _plain_lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").strip("\n")
