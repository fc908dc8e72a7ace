"""The real command's hooks over HTTP: how the gateway will stop, tell and hold a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.claude.hook_endpoint import TOKEN, HookEndpoint
from tests.claude.messages_api import Say, Use
from tests.claude.scenario import PERMISSION_FLAGS

if TYPE_CHECKING:
    from tests.claude.messages_api import Request
    from tests.claude.scenario import ClaudeScenario

pytestmark = pytest.mark.claude

SCRIPT = (Use("Bash", {"command": "touch made"}), Say("Done."), Say("Now it is."))


def talk(claude: ClaudeScenario, settings: str) -> list[Request]:
    """One call of a tool and one turn's end, under these settings."""
    return claude.talk(SCRIPT, *PERMISSION_FLAGS, "--settings", settings)


def test_an_event_says_what_happens_where(claude: ClaudeScenario) -> None:
    """An event brings the run's token, the tool with its input, the directory and the session."""
    with HookEndpoint(lambda _: {}) as endpoint:
        talk(claude, endpoint.settings)
    before, after, stop = endpoint.events
    assert set(endpoint.tokens) == {TOKEN}
    assert (before["hook_event_name"], before["tool_name"]) == ("PreToolUse", "Bash")
    assert before["tool_input"]["command"] == "touch made"
    assert before["cwd"] == str(claude.workplace.project.resolve())
    assert after["hook_event_name"] == "PostToolUse"
    assert (stop["stop_hook_active"], stop["last_assistant_message"]) == (False, "Done.")
    assert {event["session_id"] for event in endpoint.events} == {claude.workplace.result()["session_id"]}


def test_a_hook_stops_a_call(claude: ClaudeScenario) -> None:
    """A denied call does not happen, the model reads the reason, and the result lists it."""

    def deny(event: dict[str, Any]) -> dict[str, Any]:
        if event["hook_event_name"] != "PreToolUse":
            return {}
        decision = {"permissionDecision": "deny", "permissionDecisionReason": "this file is backend's"}
        return {"hookSpecificOutput": {"hookEventName": "PreToolUse", **decision}}

    with HookEndpoint(deny) as endpoint:
        _, request = talk(claude, endpoint.settings)
    assert not (claude.workplace.project / "made").exists()
    assert "this file is backend's" in request.messages[-1]
    assert [denial["tool_name"] for denial in claude.workplace.result()["permission_denials"]] == ["Bash"]
    assert endpoint.seen("PostToolUse") == []


def test_a_hook_tells_the_run_something(claude: ClaudeScenario) -> None:
    """What a hook adds after a call reaches the model with the next request."""

    def tell(event: dict[str, Any]) -> dict[str, Any]:
        kind = event["hook_event_name"]
        if kind != "PostToolUse":
            return {}
        return {"hookSpecificOutput": {"hookEventName": kind, "additionalContext": "the contract was amended"}}

    with HookEndpoint(tell) as endpoint:
        first, second = talk(claude, endpoint.settings)
    assert "the contract was amended" not in str(first.messages)
    assert "the contract was amended" in str(second.messages)


def test_a_hook_holds_the_end_once(claude: ClaudeScenario) -> None:
    """A blocked stop makes the model go on with the reason; the next stop says that it was held before."""

    def hold(event: dict[str, Any]) -> dict[str, Any]:
        if event["hook_event_name"] == "Stop" and not event["stop_hook_active"]:
            return {"decision": "block", "reason": "save your state first"}
        return {}

    with HookEndpoint(hold) as endpoint:
        *_, last = talk(claude, endpoint.settings)
    assert "save your state first" in last.messages[-1]
    assert [event["stop_hook_active"] for event in endpoint.seen("Stop")] == [False, True]
    assert claude.workplace.result()["result"] == "Now it is."


def test_a_dead_endpoint_lets_everything_pass(claude: ClaudeScenario) -> None:
    """Hooks fail open: nobody at the endpoint, and the call happens."""
    with HookEndpoint(lambda _: {}) as endpoint:
        settings = endpoint.settings
    talk(claude, settings)
    assert (claude.workplace.project / "made").exists()
    assert claude.workplace.result()["is_error"] is False
