"""The `claude` command as an agent: its command line, and what its streams come to.

Everything here was measured on the real command; `tests/claude/` repeats the measurements.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agentpool.model.errors import AgentError
from agentpool.model.run import EndedBy, FailureKind, RunReport
from agentpool.runs.agent import Command

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agentpool.runs.agent import RunSpec
    from agentpool.runs.stream import StreamSummary

IDENTITY = "identity.md"

#: What no run may do to the tree that it shares with others, whatever else it may do.
ALWAYS_DENIED = ("Bash(git stash:*)", "Bash(git reset --hard:*)", "Bash(git clean:*)")

#: Taken unless the run's environment has its own value.
ENVIRONMENT: dict[str, str] = {
    # Knowledge belongs into the pool's files, not into a memory of the command's own.
    "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "1",
    # A command left in the background would keep the run alive after its result, and then be killed all the same.
    "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",
    # Nothing is left to be woken once a run has ended.
    "CLAUDE_CODE_DISABLE_CRON": "1",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    # How long to wait for a struggling API is the pool's decision. One retry heals a hiccup, and its line in the
    # stream is the only place that tells what the API asked for in `retry-after`.
    "CLAUDE_CODE_MAX_RETRIES": "1",
}

#: In this mode a tool that is not allowed is refused in any case, so it need not even be described to the model: that
#: is most of a request.
_REFUSES_THE_REST = "dontAsk"
_MCP = "mcp__"

_TIP = "set `[agent] command` in pool.toml, or look with: agentpool doctor"


class Claude:
    """The adapter for `claude -p`.

    Args:
        command: the program, or the program and its first arguments. A name without a slash is looked for on the
            run's PATH, a relative path in the project.
        setting_sources: which of `user`, `project` and `local` settings are loaded.
        extra: further arguments, put last.
    """

    def __init__(
        self,
        command: Sequence[str] | str = "claude",
        setting_sources: Sequence[str] = ("user",),
        extra: Sequence[str] = (),
    ) -> None:
        self._command = (command,) if isinstance(command, str) else tuple(command)
        self._setting_sources = ",".join(setting_sources)
        self._extra = tuple(extra)
        self._found: dict[tuple[str, str], str] = {}

    def command(self, spec: RunSpec) -> Command:
        """The command line of one run; writes `identity.md` into its directory.

        Raises:
            AgentError: the command is not there or cannot be executed.
        """
        environment = {**ENVIRONMENT, **spec.environment}
        argv = [self._resolve(spec, environment.get("PATH", os.defpath)), *self._command[1:], "-p"]
        argv += ["--input-format", "stream-json", "--output-format", "stream-json", "--verbose"]
        if spec.identity:
            identity = spec.directory / IDENTITY
            identity.write_text(spec.identity, encoding="utf-8", errors="replace")
            argv += ["--append-system-prompt-file", str(identity)]
        if spec.model is not None:
            argv += ["--model", spec.model]
        if spec.max_usd is not None:
            argv += ["--max-budget-usd", f"{spec.max_usd:.6f}".rstrip("0").rstrip(".")]
        argv += ["--permission-mode", spec.permission_mode]
        if spec.allowed_tools:
            argv += ["--allowedTools", *spec.allowed_tools]
            if spec.permission_mode == _REFUSES_THE_REST:
                argv += ["--tools", ",".join(_built_in(spec.allowed_tools))]
        # As text and not as a file: making a file is what costs a run time.
        settings = {"permissions": {"deny": [*spec.deny, *ALWAYS_DENIED]}}
        argv += ["--settings", json.dumps(settings, separators=(",", ":"))]
        argv += ["--setting-sources", self._setting_sources, "--strict-mcp-config"]
        # The directory and git's status then stand in the message, and the system prompt is the same in every run of
        # a role: the provider's cache of it holds.
        argv += ["--exclude-dynamic-system-prompt-sections", *self._extra]
        return Command(argv=tuple(argv), environment=environment, directory=spec.project, stdin=user_line(spec.message))

    def judge(self, summary: StreamSummary, report: RunReport) -> RunReport:
        """See the function `judge`."""
        return judge(summary, report)

    def _resolve(self, spec: RunSpec, path: str) -> str:
        name = self._command[0]
        found = self._found.get((name, path))
        if found is not None and os.access(found, os.X_OK):
            return found
        if os.sep in name:
            found = os.path.join(spec.project, name)  # noqa: PTH118 - an absolute name stays as it is written
            if not os.access(found, os.X_OK) or os.path.isdir(found):  # noqa: PTH112 - a string, as above
                raise AgentError(f"the agent command {found} is not there or cannot be executed", tip=_TIP)
        else:
            found = shutil.which(name, path=path)
            if found is None:
                raise AgentError(f"the agent command `{name}` is not on the run's PATH ({path})", tip=_TIP)
        self._found[name, path] = found
        return found


def _built_in(allowed_tools: Sequence[str]) -> tuple[str, ...]:
    """The command's own tools that these rules name: `Bash(npm:*)` names `Bash`. `--tools` is not about MCP tools."""
    names = (rule.partition("(")[0].strip() for rule in allowed_tools)
    return tuple(dict.fromkeys(name for name in names if name and not name.startswith(_MCP)))


