from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import frontmatter
import psutil
import pytest

from agentpool.model.errors import AgentError, ConfigurationError
from agentpool.model.run import FailureKind, RunReport
from agentpool.runs import script as scripts
from agentpool.runs.agent import RunSpec
from agentpool.runs.script import Situation
from agentpool.runs.simulated import Simulated
from agentpool.runs.stream import StreamReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

REPOSITORY = Path(__file__).parents[2]
PATIENCE_SECONDS = 15.0
PROGRAM = (sys.executable, "-P", "-S", "-m", "agentpool.runs.simulation")
FLAGS = ("-p", "--input-format", "stream-json", "--output-format", "stream-json", "--verbose")

Line = dict[str, Any]


def eventually(condition: Callable[[], object]) -> None:
    """Returns as soon as the condition holds; fails when it does not in time."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def user_line(text: str) -> bytes:
    """A message as it comes on standard input."""
    return json.dumps({"type": "user", "message": {"role": "user", "content": text}}).encode() + b"\n"


class Rehearsal:
    """A directory in which simulated agents run, with a script and an outbox."""

    def __init__(self, root: Path) -> None:
        self.project = root / "project"
        self.outbox = root / "outbox"
        self.stream = root / "stream.jsonl"
        self.errors = root / "stderr.log"
        self.script = root / "script.toml"
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(REPOSITORY),
            "AGENTPOOL_RUN": "health.2",
            "AGENTPOOL_RUN_DIRECTORY": str(root),
            "AGENTPOOL_TASK": "health",
            "AGENTPOOL_NAME": "backend",
            "AGENTPOOL_ROLE": "expert",
            "AGENTPOOL_OUTBOX": str(self.outbox),
            "AGENTPOOL_ATTEMPT": "1",
        }
        self.project.mkdir()
        self.outbox.mkdir()
        self.processes: list[subprocess.Popen[bytes]] = []

    def steps(self, *steps: str) -> None:
        """Writes a script with one play."""
        self.script.write_text("[[play]]\nsteps = [\n" + "".join(f"    {{ {step} }},\n" for step in steps) + "]\n")

    def start(self, *flags: str, argv: Sequence[str] | None = None) -> subprocess.Popen[bytes]:
        """Starts the agent; its standard input stays open."""
        script = ("--script", str(self.script)) if self.script.exists() else ()
        with self.stream.open("ab") as stream, self.errors.open("ab") as errors:
            process = subprocess.Popen(
                argv or (*PROGRAM, *FLAGS, *script, *flags),
                stdin=subprocess.PIPE,
                stdout=stream,
                stderr=errors,
                cwd=self.project,
                env=self.environment,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def begin(self, *flags: str) -> subprocess.Popen[bytes]:
        """Starts the agent with one message and closes its standard input."""
        process = self.start(*flags)
        assert process.stdin is not None
        process.stdin.write(user_line("Add a health route.\nSoon."))
        process.stdin.close()
        return process

    def play(self, *flags: str) -> int:
        """Runs the agent with one message to its end; returns the exit code."""
        return self.begin(*flags).wait(PATIENCE_SECONDS)

    def lines(self, kind: str | None = None) -> list[Line]:
        """The whole lines of the stream so far, or those of one type."""
        data = self.stream.read_bytes().splitlines(keepends=True)
        lines = [json.loads(line) for line in data if line.endswith(b"\n")]
        return [line for line in lines if kind in (None, line["type"])]

    def result(self) -> Line:
        """The one result line."""
        [result] = self.lines("result")
        return result

    def tool_results(self) -> list[Line]:
        """The answers to tool calls."""
        blocks = [block for line in self.lines("user") for block in line["message"]["content"]]
        return [block for block in blocks if block["type"] == "tool_result"]

    def shown(self, word: str) -> bool:
        """Whether the stream holds the word by now."""
        return word in self.stream.read_text()

    def family(self) -> list[psutil.Process]:
        """What lives of all that was started here."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        marker = self.environment["AGENTPOOL_RUN_DIRECTORY"]
        try:
            here = process.environ().get("AGENTPOOL_RUN_DIRECTORY") == marker
            return here and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def close(self) -> None:
        """Leaves nothing behind."""
        for process in self.processes:
            process.kill()
            process.wait()
            assert process.stdin is not None
            process.stdin.close()
        for member in self.family():
            member.kill()


@pytest.fixture
def rehearsal(tmp_path: Path) -> Iterator[Rehearsal]:
    """An empty directory for one simulated agent."""
    rehearsal = Rehearsal(tmp_path)
    yield rehearsal
    rehearsal.close()


