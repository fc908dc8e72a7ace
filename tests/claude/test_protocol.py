"""The protocol of `claude -p`, as far as a pool leans on it: the real and the simulated command keep it alike."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING
from uuid import uuid4

import psutil
import pytest

from tests.claude import running
from tests.claude.running import eventually, user_line
from tests.claude.scenario import (
    FORBIDDEN_URL,
    PERMISSION_FLAGS,
    REPOSITORY,
    SPENT_USD,
    Overreach,
    Put,
    Scenario,
    Shell,
    Speak,
    Spend,
    Trouble,
)

if TYPE_CHECKING:
    from pathlib import Path

#: A command that tells its process id and then stays.
STAYS = Shell("echo $$ > pid.new && mv pid.new pid && exec sleep 300")


def is_alive(pid: int) -> bool:
    """Whether a process is there and not merely unburied."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def pid_of_command(agent: Scenario) -> int:
    """The process id of the command `STAYS`, once it runs."""
    file = agent.workplace.project / "pid"
    eventually(file.exists, "the tool's command runs")
    return int(file.read_text())


def test_a_prompt_in_a_closed_pipe_is_answered(agent: Scenario) -> None:
    """A prompt of 300 kB that was put into the pipe before the start is read whole, and the process ends by itself."""
    run = agent.ended(Speak("All done."), stdin=user_line("word " * 60_000))
    first, *_, last = agent.workplace.lines()
    assert (first["type"], first["subtype"], first["mcp_servers"]) == ("system", "init", [])
    assert {"Bash", "Write"} <= set(first["tools"])
    assert last["type"] == "result"
    assert (last["subtype"], last["is_error"], last["result"]) == ("success", False, "All done.")
    assert (last["num_turns"], last["permission_denials"], last["api_error_status"]) == (1, [], None)
    assert run.wait() == 0


def test_no_message_no_run(agent: Scenario) -> None:
    """A closed stdin without a message ends the process well and without a word."""
    run = agent.ended(Speak("Never said."), stdin=b"")
    assert (run.wait(), agent.workplace.stream.read_bytes()) == (0, b"")


def test_every_line_names_the_session(agent: Scenario) -> None:
    """The session is the one that was asked for, from the first line to the last."""
    session = str(uuid4())
    agent.ended(Shell("true"), Speak("Done."), flags=(*PERMISSION_FLAGS, "--session-id", session))
    assert {line["session_id"] for line in agent.workplace.lines()} == {session}


def test_a_command_runs_in_the_project(agent: Scenario) -> None:
    """A Bash call runs in the directory of the run, and its output comes back as the tool's result."""
    agent.ended(Shell("pwd -P | tee where"), Speak("Done."))
    assert (agent.workplace.project / "where").read_text().strip() == str(agent.workplace.project.resolve())
    [call] = [use for use in blocks(agent, "assistant") if use["type"] == "tool_use"]
    [answer] = blocks(agent, "user")
    assert call["name"] == "Bash"
    assert (answer["type"], answer["tool_use_id"]) == ("tool_result", call["id"])
    assert str(agent.workplace.project.resolve()) in str(answer["content"])
    assert agent.workplace.result()["num_turns"] == 2


def blocks(agent: Scenario, kind: str) -> list[dict[str, object]]:
    """The content blocks of the stream's lines of one kind."""
    return [b for line in agent.workplace.lines() if line["type"] == kind for b in line["message"]["content"]]


def test_a_file_is_written(agent: Scenario) -> None:
    """A Write call writes the file."""
    agent.ended(Put("notes/plan.md", "first\nsecond\n"), Speak("Done."))
    assert (agent.workplace.project / "notes/plan.md").read_text() == "first\nsecond\n"


def test_the_tokens_and_the_money_are_told(agent: Scenario) -> None:
    """The result holds what the run has used, in all and by model."""
    agent.ended(Spend(), Speak("Done."))
    result = agent.workplace.result()
    assert result["total_cost_usd"] == pytest.approx(SPENT_USD, rel=0.01)
    assert {"input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"} <= set(
        result["usage"]
    )
    [(_, usage)] = result["modelUsage"].items()
    assert usage["costUSD"] == pytest.approx(SPENT_USD, rel=0.01)


def test_the_stream_is_whole_when_the_parent_was_killed(agent: Scenario) -> None:
    """A run whose parent is killed goes on, writes its stream to the end and lets go of its lock."""
    gate = agent.workplace.project / "gate"
    os.mkfifo(gate)
    argv, environment = agent.order(
        [Shell("read line < gate && echo $line > passed"), Speak("Done.")], PERMISSION_FLAGS
    )
    order = {
        "root": str(agent.workplace.root),
        "argv": argv,
        "environment": environment,
        "stdin": user_line("Please.").decode(),
    }
    parent = subprocess.Popen(
        [sys.executable, running.__file__],
        stdin=subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)},
    )
    assert parent.stdin is not None
    with parent, parent.stdin:
        parent.stdin.write(json.dumps(order).encode())
        parent.stdin.close()
        door = open_when_read(gate)
        parent.kill()
    assert agent.workplace.is_locked()
    with os.fdopen(door, "w") as opened:
        opened.write("through\n")
    eventually(lambda: not agent.workplace.is_locked(), "the run ends")
    assert (agent.workplace.project / "passed").read_text() == "through\n"
    assert agent.workplace.result()["result"] == "Done."


