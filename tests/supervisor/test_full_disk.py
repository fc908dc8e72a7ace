"""A disk that refuses: the pool is held with a reason, nothing is lost, and it goes on by itself."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

import pytest

from agentpool.model.errors import AgentpoolError
from tests.supervisor.served import eventually

if TYPE_CHECKING:
    from tests.supervisor.served import Pool

pytestmark = pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="the limit of another process is Linux's")


def _fill(pool: Pool) -> None:
    """From now on the supervisor can make no file longer than nothing."""
    unlimited = resource.prlimit(pool.supervisor.pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(pool.supervisor.pid, resource.RLIMIT_FSIZE, (0, unlimited))


def _free(pool: Pool) -> None:
    unlimited = resource.prlimit(pool.supervisor.pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(pool.supervisor.pid, resource.RLIMIT_FSIZE, (unlimited, unlimited))


def test_drops_wait_for_the_disk(pool: Pool) -> None:
    """A drop on a full disk stays where it is; the pool is held, says why, and takes it when there is room again."""
    pool.start()
    _fill(pool)
    path = pool.drop("t.md", "hello\n", to="a")
    hold = pool.hold("disk")
    assert "File too large" in hold["reason"]
    assert "df -h" in hold["tip"]
    assert path.exists()
    with pytest.raises(AgentpoolError, match="File too large"):
        pool.send("other", "b")
    _free(pool)
    pool.settled("t")
    assert not pool.status()["holds"]
    assert [event["hold"] for event in pool.events("pool.held", "pool.released")] == ["disk", "disk"]


def test_a_run_that_ends_on_a_full_disk_is_settled_later(pool: Pool) -> None:
    """A result that cannot be journaled waits for the disk; the run is not started again."""
    pool.script('[[play]]\nsteps = [ { say = "I begin." }, { wait_for = "go" }, { respond = { body = "Waited." } } ]\n')
    pool.start()
    pool.send("t", "a")
    pool.says("t.1", "I begin.")
    _fill(pool)
    pool.touch("go")
    pool.hold("disk")
    _free(pool)
    assert "Waited." in pool.answer("t")[1]
    assert pool.runs_of("t") == ["t.1"]


def test_a_supervisor_on_a_full_disk_can_be_stopped_and_killed(pool: Pool) -> None:
    """What ended meanwhile is settled by the next supervisor."""
    pool.script('[[play]]\nsteps = [ { say = "I begin." }, { wait_for = "go" }, { respond = { body = "Waited." } } ]\n')
    pool.start()
    pool.send("t", "a")
    pool.says("t.1", "I begin.")
    _fill(pool)
    pool.touch("go")
    pool.hold("disk")
    pool.client.stop("drain")
    assert pool.ended() == 0
    pool.start()
    assert "Waited." in pool.answer("t")[1]
    assert pool.runs_of("t") == ["t.1"]
    eventually(lambda: not list(pool.layout.mail.iterdir()), "mail/ is empty")
