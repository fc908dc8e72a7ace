"""What a run says while it works: its `stream.jsonl`, read as it grows and folded into one summary.

The file is read from its first byte, so an adopted run is known as well as one that was just started. Lines that are
no JSON, torn, or too large never stop the reading: they are counted and left out.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from agentpool.model.run import Denial, Usage
from agentpool.runs.rule import rules_for

if TYPE_CHECKING:
    from pathlib import Path

#: A longer line is skipped: no line that matters here comes near it.
LINE_BYTES = 4 * 1024 * 1024
#: What one call of `read_new` takes at most, so that a long stream does not hold up the loop.
READ_BYTES = 8 * 1024 * 1024

_CHUNK_BYTES = 256 * 1024
_ARGUMENT_CHARACTERS = 80
#: The results of tools: the bulk of a stream, and nothing in them is needed, so they are not even parsed.
_TOOL_RESULT = b'{"type":"user"'
#: The argument that tells best what a tool call is about; else its first text.
_TELLING = ("command", "file_path", "url", "pattern", "query", "description", "path")


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool at work.

    Args:
        name: as in `allowed_tools`.
        argument: the first line of what it works on, cut to 80 characters.
    """

    name: str
    argument: str


@dataclass(frozen=True, slots=True)
class Retry:
    """The command waits before it asks the API again.

    Args:
        attempt: which retry, from 1.
        most: how many there will be.
        delay_s: how long it waits, in seconds: what the API asked for, where it did.
        status: HTTP status; None where there was no answer at all.
        error: the command's own word: `rate_limit`, `overloaded`, `authentication_failed`, …
    """

    attempt: int
    most: int
    delay_s: float
    status: int | None
    error: str


@dataclass(slots=True)
class StreamSummary:
    """All that a run has said so far. One object that grows: keep a copy of what must not change.

    Args:
        tool: the tool at work now.
        usage: of the last result, with the tokens of messages since; the cost is known from results only.
        retry: set while the command waits for the API.
        api_error: the command's word for the last request that failed for good.
        limit_resets_at: when a usage limit that was reached is lifted, seconds since the epoch.
        limited: a usage limit was reached.
        result: the last result line; after `seal` the one before it.
        in_turn: the model or a tool is at work: there was output after the last result.
        denials: what was refused, with the rules that would allow it.
        bytes: how much was read.
        unread_lines: how many lines were no JSON or too large.
        torn: the stream ends in the middle of a line (known after `StreamReader.finish`).
        last_output_at: when output was last seen, as the reader's caller tells the time.
    """

    session_id: str | None = None
    model: str | None = None
    command_version: str | None = None
    tools: tuple[str, ...] = ()
    failed_mcp_servers: tuple[str, ...] = ()
    tool: ToolCall | None = None
    tool_calls: int = 0
    usage: Usage = field(default_factory=Usage)
    retry: Retry | None = None
    api_error: str | None = None
    limit_resets_at: float | None = None
    limited: bool = False
    result: Mapping[str, Any] | None = None
    results: int = 0
    in_turn: bool = False
    denials: tuple[Denial, ...] = ()
    bytes: int = 0
    unread_lines: int = 0
    torn: bool = False
    last_output_at: float | None = None
    sealed: bool = False

    def seal(self) -> None:
        """From here on the run is being stopped: a result that it still prints does not replace an earlier one."""
        self.sealed = True


class StreamReader:
    """Reads a growing `stream.jsonl` into `summary`.

    Args:
        path: the file; it need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self.summary = StreamSummary()
        self._path = path
        self._descriptor: int | None = None
        self._partial = b""
        self._skipping = False
        self._messages: set[str] = set()

    def read_new(self, at: float | None = None) -> int:
        """Reads what was added since the last call, at most `READ_BYTES`; call again while it returns that much.

        Args:
            at: the time now, kept as `summary.last_output_at` when there was anything.

        Returns:
            How many bytes there were.
        """
        if self._descriptor is None:
            try:
                self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return 0
        total = 0
        while total < READ_BYTES and (chunk := os.read(self._descriptor, _CHUNK_BYTES)):
            total += len(chunk)
            self._take(chunk)
        if total:
            self.summary.bytes += total
            self.summary.last_output_at = at
        return total

    def finish(self) -> StreamSummary:
        """To be called when nobody writes any more and all is read: takes the last line, closes the file."""
        rest, self._partial = self._partial, b""
        if self._skipping or (rest and not self._fold(rest)):
            self.summary.torn = True
        self.close()
        return self.summary

    def close(self) -> None:
        """Closes the file; the summary stays."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _take(self, chunk: bytes) -> None:
        if self._skipping:
            _, newline, chunk = chunk.partition(b"\n")
            self._skipping = not newline
        *lines, self._partial = (self._partial + chunk).split(b"\n")
        for line in lines:
            if line.strip() and (len(line) > LINE_BYTES or not self._fold(line)):
                self.summary.unread_lines += 1
        if len(self._partial) > LINE_BYTES:
            self._partial, self._skipping = b"", True
            self.summary.unread_lines += 1

    def _fold(self, line: bytes) -> bool:
        summary = self.summary
        if line.startswith(_TOOL_RESULT):
            summary.tool, summary.in_turn = None, True
            return True
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):  # ValueError: not JSON, or not UTF-8
            return False
        if not isinstance(event, dict):
            return False
        match event.get("type"):
            case "assistant":
                self._fold_message(event)
            case "user":
                summary.tool, summary.in_turn = None, True
            case "system":
                _fold_system(summary, event)
            case "rate_limit_event":
                _fold_limit(summary, _mapping(event.get("rate_limit_info")))
            case "result":
                _fold_result(summary, event)
        return True

    def _fold_message(self, event: Mapping[str, Any]) -> None:
        summary, message = self.summary, _mapping(event.get("message"))
        summary.in_turn = True
        if isinstance(error := event.get("error"), str):
            summary.api_error = error
        else:
            summary.retry = summary.api_error = None
        for block in _mappings(message.get("content")):
            if block.get("type") == "tool_use":
                summary.tool_calls += 1
                summary.tool = ToolCall(str(block.get("name")), _argument(_mapping(block.get("input"))))
        # Each block of one message is a line of its own, with the usage of the whole message.
        identity = message.get("id")
        if isinstance(identity, str) and identity not in self._messages:
            self._messages.add(identity)
            tokens = _tokens(_mapping(message.get("usage")))
            summary.usage = replace(
                summary.usage,
                input_tokens=summary.usage.input_tokens + tokens.input_tokens,
                output_tokens=summary.usage.output_tokens + tokens.output_tokens,
                cache_read_tokens=summary.usage.cache_read_tokens + tokens.cache_read_tokens,
                cache_write_tokens=summary.usage.cache_write_tokens + tokens.cache_write_tokens,
            )


