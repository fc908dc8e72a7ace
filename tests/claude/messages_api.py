"""A scripted Messages API on loopback: the model's part in a run of the real command, written by the test.

    with MessagesApi([Use("Bash", {"command": "make"}), Say("done")]) as api:
        environment = api.environment(home)
        ...start the command with it, wait for its end...
        assert "# Who you are" in api.conversation()[0].system

Every request of a conversation takes one reply from the script. A script is any iterable, taken lazily, so
`itertools.repeat(Refuse(429))` is an API that refuses for ever. Several runs at once each follow a script of their
own, told apart by what their first message says:

    api.script("task health", [Say("healthy")])
    api.script(lambda request: "backend" in request.prompt, [Say("built")])

What the command asks by itself (a title for the session, a probe of the quota) is answered, recorded as
`auxiliary`, and takes nothing from any script.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import TYPE_CHECKING, Any, Self

from tests.claude.replies import Drop, Hang, Refuse, Reply, Say, Tokens, Use, beginning, message, stream
from tests.claude.request import Request

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "Drop",
    "Hang",
    "Matcher",
    "MessagesApi",
    "Refuse",
    "Reply",
    "Request",
    "Say",
    "Step",
    "Tokens",
    "Use",
]

#: How long `wait_for_requests` waits before it gives up, in seconds.
PATIENCE_SECONDS = 20.0


#: A step of a script: a reply, or a function that decides on it when the request is there.
Step = Reply | Callable[[Request], Reply]

#: Which conversations a script is for: a text that their first message holds, or a question to the request.
Matcher = str | Callable[[Request], bool]


class MessagesApi:
    """The server; a context manager. All methods may be called from any thread.

    Args:
        script: what conversations get that no script of their own matches. When a script has ended, requests get
            status 400, which the command does not repeat, and are listed in `unscripted`.
    """

    def __init__(self, script: Iterable[Step] = ()) -> None:
        self._scripts: list[tuple[Matcher, Iterator[Step]]] = [("", iter(script))]
        self._requests: list[Request] = []
        self._changed = threading.Condition()
        self._released = threading.Event()
        self._serials = count(1)
        self.unscripted: list[Request] = []
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        self._server.shutdown()
        self._server.disconnect()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """The base URL, without a slash at its end."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def environment(self, home: Path) -> dict[str, str]:
        """All the variables that the real command needs to talk to this server, and no others.

        Args:
            home: an existing directory for what the command keeps.
        """
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "ANTHROPIC_BASE_URL": self.url,
            "ANTHROPIC_API_KEY": "sk-ant-scripted",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        }

    def script(self, when: Matcher, replies: Iterable[Step]) -> None:
        """Gives the conversations that match a script of their own; of several that match, the newest wins."""
        with self._changed:
            self._scripts.insert(0, (when, iter(replies)))

    def release(self) -> None:
        """Ends the silence of every `Hang`, those to come included: the held connections are closed."""
        self._released.set()

    @property
    def requests(self) -> list[Request]:
        """Every request so far, in the order of arrival, the command's own among them."""
        with self._changed:
            return list(self._requests)

    def conversation(self, when: Matcher = "") -> list[Request]:
        """The requests of the conversations that match, without the command's own."""
        return [request for request in self.requests if not request.auxiliary and _matches(when, request)]

    def wait_for_requests(self, number: int, *, when: Matcher = "", seconds: float = PATIENCE_SECONDS) -> list[Request]:
        """Waits until the matching conversations have made `number` requests, and gives those.

        Raises:
            TimeoutError: they did not, within `seconds`.
        """
        deadline = time.monotonic() + seconds
        with self._changed:
            while len(found := self.conversation(when)) < number:
                if not self._changed.wait(max(0, deadline - time.monotonic())):
                    raise TimeoutError(f"{len(found)} of {number} requests arrived within {seconds} s")
        return found

    def next_reply(self, request: Request) -> Reply:
        """Records a request and takes its reply from the script that it belongs to; the server asks this."""
        with self._changed:
            self._requests.append(request)
            self._changed.notify_all()
            if request.auxiliary:
                return Say('{"title": "Scripted"}')
            script = next(replies for when, replies in self._scripts if _matches(when, request))
            step = next(script, None)
            if step is None:
                self.unscripted.append(request)
                return Refuse(400, "the test's script has ended")
        return step(request) if callable(step) else step

    def next_serial(self) -> int:
        """A number that no other message of this API has."""
        return next(self._serials)

    def wait_for_release(self) -> None:
        """Returns when `release` was called."""
        self._released.wait()


class _Server(ThreadingHTTPServer):
    """One thread a connection; the connections are known, so that none outlives the test."""

    daemon_threads = False  # server_close() then joins them
    request_queue_size = 128

    def __init__(self, api: MessagesApi) -> None:
        self.api = api
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)

    @contextmanager
    def connected(self, connection: socket.socket) -> Iterator[None]:
        """Counts a connection as open."""
        with self._lock:
            self._connections.add(connection)
        try:
            yield
        finally:
            with self._lock:
                self._connections.discard(connection)

    def disconnect(self) -> None:
        """Breaks every connection that is still open."""
        with self._lock:
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    """One connection: HTTP/1.0, so that it ends with its answer."""

    server: _Server

    def handle(self) -> None:
        """Serves the one request; a client that was killed meanwhile is nothing to talk about."""
        with self.server.connected(self.connection), suppress(ConnectionError):
            super().handle()

    def finish(self) -> None:
        with suppress(ConnectionError):
            super().finish()

    def log_message(self, *_: object) -> None:
        """Says nothing: the requests are in `MessagesApi.requests`."""

    def do_GET(self) -> None:
        self._send_json(200, {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path.partition("?")[0] != "/v1/messages":
            self._send_json(200, {})
            return
        content = json.loads(body)
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = self.server.api.next_reply(Request(content, headers))
        match reply:
            case Refuse(status, _, extra):
                self._send_json(status, reply.body, extra)
            case Hang(text):
                self._begin(content, text)
                self.server.api.wait_for_release()
            case Drop(text):
                self._begin(content, text)
            case Say() | Use():
                self._send_message(content, message(reply, content["model"], self.server.api.next_serial()))

    def _send_json(self, status: int, body: object, extra: Mapping[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"content-type": "application/json", **(extra or {})}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _send_message(self, content: dict[str, Any], whole: dict[str, Any]) -> None:
        if content.get("stream"):
            self._send_events(stream(whole))
        else:
            self._send_json(200, whole)

    def _begin(self, content: dict[str, Any], text: str) -> None:
        """Streams the beginning of an answer that will not be finished; nothing at all for an empty text."""
        if text:
            whole = message(Say(text), content["model"], self.server.api.next_serial())
            self._send_events(beginning(whole, whole["content"]))

    def _send_events(self, events: Iterable[bytes]) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        for event in events:
            self.wfile.write(event)


def _matches(when: Matcher, request: Request) -> bool:
    return when in request.prompt if isinstance(when, str) else when(request)
