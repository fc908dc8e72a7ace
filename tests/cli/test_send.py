"""Sending mail, asking and waiting."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

from agentpool.cli.progress import progress_text
from agentpool.pool.mailfile import parse
from tests.cli.terminal import in_terminal
from tests.gateway.fake_verbs import eventually, response, task

if TYPE_CHECKING:
    from agentpool.gateway.verbs import Json
    from agentpool.pool.layout import Layout
    from tests.cli.conftest import Command
    from tests.gateway.fake_verbs import ServedPool


def answer(text: str, *, status: str = "done", state: str = "done") -> object:
    """What makes every sent task settle at once."""

    def settle(sent: Json) -> None:
        sent |= {"state": state, "response": response(str(sent["id"]), text, status=status)}

    return settle


def test_send_passes_every_header_on(served: ServedPool, command: Command) -> None:
    """Each option becomes its header, and what is not given is not sent."""
    said = command(
        "send", "auth", "Fix it", "--id", "fix", "--priority", "high", "--depends-on", "a,b", "-d", "c", "--input", "d",
        "--thread", "t", "--expires", "2h", "--from", "ci", "--header", "ticket=42",
    )  # fmt: skip
    assert (said.returncode, said.stdout, said.stderr) == (0, "fix\n", "")
    header, body = served.verbs.sent[0]
    assert body == "Fix it"
    assert header == {
        "id": "fix", "from": "ci", "to": "auth", "type": "task", "priority": "high", "thread": "t",
        "depends-on": ["a", "b", "c"], "inputs": ["d"], "expires": "2h", "ticket": "42",
    }  # fmt: skip


def test_an_id_is_made_from_the_first_words(served: ServedPool, command: Command) -> None:
    """Without --id a mail gets an id that a person recognises, and two equal mails get two ids."""
    first = command("send", "auth", "# Why is login slow?\n\nSince monday").stdout.strip()
    second = command("send", "auth", "# Why is login slow?\n\nSince monday").stdout.strip()
    assert first.startswith("why-is-login-slow-")
    assert first != second
    other = command("send", "auth", "Почему?").stdout.strip()
    assert other.startswith("auth-")
    assert len(served.verbs.sent) == 3


def test_a_body_comes_from_standard_input(served: ServedPool, command: Command) -> None:
    """`-` reads the body, whole and in UTF-8."""
    assert command("send", "auth", "-", stdin="Zeile 1\nZeile 2 ö\n").returncode == 0
    assert served.verbs.sent[0][1] == "Zeile 1\nZeile 2 ö\n"


def test_a_mail_without_a_text_is_refused_at_once(served: ServedPool, command: Command) -> None:
    """Where nobody can type, a missing body is a mistake and not a wait."""
    said = command("send", "auth")
    assert said.returncode == 2
    assert "no text" in said.stderr
    assert served.verbs.sent == []


def test_a_broken_rule_is_said_before_anything_is_sent(served: ServedPool, command: Command) -> None:
    """A header that no supervisor would take is refused by the command itself, with a hint."""
    said = command("send", "auth", "x", "--id", "../x", "--header", "prioritty=high")
    assert said.returncode == 1
    assert "../x" in said.stderr
    assert "did you mean `priority`" in said.stderr
    assert served.verbs.sent == []


def test_a_refusal_is_passed_on(served: ServedPool, command: Command) -> None:
    """What the supervisor refuses is an error with its reason, and no id is printed."""
    served.verbs.refusal = "there is no mailbox 'atuh': did you mean `auth`?"
    said = command("send", "atuh", "x")
    assert (said.returncode, said.stdout) == (1, "")
    assert "did you mean `auth`?" in said.stderr


def test_without_a_supervisor_the_mail_is_dropped(layout: Layout, command: Command) -> None:
    """The mail lies whole in the post office, its id is printed, and a note says that nothing runs yet."""
    said = command("send", "auth", "Fix it", "--id", "fix", "--depends-on", "a")
    assert (said.returncode, said.stdout) == (0, "fix\n")
    assert "agentpool start" in said.stderr
    header, body = parse((layout.postoffice / "fix.md").read_bytes())
    assert header == {"id": "fix", "to": "auth", "type": "task", "depends-on": ["a"]}
    assert body.strip() == "Fix it"
    assert [file.name for file in layout.postoffice.iterdir()] == ["fix.md"]


def test_send_and_wait_prints_the_answer(served: ServedPool, command: Command) -> None:
    """With --wait the answer is the output, and the id goes beside it."""
    served.verbs.on_send = answer("All **done**")
    said = command("send", "auth", "go", "--id", "x", "--wait")
    assert (said.returncode, said.stdout, said.stderr) == (0, "All **done**\n", "x\n")


def test_send_as_json(served: ServedPool, command: Command) -> None:
    """With --json the output is one object and nothing else."""
    said = command("send", "auth", "go", "--id", "x", "--json")
    assert json.loads(said.stdout) == {"id": "x", "type": "task", "to": "auth", "state": "ready"}
    assert len(served.verbs.sent) == 1


def test_ask_prints_the_answer_and_marks_it_read(served: ServedPool, command: Command) -> None:
    """A question comes back as its answer in Markdown, and does not lie in the inbox any more."""
    served.verbs.on_send = answer("In `redis`.")
    said = command("ask", "auth", "Where are sessions stored?")
    assert (said.returncode, said.stdout, said.stderr) == (0, "In `redis`.\n", "")
    header, _ = served.verbs.sent[0]
    assert header["type"] == "question"
    assert served.verbs.calls == [("read", f"{header['id']}.response", "human")]


def test_a_negative_answer_is_exit_code_1(served: ServedPool, command: Command) -> None:
    """An answer that says no is printed, and the exit code says no as well."""
    served.verbs.on_send = answer("I cannot", status="blocked")
    said = command("ask", "auth", "Can you?")
    assert (said.returncode, said.stdout) == (1, "I cannot\n")
    assert "agentpool logs" in said.stderr


def test_ask_gives_up_after_its_timeout(served: ServedPool, command: Command) -> None:
    """After --timeout the exit code is 4, and the way to the later answer is named."""
    said = command("ask", "auth", "Where?", "--timeout", "50ms")
    assert said.returncode == 4
    name = served.verbs.sent[0][0]["id"]
    assert f"agentpool wait {name}" in said.stderr
    assert "agentpool inbox" in said.stderr


def test_ctrl_c_says_how_to_go_on(served: ServedPool, command: Command) -> None:
    """An interrupted ask ends with 130 and tells where its answer will be."""
    asking = command.start("ask", "auth", "Where?")
    eventually(lambda: served.verbs.sent)
    asking.send_signal(signal.SIGINT)
    _, errors = asking.communicate(timeout=10)
    assert asking.returncode == 130
    assert "goes on" in errors
    assert "Traceback" not in errors


def test_wait_for_several(served: ServedPool, command: Command) -> None:
    """Several tasks are a line each, and one that failed makes the exit code 1."""
    served.verbs.tasks = {
        "a": task("a", state="done", response=response("a", "yes")),
        "b": task("b", state="failed", reason="agent: no", response=response("b", "no", status="failed")),
    }
    said = command("wait", "a", "b")
    assert said.returncode == 1
    assert [line.split()[:2] for line in said.stdout.splitlines()] == [["a", "done"], ["b", "failed"]]
    assert command("wait", "a").returncode == 0
    listed = json.loads(command("wait", "a", "b", "--json").stdout)["tasks"]
    assert [item["id"] for item in listed] == ["a", "b"]


def test_wait_for_any(served: ServedPool, command: Command) -> None:
    """With --any the first settled task is enough."""
    served.verbs.tasks = {"slow": task("slow"), "fast": task("fast")}
    waiting = command.start("wait", "slow", "fast", "--any", "--json")
    served.change("fast", state="done", response=response("fast", "yes"))
    output, _ = waiting.communicate(timeout=10)
    assert [item["id"] for item in json.loads(output)["tasks"]] == ["fast"]
    assert waiting.returncode == 0


def test_a_wait_lives_through_a_restart(served: ServedPool, command: Command) -> None:
    """A supervisor that is replaced does not end a wait."""
    served.verbs.tasks = {"a": task("a")}
    waiting = command.start("wait", "a")
    assert waiting.stderr is not None
    served.stop_when_asked()
    assert "went away" in waiting.stderr.readline()
    served.restart()
    served.change("a", state="done", response=response("a", "yes"))
    output, _ = waiting.communicate(timeout=10)
    assert waiting.returncode == 0
    assert output.startswith("a  done")


@pytest.mark.parametrize(
    "arguments", [["wait", "a"], ["wait", "a", "b", "--any"], ["send", "auth", "x", "-w", "--id", "a"]]
)
def test_a_person_who_waits_sees_what_goes_on(served: ServedPool, command: Command, arguments: list[str]) -> None:
    """In a terminal one line tells who works, since when and at what; it is gone when the answer comes."""
    served.verbs.tasks = {"a": task("a", state="running"), "b": task("b")}
    served.verbs.state["runs"] = [
        {"run": "a.1", "task": "a", "name": "auth", "tool": "Read x.py", "tool_calls": 2, "cost_usd": 0.0}
    ]

    def react(drawn: str) -> bytes:
        if "auth works on a  Read x.py (2)" in drawn:
            served.change("a", state="done", response=response("a", "It works."))
        return b""

    code, drawn = in_terminal(command, *arguments, react=react)
    assert code == 0
    line, _, rest = drawn.rpartition("\r\x1b[K")
    assert "Read x.py" in line
    assert rest.strip()
    assert "Read x.py" not in rest


def test_the_line_for_who_waits_says_why_nothing_moves() -> None:
    """Where nothing runs it is the reason of the wait; of several tasks the first is told and the rest counted."""
    waits = {"id": "a", "state": "ready", "reason": "auth works on z"}
    assert progress_text({"waiting": [waits]}, ["a"]) == "a is ready: auth works on z"
    assert progress_text({"waiting": [waits, waits | {"id": "b"}]}, ["a", "b"]).endswith("  and 1 more")
    assert progress_text({"waiting": [waits]}, ["other"]) == ""


def test_wait_for_nothing_known(served: ServedPool, command: Command) -> None:
    """An id that nobody knows is an error and not an endless wait."""
    assert command("wait", "nobody").returncode == 1
    assert served.verbs.tasks == {}


def test_an_editor_writes_the_mail(served: ServedPool, command: Command) -> None:
    """In a terminal, without a body, the editor's text is sent; see `terminal.py` for the terminal."""
    editor = command.project / "editor"
    editor.write_text('#!/bin/sh\nprintf "From the editor" > "$1"\n')
    editor.chmod(0o755)
    code, _ = in_terminal(command, "send", "auth", "--id", "x", EDITOR=str(editor))
    assert code == 0
    assert served.verbs.sent[0][1] == "From the editor"
