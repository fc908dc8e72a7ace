"""Commands that look: status, board, show, inbox, watch, logs, and the live view."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from agentpool.cli.stream_text import lines_of
from agentpool.cli.terminal import clip, printable, table, width
from agentpool.cli.view import View
from tests.cli.terminal import in_terminal
from tests.gateway.fake_verbs import eventually, response, task

if TYPE_CHECKING:
    from pathlib import Path

    from agentpool.gateway.verbs import Json
    from agentpool.pool.layout import Layout
    from tests.cli.conftest import Command
    from tests.gateway.fake_verbs import ServedPool

RUN: Json = {
    "run": "health.1", "task": "health", "name": "backend", "attempt": 1, "pid": 12, "since": "2026-11-21T08:00:00Z",
    "tool": "Read session_store.py", "tool_calls": 7, "cost_usd": 0.0412, "model": "sonnet", "retrying": None,
    "subject": "Add a health endpoint", "adopted": False,
}  # fmt: skip
WAITS: Json = {"id": "q-2", "to": "nobody", "state": "blocked", "reason": "held: there is no expert nobody",
               "tip": "agentpool init --expert nobody"}  # fmt: skip
HOSTILE = "red \x1b[31m and \x07bell \u202eback [bold]x[/bold]"


def test_status_says_who_works_and_what_waits_with_the_way_out(served: ServedPool, command: Command) -> None:
    """Runs, waiting tasks with reason and command, holds, warnings and today's money are all on the screen."""
    served.verbs.state |= {
        "pool": "/x/shop/.agent-pool", "state": "held", "runs": [RUN], "waiting": [WAITS],
        "counts": {"running": 1, "blocked": 1},
        "holds": [{"hold": "limit", "reason": "the usage limit is reached", "since": None,
                   "until": "2999-01-01T00:00:00Z", "tip": "wait, or log in as somebody else"}],
        "warnings": ["pool.toml: unknown key `agnet`"],
    }  # fmt: skip
    said = command("status")
    assert said.returncode == 0
    assert said.stdout.startswith("shop  held, up for ")
    for text in (
        "/x/shop/.agent-pool", "backend", "health", "Read session_store.py", "$0.0412", "q-2", "$1.50 of $50.00",
        "there is no expert nobody", "agentpool init --expert nobody", "the usage limit is reached", "2999",
        "somebody else", "agnet",
    ):  # fmt: skip
        assert text in said.stdout


def test_status_does_not_guess_a_cost(served: ServedPool, command: Command) -> None:
    """A living run whose cost is not known yet has a dash, and one between two tools thinks."""
    served.verbs.state |= {"runs": [RUN | {"cost_usd": 0.0, "tool": None}]}
    said = command("status").stdout
    assert "–  thinking (7)" in said  # noqa: RUF001 - a dash
    assert " running for " in said


def test_status_as_json_has_the_documented_keys(served: ServedPool, command: Command) -> None:
    """`status --json` is the supervisor's object with the keys that scripts rely on."""
    served.verbs.state |= {"runs": [RUN]}
    said = json.loads(command("status", "--json").stdout)
    assert {"pid", "pool", "state", "since", "runs", "waiting"} <= set(said)
    assert said["runs"][0]["task"] == "health"


def test_status_without_a_supervisor_names_what_is_open(layout: Layout, command: Command) -> None:
    """Exit code 3, a clear line, and the open tasks of the last board that was written."""
    layout.taskboard.write_text(json.dumps({"tasks": [task("open-one"), task("old", state="done")]}))
    said = command("status")
    assert said.returncode == 3
    assert "open-one" in said.stdout
    assert "old" not in said.stdout
    assert said.stderr.startswith(f"error: no supervisor serves {layout.root}")
    assert "agentpool start" in said.stderr
    as_json = command("status", "--json")
    assert as_json.returncode == 3
    assert json.loads(as_json.stdout)["waiting"][0]["id"] == "open-one"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"tasks": {}}', '{"tasks": [1, {"name": "x"}]}', "\udcff"])