def is_alive(pid: int) -> bool:
    """Whether the process is there and not merely unburied."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


# What it does


def test_without_a_script_it_quotes_its_mail(rehearsal: Rehearsal) -> None:
    """Without a script it answers with one polite line that quotes the message's first line, for nothing."""
    assert rehearsal.play() == 0
    result = rehearsal.result()
    assert result["result"].endswith("it begins: Add a health route.")
    assert (result["subtype"], result["is_error"], result["total_cost_usd"]) == ("success", False, 0)
    assert [line["type"] for line in rehearsal.lines()] == ["system", "assistant", "result"]


def test_in_a_pool_it_quotes_the_mail_itself(rehearsal: Rehearsal, tmp_path: Path) -> None:
    """In a pool it quotes the body of the task's mail and not what the prompt holds besides."""
    mail = tmp_path / "pool" / "mail" / "health.md"
    mail.parent.mkdir(parents=True)
    mail.write_text("---\nid: health\n---\n\nIs it up?\n")
    rehearsal.environment["AGENTPOOL_POOL"] = str(tmp_path / "pool")
    rehearsal.play()
    assert rehearsal.result()["result"].endswith("it begins: Is it up?")


def test_the_first_line_says_what_it_is(rehearsal: Rehearsal) -> None:
    """The init line holds the session, the model, the tools and the servers, as they were asked for."""
    rehearsal.script.write_text('[[play]]\nmcp_failed = ["pool"]\nsteps = []\n')
    session = "0f6b1e0a-5a0c-4d56-9a6e-1f0b7c2d3e4f"
    rehearsal.play("--session-id", session, "--model=opus", "--permission-mode", "dontAsk", "--allowedTools", "A", "B")
    first = rehearsal.lines()[0]
    assert (first["type"], first["subtype"], first["model"]) == ("system", "init", "opus")
    assert (first["permissionMode"], first["cwd"]) == ("dontAsk", str(rehearsal.project))
    assert first["mcp_servers"] == [{"name": "pool", "status": "failed"}]
    assert "Bash" in first["tools"]
    assert {line["session_id"] for line in rehearsal.lines()} == {session}


def test_it_writes_and_appends(rehearsal: Rehearsal) -> None:
    """`write` and `append` change files below the working directory, each by a tool call that is answered."""
    rehearsal.steps('write = { path = "a/b.txt", text = "one\\n" }', 'append = { path = "a/b.txt", text = "two\\n" }')
    rehearsal.play()
    assert (rehearsal.project / "a/b.txt").read_text() == "one\ntwo\n"
    assert [answer["is_error"] for answer in rehearsal.tool_results()] == [False, False]
    assert (rehearsal.result()["num_turns"], rehearsal.result()["result"]) == (3, "Done.")


def test_a_write_that_fails_is_told_to_the_agent(rehearsal: Rehearsal) -> None:
    """A file that cannot be written is an error of the tool call, and the turn goes on."""
    (rehearsal.project / "a").write_text("a file, no directory")
    rehearsal.steps('write = { path = "a/b.txt", text = "" }', 'say = "Well."')
    assert rehearsal.play() == 0
    assert rehearsal.tool_results()[0]["is_error"] is True
    assert rehearsal.result()["result"] == "Well."


def test_it_runs_commands(rehearsal: Rehearsal) -> None:
    """`run` shows what the command printed, and its exit code where it failed."""
    rehearsal.steps(
        'run = ["sh", "-c", "echo out; echo err >&2; exit 3"]', 'run = ["true"]', 'run = ["no-such-command"]'
    )
    rehearsal.play()
    failed, silent, missing = rehearsal.tool_results()
    assert (failed["content"], failed["is_error"]) == ("Exit code 3\nout\nerr", True)
    assert (silent["content"], silent["is_error"]) == ("(Bash completed with no output)", False)
    assert missing["content"].startswith("Exit code 127")


def test_a_command_is_over_when_it_ends(rehearsal: Rehearsal) -> None:
    """A process that a command left behind holds its pipe open and nobody waits for it; long output is cut."""
    rehearsal.steps('run = ["sh", "-c", "sleep 60 & head -c 200000 /dev/zero | tr \'\\\\0\' x"]')
    assert rehearsal.play() == 0
    assert 0 < len(rehearsal.tool_results()[0]["content"]) <= 30_000
    assert rehearsal.family()


