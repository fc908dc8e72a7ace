"""The package's own adapter with the real command: from a `RunSpec` to a `RunReport`."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import repeat
from typing import TYPE_CHECKING

import pytest

from agentpool.model.run import EndedBy, FailureKind
from agentpool.runs.agent import RunSpec
from agentpool.runs.claude import Claude
from agentpool.runs.follow import Timings, follow
from agentpool.runs.process import spawn
from tests.claude.messages_api import Refuse, Say, Tokens, Use
from tests.claude.replies import usage_limit
from tests.claude.running import eventually

if TYPE_CHECKING:
    from agentpool.model.run import RunReport
    from tests.claude.messages_api import Step
    from tests.claude.scenario import ClaudeScenario

pytestmark = pytest.mark.claude

TIMINGS = Timings(stall_s=20, run_timeout_s=20, result_grace_s=5, stop_grace_s=5, poll_s=0.02)

#: When the scripted usage limit ends, in seconds since the epoch.
RESETS_AT = 4_102_444_800


@pytest.fixture
def spec(claude: ClaudeScenario) -> RunSpec:
    """A run of the expert `login`."""
    directory = claude.workplace.root / "run"
    directory.mkdir()
    return RunSpec(
        run_id="faster.1",
        task_id="faster",
        name="login",
        role="expert",
        pool=claude.workplace.root,
        project=claude.workplace.project,
        directory=directory,
        identity="You are the expert for login.\n",
        message="Make it faster.",
        model="sonnet",
        max_usd=0.5,
        allowed_tools=("Bash", "Write"),
        permission_mode="dontAsk",
        deny=(f"Edit(/{claude.workplace.project}/foreign/**)",),
        environment={**claude.api.environment(claude.workplace.home), "AGENTPOOL_RUN": claude.marker},
    )


async def report_of(claude: ClaudeScenario, spec: RunSpec, *, stop_at: str | None = None) -> RunReport:
    """Runs the command for `spec`; with `stop_at`, until that file of the project is there and then stopped."""
    agent = Claude(str(claude.command))
    process = spawn(agent.command(spec), spec.directory)
    stop = asyncio.Event()
    following = asyncio.create_task(follow(process, agent, spec.directory, TIMINGS, lambda _: None, stop))
    if stop_at is not None:
        await asyncio.to_thread(eventually, (spec.project / stop_at).exists, f"{stop_at} is there")
        stop.set()
    return await following


def test_a_run_from_its_order_to_its_report(claude: ClaudeScenario, spec: RunSpec) -> None:
    """Identity, message, tools and rules reach the command, and what it did is in the report."""
    foreign = spec.project / "foreign"
    foreign.mkdir()
    script: list[Step] = [
        Use("Write", {"file_path": str(spec.project / "faster.py"), "content": "pass\n"}),
        Use("Bash", {"command": f"touch {foreign}/file"}),
        Say("It is faster.", Tokens(input=100, output=50)),
    ]
    claude.api.script("Make it faster.", script)
    report = asyncio.run(report_of(claude, spec))
    first, *_ = claude.api.conversation()
    assert "You are the expert for login." in first.system
    assert first.prompt.endswith("Make it faster.")
    assert (spec.project / "faster.py").read_text() == "pass\n"
    assert list(foreign.iterdir()) == []
    assert (report.failure, report.text, report.ended_by) == (None, "It is faster.", EndedBy.ITSELF)
    assert [denial.tool for denial in report.denials] == ["Bash"]
    assert report.usage.cost_usd > 0
    assert report.usage.turns == 3
    assert report.survivors == 0


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Refuse(400, "prompt is too long"), FailureKind.AGENT),
        (Refuse(401), FailureKind.AUTH),
        (Refuse(429), FailureKind.LIMIT),
        (Refuse(529), FailureKind.TRANSIENT),
        (Say("Dear.", Tokens(output=1_000_000)), FailureKind.BUDGET),
    ],
    ids=lambda value: str(getattr(value, "status", "")) or None,
)
def test_a_failure_is_judged(claude: ClaudeScenario, spec: RunSpec, reply: Step, kind: FailureKind) -> None:
    """Each way in which the API refuses is known by its kind, from the real command's own words."""
    claude.api.script("", repeat(reply))
    assert asyncio.run(report_of(claude, spec)).failure is kind


def test_no_login_is_judged(claude: ClaudeScenario, spec: RunSpec) -> None:
    """A command without a login is a matter of the login, though no status says so."""
    environment = {name: value for name, value in spec.environment.items() if name != "ANTHROPIC_API_KEY"}
    report = asyncio.run(report_of(claude, replace(spec, environment=environment)))
    assert report.failure is FailureKind.AUTH


def test_an_unreachable_api_is_judged(claude: ClaudeScenario, spec: RunSpec) -> None:
    """An API that nobody answers for is a stumble that may pass."""
    environment = {**spec.environment, "ANTHROPIC_BASE_URL": claude.nobody_listens()}
    report = asyncio.run(report_of(claude, replace(spec, environment=environment)))
    assert report.failure is FailureKind.TRANSIENT


def test_a_usage_limit_is_judged_with_its_reset(claude: ClaudeScenario, spec: RunSpec) -> None:
    """A subscription's limit is known together with the time of its reset."""
    claude.api.script("", [usage_limit(RESETS_AT)])
    environment = {name: value for name, value in spec.environment.items() if name != "ANTHROPIC_API_KEY"}
    environment["CLAUDE_CODE_OAUTH_TOKEN"] = "scripted"  # noqa: S105 - what the scripted API is told
    report = asyncio.run(report_of(claude, replace(spec, environment=environment)))
    assert (report.failure, report.retry_at) == (FailureKind.LIMIT, RESETS_AT)


def test_a_run_is_stopped_with_its_commands(claude: ClaudeScenario, spec: RunSpec) -> None:
    """A stop ends the command and what its tools started, and is told as a stop."""
    claude.api.script("", [Use("Bash", {"command": "touch started && exec sleep 300"})])
    report = asyncio.run(report_of(claude, spec, stop_at="started"))
    assert report.ended_by is EndedBy.STOP
    assert report.failure is FailureKind.SUPERVISOR
    assert claude.family() == []
