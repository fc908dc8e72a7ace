"""Refused mail: its sender is told once, and `replay` has a mended one done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentpool.pool.mailfile import parse
from tests.supervisor.served import eventually

if TYPE_CHECKING:
    from tests.supervisor.served import Pool


def test_a_near_name_is_suggested(pool: Pool) -> None:
    """Mail to a mistyped expert says which one was probably meant, in the dead letter and in the answer."""
    pool.configure(**{"experts.frontend": {}})
    pool.start()
    pool.drop("x.md", "---\nto: fronted\n---\n\nhello\n")
    assert "did you mean `frontend`?" in pool.reason("x.md")
    answer = pool.layout.inbox("human") / "x.refused.md"
    eventually(answer.exists, "the sender is told")
    header, text = parse(answer.read_bytes())
    assert (header["type"], header["status"], header["from"]) == ("response", "failed", "agentpool")
    assert "agentpool replay x" in text


def test_a_refused_notify_is_answered_by_a_notify(pool: Pool) -> None:
    """Where no answer was due, the sender gets a notify."""
    pool.start()
    pool.drop("x.md", "---\nto: nobody\ntype: notify\n---\n\nhello\n")
    answer = pool.layout.inbox("human") / "x.refused.md"
    eventually(answer.exists, "the sender is told")
    assert parse(answer.read_bytes())[0]["type"] == "notify"


def test_a_sender_with_a_mailbox_is_told_there(pool: Pool) -> None:
    """An expert whose drop was refused hears of it with its next run, which the refusal itself does not start."""
    pool.script('[[play]]\nmail = "was refused"\nsteps = [ { respond = { body = "I read it." } } ]\n')
    pool.start()
    pool.drop("x.md", "---\nto: nobody\nfrom: a\n---\n\nhello\n")
    pool.reason("x.md")
    pool.send("next", "a")
    assert "I read it." in pool.answer("next")[1]
    assert pool.human_inbox() == ["next.response.md"]
    assert not pool.status()["holds"]


def test_a_bounce_is_not_bounced(pool: Pool) -> None:
    """A response, or mail that claims to be the pool's own, that cannot be delivered is buried without an answer."""
    pool.start()
    pool.drop("one.md", "---\nto: nobody\ntype: response\n---\n\nhello\n")
    pool.drop("two.md", "---\nto: nobody\nfrom: agentpool\n---\n\nhello\n")
    pool.reason("one.md")
    pool.reason("two.md")
    assert pool.human_inbox() == []


def test_replay_of_a_mended_letter(pool: Pool) -> None:
    """A letter that was mended goes back to where it was dropped, and is done; its reason goes away."""
    pool.start()
    pool.drop("x.md", "---\nto: a\ntype: tsak\n---\n\nhello\n", to="a")
    pool.reason("x.md")
    letter = pool.layout.deadletter / "x.md"
    letter.write_text(letter.read_text().replace("tsak", "task"))
    assert pool.command("replay", "x").returncode == 0
    pool.settled("x")
    assert not list(pool.layout.deadletter.iterdir())


def test_replay_of_a_letter_as_it_is(pool: Pool) -> None:
    """A letter that was not mended is refused again, told again, and not lost."""
    pool.start()
    pool.drop("x.md", "---\nto: nobody\n---\n\nhello\n")
    pool.reason("x.md")
    assert pool.command("replay", "x").returncode == 0
    eventually(lambda: len(pool.events("mail.refused")) == 2, "the second refusal")
    eventually(lambda: [file.name for file in pool.layout.deadletter.glob("*.reason.md")], "the letter is back")
    [letter] = [file for file in pool.layout.deadletter.iterdir() if not file.name.endswith(".reason.md")]
    assert "hello" in letter.read_text()


def test_what_becomes_right_by_itself_is_replayed(pool: Pool) -> None:
    """A letter for an expert that is there by now is accepted as it is."""
    pool.start()
    pool.drop("x.md", "---\nto: late\n---\n\nhello\n")
    pool.reason("x.md")
    assert pool.command("init", "--expert", "late").returncode == 0
    eventually(lambda: "settings changed" in pool.log(), "the expert is known")
    assert pool.command("replay", "x.md").returncode == 0
    assert pool.settled("x")["to"] == "late"


def test_replay_of_what_is_not_there(pool: Pool) -> None:
    """A name that is no dead letter, or a path, is answered with a tip."""
    pool.start()
    for name in ("nothing", "../pool.toml", "../../etc/passwd"):
        said = pool.command("replay", name)
        assert said.returncode == 1
        assert "there is no dead letter" in said.stderr
