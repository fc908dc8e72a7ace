"""A whole pool on the real command: a project, a supervisor as a process of its own, and the scripted API."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psutil

from agentpool.cli.client import Client
from agentpool.model.errors import NoSupervisorError
from agentpool.pool.founding import found
from agentpool.pool.layout import Layout
from tests.claude.messages_api import MessagesApi
from tests.claude.running import PATIENCE_SECONDS, Workplace, eventually
from tests.claude.scenario import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.claude.request import Request

#: What a test has no time for: the pool's own patience, in short.
_IMPATIENT: dict[str, dict[str, object]] = {
    "pool": {"sweep": "100ms"},
    "runs": {"stop_grace": "2s", "result_grace": "1s", "retry_first": "50ms"},
    "limits": {"max_runs": 4, "run_memory": 0},
}


@dataclass
class RealPool:
    """A pool with two experts, `backend` and `frontend`; a context manager that leaves no process behind.

    Args:
        root: an empty directory.
        command: the real `claude`.
        api: the model's part; must be serving.
        environment: what the supervisor is started with; a test may change it before the start.
    """

    root: Path
    command: Path
    api: MessagesApi
    environment: dict[str, str] = field(default_factory=dict)
    _supervisors: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __enter__(self) -> Self:
        place = Workplace(self.root)
        found(place.project, ["backend", "frontend"])
        self.layout = Layout(place.project.resolve() / ".agent-pool")
        self.client = Client(self.layout)
        self.environment |= self.api.environment(place.home) | {"PYTHONPATH": str(REPOSITORY), "LANG": "C.UTF-8"}
        self.configure()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for supervisor in self._supervisors:
            supervisor.kill()
            supervisor.wait(PATIENCE_SECONDS)
        self.api.release()
        for process in self.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        eventually(lambda: not self.family(), "no process of the pool is left")
        # A run that nobody asked for would have been paid for.
        assert kind is not None or self.api.unscripted == []

    @property
    def project(self) -> Path:
        """The directory that runs work in."""
        return self.layout.project

    def configure(self, **tables: Mapping[str, object]) -> None:
        """Writes `pool.toml`: these keys of these tables, on top of what the pool needs."""
        agent = {"kind": "claude", "command": str(self.command), "model": "sonnet"}
        all_tables: dict[str, Mapping[str, object]] = {"agent": agent, "budget": {}, **_IMPATIENT}
        lines: list[str] = []
        for table, needed in all_tables.items():
            settings = {**needed, **tables.get(table, {})}
            lines += [f"[{table}]", *(f"{key} = {_toml(value)}" for key, value in settings.items())]
        self.layout.configuration.write_text("\n".join(lines) + "\n")

    def start(self, **environment: str) -> int:
        """Starts a supervisor and waits until it serves; gives its pid.

        Args:
            environment: variables beside the pool's own.
        """
        log = (self.root / "supervisor.log").open("ab")
        with log:
            process = subprocess.Popen(
                [sys.executable, "-m", "agentpool", "start", "--quiet"],
                cwd=self.project,
                env=self.environment | environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._supervisors.append(process)
        eventually(lambda: process.poll() is not None or self._serves(process.pid), "the supervisor serves")
        assert process.returncode is None, (self.root / "supervisor.log").read_text()
        return process.pid

    def kill(self) -> None:
        """SIGKILL for the supervisor alone."""
        self._supervisors[-1].kill()
        self._supervisors[-1].wait(PATIENCE_SECONDS)

    def ended(self) -> int:
        """Waits for the supervisor's own end; gives its exit code."""
        return self._supervisors[-1].wait(PATIENCE_SECONDS)

    def __call__(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Runs an `agentpool` command in the project to its end."""
        return subprocess.run(
            [sys.executable, "-m", "agentpool", *arguments],
            cwd=self.project,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    def drop(self, mailbox: str, mail_id: str, text: str) -> None:
        """What `echo TEXT > inbox/ID.md` does."""
        (self.layout.inbox(mailbox) / f"{mail_id}.md").write_text(text + "\n")

    def settled(self, task_id: str) -> dict[str, Any]:
        """The task, as `agentpool show --json` has it, once it is settled."""
        eventually(lambda: self.knows(task_id), f"{task_id} is accepted")
        task = self.client.settled(task_id, PATIENCE_SECONDS)
        assert task["state"] in ("done", "failed", "cancelled"), f"{task_id} is {task['state']}: {task['reason']}"
        return task

    def knows(self, task_id: str) -> bool:
        """Whether the task is on the board."""
        tasks: Any = self.client.board(everything=True)["tasks"]
        return any(task["id"] == task_id for task in tasks)

    def answer(self, task_id: str) -> str:
        """The text of the answer in `human/inbox/`."""
        return (self.layout.inbox("human") / f"{task_id}.response.md").read_text()

    def record(self, expert: str, task_id: str, number: int = 1) -> dict[str, Any]:
        """`run.json` of a run that has settled."""
        text = (self.layout.logs(expert) / task_id / str(number) / "run.json").read_text()
        record: dict[str, Any] = json.loads(text)
        return record

    def status(self) -> Mapping[str, Any]:
        """`agentpool status --json`."""
        return self.client.status()

    def hold(self, name: str) -> dict[str, Any]:
        """Waits until the pool is held for this reason; gives what status says of it."""
        eventually(lambda: name in [hold["hold"] for hold in self.status()["holds"]], f"the pool is held: {name}")
        hold: dict[str, Any] = next(hold for hold in self.status()["holds"] if hold["hold"] == name)
        return hold

    def run_pid(self, run: str) -> int:
        """The pid of a living run, as status has it."""
        pids: dict[str, Any] = {}

        def known() -> bool:
            pids.update({living["run"]: living["pid"] for living in self.status()["runs"]})
            return pids.get(run) is not None

        eventually(known, f"{run} lives")
        return int(pids[run])

    def events(self, name: str) -> list[dict[str, Any]]:
        """The journal's events of this name."""
        lines = [line for file in sorted(self.layout.journal.glob("*.jsonl")) for line in file.read_text().splitlines()]
        return [event for event in map(json.loads, lines) if event.get("event") == name]

    def family(self) -> list[psutil.Process]:
        """Every living process that a run of this pool started, the runs among them."""
        return [process for process in psutil.process_iter() if self._started(process)]

    def _started(self, process: psutil.Process) -> bool:
        try:
            pool: str | None = process.environ().get("AGENTPOOL_POOL")
            return pool == str(self.layout.root) and is_alive(process.pid)
        except psutil.Error:
            return False

    def _serves(self, pid: int) -> bool:
        try:
            return bool(self.status()["pid"] == pid)
        except NoSupervisorError:
            return False


@contextlib.contextmanager
def nobody_listens() -> Iterator[str]:
    """The URL of a port that stays taken and refuses every connection."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def tool_answer(request: Request) -> str:
    """What the tool that the model called last came to; the command's note on the budget may stand behind it."""
    return next(
        text
        for text, message in zip(reversed(request.messages), reversed(request.body["messages"]), strict=True)
        if message["role"] == "user"
    )


def is_alive(pid: int) -> bool:
    """Whether a process has not ended."""
    try:
        status: str = psutil.Process(pid).status()
    except psutil.NoSuchProcess:
        return False
    return status != psutil.STATUS_ZOMBIE


def _toml(value: object) -> str:
    """A value as TOML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + "}"
    return json.dumps(value)
