from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentpool.model.errors import AgentError
from agentpool.model.run import EndedBy, FailureKind, RunReport
from agentpool.runs.agent import RunSpec
from agentpool.runs.claude import Claude, judge
from agentpool.runs.stream import Retry, StreamSummary


def make_spec(tmp_path: Path, **changes: Any) -> RunSpec:
    """A run of an expert, with a `claude` on its PATH."""
    program = tmp_path / "bin" / "claude"
    if not program.exists():
        program.parent.mkdir()
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    directory = tmp_path / "run"
    directory.mkdir(exist_ok=True)
    values: dict[str, Any] = {
        "run_id": "health.1",
        "task_id": "health",
        "name": "backend",
        "role": "expert",
        "pool": tmp_path / ".agent-pool",
        "project": tmp_path,
        "directory": directory,
        "identity": "You know the backend.",
        "message": "Why is it slow?",
        "model": None,
        "max_usd": 5.0,
        "allowed_tools": ("Read", "Bash(npm test:*)"),
        "permission_mode": "dontAsk",
        "deny": ("Edit(//pool/**)",),
        "environment": {"PATH": str(program.parent)},
    }
    return RunSpec(**{**values, **changes})


def option(argv: tuple[str, ...], name: str) -> str:
    """The value of an option."""
    return argv[argv.index(name) + 1]


def test_the_command_line(tmp_path: Path) -> None:
    """A run is one line of stream-json in, stream-json out, never asks, and has a ceiling."""
    spec = make_spec(tmp_path)
    command = Claude().command(spec)
    assert command.argv[:7] == (
        str(tmp_path / "bin" / "claude"),
        "-p",
        "--input-format",
        "stream-json",
        "--output-format",
        "stream-json",
        "--verbose",
    )
    assert option(command.argv, "--permission-mode") == "dontAsk"
    assert option(command.argv, "--max-budget-usd") == "5"
    assert option(command.argv, "--setting-sources") == "user"
    assert "--strict-mcp-config" in command.argv
    assert "--model" not in command.argv
    assert "--exclude-dynamic-system-prompt-sections" in command.argv
    place = command.argv.index("--allowedTools")
    assert command.argv[place + 1 : place + 3] == ("Read", "Bash(npm test:*)")
    assert command.argv[place + 3].startswith("--")
    assert command.directory == tmp_path


@pytest.mark.parametrize(
    ("allowed", "described"),
    [
        (("Read", "Bash(npm test:*)", "Bash(git log:*)"), "Read,Bash"),
        (("Bash", "mcp__pool__send", "mcp__pool"), "Bash"),
        (("mcp__pool",), ""),
    ],
)
def test_only_allowed_tools_are_described(tmp_path: Path, allowed: tuple[str, ...], described: str) -> None:
    """The model is told of the command's own tools that it may use, each once, and of no other."""
    argv = Claude().command(make_spec(tmp_path, allowed_tools=allowed)).argv
    assert option(argv, "--tools") == described


def test_a_mode_that_allows_more_has_all_tools(tmp_path: Path) -> None:
    """Where the mode lets tools pass that no rule names, none is taken away."""
    argv = Claude().command(make_spec(tmp_path, permission_mode="acceptEdits")).argv
    assert "--allowedTools" in argv
    assert "--tools" not in argv


def test_the_message_is_one_line(tmp_path: Path) -> None:
    """Whatever the message holds, standard input is one line of JSON that says exactly that."""
    message = 'line\nline "quoted" é \u2028 \U0001f600'
    stdin = Claude().command(make_spec(tmp_path, message=message)).stdin
    assert stdin.endswith(b"\n")
    assert stdin.count(b"\n") == 1
    assert json.loads(stdin) == {"type": "user", "message": {"role": "user", "content": message}}
    assert Claude().command(make_spec(tmp_path, message="\udc80")).stdin


def test_the_identity_is_a_file(tmp_path: Path) -> None:
    """The identity is added to the system prompt from the run's directory; without one there is no file."""
    argv = Claude().command(make_spec(tmp_path)).argv
    assert Path(option(argv, "--append-system-prompt-file")).read_text() == "You know the backend."
    bare = make_spec(tmp_path, identity="", model="opus", max_usd=None, allowed_tools=())
    argv = Claude(extra=["--effort", "low"], setting_sources=()).command(bare).argv
    assert "--append-system-prompt-file" not in argv
    assert "--max-budget-usd" not in argv
    assert "--allowedTools" not in argv
    assert "--tools" not in argv
    assert option(argv, "--model") == "opus"
    assert option(argv, "--setting-sources") == ""
    assert argv[-2:] == ("--effort", "low")


def test_what_stands_without_a_server(tmp_path: Path) -> None:
    """Denied paths, and the commands that would take the tree from under other runs, are denied by the settings."""
    settings = json.loads(option(Claude().command(make_spec(tmp_path)).argv, "--settings"))
    deny = settings["permissions"]["deny"]
    assert deny == [
        "Edit(//pool/**)",
        "Bash(git stash:*)",
        "Bash(git reset --hard:*)",
        "Bash(git clean:*)",
    ]