def _fold_system(summary: StreamSummary, event: Mapping[str, Any]) -> None:
    match event.get("subtype"):
        case "init":
            summary.session_id = _text(event.get("session_id")) or summary.session_id
            summary.model = _text(event.get("model"))
            summary.command_version = _text(event.get("claude_code_version"))
            summary.tools = tuple(str(tool) for tool in _list(event.get("tools")))
            summary.failed_mcp_servers = tuple(
                str(server.get("name"))
                for server in _mappings(event.get("mcp_servers"))
                if server.get("status") == "failed"
            )
            summary.in_turn = True
        case "api_retry":
            summary.retry = Retry(
                attempt=int(_number(event.get("attempt"))),
                most=int(_number(event.get("max_retries"))),
                delay_s=_number(event.get("retry_delay_ms")) / 1000,
                status=event.get("error_status") if isinstance(event.get("error_status"), int) else None,
                error=_text(event.get("error")) or "unknown",
            )


def _fold_limit(summary: StreamSummary, information: Mapping[str, Any]) -> None:
    # Events with "allowed" and "allowed_warning" tell how much is left; only "rejected" is a limit.
    summary.limited = information.get("status") == "rejected"
    summary.limit_resets_at = (_number(information.get("resetsAt")) or None) if summary.limited else None


def _fold_result(summary: StreamSummary, event: Mapping[str, Any]) -> None:
    summary.results += 1
    summary.tool, summary.in_turn = None, False
    summary.session_id = _text(event.get("session_id")) or summary.session_id
    if summary.result is None or not summary.sealed:
        summary.result = event
    # Cost and `modelUsage` are sums over the session, turns and `usage` those of one result; when the budget is
    # reached, `usage` is all zeros.
    by_model = [_model_tokens(_mapping(value)) for value in _mapping(event.get("modelUsage")).values()]
    parts = by_model or [_tokens(_mapping(event.get("usage")))]
    summary.usage = Usage(
        cost_usd=max(_number(event.get("total_cost_usd")), summary.usage.cost_usd),
        input_tokens=sum(part.input_tokens for part in parts),
        output_tokens=sum(part.output_tokens for part in parts),
        cache_read_tokens=sum(part.cache_read_tokens for part in parts),
        cache_write_tokens=sum(part.cache_write_tokens for part in parts),
        turns=summary.usage.turns + int(_number(event.get("num_turns"))),
    )
    denials = [
        Denial(str(denied.get("tool_name")), rule)
        for denied in _mappings(event.get("permission_denials"))
        for rule in rules_for(str(denied.get("tool_name")), _mapping(denied.get("tool_input")))
    ]
    summary.denials = tuple(dict.fromkeys((*summary.denials, *denials)))


def _tokens(usage: Mapping[str, Any]) -> Usage:
    return Usage(
        input_tokens=int(_number(usage.get("input_tokens"))),
        output_tokens=int(_number(usage.get("output_tokens"))),
        cache_read_tokens=int(_number(usage.get("cache_read_input_tokens"))),
        cache_write_tokens=int(_number(usage.get("cache_creation_input_tokens"))),
    )


def _model_tokens(usage: Mapping[str, Any]) -> Usage:
    return Usage(
        input_tokens=int(_number(usage.get("inputTokens"))),
        output_tokens=int(_number(usage.get("outputTokens"))),
        cache_read_tokens=int(_number(usage.get("cacheReadInputTokens"))),
        cache_write_tokens=int(_number(usage.get("cacheCreationInputTokens"))),
    )


def _argument(arguments: Mapping[str, Any]) -> str:
    texts = [arguments[key] for key in _TELLING if isinstance(arguments.get(key), str)]
    texts += [value for value in arguments.values() if isinstance(value, str)]
    lines = texts[0].strip().splitlines() if texts else []
    if not lines:
        return ""
    return lines[0] if len(lines[0]) <= _ARGUMENT_CHARACTERS else f"{lines[0][: _ARGUMENT_CHARACTERS - 1]}…"


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _mappings(value: object) -> list[Mapping[str, Any]]:
    return [item for item in _list(value) if isinstance(item, dict)]


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: object) -> float:
    try:
        return float(value) if isinstance(value, int | float) and math.isfinite(value) else 0.0
    except OverflowError:
        return 0.0  # an integer beyond any float