def open_when_read(gate: Path) -> int:
    """A descriptor for writing into a named pipe, as soon as somebody reads from it."""
    opened: list[int] = []

    def is_open() -> bool:
        try:
            opened.append(os.open(gate, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:  # ENXIO: nobody reads yet
            return False
        return True

    eventually(is_open, "the tool's command reads from the gate")
    return opened[0]


def test_an_interrupt_ends_the_command_and_tells_the_result(agent: Scenario) -> None:
    """SIGINT ends the tool's command too and prints a result with what was spent; the exit code says nothing."""
    run = agent.play(STAYS, Speak("Never said."))
    command = pid_of_command(agent)
    run.send(signal.SIGINT)
    assert run.wait() in (0, 1)
    result = agent.workplace.result()
    assert (result["subtype"], result["is_error"]) == ("error_during_execution", True)
    assert result["total_cost_usd"] >= 0
    eventually(lambda: not is_alive(command), "the tool's command is gone")


def test_a_termination_leaves_the_command_behind(agent: Scenario) -> None:
    """SIGTERM ends the process with 143 and no result; the tool's command lives on, in a session of its own."""
    run = agent.play(STAYS, Speak("Never said."))
    command = pid_of_command(agent)
    assert os.getsid(command) != os.getsid(run.process.pid)
    run.send(signal.SIGTERM)
    assert run.wait() in (143, -signal.SIGTERM)
    assert [line for line in agent.workplace.lines() if line["type"] == "result"] == []
    assert is_alive(command)
    assert command in {process.pid for process in agent.family()}


def test_the_lock_is_held_until_the_end_and_not_by_the_command(agent: Scenario) -> None:
    """An inherited lock is held as long as the process lives, and not by a command that outlives it."""
    run = agent.play(STAYS, Speak("Never said."))
    command = pid_of_command(agent)
    assert agent.workplace.is_locked()
    run.send(signal.SIGKILL)
    run.wait()
    assert not agent.workplace.is_locked()
    assert is_alive(command)


def test_a_refused_request_is_a_success_in_error(agent: Scenario) -> None:
    """After a request that the API refuses (400) `subtype` is success: only `is_error` and the status say otherwise."""
    run = agent.ended(Trouble.BAD_REQUEST)
    result = agent.workplace.result()
    assert (result["subtype"], result["is_error"], result["api_error_status"]) == ("success", True, 400)
    assert run.wait() == 1


def test_a_rate_limit_ends_the_run_within_seconds(agent: Scenario) -> None:
    """With few retries allowed, a rate limit is told while it is retried and then ends the run, status 429."""
    run = agent.ended(Trouble.RATE_LIMIT)
    retries = [line for line in agent.workplace.lines() if line.get("subtype") == "api_retry"]
    assert [(retry["error_status"], retry["error"]) for retry in retries] == [(429, "rate_limit")]
    result = agent.workplace.result()
    assert (result["subtype"], result["is_error"], result["api_error_status"]) == ("success", True, 429)
    assert run.wait() == 1


def test_an_unreachable_api_has_no_status(agent: Scenario) -> None:
    """An API that cannot be reached is known by the text alone: the status is null."""
    run = agent.ended(Trouble.UNREACHABLE)
    result = agent.workplace.result()
    assert (result["is_error"], result["api_error_status"]) == (True, None)
    assert "Unable to connect to API" in result["result"]
    assert run.wait() == 1


def test_no_login_is_told_at_once(agent: Scenario) -> None:
    """Without a login the run ends at once, and the text says so."""
    run = agent.ended(Trouble.NO_LOGIN)
    result = agent.workplace.result()
    assert (result["subtype"], result["is_error"], result["api_error_status"]) == ("success", True, None)
    assert "Not logged in" in result["result"]
    assert run.wait() == 1


def test_the_budget_ends_the_run(agent: Scenario) -> None:
    """A run that has spent more than its ceiling ends with a subtype of its own."""
    run = agent.ended(
        Spend(), Shell("true"), Speak("Never said."), flags=(*PERMISSION_FLAGS, "--max-budget-usd", "0.5")
    )
    result = agent.workplace.result()
    assert (result["subtype"], result["is_error"]) == ("error_max_budget_usd", True)
    assert result["total_cost_usd"] == pytest.approx(SPENT_USD, rel=0.01)
    assert run.wait() == 1


def test_a_denied_tool_is_listed_and_the_run_goes_on(agent: Scenario) -> None:
    """A call of a tool that is not allowed is listed in the result of a run that is otherwise a success."""
    run = agent.ended(Overreach(), Speak("Done without."))
    result = agent.workplace.result()
    assert [denial["tool_name"] for denial in result["permission_denials"]] == ["WebFetch"]
    assert result["permission_denials"][0]["tool_input"]["url"] == FORBIDDEN_URL
    assert (result["is_error"], result["result"], run.wait()) == (False, "Done without.", 0)


def test_the_version_is_told(agent: Scenario) -> None:
    """`--version` prints a version and ends well, without a login or a prompt."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(agent.workplace.home), "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        agent.version(),
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    assert done.stdout.strip()[0].isdigit()
