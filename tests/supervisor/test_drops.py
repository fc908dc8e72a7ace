"""What is dropped becomes a run and comes back answered, whoever dropped it, wherever and whenever."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from tests.supervisor.served import eventually, place_whole

if TYPE_CHECKING:
    from tests.supervisor.served import Pool


def test_words_in_an_inbox_are_a_task(pool: Pool) -> None:
    """`echo … > inbox/x.md` is a task from `human`, its id the file's name, and its answer comes back."""
    pool.start()
    (pool.layout.inbox("a") / "why-slow.md").write_text("Why is login slow?\n")
    header, text = pool.answer("why-slow")
    assert (header["from"], header["status"], header["in-reply-to"]) == ("a", "done", "why-slow")
    assert "Why is login slow?" in text
    assert pool.settled("why-slow")["from"] == "human"
    assert not list(pool.layout.inbox("a").iterdir())
    assert not list(pool.layout.mail.iterdir())


def test_the_postoffice_routes_by_the_header(pool: Pool) -> None:
    """Mail in the postoffice goes where its `to:` says; unknown keys of its header are kept."""
    pool.start()
    pool.drop("x.md", "---\nid: t1\nto: b\ntype: question\npriority: high\nticket: 7\n---\n\nWhere?\n")
    task = pool.settled("t1")
    assert (task["to"], task["type"], task["priority"]) == ("b", "question", "high")
    [archived] = pool.layout.archive.glob("*/t1.md")
    assert "ticket: 7" in archived.read_text()


def test_a_header_in_an_inbox_may_name_another_mailbox(pool: Pool) -> None:
    """The `to:` of a header wins over the inbox in which the file lies."""
    pool.start()
    pool.drop("x.md", "---\nto: b\n---\n\nhello\n", to="a")
    assert pool.settled("x")["to"] == "b"


def test_every_role_has_an_inbox(pool: Pool) -> None:
    """Architect and researcher work on drops like an expert."""
    pool.start()
    for role in ("architect", "researcher"):
        pool.drop(f"for-{role}.md", "think\n", to=role)
    for role in ("architect", "researcher"):
        assert pool.settled(f"for-{role}")["to"] == role


def test_a_drop_while_nobody_serves_waits(pool: Pool) -> None:
    """What is dropped while the supervisor is down is found by the next one."""
    pool.drop("early.md", "hello\n", to="a")
    pool.drop("early-too.md", "---\nto: b\n---\n\nhello\n")
    pool.start()
    pool.settled("early")
    pool.settled("early-too")


def test_a_name_that_is_taken_gets_a_number(pool: Pool) -> None:
    """The same file name dropped again is another task, with a number behind its id."""
    pool.start()
    for task_id in ("q", "q-2", "q-3"):
        pool.drop("q.md", "the same words\n", to="a")
        pool.settled(task_id)
    assert pool.human_inbox() == ["q-2.response.md", "q-3.response.md", "q.response.md"]


def test_a_strange_file_name_makes_a_safe_id(pool: Pool) -> None:
    """A file name with spaces, quotes and umlauts becomes an id that is one path component."""
    pool.start()
    pool.drop("Wie geht's, Müller?.md", "hallo\n", to="a")
    pool.settled("Wie-geht-s-Muller")


def test_the_same_mail_again_is_answered_again_and_not_run_again(pool: Pool) -> None:
    """A drop with an id and a content that the pool knows starts no run; its sender gets the answer once more."""
    pool.start()
    text = "---\nid: once\nto: a\n---\n\nhello\n"
    pool.drop("x.md", text)
    pool.answer("once")
    assert pool.command("inbox", "once.response").returncode == 0
    assert pool.human_inbox() == []
    again = pool.drop("y.md", text)
    pool.answer("once")
    eventually(lambda: not again.exists(), "the drop is put away")
    assert pool.runs_of("once") == ["once.1"]


def test_the_same_id_with_other_content_is_refused(pool: Pool) -> None:
    """An id names one mail for ever: other words under it go to the dead letters, and the first stay as they are."""
    pool.start()
    pool.drop("x.md", "---\nid: once\nto: a\n---\n\nhello\n")
    pool.settled("once")
    pool.drop("y.md", "---\nid: once\nto: a\n---\n\nother words\n")
    assert "the id once is taken" in pool.reason("y.md")
    assert pool.runs_of("once") == ["once.1"]


def test_a_file_that_is_still_being_written_is_left_alone(pool: Pool) -> None:
    """A drop that somebody has open and goes on writing is taken when it is closed, with all of its text."""
    pool.start()
    with (pool.layout.inbox("a") / "slow.md").open("w") as file:
        file.write("first words, ")
        file.flush()
        pool.send("other", "b")
        pool.settled("other")
        assert not pool.events("mail.accepted")[0]["mail"]["id"].startswith("slow")
        file.write("last words")
    pool.settled("slow")
    assert pool.task("slow")["mail"] == "first words, last words"


