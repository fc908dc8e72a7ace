"""The HTTP interface on its real socket, over a pool in memory."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import socket
import stat
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agentpool.gateway.address import LONGEST, socket_path
from agentpool.gateway.app import create_app
from agentpool.gateway.event_stream import server_sent
from agentpool.gateway.server import GatewayServer
from agentpool.model.errors import AgentpoolError
from agentpool.pool.layout import Layout
from tests.gateway.fake_verbs import DEADLINE, FakeVerbs, ServedPool, eventually, response, task

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from agentpool.gateway.verbs import Json


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A pool's empty directory."""
    root = tmp_path / ".agent-pool"
    root.mkdir()
    return Layout(root)


@pytest.fixture
def served(layout: Layout) -> Iterator[ServedPool]:
    """A pool in memory, served."""
    with ServedPool(layout, FakeVerbs()) as pool:
        yield pool


def connect(served: ServedPool) -> socket.socket:
    """A connection to the socket."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(DEADLINE)
    connection.connect(str(served.address))
    return connection


def ask(served: ServedPool, method: str, path: str, body: object = None) -> tuple[int, dict[str, object]]:
    """One request and its answer."""
    connection = http.client.HTTPConnection("pool")
    connection.sock = connect(served)
    content = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    connection.request(method, path, content)
    answer = connection.getresponse()
    value = json.loads(answer.read())
    connection.close()
    return answer.status, value


def test_every_verb_has_a_route(served: ServedPool) -> None:
    """Each route hands its arguments to its verb and answers with the verb's object."""
    verbs = served.verbs
    verbs.tasks["a"] = task("a", state="done", response=response("a", "yes"))
    assert ask(served, "GET", "/api/status")[1]["pool"] == "shop"
    assert ask(served, "GET", "/api/board")[1] == {"tasks": []}
    assert [item["id"] for item in ask(served, "GET", "/api/board?all=1")[1]["tasks"]] == ["a"]
    assert ask(served, "GET", "/api/tasks/a")[1]["mail"] == "do a"
    assert ask(served, "GET", "/api/tasks/a/wait?timeout=0")[1]["state"] == "done"
    assert ask(served, "POST", "/api/tasks/a/cancel", {"tree": True}) == (200, {"tasks": ["a"]})
    assert ask(served, "POST", "/api/tasks/a/retry")[1]["state"] == "ready"
    sent = ask(served, "POST", "/api/mail", {"header": {"id": "b", "to": "auth", "type": "task"}, "body": "go"})
    assert sent == (200, {"id": "b", "type": "task", "to": "auth", "state": "ready"})
    assert ask(served, "POST", "/api/deadletter/x.md/replay")[1] == {"dropped": "postoffice/x.md"}
    assert ask(served, "GET", "/api/inbox/human")[1] == {"mails": []}
    assert ask(served, "POST", "/api/inbox/human/m.response/read")[1] == {"id": "m.response"}
    assert ask(served, "POST", "/api/stop", {"mode": "leave"})[1] == {"mode": "leave", "runs": []}
    assert verbs.calls == [
        ("cancel", "a", True), ("retry", "a"), ("replay", "x.md"), ("read", "m.response", "human"), ("stop", "leave"),
    ]  # fmt: skip


def test_errors_keep_their_kind_tip_and_exit_code(served: ServedPool) -> None:
    """An error of the pool arrives with all that a client needs to raise it again."""
    status, said = ask(served, "GET", "/api/tasks/nobody")
    assert status == 404
    assert said == {
        "error": "there is no task nobody", "tip": "agentpool board --all", "exit_code": 1, "kind": "UnknownIdError",
    }  # fmt: skip
    served.verbs.refusal = "it names no addressee"
    status, said = ask(served, "POST", "/api/mail", {"header": {}, "body": ""})
    assert (status, said["kind"], said["error"]) == (422, "MailError", "it names no addressee")


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/nothing", None, 404),
        ("POST", "/api/status", None, 405),
        ("GET", "/api/tasks/a/wait?timeout=soon", None, 400),
        ("GET", "/api/tasks/a/wait?timeout=nan", None, 400),
        ("GET", "/events?since=-1", None, 400),
        ("POST", "/api/stop", {"mode": "explode"}, 400),
        ("POST", "/api/stop", {"mode": ["now"]}, 400),
        ("POST", "/api/mail", b"{", 400),
        ("POST", "/api/mail", [1], 400),
        ("POST", "/api/mail", {"header": "to: auth"}, 400),
        ("POST", "/api/mail", b"[" * 100_000, 400),
        ("POST", "/api/mail", b"\xff", 400),
    ],
)
def test_a_wrong_request_is_a_usage_error(
    served: ServedPool, method: str, path: str, body: object, status: int
) -> None:
    """What no verb could understand is answered as JSON and does not reach a verb."""
    got, said = ask(served, method, path, body)
    assert (got, said["kind"], said["exit_code"]) == (status, "UsageError", 2)
    assert served.verbs.calls == []
    assert served.verbs.sent == []


