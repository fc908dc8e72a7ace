"""The real command's tools over HTTP: what the gateway must speak, and what a run needs to use it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.claude.mcp_endpoint import ANSWER, INSTRUCTIONS, TOKEN, McpEndpoint
from tests.claude.messages_api import Say, Use

if TYPE_CHECKING:
    from tests.claude.messages_api import Request
    from tests.claude.scenario import ClaudeScenario

pytestmark = pytest.mark.claude


def talk(claude: ClaudeScenario, configuration: str, allowed: str) -> list[Request]:
    """One call of the pool's tool `send`, with only `allowed` allowed."""
    return claude.talk(
        [Use("mcp__pool__send", {"body": "hello"}), Say("Done.")],
        *("--mcp-config", configuration, "--strict-mcp-config", "--setting-sources", "user"),
        *("--tools", "Bash", "--permission-mode", "dontAsk", "--allowedTools", allowed),
    )


@pytest.mark.parametrize("allowed", ["mcp__pool", "mcp__pool__*", "mcp__pool__send"])
def test_a_tool_of_the_pool_is_used(claude: ClaudeScenario, allowed: str) -> None:
    """Four methods and a token on each call are enough; `--tools` does not touch a server's tools."""
    with McpEndpoint() as endpoint:
        first, second = talk(claude, endpoint.configuration, allowed)
    assert claude.workplace.lines()[0]["mcp_servers"] == [{"name": "pool", "status": "connected"}]
    assert first.tools == ["Bash", "mcp__pool__send", "mcp__pool__status"]
    assert INSTRUCTIONS in json.dumps(first.body)
    assert second.messages[-1] == ANSWER
    assert endpoint.methods == ["initialize", "notifications/initialized", "tools/list", "tools/call"]
    assert set(endpoint.tokens) == {TOKEN}


def test_a_tool_that_is_not_allowed_is_not_called(claude: ClaudeScenario) -> None:
    """A server's tools need leave as others do."""
    with McpEndpoint() as endpoint:
        talk(claude, endpoint.configuration, "Bash")
    assert "tools/call" not in endpoint.methods
    [denial] = claude.workplace.result()["permission_denials"]
    assert denial["tool_name"] == "mcp__pool__send"


def test_a_dead_server_does_not_fail_the_run(claude: ClaudeScenario) -> None:
    """A server that cannot be reached is told in the first line, and the run goes on without its tools."""
    with McpEndpoint() as endpoint:
        configuration = endpoint.configuration
    first, *_ = talk(claude, configuration, "mcp__pool")
    assert claude.workplace.lines()[0]["mcp_servers"] == [{"name": "pool", "status": "failed"}]
    assert first.tools == ["Bash"]
    assert claude.workplace.result()["is_error"] is False
