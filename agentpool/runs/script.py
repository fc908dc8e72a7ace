r"""The script that the simulated agent plays: a TOML file, read and checked before anything runs.

A script is a list of plays. Each message that the agent gets is answered with the first play that matches it:

    [[play]]
    name = "backend"          # the mailbox; `*` and `?` stand for anything, here and in the next two
    role = "expert"
    task = "health-*"         # the task's id
    mail = "(?i)health"       # a regular expression, found anywhere in the message
    attempt = 2               # the attempt that AGENTPOOL_ATTEMPT tells
    run = 2                   # the number at the end of AGENTPOOL_RUN: the second run of its task
    turn = 2                  # the second message of one process; a play without `turn` is for the first
    mcp_failed = ["pool"]     # servers that the first line calls failed (not a matcher)
    steps = [
        { say = "I add the route." },
        { write = { path = "health.py", text = "OK = True\n" } },
        { run = ["python", "-m", "pytest", "-q"] },
        { respond = { status = "done", body = "The route is there." } },
    ]

A play without matchers matches every message. No play, or none that matches: one polite line that quotes the mail.

Steps that do something, each shown in the stream as the tool call that the real command would make:

    say = "text"                            a text of the agent; the last one is the text of the result
    write = { path, text }                  writes a file, with its directories; paths start at the working directory
    append = { path, text }                 adds to the end of a file
    run = ["argv", "…"]                     runs a command, no shell, in a session of its own, and waits for it
    send = { name = "x.md", body, … }       mail into AGENTPOOL_OUTBOX; every other key goes into its header
    respond = { status = "done", body, … }  the answer to the task: `response.md` in the outbox
    fail = "why"                            answers with status failed and ends the turn
    deny = { tool = "Bash", input = { … } } a tool call that is refused, and listed in the result
    background = { lives = "1m" }           a process that the run leaves behind; also `ignore = ["SIGTERM"]` and
                                            `own_session = false` (it stays in the agent's process group)
    cost = 0.12                             US dollars spent so far; the ceiling of --max-budget-usd holds

Steps that steer:

    wait_for = "path"                       goes on when the path exists
    pause = "200ms"                         goes on after that time
    ignore = ["SIGINT", "SIGTERM"]          from here on these signals (SIGHUP too) do nothing

Steps that go wrong, as the real command does:

    hang = true                             silent until a signal ends it
    crash = true                            dies by SIGKILL; `crash = 3` exits with that code; no result
    torn = true                             dies in the middle of a line
    limit = true                            429, retried once, then the result; `{ reset_in = "10m" }` is a usage
                                            limit that says when it ends, by `window = "weekly"` the other one
    overloaded = true                       529; also `{ retries = 3, delay = "100ms", recovers = true }`
    unreachable = true                      the API cannot be reached; the same keys
    auth = "key"                            a wrong key (401); "login" is nobody logged in
    error = { status = 400, text = "…" }    any other answer of the API

Steps about the end, for the turn that they stand in; the process ends as usual where none is given:

    results = 2                             as many result lines; 0 is a run that ends without one
    linger = true                           prints its result and never exits
    exit = 3                                the exit code after the result
    raw = "text"                            a line of standard output as it is, for noise
    stderr = "text"                         a line of standard error

Times are texts such as "200ms", "90s", "1h30m". In the texts, names and paths of steps (not in argument lists)
`$task`, `$name` and `$run` stand for what the agent's own environment says; nothing else is replaced, and
nothing that a mail says.
"""

from __future__ import annotations

import re
import tomllib
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

from agentpool.model.errors import ConfigurationError
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
from agentpool.runs.script_value import REFERENCE, Value

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from agentpool.runs.script_steps import Step

#: Seconds before a retry where the script does not say.
_RETRY_S = 0.02
_HEADER_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}", re.ASCII)
_FILE_NAME = re.compile(r"[\w$][\w$.-]{0,199}\.md")


class Situation(NamedTuple):
    """What a play is matched with: the run's environment and the message.

    Args:
        attempt: None where the environment does not say.
        run: the number of the run of its task; None where the environment does not say.
        turn: 1 for the first message of the process.
    """

    name: str
    role: str
    task: str
    attempt: int | None
    run: int | None
    turn: int
    message: str