def test_a_foreign_taskboard_does_no_harm(layout: Layout, command: Command, content: str) -> None:
    """A board of another program is not shown and not stumbled over."""
    layout.taskboard.write_bytes(content.encode(errors="surrogateescape"))
    said = command("status")
    assert (said.returncode, said.stdout) == (3, "")
    assert "Traceback" not in said.stderr


def test_what_comes_from_mail_cannot_steer_the_terminal(served: ServedPool, command: Command) -> None:
    """Escape sequences in subjects, reasons and answers come out as visible characters."""
    served.verbs.state |= {"waiting": [WAITS | {"reason": HOSTILE, "id": HOSTILE}], "warnings": [HOSTILE]}
    served.verbs.tasks = {"a": task("a", state="failed", reason=HOSTILE, subject=HOSTILE, mail=HOSTILE)}
    for arguments in (["status"], ["board", "--all"]):
        assert "\x1b" not in command(*arguments).stdout
    _, drawn = in_terminal(command, "show", "a")
    assert "\x1b[31m and" not in drawn
    assert "\x07" not in drawn


def test_board_lists_tasks(served: ServedPool, command: Command) -> None:
    """Open tasks, with --all also the settled ones, each with its reason below it, and as JSON under `tasks`."""
    served.verbs.tasks = {
        "a": task("a", waits_for=["b"], state="blocked"),
        "b": task("b", state="running", cancel_requested=True),
        "old": task("old", state="failed", reason="it gave up"),
    }
    said = command("board").stdout.splitlines()
    assert [said[1].endswith("about a"), said[3].endswith("about b")] == [True, True]
    assert [said[2], said[4]] == ["    waits for b", "    to be cancelled"]
    assert "old" not in "".join(said)
    settled = command("board", "--all").stdout.splitlines()[-2:]
    assert settled[0].endswith("about old")
    assert settled[1] == "    it gave up"
    listed = json.loads(command("board", "--all", "--json").stdout)["tasks"]
    keys = {"id", "to", "from", "type", "state", "reason", "attempt", "priority", "depends_on", "created", "started",
            "ended", "cost_usd"}  # fmt: skip
    assert keys <= set(listed[0])


def test_show_tells_everything_about_a_task(served: ServedPool, command: Command) -> None:
    """Its mail, why it failed, each run with its cost, what was denied and how to allow it, and the answer."""
    attempt: Json = {
        "run": "a.1", "step": "failed", "failure": "permission", "reason": "gave up", "seconds": 61.0, "cost_usd": 0.3,
        "turns": 3, "input_tokens": 100, "output_tokens": 20, "denials": [{"tool": "Bash", "rule": "Bash(npm test:*)"}],
    }  # fmt: skip
    served.verbs.tasks["a"] = task(
        "a", state="failed", reason="gave up", attempts=[attempt], response=response("a", "No.", status="failed")
    )
    said = command("show", "a").stdout
    for text in (
        "do a", "gave up", "a.1", "1m 01s", "$0.30", "3 turns", "Bash(npm test:*)", "allowed_tools", "No.",
        "a.response",
    ):  # fmt: skip
        assert text in said
    assert json.loads(command("show", "a", "--json").stdout)["attempts"] == [attempt]


@pytest.mark.parametrize(
    ("reason", "body"),
    [
        ("the agent says that it failed: No key", "# No key\n\nAsk for one."),
        ("No key", "This task failed (agent): No key"),
    ],
)
def test_show_tells_a_failure_once(served: ServedPool, command: Command, reason: str, body: str) -> None:
    """What the answer says is not said again above it, and an earlier attempt keeps its own reason."""
    attempts: list[Json] = [
        {"run": "a.1", "step": "retry", "failure": "transient", "reason": "overloaded", "turns": 1},
        {"run": "a.2", "step": "failed", "failure": "agent", "reason": reason, "turns": 1},
    ]
    served.verbs.tasks["a"] = task(
        "a", state="failed", failure="agent", reason=reason, attempts=attempts, subject="x",
        response=response("a", body, status="failed"),
    )  # fmt: skip
    said = command("show", "a").stdout
    assert said.count("No key") == 1
    assert said.count("1 turn  ") == 2
    assert "transient: overloaded" in said


