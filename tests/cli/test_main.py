"""The command as a whole: help, errors, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from agentpool import __version__
from agentpool.cli.commands import COMMANDS, load
from tests.gateway.fake_verbs import task

if TYPE_CHECKING:
    from pathlib import Path

    from agentpool.pool.layout import Layout
    from tests.cli.conftest import Command
    from tests.gateway.fake_verbs import ServedPool


def test_help_names_every_command(command: Command) -> None:
    """`agentpool --help` lists all commands with the line that says what each is for."""
    said = command("--help")
    assert said.returncode == 0
    for name, entry in COMMANDS.items():
        assert name in said.stdout
        assert entry.help.split(";")[0][:40] in said.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_the_list_is_the_commands_own(name: str) -> None:
    """The line in the list is the first line of the command's own help."""
    own = load(name)
    assert own.name == name
    assert own.help.split("\n\n")[0].replace("\n", " ") == COMMANDS[name].help


@pytest.mark.parametrize("name", ["wait", "retry", "replay"])
def test_usage_of_commands_that_take_several(command: Command, name: str) -> None:
    """The usage line says once that there may be several."""
    usage = command(name, "--help").stdout.splitlines()[1]
    assert usage.count("...") == 1


def test_a_mistyped_command_is_named(command: Command) -> None:
    """An unknown command exits with 2 and names the one that was meant."""
    said = command("stauts")
    assert said.returncode == 2
    assert "status" in said.stderr


def test_no_pool_is_exit_code_3(command: Command) -> None:
    """Outside of a pool every command says so, and what to do."""
    said = command("status")
    assert said.returncode == 3
    assert "there is no .agent-pool/" in said.stderr
    assert "agentpool init" in said.stderr
    assert said.stdout == ""


def test_the_pool_is_found_from_below_and_from_elsewhere(served: ServedPool, command: Command, tmp_path: Path) -> None:
    """Commands work anywhere inside of the project, and with -C from outside."""
    below = command.project / "src" / "deep"
    below.mkdir(parents=True)
    assert command("status", cwd=below).returncode == 0
    assert command("-C", str(command.project), "status", cwd=tmp_path).returncode == 0
    assert command("-C", str(tmp_path / "gone"), "status").returncode == 2
    assert served.verbs.calls == []


def test_errors_of_the_supervisor_are_printed_with_their_tip(served: ServedPool, command: Command) -> None:
    """An error from the supervisor is one line, a tip, and its exit code."""
    said = command("show", "nobody")
    assert said.returncode == 1
    assert said.stderr == "error: there is no task nobody\n  tip: agentpool board --all\n"
    assert served.verbs.tasks == {}


def test_a_closed_pipe_is_quiet(served: ServedPool, command: Command) -> None:
    """When the reader of the output goes away, nothing is said about it."""
    served.verbs.tasks = {f"t{number}": {"id": f"t{number}", "state": "ready"} for number in range(5000)}
    script = f"{sys.executable} -m agentpool board | head -n 1"
    said = subprocess.run(  # noqa: S602 - a pipe is what this is about
        script,
        shell=True,
        cwd=command.project,
        env=command.environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert said.stderr == ""
    assert len(said.stdout.splitlines()) == 1


def test_version(command: Command) -> None:
    """`agentpool version` prints the version, and needs no pool."""
    assert command("version").stdout == f"agentpool {__version__}\n"


def test_the_shell_is_given_completions(command: Command) -> None:
    """A shell that asks for completions gets the names of commands and options."""
    assert complete(command, "agentpool st") == ["start", "stop", "status"]
    assert "--priority" in complete(command, "agentpool send --p")


def complete(command: Command, words: str) -> list[str]:
    """What a shell offers after these words and Tab."""
    count = str(words.count(" "))
    return command(_AGENTPOOL_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=count).stdout.split()


def test_ids_and_names_are_completed(layout: Layout, command: Command) -> None:
    """Task ids come from the board and addressees from the experts, without a supervisor."""
    layout.taskboard.write_text(json.dumps({"tasks": [task("health"), task("help"), task("old", state="done")]}))
    (layout.home("auth")).mkdir(parents=True)
    (layout.home("auth") / "identity.md").touch()
    assert complete(command, "agentpool show hel") == ["help"]
    assert complete(command, "agentpool wait health he") == ["help", "health"]
    assert complete(command, "agentpool ask a") == ["auth", "architect"]


def test_light_commands_import_nothing_heavy(served: ServedPool, command: Command) -> None:
    """`--help`, `status` and `send` import no graph, server, loop, or terminal library of their own."""
    heavy = {"networkx", "starlette", "uvicorn", "asyncio", "rich.live", "yaml", "psutil", "watchdog", "httpx", "mcp"}
    for arguments in (["--help"], ["status"], ["send", "auth", "hello"]):
        said = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "agentpool", *arguments],
            cwd=command.project,
            env=command.environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        imported = {line.rpartition("|")[2].strip() for line in said.stderr.splitlines() if line.startswith("import")}
        assert "typer" in imported
        assert not heavy & imported
    assert len(served.verbs.sent) == 1
