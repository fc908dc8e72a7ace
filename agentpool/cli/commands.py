"""The list of commands; the module of a command is imported when that command is called.

So `agentpool status` does not pay for what `agentpool start` needs. The line of help is repeated here for the same
reason: `agentpool --help` imports none of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_POOL = "The pool"
_WORK = "Work"
_LOOK = "Look"
_CARE = "Care"
_COMPLETION = ("install_completion", "show_completion")


@dataclass(frozen=True, slots=True)
class Entry:
    """One command as `agentpool --help` shows it.

    Args:
        panel: the heading under which it stands.
        help: the first line of its own help, word for word.
    """

    panel: str
    help: str


COMMANDS = {
    "init": Entry(_POOL, "Make a pool in a project; never overwrites a file."),
    "start": Entry(_POOL, "Serve the pool: start runs for the mail that comes in."),
    "stop": Entry(_POOL, "Stop the supervisor; by default it lets the runs end first."),
    "send": Entry(_WORK, "Send a mail and print its id."),
    "ask": Entry(_WORK, "Ask a question, wait, and print the answer."),
    "wait": Entry(_WORK, "Wait until tasks are settled."),
    "inbox": Entry(_WORK, "List the answers that nobody has read yet; with an id, print one."),
    "cancel": Entry(_WORK, "Cancel a task."),
    "retry": Entry(_WORK, "Try a failed or cancelled task again."),
    "replay": Entry(_WORK, "Drop refused mail again, after its reason is mended."),
    "status": Entry(_LOOK, "What runs, what waits and why, and what today has cost."),
    "watch": Entry(_LOOK, "Follow the pool live."),
    "board": Entry(_LOOK, "List the open tasks."),
    "show": Entry(_LOOK, "Show one task: its mail, its attempts, its answer."),
    "logs": Entry(_LOOK, "Show what a run of a task said and did."),
    "doctor": Entry(_CARE, "Look for what is wrong with the pool, and say what to do about it."),
    "demo": Entry(_CARE, "Watch a made-up pool work for half a minute; costs nothing."),
    "version": Entry(_CARE, "Print the version."),
}


class Command(TyperCommand):
    """A command whose help shows no more than what is its own."""

    def get_params(self, ctx: Any) -> Any:
        """Its options and arguments; those for shell completion belong to `agentpool` itself."""
        return _without_types_of_flags(param for param in super().get_params(ctx) if param.name not in _COMPLETION)


class Commands(TyperGroup):
    """A group whose commands are imported on demand."""

    _listing = False

    def get_params(self, ctx: Any) -> Any:
        """Its own options."""
        return _without_types_of_flags(super().get_params(ctx))

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        """The names of all commands, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        """The command of this name, or None."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        if self._listing:
            return TyperCommand(cmd_name, help=entry.help, rich_help_panel=entry.panel)
        return load(cmd_name)

    def resolve_command(self, ctx: Any, args: Sequence[str]) -> Any:
        """As in any group; the base class makes its suggestions from `commands`, which is empty here."""
        self.commands = dict.fromkeys(COMMANDS, TyperCommand("any"))
        return super().resolve_command(ctx, list(args))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Writes the help of the group from `COMMANDS` alone."""
        self._listing = True
        super().format_help(ctx, formatter)
        self._listing = False


def load(name: str) -> Any:
    """The command of this name from its own module, where it is the one command of `app`."""
    app = import_module(f"agentpool.cli.{name}").app
    app.registered_commands[0].cls = Command
    command = typer.main.get_command(app)
    command.name = name
    return command


def _without_types_of_flags(params: Iterable[Any]) -> list[Any]:
    """The same options; `<bool>` beside a flag would tell nobody anything."""
    listed = list(params)
    for param in listed:
        if getattr(param, "is_flag", False):
            param.metavar = ""
    return listed