def test_show_of_a_living_run(served: ServedPool, command: Command) -> None:
    """A run that lives is listed with its process, its tool and its time, and a requested cancel is said."""
    served.verbs.tasks["health"] = task("health", state="running", cancel_requested=True)
    served.verbs.state |= {"runs": [RUN | {"cost_usd": 0.0}]}
    said = command("show", "health").stdout
    assert said.startswith("health  running, to be cancelled  human → auth  –\n")  # noqa: RUF001 - a dash
    line = next(line for line in said.splitlines() if "health.1" in line)
    assert "pid 12" in line
    assert "Read session_store.py (7)" in line


def test_show_of_a_waiting_task_says_why(served: ServedPool, command: Command) -> None:
    """The reason of its wait, and the command that unblocks it, are those of `status`."""
    served.verbs.tasks["q-2"] = task("q-2", state="blocked")
    served.verbs.state |= {"waiting": [WAITS]}
    said = command("show", "q-2").stdout
    assert "held: there is no expert nobody" in said
    assert "agentpool init --expert nobody" in said


MAIL: Json = {"id": "a.response", "from": "auth", "type": "response", "status": "done", "in_reply_to": "a",
              "subject": "It works", "at": "2026-11-21T08:00:00Z", "body": "# It works\n\nnow"}  # fmt: skip


def test_inbox_lists_prints_and_marks_as_read(served: ServedPool, command: Command) -> None:
    """Without an id the unread mails are listed; with the mail's or the task's id one is printed and read."""
    served.verbs.mails = [MAIL, MAIL | {"id": "b.response", "in_reply_to": "b", "subject": "Second"}]
    said = command("inbox").stdout
    assert "It works" in said
    assert "Second" in said
    assert json.loads(command("inbox", "--json").stdout)["mails"][0]["id"] == "a.response"
    assert served.verbs.calls == []
    assert command("inbox", "a.response").stdout.endswith("# It works\n\nnow\n")
    assert command("inbox", "b").returncode == 0
    assert [call[1] for call in served.verbs.calls] == ["a.response", "b.response"]
    assert command("inbox").stdout == "no unread mail\n"


def test_an_unknown_mail_names_a_near_one(served: ServedPool, command: Command) -> None:
    """A mistyped id is an error that names the one that was meant."""
    served.verbs.mails = [MAIL]
    said = command("inbox", "a.respnse")
    assert said.returncode == 1
    assert "did you mean a.response?" in said.stderr


def test_the_whole_inbox_can_be_read(served: ServedPool, command: Command) -> None:
    """With --all every mail is printed and read."""
    served.verbs.mails = [MAIL, MAIL | {"id": "b.response"}]
    assert command("inbox", "--all").stdout.count("# It works") == 2
    assert served.verbs.mails == []


def test_the_inbox_can_be_read_without_a_supervisor(layout: Layout, command: Command) -> None:
    """The files are listed and printed, stay unread, and the exit code is 0."""
    layout.inbox("human").mkdir(parents=True)
    file = layout.inbox("human") / "a.response.md"
    file.write_text(
        "---\nfrom: auth\nstatus: done\nin-reply-to: a\ntimestamp: 2026-11-21T08:00:00Z\n---\n\n# It works\n"
    )
    listed = command("inbox")
    assert listed.returncode == 0
    assert "It works" in listed.stdout
    said = command("inbox", "a")
    assert said.returncode == 0
    assert said.stdout.endswith("# It works\n")
    assert "stays unread" in said.stderr
    assert file.exists()
    assert command("inbox", "b").returncode == 1
    assert command("inbox", "--mailbox", "concierge").stdout == "no unread mail\n"


def test_drops_that_wait_for_a_supervisor_are_counted(layout: Layout, command: Command) -> None:
    """Without a supervisor the board and the status say how many drops nobody has accepted yet."""
    for directory in (layout.postoffice, layout.inbox("auth"), layout.inbox("human")):
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "x.md").write_text("x")
    (layout.postoffice / ".hidden.md").write_text("x")
    for name in ("board", "status"):
        said = command(name)
        assert said.returncode == 3
        assert "2 dropped mails" in said.stderr


