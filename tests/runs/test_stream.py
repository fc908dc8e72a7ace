from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from agentpool.model.run import Denial
from agentpool.runs import stream
from agentpool.runs.rule import rules_for
from agentpool.runs.stream import StreamReader, StreamSummary, ToolCall

if TYPE_CHECKING:
    from pathlib import Path

INIT = {
    "type": "system",
    "subtype": "init",
    "session_id": "s-1",
    "model": "claude-sonnet-5",
    "claude_code_version": "2.1.197",
    "tools": ["Bash", "Read"],
    "mcp_servers": [{"name": "pool", "status": "failed"}, {"name": "other", "status": "connected"}],
}
USAGE = {
    "input_tokens": 100,
    "output_tokens": 30,
    "cache_read_input_tokens": 50,
    "cache_creation_input_tokens": 20,
}
TOTAL = {"inputTokens": 200, "outputTokens": 60, "cacheReadInputTokens": 100, "cacheCreationInputTokens": 40}


def tool_use(name: str, **arguments: Any) -> dict[str, Any]:
    """A line of the model that calls a tool."""
    block = {"type": "tool_use", "id": "t", "name": name, "input": arguments}
    return {"type": "assistant", "message": {"id": "m-1", "content": [block], "usage": USAGE}}


def result(text: str = "done", **more: Any) -> dict[str, Any]:
    """A good result."""
    return {"type": "result", "subtype": "success", "is_error": False, "result": text, **more}


def retry(status: int | None, error: str) -> dict[str, Any]:
    """A line that tells of a struggling API."""
    words = {"attempt": 1, "max_retries": 2, "retry_delay_ms": 7000, "error_status": status, "error": error}
    return {"type": "system", "subtype": "api_retry", **words}


def read(path: Path, *events: dict[str, Any] | bytes) -> StreamSummary:
    """What a whole stream of these lines comes to."""
    lines = [event if isinstance(event, bytes) else json.dumps(event).encode() + b"\n" for event in events]
    path.write_bytes(b"".join(lines))
    reader = StreamReader(path)
    while reader.read_new(17.0):
        pass
    return reader.finish()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the stream lies."""
    return tmp_path / "stream.jsonl"


def test_the_first_line_tells_who_works(path: Path) -> None:
    """Session, model, version, tools, and the tool servers that failed."""
    summary = read(path, INIT)
    assert (summary.session_id, summary.model, summary.command_version) == ("s-1", "claude-sonnet-5", "2.1.197")
    assert summary.tools == ("Bash", "Read")
    assert summary.failed_mcp_servers == ("pool",)
    assert summary.in_turn


def test_the_tool_at_work(path: Path) -> None:
    """The tool that runs now is known with what it works on, until its answer comes."""
    summary = read(path, tool_use("Bash", description="Run it", command="npm test\nnpm run lint"))
    assert summary.tool == ToolCall("Bash", "npm test")
    summary = read(path, tool_use("Read", file_path="/" + "x" * 200))
    assert summary.tool is not None
    assert len(summary.tool.argument) == 80
    answers = (b'{"type":"user","message":{}}\n', b'{"type": "user", "message": {}}\n')
    for answer in answers:
        summary = read(path, tool_use("Read", file_path="/x"), answer)
        assert summary.tool is None
        assert summary.tool_calls == 1


def test_tokens_are_counted_once_a_message(path: Path) -> None:
    """The blocks of one message are lines of their own that repeat its usage; it counts once."""
    summary = read(path, tool_use("Read"), tool_use("Bash"))
    assert (summary.usage.input_tokens, summary.usage.cache_read_tokens) == (100, 50)
    assert summary.usage.cost_usd == 0


def test_the_result_knows_better(path: Path) -> None:
    """A result replaces the tokens counted so far; cost and tokens are sums over the session, turns are not."""
    one = result("one", total_cost_usd=0.1, num_turns=2, modelUsage={"a": TOTAL}, usage=USAGE)
    two = result("two", total_cost_usd=0.3, num_turns=1, modelUsage={"a": TOTAL, "b": TOTAL}, usage={})
    summary = read(path, tool_use("Read"), one, two)
    assert summary.results == 2
    assert summary.result is not None
    assert summary.result["result"] == "two"
    assert (summary.usage.cost_usd, summary.usage.turns) == (0.3, 3)
    assert (summary.usage.input_tokens, summary.usage.cache_write_tokens) == (400, 80)
    assert not summary.in_turn


def test_a_turn_after_the_result(path: Path) -> None:
    """Work after a result is a turn that is still open."""
    assert read(path, result(), tool_use("Read")).in_turn


def test_a_struggling_api(path: Path) -> None:
    """What the command waits for is known while it waits, and forgotten when the API answers."""
    summary = read(path, retry(529, "overloaded"))
    assert summary.retry == stream.Retry(1, 2, 7.0, 529, "overloaded")
    assert read(path, retry(None, "unknown"), tool_use("Read")).retry is None


def test_only_a_rejection_is_a_limit(path: Path) -> None:
    """Events that tell how much of a limit is left are no limit."""
    event: dict[str, Any] = {
        "type": "rate_limit_event",
        "rate_limit_info": {"status": "allowed_warning", "resetsAt": 9},
    }
    assert not read(path, event).limited
    event["rate_limit_info"]["status"] = "rejected"
    summary = read(path, event)
    assert (summary.limited, summary.limit_resets_at) == (True, 9.0)


def test_after_the_seal_an_earlier_result_stands(path: Path) -> None:
    """A result drawn by our own stop does not replace an earlier one, but is taken where there is none."""
    for before in ([], [result("good")]):
        path.write_bytes(b"".join(json.dumps(event).encode() + b"\n" for event in before))
        reader = StreamReader(path)
        reader.read_new()
        reader.summary.seal()
        with path.open("ab") as file:
            file.write(json.dumps(result("echo")).encode())
        reader.read_new()
        summary = reader.finish()
        assert summary.result is not None
        assert summary.result["result"] == ("good" if before else "echo")


def test_every_split_gives_the_same(path: Path) -> None:
    """Wherever the writer is when the reader looks, the summary comes out the same."""
    data = b"".join(json.dumps(event).encode() + b"\n" for event in (INIT, tool_use("Read", path="/ä"), result("é")))
    path.write_bytes(data)
    whole = read(path, data)
    for place in range(0, len(data), 7):
        path.write_bytes(data[:place])
        reader = StreamReader(path)
        reader.read_new(17.0)
        with path.open("ab") as file:
            file.write(data[place:])
        reader.read_new(17.0)
        assert reader.finish() == whole


def test_a_file_that_is_not_there_yet(path: Path) -> None:
    """A stream without a file is an empty stream."""
    reader = StreamReader(path)
    assert reader.read_new() == 0
    assert reader.finish().bytes == 0


@pytest.mark.parametrize(
    "garbage",
    [
        b"not json\n",
        b"\xff\xfe\n",
        b"[1, 2]\n",
        b"\0\0\0\n",
        b"[" * 100_000 + b"\n",
        b'{"type":"system","subtype":"init","tools":5,"mcp_servers":[7],"session_id":{}}\n',
        b'{"type":"assistant","message":{"content":"text","usage":{"input_tokens":"many"}}}\n',
        b'{"type":"result","total_cost_usd":NaN,"num_turns":1e999,"permission_denials":[1,{}],"modelUsage":[]}\n',
        b'{"type":7}\n',
        b"\n",
    ],
)
def test_garbage_stops_nothing(path: Path, garbage: bytes) -> None:
    """Lines that make no sense never hide the ones that do."""
    summary = read(path, INIT, garbage, result("done"))
    assert summary.result is not None
    assert summary.result["result"] == "done"
    assert summary.session_id == "s-1"


def test_a_huge_line_is_skipped_in_little_memory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line beyond the limit is left out and counted; what follows it is read."""
    monkeypatch.setattr(stream, "LINE_BYTES", 1000)
    monkeypatch.setattr(stream, "_CHUNK_BYTES", 300)
    huge = b'{"type":"result","result":"' + b"x" * 5000 + b'"}\n'
    summary = read(path, huge, result("small"))
    assert summary.unread_lines == 1
    assert summary.result is not None
    assert summary.result["result"] == "small"
    assert not summary.torn
    assert read(path, huge[:-1]).torn


