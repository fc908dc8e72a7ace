"""What one run is told: knowledge, inputs, feedback and mail, put into a prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentpool.model.header import header_of
from agentpool.model.names import response_id
from agentpool.pool import starters
from agentpool.pool.knowledge import read_knowledge
from agentpool.pool.mailfile import render
from agentpool.runs.prompt import Input, Prompt, Section, compose

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentpool.model.mail import Mail
    from agentpool.model.task import Task
    from agentpool.pool.layout import Layout
    from agentpool.supervisor.ledger import Ledger
    from agentpool.supervisor.settings import Settings


#: An identity that does not name it was not written for this pool, so its agent must be told how to send mail.
_OUTBOX = "AGENTPOOL_OUTBOX"


def brief(task: Task, mail: Mail, ledger: Ledger, layout: Layout, settings: Settings) -> Prompt:
    """The prompt of the run that a task is in.

    Raises:
        OSError: a knowledge file cannot be read.
        JournalError: a text cannot be read back.
    """
    home = layout.home(task.to)
    known = read_knowledge(home, settings.shared_home(task.to))
    identity = known.identity or starters.identity(layout, task.to)
    if _OUTBOX not in identity:
        identity = f"{identity}\n{starters.protocol(layout, task.to)}"
    budget = settings.configuration.prompt
    return compose(
        Section("identity", "", identity, budget.identity, str(home / "identity.md")),
        Section("errors", "Errors you made before", known.errors, budget.errors, str(home / "errors.md")),
        Section("state", "What you know", known.state, budget.state, str(home / "state.md")),
        Section("inputs", "Inputs", "", budget.inputs, inputs=tuple(_inputs(task, ledger, layout))),
        Section("feedback", "What happened before", _feedback(task), budget.feedback),
        Section("mail", "Your task", render(header_of(mail), mail.body), budget.mail, str(layout.mail_file(mail.id))),
    )


def _inputs(task: Task, ledger: Ledger, layout: Layout) -> Iterable[Input]:
    for task_id in dict.fromkeys((*task.inputs, *task.children)):
        response = _response_to(task_id, ledger)
        if response is not None:
            status = response.status.value if response.status else "done"
            yield Input(task_id, response.sender, status, response.body, _archived(layout, response.id))
    for note_id in task.notes:
        note = ledger.mail(note_id)
        if note is not None:
            status = note.status.value if note.status else note.type.value
            yield Input(note.id, note.sender, status, note.body, _archived(layout, note.id))


def _response_to(task_id: str, ledger: Ledger) -> Mail | None:
    settled = ledger.board.settled.get(task_id)
    return None if settled is None else ledger.mail(response_id(task_id, settled.settlement))


def _archived(layout: Layout, mail_id: str) -> str:
    return str(layout.archive / "*" / f"{mail_id}.md")


def _feedback(task: Task) -> str:
    """What the last run came to, where it is the reason for this one."""
    if task.children and task.failure is None:
        return "You sent the tasks above; all of them are settled. Go on with their answers."
    if task.failure is None or not task.starts:
        return ""
    return f"Your last run on this task did not count ({task.failure}): {task.reason}"
