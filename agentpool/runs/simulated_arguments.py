"""The command line of the simulated agent: that of the real command, of which few flags mean something here."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from agentpool.model.errors import UsageError
from agentpool.runs.simulated_stream import new_uuid

if TYPE_CHECKING:
    from collections.abc import Sequence

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

#: Flags of the real command without a value; `-p` too.
_SWITCHES = frozenset(
    {
        "--print",
        "--verbose",
        "--strict-mcp-config",
        "--no-session-persistence",
        "--include-hook-events",
        "--include-partial-messages",
        "--exclude-dynamic-system-prompt-sections",
        "--disable-slash-commands",
        "--replay-user-messages",
        "--bare",
        "--safe-mode",
        "--allow-dangerously-skip-permissions",
        "--dangerously-skip-permissions",
        "--fork-session",
        "--continue",
    }
)
#: Flags with one value.
_VALUED = frozenset(
    {
        "--script",
        "--model",
        "--session-id",
        "--max-budget-usd",
        "--input-format",
        "--output-format",
        "--permission-mode",
        "--settings",
        "--setting-sources",
        "--append-system-prompt",
        "--append-system-prompt-file",
        "--system-prompt",
        "--system-prompt-file",
        "--fallback-model",
        "--json-schema",
        "--effort",
        "--agent",
        "--agents",
        "--plugin-dir",
        "--resume",
        "--name",
        "--debug-file",
    }
)
#: Flags with as many values as follow.
_LISTS = frozenset(
    {
        "--allowedTools",
        "--allowed-tools",
        "--disallowedTools",
        "--disallowed-tools",
        "--tools",
        "--mcp-config",
        "--add-dir",
        "--betas",
    }
)


class Options(NamedTuple):
    """What the command line asks for."""

    script: str | None
    model: str
    session_id: str
    max_usd: float | None
    permission_mode: str


def parse_arguments(arguments: Sequence[str]) -> Options:
    """The options of a command line of the real command.

    Raises:
        UsageError: an unknown flag, a missing or wrong value, or a way to talk that the simulation does not know.
    """
    given: dict[str, str] = {}
    rest = list(reversed(arguments))
    while rest:
        flag, equals, value = rest.pop().partition("=")
        if flag in _SWITCHES or flag == "-p":
            given[flag] = ""
        elif flag in _VALUED:
            if not equals and not rest:
                raise UsageError(f"error: option '{flag} <value>' argument missing")
            given[flag] = value if equals else rest.pop()
        elif flag in _LISTS:
            while rest and not rest[-1].startswith("-"):
                rest.pop()
        elif flag != "--":
            raise UsageError(f"error: unknown option '{flag}'")
    for flag in ("--input-format", "--output-format"):
        if given.get(flag) != "stream-json":
            raise UsageError(f"Error: the simulated agent needs {flag} stream-json")
    if "--verbose" not in given:
        raise UsageError("Error: When using --print, --output-format=stream-json requires --verbose")
    session_id = given.get("--session-id") or new_uuid()
    if _UUID.fullmatch(session_id) is None:
        raise UsageError("Error: Invalid session ID. Must be a valid UUID.")
    return Options(
        script=given.get("--script"),
        model=given.get("--model", "simulated"),
        session_id=session_id,
        max_usd=_amount(given.get("--max-budget-usd")),
        permission_mode=given.get("--permission-mode", "default"),
    )


def _amount(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        amount = float(text)
    except ValueError:
        amount = 0.0
    if not amount > 0:
        raise UsageError(
            f"error: option '--max-budget-usd <amount>' argument '{text}' is invalid: not a positive number"
        )
    return amount
