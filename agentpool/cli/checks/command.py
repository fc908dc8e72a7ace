"""The agent command: is it there, does it know what agentpool asks of it, is somebody logged in."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from agentpool.cli.checks.finding import Finding, note, ok, problem
from agentpool.pool.environment import run_environment
from agentpool.pool.setting_types import AgentKind
from agentpool.runs.claude import ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agentpool.pool.configuration import Configuration
    from agentpool.pool.layout import Layout

_AREA = "agent"
_TIP = "install it, or set [agent] command in pool.toml to where it is"
_ANSWER_SECONDS = 30.0
#: What a run's command line is made of.
_FLAGS = (
    *("--print", "--input-format", "--output-format", "--verbose", "--append-system-prompt", "--permission-mode"),
    *("--allowedTools", "--max-budget-usd", "--settings", "--setting-sources", "--strict-mcp-config", "--model"),
    *("--tools", "--exclude-dynamic-system-prompt-sections"),
)
#: Variables each of which alone lets the command reach a model.
_LOGINS = (
    *("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"),
    *("CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX", "CLAUDE_CODE_USE_FOUNDRY"),
)


def check_command(layout: Layout, configuration: Configuration, home: Path) -> Iterator[Finding]:
    """The command as a run would find and start it; nothing is sent to any server."""
    agent = configuration.agent
    if agent.kind is AgentKind.SIMULATED:
        script = agent.script_file(layout.root)
        yield ok(_AREA, f"the simulated one, {f'playing {script}' if script else 'without a script'}: it costs nothing")
        return
    environment = run_environment(os.environ, allow=(*agent.env_allow, *agent.env_also), given=agent.env)
    found = _find(agent.command[0], layout.project, environment)
    if found is None:
        yield problem(_AREA, f"the command {agent.command[0]!r} is not there or cannot be executed", _TIP)
        return
    argv = [found, *agent.command[1:]]
    version, failure = _ask([*argv, "--version"], layout.project, environment)
    if failure:
        yield problem(_AREA, f"{found} --version failed: {failure}", _TIP)
        return
    yield ok(_AREA, f"{found} is {version.strip().splitlines()[0] if version.strip() else 'of an unknown version'}")
    text, failure = _ask([*argv, "--help"], layout.project, environment)
    missing = [flag for flag in _FLAGS if not re.search(rf"(?<![\w-]){flag}(?![\w])", text)]
    if failure or missing:
        what = failure or f"it does not know {', '.join(missing)}"
        yield problem(_AREA, f"{found} cannot be used: {what}", "update the command")
    else:
        yield ok(_AREA, "it knows every flag that runs need")
    yield from _check_login(environment, home)


def _find(name: str, project: Path, environment: Mapping[str, str]) -> str | None:
    if os.sep in name:
        file = project / Path(name).expanduser()
        return str(file) if file.is_file() and os.access(file, os.X_OK) else None
    return shutil.which(name, path=environment.get("PATH", os.defpath))


def _ask(argv: list[str], project: Path, environment: Mapping[str, str]) -> tuple[str, str]:
    """What the command prints, and why it failed."""
    try:
        answer = subprocess.run(
            argv,
            cwd=project,
            env={**ENVIRONMENT, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_ANSWER_SECONDS,
            check=False,
            text=True,
            errors="replace",
        )
    except subprocess.TimeoutExpired:
        return "", f"no answer for {_ANSWER_SECONDS:.0f} s"
    except OSError as error:
        return "", str(error.strerror)
    if answer.returncode != 0:
        said = (answer.stderr or answer.stdout).strip().splitlines()
        return "", f"exit code {answer.returncode}{f', {said[-1]}' if said else ''}"
    return answer.stdout, ""


def _check_login(environment: Mapping[str, str], home: Path) -> Iterator[Finding]:
    for name in _LOGINS:
        if environment.get(name):
            yield ok("login", f"{name} is set for the runs")
            return
        if os.environ.get(name):
            tip = f'add "{name}" to [agent] env_also in pool.toml'
            yield problem("login", f"{name} is set here, but runs do not inherit it", tip)
            return
    directory = Path(environment.get("CLAUDE_CONFIG_DIR") or home / ".claude")
    if (directory / ".credentials.json").is_file():
        yield ok("login", f"{directory / '.credentials.json'} is there")
        return
    settings = directory / ".claude.json" if environment.get("CLAUDE_CONFIG_DIR") else home / ".claude.json"
    try:
        said = json.loads(settings.read_bytes())
    except FileNotFoundError:
        said = {}
    except (OSError, ValueError) as error:
        yield problem("login", f"{settings} is damaged: {error}", f"mend it, or restore one of {settings}.backup*")
        return
    if isinstance(said, dict) and (said.get("oauthAccount") or said.get("primaryApiKey")):
        yield ok("login", f"{settings} names an account")
    else:
        yield note("login", "no login in sight (it may be in the system's key store)", "log in with: claude /login")