def user_line(message: str) -> bytes:
    """The one line of standard input that hands a run its message."""
    line = {"type": "user", "message": {"role": "user", "content": message}}
    return json.dumps(line, ensure_ascii=False).encode(errors="replace") + b"\n"


#: The command's own words for a failed request.
_KIND_OF_ERROR = {
    "rate_limit": FailureKind.LIMIT,
    "billing_error": FailureKind.LIMIT,
    "authentication_failed": FailureKind.AUTH,
    "oauth_org_not_allowed": FailureKind.AUTH,
    "overloaded": FailureKind.TRANSIENT,
    "server_error": FailureKind.TRANSIENT,
}
_KIND_OF_STATUS = {
    401: FailureKind.AUTH,
    403: FailureKind.AUTH,
    408: FailureKind.TRANSIENT,
    429: FailureKind.LIMIT,
}
_SERVER_ERROR = 500

#: Only asked about results that are errors, and only where no structured field tells.
_KIND_OF_TEXT = (
    (
        FailureKind.LIMIT,
        re.compile(
            r"usage limit|\blimit reached|(hit|reached) your [^.]*limit|out of usage credits|credit balance",
            re.IGNORECASE,
        ),
    ),
    (
        FailureKind.AUTH,
        re.compile(
            r"not logged in|run /login|invalid api key|failed to authenticate|authentication failed"
            r"|oauth token (has )?(been )?(expired|revoked)",
            re.IGNORECASE,
        ),
    ),
    (
        FailureKind.TRANSIENT,
        re.compile(
            r"unable to connect|connection (error|refused|reset|closed)|econn(refused|reset|aborted)|etimedout|epipe"
            r"|socket hang up|fetch failed|request timed out|overloaded|api error: 5\d\d|internal server error",
            re.IGNORECASE,
        ),
    ),
)
#: What a command that got SIGINT prints: our own stop, told back to us.
_INTERRUPTED = "error_during_execution"
#: Older commands report a limit as a normal answer that is exactly this text; the number is the reset's time.
_LIMIT_ANSWER = re.compile(r"Claude (?:AI|Code) usage limit reached\|(\d{10})\d*")


def judge(summary: StreamSummary, report: RunReport) -> RunReport:
    """Decides whether a run failed, why, and what a person reads about it.

    The last result line decides, by `is_error`: neither its subtype alone nor the exit code does, and a good result
    stands however the process came to its end. Of an error, structured fields are asked before texts.

    Args:
        summary: all that the run said.
        report: what is known otherwise; its text is the end of the error output.

    Returns:
        The report with `failure`, `text` and `retry_at` set.
    """
    result = summary.result
    kind: FailureKind | None
    if result is None:
        kind, text = _kind_without_result(summary, report), _text_without_result(summary, report)
    else:
        stopped = result.get("subtype") == _INTERRUPTED and report.ended_by is not EndedBy.ITSELF
        text = _text_without_result(summary, report) if stopped else _text_of(result)
        kind = _kind_without_result(summary, report) if stopped else _kind_of_result(summary, result, text)
    retry_at = _retry_at(summary, text) if kind is FailureKind.LIMIT else None
    return replace(report, failure=kind, text=text, retry_at=retry_at)