def test_a_header_that_is_not_complete_yet_is_not_refused(pool: Pool) -> None:
    """A file that was closed without the end of its header and is written on within the second is accepted."""
    pool.start()
    path = pool.layout.postoffice / "two-steps.md"
    path.write_text("---\nto: a\n")
    with path.open("a") as file:
        file.write("---\n\nhello\n")
    pool.settled("two-steps")
    assert not list(pool.layout.deadletter.iterdir())


def test_a_file_from_the_future_is_taken(pool: Pool) -> None:
    """A drop whose time stamp lies in the future, as from another machine's clock, is taken all the same."""
    path = pool.drop("later.md", "hello\n", to="a")
    tomorrow = time.time() + 86_400
    os.utime(path, (tomorrow, tomorrow))
    pool.start()
    pool.settled("later")


def test_other_files_in_an_inbox_are_left_alone(pool: Pool) -> None:
    """Only `*.md` is mail; dotfiles and anything else stay where they are."""
    pool.start()
    kept = [pool.layout.inbox("a") / name for name in (".hidden.md", "notes.txt", ".#x.md", "x.md~")]
    for path in kept:
        path.write_text("not for you\n")
    pool.drop("x.md", "hello\n", to="a")
    pool.settled("x")
    assert all(path.exists() for path in kept)
    assert len(pool.events("mail.accepted")) == 1


def test_an_expert_is_added_while_the_pool_is_served(pool: Pool) -> None:
    """A directory with an `identity.md`, and a name in pool.toml, are experts from the next sweep on."""
    pool.start()
    home = pool.layout.experts / "late"
    home.mkdir()
    (home / "identity.md").write_text("You are late.\n")
    pool.configure(**{"experts.named": {"model": "some-model"}})
    for name in ("late", "named"):
        eventually(pool.layout.inbox(name).is_dir, f"the inbox of {name}")
        pool.drop(f"for-{name}.md", "hello\n", to=name)
    for name in ("late", "named"):
        assert pool.settled(f"for-{name}")["to"] == name


def test_mail_for_an_expert_that_left_waits_with_a_tip(pool: Pool) -> None:
    """A task whose expert was removed meanwhile says so and how to go on; with the expert back it starts."""
    pool.script('[[play]]\ntask = "first"\nsteps = [ { wait_for = "go" } ]\n')
    pool.start()
    pool.send("first", "a")
    pool.send("second", "a")
    home = pool.layout.home("a")
    aside = pool.layout.root / "aside"
    home.rename(aside)
    eventually(lambda: "settings changed" in pool.log(), "the sweep notices")
    pool.touch("go")
    line = pool.waits("second", "there is no expert a any more")
    assert line["tip"] == "agentpool init --expert a"
    pool.settled("first")
    assert pool.command("init", "--expert", "a").returncode == 0
    pool.settled("second")


def test_settings_are_read_again(pool: Pool) -> None:
    """An edit of pool.toml holds from the next run on; a broken one is said, and what was in force stays."""
    pool.start()
    pool.configure(budget={"run_usd": 2.5})
    eventually(lambda: "settings changed" in pool.log(), "the edit is seen")
    pool.send("one", "a")
    pool.settled("one")
    place_whole(pool.layout.configuration, '[limits]\nmax_runs = "many"\n')
    warning = eventually(lambda: pool.status()["warnings"], "the warning")[0]
    assert "limits.max_runs" in warning
    assert "stays in force" in warning
    pool.send("two", "a")
    pool.settled("two")
    assert [event["reserved_usd"] for event in pool.events("run.starting")] == [2.5, 2.5]
    pool.configure(budget={"run_usd": 3.0})
    eventually(lambda: not pool.status()["warnings"], "the warning is gone")


def test_many_drops_at_once_are_taken_once_each(pool: Pool) -> None:
    """A burst of a few hundred drops is accepted whole, and nothing of it twice."""
    pool.script('[[play]]\nsteps = [ { wait_for = "never" } ]\n')
    pool.start()
    ids = [f"m{number}" for number in range(300)]
    for mail_id in ids:
        pool.drop(f"{mail_id}.md", f"---\nid: {mail_id}\nto: a\n---\n\nhello\n")
    eventually(lambda: len(list(pool.layout.mail.iterdir())) == len(ids), "all are accepted")
    assert sorted(event["mail"]["id"] for event in pool.events("mail.accepted")) == sorted(ids)


def test_a_drop_that_is_about_to_be_accepted_can_be_waited_for(pool: Pool) -> None:
    """Who sends while nobody serves, starts the pool and waits at once is not told that there is no such task."""
    pool.drop("early.md", "---\nid: early\nto: a\n---\n\nhello\n")
    pool.start()
    said = pool.command("wait", "early", "--timeout", "20s")
    assert said.returncode == 0, said.stderr
    assert "early" in said.stdout
    assert pool.command("wait", "never-sent").returncode == 1