SETTLED = ["t1.1", "·", "done", "·", "1m", "01s", "·", "$0.02", "·", "Works"]


def settled_event(seq: int, **more: object) -> Json:
    """A run that ended well."""
    event: Json = {
        "seq": seq, "at": "2026-11-21T08:00:00Z", "event": "run.settled", "run": f"t{seq}.1", "task": f"t{seq}",
        "step": "done", "report": {"seconds": 61.0, "usage": {"cost_usd": 0.02}}, "response": {"body": "# Works"},
    }  # fmt: skip
    return event | more


def test_watch_prints_a_line_an_event(served: ServedPool, command: Command) -> None:
    """Piped, each event is a plain line; passing news is none; a restarted supervisor is taken up again."""
    watching = command.start("watch")
    assert watching.stdout is not None
    assert watching.stderr is not None
    assert watching.stderr.readline() == "watching shop\n"
    eventually(lambda: served.verbs.listeners)
    served.tell({"event": "run.progress", "run": "t.1", "tool": "Read"})
    served.tell(settled_event(1))
    assert watching.stdout.readline().split() == ["08:00:00", "run.settled", *SETTLED]
    served.stop()
    assert "went away" in watching.stderr.readline()
    started: Json = {"seq": 2, "at": "2026-11-21T08:00:00Z", "event": "pool.started", "version": "9", "pid": 7}
    served.verbs.history.append(started)
    served.restart()
    assert watching.stdout.readline().split()[1:] == ["pool.started", "agentpool", "9,", "pid", "7"]
    watching.terminate()
    watching.communicate(timeout=10)


def test_watch_streams_json_from_any_event_on(served: ServedPool, command: Command) -> None:
    """With --json each journaled event is one JSON object a line, from --since on, each once."""
    served.verbs.history = [settled_event(number) for number in (1, 2, 3)]
    watching = command.start("watch", "--json", "--since", "1")
    assert watching.stdout is not None
    got = [json.loads(watching.stdout.readline()) for _ in range(2)]
    served.tell(settled_event(4))
    got.append(json.loads(watching.stdout.readline()))
    assert [event["seq"] for event in got] == [2, 3, 4]
    watching.terminate()
    watching.communicate(timeout=10)


def test_watch_needs_a_supervisor_at_its_beginning(layout: Layout, command: Command) -> None:
    """Where nobody serves the pool, `watch` says so and ends with 3."""
    for arguments in (["watch"], ["watch", "--since", "0"]):
        said = command(*arguments)
        assert said.returncode == 3
        assert str(layout.root) in said.stderr


def test_watch_in_a_terminal_draws_and_redraws(served: ServedPool, command: Command) -> None:
    """In a terminal there is a picture that changes with the events, and Ctrl-C ends it with 130."""
    served.verbs.state |= {"runs": [RUN], "waiting": [WAITS]}
    done: list[str] = []

    def react(drawn: str) -> bytes:
        if "Read session_store.py" in drawn and served.verbs.listeners and not done:
            done.append("told")
            served.verbs.state["runs"] = []
            served.tell(settled_event(1))
        if "Works" in drawn and done == ["told"]:
            done.append("typed")
            return b"\x03"
        return b""

    code, drawn = in_terminal(command, "watch", react=react)
    assert code == 130
    assert "Nothing runs." in drawn
    assert "Traceback" not in drawn


def draw(view: View, *, columns: int = 80, rows: int = 40) -> list[str]:
    """The picture as lines of text."""
    console = Console(width=columns, height=rows, file=None, force_terminal=False)
    with console.capture() as captured:
        console.print(view.draw(height=rows - 1, now=1_795_249_000.0))
    return captured.get().splitlines()


