"""What the tests of the model share."""

from __future__ import annotations

import pytest

from tests.model.history import History


@pytest.fixture
def history() -> History:
    """A pool in which nothing has happened yet."""
    return History()
