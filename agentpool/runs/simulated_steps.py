"""What the simulated agent does at each step of a play."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shlex
import signal
import time
from string import Template
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from agentpool.model.errors import AgentError
from agentpool.runs.script_steps import (
    ApiError,
    Background,
    Cost,
    Crash,
    Deny,
    Ending,
    Fail,
    Ignore,
    Limit,
    Pause,
    Raw,
    Run,
    Say,
    Send,
    Torn,
    WaitFor,
    Write,
)
from agentpool.runs.simulated_signals import InterruptedBySignal

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterable, Mapping

    from agentpool.runs.script_steps import Step
    from agentpool.runs.simulated_signals import Signals
    from agentpool.runs.simulated_stream import Stream

#: More output of a command than this many bytes does not reach the stream.
_MOST_OUTPUT = 30_000
#: Seconds between two looks for the path of a `wait_for`.
_POLL_S = 0.01
#: Seconds that an interrupted command has to end after its SIGTERM; nothing harder follows.
_TOOL_GRACE_S = 1.0


class Outcome(NamedTuple):
    """How a turn ends.

    Args:
        subtype: of the result line; `is_error` and `status` too.
        more: the fields that only this ending has.
        exit_code: the process ends with it at once; None where it may go on with another message.
        results: how many result lines are printed.
        linger: the process stays after them.
    """

    subtype: str = "success"
    is_error: bool = False
    status: int | None = None
    more: Mapping[str, object] = {}
    exit_code: int | None = None
    results: int = 1
    linger: bool = False


class Actor:
    """Performs the steps of one run.

    Args:
        stream: where everything that it does is shown.
        signals: how it waits.
        environment: the run's own environment: outbox and texts' names come from there.
        max_usd: the run's ceiling, or None.
        heed: called after each tool call; takes up what was written to the agent meanwhile.
    """

    def __init__(
        self,
        stream: Stream,
        signals: Signals,
        environment: Mapping[str, str],
        max_usd: float | None,
        heed: Callable[[], None],
    ) -> None:
        self._stream = stream
        self._signals = signals
        self._environment = environment
        self._max_usd = max_usd
        self._heed = heed
        names = {"task": "AGENTPOOL_TASK", "name": "AGENTPOOL_NAME", "run": "AGENTPOOL_RUN"}
        self._texts = {key: environment[name] for key, name in names.items() if name in environment}

    def play(self, steps: Iterable[Step]) -> Outcome:
        """Performs the steps of one turn.

        Raises:
            AgentError: a step needs an environment variable that is not there.
            InterruptedBySignal: SIGINT came while the agent itself was waiting.
        """
        ending = Ending()
        outcome: Outcome | None = None
        for step in steps:
            if isinstance(step, Ending):
                ending = ending.then(step)
                continue
            if outcome is None:
                self._signals.wait(seconds=0)
                outcome = self._perform(step)
        if outcome is None and self._stream.last_text is None:
            self._stream.say("Done.")
        outcome = outcome or Outcome()
        return outcome._replace(
            results=outcome.results if ending.results is None else ending.results,
            linger=bool(ending.linger),
            exit_code=outcome.exit_code if ending.exit_code is None else ending.exit_code,
        )

    def _perform(self, step: Step) -> Outcome | None:  # noqa: C901, PLR0912 - a table, one row a step
        match step:
            case Say(text):
                self._stream.say(self._fill(text))
            case Write(path, text, append):
                self._write(self._fill(path), self._fill(text), append=append)
            case Send(file, header, body):
                self._send(self._fill(file), header, self._fill(body))
            case Run(argv):
                return self._run(argv)
            case Fail(text):
                text = self._fill(text)
                self._send("response.md", {"type": "response", "status": "failed"}, text)
                self._stream.say(text)
                return Outcome()
            case Deny(tool, arguments):
                self._stream.deny_tool(tool, arguments)
            case Background():
                self._leave_behind(step)
            case Cost(usd):
                return self._spend(usd)
            case Pause(seconds):
                self._signals.pause(seconds)
            case WaitFor(path):
                path = self._fill(path)
                self._signals.wait_until(lambda: os.path.exists(path), poll=_POLL_S)  # noqa: PTH110 - start-up time
            case Ignore(names):
                self._signals.ignore(names)
            case ApiError():
                return self._fail_api(step)
            case Limit(reset_in, window):
                return self._hit_limit(reset_in, window)
            case Raw(text, to_stderr):
                os.write(2, f"{text}\n".encode()) if to_stderr else self._stream.raw(text)
            case Crash(code):
                _die(code)
            case Torn():
                self._stream.torn()
                _die(1)
        return None

    def _fill(self, text: str) -> str:
        return Template(text).safe_substitute(self._texts)

    def _write(self, path: str, text: str, *, append: bool) -> None:
        if append:
            call = self._stream.call_tool("Edit", {"file_path": path, "old_string": "", "new_string": text})
        else:
            call = self._stream.call_tool("Write", {"file_path": path, "content": text})
        try:
            if directory := os.path.dirname(path):  # noqa: PTH120 - start-up time
                os.makedirs(directory, exist_ok=True)  # noqa: PTH103
            with open(path, "a" if append else "w", encoding="utf-8") as file:  # noqa: PTH123
                file.write(text)
        except OSError as error:
            self._stream.tool_result(call, f"{path}: {error.strerror}", is_error=True)
        else:
            self._stream.tool_result(call, f"The file {path} has been written.")
        self._heed()

    def _send(self, name: str, header: Mapping[str, object], body: str) -> None:
        outbox = self._environment.get("AGENTPOOL_OUTBOX")
        if outbox is None:
            raise AgentError(
                f"{name} cannot be sent: AGENTPOOL_OUTBOX is not set", tip="a supervisor sets it for its runs"
            )
        lines = [f"{key}: {self._yaml(value)}\n" for key, value in header.items()]
        text = "".join(("---\n", *lines, "---\n", body, "" if body.endswith("\n") else "\n"))
        path = os.path.join(outbox, name)  # noqa: PTH118
        call = self._stream.call_tool("Write", {"file_path": path, "content": text})
        aside = os.path.join(outbox, f".{name}.{os.getpid()}")  # noqa: PTH118
        with open(aside, "w", encoding="utf-8") as file:  # noqa: PTH123
            file.write(text)
        os.replace(aside, path)  # noqa: PTH105
        self._stream.tool_result(call, f"The file {path} has been written.")
        self._heed()

    def _yaml(self, value: object) -> str:
        """A header's value; JSON is YAML, and quotes what YAML would read as something else."""
        if isinstance(value, str):
            value = self._fill(value)
        elif isinstance(value, tuple):
            value = [self._fill(item) for item in value]
        return json.dumps(value, ensure_ascii=False)

    def _run(self, argv: tuple[str, ...]) -> Outcome | None:
        from subprocess import DEVNULL, PIPE, STDOUT, Popen  # noqa: PLC0415 - 7 ms that a run without commands saves

        call = self._stream.call_tool("Bash", {"command": shlex.join(argv), "description": "a step of the script"})
        try:
            child = Popen(argv, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, start_new_session=True)
        except OSError as error:
            self._stream.tool_result(call, f"Exit code 127\n{argv[0]}: {error.strerror}", is_error=True)
            return None
        with child:
            try:
                output = self._follow(child)
            except InterruptedBySignal:
                self._end(child)
                self._stream.interrupted(tool_call=call)
                return interruption("aborted_tools")._replace(exit_code=1)
        text = output.decode("utf-8", "replace").rstrip("\n")
        if child.returncode:
            self._stream.tool_result(call, f"Exit code {child.returncode}\n{text}", is_error=True)
        else:
            self._stream.tool_result(call, text or "(Bash completed with no output)")
        self._heed()
        return None

    def _follow(self, child: subprocess.Popen[bytes]) -> bytes:
        """What the command printed until it ended; a process that it left behind may hold the pipe open."""
        assert child.stdout is not None  # noqa: S101 - it is a pipe
        pipe = child.stdout.fileno()
        os.set_blocking(pipe, False)
        output = b""
        is_open = True
        while True:
            ended = child.poll() is not None
            if not ended:
                self._signals.wait(*([pipe] if is_open else []))
            with contextlib.suppress(BlockingIOError):
                while is_open and (piece := os.read(pipe, 65536)):
                    output = (output + piece)[:_MOST_OUTPUT]
                is_open = False
            if ended:
                return output

    def _end(self, child: subprocess.Popen[bytes]) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)
        end = time.monotonic() + _TOOL_GRACE_S
        # A second SIGINT changes nothing: the run is ending already.
        with contextlib.suppress(InterruptedBySignal):
            self._signals.wait_until(lambda: child.poll() is not None or time.monotonic() > end, poll=0.05)

    def _leave_behind(self, step: Background) -> None:
        from subprocess import DEVNULL, PIPE, Popen  # noqa: PLC0415 - as above

        ignored = " ".join(name.removeprefix("SIG") for name in step.ignore)
        trap = f"trap '' {ignored}; " if ignored else ""
        script = f"{trap}echo ready; exec sleep {step.seconds:g} >/dev/null"
        call = self._stream.call_tool("Bash", {"command": f"{script} &", "description": "a step of the script"})
        child = Popen(["sh", "-c", script], stdin=DEVNULL, stdout=PIPE, start_new_session=step.own_session)
        assert child.stdout is not None  # noqa: S101 - it is a pipe
        child.stdout.readline()  # so that its traps are set before the next step
        child.stdout.close()
        self._stream.tool_result(call, str(child.pid))
        self._heed()

    def _spend(self, usd: float) -> Outcome | None:
        self._stream.cost_usd += usd
        if self._max_usd is None or self._stream.cost_usd < self._max_usd:
            return None
        errors = [f"Reached maximum budget (${self._max_usd:g})"]
        return Outcome("error_max_budget_usd", is_error=True, more={"errors": errors}, exit_code=1)

    def _fail_api(self, error: ApiError) -> Outcome | None:
        for attempt in range(1, error.retries + 1):
            self._stream.api_retry(attempt, error.retries, error.delay, error.status, error.retry_error)
            self._signals.pause(error.delay)
        if error.recovers:
            return None
        return self._refused(error.status, error.text, error.error)

    def _hit_limit(self, reset_in: float, window: str) -> Outcome:
        resets_at = math.ceil(time.time() + reset_in)
        self._stream.rate_limit(resets_at, "five_hour" if window == "session" else "seven_day")
        when = time.gmtime(resets_at)
        hour = f"{when.tm_hour % 12 or 12}:{when.tm_min:02}{'am' if when.tm_hour < 12 else 'pm'} (UTC)"  # noqa: PLR2004
        return self._refused(429, f"You've hit your {window} limit · resets {hour}", "rate_limit")

    def _refused(self, status: int | None, text: str, error: str) -> Outcome:
        self._stream.api_error(text, error)
        # The real command calls this a success, and an error in the next field.
        return Outcome("success", is_error=True, status=status, more={"stop_reason": "stop_sequence"}, exit_code=1)


def interruption(reason: str) -> Outcome:
    """The ending of a turn that SIGINT cut short; the exit code is 0, measured, where no command was running."""
    more = {"terminal_reason": reason, "stop_reason": "tool_use", "errors": ["interrupted by SIGINT"]}
    return Outcome("error_during_execution", is_error=True, more=more, exit_code=0)


def _die(code: int | None) -> NoReturn:
    if code is None:
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(code or 0)
