"""`agentpool show`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentpool.cli import answers
from agentpool.cli.client import Client
from agentpool.cli.completion import task_ids
from agentpool.cli.moments import dollars, dollars_so_far, local, since, span
from agentpool.cli.output import heading, say, say_all, say_json, say_markdown, state
from agentpool.cli.run_text import doing
from agentpool.cli.terminal import counted, one_line, style, table
from agentpool.model.mail import Mail
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
    client = Client(layout)
    task = client.task(task_id)
    if as_json:
        say_json(task)
        return
    now = {} if answers.is_settled(task) else client.status()
    say(_head(task))
    say_all(_facts(task, _of_task(answers.rows(now, "waiting"), "id", task), layout.root))
    attempts = answers.rows(task, "attempts")
    living = _of_task(answers.rows(now, "runs"), "task", task)
    if attempts or living:
        say()
        say(heading("Runs", str(len(attempts) + bool(living))))
        for attempt in attempts:
            say_all(_attempt(attempt, task))
        if living:
            say(_living(living))
    say()
    say(heading("Mail"))
    say_markdown(answers.text(task, "mail"))
    response = answers.row(task, "response")
    if response:
        say()
        say(heading("Answer", f"{answers.text(response, 'status')} · {one_line(answers.text(response, 'id'))}"))
        say_markdown(answers.text(response, "body"))


def _of_task(rows: list[dict[str, object]], key: str, task: Row) -> Row:
    return next((row for row in rows if row.get(key) == task.get("id")), {})


def _head(task: Row) -> str:
    settled = answers.is_settled(task)
    cancelling = task.get("cancel_requested") and not settled
    return (
        f"{style(one_line(answers.text(task, 'id')), 'bold')}  {state(answers.text(task, 'state'))}"
        f"{style(', to be cancelled', 'red') if cancelling else ''}  "
        f"{one_line(answers.text(task, 'from'))} → {one_line(answers.text(task, 'to'))}  "
        f"{dollars(task.get('cost_usd')) if settled else dollars_so_far(task.get('cost_usd'))}"
    )


def _facts(task: Row, wait: Row, root: Path) -> list[str]:
    lists = {key: ", ".join(answers.names(task, key)) for key in ("waits_for", "depends_on", "children")}
    logs = answers.text(task, "run_directory") or answers.text(task, "logs")
    why = _why(task, wait)
    facts = [
        ("why", why),
        ("tip", answers.text(wait, "tip")),
        ("type", answers.text(task, "type")),
        ("priority", answers.text(task, "priority")),
        ("waits for", "" if all(name in why for name in answers.names(task, "waits_for")) else lists["waits_for"]),
        ("depends on", lists["depends_on"]),
        ("sent by", answers.text(task, "parent")),
        ("sent", lists["children"]),
        ("created", local(task.get("created"))),
        ("started", local(task.get("started"))),
        ("ended", local(task.get("ended"))),
        ("logs", str(root / logs) if logs else ""),
    ]
    return table([(name, value) for name, value in facts if value], indent="  ")


def _why(task: Row, wait: Row) -> str:
    """Why it waits, or why it failed, in so far as the answer does not say it."""
    reason, response = answers.text(task, "reason"), answers.row(task, "response")
    if not response:
        return answers.text(wait, "reason") or reason
    body = answers.text(response, "body")
    # The reason often ends with the answer's subject, and an answer of the supervisor's holds the reason.
    reason = reason.removesuffix(f": {Mail('', '', body=body).subject}")
    told = reason == answers.text(task, "state") or one_line(reason) in one_line(body)
    return ": ".join(filter(None, (answers.text(task, "failure"), "" if told else reason)))


def _living(run: Row) -> str:
    facts = [
        "running",
        since(run.get("since")),
        dollars_so_far(run.get("cost_usd")),
        f"pid {answers.text(run, 'pid')}" if run.get("pid") else "",
        answers.text(run, "model"),
        doing(run),
    ]
    return f"  {one_line(answers.text(run, 'run'))}  {'  '.join(one_line(fact) for fact in facts if fact)}"


def _attempt(attempt: Row, task: Row) -> Iterator[str]:
    seconds = attempt.get("seconds")
    facts = [
        answers.text(attempt, "step") or "running",
        span(float(seconds)) if isinstance(seconds, (int, float)) else "",
        dollars(attempt.get("cost_usd")),
        counted(answers.number(attempt, "turns"), "turn") if attempt.get("turns") else "",
        f"{answers.number(attempt, 'input_tokens'):.0f}+{answers.number(attempt, 'output_tokens'):.0f} tokens",
        f"{answers.number(attempt, 'peak_memory_bytes') / _MIB:.0f} MiB" if attempt.get("peak_memory_bytes") else "",
        answers.text(attempt, "model"),
    ]
    said = "  ".join(one_line(fact) for fact in facts if fact)
    yield f"  {one_line(answers.text(attempt, 'run'))}  {said}"
    # What ended the task stands above already.
    if attempt.get("reason") and (attempt.get("reason") != task.get("reason") or not answers.is_settled(task)):
        kind = answers.text(attempt, "failure")
        yield f"      {style(one_line(': '.join(filter(None, (kind, answers.text(attempt, 'reason'))))), 'red')}"
    for denial in answers.rows(attempt, "denials"):
        yield (
            f"      {style('denied:', 'yellow')} {one_line(answers.text(denial, 'tool'))}; to allow it, add "
            f"{one_line(answers.text(denial, 'rule'))} to [agent] allowed_tools in pool.toml"
        )
    if attempt.get("undelivered"):
        yield f"      not delivered: {counted(answers.number(attempt, 'undelivered'), 'file')} of its outbox"
