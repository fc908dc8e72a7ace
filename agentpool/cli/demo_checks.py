"""What the demo promises, checked on what is really there: its exit code rests on these."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentpool.cli import answers
from agentpool.cli.checks.finding import Level
from agentpool.cli.checks.leftovers import check_leftovers
from agentpool.cli.run_files import STREAM, runs_of
from agentpool.model.errors import UnknownIdError

if TYPE_CHECKING:
    from agentpool.cli.client import Client, Json
    from agentpool.pool.layout import Layout

#: The run during which the supervisor is killed.
KILLED_RUN = "fix-price.1"
_KILLED_TASK = "fix-price"
#: Each task, and words of the answer that only its own play gives.
ANSWERS = {
    "one-cent": "found, fixed and guarded",
    "fix-price": "Decimal reads the label exactly",
    "guard-checkout": "The guard stands",
    "since-when": "12 October 2026",
    "receipts": "No receipt is wrong",
    "tell-support": "docs/support.md",
    "release-note": "CHANGELOG.md",
}
#: What the git log prints that the researcher's run asks.
_CULPRIT = "2026-10-12  Read labels faster"


@dataclass(frozen=True, slots=True)
class Check:
    """One promise.

    Args:
        text: what should be so.
        holds: whether it is.
    """

    text: str
    holds: bool


@dataclass(slots=True)
class Witness:
    """What the demo saw while it went on.

    Args:
        failed_before: whether the test failed before anyone worked.
        bounce: the answer to the misspelt mail.
        pid_before: the process of `KILLED_RUN` when its supervisor was killed.
        pid_after: the same, as the next supervisor knows it; None where it did not take it up.
    """

    failed_before: bool = False
    bounce: str = ""
    pid_before: int | None = None
    pid_after: int | None = None


def are_all_answered(client: Client) -> bool:
    """Whether every task of the demo is settled.

    Raises:
        NoSupervisorError: nobody serves the pool.
    """
    tasks = answers.rows(client.board(everything=True), "tasks")
    return set(ANSWERS) <= {answers.text(task, "id") for task in tasks if answers.is_settled(task)}


def run_tests(layout: Layout) -> subprocess.CompletedProcess[str]:
    """The project's own tests, run as the agents run them."""
    return subprocess.run(
        [sys.executable, "-m", "unittest"],
        cwd=layout.project,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )


def checks_of_work(client: Client, layout: Layout, witness: Witness) -> list[Check]:
    """What can be said while the pool is served.

    Raises:
        NoSupervisorError: nobody serves it.
    """
    tasks = {task_id: _task(client, task_id) for task_id in ANSWERS}
    known = {answers.text(task, "id") for task in answers.rows(client.board(everything=True), "tasks")}
    good = [task_id for task_id, task in tasks.items() if _is_answered(task, ANSWERS[task_id])]
    same_process = witness.pid_before is not None and witness.pid_before == witness.pid_after
    return [
        Check(
            f"{len(good)} of {len(ANSWERS)} tasks are done, each with the answer that it should get",
            len(good) == len(tasks),
        ),
        Check(
            "the run went on through kill -9: the same process, and only once",
            same_process and _runs(tasks[_KILLED_TASK]) == 1,
        ),
        Check(
            "the architect ran twice: for its task, and with both answers",
            _runs(tasks["one-cent"]) == 2,  # noqa: PLR2004 - as it says
        ),
        Check("the misspelt mail came back, and said whom it may mean", "pricing" in witness.bounce),
        Check(
            "urgent went before low, though it was dropped later",
            "" < answers.text(tasks["tell-support"], "started") < answers.text(tasks["release-note"], "started"),
        ),
        Check(
            "the notice started no run, and went along with the next task",
            "fuel" not in known and "guard-checkout" in good,
        ),
        Check("the researcher's answer is what git log says", _CULPRIT in _printed(layout, "since-when")),
        Check("the test that failed passes", witness.failed_before and run_tests(layout).returncode == 0),
    ]


def check_of_the_end(layout: Layout) -> Check:
    """What can be said once nobody serves the pool."""
    findings = check_leftovers(layout, served=False)
    return Check("nothing is left running", all(finding.level is Level.OK for finding in findings))


def _task(client: Client, task_id: str) -> Json:
    try:
        return client.task(task_id)
    except UnknownIdError:
        return {}


def _is_answered(task: Json, words: str) -> bool:
    return answers.is_good(task) and words in answers.text(answers.row(task, "response"), "body")


def _runs(task: Json) -> int:
    return len(answers.rows(task, "attempts"))


def _printed(layout: Layout, task_id: str) -> str:
    return "".join(
        (run.directory / STREAM).read_text(encoding="utf-8", errors="replace") for run in runs_of(layout, task_id)
    )
