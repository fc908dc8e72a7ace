"""The client of the supervisor's socket: HTTP, JSON, and the same errors that the supervisor raised."""

from __future__ import annotations

import http.client
import json
import socket
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import quote

from agentpool.model import errors
from agentpool.model.errors import AgentpoolError, NoSupervisorError, UnknownIdError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from agentpool.pool.layout import Layout

Json: TypeAlias = dict[str, object]

#: Seconds that the supervisor gets to answer anything that is no wait. It syncs a disk on the way.
ANSWER_SECONDS = 60.0
#: Seconds of silence after which an event stream counts as dead; the supervisor gives a sign every 15.
SILENCE_SECONDS = 45.0
_START = "start it with: agentpool start"
_OK = 200


class Client:
    """Asks the supervisor of one pool. Each call is one connection.

    Args:
        layout: the pool.

    Every method raises `NoSupervisorError` when nobody serves the pool, and the error that the supervisor answers with.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def status(self) -> Json:
        """See `Verbs.status`."""
        return self._ask("GET", "/api/status")

    def board(self, *, everything: bool) -> Json:
        """See `Verbs.board`."""
        return self._ask("GET", f"/api/board?all={int(everything)}")

    def task(self, task_id: str) -> Json:
        """See `Verbs.task`."""
        return self._ask("GET", f"/api/tasks/{_part(task_id)}")

    def settled(self, task_id: str, seconds: float) -> Json:
        """See `Verbs.settled`."""
        return self._ask("GET", f"/api/tasks/{_part(task_id)}/wait?timeout={seconds:.3f}", patience=seconds)

    def send(self, header: Mapping[str, object], body: str) -> Json:
        """See `Verbs.send`."""
        return self._ask("POST", "/api/mail", {"header": dict(header), "body": body})

    def cancel(self, task_id: str, *, tree: bool) -> Json:
        """See `Verbs.cancel`."""
        return self._ask("POST", f"/api/tasks/{_part(task_id)}/cancel", {"tree": tree})

    def retry(self, task_id: str) -> Json:
        """See `Verbs.retry`."""
        return self._ask("POST", f"/api/tasks/{_part(task_id)}/retry", {})

    def replay(self, name: str) -> Json:
        """See `Verbs.replay`."""
        return self._ask("POST", f"/api/deadletter/{_part(name)}/replay", {})

    def inbox(self, mailbox: str) -> Json:
        """See `Verbs.inbox`."""
        return self._ask("GET", f"/api/inbox/{_part(mailbox)}")

    def read(self, mail_id: str, mailbox: str) -> Json:
        """See `Verbs.read`."""
        return self._ask("POST", f"/api/inbox/{_part(mailbox)}/{_part(mail_id)}/read", {})

    def stop(self, mode: str) -> Json:
        """See `Verbs.stop`."""
        return self._ask("POST", "/api/stop", {"mode": mode})

    def events(self, since: int | None = None) -> Iterator[Json]:
        """The events after `since`, then live; an empty object is a sign of life. Ends when the supervisor does."""
        target = "/events" if since is None else f"/events?since={since}"
        connection = self._connect(SILENCE_SECONDS)
        try:
            answer = _response(connection, "GET", target, None)
            if answer.status != _OK:
                raise _error(answer.read())
            while line := answer.readline():
                if line.startswith(b"data: "):
                    yield _object(line[6:])
                elif line.startswith(b":"):
                    yield {}
        except (OSError, http.client.HTTPException):
            # A stream that breaks off has ended; whoever reads it connects again and learns whether anyone serves.
            return
        finally:
            connection.close()

    def _ask(self, method: str, target: str, body: Json | None = None, *, patience: float = 0.0) -> Json:
        connection = self._connect(ANSWER_SECONDS + patience)
        try:
            answer = _response(connection, method, target, body)
            content = answer.read()
        except TimeoutError as error:
            raise NoSupervisorError(
                f"the supervisor did not answer for {ANSWER_SECONDS:.0f} s", tip="see its log, or: agentpool doctor"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise NoSupervisorError(
                "the supervisor ended while it was asked" + ("" if method == "GET" else "; it may have done it or not"),
                tip="see: agentpool status",
            ) from error
        finally:
            connection.close()
        if answer.status != _OK:
            raise _error(content)
        return _object(content)

    def _connect(self, patience: float) -> _UnixConnection:
        connection = _UnixConnection(self._address(), patience)
        try:
            connection.connect()
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            raise NoSupervisorError(f"no supervisor serves {self._layout.root}", tip=_START) from None
        except OSError as error:
            raise NoSupervisorError(
                f"the supervisor's socket {self._address()} cannot be opened: {error.strerror}",
                tip="run this as the user who started the supervisor",
            ) from error
        return connection

    def _address(self) -> Path:
        said = holder(self._layout).get("socket")
        return self._layout.root / said if isinstance(said, str) and said else self._layout.socket


def holder(layout: Layout) -> Json:
    """What the supervisor that serves or served this pool says of itself: `pid, since, socket, version`; or nothing."""
    try:
        said = json.loads(layout.supervisor.read_bytes())
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, patience: float) -> None:
        super().__init__("agentpool", timeout=patience)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(str(self._path))
        except OSError:
            self.sock.close()
            raise


def _response(
    connection: http.client.HTTPConnection, method: str, target: str, body: Json | None
) -> http.client.HTTPResponse:
    content = None if body is None else json.dumps(body).encode("ascii")
    connection.request(method, target, content, {"content-type": "application/json"} if content else {})
    return connection.getresponse()


def _error(content: bytes) -> AgentpoolError:
    said = _object(content)
    kind = getattr(errors, str(said.get("kind")), None)
    if not (isinstance(kind, type) and issubclass(kind, AgentpoolError)):
        kind = AgentpoolError
    tip = said.get("tip")
    return kind(str(said.get("error")), tip=None if tip is None else str(tip))


def _object(content: bytes) -> Json:
    try:
        value = json.loads(content)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise AgentpoolError(
            "the supervisor's answer cannot be read; is it of another version?",
            tip="compare `agentpool version` and `agentpool status`; then: agentpool stop --leave && agentpool start",
        )
    return value


def _part(name: str) -> str:
    if not name:
        raise UnknownIdError("an id is never empty", tip="see the ids with: agentpool board --all")
    return quote(name, safe="")
