"""The built-in simulated agent: the real protocol and real processes, a script instead of a model."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import agentpool
from agentpool.model.errors import AgentError, ConfigurationError
from agentpool.runs import claude
from agentpool.runs import script as scripts
from agentpool.runs.agent import Command

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentpool.model.run import RunReport
    from agentpool.runs.agent import RunSpec
    from agentpool.runs.stream import StreamSummary


class Simulated:
    """The agent of `[agent] kind = "simulated"`.

    Args:
        script: what it plays (`agentpool.runs.script`); None means one polite line for each mail.
    """

    def __init__(self, script: Path | None) -> None:
        self._script = script.absolute() if script is not None else None

    def command(self, spec: RunSpec) -> Command:
        """The command for one run; the script is checked here, so that a mistake in it is told before a run starts.

        Raises:
            AgentError: the script cannot be read, or something in it is wrong.
        """
        # -P: a project's own `json.py` must not stand in for the library's. -S: it needs nothing that was installed.
        argv = [sys.executable, "-P", "-S", "-m", "agentpool.runs.simulation"]
        argv += ["-p", "--input-format", "stream-json", "--output-format", "stream-json", "--verbose"]
        argv += ["--permission-mode", spec.permission_mode]
        if self._script is not None:
            try:
                scripts.load(self._script)
            except ConfigurationError as error:
                raise AgentError(error.message, tip=error.tip) from error
            argv += ["--script", str(self._script)]
        if spec.model is not None:
            argv += ["--model", spec.model]
        if spec.max_usd is not None:
            argv += ["--max-budget-usd", str(spec.max_usd)]
        return Command(tuple(argv), _with_this_package(spec.environment), spec.project, claude.user_line(spec.message))

    def judge(self, summary: StreamSummary, report: RunReport) -> RunReport:
        """As for the real command: the two speak the same protocol."""
        return claude.judge(summary, report)


def _with_this_package(environment: Mapping[str, str]) -> dict[str, str]:
    """The run's environment, in which Python also finds this very package."""
    paths = [str(Path(agentpool.__file__).resolve().parent.parent)]
    if environment.get("PYTHONPATH"):
        paths.append(environment["PYTHONPATH"])
    return {**environment, "PYTHONPATH": os.pathsep.join(paths)}