def _kind_of_result(summary: StreamSummary, result: Mapping[str, Any], text: str) -> FailureKind | None:
    subtype = str(result.get("subtype"))
    if not result.get("is_error") and not subtype.startswith("error"):
        return FailureKind.LIMIT if _LIMIT_ANSWER.fullmatch(text.strip()) else None
    if subtype == "error_max_budget_usd":
        return FailureKind.BUDGET
    status = result.get("api_error_status")
    return (
        _KIND_OF_ERROR.get(summary.api_error or "")
        or (_kind_of_status(status) if isinstance(status, int) else None)
        or (FailureKind.LIMIT if summary.limited else None)
        # A status that is known and means nothing special: its text is the API's, about what was asked.
        or (_kind_of_text(text) if not isinstance(status, int) else None)
        or FailureKind.AGENT
    )


def _kind_without_result(summary: StreamSummary, report: RunReport) -> FailureKind:
    if report.ended_by is EndedBy.STOP:
        return FailureKind.SUPERVISOR
    struggling = _kind_of_struggle(summary)
    if struggling is not None:
        return struggling
    if report.ended_by in (EndedBy.STALL, EndedBy.TIMEOUT):
        return FailureKind.TIMEOUT
    if report.ended_by is EndedBy.VANISHED:
        return FailureKind.SUPERVISOR
    # Nothing but stderr tells of a command that never came as far as its stream.
    said = None if report.has_output else _kind_of_text(report.text)
    return said if said is FailureKind.AUTH else FailureKind.AGENT


def _kind_of_struggle(summary: StreamSummary) -> FailureKind | None:
    """What the API's trouble comes to, where the run ended in the middle of it."""
    if summary.limited:
        return FailureKind.LIMIT
    if summary.retry is None:
        return _KIND_OF_ERROR.get(summary.api_error or "")
    return (
        _KIND_OF_ERROR.get(summary.retry.error)
        or (_kind_of_status(summary.retry.status) if summary.retry.status is not None else None)
        or FailureKind.TRANSIENT
    )


def _kind_of_status(status: int) -> FailureKind | None:
    return FailureKind.TRANSIENT if status >= _SERVER_ERROR else _KIND_OF_STATUS.get(status)


def _kind_of_text(text: str) -> FailureKind | None:
    return next((kind for kind, pattern in _KIND_OF_TEXT if pattern.search(text)), None)


def _text_of(result: Mapping[str, Any]) -> str:
    text = result.get("result")
    if isinstance(text, str) and text:
        return text
    errors = result.get("errors")
    if isinstance(errors, list) and errors:
        return "; ".join(str(error) for error in errors)
    return "" if not result.get("is_error") else f"the run ended with {result.get('subtype')}"


def _text_without_result(summary: StreamSummary, report: RunReport) -> str:
    match report.ended_by:
        case EndedBy.STALL:
            text = "there was no output for `stall_timeout`"
        case EndedBy.TIMEOUT:
            text = "it took longer than `run_timeout`"
        case EndedBy.STOP:
            text = "it was stopped on request"
        case EndedBy.VANISHED:
            text = "it was gone when a supervisor looked again"
        case _:
            text = f"it ended without a result ({_exit(report.exit_code)})"
    if summary.torn:
        text += ", in the middle of a line"
    if summary.tool is not None:
        text += f", while {summary.tool.name} worked on: {summary.tool.argument}"
    if summary.retry is not None:
        text += f"; the API had failed before ({summary.retry.status or 'no answer'}, {summary.retry.error})"
    return f"{text}\n\n{report.text}" if report.text else text


def _exit(code: int | None) -> str:
    if code is None:
        return "exit code unknown"
    if code == -signal.SIGKILL:
        return "killed by SIGKILL: out of memory?"
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"


def _retry_at(summary: StreamSummary, text: str) -> float | None:
    if summary.limit_resets_at is not None:
        return summary.limit_resets_at
    if match := _LIMIT_ANSWER.search(text):
        return float(match[1])
    # What the API asks for in `retry-after` is whole seconds. The command's own pauses are spread by chance and say
    # nothing of the limit; so short, they would have the pool ask again all the time.
    if summary.retry is not None and summary.last_output_at is not None and summary.retry.delay_s.is_integer():
        return summary.last_output_at + summary.retry.delay_s
    return None
