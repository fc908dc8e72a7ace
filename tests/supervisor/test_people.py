"""Mail that people read, and mail that only informs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentpool.pool.mailfile import parse
from tests.supervisor.served import eventually

if TYPE_CHECKING:
    from tests.supervisor.served import Pool


def test_a_notify_starts_no_run_and_is_handed_over_once(pool: Pool) -> None:
    """A notify waits for the next run, stands in its prompt, and not in that of the run after it."""
    pool.script(
        """
        [[play]]
        mail = "THE-NEWS"
        steps = [ { respond = { body = "I heard." } } ]
        [[play]]
        steps = [ { respond = { body = "Nothing new." } } ]
        """
    )
    pool.start()
    pool.drop("news.md", "---\nto: a\ntype: notify\n---\n\nTHE-NEWS\n")
    eventually((pool.layout.mail_file("news")).exists, "it waits")
    assert pool.status()["runs"] == []
    pool.send("first", "a")
    assert "I heard." in pool.answer("first")[1]
    pool.send("second", "a")
    assert "Nothing new." in pool.answer("second")[1]
    assert len(pool.events("run.starting")) == 2
    assert not list(pool.layout.mail.iterdir())
    assert list(pool.layout.archive.glob("*/news.md"))


def test_a_notify_is_not_lost_with_a_failed_attempt(pool: Pool) -> None:
    """A note that was handed to a run that failed is handed to the next attempt of that task as well."""
    pool.script(
        """
        [[play]]
        attempt = 1
        steps = [ { overloaded = true } ]
        [[play]]
        mail = "THE-NEWS"
        steps = [ { respond = { body = "I heard." } } ]
        """
    )
    pool.start()
    pool.drop("news.md", "---\nto: a\ntype: notify\n---\n\nTHE-NEWS\n")
    eventually((pool.layout.mail_file("news")).exists, "it waits")
    pool.send("first", "a")
    assert "I heard." in pool.answer("first")[1]


def test_a_notify_to_people_is_in_their_inbox(pool: Pool) -> None:
    """What a run tells the human lies in the inbox until it is read, and then in the archive."""
    pool.script('[[play]]\nsteps = [ { send = { name = "fyi.md", to = "human", type = "notify", body = "Look!" } } ]\n')
    pool.start()
    pool.send("t", "a")
    pool.settled("t")
    assert pool.human_inbox() == ["fyi.md", "t.response.md"]
    assert "Look!" in pool.command("inbox", "fyi").stdout
    assert pool.human_inbox() == ["t.response.md"]
    assert list(pool.layout.archive.glob("*/fyi.md"))
    pool.restart()
    assert pool.human_inbox() == ["t.response.md"]


def test_a_task_for_people_is_answered_by_a_response(pool: Pool) -> None:
    """A run asks the human; the question lies in the inbox until a response comes, with which the task goes on."""
    pool.script(
        """
        [[play]]
        run = 1
        steps = [ { send = { name = "which.md", to = "human", type = "question", body = "Red or blue?" } } ]
        [[play]]
        mail = "Blue, please"
        steps = [ { respond = { body = "Blue it is." } } ]
        """
    )
    pool.start()
    pool.send("paint", "a")
    line = pool.waits("which", "it waits for an answer of human")
    assert "--in-reply-to which" in line["tip"]
    assert "Red or blue?" in (pool.layout.inbox("human") / "which.md").read_text()
    pool.drop("reply.md", "---\nto: a\nfrom: human\ntype: response\nin-reply-to: which\n---\n\nBlue, please.\n")
    assert "Blue it is." in pool.answer("paint")[1]
    assert pool.settled("which")["state"] == "done"
    assert pool.human_inbox() == ["paint.response.md"]
    assert pool.runs_of("which") == []


def test_the_tip_of_a_question_works_as_it_stands(pool: Pool) -> None:
    """The command that a status offers for a question answers it, with the dots filled in."""
    pool.start()
    pool.send("which", "human", "Red or blue?", from_="a")
    tip = pool.waits("which", "it waits for an answer of human")["tip"]
    assert tip.startswith("agentpool send ")
    arguments = [word.strip('"') for word in tip.split()[1:]]
    assert pool.command(*("Blue" if word == "…" else word for word in arguments)).returncode == 0
    pool.settled("which")


def test_answers_to_unknown_senders_go_to_people(pool: Pool) -> None:
    """A sender without a mailbox is answered in `human/inbox/`."""
    pool.start()
    pool.drop("ci.md", "---\nto: a\nfrom: ci-server\n---\n\nhello\n")
    header, _ = pool.answer("ci")
    assert (header["to"], header["in-reply-to"]) == ("human", "ci")


def test_the_concierge_has_an_inbox_of_its_own(pool: Pool) -> None:
    """What the concierge sent is answered in `concierge/inbox/`."""
    pool.start()
    pool.send("t", "a", from_="concierge")
    answer = pool.layout.inbox("concierge") / "t.response.md"
    eventually(answer.exists, "the answer")
    assert parse(answer.read_bytes())[0]["to"] == "concierge"
    assert pool.human_inbox() == []


def test_an_agent_that_forgets_to_answer(pool: Pool) -> None:
    """Without a response of its own, the run's last words are the answer."""
    pool.script('[[play]]\nsteps = [ { say = "It is in config.py." } ]\n')
    pool.start()
    pool.send("t", "a")
    assert "It is in config.py." in pool.answer("t")[1]


def test_an_agent_that_says_it_failed(pool: Pool) -> None:
    """A response with status failed, blocked or needs-input settles its task as failed, with its words."""
    pool.script('[[play]]\nsteps = [ { respond = { status = "$task", body = "I tell you why." } } ]\n')
    pool.start()
    for status in ("failed", "blocked", "needs-input"):
        pool.send(status, "a")
        task = pool.settled(status, "failed")
        header, text = pool.answer(status)
        assert (header["status"], task["attempt"]) == (status, 1)
        assert "I tell you why." in text
