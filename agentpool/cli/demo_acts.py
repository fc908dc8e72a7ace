"""The acts of the demo: what is done, what is told about it, and what the pool shows meanwhile."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING

from agentpool.cli import answers, demo_checks
from agentpool.cli.client import Client
from agentpool.cli.demo_checks import KILLED_RUN, Witness
from agentpool.cli.demo_project import FIRST_DROPS, LATER_DROPS, drop, git
from agentpool.cli.demo_scene import Scene, show
from agentpool.cli.output import say
from agentpool.cli.terminal import clip, columns, printable, style
from agentpool.model.names import HUMAN
from agentpool.runs.process_table import state_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agentpool.cli.answers import Row
    from agentpool.cli.demo_checks import Check
    from agentpool.cli.demo_project import Drop
    from agentpool.cli.demo_supervisor import DemoSupervisor
    from agentpool.pool.layout import Layout

_WIDEST = 96
_INDENT = "   "
_REFUSED = "receipts"
#: Seconds for which one sees a run at work, before its supervisor is killed and before it gets its cue to go on.
_SEEN_SECONDS = 1.0


class Acts:
    """The play, act by act.

    Args:
        layout: the pool of the demo, with no mail in it yet.
        plain: lines, not a live picture.
    """

    def __init__(self, layout: Layout, *, plain: bool) -> None:
        self._layout = layout
        self._plain = plain
        self._client = Client(layout)
        self._witness = Witness()
        self._began = time.monotonic()
        self._number = 0

    def play(self, supervisor: DemoSupervisor) -> list[Check]:
        """All acts in which a supervisor serves the pool, up to its end.

        Raises:
            AgentpoolError: something did not work at all.
        """
        self._tell_the_bug()
        self._drop_the_mail()
        last = self._work_until_the_kill(supervisor)
        self._kill(supervisor)
        self._go_on(supervisor, last)
        self._look_at_the_end()
        checks = demo_checks.checks_of_work(self._client, self._layout, self._witness)
        supervisor.stop()
        return checks

    def close(self, checks: list[Check]) -> None:
        """The last act: what was promised, whether it held, and where to look."""
        self._act("What you just saw, checked")
        for check in checks:
            sign = style("ok    ", "green") if check.holds else style("FAILED", "red")
            say(f"{_INDENT}{sign}  {check.text}")
        self._act("Look around")
        self._tell(f"It all stays in {self._layout.project}. What needs no command to be read:")
        self._list(
            ("git diff", "all that the agents changed"),
            (".agent-pool/archive/", "every mail and every answer"),
            (".agent-pool/experts/pricing/", "what pricing knows; the logs of its runs"),
            (".agent-pool/script.toml", "what the agents played, and why it is real"),
        )
        self._tell("Serve it again and go on:")
        alias = () if shutil.which("agentpool") else (f"alias agentpool={shlex.quote(_command())}",)
        self._shell(
            *alias,
            f"cd {shlex.quote(str(self._layout.project))}",
            "agentpool start -d",
            "agentpool show one-cent",
            "agentpool logs fix-price",
            "echo 'Add a price list.' > .agent-pool/experts/pricing/inbox/list.md",
            "agentpool watch",
            "agentpool stop",
        )
        self._tell("Or in a project of yours, with the real command:")
        self._shell("agentpool init --expert NAME", "agentpool start")
        seconds = time.monotonic() - self._began
        failed = sum(not check.holds for check in checks)
        say()
        if failed:
            said = f"{failed} of {len(checks)} checks failed; the supervisor's log: .agent-pool/run/supervisor.log"
            say(style(f"{said}", "red"))
        else:
            say(
                style(
                    f"All {len(checks)} checks hold, after {seconds:.0f} s. Nothing was paid, nothing runs on.", "bold"
                )
            )

    def _tell_the_bug(self) -> None:
        say(f"{style('agentpool demo', 'bold')}  a real bug, four roles, no account, no cost")
        self._act("A small shop, and one of its tests fails")
        self._tell(f"A git repository and its pool, in {self._layout.project}")
        done = demo_checks.run_tests(self._layout)
        self._witness.failed_before = done.returncode != 0
        self._shell("python3 -m unittest")
        self._quote(line for line in done.stdout.splitlines() if line.startswith(("FAIL", "AssertionError")))

    def _drop_the_mail(self) -> None:
        self._act("Work is mail, and mail is a file")
        self._tell(
            "Four files are dropped into .agent-pool/. Nobody serves the pool yet, and that does not matter: a mail "
            "lies where it was dropped until somebody does."
        )
        self._list(*((mail.file, mail.about) for mail in FIRST_DROPS))
        for mail in FIRST_DROPS:
            drop(self._layout, mail)

    def _work_until_the_kill(self, supervisor: DemoSupervisor) -> int:
        self._act("A supervisor takes it from here")
        self._tell(
            "Each task becomes one run of the agent: a process that boots from the expert's own files, works, answers "
            "and is gone. The architect splits its task between two experts and is woken when both have answered."
        )
        self._shell("agentpool start -d")
        self._tell("Two more are dropped while it works. They wait, and say for what:")
        self._list(*((mail.file, mail.about) for mail in LATER_DROPS))
        say()
        supervisor.start()
        later = [*LATER_DROPS]
        seen: list[float] = []

        def is_over() -> bool:
            if later and self._has_accepted(FIRST_DROPS):
                drop(self._layout, later.pop(0))
            if not (self._has_accepted(LATER_DROPS) and self._is_in_the_middle()):
                return False
            seen.append(time.monotonic())
            return seen[-1] - seen[0] >= _SEEN_SECONDS

        scene = Scene(self._layout, is_over)
        show(scene, since=0, plain=self._plain)
        self._witness.bounce = self._bounce()
        return scene.last

    def _kill(self, supervisor: DemoSupervisor) -> None:
        self._act("kill -9, in the middle of the work")
        pid = self._witness.pid_before = _pid(self._run_in_the_middle())
        self._shell(f"kill -9 {supervisor.pid}")
        supervisor.kill()
        state = None if pid is None else state_of(pid)
        lives = "lives on" if state is not None and not state.zombie else "has ended"
        self._tell(
            f"The supervisor is dead. The run {KILLED_RUN} of pricing (pid {pid}) {lives}: it writes into files of its "
            "own, and holds a lock by which the next supervisor knows it. So work that is paid for is not lost, and "
            "not paid for twice."
        )
        self._tell(
            "Meanwhile the misspelt mail came back to human/inbox/, with the reason; the file itself is in deadletter/:"
        )
        say()
        self._quote(self._witness.bounce.splitlines()[:1])

    def _go_on(self, supervisor: DemoSupervisor, last: int) -> None:
        self._act("The next supervisor, and the mended mail")
        refused = self._layout.deadletter / f"{_REFUSED}.md"
        self._shell(
            "agentpool start -d",
            f"sed -i s/princing/pricing/ .agent-pool/deadletter/{_REFUSED}.md",
            f"agentpool replay {_REFUSED}",
        )
        say()
        supervisor.start()
        run = self._run_in_the_middle()
        self._witness.pid_after = _pid(run) if run.get("adopted") else None
        refused.write_text(refused.read_text(encoding="utf-8").replace("princing", "pricing"), encoding="utf-8")
        self._client.replay(refused.name)
        seen_at = time.monotonic() + _SEEN_SECONDS
        cue = self._layout.run / "cue"

        def is_over() -> bool:
            if time.monotonic() >= seen_at:
                cue.touch()
            return demo_checks.are_all_answered(self._client)

        show(Scene(self._layout, is_over), since=last, plain=self._plain)

    def _look_at_the_end(self) -> None:
        self._act("Every task has one answer")
        self._run("board", "--all")
        self._act("Answers wait until you read them")
        self._run("inbox")
        self._run("inbox", "one-cent")
        self._act("The fix, and what pricing wrote down for its next task")
        self._shell("git diff shop .agent-pool")
        self._tell_difference(git(self._layout.project, "diff", "--no-color", "-U1", "--", "shop", ".agent-pool"))
        self._shell("python3 -m unittest")
        self._quote(demo_checks.run_tests(self._layout).stdout.splitlines()[-3:])

    def _has_accepted(self, drops: Sequence[Drop]) -> bool:
        """Whether none of them lies where it was dropped any more."""
        return not any((self._layout.root / mail.file).exists() for mail in drops)

    def _is_in_the_middle(self) -> bool:
        return answers.number(self._run_in_the_middle(), "tool_calls") >= 1

    def _run_in_the_middle(self) -> Row:
        runs = answers.rows(self._client.status(), "runs")
        return next((run for run in runs if run.get("run") == KILLED_RUN), {})

    def _bounce(self) -> str:
        mails = answers.rows(self._client.inbox(HUMAN), "mails")
        return next((answers.text(mail, "body") for mail in mails if mail.get("id") == f"{_REFUSED}.refused"), "")

    def _act(self, title: str) -> None:
        self._number += 1
        say()
        say(f"{style(f'{self._number}', 'cyan')}  {style(title, 'bold')}")

    def _tell(self, text: str) -> None:
        say()
        width = min(columns(), _WIDEST)
        for line in textwrap.wrap(
            printable(text),
            width,
            initial_indent=_INDENT,
            subsequent_indent=_INDENT,
            break_long_words=False,
            break_on_hyphens=False,
        ):
            say(line)

    def _list(self, *rows: tuple[str, str]) -> None:
        say()
        size = max(len(name) for name, _ in rows)
        for name, about in rows:
            say(f"{_INDENT}{style(name.ljust(size), 'cyan')}  {about}")

    def _shell(self, *lines: str) -> None:
        say()
        for line in lines:
            say(f"{_INDENT}{style('$', 'dim')} {style(line, 'green')}")

    def _quote(self, lines: Iterable[str]) -> None:
        for line in lines:
            say(f"{_INDENT}{style(clip(printable(line), columns() - len(_INDENT)), 'dim')}")

    def _run(self, *arguments: str) -> None:
        self._shell(f"agentpool {' '.join(arguments)}")
        self._show([sys.executable, "-m", "agentpool", *arguments])

    def _tell_difference(self, difference: str) -> None:
        for line in difference.splitlines():
            if not line.startswith(("diff ", "index ", "--- ")):
                colour = {"+++": "bold", "@@ ": "cyan"}.get(line[:3]) or {"+": "green", "-": "red"}.get(line[:1], "dim")
                say(f"{_INDENT}{style(clip(printable(line), columns() - len(_INDENT)), colour)}")

    def _show(self, argv: list[str]) -> None:
        """Runs a command that writes to the same place as the demo itself."""
        sys.stdout.flush()
        subprocess.run(argv, cwd=self._layout.project, stdin=subprocess.DEVNULL, check=False)


def _pid(run: Row) -> int | None:
    return int(answers.number(run, "pid")) or None


def _command() -> str:
    """What starts this very `agentpool` from any directory."""
    called = Path(sys.argv[0])
    return str(called.absolute()) if called.name == "agentpool" else f"{sys.executable} -m agentpool"
