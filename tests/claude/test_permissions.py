"""What the real command lets a run do, under the mode that never asks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.claude.messages_api import Say, Use

if TYPE_CHECKING:
    from pathlib import Path

    from tests.claude.scenario import ClaudeScenario

pytestmark = pytest.mark.claude


def denied(claude: ClaudeScenario) -> list[str]:
    """The commands (or tools) that the result lists as denied."""
    denials = claude.workplace.result()["permission_denials"]
    return [denial["tool_input"].get("command", denial["tool_name"]) for denial in denials]


def test_one_comma_list_of_tools_is_enough(claude: ClaudeScenario) -> None:
    """`--allowedTools` as one list allows each of its tools, also to root; the rest is refused unasked."""
    claude.talk(
        [
            Use("Bash", {"command": "git status > /dev/null"}),
            Use("Bash", {"command": "touch made"}),
            Use("Bash", {"command": "git status && touch made"}),
            Use("Write", {"file_path": str(claude.workplace.project / "written"), "content": "x"}),
            Say("Done."),
        ],
        *("--permission-mode", "dontAsk", "--allowedTools", "Read,Bash(git status:*),Write"),
    )
    assert denied(claude) == ["touch made", "git status && touch made"]
    assert [path.name for path in claude.workplace.project.iterdir()] == ["written"]


@pytest.fixture
def foreign(claude: ClaudeScenario) -> Path:
    """A directory in the project that the run may not change, and a file in it."""
    directory = claude.workplace.project / "foreign"
    directory.mkdir()
    (directory / "file").write_text("theirs\n")
    return directory


def try_on(claude: ClaudeScenario, foreign: Path, *uses: Use) -> list[str]:
    """Runs these calls under rules that deny changes of `foreign` and `git stash`; gives the answers to them."""
    rules = {"permissions": {"deny": [f"Edit(/{foreign}/**)", "Bash(git stash:*)"]}}
    requests = claude.talk(
        [*uses, Say("Done.")],
        *("--settings", json.dumps(rules), "--permission-mode", "dontAsk", "--allowedTools", "Bash,Read,Edit,Write"),
    )
    return [request.messages[-1] for request in requests[1:]]


def test_a_rule_stops_the_writing_tools(claude: ClaudeScenario, foreign: Path) -> None:
    """A rule `Edit(//abs/**)` stops Write and Edit there, not Read; and the result does not list these as denied."""
    file = str(foreign / "file")
    answers = try_on(
        claude,
        foreign,
        Use("Write", {"file_path": str(foreign / "new"), "content": "ours\n"}),
        Use("Read", {"file_path": file}),
        Use("Edit", {"file_path": file, "old_string": "theirs", "new_string": "ours"}),
    )
    assert ["denied by your permission settings" in answer for answer in answers] == [True, False, True]
    assert [(path.name, path.read_text()) for path in foreign.iterdir()] == [("file", "theirs\n")]
    assert denied(claude) == []


def test_a_rule_stops_plain_shell_commands(claude: ClaudeScenario, foreign: Path) -> None:
    """The same rule stops redirects and the common commands that change files; `git stash` has a rule of its own."""
    commands = [
        f"echo ours > {foreign}/new",
        f"sed -i s/theirs/ours/ {foreign}/file",
        f"touch {foreign}/new",
        f"mkdir {foreign}/new",
        f"rm {foreign}/file",
        "git stash",
    ]
    try_on(claude, foreign, *(Use("Bash", {"command": command}) for command in commands))
    assert denied(claude) == commands
    assert [(path.name, path.read_text()) for path in foreign.iterdir()] == [("file", "theirs\n")]


def test_a_rule_is_no_wall(claude: ClaudeScenario, foreign: Path) -> None:
    """What the rule does not see: variables, shells in shells, `tee`, other programs. Only an audit finds these."""
    commands = [
        f"there={foreign}; echo ours > $there/variable",
        f"bash -c 'echo ours > {foreign}/shell'",
        f"echo ours | tee {foreign}/tee",
        f"python3 -c \"open('{foreign}/python', 'w')\"",
    ]
    try_on(claude, foreign, *(Use("Bash", {"command": command}) for command in commands))
    assert denied(claude) == []
    assert sorted(path.name for path in foreign.iterdir()) == ["file", "python", "shell", "tee", "variable"]
