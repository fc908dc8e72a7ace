"""The project of the demo: a small shop with a real bug in a git repository, and the pool beside it."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentpool.model.errors import AgentpoolError, UsageError
from agentpool.pool.founding import found
from agentpool.pool.layout import POOL_DIRECTORY, Layout
from agentpool.pool.templates import templates_directory

if TYPE_CHECKING:
    from pathlib import Path

#: What is laid over the project, one directory for each commit: its day and its message. The days are fixed, so that
#: the history can be asked for them.
_COMMITS = (
    ("1-shop", "2026-09-07", "Prices and carts"),
    ("2-faster", "2026-10-12", "Read labels faster"),
    ("3-report", "2026-11-18", "Write a customer's report down as a test; it fails"),
)
_POOL_COMMIT = ("2026-11-19", "Add a pool of agents: what they know is kept in git")
_EXPERTS = ("checkout", "pricing")


@dataclass(frozen=True, slots=True)
class Drop:
    """A mail that the demo drops by hand.

    Args:
        file: its path, relative to the pool and to the templates of the demo.
        about: what it is, in a few words.
    """

    file: str
    about: str


#: Dropped before anybody serves the pool.
FIRST_DROPS = (
    Drop("architect/inbox/one-cent.md", "a task: find the bug, fix it, prove it"),
    Drop("researcher/inbox/since-when.md", "a question, without any header"),
    Drop("experts/checkout/inbox/fuel.md", "a notice: it starts no run"),
    Drop("postoffice/receipts.md", "to `princing`: misspelt"),
)
#: Dropped while the first ones are worked on; the urgent one after the one that it overtakes.
LATER_DROPS = (
    Drop("postoffice/release-note.md", "low; waits for one-cent and since-when"),
    Drop("postoffice/tell-support.md", "urgent; waits for one-cent"),
)


def make_project(project: Path) -> Layout:
    """Makes the repository and its pool; no mail is dropped yet.

    Args:
        project: where; it must not exist, or be an empty directory.

    Raises:
        UsageError: something is there already, or it cannot be made.
        AgentpoolError: git is missing or fails, or the installation has no templates.
    """
    templates = templates_directory() / "demo"
    try:
        project.mkdir(parents=True, exist_ok=True)
        if any(project.iterdir()):
            raise UsageError(
                f"{project} is not empty, and the demo overwrites nothing",
                tip="name a new directory: agentpool demo --keep DIR",
            )
        git(project, "init", "--quiet", "--initial-branch=main")
        for directory, day, message in _COMMITS:
            shutil.copytree(templates / "history" / directory, project, dirs_exist_ok=True)
            _commit(project, day, message)
        layout = Layout(project / POOL_DIRECTORY)
        shutil.copytree(templates / "pool", layout.root)
    except OSError as error:
        raise UsageError(
            f"the demo cannot be set up in {project}: {error.strerror or error}",
            tip="name another directory: agentpool demo --keep DIR",
        ) from error
    # What the demo brought stays as it is; all else that a pool needs is added.
    found(project, _EXPERTS)
    _commit(project, *_POOL_COMMIT)
    return layout


def drop(layout: Layout, mail: Drop) -> None:
    """Drops one mail as a person would: a copy into the directory.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        shutil.copyfile(templates_directory() / "demo" / "mail" / mail.file, layout.root / mail.file)
    except OSError as error:
        raise UsageError(f"{mail.file} cannot be dropped into {layout.root}: {error.strerror}") from error


def git(project: Path, *arguments: str, day: str | None = None) -> str:
    """What a git command in the project prints.

    Args:
        day: the date of a commit, so that it is the same wherever the demo runs.

    Raises:
        AgentpoolError: git is missing, or the command failed.
    """
    # A hook's GIT_DIR, or a signature that asks for a passphrase, belongs to the user's own work.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
    for who in ("AUTHOR", "COMMITTER"):
        environment |= {f"GIT_{who}_NAME": "The shop", f"GIT_{who}_EMAIL": "shop@example.com"}
        if day is not None:
            environment[f"GIT_{who}_DATE"] = f"{day}T09:00:00+00:00"
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=project,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except FileNotFoundError as error:
        raise AgentpoolError("the demo needs git, and there is none on the PATH", tip="install git") from error
    if done.returncode:
        raise AgentpoolError(f"git {' '.join(arguments)} failed in {project}: {done.stderr.strip()}")
    return done.stdout


def _commit(project: Path, day: str, message: str) -> None:
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message", message, day=day)
