"""The scripted API itself, without the command."""

from __future__ import annotations

import http.client
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import TYPE_CHECKING, Any

import pytest

from tests.claude.messages_api import Drop, Hang, MessagesApi, Refuse, Say, Tokens, Use

if TYPE_CHECKING:
    from pathlib import Path


def ask(api: MessagesApi, prompt: str, **fields: object) -> tuple[int, list[dict[str, Any]]]:
    """Asks as the command does; gives the status and the events of the stream."""
    body = {"model": "m", "max_tokens": 9, "stream": True, "messages": [{"role": "user", "content": prompt}], **fields}
    connection = http.client.HTTPConnection(api.url.removeprefix("http://"), timeout=20)
    try:
        connection.request("POST", "/v1/messages?beta=true", json.dumps(body))
        response = connection.getresponse()
        lines = response.read().decode().splitlines()
    finally:
        connection.close()
    return response.status, [json.loads(line[6:]) for line in lines if line.startswith("data: ")]


def test_a_text_is_streamed() -> None:
    """A reply is streamed as the API does it, with its tokens."""
    with MessagesApi([Say("hi", Tokens(input=3, output=4, cache_read=5))]) as api:
        status, events = ask(api, "hello")
    assert status == 200
    assert [event["type"] for event in events] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert events[0]["message"]["usage"]["cache_read_input_tokens"] == 5
    assert events[2]["delta"] == {"type": "text_delta", "text": "hi"}
    assert events[4]["delta"]["stop_reason"] == "end_turn"


def test_a_tool_call_is_streamed() -> None:
    """A call follows its text, as a block of its own, with the input as JSON."""
    with MessagesApi([Use("Bash", {"command": "ls"}, text="I look.")]) as api:
        _, events = ask(api, "hello")
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    assert [delta["type"] for delta in deltas] == ["text_delta", "input_json_delta"]
    assert json.loads(deltas[1]["partial_json"]) == {"command": "ls"}
    assert events[-2]["delta"]["stop_reason"] == "tool_use"


def test_conversations_follow_their_own_scripts() -> None:
    """Many conversations at once each get the replies that are theirs, in order."""
    with MessagesApi([Say("nobody's")]) as api, ThreadPoolExecutor(8) as pool:
        for number in range(8):
            api.script(f"task {number}.", [Say(f"first of {number}"), Say(f"second of {number}")])

        def talk(number: int) -> list[str]:
            return [ask(api, f"task {number}.")[1][2]["delta"]["text"] for _ in range(2)]

        said = list(pool.map(talk, range(8)))
        assert said == [[f"first of {number}", f"second of {number}"] for number in range(8)]
        assert len(api.conversation("task 3.")) == 2
        assert ask(api, "something else")[1][2]["delta"]["text"] == "nobody's"


def test_a_script_that_ended_is_told() -> None:
    """A request too many is refused with 400, which the command does not repeat, and is listed."""
    with MessagesApi() as api:
        assert ask(api, "hello")[0] == 400
        assert [request.prompt for request in api.unscripted] == ["hello"]


def test_a_step_may_look_at_the_request() -> None:
    """A function in a script decides when the request is there."""
    with MessagesApi(repeat(lambda request: Say(request.prompt.upper()))) as api:
        assert ask(api, "hello")[1][2]["delta"]["text"] == "HELLO"


def test_a_refusal_has_its_headers() -> None:
    """An error keeps its status; the streamed and the refused request are both recorded."""
    with MessagesApi([Refuse(429, headers={"retry-after": "7"}), Say("hi")]) as api:
        assert ask(api, "hello")[0] == 429
        assert ask(api, "hello")[0] == 200
        assert len(api.requests) == 2


def test_what_the_command_asks_itself_takes_nothing() -> None:
    """A request for a title is answered beside the script."""
    with MessagesApi([Say("hi")]) as api:
        ask(api, "hello", output_config={"format": {"type": "json_schema"}})
        assert ask(api, "hello")[1][2]["delta"]["text"] == "hi"
        assert [request.auxiliary for request in api.requests] == [True, False]


def test_a_silence_ends_when_it_is_released() -> None:
    """`Hang` keeps the connection, `wait_for_requests` sees it meanwhile, and `release` ends it."""
    with MessagesApi([Hang("Half")]) as api, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask, api, "hello")
        assert api.wait_for_requests(1)[0].prompt == "hello"
        assert not asked.done()
        api.release()
        assert asked.result(20)[1][-1]["delta"]["text"] == "Half"


def test_a_silence_ends_with_the_test() -> None:
    """Leaving the `with` ends what still hangs: no thread outlives the API."""
    before = threading.active_count()
    with ThreadPoolExecutor(1) as pool:
        with MessagesApi([Hang("Half")]) as api:
            asked = pool.submit(ask, api, "hello")
            api.wait_for_requests(1)
        asked.result(20)
    assert threading.active_count() == before


def test_a_dropped_connection_is_no_answer() -> None:
    """`Drop` without a text closes before a byte was sent."""
    with MessagesApi([Drop()]) as api, pytest.raises(http.client.RemoteDisconnected):
        ask(api, "hello")


def test_waiting_has_an_end() -> None:
    """A wait for requests that never come says how many came."""
    with MessagesApi() as api, pytest.raises(TimeoutError, match="0 of 1 requests"):
        api.wait_for_requests(1, seconds=0.05)


def test_the_environment_is_complete(tmp_path: Path) -> None:
    """The environment names the server, the home and a key, and nothing of the test's own."""
    with MessagesApi() as api:
        assert set(api.environment(tmp_path)) == {
            "PATH",
            "HOME",
            "ANTHROPIC_BASE_URL",
            "ANTHROPIC_API_KEY",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
        }
