"""One supervisor a pool, and a lock that tells whether a run lives: kept by real processes, dropped by their death."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from agentpool.model.errors import AgentError, NoPoolError, PoolHeldError
from agentpool.pool.lock import PoolLock, is_held, take

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOLDER = """
import os, sys
from pathlib import Path
from agentpool.pool.lock import PoolLock

lock = PoolLock.acquire(Path(sys.argv[1]), holder=Path(sys.argv[2]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    """A pool's directory."""
    directory = tmp_path / ".agent-pool"
    directory.mkdir()
    return directory


@pytest.fixture
def holder(pool: Path, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that holds the pool until it is killed."""
    command = [sys.executable, "-c", HOLDER, str(pool), str(tmp_path / "supervisor.json")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_a_pool_has_one_supervisor(pool: Path, tmp_path: Path, holder: subprocess.Popen[bytes]) -> None:
    """The second is told who serves the pool, and what to do; after the holder's death the pool is free at once."""
    (tmp_path / "supervisor.json").write_text(json.dumps({"pid": holder.pid}))
    with pytest.raises(PoolHeldError, match=f"pid {holder.pid}") as caught:
        PoolLock.acquire(pool, holder=tmp_path / "supervisor.json")
    assert str(pool) in caught.value.message
    assert "agentpool stop" in (caught.value.tip or "")
    holder.kill()
    holder.wait()
    PoolLock.acquire(pool, holder=tmp_path / "supervisor.json").release()


@pytest.mark.parametrize("text", [None, "", "{}", "[]", "\udcff"])
def test_a_holder_that_does_not_say_who_it_is(pool: Path, tmp_path: Path, text: str | None) -> None:
    """A missing or broken file about the holder does not hide that there is one."""
    about = tmp_path / "supervisor.json"
    if text is not None:
        about.write_text(text, encoding="utf-8", errors="surrogateescape")
    with PoolLock.acquire(pool, holder=about), pytest.raises(PoolHeldError, match="another process"):
        PoolLock.acquire(pool, holder=about)


def test_the_lock_survives_the_deletion_of_everything_in_the_pool(pool: Path, tmp_path: Path) -> None:
    """As by `git clean -fdx`: the lock is on the directory itself."""
    (pool / "journal").mkdir()
    with PoolLock.acquire(pool, holder=tmp_path / "none") as lock:
        shutil.rmtree(pool / "journal")
        assert lock.stands()
        with pytest.raises(PoolHeldError):
            PoolLock.acquire(pool, holder=tmp_path / "none")


def test_a_replaced_directory_is_noticed(pool: Path, tmp_path: Path) -> None:
    """A lock on a directory that is gone protects nothing, and can tell."""
    with PoolLock.acquire(pool, holder=tmp_path / "none") as lock:
        pool.rmdir()
        assert not lock.stands()
        pool.mkdir()
        assert not lock.stands()
        lock.release()
        lock.release()


def test_children_do_not_inherit_the_pool(pool: Path, tmp_path: Path) -> None:
    """A run that outlives its supervisor does not keep the next one out."""
    lock = PoolLock.acquire(pool, holder=tmp_path / "none")
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False) as child:
        lock.release()
        PoolLock.acquire(pool, holder=tmp_path / "none").release()
        child.kill()


def test_where_there_is_no_pool_there_is_no_lock(tmp_path: Path) -> None:
    """A directory that is not there, or a file, is not a pool."""
    (tmp_path / "file").touch()
    for path in (tmp_path / "missing", tmp_path / "file"):
        with pytest.raises(NoPoolError, match=str(path)):
            PoolLock.acquire(path, holder=tmp_path / "none")


def test_a_taken_file_is_held_until_it_is_closed(tmp_path: Path) -> None:
    """Held and free are told apart, also for a file that is not there, as often as one asks."""
    path = tmp_path / "alive"
    assert not is_held(path)
    fd = take(path)
    assert not os.get_inheritable(fd)
    assert is_held(path)
    assert is_held(path)
    with pytest.raises(AgentError, match=str(path)):
        take(path)
    os.close(fd)
    assert not is_held(path)
    assert list(tmp_path.iterdir()) == [path]
    os.close(take(path))


def test_a_child_that_inherits_the_file_holds_it_after_its_parent_let_go(tmp_path: Path) -> None:
    """That is how a run whose supervisor is dead proves that it lives, and stops proving it when it is dead."""
    path = tmp_path / "alive"
    fd = take(path, inheritable=True)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=(fd,)) as child:
        os.close(fd)
        assert is_held(path)
        child.kill()
    assert not is_held(path)
