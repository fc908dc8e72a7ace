"""A stream of mail, and a supervisor that is killed again and again at random moments."""

from __future__ import annotations

import json
import random
import time
from typing import TYPE_CHECKING

from tests.supervisor.served import eventually

if TYPE_CHECKING:
    from tests.supervisor.served import Pool

SCRIPT = """
[[play]]
task = "plan-*"
run = 1
steps = [
    { append = { path = "runs", text = "$run\\n" } },
    { send = { name = "part.md", to = "c", body = "part" } },
    { send = { name = "rest.md", to = "d", body = "rest", depends-on = ["part"] } },
]

[[play]]
task = "bad-*"
steps = [ { append = { path = "runs", text = "$run\\n" } }, { fail = "I cannot." } ]

[[play]]
steps = [ { append = { path = "runs", text = "$run\\n" } }, { pause = "20ms" }, { respond = { body = "Done." } } ]
"""
ROUNDS = 14
EXPERTS = "abcd"


def _mails(round_number: int, chance: random.Random) -> dict[str, str]:
    """The mails of one round by id, each with its text; some wait for others of the round, in any order of arrival."""
    ids = [f"{kind}-{round_number}-{number}" for number, kind in enumerate(("plan", "task", "task", "bad", "task"))]
    mails = {}
    for place, mail_id in enumerate(ids):
        header = [f"id: {mail_id}", f"to: {chance.choice(EXPERTS)}"]
        awaited = [each for each in ids[:place] if chance.random() < 0.3]
        if awaited:
            header.append(f"depends-on: [{', '.join(awaited)}]")
        mails[mail_id] = "---\n" + "\n".join(header) + "\n---\n\nplease\n"
    shuffled = list(mails.items())
    chance.shuffle(shuffled)
    return dict(shuffled)


def _journal_bytes(pool: Pool) -> int:
    return sum(file.stat().st_size for file in pool.layout.journal.glob("segment-*.jsonl"))


def test_nothing_is_lost_or_done_twice(pool: Pool) -> None:
    """After many kills every mail is answered exactly once, every run was played once, and the views are complete."""
    chance = random.Random(1)  # noqa: S311 - no secret
    pool.found(*EXPERTS)
    pool.script(SCRIPT)
    sent: list[str] = []
    for round_number in range(ROUNDS):
        for place, (mail_id, text) in enumerate(_mails(round_number, chance).items()):
            if place == 2:
                pool.start(wait=chance.random() < 0.7)
            pool.drop(f"{mail_id}.md", text)
            sent.append(mail_id)
        goal = _journal_bytes(pool) + chance.randrange(12_000)
        patience = time.monotonic() + 0.5
        while _journal_bytes(pool) < goal and time.monotonic() < patience:
            time.sleep(0.001)
        pool.kill()
    pool.start()
    eventually(lambda: len(pool.human_inbox()) >= len(sent), "all are answered")
    eventually(lambda: set(pool.status()["counts"]) <= {"settled"}, "all is settled")
    pool.client.stop("drain")
    assert pool.ended() == 0

    assert pool.human_inbox() == sorted(f"{mail_id}.response.md" for mail_id in sent)
    played = (pool.project / "runs").read_text().split()
    assert len(played) == len(set(played))
    left = [pool.layout.mail, pool.layout.postoffice, pool.layout.runs, pool.layout.deadletter]
    assert [list(directory.iterdir()) for directory in left] == [[], [], [], []]
    archived = {file.name for file in pool.layout.archive.glob("*/*.md")}
    assert {f"{mail_id}.md" for mail_id in sent} <= archived
    events = pool.events()
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    accepted = [event["mail"]["id"] for event in events if event["event"] == "mail.accepted"]
    assert sorted(accepted) == sorted(sent)
    started = [event["run"] for event in events if event["event"] == "run.starting"]
    settled = [event["run"] for event in events if event["event"] == "run.settled"]
    assert sorted(started) == sorted(settled)
    assert set(played) <= set(started)
    answers = [event["response"]["id"] for event in events if event.get("response")]
    assert len(answers) == len(set(answers))
    board = json.loads(pool.layout.taskboard.read_text())
    assert {task["state"] for task in board["tasks"]} <= {"done", "failed"}
    assert pool.command("doctor").returncode == 0