def test_the_commands_own_habits_are_switched_off(tmp_path: Path) -> None:
    """Its memory, what outlives a run, and long retries are off unless the user's environment says otherwise."""
    environment = Claude().command(make_spec(tmp_path)).environment
    assert environment["CLAUDE_CODE_DISABLE_AUTO_MEMORY"] == "1"
    assert environment["CLAUDE_CODE_DISABLE_BACKGROUND_TASKS"] == "1"
    assert environment["CLAUDE_CODE_DISABLE_CRON"] == "1"
    assert environment["CLAUDE_CODE_MAX_RETRIES"] == "1"
    own = {"PATH": str(tmp_path / "bin"), "CLAUDE_CODE_MAX_RETRIES": "7"}
    assert Claude().command(make_spec(tmp_path, environment=own)).environment["CLAUDE_CODE_MAX_RETRIES"] == "7"


@pytest.mark.parametrize("name", ["claude-code", "bin/other", "/nonexistent/claude", "bin"])
def test_a_command_that_is_not_there(tmp_path: Path, name: str) -> None:
    """The error says where it was looked for and what to do."""
    spec = make_spec(tmp_path)
    with pytest.raises(AgentError) as caught:
        Claude(name).command(spec)
    assert str(tmp_path / "bin") in caught.value.message or name in caught.value.message
    assert caught.value.tip is not None
    assert "[agent] command" in caught.value.tip
    assert "agentpool doctor" in caught.value.tip


def test_a_command_that_may_not_be_executed(tmp_path: Path) -> None:
    """A file without the right to execute it is no command; one that got it back is found again."""
    spec = make_spec(tmp_path)
    claude = Claude(["bin/claude", "--first"])
    assert claude.command(spec).argv[:3] == (str(tmp_path / "bin/claude"), "--first", "-p")
    (tmp_path / "bin/claude").chmod(0o644)
    with pytest.raises(AgentError, match="cannot be executed"):
        claude.command(spec)
    (tmp_path / "bin/claude").chmod(0o755)
    assert claude.command(spec).argv


def result(text: str = "", *, is_error: bool = True, **more: Any) -> dict[str, Any]:
    """A result line, bad unless told otherwise."""
    return {"type": "result", "subtype": "success", "is_error": is_error, "result": text, **more}


def judged(summary: StreamSummary, ended_by: EndedBy = EndedBy.ITSELF, **more: Any) -> RunReport:
    """What a run that ended with exit 1 comes to."""
    values: dict[str, Any] = {"text": "", "exit_code": 1, "has_result": summary.result is not None, **more}
    return judge(summary, RunReport(failure=None, ended_by=ended_by, **values))


#: As the real command prints them, where it could be made to; the others as people reported them.
RESULTS = [
    (result("API Error: Request rejected (429) · nope", api_error_status=429), "rate_limit", FailureKind.LIMIT),
    (result("Credit balance is too low", api_error_status=400), "billing_error", FailureKind.LIMIT),
    (result("You've hit your weekly limit · resets 3pm (Europe/Berlin)"), None, FailureKind.LIMIT),
    (result("Claude AI usage limit reached|1800000000"), None, FailureKind.LIMIT),
    (
        result("API Error: 529 nope. This is a server-side issue", api_error_status=529),
        "server_error",
        FailureKind.TRANSIENT,
    ),
    (result("API Error: 500", api_error_status=500), None, FailureKind.TRANSIENT),
    (
        result("API Error: Unable to connect to API (ConnectionRefused)", api_error_status=None),
        "unknown",
        FailureKind.TRANSIENT,
    ),
    (result("API Error: Connection error."), None, FailureKind.TRANSIENT),
    (result("API Error: Request timed out."), None, FailureKind.TRANSIENT),
    (
        result("Failed to authenticate. API Error: 401 nope", api_error_status=401),
        "authentication_failed",
        FailureKind.AUTH,
    ),
    (result("forbidden", api_error_status=403), None, FailureKind.AUTH),
    (result("Not logged in · Please run /login"), None, FailureKind.AUTH),
    (result("Invalid API key · Fix external API key"), None, FailureKind.AUTH),
    (result("OAuth token has expired"), None, FailureKind.AUTH),
    (result("Prompt is too long", api_error_status=400), "invalid_request", FailureKind.AGENT),
    (result("Prompt is too long", terminal_reason="blocking_limit"), "invalid_request", FailureKind.AGENT),
    (result("API Error: 400 no tool `limit reached`", api_error_status=400), "unknown", FailureKind.AGENT),
    (
        {"subtype": "error_max_budget_usd", "is_error": True, "errors": ["Reached maximum budget ($5)"]},
        None,
        FailureKind.BUDGET,
    ),
    ({"subtype": "error_max_turns", "is_error": False, "errors": ["too many turns"]}, None, FailureKind.AGENT),
    ({"subtype": "error_during_execution", "is_error": True, "errors": ["boom"]}, None, FailureKind.AGENT),
    (result("The docs say: usage limit reached, not logged in.", is_error=False), None, None),
]


