"""The least MCP server over HTTP that the real command talks to: four methods, no session, no stream."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

#: The header that the command brings with every call.
TOKEN = "Bearer token-of-the-run"  # noqa: S105 - a word to be found again

INSTRUCTIONS = "The pool's tools send mail."
ANSWER = "The mail is in the outbox."

_TOOLS = [
    {"name": "send", "description": "Sends mail.", "inputSchema": {"type": "object"}},
    {"name": "status", "description": "Shows the board.", "inputSchema": {"type": "object"}},
]


class McpEndpoint:
    """The server; a context manager. Each call's method is in `methods`, its token in `tokens`."""

    def __init__(self) -> None:
        self.methods: list[str] = []
        self.tokens: list[str | None] = []
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                call = json.loads(self.rfile.read(int(self.headers["content-length"])))
                endpoint.methods.append(call["method"])
                endpoint.tokens.append(self.headers["authorization"])
                if "id" not in call:
                    self._send(202, b"")
                    return
                answer = {"jsonrpc": "2.0", "id": call["id"], "result": _result(call)}
                self._send(200, json.dumps(answer).encode())

            def do_GET(self) -> None:
                self._send(405, b"")  # there is no stream of our own messages

            def _send(self, status: int, data: bytes) -> None:
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                """Says nothing: the calls are in `McpEndpoint.methods`."""

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
    def configuration(self) -> str:
        """The value of `--mcp-config` that calls this server `pool`."""
        url = f"http://127.0.0.1:{self._server.server_address[1]}/mcp"
        return json.dumps({"mcpServers": {"pool": {"type": "http", "url": url, "headers": {"Authorization": TOKEN}}}})


def _result(call: dict[str, Any]) -> dict[str, Any]:
    match call["method"]:
        case "initialize":
            return {
                "protocolVersion": call["params"]["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "pool", "version": "1"},
                "instructions": INSTRUCTIONS,
            }
        case "tools/list":
            return {"tools": _TOOLS}
        case "tools/call":
            return {"content": [{"type": "text", "text": ANSWER}]}
        case other:
            raise NotImplementedError(other)
