from __future__ import annotations

import pytest

from agentpool.model import errors


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.AgentpoolError, 1),
        (errors.UsageError, 2),
        (errors.ConfigurationError, 2),
        (errors.UnknownIdError, 1),
        (errors.MailError, 1),
        (errors.NoPoolError, 3),
        (errors.NoSupervisorError, 3),
        (errors.PoolHeldError, 100),
        (errors.JournalError, 1),
        (errors.AgentError, 1),
        (errors.IllegalTransitionError, 1),
        (errors.TimedOutError, 4),
    ],
)
def test_each_error_has_its_exit_code(kind: type[errors.AgentpoolError], code: int) -> None:
    """What happened is its text; what to do next is its tip."""
    error = kind("the pool is asleep", tip="wake it")
    assert (error.exit_code, str(error), error.message, error.tip) == (
        code, "the pool is asleep", "the pool is asleep", "wake it",
    )  # fmt: skip
    assert kind("x").tip is None
