"""A pool with its supervisor for each test; no process of it outlives the test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.supervisor.served import Pool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    """A pool with the experts `a` and `b` that nobody serves yet."""
    (tmp_path / "home").mkdir(mode=0o700)
    (tmp_path / "p").mkdir()
    pool = Pool(tmp_path / "p", tmp_path / "home")
    pool.found("a", "b")
    yield pool
    pool.close()
