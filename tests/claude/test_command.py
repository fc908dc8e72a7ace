"""What a pool leans on that only the real command can show: its flags, variables and settings."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from tests.claude.messages_api import Say, Use
from tests.claude.running import Workplace, user_line
from tests.claude.scenario import PERMISSION_FLAGS, ClaudeScenario

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.claude


def init(claude: ClaudeScenario) -> dict[str, object]:
    """The stream's first `init` line."""
    return next(line for line in claude.workplace.lines() if line.get("subtype") == "init")


def test_the_prompt_arrives_whole(claude: ClaudeScenario) -> None:
    """A message of 300 kB reaches the model to its last word."""
    [request] = claude.talk([Say("Read.")], stdin=user_line("word " * 60_000 + "last"))
    assert request.prompt.endswith("word last")
    assert request.prompt.count("word ") == 60_000


def test_the_identity_is_the_end_of_the_system_prompt(claude: ClaudeScenario) -> None:
    """With the dynamic sections moved out, the system prompt ends with the identity, the same for every mail."""
    identity = claude.workplace.root / "identity.md"
    identity.write_text("You are the expert for login.\n")
    flags = ("--append-system-prompt-file", str(identity), "--exclude-dynamic-system-prompt-sections")
    [first] = claude.talk([Say("Done.")], *flags, stdin=user_line("The first mail."))
    [second] = claude.talk([Say("Done.")], *flags, stdin=user_line("The second mail."))
    assert first.system.endswith("You are the expert for login.\n")
    assert str(claude.workplace.project) not in first.system
    assert str(claude.workplace.project) in first.prompt
    assert first.prompt.endswith("The first mail.")
    assert first.body["system"][1:] == second.body["system"][1:]  # the first block is the command's own mark
    assert first.body["tools"] == second.body["tools"]


@pytest.fixture
def settled_project(claude: ClaudeScenario) -> Path:
    """A project that brings a memory, settings with a hook and a variable, an agent, and an MCP server."""
    project = claude.workplace.project
    (project / ".claude" / "agents").mkdir(parents=True)
    (project / "CLAUDE.md").write_text("The project's memory.")
    hook = {"hooks": [{"type": "command", "command": f"touch '{project}/hook-ran'"}]}
    settings = {"env": {"FROM_THE_PROJECT": "1"}, "hooks": {"SessionStart": [hook]}}
    (project / ".claude" / "settings.json").write_text(json.dumps(settings))
    (project / ".claude" / "agents" / "a.md").write_text("---\nname: theirs\ndescription: Theirs.\n---\nWork.")
    server = {"mcpServers": {"theirs": {"type": "http", "url": "http://127.0.0.1:9/mcp"}}}
    (project / ".mcp.json").write_text(json.dumps(server))
    (claude.workplace.home / ".claude").mkdir()
    (claude.workplace.home / ".claude" / "CLAUDE.md").write_text("The user's memory.")
    return project


def test_user_settings_keep_the_project_out(claude: ClaudeScenario, settled_project: Path) -> None:
    """`--setting-sources user`: no hook, variable, agent, server nor CLAUDE.md of the project; the user's own stays."""
    request, _ = claude.talk(
        [Use("Bash", {"command": "env > env"}), Say("Done.")],
        *(*PERMISSION_FLAGS, "--setting-sources", "user", "--strict-mcp-config"),
    )
    everything = json.dumps(request.body)
    assert "The project's memory." not in everything
    assert "The user's memory." in everything
    assert "theirs" not in str(init(claude)["agents"])
    assert init(claude)["mcp_servers"] == []
    assert not (settled_project / "hook-ran").exists()
    assert "FROM_THE_PROJECT" not in (settled_project / "env").read_text()


def test_project_settings_bring_everything(claude: ClaudeScenario, settled_project: Path) -> None:
    """With the project's settings come its memory and its hooks, and then `init` isn't the first line any more."""
    [request] = claude.talk([Say("Done.")], "--setting-sources", "user,project", "--strict-mcp-config")
    assert "The project's memory." in json.dumps(request.body)
    assert (settled_project / "hook-ran").exists()
    assert claude.workplace.lines()[0]["subtype"] == "hook_started"
    assert init(claude)["mcp_servers"] == []


def test_no_settings_at_all(claude: ClaudeScenario, settled_project: Path) -> None:
    """`--setting-sources ""` leaves out the user's memory too."""
    [request] = claude.talk([Say("Done.")], "--setting-sources", "")
    everything = json.dumps(request.body)
    assert "The user's memory." not in everything
    assert "The project's memory." not in everything
    assert init(claude)["mcp_servers"] == []


def test_memory_of_its_own_is_off(claude: ClaudeScenario) -> None:
    """CLAUDE_CODE_DISABLE_AUTO_MEMORY: no memory in the first line, none on disk, not a word of it in the prompt."""
    [request] = claude.talk([Say("Done.")])
    assert "memory_paths" not in init(claude)
    assert list(claude.workplace.home.rglob("memory")) == []
    assert "MEMORY.md" not in request.system

    [request] = claude.talk([Say("Done.")], without=["CLAUDE_CODE_DISABLE_AUTO_MEMORY"])
    assert list(claude.workplace.home.rglob("memory")) != []
    assert "MEMORY.md" in request.system