def test_a_torn_end(path: Path) -> None:
    """A last line without its end is torn, unless it is complete but for the newline."""
    assert read(path, INIT, b'{"type":"resu').torn
    summary = read(path, INIT, json.dumps(result()).encode())
    assert not summary.torn
    assert summary.results == 1


def test_when_it_was_last_heard(path: Path) -> None:
    """The time of the last output is the caller's, and stands still without output."""
    path.write_bytes(b"x")
    reader = StreamReader(path)
    assert reader.read_new(at=5.0) == 1
    assert reader.read_new(at=6.0) == 0
    assert reader.summary.last_output_at == 5.0
    reader.close()


def test_denials_come_with_the_rule_that_helps(path: Path) -> None:
    """Each refused call names what to add to `allowed_tools`, once."""
    denied = {"tool_name": "Bash", "tool_use_id": "t", "tool_input": {"command": "npm test"}}
    summary = read(path, result(permission_denials=[denied, denied]))
    assert summary.denials == (Denial("Bash", "Bash(npm test:*)"),)


@pytest.mark.parametrize(
    ("tool", "arguments", "rules"),
    [
        ("Bash", {"command": "npm test -- --watch"}, ("Bash(npm test:*)",)),
        ("Bash", {"command": "ls -la /tmp"}, ("Bash(ls:*)",)),
        ("Bash", {"command": "cat file | grep x"}, ("Bash(cat:*)", "Bash(grep:*)")),
        ("Bash", {"command": "CI=1 make check 2>&1 | tail -n 3"}, ("Bash(make check:*)", "Bash(tail:*)")),
        ("Bash", {"command": "cd /x && npm test; echo 'a && b'"}, ("Bash(cd:*)", "Bash(npm test:*)", "Bash(echo:*)")),
        ("Bash", {"command": "git log\ngit diff > out.txt"}, ("Bash(git log:*)", "Bash(git diff:*)")),
        ("Bash", {"command": "echo 'no end"}, ("Bash",)),
        ("Bash", {"command": 5}, ("Bash",)),
        ("WebFetch", {"url": "https://example.com/a?b"}, ("WebFetch(domain:example.com)",)),
        ("WebFetch", {"url": "http://[bad"}, ("WebFetch",)),
        ("mcp__pool__send", {}, ("mcp__pool__send",)),
    ],
)
def test_rules(tool: str, arguments: dict[str, Any], rules: tuple[str, ...]) -> None:
    """The rule is the narrowest that lets the like of it pass, one for each command of a shell line."""
    assert rules_for(tool, arguments) == rules
