"""What is left to read: logs, records, the taskboard, the events."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.supervisor.served import eventually

if TYPE_CHECKING:
    from tests.supervisor.served import Pool


def test_the_log_of_a_run(pool: Pool) -> None:
    """A settled run's directory becomes its log: stream, standard error and a record of all that is known."""
    pool.script('[[play]]\nsteps = [ { say = "I look." }, { stderr = "a warning" }, { cost = 0.25 } ]\n')
    pool.start()
    pool.send("t", "a")
    pool.settled("t")
    log = pool.layout.logs("a") / "t" / "1"
    assert "I look." in (log / "stream.jsonl").read_text()
    assert "a warning" in (log / "stderr.log").read_text()
    record = pool.record("a", "t")
    assert (record["run"], record["step"], record["cost_usd"], record["failure"]) == ("t.1", "done", 0.25, None)
    assert record["turns"] >= 1
    assert record["seconds"] > 0
    assert record["command_version"]
    assert record["pid"]
    assert {size["section"] for size in record["sizes"]} >= {"identity", "mail"}
    assert not list(pool.layout.runs.iterdir())


def test_one_line_for_each_settlement(pool: Pool) -> None:
    """`logs/index.md` has a line for each settled task, also for those without a run; crashes add none."""
    pool.script('[[play]]\ntask = "bad"\nsteps = [ { fail = "no" } ]\n')
    pool.start()
    pool.send("good", "a", "The | first line\n\nand more")
    pool.settled("good")
    pool.send("bad", "a")
    pool.send("never", "a", depends_on=["bad"])
    pool.settled("never", "failed")
    pool.restart()
    lines = (pool.layout.logs("a") / "index.md").read_text().splitlines()
    rows = [line.split(" | ") for line in lines if line.startswith("| 20")]
    assert [(row[1], row[2], row[3]) for row in rows] == [
        ("good", "done", "1"),
        ("bad", "failed", "1"),
        ("never", "failed", "0"),
    ]
    assert "The \\| first line" in lines[-3]


def test_the_taskboard(pool: Pool) -> None:
    """`taskboard.json` shows open and settled tasks, and another program's file of that name is kept aside."""
    pool.layout.taskboard.write_text('{"tasks": "of another program"}')
    pool.start()
    pool.send("t", "a")
    pool.send("blocked", "a", depends_on=["nowhere"])

    def shown() -> dict[str, str]:
        return {task["id"]: task["state"] for task in json.loads(pool.layout.taskboard.read_text())["tasks"]}

    eventually(lambda: pool.layout.taskboard.with_name("taskboard.foreign.json").exists(), "the other is kept")
    eventually(lambda: shown() == {"t": "done", "blocked": "blocked"}, "the board is shown")
    assert "another program" in pool.layout.taskboard.with_name("taskboard.foreign.json").read_text()


def test_the_stream_of_events_is_the_journal(pool: Pool) -> None:
    """`watch --json` from the beginning gives every event of the journal once, without a gap, then what happens."""
    pool.start()
    pool.send("t", "a")
    pool.settled("t")
    seen = []
    for event in pool.client.events(since=0):
        if "seq" in event:
            seen.append(event)
        if event.get("event") == "run.settled":
            break
    assert [event["seq"] for event in seen] == list(range(1, len(seen) + 1))
    assert [event["event"] for event in seen] == [
        "pool.started",
        "mail.accepted",
        "run.starting",
        "run.started",
        "run.settled",
    ]


def test_a_piped_start_tells_what_happens(pool: Pool) -> None:
    """In a pipe the supervisor prints one plain line for each event."""
    pool.start()
    pool.send("t", "a")
    pool.settled("t")
    eventually(lambda: "t.1 · done" in pool.log(), "the line")
    assert "\x1b" not in pool.log()


def test_knowledge_that_a_run_writes_is_kept_when_it_fails(pool: Pool) -> None:
    """What a failed run wrote into its state is there for the next attempt."""
    state = pool.layout.home("a") / "state.md"
    pool.script(
        f"""
        [[play]]
        run = 1
        steps = [ {{ append = {{ path = "{state}", text = "LEARNED-IT" }} }}, {{ overloaded = true }} ]
        [[play]]
        mail = "LEARNED-IT"
        steps = [ {{ respond = {{ body = "I remember." }} }} ]
        """
    )
    pool.start()
    pool.send("t", "a")
    assert "I remember." in pool.answer("t")[1]
