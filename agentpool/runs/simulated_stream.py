"""The lines that the simulated agent prints: the stream-json output of `claude -p`, as it was measured."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, NamedTuple

from agentpool import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: What `--version` prints first and the init line calls `claude_code_version`.
VERSION = f"{__version__}-simulated"

_TOOLS = ("Bash", "Edit", "Read", "Write")
_STDOUT = 1
_TOOL_CALL_TOKENS = 20


def new_uuid() -> str:
    """A random UUID (the module `uuid` would cost each start 5 ms)."""
    number = bytearray(os.urandom(16))
    number[6] = number[6] & 0x0F | 0x40
    number[8] = number[8] & 0x3F | 0x80
    text = number.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


class Tokens(NamedTuple):
    """Tokens of one answer or of many: made up, but in proportion to the texts."""

    read: int
    written: int

    def plus(self, other: Tokens) -> Tokens:
        """Both together."""
        return Tokens(self.read + other.read, self.written + other.written)

    def usage(self) -> dict[str, int]:
        """As a `usage` field tells them."""
        return {
            "input_tokens": self.read,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": self.written,
        }


class Stream:
    """The output of one session: it prints at once, and adds up what a result line tells.

    Args:
        session_id: a UUID.
        model: the model's name, as asked for.
        permission_mode: as asked for.
    """

    def __init__(self, session_id: str, model: str, permission_mode: str) -> None:
        self.cost_usd = 0.0
        #: The text with which the turn would end now; None where its last line is not a text.
        self.last_text: str | None = None
        #: Assistant lines in this turn.
        self.answers = 0
        self._session = session_id
        self._model = model
        self._permission_mode = permission_mode
        self._denials: list[dict[str, object]] = []
        self._turn_started = time.monotonic()
        self._message_tokens = 0
        self._turn_tokens = Tokens(0, 0)
        self._session_tokens = Tokens(0, 0)

    def begin_turn(self, message: str, mcp_failed: Sequence[str]) -> None:
        """The init line; the real command repeats it at each turn."""
        self.last_text = None
        self.answers = 0
        self._denials = []
        self._turn_started = time.monotonic()
        self._message_tokens = _tokens_of(message)
        self._turn_tokens = Tokens(0, 0)
        self._emit(
            type="system",
            subtype="init",
            cwd=os.getcwd(),  # noqa: PTH109 - pathlib would cost each start 3 ms
            tools=_TOOLS,
            mcp_servers=[{"name": name, "status": "failed"} for name in mcp_failed],
            model=self._model,
            permissionMode=self._permission_mode,
            slash_commands=[],
            apiKeySource="none",
            claude_code_version=VERSION,
            output_style="default",
            agents=[],
            skills=[],
            plugins=[],
        )

    def say(self, text: str) -> None:
        """An assistant line with a text."""
        self.last_text = text
        self._assistant({"type": "text", "text": text}, _tokens_of(text))

    def call_tool(self, tool: str, arguments: Mapping[str, object]) -> str:
        """An assistant line with a tool call; returns the call's id."""
        call = f"toolu_{os.urandom(12).hex()}"
        self.last_text = None
        self._assistant({"type": "tool_use", "id": call, "name": tool, "input": arguments}, _TOOL_CALL_TOKENS)
        return call

    def tool_result(self, call: str, text: str, *, is_error: bool = False) -> None:
        """The user line that answers a tool call."""
        content = {"tool_use_id": call, "type": "tool_result", "content": text, "is_error": is_error}
        self._user(content, tool_use_result=f"Error: {text}" if is_error else {"stdout": text, "stderr": ""})

    def deny_tool(self, tool: str, arguments: Mapping[str, object]) -> None:
        """A tool call and its refusal, which the result lists."""
        call = self.call_tool(tool, arguments)
        text = f"Permission to use {tool} has been denied by the script of this simulation."
        self.tool_result(call, text, is_error=True)
        self._denials.append({"tool_name": tool, "tool_use_id": call, "tool_input": arguments})

    def interrupted(self, *, tool_call: str | None) -> None:
        """The lines between a SIGINT and the result."""
        if tool_call is not None:
            self.tool_result(tool_call, "The user doesn't want to proceed with this tool use.", is_error=True)
        during = " for tool use" if tool_call is not None else ""
        self._user({"type": "text", "text": f"[Request interrupted by user{during}]"})

    def api_retry(self, attempt: int, retries: int, delay: float, status: int | None, error: str) -> None:
        """The line that says that the API is asked again after `delay` seconds."""
        self._emit(
            type="system",
            subtype="api_retry",
            attempt=attempt,
            max_retries=retries,
            retry_delay_ms=delay * 1000,
            error_status=status,
            error=error,
        )

    def rate_limit(self, resets_at: int, window: str) -> None:
        """The line that says until when (seconds since the epoch) a usage limit holds."""
        info = {"status": "rejected", "resetsAt": resets_at, "rateLimitType": window, "isUsingOverage": False}
        self._emit(type="rate_limit_event", rate_limit_info=info)

    def api_error(self, text: str, error: str) -> None:
        """The assistant line that the command makes up when the API failed for good."""
        self.last_text = text
        self.answers += 1
        message = {"role": "assistant", "model": "<synthetic>", "content": [{"type": "text", "text": text}]}
        self._emit(type="assistant", message=message, parent_tool_use_id=None, error=error)

    def result(
        self, *, subtype: str = "success", is_error: bool = False, status: int | None = None, **more: object
    ) -> None:
        """The line that ends a turn. `more` are fields that only some endings have, `errors` for one."""
        milliseconds = round((time.monotonic() - self._turn_started) * 1000)
        fields: dict[str, object] = {
            "type": "result",
            "subtype": subtype,
            "is_error": is_error,
            "api_error_status": status,
            "duration_ms": milliseconds,
            "duration_api_ms": 0,
            "num_turns": max(1, self.answers),
            "total_cost_usd": self.cost_usd,
            "usage": self._turn_tokens.usage(),
            "modelUsage": self._model_usage(),
            "permission_denials": self._denials,
            "stop_reason": "end_turn",
            "terminal_reason": "completed",
        }
        if subtype == "success":
            fields["result"] = self.last_text or ""
        self._emit(**fields | more)

    def raw(self, text: str) -> None:
        """A line as it is."""
        _write_all(f"{text}\n".encode())

    def torn(self) -> None:
        """The first half of a line."""
        line = json.dumps({"type": "assistant", "session_id": self._session, "message": {"role": "assistant"}})
        _write_all(line[: len(line) // 2].encode())

    def _assistant(self, content: Mapping[str, object], written: int) -> None:
        tokens = Tokens(self._message_tokens, written)
        self.answers += 1
        self._turn_tokens = self._turn_tokens.plus(tokens)
        self._session_tokens = self._session_tokens.plus(tokens)
        message = {
            "id": f"msg_{os.urandom(12).hex()}",
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": [content],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": tokens.usage(),
        }
        self._emit(type="assistant", message=message, parent_tool_use_id=None)

    def _user(self, content: Mapping[str, object], **more: object) -> None:
        message = {"role": "user", "content": [content]}
        now = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
        self._emit(type="user", message=message, parent_tool_use_id=None, timestamp=now, **more)

    def _model_usage(self) -> dict[str, dict[str, object]]:
        if not self._session_tokens.written:
            return {}
        usage: dict[str, object] = {
            "inputTokens": self._session_tokens.read,
            "outputTokens": self._session_tokens.written,
            "cacheReadInputTokens": 0,
            "cacheCreationInputTokens": 0,
            "costUSD": self.cost_usd,
        }
        return {self._model: usage}

    def _emit(self, **fields: object) -> None:
        line = json.dumps(
            {**fields, "session_id": self._session, "uuid": new_uuid()}, ensure_ascii=False, separators=(",", ":")
        )
        # A lone surrogate can come in as an escape in JSON; it must not end the run on its way out.
        _write_all(line.encode("utf-8", "replace") + b"\n")


def _tokens_of(text: str) -> int:
    return len(text) // 4 + 1


def _write_all(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(_STDOUT, view) :]