@pytest.mark.parametrize(("line", "api_error", "kind"), RESULTS)
def test_what_a_result_comes_to(line: dict[str, Any], api_error: str | None, kind: FailureKind | None) -> None:
    """Structured fields decide before texts, and texts are asked only about errors."""
    report = judged(StreamSummary(result=line, api_error=api_error))
    assert report.failure is kind
    assert report.text == line.get("result", "; ".join(line.get("errors", [])))


def test_a_limit_that_looks_like_an_answer() -> None:
    """The one text by which older commands report a limit is a limit, with its time, even as a good result."""
    report = judged(StreamSummary(result=result("Claude AI usage limit reached|1800000000", is_error=False)))
    assert (report.failure, report.retry_at) == (FailureKind.LIMIT, 1_800_000_000.0)


def test_when_to_ask_again() -> None:
    """The reset that the API announced comes first, then the wait that it asked for; else nobody knows."""
    line = result("429", api_error_status=429)
    retry = Retry(1, 1, 7.0, 429, "rate_limit")
    known = StreamSummary(result=line, limited=True, limit_resets_at=99.0, retry=retry, last_output_at=10.0)
    assert judged(known).retry_at == 99.0
    assert judged(StreamSummary(result=line, retry=retry, last_output_at=10.0)).retry_at == 17.0
    assert judged(StreamSummary(result=line)).retry_at is None
    assert judged(StreamSummary(result=result("529", api_error_status=529), retry=retry)).retry_at is None


@pytest.mark.parametrize("ended_by", list(EndedBy))
def test_a_good_result_stands_however_it_ended(ended_by: EndedBy) -> None:
    """What the process did after its good result changes nothing."""
    report = judged(StreamSummary(result=result("done", is_error=False)), ended_by, exit_code=-9)
    assert (report.failure, report.text) == (None, "done")


INTERRUPTED = {"subtype": "error_during_execution", "is_error": True, "errors": ["x"]}


@pytest.mark.parametrize("line", [None, INTERRUPTED])
@pytest.mark.parametrize(
    ("ended_by", "kind"),
    [
        (EndedBy.STOP, FailureKind.SUPERVISOR),
        (EndedBy.STALL, FailureKind.TIMEOUT),
        (EndedBy.TIMEOUT, FailureKind.TIMEOUT),
        (EndedBy.VANISHED, FailureKind.SUPERVISOR),
    ],
)
def test_a_run_without_a_verdict_of_its_own(line: dict[str, Any] | None, ended_by: EndedBy, kind: FailureKind) -> None:
    """Without a result, or with the one that our stop drew from it, what ended the run says why it failed."""
    report = judged(StreamSummary(result=line), ended_by)
    assert report.failure is kind
    assert "result" not in report.text


@pytest.mark.parametrize(
    ("retry", "kind"),
    [
        (Retry(3, 10, 4.0, 529, "overloaded"), FailureKind.TRANSIENT),
        (Retry(3, 10, 4.0, None, "unknown"), FailureKind.TRANSIENT),
        (Retry(1, 1, 3600.0, 429, "rate_limit"), FailureKind.LIMIT),
        (Retry(3, 10, 4.0, 401, "authentication_failed"), FailureKind.AUTH),
        (Retry(3, 10, 4.0, 401, "unknown"), FailureKind.AUTH),
    ],
)
@pytest.mark.parametrize("ended_by", [EndedBy.ITSELF, EndedBy.STALL])
def test_a_run_that_ended_while_the_api_struggled(retry: Retry, kind: FailureKind, ended_by: EndedBy) -> None:
    """A run that ends in the middle of a retry failed for the API's reason."""
    report = judged(StreamSummary(retry=retry, last_output_at=1.0), ended_by)
    assert report.failure is kind
    assert report.retry_at == (1.0 + retry.delay_s if kind is FailureKind.LIMIT else None)


def test_the_commands_own_pause_is_no_reset() -> None:
    """Only whole seconds are what the API asked for; when a limit ends is else not known."""
    own = StreamSummary(retry=Retry(1, 1, 0.541, 429, "rate_limit"), last_output_at=1.0)
    assert judged(own).failure is FailureKind.LIMIT
    assert judged(own).retry_at is None


def test_nothing_but_error_output() -> None:
    """A command that said nothing is judged by how it ended, and its error output is shown."""
    report = judged(StreamSummary(), text="error: unknown option '--x'", has_output=False, exit_code=1)
    assert report.failure is FailureKind.AGENT
    assert "exit code 1" in report.text
    assert "unknown option" in report.text
    login = judged(StreamSummary(), text="Invalid API key", has_output=False)
    assert login.failure is FailureKind.AUTH
    assert "out of memory" in judged(StreamSummary(), exit_code=-9).text
    assert "signal 35" in judged(StreamSummary(), exit_code=-35).text
    assert "unknown" in judged(StreamSummary(), exit_code=None).text