def test_a_defect_is_logged_with_its_traceback(served: ServedPool, caplog: pytest.LogCaptureFixture) -> None:
    """A verb that breaks is answered with 500, its traceback is in the log, and the next request works."""
    served.verbs.broken = True
    status, said = ask(served, "GET", "/api/status")
    assert (status, said["exit_code"]) == (500, 1)
    assert "a defect" not in str(said)
    record = next(record for record in caplog.records if record.exc_info)
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError
    assert record.__dict__["action"] == "gateway.failed"
    served.verbs.broken = False
    assert ask(served, "GET", "/api/status")[0] == 200


def test_a_wait_ends_with_the_settlement(served: ServedPool) -> None:
    """A request that waits for a task is answered when the task is settled."""
    served.verbs.tasks["a"] = task("a")
    with connect(served) as waiting:
        waiting.sendall(b"GET /api/tasks/a/wait?timeout=60 HTTP/1.1\r\nHost: pool\r\n\r\n")
        served.change("a", state="done", response=response("a", "finished"))
        assert b"finished" in receive_until(waiting, b"finished")


def receive_until(connection: socket.socket, needle: bytes) -> bytes:
    """What arrives up to and with the needle."""
    got = b""
    while needle not in got:
        part = connection.recv(65536)
        assert part, f"it ended with {got!r}"
        got += part
    return got


def test_events_arrive_one_by_one(served: ServedPool) -> None:
    """Each event is a `data:` line of its own, one with a sequence number also an `id:`."""
    with connect(served) as listening:
        listening.sendall(b"GET /events HTTP/1.1\r\nHost: pool\r\n\r\n")
        assert b"text/event-stream" in receive_until(listening, b": alive\n\n")
        served.tell({"seq": 7, "at": 1.0, "event": "pool.held"})
        assert b'id: 7\ndata: {"seq": 7, "at": 1.0, "event": "pool.held"}\n\n' in receive_until(listening, b"held")
        served.tell({"event": "run.progress", "tool": "Read ö"})
        assert b'\ndata: {"event": "run.progress", "tool": "Read \\u00f6"}\n\n' in receive_until(listening, b"\\u00f6")


def test_a_listener_that_goes_is_forgotten(served: ServedPool) -> None:
    """When a client hangs up, the pool's own iterator is closed."""
    with connect(served) as listening:
        listening.sendall(b"GET /events HTTP/1.1\r\nHost: pool\r\n\r\n")
        receive_until(listening, b": alive\n\n")
        assert len(served.verbs.listeners) == 1
    eventually(lambda: not served.verbs.listeners)


def test_a_silent_stream_shows_that_it_lives() -> None:
    """While nothing happens, a comment line comes every heartbeat."""

    async def scenario() -> list[bytes]:
        stream = server_sent(FakeVerbs().events(None), closing=asyncio.Event(), heartbeat=0.01)
        got = [await anext(stream) for _ in range(3)]
        await stream.aclose()
        return got

    assert asyncio.run(scenario()) == [b": alive\n\n"] * 3


def test_no_event_is_missed_after_the_first_sign_of_life() -> None:
    """Once the first comment is there, the listening has begun."""

    async def scenario() -> bytes:
        verbs = FakeVerbs()
        stream = server_sent(verbs.events(None), closing=asyncio.Event(), heartbeat=DEADLINE)
        await anext(stream)
        verbs.tell({"seq": 1})
        got = await anext(stream)
        await stream.aclose()
        return got

    assert b'{"seq": 1}' in asyncio.run(scenario())


def test_a_stream_ends_with_its_events() -> None:
    """When the pool has no more to tell, so does the stream."""

    async def one() -> AsyncIterator[Json]:
        yield {"seq": 1}

    async def scenario() -> list[bytes]:
        return [part async for part in server_sent(one(), closing=asyncio.Event(), heartbeat=DEADLINE)]

    assert len(asyncio.run(scenario())) == 2


def test_stop_ends_streams_and_waits_at_once(served: ServedPool) -> None:
    """Neither an open stream nor a waiting request nor a client that stopped reading delays the end."""
    served.verbs.tasks["a"] = task("a")
    with connect(served) as listening, connect(served) as waiting, connect(served) as idle:
        listening.sendall(b"GET /events HTTP/1.1\r\nHost: pool\r\n\r\n")
        waiting.sendall(b"GET /api/tasks/a/wait?timeout=600 HTTP/1.1\r\nHost: pool\r\n\r\n")
        idle.sendall(b"GET /api/sta")
        receive_until(listening, b": alive\n\n")
        begun = time.monotonic()
        served.stop()
        assert time.monotonic() - begun < 1.0
        assert b"503" in receive_until(waiting, b"NoSupervisorError")
        assert listening.recv(65536) == b"0\r\n\r\n"
    assert not served.address.exists()


