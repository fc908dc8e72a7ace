"""`agentpool show`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentpool.cli import answers
from agentpool.cli.client import Client
from agentpool.cli.completion import task_ids
from agentpool.cli.moments import dollars, local, span
from agentpool.cli.output import heading, say, say_all, say_json, say_markdown, state
from agentpool.cli.terminal import one_line, style, table
from agentpool.pool.layout import find_pool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentpool.cli.answers import Row

app = typer.Typer()

_MIB = 1 << 20


@app.command()
def show(
    task_id: Annotated[str, typer.Argument(metavar="ID", autocompletion=task_ids)],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show one task: its mail, its attempts, its answer."""
    layout = find_pool(Path.cwd())
    task = Client(layout).task(task_id)
    if as_json:
        say_json(task)
        return
    say(
        f"{style(one_line(answers.text(task, 'id')), 'bold')}  {state(answers.text(task, 'state'))}  "
        f"{one_line(answers.text(task, 'from'))} → {one_line(answers.text(task, 'to'))}  "
        f"{dollars(task.get('cost_usd'))}"
    )
    say_all(_facts(task, layout.root))
    attempts = answers.rows(task, "attempts")
    if attempts:
        say()
        say(heading("Runs", str(len(attempts))))
        for attempt in attempts:
            say_all(_attempt(attempt))
    say()
    say(heading("Mail"))
    say_markdown(answers.text(task, "mail"))
    response = answers.row(task, "response")
    if response:
        say()
        say(heading("Answer", f"{answers.text(response, 'status')} · {one_line(answers.text(response, 'id'))}"))
        say_markdown(answers.text(response, "body"))


def _facts(task: Row, root: Path) -> list[str]:
    lists = {key: ", ".join(answers.names(task, key)) for key in ("waits_for", "depends_on", "children")}
    logs = answers.text(task, "run_directory") or answers.text(task, "logs")
    facts = [
        ("why", answers.text(task, "reason")),
        ("failure", answers.text(task, "failure")),
        ("type", answers.text(task, "type")),
        ("priority", answers.text(task, "priority")),
        ("waits for", lists["waits_for"]),
        ("depends on", lists["depends_on"]),
        ("sent by", answers.text(task, "parent")),
        ("sent", lists["children"]),
        ("created", local(task.get("created"))),
        ("started", local(task.get("started"))),
        ("ended", local(task.get("ended"))),
        ("logs", str(root / logs) if logs else ""),
    ]
    return table([(name, value) for name, value in facts if value], indent="  ")


def _attempt(attempt: Row) -> Iterator[str]:
    seconds = attempt.get("seconds")
    facts = [
        answers.text(attempt, "step") or "running",
        span(float(seconds)) if isinstance(seconds, (int, float)) else "",
        dollars(attempt.get("cost_usd")),
        f"{answers.text(attempt, 'turns')} turns" if attempt.get("turns") else "",
        f"{answers.number(attempt, 'input_tokens'):.0f}+{answers.number(attempt, 'output_tokens'):.0f} tokens",
        f"{answers.number(attempt, 'peak_memory_bytes') / _MIB:.0f} MiB" if attempt.get("peak_memory_bytes") else "",
        answers.text(attempt, "model"),
    ]
    said = "  ".join(one_line(fact) for fact in facts if fact)
    yield f"  {one_line(answers.text(attempt, 'run'))}  {said}"
    if attempt.get("reason"):
        kind = answers.text(attempt, "failure")
        yield f"      {style(one_line(': '.join(filter(None, (kind, answers.text(attempt, 'reason'))))), 'red')}"
    for denial in answers.rows(attempt, "denials"):
        yield (
            f"      {style('denied:', 'yellow')} {one_line(answers.text(denial, 'tool'))}; to allow it, add "
            f"{one_line(answers.text(denial, 'rule'))} to [agent] allowed_tools in pool.toml"
        )
    if attempt.get("undelivered"):
        yield f"      {answers.text(attempt, 'undelivered')} mails of its outbox were not delivered"
