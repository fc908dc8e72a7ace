"""The supervisor dies at every step of a mail's life; after a restart everything has happened exactly once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.supervisor.served import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(
    ("life", "stride"), [("task", 1), ("named", 3), ("refused", 2), ("delegation", 7), ("notify", 6)]
)
def test_a_crash_at_every_step(tmp_path: Path, life: str, stride: int) -> None:
    """No crash loses, doubles or reorders anything: drop, run, answer, archive, log and journal are as without it."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.supervisor.crash_points", str(tmp_path), life, str(stride)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), "HOME": str(tmp_path)},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["problems"] == {}
    assert said["crashes"] >= 3
