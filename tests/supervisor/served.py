"""A pool as its people have it: a project on the disk, and a supervisor as a process of its own that can be killed."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from agentpool.cli.client import Client
from agentpool.model.errors import NoSupervisorError, UnknownIdError
from agentpool.pool.founding import found
from agentpool.pool.layout import Layout
from agentpool.pool.mailfile import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

REPOSITORY = Path(__file__).parents[2]
DEADLINE_SECONDS = 20.0
_LOOK_SECONDS = 0.01
#: What a test has no time for: the pool's own patience, in short.
_IMPATIENT: dict[str, dict[str, object]] = {
    "pool": {"sweep": "200ms"},
    "agent": {"kind": "simulated", "script": "script.toml"},
    "runs": {"stop_grace": "300ms", "result_grace": "300ms", "retry_first": "20ms", "retry_most": "50ms"},
    "limits": {"max_runs": 8, "run_memory": 0},
}


def eventually(condition: Callable[[], Any], what: str = "it") -> Any:
    """What the condition comes to, once it holds; fails after a deadline."""
    end = time.monotonic() + DEADLINE_SECONDS
    while not (value := condition()):
        assert time.monotonic() < end, f"{what} did not come about"
        time.sleep(_LOOK_SECONDS)
    return value


@dataclass
class Pool:
    """A project with a pool of the simulated agent, and the supervisors that served it.

    Args:
        project: an existing directory.
        home: the user's home for everything that is started.
    """

    project: Path
    home: Path
    _processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def layout(self) -> Layout:
        """Where everything lies."""
        return Layout(self.project.resolve() / ".agent-pool")

    @property
    def client(self) -> Client:
        """What the command line asks the supervisor with."""
        return Client(self.layout)

    @property
    def environment(self) -> dict[str, str]:
        """What every process of the test gets."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "XDG_RUNTIME_DIR": str(self.home),
            "PYTHONPATH": str(REPOSITORY),
            "PYTHONUNBUFFERED": "1",
            "TZ": "UTC",
            "LANG": "C.UTF-8",
        }

    # -- setting up -------------------------------------------------------------------------------------------------

    def found(self, *experts: str) -> None:
        """Makes the pool, with a script that has no play."""
        found(self.project, experts)
        self.script("")
        self.configure()

    def configure(self, **tables: Mapping[str, object]) -> None:
        """Writes `pool.toml`: these keys of these tables, on top of what tests need."""
        lines: list[str] = []
        for table in dict.fromkeys((*_IMPATIENT, *tables)):
            settings = {**_IMPATIENT.get(table, {}), **tables.get(table, {})}
            lines += [f"[{table}]", *(f"{key} = {json.dumps(value)}" for key, value in settings.items())]
        place_whole(self.layout.configuration, "\n".join(lines) + "\n")

    def script(self, text: str) -> None:
        """Writes what the simulated agent plays; every play finds the project as its working directory."""
        place_whole(self.layout.root / "script.toml", text)

    # -- the supervisor ---------------------------------------------------------------------------------------------

    def start(self, *, wait: bool = True, **environment: str) -> subprocess.Popen[bytes]:
        """Starts a supervisor and waits until it serves."""
        with (self.home / "supervisor.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "agentpool", "start"],
                cwd=self.project,
                env=self.environment | environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._processes.append(process)
        if wait:
            eventually(lambda: process.poll() is not None or self.is_served_by(process.pid), "the supervisor serves")
            assert process.returncode is None, self.log()
        return process

    @property
    def supervisor(self) -> subprocess.Popen[bytes]:
        """The last supervisor."""
        return self._processes[-1]

    def kill(self) -> None:
        """SIGKILL for the supervisor alone; its runs are left."""
        self.supervisor.kill()
        self.supervisor.wait(DEADLINE_SECONDS)

    def restart(self) -> subprocess.Popen[bytes]:
        """Kills the supervisor and starts the next."""
        self.kill()
        return self.start()

    def ended(self) -> int:
        """Waits for the supervisor's own end; its exit code."""
        return self.supervisor.wait(DEADLINE_SECONDS)

    def is_served_by(self, pid: int) -> bool:
        """Whether this process is the supervisor."""
        with contextlib.suppress(NoSupervisorError):
            return self.status()["pid"] == pid
        return False

    def log(self) -> str:
        """What all supervisors printed."""
        return (self.home / "supervisor.log").read_text(encoding="utf-8")

    def command(self, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Runs an `agentpool` command to its end."""
        return subprocess.run(
            [sys.executable, "-m", "agentpool", *arguments],
            cwd=cwd or self.project,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=DEADLINE_SECONDS,
            check=False,
        )

    # -- mail -------------------------------------------------------------------------------------------------------

    def drop(self, name: str, text: str | bytes, to: str | None = None) -> Path:
        """Moves a file in, whole, as a careful program does: into an inbox, or the postoffice where `to` is None."""
        directory = self.layout.postoffice if to is None else self.layout.inbox(to)
        path = directory / name
        place_whole(path, text)
        return path

    def send(self, task_id: str, to: str, body: str = "do it", **header: object) -> None:
        """Has the supervisor accept a mail."""
        keys = {key.rstrip("_").replace("_", "-"): value for key, value in header.items()}
        self.client.send({"id": task_id, "to": to, **keys}, body)

    def answer(self, task_id: str, number: int = 1) -> tuple[dict[str, Any], str]:
        """Header and text of the answer in `human/inbox/`, once it is there."""
        suffix = "" if number == 1 else f"-{number}"
        file = self.layout.inbox("human") / f"{task_id}.response{suffix}.md"
        eventually(file.exists, f"the answer {file.name}")
        return parse(file.read_bytes())

    def human_inbox(self) -> list[str]:
        """Names of the mails that wait for people."""
        return sorted(file.name for file in self.layout.inbox("human").iterdir())

    def reason(self, name: str) -> str:
        """Why a mail was refused, once it is a dead letter."""
        letter = self.layout.deadletter / name
        eventually(lambda: os.path.lexists(letter), f"the dead letter {name}")
        return (self.layout.deadletter / f"{name}.reason.md").read_text(encoding="utf-8")

    # -- what is known ----------------------------------------------------------------------------------------------

    def status(self) -> Mapping[str, Any]:
        """`agentpool status --json`."""
        return self.client.status()

    def task(self, task_id: str) -> dict[str, Any]:
        """`agentpool show --json`."""
        return self.client.task(task_id)

    def states(self) -> dict[str, str]:
        """The state of every task on the board, also of those that are over."""
        board: Mapping[str, Any] = self.client.board(everything=True)
        return {task["id"]: task["state"] for task in board["tasks"]}

    def when(self, task_id: str, *states: str) -> dict[str, Any]:
        """The task, once it is in one of these states."""

        def reached() -> dict[str, Any] | None:
            with contextlib.suppress(UnknownIdError):
                task = self.task(task_id)
                return task if task["state"] in states else None
            return None

        task: dict[str, Any] = eventually(reached, f"{task_id} is {' or '.join(states)}")
        return task

    def settled(self, task_id: str, state: str = "done") -> dict[str, Any]:
        """The task once it is over; fails unless it came to `state`."""
        task = self.when(task_id, "done", "failed", "cancelled")
        assert task["state"] == state, f"{task_id} is {task['state']}: {task['reason']}"
        return task

    def waits(self, task_id: str, for_what: str) -> dict[str, Any]:
        """The line of a status about a task that waits, once its reason holds these words."""

        def found() -> dict[str, Any] | None:
            lines = (each for each in self.status()["waiting"] if each["id"] == task_id)
            return next((each for each in lines if for_what in each["reason"]), None)

        line: dict[str, Any] = eventually(found, f"{task_id} waits: {for_what}")
        return line

    def hold(self, name: str) -> dict[str, Any]:
        """What a status says of a hold, once it is there."""

        def found() -> dict[str, Any] | None:
            return next((hold for hold in self.status()["holds"] if hold["hold"] == name), None)

        hold: dict[str, Any] = eventually(found, f"the pool is held: {name}")
        return hold

    def events(self, *names: str) -> list[dict[str, Any]]:
        """The journal's events of these names, each with its fields, the oldest first; None for all."""
        segments = sorted(self.layout.journal.glob("segment-*.jsonl"))
        lines = [json.loads(line) for file in segments for line in file.read_text().splitlines() if line[-1:] == "}"]
        return [line for line in lines if "event" in line and (not names or line["event"] in names)]

    def run_pid(self, run: str) -> int:
        """The pid of a run, once it lives."""

        def known() -> int | None:
            return next((each["pid"] for each in self.status()["runs"] if each["run"] == run), None)

        pid: int = eventually(known, f"{run} lives")
        return pid

    def says(self, run: str, text: str) -> None:
        """Waits until the stream of a living run holds a text."""
        stream = self.layout.run_directory(run) / "stream.jsonl"
        eventually(lambda: stream.exists() and text in stream.read_text(encoding="utf-8"), f"{run} says {text}")

    def runs_of(self, task_id: str) -> list[str]:
        """The runs that were ever started for a task."""
        return [event["run"] for event in self.events("run.starting") if event["task"] == task_id]

    def record(self, expert: str, task_id: str, number: int = 1) -> dict[str, Any]:
        """`run.json` of a run that has settled."""
        file = self.layout.logs(expert) / task_id / str(number) / "run.json"
        record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return record

    def touch(self, name: str) -> None:
        """Makes a file in the project, for a play that waits for it."""
        (self.project / name).touch()

    # -- the end ----------------------------------------------------------------------------------------------------

    def family(self) -> list[psutil.Process]:
        """Every living process that carries the marker of a run of this pool."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            marked = process.environ().get("AGENTPOOL_RUN_DIRECTORY", "").startswith(f"{self.layout.root}/")
            return marked and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def close(self) -> None:
        """Stops the supervisor and fails where it leaves a process of a run."""
        served = bool(self._processes) and self.supervisor.poll() is None
        try:
            if served:
                with contextlib.suppress(NoSupervisorError):
                    self.client.stop("now")
                    self.supervisor.wait(DEADLINE_SECONDS)
        finally:
            for process in self._processes:
                process.kill()
                process.wait(DEADLINE_SECONDS)
            left = self.family()
            for member in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    member.kill()
        assert not served or not left, f"left behind: {left}"


def place_whole(path: Path, text: str | bytes) -> None:
    """Writes a file aside and moves it to its place."""
    aside = path.with_name(f".{path.name}.aside")
    aside.write_bytes(text.encode() if isinstance(text, str) else text)
    aside.replace(path)
