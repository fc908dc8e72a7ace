"""Names and texts that no UTF-8 can hold, and numbers that no clock or float can."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.supervisor.served import Pool

_RESULT = '"type":"result","subtype":"success","is_error":false,"usage":{}'


def _move_in(directory: Path, name: bytes, text: str) -> None:
    aside = directory / ".aside"
    aside.write_text(text)
    aside.rename(directory / os.fsdecode(name))


def test_a_name_in_latin_1_is_a_task(pool: Pool) -> None:
    """A drop without an id whose name is no UTF-8 is accepted and answered like any other."""
    pool.start()
    _move_in(pool.layout.inbox("a"), b"caf\xe9.md", "hello\n")
    _move_in(pool.layout.postoffice, b"th\xe9.md", "---\nto: nobody\n---\n\nhello\n")
    pool.drop("after.md", "hello\n", to="b")
    pool.settled("after")
    pool.settled("caf")
    pool.answer("caf")
    assert "nobody" in pool.reason("th.md")
    assert not pool.status()["holds"]
    assert "Traceback" not in pool.log()


@pytest.mark.parametrize("error", ["false", "true"])
def test_half_a_character_in_a_result(pool: Pool, error: str) -> None:
    r"""An answer cut in the middle of an emoji is an answer, also for the next supervisor; likewise a failure."""
    line = f'{{{_RESULT.replace("false", error)},"result":"good \\ud83d","num_turns":1,"total_cost_usd":0.1}}'
    pool.script(f"[[play]]\nsteps = [ {{ raw = '{line}' }}, {{ results = 0 }} ]\n")
    pool.start()
    pool.send("t", "a")
    pool.settled("t", "failed" if error == "true" else "done")
    assert "good" in pool.answer("t")[1]
    assert pool.command("show", "t").returncode == 0
    pool.restart()
    assert pool.command("show", "t", "--json").returncode == 0
    assert pool.command("inbox").returncode == 0
    assert "good" in pool.answer("t")[1]


@pytest.mark.parametrize(("header", "reason"), [("to: nobody", "no mailbox"), ("to: [", "not valid YAML")])
def test_an_outbox_with_a_name_in_latin_1(pool: Pool, header: str, reason: str) -> None:
    """What is refused of an outbox is named in the reason even where its name is no UTF-8."""
    program = (
        "import os; name = os.fsencode(os.environ['AGENTPOOL_OUTBOX']) + bytes([47, 120, 0xe9]) + b'.md';"
        f"open(name, 'wb').write(b'---\\n{header}\\n---\\n\\nhello')"
    )
    pool.script(f"[[play]]\ntask = 't'\nsteps = [ {{ run = ['''python3''', '''-c''', '''{program}'''] }} ]\n")
    pool.start()
    pool.send("t", "a")
    task = pool.settled("t", "failed")
    assert reason in ascii(task["reason"])  # half a character in an error is too much for pytest-xdist
    pool.answer("t")
    pool.restart()
    assert pool.states() == {"t": "failed"}
    assert pool.command("show", "t").returncode == 0
    pool.send("next", "b")
    pool.settled("next")


@pytest.mark.parametrize("reset", ["1764000000000", "9999999999999", "1e300"])
def test_a_reset_that_no_limit_has(pool: Pool, reset: str) -> None:
    """A reset in milliseconds, or beyond all time, holds the pool for a time that people can wait for."""
    limit = f'{{"type":"rate_limit_event","rate_limit_info":{{"status":"rejected","resetsAt":{reset}}}}}'
    result = '{"type":"result","subtype":"success","is_error":true,"api_error_status":429,"result":"limit"}'
    pool.script(f"[[play]]\nsteps = [ {{ raw = '{limit}' }}, {{ raw = '{result}' }}, {{ results = 0 }} ]\n")
    pool.start()
    pool.send("t", "a")
    until = datetime.fromisoformat(pool.hold("limit")["until"])
    assert datetime.now(UTC) < until < datetime.now(UTC) + timedelta(days=8)
    assert pool.command("status").returncode == 0
    pool.restart()
    assert pool.command("status").returncode == 0


def test_an_integer_beyond_every_float(pool: Pool) -> None:
    """A number of 400 digits in a result leaves no run unsettled."""
    line = f'{{{_RESULT},"result":"good","num_turns":1{"0" * 400},"total_cost_usd":1{"0" * 400}}}'
    pool.script(f"[[play]]\nsteps = [ {{ raw = '{line}' }}, {{ results = 0 }} ]\n")
    pool.start()
    pool.send("t", "a")
    pool.settled("t")
    assert "good" in pool.answer("t")[1]
    assert pool.command("status").returncode == 0
