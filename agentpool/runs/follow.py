"""Follows one run to the end of its last process, and says what it came to."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentpool.model.run import EndedBy, RunReport
from agentpool.runs.family import Family
from agentpool.runs.process import ERRORS, STREAM, Exit, RunProcess
from agentpool.runs.stop import clear
from agentpool.runs.stop import stop as stop_run
from agentpool.runs.stream import StreamReader, StreamSummary

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agentpool.runs.agent import Agent

#: How much of the end of stderr goes into the report of a run that failed.
_ERROR_TAIL_BYTES = 2000


@dataclass(frozen=True, slots=True)
class Timings:
    """When a run is given up, all in seconds.

    Args:
        stall_s: how long it may be silent.
        run_timeout_s: how long it may take; None where there is no limit.
        result_grace_s: how long it may live on after its last result.
        stop_grace_s: how long each of SIGINT and SIGTERM is given.
        poll_s: how often its stream is read while it lives.
    """

    stall_s: float
    run_timeout_s: float | None
    result_grace_s: float
    stop_grace_s: float
    poll_s: float = 0.2


async def follow(
    process: RunProcess,
    agent: Agent,
    directory: Path,
    timings: Timings,
    on_progress: Callable[[StreamSummary], None],
    stop: asyncio.Event,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> RunReport:
    """Follows a run, spawned or adopted, until the last process of its family is gone.

    Cancelling it leaves the run alone: that is how a supervisor leaves.

    Args:
        process: the run.
        agent: whose `judge` decides what it came to.
        directory: the run's directory.
        timings: when it is given up.
        on_progress: called whenever there was new output, with the summary so far.
        stop: set when somebody wants the run to end.
        clock: seconds that never go back.

    Raises:
        TimedOutError: a process of the run survived SIGKILL.
    """
    reader = StreamReader(directory / STREAM)
    try:
        ended_by = await _watch(process, reader, timings, on_progress, stop=stop, clock=clock)
        if ended_by in (EndedBy.ITSELF, EndedBy.VANISHED):
            survivors = await _clear(process.family, timings)
        else:
            reader.summary.seal()
            survivors = await stop_run(process, timings.stop_grace_s)
        if _read_all(reader):
            on_progress(reader.summary)
        seconds = process.seconds()
        report = _report(reader.finish(), directory, ended_by, process.reap(), survivors=survivors, seconds=seconds)
    finally:
        reader.close()
    return agent.judge(reader.summary, report)


async def settle_vanished(directory: Path, agent: Agent, stop_grace_s: float) -> RunReport:
    """The report of a run that `adopt` found gone: from what it left, after what survived of its family is ended.

    Args:
        directory: the run's directory, absolute.
        agent: whose `judge` decides what it came to.
        stop_grace_s: how long SIGTERM is given.

    Raises:
        TimedOutError: a process of the run survived SIGKILL.
    """
    survivors = await clear(Family(directory, None, ours=False), stop_grace_s)
    reader = StreamReader(directory / STREAM)
    _read_all(reader)
    summary = reader.finish()
    return agent.judge(summary, _report(summary, directory, EndedBy.VANISHED, Exit(None, None), survivors=survivors))


async def _watch(
    process: RunProcess,
    reader: StreamReader,
    timings: Timings,
    on_progress: Callable[[StreamSummary], None],
    *,
    stop: asyncio.Event,
    clock: Callable[[], float],
) -> EndedBy:
    """Reads along until the command ends or is to be ended; says which."""
    if process.gone:
        return EndedBy.VANISHED
    heard = clock()
    timeout_at = None
    if timings.run_timeout_s is not None:
        timeout_at = heard - (process.seconds() or 0.0) + timings.run_timeout_s
    ended = asyncio.ensure_future(process.wait())
    stopped = asyncio.ensure_future(stop.wait())
    try:
        while True:
            process.sample_memory()
            await asyncio.wait({ended, stopped}, timeout=timings.poll_s, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                ended.result()
                return EndedBy.ITSELF
            if _read_all(reader):
                heard = clock()
                on_progress(reader.summary)
            if stopped.done():
                return EndedBy.STOP
            now = clock()
            finished = reader.summary.results > 0 and not reader.summary.in_turn
            if finished and now - heard >= timings.result_grace_s:
                return EndedBy.GRACE
            if timeout_at is not None and now >= timeout_at:
                return EndedBy.TIMEOUT
            if now - heard >= timings.stall_s:
                return EndedBy.STALL
    finally:
        ended.cancel()
        stopped.cancel()


async def _clear(family: Family, timings: Timings) -> int:
    return await clear(family, timings.stop_grace_s) if family.left_behind() else 0


def _read_all(reader: StreamReader) -> bool:
    grown = False
    while reader.read_new(time.time()):
        grown = True
    return grown


def _report(
    summary: StreamSummary,
    directory: Path,
    ended_by: EndedBy,
    end: Exit,
    *,
    survivors: int,
    seconds: float | None = None,
) -> RunReport:
    return RunReport(
        failure=None,
        text="" if summary.result is not None else _tail(directory / ERRORS),
        ended_by=ended_by,
        usage=summary.usage,
        session_id=summary.session_id,
        model=summary.model,
        command_version=summary.command_version,
        exit_code=end.code,
        has_result=summary.result is not None,
        has_output=summary.bytes > 0,
        denials=summary.denials,
        survivors=survivors,
        peak_memory_bytes=end.peak_memory_bytes,
        seconds=seconds,
        failed_mcp_servers=summary.failed_mcp_servers,
    )


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _ERROR_TAIL_BYTES))
            return file.read().decode(errors="replace").strip()
    except FileNotFoundError:
        return ""
