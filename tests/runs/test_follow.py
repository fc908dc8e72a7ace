from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from agentpool.model.run import EndedBy, FailureKind, RunReport
from agentpool.runs.agent import Command
from agentpool.runs.claude import Claude
from agentpool.runs.family import Family
from agentpool.runs.follow import Timings, follow, settle_vanished
from agentpool.runs.process import STREAM, adopt, lives, spawn

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agentpool.runs.stream import StreamSummary

#: Long enough that a test which needs one of them to pass would fail.
NEVER = 500.0
PATIENT = Timings(stall_s=NEVER, run_timeout_s=None, result_grace_s=NEVER, stop_grace_s=NEVER, poll_s=0.01)


def timings(
    stall: float = NEVER, timeout: float | None = None, grace: float = NEVER, stop: float = NEVER, poll: float = 0.01
) -> Timings:
    """Patient but for what is named."""
    return Timings(stall_s=stall, run_timeout_s=timeout, result_grace_s=grace, stop_grace_s=stop, poll_s=poll)


def result(text: str, **more: Any) -> str:
    """A result line, good unless `more` says otherwise."""
    return json.dumps({"type": "result", "subtype": "success", "is_error": False, "result": text, **more})


def say(*lines: str) -> str:
    """Shell text that prints lines."""
    return "".join(f"printf '%s\\n' '{line}'\n" for line in lines)


ASSISTANT = json.dumps({"type": "assistant", "message": {"content": [{"type": "text", "text": "hm"}]}})
INTERRUPTED = json.dumps(
    {"type": "result", "subtype": "error_during_execution", "is_error": True, "errors": ["x"], "total_cost_usd": 0.5}
)


def run(
    command: Command,
    directory: Path,
    times: Timings = PATIENT,
    on_progress: Callable[[StreamSummary], None] = lambda _: None,
    **more: Any,
) -> RunReport:
    """Spawns and follows one run to its end."""

    async def main() -> RunReport:
        process = spawn(command, directory)
        return await follow(process, Claude(), directory, times, on_progress, asyncio.Event(), **more)

    return asyncio.run(asyncio.wait_for(main(), 20))


def test_a_run_that_ends_well(run_directory: Path, shell: Callable[..., Command]) -> None:
    """The result line becomes the report, with what it cost and how long it took."""
    line = result("done", total_cost_usd=0.25, num_turns=3, session_id="s-1", usage={"input_tokens": 7})
    report = run(shell(say(line)), run_directory)
    assert report.ok
    assert report.text == "done"
    assert report.ended_by is EndedBy.ITSELF
    assert (report.usage.cost_usd, report.usage.turns, report.usage.input_tokens) == (0.25, 3, 7)
    assert report.session_id == "s-1"
    assert report.exit_code == 0
    assert report.seconds is not None
    assert report.seconds < 10


def test_the_end_is_seen_at_once(run_directory: Path, shell: Callable[..., Command]) -> None:
    """A run that ends does not wait for the next look at its stream."""
    assert run(shell(say(result("quick"))), run_directory, timings(poll=NEVER)).text == "quick"


def test_the_exit_code_is_no_criterion(run_directory: Path, shell: Callable[..., Command]) -> None:
    """A good result with exit 1 is a success; exit 0 without a result is a failure."""
    good = run(shell(say(result("fine")) + "exit 1"), run_directory)
    assert (good.ok, good.exit_code) == (True, 1)
    (run_directory / STREAM).unlink()
    bad = run(shell("echo wrong flag >&2; exit 0"), run_directory)
    assert bad.failure is FailureKind.AGENT
    assert not bad.has_result
    assert not bad.has_output
    assert "wrong flag" in bad.text


def test_the_last_result_judges(run_directory: Path, shell: Callable[..., Command]) -> None:
    """Of two results the second counts, for better and for worse."""
    report = run(shell(say(result("first", is_error=True), ASSISTANT, result("second"))), run_directory)
    assert (report.ok, report.text) == (True, "second")


def test_a_torn_last_line(run_directory: Path, shell: Callable[..., Command]) -> None:
    """A stream that ends inside a line is a run without a result, and says so."""
    report = run(shell(say(ASSISTANT) + 'printf \'{"type":"resu\'; kill -9 $$'), run_directory)
    assert report.failure is FailureKind.AGENT
    assert "in the middle of a line" in report.text
    assert "signal 9" in report.text or "SIGKILL" in report.text


def test_it_printed_its_result_and_never_exits(run_directory: Path, shell: Callable[..., Command]) -> None:
    """After the result the process gets a short grace; what it is stopped with does not spoil the result."""
    report = run(shell(say(result("done")) + "exec sleep 600"), run_directory, timings(grace=0.02))
    assert (report.ok, report.text, report.ended_by) == (True, "done", EndedBy.GRACE)
    assert not lives(run_directory)


LINGERS = """
import signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
print(sys.argv[1], flush=True)
signal.sigwait({signal.SIGINT})
print(sys.argv[2], flush=True)
sys.exit(1)
"""