def test_nothing_is_asked_beside_the_conversation(claude: ClaudeScenario) -> None:
    """CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC spares each run a paid request for a title."""
    mail = user_line("Please make the login faster.")
    claude.talk([Say("Done.")], stdin=mail)
    assert [request.auxiliary for request in claude.api.requests] == [False]
    claude.talk([Say("Done.")], stdin=mail, without=["CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC"])
    assert sorted(request.auxiliary for request in claude.api.requests) == [False, False, True]


def test_a_list_of_tools_makes_the_request_small(claude: ClaudeScenario) -> None:
    """`--tools` leaves the model those tools alone, and a request of less than half the size."""
    [everything] = claude.talk([Say("Done.")])
    [four] = claude.talk([Say("Done.")], "--tools", "Bash,Edit,Read,Write")
    assert four.tools == ["Bash", "Edit", "Read", "Write"]
    assert len(json.dumps(four.body)) < len(json.dumps(everything.body)) / 2


def test_no_background_no_schedule(claude: ClaudeScenario) -> None:
    """Two variables take away what would outlive the turn: commands in the background, and schedules."""
    [request] = claude.talk([Say("Done.")], environment={"CLAUDE_CODE_DISABLE_CRON": "1"})
    [bash] = [tool for tool in request.body["tools"] if tool["name"] == "Bash"]
    assert "run_in_background" not in bash["input_schema"]["properties"]
    assert [name for name in request.tools if name.startswith("Cron")] == []

    [request] = claude.talk([Say("Done.")], without=["CLAUDE_CODE_DISABLE_BACKGROUND_TASKS"])
    [bash] = [tool for tool in request.body["tools"] if tool["name"] == "Bash"]
    assert "run_in_background" in bash["input_schema"]["properties"]
    assert [name for name in request.tools if name.startswith("Cron")] != []


def test_a_session_id_is_used_once(claude: ClaudeScenario) -> None:
    """A session that is kept takes its id for good; one that isn't leaves no file and may be repeated."""
    flags = ("--session-id", str(uuid4()))
    assert len(claude.talk([Say("Done.")], *flags, "--no-session-persistence")) == 1
    assert list(claude.workplace.home.rglob("*.jsonl")) == []
    assert len(claude.talk([Say("Done.")], *flags)) == 1
    assert len(list(claude.workplace.home.rglob("*.jsonl"))) == 1
    assert claude.talk([Say("Done.")], *flags) == []
    assert "is already in use" in claude.workplace.errors.read_text()


def test_messages_in_one_pipe_are_turns(claude: ClaudeScenario) -> None:
    """Two messages in the pipe are two turns of one session, each with a first line and a result of its own."""
    first, second = claude.talk([Say("one"), Say("two")], stdin=user_line("First.") + user_line("Second."))
    kinds = [line.get("subtype", line["type"]) for line in claude.workplace.lines()]
    assert kinds == ["init", "assistant", "success"] * 2
    assert "Second." not in str(first.messages)
    assert second.messages[-1] == "Second."
    assert len({line["session_id"] for line in claude.workplace.lines()}) == 1


def test_a_torn_message_is_no_run(claude: ClaudeScenario) -> None:
    """Half a message on stdin gives no line at all; the reason stands on stderr."""
    assert claude.talk([Say("Never said.")], stdin=user_line("Please.")[:-4]) == []
    assert claude.workplace.stream.read_bytes() == b""
    assert "Error parsing streaming input line" in claude.workplace.errors.read_text()


def test_configuration_in_a_directory_of_its_own(claude: ClaudeScenario) -> None:
    """CLAUDE_CONFIG_DIR takes everything that the command keeps out of HOME."""
    directory = claude.workplace.root / "configuration"
    claude.talk([Say("Done.")], environment={"CLAUDE_CONFIG_DIR": str(directory)})
    assert (directory / ".claude.json").is_file()
    assert list(claude.workplace.home.iterdir()) == []


def test_the_environment_reaches_the_commands(claude: ClaudeScenario) -> None:
    """A command of the Bash tool has the run's variables, and the mark of an enclosing session beside them."""
    claude.talk([Use("Bash", {"command": "env > env"}), Say("Done.")], *PERMISSION_FLAGS)
    names = dict(line.partition("=")[::2] for line in (claude.workplace.project / "env").read_text().splitlines())
    assert names["AGENTPOOL_RUN"] == claude.marker
    assert names["CLAUDECODE"] == "1"


def test_runs_at_once_share_a_home(claude: ClaudeScenario) -> None:
    """Runs that start at the same moment in one HOME all succeed, and leave its configuration whole."""
    siblings = [
        ClaudeScenario(Workplace(claude.workplace.home / f"sibling-{number}"), command=claude.command, api=claude.api)
        for number in range(3)
    ]
    for sibling in siblings:
        sibling.workplace.root.mkdir()
        claude.api.script(f"for {sibling.marker}", [Use("Bash", {"command": "touch made"}), Say(sibling.marker)])
    try:
        environments = [{**s.environment(), "HOME": str(claude.workplace.home)} for s in siblings]
        runs = [
            sibling.start(sibling.argv(PERMISSION_FLAGS), environment, user_line(f"A task for {sibling.marker}"))
            for sibling, environment in zip(siblings, environments, strict=True)
        ]
        assert [run.wait() for run in runs] == [0, 0, 0]
    finally:
        for sibling in siblings:
            sibling.close()
    for sibling in siblings:
        assert sibling.workplace.result()["result"] == sibling.marker
        assert (sibling.workplace.project / "made").exists()
    assert "migrationVersion" in json.loads((claude.workplace.home / ".claude.json").read_text())
