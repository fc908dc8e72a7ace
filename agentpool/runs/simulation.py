"""The simulated agent's process: it speaks the protocol of `claude -p` and does what a script says.

    python -m agentpool.runs.simulation -p --input-format stream-json --output-format stream-json --verbose \
        [--script FILE] [--model NAME] [--session-id UUID] [--max-budget-usd AMOUNT]

The other flags of the real command are accepted and do nothing; `agentpool.runs.script` explains the script. It
costs no token, needs no account and talks to no server, so a pool can be rehearsed and tested with it. What was
measured on the real command holds here too:

* Without a message (end of input, or a regular file as standard input): exit code 0 and no output.
* Each message is a turn, with an init line and a result of its own; messages that come while the agent uses tools
  belong to that turn. After the last turn it exits when its input is closed, not before.
* SIGINT while a command runs ends the command (SIGTERM to its process group) and the turn: a result
  `error_during_execution`, exit code 1. At another moment of a turn the exit code is 0, and there is no result
  where nothing had been said yet. Between turns: exit code 0.
* SIGTERM: exit code 143 (SIGHUP: 129), no result, and commands live on in their own sessions.
* An answer of the API that is an error is a result with subtype `success` and `is_error`, and exit code 1.

It differs in this: it connects to no MCP server and asks no hook, and no permission holds it back. It refuses a
tool call only where the script says so.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from typing import TYPE_CHECKING

from agentpool.model.errors import AgentpoolError, UsageError
from agentpool.runs.script_steps import Say
from agentpool.runs.simulated_arguments import parse_arguments
from agentpool.runs.simulated_signals import InterruptedBySignal, Signals
from agentpool.runs.simulated_steps import Actor, Outcome, interruption
from agentpool.runs.simulated_stream import VERSION, Stream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentpool.runs.script import Play, Script
    from agentpool.runs.simulated_arguments import Options

_STDIN = 0
_LONGEST_QUOTE = 200


class Messages:
    """The user messages on standard input.

    Args:
        signals: how to wait for them.
    """

    def __init__(self, signals: Signals) -> None:
        self._signals = signals
        self._unread = b""
        self._waiting: list[str] = []
        self._closed = stat.S_ISREG(os.fstat(_STDIN).st_mode)

    def next(self) -> str | None:
        """The next message, as soon as there is one; None when the input has ended.

        Raises:
            UsageError: a line is no JSON.
            InterruptedBySignal: SIGINT came first.
        """
        while not self._waiting and not self._closed:
            if self._signals.wait(_STDIN):
                self._read()
        return self._waiting.pop(0) if self._waiting else None

    def heed(self) -> None:
        """Takes up what has been written meanwhile: it belongs to the turn that is going on.

        Raises:
            UsageError: a line is no JSON.
        """
        while not self._closed and self._signals.wait(_STDIN, seconds=0):
            self._read()
        self._waiting.clear()

    def _read(self) -> None:
        piece = os.read(_STDIN, 1 << 16)
        self._closed = not piece
        *lines, self._unread = (self._unread + (piece or b"\n")).split(b"\n")
        for line in lines:
            if line.strip() and (text := _message_text(line)) is not None:
                self._waiting.append(text)


def _message_text(line: bytes) -> str | None:
    """The text of a user message; None for a line of another type."""
    try:
        data = json.loads(line)
    except ValueError as error:
        raise UsageError(
            f"Error parsing streaming input line: {line[:200].decode(errors='replace')}: {error}"
        ) from error
    match data:
        case {"type": "user", "message": {"content": str(text)}}:
            return text
        case {"type": "user", "message": {"content": [*blocks]}}:
            return "\n".join(str(block["text"]) for block in blocks if isinstance(block, dict) and "text" in block)
    return None


class Simulation:
    """One process: its messages, each played to its end."""

    def __init__(self, options: Options, script: Script | None) -> None:
        self._script = script
        self._signals = Signals()
        self._stream = Stream(options.session_id, options.model, options.permission_mode)
        self._messages = Messages(self._signals)
        self._actor = Actor(self._stream, self._signals, os.environ, options.max_usd, self._messages.heed)

    def run(self) -> int:
        """Plays until the input ends; returns the exit code.

        Raises:
            AgentpoolError: a line of the input, or a step, cannot be.
        """
        exit_code = 0
        turn = 0
        try:
            while (message := self._messages.next()) is not None:
                turn += 1
                outcome = self._play(message, turn)
                if outcome.linger:
                    self._signals.pause(None)
                exit_code = outcome.exit_code or 0
                if outcome.exit_code is not None:
                    break
        except InterruptedBySignal:
            return 0  # between two turns
        return exit_code

    def _play(self, message: str, turn: int) -> Outcome:
        play = self._play_for(message, turn)
        self._stream.begin_turn(message, play.mcp_failed if play else ())
        steps = play.steps if play else (Say(_polite_answer(message, turn)),)
        try:
            outcome = self._actor.play(steps)
        except InterruptedBySignal:
            outcome = interruption("aborted_streaming")
            if self._stream.answers:
                self._stream.interrupted(tool_call=None)
            else:
                outcome = outcome._replace(results=0)
        for _ in range(outcome.results):
            self._stream.result(
                subtype=outcome.subtype, is_error=outcome.is_error, status=outcome.status, **outcome.more
            )
        return outcome

    def _play_for(self, message: str, turn: int) -> Play | None:
        if self._script is None:
            return None
        from agentpool.runs.script import Situation  # noqa: PLC0415 - loaded by now, as there is a script

        environment = os.environ
        return self._script.play_for(
            Situation(
                name=environment.get("AGENTPOOL_NAME", ""),
                role=environment.get("AGENTPOOL_ROLE", ""),
                task=environment.get("AGENTPOOL_TASK", ""),
                attempt=_number(environment.get("AGENTPOOL_ATTEMPT", "")),
                run=_number(environment.get("AGENTPOOL_RUN", "").rpartition(".")[2]),
                turn=turn,
                message=message,
            )
        )


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


def _polite_answer(message: str, turn: int) -> str:
    text = (_mail_body() if turn == 1 else None) or message
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    if len(first) > _LONGEST_QUOTE:
        first = f"{first[:_LONGEST_QUOTE]}…"
    return f"Thank you for your mail. I am the simulated agent and have no play for it; it begins: {first}"


def _mail_body() -> str | None:
    """The task's mail without its header, where the run belongs to a pool: the message holds much besides it."""
    try:
        path = os.path.join(os.environ["AGENTPOOL_POOL"], "mail", f"{os.environ['AGENTPOOL_TASK']}.md")  # noqa: PTH118
        with open(path, encoding="utf-8") as file:  # noqa: PTH123
            text = file.read()
    except (KeyError, FileNotFoundError):
        return None
    if text.startswith("---\n"):
        text = text.partition("\n---\n")[2]
    return text


def main(arguments: Sequence[str]) -> int:
    """Runs the process; returns its exit code."""
    if "--version" in arguments or "-v" in arguments:
        os.write(1, f"{VERSION} (the simulated agent of agentpool)\n".encode())
        return 0
    try:
        options = parse_arguments(arguments)
        script = None
        if options.script is not None:
            from agentpool.runs.script import load  # noqa: PLC0415 - 5 ms that a run without a script saves

            script = load(options.script)
        return Simulation(options, script).run()
    except AgentpoolError as error:
        tip = f"\n{error.tip}" if error.tip else ""
        os.write(2, f"{error.message}{tip}\n".encode())
        return 1


if __name__ == "__main__":
    # All output is written already; taking the interpreter down in order would cost each run 3 ms.
    os._exit(main(sys.argv[1:]))