def test_it_sends_mail(rehearsal: Rehearsal) -> None:
    """`send` and `respond` leave whole files with a header in the outbox, and nothing else."""
    rehearsal.steps(
        'send = { name = "$task-tests.md", id = "$task-tests", to = "qa", type = "task", '
        'depends-on = ["$task-a", "no"], priority = "no", body = "Test: it" }',
        'respond = { status = "blocked", body = "Not yet." }',
    )
    rehearsal.play()
    assert sorted(path.name for path in rehearsal.outbox.iterdir()) == ["health-tests.md", "response.md"]
    task = frontmatter.load(str(rehearsal.outbox / "health-tests.md"))
    assert task.metadata == {
        "id": "health-tests",
        "to": "qa",
        "type": "task",
        "depends-on": ["health-a", "no"],
        "priority": "no",
    }
    assert task.content == "Test: it"
    response = frontmatter.load(str(rehearsal.outbox / "response.md"))
    assert (response.metadata, response.content) == ({"type": "response", "status": "blocked"}, "Not yet.")


def test_it_says_that_it_failed(rehearsal: Rehearsal) -> None:
    """`fail` answers with status failed and ends the turn; the run itself is a good one."""
    rehearsal.steps('fail = "I cannot."', 'say = "never"')
    assert rehearsal.play() == 0
    assert frontmatter.load(str(rehearsal.outbox / "response.md"))["status"] == "failed"
    assert (rehearsal.result()["result"], rehearsal.result()["is_error"]) == ("I cannot.", False)


def test_mail_needs_an_outbox(rehearsal: Rehearsal) -> None:
    """Outside a pool a step that sends mail ends the process, with a reason and no result."""
    del rehearsal.environment["AGENTPOOL_OUTBOX"]
    rehearsal.steps('respond = { body = "x" }')
    assert rehearsal.play() == 1
    assert "AGENTPOOL_OUTBOX is not set" in rehearsal.errors.read_text()
    assert rehearsal.lines("result") == []


def test_only_its_own_environment_is_filled_in(rehearsal: Rehearsal) -> None:
    """`$task`, `$name` and `$run` are filled in and nothing else, neither a variable nor what mail brings."""
    rehearsal.steps('say = "$task $name $run $HOME $5"')
    rehearsal.play()
    assert rehearsal.result()["result"] == "health backend health.2 $HOME $5"


def test_a_denied_tool_is_listed(rehearsal: Rehearsal) -> None:
    """`deny` is listed in the result of a run that then succeeds."""
    rehearsal.steps('deny = { tool = "Bash", input = { command = "git push" } }', 'say = "Then not."')
    assert rehearsal.play() == 0
    [denial] = rehearsal.result()["permission_denials"]
    assert (denial["tool_name"], denial["tool_input"]) == ("Bash", {"command": "git push"})
    assert rehearsal.tool_results()[0]["tool_use_id"] == denial["tool_use_id"]


def test_it_waits_for_a_path(rehearsal: Rehearsal) -> None:
    """`wait_for` holds the agent until the path exists."""
    rehearsal.steps('say = "ready"', 'wait_for = "$task.go"', 'pause = "1ms"', 'say = "gone"')
    process = rehearsal.begin()
    eventually(lambda: rehearsal.shown("ready"))
    assert not rehearsal.shown("gone")
    (rehearsal.project / "health.go").touch()
    assert process.wait(PATIENCE_SECONDS) == 0
    assert rehearsal.result()["result"] == "gone"


def test_the_budget_holds(rehearsal: Rehearsal) -> None:
    """Costs add up; at the ceiling the run ends with `error_max_budget_usd` and does nothing more."""
    rehearsal.steps("cost = 0.2", 'say = "half"', "cost = 0.3", 'write = { path = "never", text = "" }')
    assert rehearsal.play("--max-budget-usd", "0.5") == 1
    result = rehearsal.result()
    assert (result["subtype"], result["is_error"], result["total_cost_usd"]) == ("error_max_budget_usd", True, 0.5)
    assert not (rehearsal.project / "never").exists()


# Which play


