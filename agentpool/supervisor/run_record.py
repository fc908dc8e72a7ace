"""`run.json`: all that is known of a run that has settled, flat, for people, for scripts and for `agentpool show`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentpool.model.moment import iso

if TYPE_CHECKING:
    from agentpool.model import events as ev
    from agentpool.model.task import Task


def run_record(event: ev.RunSettled, task: Task, at: float) -> dict[str, object]:
    """The record of a run; every key is always there. Times are ISO 8601 in UTC, money is US dollars.

    Args:
        event: how it settled.
        task: that it belonged to, as it stands now: what it says of a later run is left out.
        at: when it settled, seconds since the epoch.
    """
    report, usage = event.report, event.report.usage
    process = task.process if task.process is not None and task.process.run == event.run else None
    is_last = event.run == f"{task.id}.{task.starts}"
    return {
        "run": event.run,
        "task": event.task,
        "attempt": task.attempt if is_last else None,
        "started": iso(task.started, precise=True) if is_last and task.started is not None else None,
        "ended": iso(at, precise=True),
        "step": event.step.value,
        "failure": event.failure.value if event.failure else None,
        "reason": event.reason,
        "text": report.text,
        "ended_by": report.ended_by.value,
        "exit_code": report.exit_code,
        "seconds": report.seconds,
        "cost_usd": usage.cost_usd,
        "turns": usage.turns,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_tokens": usage.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "model": report.model,
        "command_version": report.command_version,
        "session_id": report.session_id,
        "pid": process.pid if process is not None else None,
        "peak_memory_bytes": report.peak_memory_bytes,
        "survivors": report.survivors,
        "denials": [{"tool": denial.tool, "rule": denial.rule} for denial in report.denials],
        "failed_mcp_servers": list(report.failed_mcp_servers),
        "sizes": [
            {"section": size.section, "bytes": size.bytes, "cut": size.cut}
            for size in (process.sizes if process is not None else ())
        ],
        "sent": [mail.id for mail in event.outbox],
        "undelivered": event.undelivered,
    }
