"""An HTTP endpoint for the hooks of the real command: records each event and answers as the test says."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable

#: The header that every hook of `settings` brings.
TOKEN = "Bearer token-of-the-run"  # noqa: S105 - a word to be found again


class HookEndpoint:
    """The server; a context manager.

    Args:
        answer: what is answered to an event; `{}` lets it pass.
    """

    def __init__(self, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self.events: list[dict[str, Any]] = []
        self.tokens: list[str | None] = []
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                event = json.loads(self.rfile.read(int(self.headers["content-length"])))
                endpoint.events.append(event)
                endpoint.tokens.append(self.headers["authorization"])
                data = json.dumps(answer(event)).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                """Says nothing: the events are in `HookEndpoint.events`."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def settings(self) -> str:
        """The value of `--settings` that sends all events of tools and the end of the turn here."""
        url = f"http://127.0.0.1:{self._server.server_address[1]}/hooks"
        hook = {"type": "http", "url": url, "headers": {"Authorization": TOKEN}}
        kinds = ("PreToolUse", "PostToolUse", "Stop")
        return json.dumps({"hooks": {kind: [{"hooks": [hook]}] for kind in kinds}})

    def seen(self, kind: str) -> list[dict[str, Any]]:
        """The events of one kind, in order."""
        return [event for event in self.events if event["hook_event_name"] == kind]
