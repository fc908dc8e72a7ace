"""What an agent does in a test, said once and played by two agents: the real command and the simulated one."""

from __future__ import annotations

import json
import os
import socket
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from enum import Enum
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import psutil

from tests.claude.messages_api import MessagesApi, Refuse, Say, Tokens, Use
from tests.claude.running import PROTOCOL_FLAGS, Running, Workplace, eventually, spawn, user_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tests.claude.messages_api import Request, Step

REPOSITORY = Path(__file__).parents[2]

#: The flags with which every run here may use the shell and write, and nothing else.
PERMISSION_FLAGS = ("--permission-mode", "dontAsk", "--allowedTools", "Bash,Write")

#: What the agent is asked for where it does not matter.
PLEASE = user_line("Please.")

#: What `Overreach` asks for.
FORBIDDEN_URL = "http://example.invalid/"

#: What `Spend` costs, in US dollars.
SPENT_USD = 15


@dataclass(frozen=True, slots=True)
class Speak:
    """The agent says this; its turn is over."""

    text: str


@dataclass(frozen=True, slots=True)
class Shell:
    """The agent runs a shell command by its Bash tool."""

    command: str


@dataclass(frozen=True, slots=True)
class Put:
    """The agent writes a file by its Write tool; the path is relative to the project."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Overreach:
    """The agent calls a tool that it may not use: WebFetch."""


@dataclass(frozen=True, slots=True)
class Spend:
    """The agent thinks for `SPENT_USD` before it goes on."""


class Trouble(Enum):
    """Why the agent gets nowhere."""

    BAD_REQUEST = "bad request"
    RATE_LIMIT = "rate limit"
    UNREACHABLE = "unreachable"
    NO_LOGIN = "no login"


Move = Speak | Shell | Put | Overreach | Spend | Trouble


@dataclass
class Scenario(ABC):
    """One run of one agent; a context manager that leaves no process behind.

    Args:
        workplace: where it happens.
        marker: the value of AGENTPOOL_RUN in the environment of the run and of every command that it starts.
    """

    workplace: Workplace
    marker: str = field(default_factory=lambda: uuid4().hex)
    _running: list[Running] = field(default_factory=list)

    @abstractmethod
    def order(self, moves: Sequence[Move], flags: Sequence[str]) -> tuple[list[str], dict[str, str]]:
        """The argument list and the environment with which the agent makes these moves."""

    @abstractmethod
    def version(self) -> list[str]:
        """The argument list that asks the agent for its version."""

    def play(self, *moves: Move, flags: Sequence[str] = PERMISSION_FLAGS, stdin: bytes = PLEASE) -> Running:
        """Starts the agent."""
        argv, environment = self.order(moves, flags)
        return self.start(argv, environment, stdin)

    def start(self, argv: Sequence[str], environment: Mapping[str, str], stdin: bytes = PLEASE) -> Running:
        """Starts a process that `close` ends."""
        running = spawn(argv, environment, self.workplace, stdin)
        self._running.append(running)
        return running

    def ended(self, *moves: Move, flags: Sequence[str] = PERMISSION_FLAGS, stdin: bytes = PLEASE) -> Running:
        """Starts the agent and waits for its end."""
        running = self.play(*moves, flags=flags, stdin=stdin)
        running.wait()
        return running

    def family(self) -> list[psutil.Process]:
        """Every living process that carries the run's marker."""
        return [process for process in psutil.process_iter() if self._is_family(process)]

    def _is_family(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get("AGENTPOOL_RUN") == self.marker and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def close(self) -> None:
        """Kills what is left of the run."""
        for running in self._running:
            running.end()
        for process in self.family():
            process.kill()
        eventually(lambda: not self.family(), "no process of the run is left")


@dataclass
class ClaudeScenario(Scenario):
    """The real command, with a scripted model behind it.

    Args:
        command: its path.
        api: the model's part; must be serving.
    """

    command: Path = field(kw_only=True)
    api: MessagesApi = field(kw_only=True)
    _nobody: socket.socket | None = None

    def order(self, moves: Sequence[Move], flags: Sequence[str]) -> tuple[list[str], dict[str, str]]:
        """Puts the moves into the API's script."""
        self.api.script("", self._steps(moves))
        environment = self.environment()
        if Trouble.NO_LOGIN in moves:
            del environment["ANTHROPIC_API_KEY"]
        if Trouble.UNREACHABLE in moves:
            environment["ANTHROPIC_BASE_URL"] = self.nobody_listens()
        return self.argv(flags), environment

    def argv(self, flags: Sequence[str]) -> list[str]:
        """The command line of a run."""
        return [str(self.command), *PROTOCOL_FLAGS, "--model", "sonnet", *flags]

    def environment(self) -> dict[str, str]:
        """All the variables of a run."""
        return {
            **self.api.environment(self.workplace.home),
            "CLAUDE_CODE_MAX_RETRIES": "1",
            "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "1",
            "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",
            "AGENTPOOL_RUN": self.marker,
        }

    def talk(
        self,
        script: Iterable[Step],
        *flags: str,
        stdin: bytes = PLEASE,
        environment: Mapping[str, str] | None = None,
        without: Iterable[str] = (),
    ) -> list[Request]:
        """Runs the command to its end and gives the requests of its conversation.

        Args:
            script: the model's part.
            flags: on the command line, beside those of the protocol.
            stdin: all that the command reads.
            environment: variables beside the usual ones.
            without: usual variables that are left out.
        """
        before = len(self.api.conversation())
        self.api.script("", script)
        variables = {name: value for name, value in self.environment().items() if name not in set(without)}
        self.start(self.argv(flags), {**variables, **(environment or {})}, stdin).wait()
        return self.api.conversation()[before:]

    def version(self) -> list[str]:
        """`claude --version`."""
        return [str(self.command), "--version"]

    def close(self) -> None:
        """Gives the port back as well."""
        super().close()
        if self._nobody:
            self._nobody.close()

    def nobody_listens(self) -> str:
        """The URL of a port that stays taken and refuses every connection."""
        self._nobody = socket.socket()
        self._nobody.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{self._nobody.getsockname()[1]}"

    def _steps(self, moves: Iterable[Move]) -> Iterable[Step]:
        tokens = Tokens()
        for move in moves:
            match move:
                case Speak(text):
                    yield Say(text, tokens)
                case Shell(command):
                    yield Use("Bash", {"command": command}, tokens=tokens)
                case Put(path, text):
                    target = str(self.workplace.project / path)
                    yield Use("Write", {"file_path": target, "content": text}, tokens=tokens)
                case Overreach():
                    yield Use("WebFetch", {"url": FORBIDDEN_URL, "prompt": "read"}, tokens=tokens)
                case Spend():
                    tokens = Tokens(output=1_000_000)  # at the price of the model that the tests name
                    continue
                case Trouble.BAD_REQUEST:
                    yield Refuse(400, "prompt is too long")
                case Trouble.RATE_LIMIT:
                    yield from repeat(Refuse(429, "slow down"))
                case Trouble.UNREACHABLE | Trouble.NO_LOGIN:
                    pass
            tokens = Tokens()


@dataclass
class SimulatedScenario(Scenario):
    """The agent that ships with the package, driven by its script file."""

    def order(self, moves: Sequence[Move], flags: Sequence[str]) -> tuple[list[str], dict[str, str]]:
        """Writes the moves into the script file."""
        script = self.workplace.root / "script.toml"
        steps = ", ".join(_toml(self._step(move)) for move in moves)
        script.write_text(f"[[play]]\nsteps = [{steps}]\n")
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.workplace.home),
            "PYTHONPATH": str(REPOSITORY),
            "AGENTPOOL_RUN": self.marker,
        }
        argv = [*self._program(), "--script", str(script), *PROTOCOL_FLAGS, "--model", "sonnet", *flags]
        return argv, environment

    def version(self) -> list[str]:
        """`… --version`."""
        return [*self._program(), "--version"]

    def _program(self) -> list[str]:
        return [sys.executable, "-m", "agentpool.runs.simulation"]

    def _step(self, move: Move) -> Mapping[str, object]:
        step: dict[str, object]
        match move:
            case Speak(text):
                step = {"say": text}
            case Shell(command):
                step = {"run": ["sh", "-c", command]}
            case Put(path, text):
                step = {"write": {"path": path, "text": text}}
            case Overreach():
                step = {"deny": {"tool": "WebFetch", "input": {"url": FORBIDDEN_URL}}}
            case Spend():
                step = {"cost": SPENT_USD}
            case Trouble():
                step = _TROUBLES[move]
        return step


_TROUBLES: dict[Trouble, dict[str, object]] = {
    Trouble.BAD_REQUEST: {"error": {"status": 400, "text": "prompt is too long"}},
    Trouble.RATE_LIMIT: {"limit": True},
    Trouble.UNREACHABLE: {"unreachable": True},
    Trouble.NO_LOGIN: {"auth": "login"},
}


def _toml(value: object) -> str:
    """A value as TOML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return json.dumps(value)