@pytest.mark.parametrize("tasks", [0, 1, 5, 60, 500])
@pytest.mark.parametrize(("columns", "rows"), [(80, 40), (80, 24), (40, 16), (200, 60)])
def test_the_picture_fits_the_terminal(tasks: int, columns: int, rows: int) -> None:
    """However many tasks there are, no line is too long, the picture is not too high, and each part is there."""
    view = View(
        {
            "pool": "/x/shop/.agent-pool", "name": "shop", "state": "running", "since": "2026-11-21T08:00:00Z",
            "counts": {"ready": tasks}, "day_usd": 50.0, "holds": [], "warnings": [],
            "runs": [RUN | {"run": f"r{number}", "tool": "Bash " + "make " * 40} for number in range(tasks // 10)],
            "waiting": [WAITS | {"id": f"waiting-{number}-" + "long" * 9} for number in range(min(tasks, 200))],
        }
    )  # fmt: skip
    for number in range(20):
        view.take(settled_event(number, response={"body": "long " * 50}))
    lines = draw(view, columns=columns, rows=rows)
    assert len(lines) < rows
    assert max(map(width, lines)) <= columns
    picture = "\n".join(lines)
    assert "shop" in picture
    assert "Last answers" in picture
    assert (f"Waiting {tasks}" if tasks else "Nothing waits.") in picture
    if tasks > 100:
        assert "more" in picture


def test_the_picture_shows_mail_as_text() -> None:
    """Markup and escapes from mail stay visible text in the picture."""
    view = View({"runs": [RUN | {"tool": HOSTILE}], "waiting": [WAITS | {"reason": HOSTILE}], "warnings": [HOSTILE]})
    view.take(settled_event(1, response={"body": HOSTILE}))
    picture = "\n".join(draw(view, columns=200))
    assert "\x1b" not in picture
    assert "[bold]x[/bold]" in picture


def test_progress_of_a_run_is_in_the_picture_at_once() -> None:
    """A tool call that the stream tells of needs no question to the supervisor."""
    view = View({"runs": [dict(RUN)]})
    view.take({"event": "run.progress", "run": "health.1", "tool": "Edit app.py", "tool_calls": 8, "cost_usd": 0.5})
    picture = "\n".join(draw(view))
    assert "Edit app.py (8)" in picture
    assert "$0.50" in picture


STREAM = [
    {"type": "system", "subtype": "init", "session_id": "s1", "model": "sonnet", "mcp_servers": []},
    {"type": "assistant", "message": {"content": [{"type": "text", "text": "I look \x1b[31minto it"}]}},
    {"type": "assistant",
     "message": {"content": [{"type": "tool_use", "name": "Bash", "input": {"command": "ls -l"}}]}},
    {"type": "user", "message": {"content": [{"type": "tool_result", "content": "\n".join(map(str, range(50)))}]}},
    {"type": "result", "subtype": "success", "is_error": False, "num_turns": 2, "duration_ms": 61000,
     "total_cost_usd": 0.25, "result": "done", "permission_denials": [{"tool_name": "Write"}]},
]  # fmt: skip


def write_stream(directory: Path, lines: list[dict[str, object]]) -> None:
    """A run's directory with a stream in it."""
    directory.mkdir(parents=True)
    (directory / "stream.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (directory / "stderr.log").write_text("a warning\n")


def test_logs_are_readable(layout: Layout, command: Command) -> None:
    """Texts, tool calls with their argument, cut results and the end with its cost; no supervisor is needed."""
    write_stream(layout.logs("auth") / "health" / "1", [])
    write_stream(layout.logs("auth") / "health" / "2", STREAM)
    said = command("logs", "health").stdout
    assert "I look �[31minto it" in said
    assert "→ Bash(ls -l)" in said
    assert "44 more lines" in said
    assert "$0.25" in said
    assert "denied: Write" in said
    assert command("logs", "health", "--attempt", "1").stdout == ""
    assert command("logs", "health.2").stdout == said
    assert [json.loads(line) for line in command("logs", "health", "--raw").stdout.splitlines()] == STREAM
    assert command("logs", "health", "--stderr").stdout == "a warning\n"
    missing = command("logs", "health", "-n", "7")
    assert missing.returncode == 1
    assert "1, 2" in missing.stderr


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ({"subtype": "success", "api_error_status": 429, "result": "API Error: too many"},
         ["── failed: API status 429, 1 turn, 3s, $0.00", "API Error: too many"]),
        ({"subtype": "success", "result": "Not logged in"}, ["── failed, 1 turn, 3s, $0.00", "Not logged in"]),
        ({"subtype": "error_max_budget_usd", "errors": ["Reached maximum budget ($0.5)"]},
         ["── failed: error_max_budget_usd, 1 turn, 3s, $0.00", "Reached maximum budget ($0.5)"]),
    ],
)  # fmt: skip
def test_logs_say_why_a_run_failed(result: Json, said: list[str]) -> None:
    """An error that the command calls a success is told by its status or its text, and never as a success."""
    line = {"type": "result", "is_error": True, "num_turns": 1, "duration_ms": 3000} | result
    assert list(lines_of(json.dumps(line))) == said


def test_logs_of_a_task_that_has_none(layout: Layout, command: Command) -> None:
    """An unknown task, one that has not started, and an id that is a path are each told apart."""
    layout.mail.mkdir()
    layout.mail_file("health").write_text("x")
    unknown = command("logs", "helth")
    assert unknown.returncode == 1
    assert "did you mean health?" in unknown.stderr
    waiting = command("logs", "health")
    assert waiting.returncode == 1
    assert "agentpool show health" in waiting.stderr
    assert command("logs", "../../etc").returncode == 1


def test_logs_follow_a_run_to_its_end(layout: Layout, command: Command) -> None:
    """With -f the lines come as they are written, also after the run's directory was moved to its logs."""
    living = layout.run_directory("health.1")
    write_stream(living, STREAM[:1])
    following = command.start("logs", "health", "-f")
    assert following.stdout is not None
    assert "session s1" in following.stdout.readline()
    with (living / "stream.jsonl").open("a") as stream:
        stream.write(json.dumps(STREAM[1]) + "\n" + json.dumps(STREAM[2])[:20])
        stream.flush()
        assert "into it" in following.stdout.readline()
        stream.write(json.dumps(STREAM[2])[20:] + "\n" + json.dumps(STREAM[4]))
    target = layout.logs("auth") / "health" / "1"
    target.parent.mkdir(parents=True)
    living.rename(target)
    rest, errors = following.communicate(timeout=10)
    assert "Bash(ls -l)" in rest
    assert "$0.25" in rest
    assert (following.returncode, errors) == (0, "")


@pytest.mark.parametrize(
    "raw",
    ["", "garbage", "[1]", "null", '{"type": 1}', '{"type": "assistant"}', '{"type": "assistant", "message": []}',
     '{"type": "assistant", "message": {"content": [1, {"type": "tool_use", "input": []}]}}', '{"type": "result"}',
     '{"type": "user", "message": {"content": "plain"}}', '{"type": "system", "subtype": "api_retry"}', '{"torn": '],
)  # fmt: skip
def test_any_line_of_a_stream_can_be_shown(raw: str) -> None:
    """Torn, foreign and surprising lines never end the command."""
    assert all(isinstance(line, str) for line in lines_of(raw))


def test_text_is_measured_as_a_terminal_shows_it() -> None:
    """Wide and combining characters count as what they take, and a cut never splits one."""
    assert width("日本") == 4
    assert width("e\u0301") == 1
    assert clip("日本語", 5) == "日本…"
    assert clip("abc", 3) == "abc"
    assert printable("a\r\nb\x00\tc") == "a\nb�\tc"
    assert [width(line) for line in table([("日本", "x"), ("abcd", "y")])] == [7, 7]
    assert all(width(line) <= 30 for line in table([("a" * 20, "b" * 50)], total=30))


def test_a_drawing_is_cheap() -> None:
    """A frame with 500 tasks takes a small part of the half second between two of them."""
    view = View({"runs": [RUN] * 50, "waiting": [WAITS] * 200, "counts": {"ready": 450}})
    draw(view)
    begun = time.process_time()
    for _ in range(5):
        draw(view)
    assert (time.process_time() - begun) / 5 < 0.1