PLAYS = """
[[play]]
run = 3
steps = [{ say = "third run" }]

[[play]]
attempt = 2
steps = [{ say = "second attempt" }]

[[play]]
mail = "(?i)^urgent"
steps = [{ say = "urgent" }]

[[play]]
name = "db"
steps = [{ say = "db" }]

[[play]]
task = "heal*"
role = "expert"
steps = [{ say = "health" }]

[[play]]
turn = 2
steps = [{ say = "second message" }]
"""


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, "health"),
        ({"name": "db"}, "db"),
        ({"message": "Hello\nURGENT: up?"}, "urgent"),
        ({"attempt": 2}, "second attempt"),
        ({"attempt": 2, "run": 3}, "third run"),
        ({"attempt": None, "run": None}, "health"),
        ({"turn": 2}, "second message"),
        ({"turn": 3}, None),
        ({"task": "other"}, None),
        ({"role": "architect"}, None),
    ],
)
def test_the_first_play_that_matches_is_played(tmp_path: Path, change: dict[str, Any], expected: str | None) -> None:
    """Every matcher must hold, and the first play of the file wins."""
    path = tmp_path / "script.toml"
    path.write_text(PLAYS)
    situation = Situation("backend", "expert", "health", 1, 1, 1, "Hello")._replace(**change)
    play = scripts.load(path).play_for(situation)
    assert (play and play.steps) == (expected and ((expected,),))


def test_the_environment_says_which_run_it_is(rehearsal: Rehearsal) -> None:
    """Mailbox, role, task, run and attempt are what the supervisor put into the environment."""
    rehearsal.script.write_text(
        '[[play]]\nname = "backend"\nrole = "expert"\ntask = "health"\nrun = 2\nattempt = 1\nmail = "Soon"\n'
        'steps = [{ say = "found" }]\n'
    )
    rehearsal.play()
    assert rehearsal.result()["result"] == "found"


# Several messages


def test_each_message_is_a_turn(rehearsal: Rehearsal) -> None:
    """A message after the first result gives a second one; the process ends when its input is closed."""
    rehearsal.script.write_text("[[play]]\nsteps = [{ cost = 0.1 }]\n[[play]]\nturn = 2\nsteps = [{ cost = 0.2 }]\n")
    process = rehearsal.start()
    assert process.stdin is not None
    process.stdin.write(user_line("Go."))
    process.stdin.flush()
    eventually(lambda: len(rehearsal.lines("result")) == 1)
    process.stdin.write(user_line("Go."))
    process.stdin.flush()
    eventually(lambda: len(rehearsal.lines("result")) == 2)
    assert process.poll() is None
    process.stdin.close()
    assert process.wait(PATIENCE_SECONDS) == 0
    assert [line["total_cost_usd"] for line in rehearsal.lines("result")] == pytest.approx([0.1, 0.3])
    assert len(rehearsal.lines("system")) == 2


def test_a_message_during_the_work_belongs_to_the_turn(rehearsal: Rehearsal) -> None:
    """What is written while the agent uses tools gives no second result."""
    rehearsal.steps('run = ["true"]')
    process = rehearsal.start()
    process.communicate(user_line("Go.") + user_line("And this.") + b"\n", timeout=PATIENCE_SECONDS)
    assert len(rehearsal.lines("result")) == 1


@pytest.mark.parametrize("stdin", [b"", b"\n\n", b'{"type":"control_request"}\n'])
def test_without_a_message_it_is_silent(rehearsal: Rehearsal, stdin: bytes) -> None:
    """Input that holds no user message ends it well, with no output at all."""
    process = rehearsal.start()
    process.communicate(stdin, timeout=PATIENCE_SECONDS)
    assert (process.returncode, rehearsal.stream.read_bytes()) == (0, b"")


def test_a_file_as_standard_input_is_not_read(rehearsal: Rehearsal, tmp_path: Path) -> None:
    """A regular file as standard input is as good as none, as with the real command."""
    (tmp_path / "stdin").write_bytes(user_line("Hello"))
    with (tmp_path / "stdin").open("rb") as file:
        done = subprocess.run(
            [*PROGRAM, *FLAGS], stdin=file, env=rehearsal.environment, capture_output=True, check=True
        )
    assert done.stdout == b""


def test_blocks_of_text_are_a_message(rehearsal: Rehearsal) -> None:
    """A message may be a list of blocks, need not end its line, and may hold half a character."""
    line = '{"type":"user","message":{"role":"user","content":[{"type":"text","text":"Half \\ud83d"}]}}'
    process = rehearsal.start()
    process.communicate(line.encode(), timeout=PATIENCE_SECONDS)
    assert rehearsal.result()["result"].endswith("it begins: Half ?")


def test_input_that_is_no_json_ends_it(rehearsal: Rehearsal) -> None:
    """A line that is no JSON ends the process with a reason."""
    process = rehearsal.start()
    process.communicate(b"hello\n", timeout=PATIENCE_SECONDS)
    assert process.returncode == 1
    assert "Error parsing streaming input line: hello" in rehearsal.errors.read_text()