def test_the_echo_of_a_stop_is_no_verdict(run_directory: Path, tmp_path: Path) -> None:
    """The result that SIGINT draws from a command does not replace the one that it had given, but its cost counts."""
    command = Command((sys.executable, "-c", LINGERS, result("done"), INTERRUPTED), {}, tmp_path, b"")
    report = run(command, run_directory, timings(grace=0.02))
    assert (report.ok, report.text, report.ended_by) == (True, "done", EndedBy.GRACE)
    assert report.usage.cost_usd == 0.5


def test_a_stopped_run_is_judged_by_the_stop(run_directory: Path, tmp_path: Path) -> None:
    """A result that only says "interrupted" is told as what interrupted it."""
    command = Command((sys.executable, "-c", LINGERS, ASSISTANT, INTERRUPTED), {}, tmp_path, b"")
    report = run(command, run_directory, timings(stall=0.3))
    assert (report.failure, report.ended_by) == (FailureKind.TIMEOUT, EndedBy.STALL)
    assert report.usage.cost_usd == 0.5


def test_a_second_turn_after_the_result_is_let_work(
    run_directory: Path, shell: Callable[..., Command], tmp_path: Path
) -> None:
    """The grace after a result does not count while the session goes on."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    text = say(result("first"), ASSISTANT) + f"read line < {gate}\n" + say(result("second"))
    looks = 0

    def clock() -> float:
        # Each look is an hour later than the one before: any wait that counts would be over.
        nonlocal looks
        looks += 1
        if looks == 10:
            os.close(os.open(gate, os.O_WRONLY))
        return looks * 3600.0

    times = Timings(stall_s=1e9, run_timeout_s=None, result_grace_s=1, stop_grace_s=NEVER, poll_s=0.01)
    seen: list[int] = []
    report = run(shell(text), run_directory, times, lambda summary: seen.append(summary.results), clock=clock)
    assert (report.text, report.ended_by) == ("second", EndedBy.ITSELF)


@pytest.mark.parametrize("quiet", ["", "trap '' INT TERM\n"])
def test_a_silent_run_is_stopped(run_directory: Path, shell: Callable[..., Command], quiet: str) -> None:
    """No output for long enough ends a run, also one that ignores every polite signal."""
    text = quiet + say(ASSISTANT) + "while :; do sleep 600; done"
    report = run(shell(text), run_directory, timings(stall=0.05, stop=0.1))
    assert (report.failure, report.ended_by) == (FailureKind.TIMEOUT, EndedBy.STALL)
    assert not lives(run_directory)


def test_a_run_that_takes_too_long(run_directory: Path, shell: Callable[..., Command]) -> None:
    """The wall clock ends a run however much it says."""
    text = f"while :; do {say(ASSISTANT)} sleep 0.01; done"
    report = run(shell(text), run_directory, timings(timeout=0.2, stop=0.1))
    assert (report.failure, report.ended_by) == (FailureKind.TIMEOUT, EndedBy.TIMEOUT)


def test_a_request_to_stop(run_directory: Path, shell: Callable[..., Command]) -> None:
    """Setting the event stops the run at once."""

    async def main() -> RunReport:
        stop = asyncio.Event()
        process = spawn(shell(say(ASSISTANT) + "exec sleep 600"), run_directory)
        times = timings(poll=0.01)
        return await follow(process, Claude(), run_directory, times, lambda _: stop.set(), stop)

    report = asyncio.run(asyncio.wait_for(main(), 20))
    assert (report.failure, report.ended_by) == (FailureKind.SUPERVISOR, EndedBy.STOP)
    assert report.exit_code == -signal.SIGINT


def test_what_a_run_leaves_behind_is_ended_before_it_settles(
    run_directory: Path, shell: Callable[..., Command]
) -> None:
    """Background processes, also stubborn ones in sessions of their own, do not outlive the report."""
    stubborn = """setsid sh -c 'trap "" TERM; echo >&2; sleep 600' & read line < /dev/null; sleep 600 &\n"""
    report = run(shell(stubborn + say(result("done"))), run_directory, timings(stop=0.1))
    assert report.ok
    assert report.survivors >= 2
    assert Family(run_directory, None, ours=False).find() == []
    assert not lives(run_directory)


def test_progress_is_told(run_directory: Path, shell: Callable[..., Command]) -> None:
    """Whoever watches is told of new output, and in the end of all of it."""
    seen: list[tuple[int, int]] = []
    report = run(
        shell(say(ASSISTANT, result("done"))),
        run_directory,
        on_progress=lambda summary: seen.append((summary.bytes, summary.results)),
    )
    assert report.ok
    assert seen[-1] == ((run_directory / STREAM).stat().st_size, 1)


def test_leaving_does_not_touch_the_run(run_directory: Path, shell: Callable[..., Command], tmp_path: Path) -> None:
    """A supervisor that leaves lets the run go on, and the next one follows it to its end."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    text = say(ASSISTANT) + f"read line < {gate}\n" + say(result("after all"))

    async def leave() -> None:
        started = asyncio.Event()
        process = spawn(shell(text), run_directory)
        following = asyncio.ensure_future(
            follow(process, Claude(), run_directory, PATIENT, lambda _: started.set(), asyncio.Event())
        )
        await started.wait()
        following.cancel()
        with pytest.raises(asyncio.CancelledError):
            await following

    async def come_back() -> RunReport:
        process = adopt(run_directory)
        assert process is not None
        os.close(os.open(gate, os.O_WRONLY))
        return await follow(process, Claude(), run_directory, PATIENT, lambda _: None, asyncio.Event())

    asyncio.run(asyncio.wait_for(leave(), 20))
    assert lives(run_directory)
    report = asyncio.run(asyncio.wait_for(come_back(), 20))
    assert (report.ok, report.text, report.ended_by) == (True, "after all", EndedBy.ITSELF)


