"""How the real command tells of an API in trouble, beyond what the simulated one shares (`test_protocol.py`)."""

from __future__ import annotations

import signal
from itertools import repeat
from typing import TYPE_CHECKING

import pytest

from tests.claude.messages_api import Drop, Hang, Refuse, Say
from tests.claude.replies import usage_limit

if TYPE_CHECKING:
    from tests.claude.scenario import ClaudeScenario

pytestmark = pytest.mark.claude

#: When the scripted usage limit ends, in seconds since the epoch.
RESETS_AT = 4_102_444_800


def test_a_usage_limit_says_when_it_ends(claude: ClaudeScenario) -> None:
    """A subscription at its limit: one event with the time of the reset, no retry, and a result with status 429."""
    claude.talk(
        [usage_limit(RESETS_AT)],
        environment={"CLAUDE_CODE_OAUTH_TOKEN": "scripted"},
        without=["ANTHROPIC_API_KEY"],
    )
    _, event, _, result = claude.workplace.lines()
    assert event["type"] == "rate_limit_event"
    assert event["rate_limit_info"]["status"] == "rejected"
    assert event["rate_limit_info"]["resetsAt"] == RESETS_AT
    assert event["rate_limit_info"]["rateLimitType"] == "five_hour"
    assert (result["is_error"], result["api_error_status"]) == (True, 429)
    assert "session limit" in result["result"]


def test_a_key_at_its_limit_knows_no_reset(claude: ClaudeScenario) -> None:
    """With an API key the same headers give no event: only the status tells that it is a limit."""
    claude.talk([usage_limit(RESETS_AT)], environment={"CLAUDE_CODE_MAX_RETRIES": "0"})
    assert [line["type"] for line in claude.workplace.lines()] == ["system", "assistant", "result"]
    assert claude.workplace.result()["api_error_status"] == 429


def test_a_long_wait_is_not_waited_for(claude: ClaudeScenario) -> None:
    """A `retry-after` of an hour ends the run at once, also where a retry is left."""
    assert len(claude.talk([Refuse(429, "later", {"retry-after": "3600"})])) == 1
    assert [line["type"] for line in claude.workplace.lines()] == ["system", "assistant", "result"]
    assert claude.workplace.result()["api_error_status"] == 429


@pytest.mark.parametrize(
    ("status", "word"), [(401, "authentication_failed"), (500, "server_error"), (529, "overloaded")]
)
def test_a_retry_is_told_with_its_reason(claude: ClaudeScenario, status: int, word: str) -> None:
    """Each retry is a line of the stream, with the status and a word for it; a run that recovers is a plain success."""
    claude.talk([Refuse(status), Say("Done.")])
    _, retry, _, result = claude.workplace.lines()
    assert (retry["subtype"], retry["error_status"], retry["error"]) == ("api_retry", status, word)
    assert (retry["attempt"], retry["max_retries"]) == (1, 1)
    assert (result["is_error"], result["result"]) == (False, "Done.")


@pytest.mark.parametrize("status", [403, 404, 413])
def test_no_retry_where_none_can_help(claude: ClaudeScenario, status: int) -> None:
    """Statuses that no repetition mends end the run at once."""
    claude.talk(repeat(Refuse(status)))
    assert [line["type"] for line in claude.workplace.lines()] == ["system", "assistant", "result"]
    assert claude.workplace.result()["api_error_status"] == status


def test_a_broken_stream_is_asked_again(claude: ClaudeScenario) -> None:
    """A connection that breaks in the middle of an answer costs a second, unstreamed request, and no word is lost."""
    first, second = claude.talk([Drop("Half an ans"), Say("Done.")])
    assert (first.body["stream"], second.body.get("stream")) == (True, None)
    assert claude.workplace.result()["result"] == "Done."


def test_an_interrupt_breaks_a_silent_api(claude: ClaudeScenario) -> None:
    """SIGINT while the API is silent ends the run at once, often without a result (exit code 0): never a success."""
    claude.api.script("", [Hang()])
    run = claude.start(claude.argv([]), claude.environment())
    claude.api.wait_for_requests(1)
    run.send(signal.SIGINT)
    run.wait()
    results = [line["subtype"] for line in claude.workplace.lines() if line["type"] == "result"]
    assert results in ([], ["error_during_execution"])
