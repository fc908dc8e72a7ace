"""The steps of a play of the simulated agent, as values (`script` says how they are written)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

# Named tuples, not data classes: importing `dataclasses` would cost each simulated run as much as the rest of it.


class Say(NamedTuple):
    """A text of the agent."""

    text: str


class Write(NamedTuple):
    """A file that is written whole, or added to."""

    path: str
    text: str
    append: bool


class Run(NamedTuple):
    """A command that is run to its end."""

    argv: tuple[str, ...]


class Send(NamedTuple):
    """A file for the outbox; header values are plain TOML values."""

    file: str
    header: Mapping[str, object]
    body: str


class Fail(NamedTuple):
    """The agent says that it failed, and stops."""

    text: str


class Deny(NamedTuple):
    """A tool call that is refused."""

    tool: str
    input: Mapping[str, object]


class Background(NamedTuple):
    """A process that outlives the run."""

    seconds: float
    ignore: tuple[str, ...]
    own_session: bool


class Cost(NamedTuple):
    """Money spent."""

    usd: float


class Pause(NamedTuple):
    """Time that passes; for ever where `seconds` is None."""

    seconds: float | None


class WaitFor(NamedTuple):
    """The agent goes on when this path exists."""

    path: str


class Ignore(NamedTuple):
    """Signals that do nothing from here on."""

    signals: tuple[str, ...]


class Crash(NamedTuple):
    """The end without a result: by SIGKILL where `code` is None."""

    code: int | None


class Torn(NamedTuple):
    """The end in the middle of a line."""


class ApiError(NamedTuple):
    """The API refuses or cannot be reached.

    Args:
        status: of the HTTP answer; None where there was none.
        text: what the result says.
        retry_error: the word on the `api_retry` lines.
        error: the word on the last assistant line.
        retries: how many `api_retry` lines come first.
        delay: seconds before each retry.
        recovers: whether the turn goes on after the retries.
    """

    status: int | None
    text: str
    retry_error: str
    error: str
    retries: int = 0
    delay: float = 0.0
    recovers: bool = False


class Limit(NamedTuple):
    """A usage limit that says when it ends.

    Args:
        reset_in: seconds from now.
        window: `session` or `weekly`.
    """

    reset_in: float
    window: str


class Ending(NamedTuple):
    """What is unusual about the end of the turn; None leaves a thing as it was."""

    results: int | None = None
    linger: bool | None = None
    exit_code: int | None = None

    def then(self, later: Ending) -> Ending:
        """Both; the later one wins."""
        return Ending(
            self.results if later.results is None else later.results,
            self.linger if later.linger is None else later.linger,
            self.exit_code if later.exit_code is None else later.exit_code,
        )


class Raw(NamedTuple):
    """A line as it is, on standard output or standard error."""

    text: str
    to_stderr: bool


Step = (
    Say
    | Write
    | Run
    | Send
    | Fail
    | Deny
    | Background
    | Cost
    | Pause
    | WaitFor
    | Ignore
    | Crash
    | Torn
    | ApiError
    | Limit
    | Ending
    | Raw
)
