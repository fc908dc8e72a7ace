"""A living run in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentpool.cli import answers
from agentpool.cli.terminal import one_line

if TYPE_CHECKING:
    from agentpool.cli.answers import Row


def doing(run: Row) -> str:
    """What it is at, in one line: its trouble with the API, or its tool call and how many it has made."""
    retrying = answers.text(run, "retrying")
    if retrying:
        return one_line(retrying)
    calls = int(answers.number(run, "tool_calls"))
    between = "thinking" if calls or run.get("model") else "starting"
    tool = one_line(answers.text(run, "tool")) or between
    return f"{tool} ({calls})" if calls else tool
