"""Which entry of `[agent] allowed_tools` would have let a refused tool call pass."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_SUBCOMMAND = re.compile(r"[a-z][a-z0-9:_-]*")
#: Programs whose first argument says what they do; a rule for all of such a program would be too wide.
_PROGRAMS = (
    "apt apt-get brew bun bundle cargo composer deno docker dotnet flutter gh git go gradle helm hg just kubectl make"
    " mix mvn npm npx nx pip pip3 pipx pnpm podman poetry rake rustup stack svn swift systemctl task terraform uv uvx"
    " yarn"
)
_HAVE_SUBCOMMANDS = frozenset(_PROGRAMS.split())
_SEPARATORS = frozenset("();<>|&")


def rules_for(tool: str, arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """The narrowest sensible rules, in the command's own notation: `Bash(npm test:*)`, `WebFetch(domain:a.org)`.

    Args:
        tool: the tool's name as the stream has it.
        arguments: of the refused call.

    Returns:
        One rule for each simple command of a shell line, since the command checks each by itself; else one.
    """
    if tool == "Bash" and isinstance(line := arguments.get("command"), str):
        return tuple(dict.fromkeys(f"Bash({start}:*)" for start in _command_starts(line))) or ("Bash",)
    if tool == "WebFetch" and isinstance(url := arguments.get("url"), str):
        host = _host(url)
        return (f"WebFetch(domain:{host})",) if host else ("WebFetch",)
    return (tool,)


def _command_starts(line: str) -> list[str]:
    """`npm test` of `CI=1 npm test -- --watch`, for each command of the line; nothing where its quotes do not close."""
    lexer = shlex.shlex(line.replace("\n", ";"), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        words = list(lexer)
    except ValueError:
        return []
    starts: list[str] = []
    command: list[str] = []
    redirected = False
    for word in [*words, ";"]:
        if not set(word) <= _SEPARATORS:
            if not redirected:
                command.append(word)
            redirected = False
        elif "<" in word or ">" in word:
            # `2>&1 file`: the digit before it and the word after it are no part of the command.
            redirected = True
        else:
            redirected = False
            starts += _start(command)
            command = []
    return starts


def _start(command: list[str]) -> list[str]:
    words = [*command]
    while words and _ASSIGNMENT.match(words[0]):
        words.pop(0)
    if not words:
        return []
    if len(words) > 1 and words[0] in _HAVE_SUBCOMMANDS and _SUBCOMMAND.fullmatch(words[1]):
        return [f"{words[0]} {words[1]}"]
    return [words[0]]


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
