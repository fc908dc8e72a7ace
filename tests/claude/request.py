"""A request of the command, as the scripted Messages API records it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Request:
    """One request that reached `POST /v1/messages`.

    Args:
        body: the whole JSON body.
        headers: names in lower case.
    """

    body: dict[str, Any]
    headers: Mapping[str, str]

    @property
    def auxiliary(self) -> bool:
        """Whether the command asks for itself: a title (as JSON) for the session, a probe (one token) of the quota."""
        return "format" in self.body.get("output_config", {}) or self.body["max_tokens"] == 1

    @property
    def system(self) -> str:
        """The system prompt as one text."""
        return _text(self.body.get("system", ""))

    @property
    def prompt(self) -> str:
        """The text of the first user message: what a conversation is known by."""
        return self.messages[0]

    @property
    def messages(self) -> list[str]:
        """The text of each message, tool results included, in order."""
        return [_text(message["content"]) for message in self.body["messages"]]

    @property
    def tools(self) -> list[str]:
        """The names of the tools that the model may call."""
        return [tool["name"] for tool in self.body.get("tools", [])]


def _text(content: Any) -> str:
    """The text in a message's content: a string, or a list of blocks, tool results among them."""
    if isinstance(content, str):
        return content
    return "\n".join(block["text"] if "text" in block else _text(block.get("content", "")) for block in content)