# Signals and processes


def test_sigint_ends_the_command_and_the_turn(rehearsal: Rehearsal) -> None:
    """SIGINT during a command ends that command, prints a result with the cost so far, and exits with 1."""
    rehearsal.steps("cost = 0.1", 'run = ["sh", "-c", "echo $$ > pid.new; mv pid.new pid; exec sleep 60"]')
    process = rehearsal.begin()
    eventually((rehearsal.project / "pid").exists)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_SECONDS) == 1
    result = rehearsal.result()
    assert (result["subtype"], result["is_error"], result["total_cost_usd"]) == ("error_during_execution", True, 0.1)
    assert rehearsal.tool_results()[0]["is_error"] is True
    assert not is_alive(int((rehearsal.project / "pid").read_text()))


@pytest.mark.parametrize(("said", "results"), [((), 0), (('say = "Hm."',), 1)])
def test_sigint_while_it_thinks(rehearsal: Rehearsal, said: tuple[str, ...], results: int) -> None:
    """SIGINT while no command runs exits with 0, and with a result only where something had been said."""
    rehearsal.steps(*said, 'stderr = "thinking"', "hang = true")
    process = rehearsal.begin()
    eventually(lambda: "thinking" in rehearsal.errors.read_text())
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_SECONDS) == 0
    assert [line["subtype"] for line in rehearsal.lines("result")] == ["error_during_execution"] * results


def test_sigint_between_two_turns(rehearsal: Rehearsal) -> None:
    """SIGINT after a result, while more input may come, ends the process well."""
    process = rehearsal.start()
    assert process.stdin is not None
    process.stdin.write(user_line("Hello"))
    process.stdin.flush()
    eventually(lambda: rehearsal.lines("result"))
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_SECONDS) == 0
    assert len(rehearsal.lines("result")) == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_sigterm_leaves_commands_alive(rehearsal: Rehearsal, number: signal.Signals, code: int) -> None:
    """SIGTERM to the process group ends the agent without a result; its command lives on in a session of its own."""
    rehearsal.steps('run = ["sh", "-c", "echo $$ > pid.new; mv pid.new pid; exec sleep 60"]')
    process = rehearsal.begin()
    eventually((rehearsal.project / "pid").exists)
    os.killpg(process.pid, number)
    assert process.wait(PATIENCE_SECONDS) == code
    pid = int((rehearsal.project / "pid").read_text())
    assert is_alive(pid)
    assert os.getsid(pid) == pid
    assert rehearsal.lines("result") == []


def test_it_can_be_deaf(rehearsal: Rehearsal) -> None:
    """`ignore` makes signals do nothing; a command that it runs then still hears them."""
    rehearsal.steps(
        'ignore = ["SIGINT", "SIGTERM"]', 'run = ["sh", "-c", "kill -TERM $$"]', 'say = "ready"', 'wait_for = "go"'
    )
    process = rehearsal.begin()
    eventually(lambda: rehearsal.shown("ready"))
    assert "Exit code -15" in rehearsal.tool_results()[0]["content"]
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    (rehearsal.project / "go").touch()
    assert process.wait(PATIENCE_SECONDS) == 0
    assert rehearsal.result()["subtype"] == "success"


@pytest.mark.parametrize("own_session", [True, False])
def test_it_leaves_a_process_behind(rehearsal: Rehearsal, own_session: bool) -> None:  # noqa: FBT001
    """`background` leaves a process that outlives the run, carries its environment, and ignores what it was told to."""
    own = str(own_session).lower()
    rehearsal.steps(f'background = {{ lives = "1m", ignore = ["SIGTERM", "SIGINT"], own_session = {own} }}')
    process = rehearsal.begin()
    assert process.wait(PATIENCE_SECONDS) == 0
    pid = int(rehearsal.tool_results()[0]["content"])
    assert [member.pid for member in rehearsal.family()] == [pid]
    assert os.getsid(pid) == (pid if own_session else process.pid)
    os.kill(pid, signal.SIGTERM)
    assert is_alive(pid)


