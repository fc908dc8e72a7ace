"""What a scripted Messages API can answer, and how each answer looks on the wire."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a reply claims to have used; the command turns it into money by its own price list."""

    input: int = 10
    output: int = 5
    cache_read: int = 0
    cache_write: int = 0


@dataclass(frozen=True, slots=True)
class Say:
    """The model says `text` and ends its turn."""

    text: str
    tokens: Tokens = Tokens()


@dataclass(frozen=True, slots=True)
class Use:
    """The model calls a tool, e.g. `Use("Bash", {"command": "make"})`.

    Args:
        tool: its name, as the request lists it.
        input: its arguments.
        text: what the model says before the call.
        tokens: what this reply has used.
    """

    tool: str
    input: Mapping[str, Any]
    text: str = ""
    tokens: Tokens = Tokens()


@dataclass(frozen=True, slots=True)
class Refuse:
    """The API answers with an HTTP error instead of a message.

    Args:
        status: 400, 401, 429, 529 …
        message: the error's text, as the command shows it.
        headers: e.g. `{"retry-after": "60"}`.
    """

    status: int
    message: str = "refused by the script"
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def body(self) -> dict[str, Any]:
        """The error as JSON."""
        error = {"type": _ERROR_TYPES.get(self.status, "api_error"), "message": self.message}
        return {"type": "error", "error": error}


def usage_limit(resets_at: int) -> Refuse:
    """How the API tells a subscription that its five hours are used up.

    Args:
        resets_at: when they begin anew, in seconds since the epoch.
    """
    headers = {
        "anthropic-ratelimit-unified-status": "rejected",
        "anthropic-ratelimit-unified-reset": str(resets_at),
        "anthropic-ratelimit-unified-representative-claim": "five_hour",
    }
    return Refuse(429, "usage limit reached", headers)


@dataclass(frozen=True, slots=True)
class Hang:
    """The API keeps the request open and says nothing (more) until `MessagesApi.release` or the end of the test.

    Args:
        text: what is streamed before the silence; empty means not even a status line.
    """

    text: str = ""


@dataclass(frozen=True, slots=True)
class Drop:
    """The connection breaks.

    Args:
        text: what is streamed before it breaks; empty means before any byte of an answer.
    """

    text: str = ""


Reply = Say | Use | Refuse | Hang | Drop


def message(reply: Say | Use, model: str, serial: int) -> dict[str, Any]:
    """A reply as the API's message object.

    Args:
        reply: what the model says or calls.
        model: the model that the request asked for.
        serial: makes the ids of the message and of its tool call.
    """
    blocks: list[dict[str, Any]] = [{"type": "text", "text": reply.text}] if reply.text else []
    if isinstance(reply, Use):
        blocks.append({"type": "tool_use", "id": f"toolu_{serial:024}", "name": reply.tool, "input": reply.input})
    return {
        "id": f"msg_{serial:024}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": blocks,
        "stop_reason": "tool_use" if isinstance(reply, Use) else "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": reply.tokens.input,
            "output_tokens": reply.tokens.output,
            "cache_read_input_tokens": reply.tokens.cache_read,
            "cache_creation_input_tokens": reply.tokens.cache_write,
        },
    }


def stream(whole: dict[str, Any]) -> Iterator[bytes]:
    """A message as the server-sent events in which the API streams it."""
    yield from beginning(whole, whole["content"][:1])
    for index, block in enumerate(whole["content"]):
        if index:
            yield from _opened(index, block)
        yield _event("content_block_stop", index=index)
    delta = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    yield _event("message_delta", delta=delta, usage={"output_tokens": whole["usage"]["output_tokens"]})
    yield _event("message_stop")


def beginning(whole: dict[str, Any], blocks: list[dict[str, Any]]) -> Iterator[bytes]:
    """The start of a streamed message: its head, and these blocks, not closed."""
    yield _event("message_start", message={**whole, "content": [], "stop_reason": None})
    for index, block in enumerate(blocks):
        yield from _opened(index, block)


def _opened(index: int, block: dict[str, Any]) -> Iterator[bytes]:
    if block["type"] == "text":
        start, delta = {**block, "text": ""}, {"type": "text_delta", "text": block["text"]}
    else:
        start = {**block, "input": {}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
    yield _event("content_block_start", index=index, content_block=start)
    yield _event("content_block_delta", index=index, delta=delta)


def _event(kind: str, **fields: object) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()