SUPERVISOR = """
import asyncio, os, sys
from pathlib import Path
from agentpool.runs.agent import Command
from agentpool.runs.claude import Claude
from agentpool.runs.family import become_subreaper
from agentpool.runs.follow import Timings, follow
from agentpool.runs.process import spawn
become_subreaper()
directory = Path(sys.argv[1])
async def main():
    process = spawn(Command(("/bin/sh", "-c", sys.argv[2]), dict(os.environ), directory, b""), directory)
    times = Timings(500, None, 500, 500, 0.01)
    die = lambda summary: os.kill(os.getpid(), 9)
    if sys.argv[3] == "at once":
        die(None)
    await follow(process, Claude(), directory, times, die, asyncio.Event())
asyncio.run(main())
"""


def killed_supervisor(directory: Path, text: str, when: str) -> None:
    """A supervisor that starts a run and is killed, "at once" or "at output"."""
    finished = subprocess.run([sys.executable, "-c", SUPERVISOR, str(directory), text, when], check=False)
    assert finished.returncode == -signal.SIGKILL


def test_a_run_outlives_its_supervisor(run_directory: Path, tmp_path: Path) -> None:
    """Killed in the middle, a supervisor leaves a run that the next one follows from the first byte of its stream."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    init = json.dumps({"type": "system", "subtype": "init", "session_id": "s-9", "model": "m", "tools": []})
    leftover = "setsid sh -c 'trap \"\" TERM; sleep 600' &\n"
    killed_supervisor(run_directory, leftover + say(init) + f"read line < {gate}\n" + say(result("alone")), "at output")

    async def main() -> RunReport:
        process = adopt(run_directory)
        assert process is not None
        os.close(os.open(gate, os.O_WRONLY))
        return await follow(process, Claude(), run_directory, timings(stop=0.1), lambda _: None, asyncio.Event())

    report = asyncio.run(asyncio.wait_for(main(), 20))
    assert (report.ok, report.text, report.session_id) == (True, "alone", "s-9")
    assert report.exit_code is None
    assert report.survivors >= 1
    assert report.seconds is not None
    assert Family(run_directory, None, ours=False).find() == []


@pytest.mark.parametrize(
    ("lines", "failure"), [((ASSISTANT, result("done")), None), ((ASSISTANT,), FailureKind.SUPERVISOR)]
)
@pytest.mark.parametrize("held", ["adopted", "vanished"])
def test_a_run_that_ended_unseen(
    run_directory: Path,
    until: Callable[..., Any],
    lines: tuple[str, ...],
    failure: FailureKind | None,
    held: str,
) -> None:
    """A run that ended while no supervisor looked is settled by what it left, and its survivors are ended.

    It makes no difference whether a survivor still holds its lock, so that it is adopted first.
    """
    # Whichever descriptor the lock is: none of these is needed.
    keep = "" if held == "adopted" else "3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-"
    killed_supervisor(run_directory, f"setsid sleep 600 {keep} &\n" + say(*lines) + "kill -9 $$", "at once")
    if held == "adopted":
        process = adopt(run_directory)
        assert process is not None
        until(process.has_ended)
    else:
        until(lambda: not lives(run_directory))
        process = adopt(run_directory)
        assert process is None

    async def main() -> RunReport:
        if process is None:
            return await settle_vanished(run_directory, Claude(), 1)
        return await follow(process, Claude(), run_directory, timings(stop=1), lambda _: None, asyncio.Event())

    report = asyncio.run(asyncio.wait_for(main(), 20))
    assert (report.failure, report.ended_by, report.survivors) == (failure, EndedBy.VANISHED, 1)
    assert Family(run_directory, None, ours=False).find() == []


def test_a_run_that_never_began(run_directory: Path) -> None:
    """An empty stream without a living run is told apart: its attempt can be started again."""
    report = asyncio.run(settle_vanished(run_directory, Claude(), 1))
    assert not report.has_output
    assert report.failure is FailureKind.SUPERVISOR


def test_an_hour_of_silence_is_no_wait_for_the_tests(run_directory: Path, shell: Callable[..., Command]) -> None:
    """Silence is measured by the clock that is given, from output alone."""
    ticks = iter(range(0, 10**9, 600))
    times = timings(stall=3600, stop=0.1)
    report = run(shell(say(ASSISTANT) + "exec sleep 600"), run_directory, times, clock=lambda: float(next(ticks)))
    assert report.ended_by is EndedBy.STALL