def test_a_lock_is_held_by_the_agent_alone(rehearsal: Rehearsal, tmp_path: Path) -> None:
    """An inherited descriptor is not passed on to commands and background processes."""
    reading, writing = os.pipe()
    rehearsal.steps('background = { lives = "1m" }', 'run = ["true"]')
    process = subprocess.Popen(
        [*PROGRAM, *FLAGS, "--script", str(rehearsal.script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env=rehearsal.environment,
        cwd=tmp_path,
        pass_fds=[writing],
    )
    os.close(writing)
    with process, os.fdopen(reading, "rb") as pipe:
        process.communicate(user_line("Go."), timeout=PATIENCE_SECONDS)
        assert rehearsal.family()
        assert pipe.read() == b""


# What goes wrong


@pytest.mark.parametrize(
    ("step", "code"), [("crash = true", -signal.SIGKILL), ("crash = 3", 3), ("torn = true", 1), ("results = 0", 0)]
)
def test_it_ends_without_a_result(rehearsal: Rehearsal, step: str, code: int) -> None:
    """A crash, a torn line and a missing result are ends without a result line."""
    rehearsal.steps('say = "So far."', step)
    assert rehearsal.play() == code
    assert rehearsal.lines("result") == []
    assert rehearsal.stream.read_bytes().endswith(b"\n") == (step != "torn = true")


def test_it_can_print_two_results(rehearsal: Rehearsal) -> None:
    """`results` says how many result lines there are, and `exit` with which code the process ends."""
    rehearsal.steps("results = 2", "exit = 7", 'raw = "no JSON"')
    assert rehearsal.play() == 7
    assert rehearsal.stream.read_text().count('"type":"result"') == 2
    assert "\nno JSON\n" in rehearsal.stream.read_text()


def test_it_can_stay(rehearsal: Rehearsal) -> None:
    """`linger` prints the result and keeps the process, until a signal ends it."""
    rehearsal.steps("linger = true", 'say = "Done here."')
    process = rehearsal.begin()
    eventually(lambda: rehearsal.lines("result"))
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_SECONDS) == 0


def test_a_usage_limit_says_when_it_ends(rehearsal: Rehearsal) -> None:
    """A limit with a reset is told by a `rate_limit_event` in seconds since the epoch, and by status 429."""
    rehearsal.steps('limit = { reset_in = "10m", window = "weekly" }')
    assert rehearsal.play() == 1
    [event] = rehearsal.lines("rate_limit_event")
    info = event["rate_limit_info"]
    assert (info["status"], info["rateLimitType"]) == ("rejected", "seven_day")
    assert 540 < info["resetsAt"] - time.time() <= 601
    result = rehearsal.result()
    assert (result["subtype"], result["is_error"], result["api_error_status"]) == ("success", True, 429)
    assert result["result"].startswith("You've hit your weekly limit · resets ")


@pytest.mark.parametrize(
    ("step", "retry", "status", "text"),
    [
        ("limit = true", (429, "rate_limit"), 429, "API Error: Request rejected (429)"),
        ("overloaded = true", (529, "overloaded"), 529, "API Error: 529"),
        ("unreachable = true", (None, "unknown"), None, "API Error: Unable to connect to API (ConnectionRefused)"),
        ('auth = "key"', (401, "authentication_failed"), 401, "Failed to authenticate. API Error: 401"),
        ('auth = "login"', None, None, "Not logged in · Please run /login"),
        ('error = { status = 400, text = "prompt is too long" }', None, 400, "API Error: 400 prompt is too long"),
    ],
)
def test_the_api_refuses(
    rehearsal: Rehearsal, step: str, retry: tuple[int | None, str] | None, status: int | None, text: str
) -> None:
    """An error of the API is told by retry lines, then by a result that is an error under the name of a success."""
    rehearsal.steps(step, 'say = "never"')
    assert rehearsal.play() == 1
    retries = [line for line in rehearsal.lines("system") if line["subtype"] == "api_retry"]
    assert [(line["error_status"], line["error"]) for line in retries] == ([retry] if retry else [])
    result = rehearsal.result()
    assert (result["subtype"], result["is_error"], result["api_error_status"]) == ("success", True, status)
    assert result["result"].startswith(text)


def test_an_overloaded_api_can_recover(rehearsal: Rehearsal) -> None:
    """With `recovers` the turn goes on after its retries."""
    rehearsal.steps('overloaded = { retries = 3, delay = "1ms", recovers = true }', 'say = "At last."')
    assert rehearsal.play() == 0
    attempts = [(line["attempt"], line["max_retries"]) for line in rehearsal.lines("system")[1:]]
    assert attempts == [(1, 3), (2, 3), (3, 3)]
    assert rehearsal.result()["result"] == "At last."


# Scripts and command lines that are wrong


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("plays = 1", "has an unknown key plays; did you mean play?"),
        ("play = 1", "play must be a list"),
        ("[[play]]", "play[1] lacks the key steps"),
        ("[[play]]\nstep = []\nsteps = []", "play[1] has an unknown key step; did you mean steps?"),
        ("[[play]]\nsteps = [{ sya = '' }]", "play[1].steps[1] has an unknown key sya; did you mean say?"),
        ("[[play]]\nsteps = [{}]", "play[1].steps[1] must have one key, the step, not 0"),
        ("[[play]]\nsteps = [{ say = 'a', fail = 'b' }]", "must have one key, the step, not 2"),
        ("[[play]]\nsteps = [{ say = 3 }]", "play[1].steps[1].say must be a text, not 3"),
        ("[[play]]\nsteps = [{ write = { path = 'a' } }]", "play[1].steps[1].write lacks the key text"),
        ("[[play]]\nsteps = [{ pause = '3' }]", "play[1].steps[1].pause is wrong"),
        ("[[play]]\nsteps = [{ run = [] }]", "play[1].steps[1].run must name a command"),
        ("[[play]]\nsteps = [{ hang = false }]", "play[1].steps[1].hang must be true"),
        ("[[play]]\nsteps = [{ cost = -1 }]", "play[1].steps[1].cost must be a number of US dollars"),
        ("[[play]]\nsteps = [{ limit = {} }]", "play[1].steps[1].limit lacks the key reset_in"),
        ("[[play]]\nsteps = [{ limit = { window = 'weekly' } }]", "play[1].steps[1].limit lacks the key reset_in"),
        ("[[play]]\nsteps = [{ ignore = ['SIGKILL'] }]", "ignore[1] must be one of SIGINT, SIGTERM, SIGHUP"),
        ("[[play]]\nsteps = [{ send = { name = '../x.md', body = '' } }]", "send.name must be a plain file name"),
        ("[[play]]\nsteps = [{ send = { name = '.x.md', body = '' } }]", "send.name must be a plain file name"),
        ("[[play]]\nsteps = [{ send = { name = 'x.md', body = '', 'a b' = 1 } }]", "is no key of a mail's header"),
        ("[[play]]\nmail = '('\nsteps = []", "play[1].mail is no regular expression"),
        ("[[play]]\nrun = 0\nsteps = []", "play[1].run must be a whole number from 1"),
        ("[[play", "not a TOML file"),
    ],
)
def test_a_wrong_script_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """A mistake in a script is told with the file, the key and what is allowed."""
    path = tmp_path / "script.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        scripts.load(path)
    assert str(path) in caught.value.message
    assert message in caught.value.message
    assert caught.value.tip