def test_stop_does_not_wait_for_a_client_that_does_not_read(served: ServedPool) -> None:
    """A stream whose reader is stuck is cut off after the grace."""
    with connect(served) as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.sendall(b"GET /events HTTP/1.1\r\nHost: pool\r\n\r\n")
        eventually(lambda: served.verbs.listeners)
        for number in range(200):
            served.tell({"seq": number, "text": "x" * 20_000})
        begun = time.monotonic()
        served.stop()
        assert time.monotonic() - begun < 4.0


def test_the_socket_is_private_and_replaces_a_dead_one(layout: Layout) -> None:
    """The socket has mode 0600 and takes the place of one that a killed supervisor left."""
    address = socket_path(layout, os.environ)
    dead = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    dead.bind(str(address))
    dead.close()
    with ServedPool(layout, FakeVerbs()) as served:
        assert stat.S_IMODE(address.stat().st_mode) == 0o600
        assert ask(served, "GET", "/api/status")[0] == 200
        served.stop()
        served.restart()
        assert ask(served, "GET", "/api/status")[0] == 200


def test_what_is_no_socket_is_never_replaced(layout: Layout) -> None:
    """A file at the socket's path is somebody's, so the start fails and the file stays."""
    address = socket_path(layout, os.environ)
    address.write_text("precious")

    async def scenario() -> None:
        server = GatewayServer(create_app(FakeVerbs()), address)
        with pytest.raises(AgentpoolError, match="not a socket"):
            await server.start()
        await server.stop()

    asyncio.run(scenario())
    assert address.read_text() == "precious"
    address.unlink()


def test_the_server_notices_that_its_socket_is_gone(layout: Layout) -> None:
    """`stands` tells whether a client can still find the socket."""
    address = socket_path(layout, os.environ)

    async def scenario() -> list[bool]:
        server = GatewayServer(create_app(FakeVerbs()), address)
        await server.start()
        before = server.stands()
        address.unlink()
        after = server.stands()
        await server.stop()
        return [before, after]

    assert asyncio.run(scenario()) == [True, False]


def test_a_short_path_lies_in_the_pool(layout: Layout) -> None:
    """Where its path is short enough, the socket lies in `run/`, which is private."""
    if len(os.fsencode(layout.socket)) > LONGEST:
        pytest.skip("the temporary directory of this machine is too deep")
    assert socket_path(layout, {}) == layout.socket
    assert stat.S_IMODE(layout.run.stat().st_mode) == 0o700


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A directory whose path leaves room for a socket's, which pytest's own may not."""
    with tempfile.TemporaryDirectory(prefix="ap-") as directory:
        yield Path(directory)


def test_a_long_path_moves_the_socket_to_a_private_directory(short_path: Path) -> None:
    """Where the path is too long, the socket lies in the user's runtime directory, or in a temporary one."""
    layout = Layout(short_path / ("deep" * 30) / ".agent-pool")
    other = Layout(short_path / ("deep" * 31) / ".agent-pool")
    runtime, temporary = short_path / "x", short_path / "t"
    runtime.mkdir()
    temporary.mkdir()
    inside = socket_path(layout, {"XDG_RUNTIME_DIR": str(runtime)})
    assert inside.parent == runtime / "agentpool"
    assert socket_path(other, {"XDG_RUNTIME_DIR": str(runtime)}) != inside
    without = socket_path(layout, {}, temporary=temporary)
    assert without.parent == temporary / f"agentpool-{os.getuid()}"
    assert stat.S_IMODE(without.parent.stat().st_mode) == 0o700
    assert socket_path(layout, {"XDG_RUNTIME_DIR": str(runtime / "gone")}, temporary=temporary) == without


def test_a_directory_of_somebody_else_is_not_used(short_path: Path) -> None:
    """A symlink in place of the private directory is refused, and an open mode of one's own is closed."""
    layout = Layout(short_path / ("deep" * 30) / ".agent-pool")
    temporary = short_path / "t"
    temporary.mkdir()
    private = temporary / f"agentpool-{os.getuid()}"
    private.mkdir()
    private.chmod(0o777)
    socket_path(layout, {}, temporary=temporary)
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    private.rmdir()
    private.symlink_to(short_path)
    with pytest.raises(AgentpoolError, match="not a directory of yours"):
        socket_path(layout, {}, temporary=temporary)
