"""Commands that change or mend: init, start, stop, cancel, retry, replay, doctor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from agentpool.pool.journal import Journal
from tests.gateway.fake_verbs import eventually, task

if TYPE_CHECKING:
    from pathlib import Path

    from agentpool.pool.layout import Layout
    from tests.cli.conftest import Command
    from tests.gateway.fake_verbs import ServedPool


def test_init_makes_a_pool_and_never_overwrites(command: Command) -> None:
    """A second `init` adds an expert and keeps every file that is there."""
    said = command("init", "--expert", "auth")
    assert said.returncode == 0
    assert said.stdout.startswith(f"Made a pool: {command.project}/.agent-pool\n")
    assert "agentpool start" in said.stdout
    identity = command.project / ".agent-pool" / "experts" / "auth" / "identity.md"
    identity.write_text("mine")
    again = command("init", "--expert", "auth", "-e", "web")
    assert again.returncode == 0
    assert identity.read_text() == "mine"
    assert again.stdout.startswith(f"There is already a pool: {command.project}/.agent-pool\n")
    assert "kept the expert auth" in again.stdout
    assert [line.split()[1] for line in again.stdout.splitlines() if " made " in line] == [
        f".agent-pool/experts/web/{name}.md" for name in ("identity", "state", "errors")
    ]
    assert "agentpool ask web" in again.stdout
    assert "nothing was missing" in command("init").stdout
    assert command("init", str(command.project / "gone")).returncode == 2
    assert command("init", "-e", "../x").returncode == 2


def test_cancel_and_retry(served: ServedPool, command: Command) -> None:
    """Both hand their ids over and say what they did."""
    served.verbs.tasks = {"a": task("a", state="failed")}
    assert command("cancel", "a", "--tree").stdout == "a: to be cancelled\n"
    assert command("retry", "a").stdout == "a: ready\n"
    assert served.verbs.calls == [("cancel", "a", True), ("retry", "a")]
    assert command("cancel", "nobody").returncode == 1


def bury(layout: Layout, name: str, reason: str) -> None:
    """A dead letter with its reason."""
    layout.deadletter.mkdir(exist_ok=True)
    (layout.deadletter / name).write_text("x")
    text = f"---\nfile: {name}\n---\n\nThis mail was refused: {reason}\n\nMend it"
    (layout.deadletter / f"{name}.reason.md").write_text(text)


def test_replay_lists_reasons_and_drops_again(served: ServedPool, command: Command) -> None:
    """Dead letters are listed with why; one, several or all are dropped again."""
    assert command("replay").stdout == "no dead letters\n"
    bury(served.layout, "a.md", "it names no addressee")
    bury(served.layout, "b.md", "it waits for itself")
    said = command("replay")
    assert [line.split(None, 1) for line in said.stdout.splitlines()] == [
        ["a.md", "it names no addressee"], ["b.md", "it waits for itself"],
    ]  # fmt: skip
    assert command("replay", "a").stdout == "a.md: dropped as postoffice/a.md\n"
    assert command("replay", "--all").returncode == 0
    assert served.verbs.calls == [("replay", "a.md"), ("replay", "a.md"), ("replay", "b.md")]
    unknown = command("replay", "nobody")
    assert unknown.returncode == 1
    assert "there is no dead letter nobody" in unknown.stderr
    assert command("replay", "a", "--all").returncode == 2


def test_start_names_who_holds_the_pool(served: ServedPool, command: Command) -> None:
    """A second start in the background exits with 100, names the pid, and writes into nobody's log."""
    said = command("start", "-d")
    assert said.returncode == 100
    assert f"pid {os.getpid()}" in said.stderr
    assert not (served.layout.run / "supervisor.log").exists()


@pytest.mark.parametrize(("option", "mode"), [([], "drain"), (["--now"], "now"), (["--leave"], "leave")])
def test_stop_asks_for_the_right_end_and_waits(
    served: ServedPool, command: Command, option: list[str], mode: str
) -> None:
    """Each way to stop reaches the supervisor, and the command returns once its process is gone."""
    supervisor = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    served.verbs.state["pid"] = supervisor.pid
    stopping = command.start("stop", *option)
    eventually(lambda: served.verbs.calls)
    assert stopping.poll() is None
    supervisor.communicate(b"\n")
    output, _ = stopping.communicate(timeout=10)
    assert (stopping.returncode, output) == (0, "stopped\n")
    assert served.verbs.calls == [("stop", mode)]


def test_stop_gives_up_after_its_timeout(served: ServedPool, command: Command) -> None:
    """After --timeout the exit code is 4 and the stronger command is named."""
    said = command("stop", "--timeout", "100ms")
    assert said.returncode == 4
    assert "agentpool stop --now" in said.stderr
    assert command("stop", "--now", "--leave").returncode == 2
    assert served.verbs.calls == [("stop", "drain")]


def test_stop_without_a_supervisor(layout: Layout, command: Command) -> None:
    """Where nobody serves the pool there is nothing to stop: exit code 3."""
    assert command("stop").returncode == 3
    assert layout.root.is_dir()


def findings(command: Command, *arguments: str, **environment: str) -> tuple[int, dict[tuple[str, str], str]]:
    """The doctor's exit code and what it found, by area and level."""
    said = command("doctor", "--json", *arguments, **environment)
    listed = json.loads(said.stdout)
    assert listed["ok"] == (said.returncode == 0)
    return said.returncode, {
        (item["area"], item["level"]): f"{item['text']} {item['tip']}" for item in listed["findings"]
    }