def test_a_wrong_script_ends_the_process(rehearsal: Rehearsal) -> None:
    """The process says what is wrong with its script and prints no line."""
    rehearsal.script.write_text("plays = 1")
    assert rehearsal.play() == 1
    assert "did you mean play?" in rehearsal.errors.read_text()
    assert rehearsal.stream.read_bytes() == b""


def test_the_reference_names_every_step() -> None:
    """Each step stands in the reference at the top of the module, and the example there is a script."""
    reference = scripts.__doc__
    assert reference is not None
    assert [step for step in scripts._STEPS if f"\n    {step} = " not in reference] == []


def test_the_example_in_the_reference_can_be_played(tmp_path: Path) -> None:
    """The example at the top of the module is a script without a mistake."""
    reference = scripts.__doc__
    assert reference is not None
    example = reference[reference.index("    [[play]]") : reference.index("A play without matchers")]
    (tmp_path / "script.toml").write_text(example)
    [play] = scripts.load(tmp_path / "script.toml").plays
    assert len(play.steps) == 4


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--nonsense",), "unknown option '--nonsense'"),
        ((*FLAGS, "--model"), "argument missing"),
        ((*FLAGS, "--session-id", "me"), "Invalid session ID"),
        ((*FLAGS, "--max-budget-usd", "0"), "not a positive number"),
        ((*FLAGS, "--script", "nowhere.toml"), "cannot be read"),
        (FLAGS[:-1], "requires --verbose"),
        (("-p", "--verbose"), "needs --input-format stream-json"),
    ],
)
def test_a_wrong_command_line_is_refused(rehearsal: Rehearsal, flags: tuple[str, ...], message: str) -> None:
    """A wrong command line ends the process at once with exit code 1 and a reason."""
    process = rehearsal.start(argv=(*PROGRAM, *flags))
    assert process.wait(PATIENCE_SECONDS) == 1
    assert message in rehearsal.errors.read_text()


