"""Supervisors in which something goes wrong at one exact place, as a disk or another program would have it."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from tests.supervisor.served import REPOSITORY

if TYPE_CHECKING:
    from tests.supervisor.served import Pool

#: Runs inherit nothing of a fault: it is for the supervisor alone.
_ONLY_THE_SUPERVISOR = 'import sys\nif sys.orig_argv[-2:] == ["agentpool", "start"]:\n'


def fault(pool: Pool, code: str) -> dict[str, str]:
    """The environment for `Pool.start` with which the supervisor runs `code` before anything of its own.

    Args:
        code: Python; it puts something that goes wrong in the place of something of the standard library or the pool's.
    """
    directory = pool.home / "faults"
    directory.mkdir(exist_ok=True)
    text = _ONLY_THE_SUPERVISOR + textwrap.indent(textwrap.dedent(code), "    ")
    (directory / "sitecustomize.py").write_text(text, encoding="utf-8")
    return {"PYTHONPATH": f"{directory}:{REPOSITORY}"}