@pytest.fixture
def healthy(command: Command) -> Path:
    """A fresh pool with a claude that answers; returns that command's file."""
    assert command("init", "-e", "auth").returncode == 0
    fake = command.home / "claude"
    flags = (
        "--print --input-format --output-format --verbose --append-system-prompt --permission-mode --allowedTools "
        "--max-budget-usd --settings --setting-sources --strict-mcp-config --model --tools "
        "--exclude-dynamic-system-prompt-sections"
    )
    fake.write_text(
        f'#!/bin/sh\ncase "$1" in --version) echo "2.1.197 (Claude Code)";; --help) echo "{flags}";; esac\n'
    )
    fake.chmod(0o755)
    return fake


def path_with(fake: Path) -> str:
    """A PATH on which the fake command comes first."""
    return f"{fake.parent}:{os.environ['PATH']}"


def test_a_healthy_pool(command: Command, healthy: Path) -> None:
    """Where all is well the exit code is 0, with the command's version and the login that was seen."""
    code, found = findings(command, PATH=path_with(healthy), ANTHROPIC_API_KEY="sk-x")
    assert code == 0
    assert not [key for key in found if key[1] == "problem"]
    assert "ANTHROPIC_API_KEY" in found["login", "ok"]
    assert "no journal yet: nothing was started" in found["journal", "ok"]
    plain = command("doctor", PATH=path_with(healthy), ANTHROPIC_API_KEY="sk-x")
    assert "2.1.197 (Claude Code)" in plain.stdout
    assert "sk-x" not in plain.stdout


def test_a_missing_command_is_a_problem(command: Command, healthy: Path) -> None:
    """Without the agent command the exit code is 1 and the setting is named."""
    healthy.unlink()
    code, found = findings(command, PATH=os.path.dirname(sys.executable))  # noqa: PTH120
    assert code == 1
    assert "[agent] command" in found["agent", "problem"]


def test_an_old_command_is_a_problem(command: Command, healthy: Path) -> None:
    """A command that lacks a flag is named together with the flag."""
    healthy.write_text(healthy.read_text().replace("--max-budget-usd", ""))
    code, found = findings(command, PATH=path_with(healthy))
    assert code == 1
    assert "--max-budget-usd" in found["agent", "problem"]


@pytest.mark.parametrize("table", ["agent", "researcher", "experts.auth"])
def test_tools_that_do_not_go_together(command: Command, healthy: Path, table: str) -> None:
    """Who may change files and not read them cannot work: the table that says so is named."""
    (command.project / ".agent-pool" / "pool.toml").write_text(f'[{table}]\nallowed_tools = ["Edit(src/**)", "Bash"]\n')
    _, found = findings(command, PATH=path_with(healthy))
    assert f"[{table}] allowed_tools has Edit without Read" in found["settings", "note"]


def test_wrong_settings_and_open_doors(command: Command, healthy: Path) -> None:
    """A setting that cannot be used and a runtime directory that others may read are problems with their way out."""
    pool = command.project / ".agent-pool"
    (pool / "run").mkdir(exist_ok=True)
    (pool / "run").chmod(0o755)
    (pool / "pool.toml").write_text('[budget]\nrun_usd = "much"\n')
    code, found = findings(command, PATH=path_with(healthy))
    assert code == 1
    assert "budget.run_usd" in found["settings", "problem"]
    assert "chmod 700" in found["pool", "problem"]


def test_a_damaged_journal_is_found_and_repaired(command: Command, healthy: Path) -> None:
    """A flipped byte is a problem; `--repair` moves the damage aside, and then all is well."""
    directory = command.project / ".agent-pool" / "journal"
    journal, recovery = Journal.open(directory)
    with journal:
        assert list(recovery.records) == []
        for number in range(3):
            journal.append([("pool.stopped", {"how": str(number)})], 1.0)
    segment = next(directory.glob("*.jsonl"))
    segment.write_bytes(segment.read_bytes().replace(b'"how":"1"', b'"how":"X"'))
    code, found = findings(command, PATH=path_with(healthy))
    assert code == 1
    assert "agentpool doctor --repair" in found["journal", "problem"]
    code, found = findings(command, "--repair", PATH=path_with(healthy))
    assert code == 0
    assert "repaired" in found["journal", "note"]
    assert findings(command, PATH=path_with(healthy))[0] == 0


def test_leftovers_are_found(command: Command, healthy: Path) -> None:
    """A run without a task, and a process that outlived its run, are found by the marker and nothing else."""
    run = command.project / ".agent-pool" / "run"
    (run / "runs" / "gone.1").mkdir(parents=True)
    run.chmod(0o700)
    marker = {"AGENTPOOL_RUN_DIRECTORY": str(run / "runs" / "gone.1")}
    stray = subprocess.Popen(["cat"], stdin=subprocess.PIPE, env=os.environ | marker)
    try:
        code, found = findings(command, PATH=path_with(healthy))
    finally:
        stray.communicate()
    assert code == 1
    assert f"kill {stray.pid}" in found["leftovers", "problem"]
    assert "gone.1 belongs to no open task" in found["leftovers", "note"]


def test_a_served_pool_is_not_repaired(served: ServedPool, command: Command) -> None:
    """Under a living supervisor the journal is left alone: exit code 100."""
    said = command("doctor", "--repair")
    assert said.returncode == 100
    assert "agentpool stop" in said.stderr
    assert served.verbs.calls == []


def test_a_damaged_configuration_of_the_command_is_found(command: Command, healthy: Path) -> None:
    """A `~/.claude.json` that is no JSON any more breaks every run, so it is a problem."""
    (command.home / ".claude.json").write_text('{"oauthAccount": {')
    code, found = findings(command, PATH=path_with(healthy))
    assert code == 1
    assert ".claude.json" in found["login", "problem"]