def test_it_says_its_version(rehearsal: Rehearsal) -> None:
    """`--version` prints one line that says that this is the simulated agent."""
    assert rehearsal.start(argv=(*PROGRAM, "--version")).wait(PATIENCE_SECONDS) == 0
    assert "-simulated (" in rehearsal.stream.read_text()


# The adapter


def spec(rehearsal: Rehearsal, **environment: str) -> RunSpec:
    """A run in the rehearsal's directories."""
    return RunSpec(
        run_id="health.1",
        task_id="health",
        name="backend",
        role="expert",
        pool=rehearsal.project / ".agent-pool",
        project=rehearsal.project,
        directory=rehearsal.outbox.parent,
        identity="You are the backend.",
        message="Grüße, and a\nhealth route.",
        model="sonnet",
        max_usd=1.5,
        allowed_tools=("Read",),
        permission_mode="dontAsk",
        deny=(),
        environment=environment,
    )


def test_its_command_runs_in_a_bare_environment(rehearsal: Rehearsal) -> None:
    """The command runs with nothing but its own environment, also where the project has modules of the same names."""
    for name in ("json.py", "agentpool.py", "signal.py"):
        (rehearsal.project / name).write_text("raise SystemExit(99)\n")
    command = Simulated(None).command(spec(rehearsal, AGENTPOOL_RUN="health.1"))
    done = subprocess.run(
        command.argv,
        input=command.stdin,
        env=dict(command.environment),
        cwd=command.directory,
        capture_output=True,
        check=True,
    )
    first, *_, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert command.environment["AGENTPOOL_RUN"] == "health.1"
    assert (first["model"], first["permissionMode"]) == ("sonnet", "dontAsk")
    assert last["result"].endswith("it begins: Grüße, and a")


def test_its_command_keeps_what_python_was_told(rehearsal: Rehearsal) -> None:
    """A PYTHONPATH of the run stays, behind the package's own."""
    command = Simulated(None).command(spec(rehearsal, PYTHONPATH="/elsewhere"))
    assert command.environment["PYTHONPATH"] == f"{REPOSITORY}{os.pathsep}/elsewhere"


def test_its_command_names_script_and_ceiling(rehearsal: Rehearsal, monkeypatch: pytest.MonkeyPatch) -> None:
    """The script is named by its absolute path, as the run works in another directory, and the ceiling is passed on."""
    rehearsal.steps('say = "x"')
    monkeypatch.chdir(rehearsal.script.parent)
    argv = Simulated(Path("script.toml")).command(spec(rehearsal)).argv
    assert argv[argv.index("--script") + 1] == str(rehearsal.script)
    assert argv[argv.index("--max-budget-usd") + 1] == "1.5"


@pytest.mark.parametrize("text", [None, "plays = 1"])
def test_a_wrong_script_stops_no_run(rehearsal: Rehearsal, text: str | None) -> None:
    """A script that is missing or wrong is an AgentError before a run starts."""
    if text is not None:
        rehearsal.script.write_text(text)
    with pytest.raises(AgentError, match=r"script\.toml"):
        Simulated(rehearsal.script).command(spec(rehearsal))


@pytest.mark.parametrize(
    ("step", "failure"),
    [
        ('say = "Done."', None),
        ("results = 2", None),
        ('limit = { reset_in = "10m" }', FailureKind.LIMIT),
        ("limit = true", FailureKind.LIMIT),
        ("overloaded = true", FailureKind.TRANSIENT),
        ("unreachable = true", FailureKind.TRANSIENT),
        ('auth = "key"', FailureKind.AUTH),
        ('auth = "login"', FailureKind.AUTH),
        ("cost = 9", FailureKind.BUDGET),
        ('error = { status = 400, text = "prompt is too long" }', FailureKind.AGENT),
        ("results = 0", FailureKind.AGENT),
    ],
)
def test_its_end_is_judged_as_the_real_one(rehearsal: Rehearsal, step: str, failure: FailureKind | None) -> None:
    """What a step simulates is what the supervisor makes of it."""
    rehearsal.steps(step)
    code = rehearsal.play("--max-budget-usd", "2")
    reader = StreamReader(rehearsal.stream)
    reader.read_new()
    summary = reader.finish()
    reader.close()
    report = RunReport(failure=None, text="", exit_code=code, has_result=summary.result is not None)
    assert Simulated(None).judge(summary, report).failure is failure