class Play(NamedTuple):
    """One `[[play]]`: whom it is for, and its steps."""

    name: str
    role: str
    task: str
    mail: re.Pattern[str] | None
    attempt: int | None
    run: int | None
    turn: int
    mcp_failed: tuple[str, ...]
    steps: tuple[Step, ...]

    def matches(self, situation: Situation) -> bool:
        """Whether the play is for this message."""
        return (
            self.turn == situation.turn
            and self.attempt in (None, situation.attempt)
            and self.run in (None, situation.run)
            and fnmatchcase(situation.name, self.name)
            and fnmatchcase(situation.role, self.role)
            and fnmatchcase(situation.task, self.task)
            and (self.mail is None or self.mail.search(situation.message) is not None)
        )


class Script(NamedTuple):
    """All plays, in the order in which they are tried."""

    plays: tuple[Play, ...]

    def play_for(self, situation: Situation) -> Play | None:
        """The first play that matches, or None."""
        return next((play for play in self.plays if play.matches(situation)), None)


def load(path: str | os.PathLike[str]) -> Script:
    """The script in a file.

    Raises:
        ConfigurationError: it cannot be read, is no TOML, or has a wrong key or value; the message names the file and
            the key.
    """
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib would cost each simulated run 3 ms
            data = tomllib.load(file)
    except OSError as error:
        raise ConfigurationError(
            f"{path}: the script of the simulated agent cannot be read: {error.strerror}",
            tip="`[agent] script` in pool.toml names it",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: not a TOML file: {error}", tip=REFERENCE) from error
    root = Value(str(path), "", data).table({"play"})
    if "play" not in root:
        return Script(())
    return Script(tuple(_play(item) for item in root["play"].items()))


def _play(value: Value) -> Play:
    keys = value.table(
        {"name", "role", "task", "mail", "attempt", "run", "turn", "mcp_failed", "steps"}, required=("steps",)
    )

    def pattern(key: str) -> str:
        return keys[key].text() if key in keys else "*"

    def number(key: str) -> int | None:
        return keys[key].whole(1, 1_000_000) if key in keys else None

    return Play(
        name=pattern("name"),
        role=pattern("role"),
        task=pattern("task"),
        mail=keys["mail"].pattern() if "mail" in keys else None,
        attempt=number("attempt"),
        run=number("run"),
        turn=number("turn") or 1,
        mcp_failed=keys["mcp_failed"].texts() if "mcp_failed" in keys else (),
        steps=tuple(_step(item) for item in keys["steps"].items()),
    )


def _step(value: Value) -> Step:
    members = value.table(set(_STEPS))
    if len(members) != 1:
        raise value.wrong(f"must have one key, the step, not {len(members)}")
    [(name, member)] = members.items()
    return _STEPS[name](member)


def _write(value: Value, *, append: bool = False) -> Step:
    keys = value.table({"path", "text"}, required=("path", "text"))
    return Write(keys["path"].text(), keys["text"].text(), append)


def _append(value: Value) -> Step:
    return _write(value, append=True)


def _run(value: Value) -> Step:
    argv = value.texts()
    if not argv:
        raise value.wrong("must name a command")
    return Run(argv)


def _header(keys: dict[str, Value]) -> dict[str, object]:
    header: dict[str, object] = {}
    for key, member in keys.items():
        if _HEADER_KEY.fullmatch(key) is None:
            raise member.wrong("is no key of a mail's header")
        if isinstance(member.value, list):
            header[key] = member.texts()
        elif isinstance(member.value, str | int | float):
            header[key] = member.value
        else:
            raise member.wrong("must be a text, a number, true, false, or a list of texts")
    return header


def _send(value: Value) -> Step:
    keys = value.open_table(required=("name", "body"))
    name, body = keys.pop("name"), keys.pop("body")
    if _FILE_NAME.fullmatch(name.text()) is None:
        raise name.wrong(f'must be a plain file name that ends in .md, like "review.md", not {name.value!r}')
    return Send(name.text(), _header(keys), body.text())


def _respond(value: Value) -> Step:
    keys = value.open_table(required=("body",))
    body = keys.pop("body").text()
    return Send("response.md", {"type": "response", "status": "done", **_header(keys)}, body)


def _deny(value: Value) -> Step:
    keys = value.table({"tool", "input"}, required=("tool",))
    inputs = {name: member.text() for name, member in keys["input"].open_table().items()} if "input" in keys else {}
    return Deny(keys["tool"].text(), inputs)


def _background(value: Value) -> Step:
    keys = value.table({"lives", "ignore", "own_session"}, required=("lives",))
    return Background(
        seconds=keys["lives"].seconds(),
        ignore=keys["ignore"].signals() if "ignore" in keys else (),
        own_session=keys["own_session"].flag() if "own_session" in keys else True,
    )


def _hang(value: Value) -> Step:
    value.only_true()
    return Pause(None)


def _crash(value: Value) -> Step:
    return Crash(None) if value.value is True else Crash(value.whole(0, 255))


def _torn(value: Value) -> Step:
    value.only_true()
    return Torn()


def _limit(value: Value) -> Step:
    if value.value is True:
        text = "API Error: Request rejected (429) · simulated usage limit"
        return ApiError(429, text, "rate_limit", "rate_limit", retries=1, delay=_RETRY_S)
    keys = value.table({"reset_in", "window"}, required=("reset_in",))
    window = keys["window"].one_of(("session", "weekly")) if "window" in keys else "session"
    return Limit(keys["reset_in"].seconds(), window)


def _retried(value: Value, error: ApiError) -> Step:
    keys = value.options({"retries", "delay", "recovers"})
    return error._replace(
        retries=keys["retries"].whole(0, 1000) if "retries" in keys else 1,
        delay=keys["delay"].seconds() if "delay" in keys else _RETRY_S,
        recovers=keys["recovers"].flag() if "recovers" in keys else False,
    )


def _overloaded(value: Value) -> Step:
    text = "API Error: 529 Overloaded. This is a server-side issue, usually temporary — try again in a moment."
    return _retried(value, ApiError(529, text, "overloaded", "server_error"))


def _unreachable(value: Value) -> Step:
    text = "API Error: Unable to connect to API (ConnectionRefused)"
    return _retried(value, ApiError(None, text, "unknown", "server_error"))


def _auth(value: Value) -> Step:
    word = "authentication_failed"
    if value.one_of(("key", "login")) == "login":
        return ApiError(None, "Not logged in · Please run /login", word, word)
    return ApiError(
        401, "Failed to authenticate. API Error: 401 invalid x-api-key", word, word, retries=1, delay=_RETRY_S
    )


def _error(value: Value) -> Step:
    keys = value.table({"status", "text"}, required=("status", "text"))
    status = keys["status"].whole(400, 599)
    return ApiError(status, f"API Error: {status} {keys['text'].text()}", "unknown", "unknown")


_STEPS: dict[str, Callable[[Value], Step]] = {
    "say": lambda value: Say(value.text()),
    "write": _write,
    "append": _append,
    "run": _run,
    "send": _send,
    "respond": _respond,
    "fail": lambda value: Fail(value.text()),
    "deny": _deny,
    "background": _background,
    "cost": lambda value: Cost(value.usd()),
    "wait_for": lambda value: WaitFor(value.text()),
    "pause": lambda value: Pause(value.seconds()),
    "ignore": lambda value: Ignore(value.signals()),
    "hang": _hang,
    "crash": _crash,
    "torn": _torn,
    "limit": _limit,
    "overloaded": _overloaded,
    "unreachable": _unreachable,
    "auth": _auth,
    "error": _error,
    "results": lambda value: Ending(results=value.whole(0, 100)),
    "linger": lambda value: Ending(linger=value.only_true()),
    "exit": lambda value: Ending(exit_code=value.whole(0, 255)),
    "raw": lambda value: Raw(value.text(), to_stderr=False),
    "stderr": lambda value: Raw(value.text(), to_stderr=True),
}
