"""One line of an agent's output stream as lines that a person reads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from agentpool.cli import answers
from agentpool.cli.moments import dollars, span
from agentpool.cli.terminal import clip, columns, counted, one_line, printable, style

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentpool.cli.answers import Row

#: Lines of a tool's result that are shown.
_RESULT_LINES = 6
#: The argument that says most about a call, by the order in which it is looked for.
_TELLING = ("command", "file_path", "path", "pattern", "url", "query", "prompt", "description")
_PADDING = 4


def lines_of(raw: str) -> Iterator[str]:
    """What a line of `stream.jsonl` says, safe for a terminal; nothing for lines that only machines need."""
    try:
        event = json.loads(raw)
    except ValueError:
        event = None
    if not isinstance(event, dict):
        yield style(f"[not a stream line] {clip(one_line(raw), columns() - 20)}", "dim")
        return
    kind = answers.text(event, "type")
    if kind == "system":
        yield from _system(event)
    elif kind in ("assistant", "user"):
        for block in _blocks(event):
            yield from _block(block)
    elif kind == "result":
        yield from _result(event)
    elif kind == "rate_limit_event":
        yield style(f"rate limit: {one_line(json.dumps(event.get('rate_limit_info')))}", "yellow")


def _system(event: Row) -> Iterator[str]:
    subtype = answers.text(event, "subtype")
    if subtype == "init":
        about = [answers.text(event, "model"), answers.text(event, "claude_code_version")]
        yield style(f"── session {one_line(answers.text(event, 'session_id'))} {one_line(' '.join(about))}", "dim")
        for server in answers.rows(event, "mcp_servers"):
            if answers.text(server, "status") == "failed":
                yield style(f"   the MCP server {one_line(answers.text(server, 'name'))} failed", "red")
    elif subtype == "api_retry":
        delay = answers.number(event, "retry_delay_ms") / 1000
        yield style(
            f"   the API stumbles ({one_line(answers.text(event, 'error'))}, {answers.text(event, 'error_status')}): "
            f"attempt {answers.text(event, 'attempt')} of {answers.text(event, 'max_retries')}, again in {delay:.0f}s",
            "yellow",
        )


def _blocks(event: Row) -> list[dict[str, object]]:
    content = answers.row(event, "message").get("content")
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return answers.rows({"content": content}, "content")


def _block(block: Row) -> Iterator[str]:
    kind = answers.text(block, "type")
    if kind == "text":
        yield from printable(answers.text(block, "text")).splitlines()
    elif kind == "tool_use":
        call = f"{answers.text(block, 'name')}({_arguments(answers.row(block, 'input'))})"
        yield style(f"→ {clip(one_line(call), columns() - _PADDING)}", "cyan")
    elif kind == "tool_result":
        yield from _tool_result(block)


def _arguments(given: Row) -> str:
    for key in _TELLING:
        if key in given:
            return one_line(answers.text(given, key))
    return one_line(json.dumps(given, ensure_ascii=False)) if given else ""


def _tool_result(block: Row) -> Iterator[str]:
    content = block.get("content")
    if isinstance(content, list):
        content = "\n".join(answers.text(part, "text") for part in answers.rows(block, "content"))
    lines = printable(str(content or "")).rstrip().splitlines()
    colour = "red" if block.get("is_error") else "dim"
    for line in lines[:_RESULT_LINES]:
        yield style(f"  {clip(line.expandtabs(4), columns() - _PADDING)}", colour)
    if len(lines) > _RESULT_LINES:
        yield style(f"  … {counted(len(lines) - _RESULT_LINES, 'more line')}", "dim")


def _result(event: Row) -> Iterator[str]:
    failed = bool(event.get("is_error")) or answers.text(event, "subtype") != "success"
    turns, seconds = answers.number(event, "num_turns"), answers.number(event, "duration_ms") / 1000
    about = [_how_it_failed(event)] if failed else ["ended"]
    about += [counted(turns, "turn"), span(seconds), dollars(event.get("total_cost_usd"))]
    yield style(one_line(f"── {', '.join(about)}"), "red" if failed else "green")
    if failed:
        for text in (answers.text(event, "result"), *answers.names(event, "errors")):
            yield from printable(text).splitlines()
    for denial in answers.rows(event, "permission_denials"):
        yield style(f"   denied: {one_line(answers.text(denial, 'tool_name'))}", "yellow")


def _how_it_failed(event: Row) -> str:
    # The command says `success` also of a run that ended with an error of the API.
    status, subtype = answers.text(event, "api_error_status"), answers.text(event, "subtype")
    if status:
        return f"failed: API status {status}"
    return f"failed: {subtype}" if subtype not in ("", "success") else "failed"
