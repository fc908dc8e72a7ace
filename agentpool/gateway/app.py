"""The pool's HTTP interface: each route asks one verb and answers with JSON.

An `AgentpoolError` becomes `{"error", "tip", "exit_code", "kind"}` with a 4xx or 5xx status, `kind` being the name of
its class, so that a client can raise the same error again. Anything else is a defect: it is logged with its traceback
and answered with status 500.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from agentpool.gateway.event_stream import server_sent
from agentpool.gateway.verbs import StopMode
from agentpool.model.errors import (
    AgentError,
    AgentpoolError,
    JournalError,
    MailError,
    NoSupervisorError,
    TimedOutError,
    UnknownIdError,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from agentpool.gateway.verbs import Json, Verbs

    Verb: TypeAlias = Callable[[Request], Awaitable[Json]]

#: Bytes of a request's body at most: the largest mail that a configuration can allow, escaped as JSON.
LARGEST_BODY = 64 << 20
#: Seconds between two signs of life on a stream that has nothing to tell.
HEARTBEAT_SECONDS = 15.0

T = TypeVar("T")
_LOGGER = logging.getLogger(__name__)
_SERVER_ERROR = 500

#: The first class that fits decides, so the narrower ones stand above.
_STATUS: tuple[tuple[type[AgentpoolError], int], ...] = (
    (UnknownIdError, 404),
    (UsageError, 400),
    (MailError, 422),
    (NoSupervisorError, 503),
    (TimedOutError, 504),
    (JournalError, _SERVER_ERROR),
    (AgentError, _SERVER_ERROR),
    (AgentpoolError, 409),
)


def create_app(verbs: Verbs, *, heartbeat: float = HEARTBEAT_SECONDS) -> Starlette:
    """The app over these verbs.

    `app.state.closing` is an event: once it is set, waiting requests are answered and streams end.

    Args:
        verbs: the pool.
        heartbeat: seconds between two comment lines on a silent event stream.
    """
    routes = _Routes(verbs, heartbeat)
    app = Starlette(
        routes=[
            _route("GET", "/api/status", routes.status),
            _route("GET", "/api/board", routes.board),
            _route("GET", "/api/tasks/{id}", routes.task),
            _route("GET", "/api/tasks/{id}/wait", routes.wait),
            _route("POST", "/api/tasks/{id}/cancel", routes.cancel),
            _route("POST", "/api/tasks/{id}/retry", routes.retry),
            _route("POST", "/api/mail", routes.send),
            _route("POST", "/api/deadletter/{name}/replay", routes.replay),
            _route("GET", "/api/inbox/{mailbox}", routes.inbox),
            _route("POST", "/api/inbox/{mailbox}/{id}/read", routes.read),
            _route("POST", "/api/stop", routes.stop),
            Route("/events", routes.events, methods=["GET"]),
        ],
        exception_handlers={HTTPException: _no_route},
    )
    app.state.closing = routes.closing
    return app


class _Routes:
    """Reads each request's arguments and hands them to the verb."""

    def __init__(self, verbs: Verbs, heartbeat: float) -> None:
        self._verbs = verbs
        self._heartbeat = heartbeat
        self.closing = asyncio.Event()

    async def status(self, _request: Request) -> Json:
        return self._verbs.status()

    async def board(self, request: Request) -> Json:
        return self._verbs.board(everything=request.query_params.get("all", "0") not in ("", "0", "false"))

    async def task(self, request: Request) -> Json:
        return self._verbs.task(request.path_params["id"])

    async def wait(self, request: Request) -> Json:
        timeout = _seconds(request.query_params.get("timeout", "30"))
        settled = asyncio.ensure_future(self._verbs.settled(request.path_params["id"], timeout))
        closing = asyncio.ensure_future(self.closing.wait())
        try:
            await asyncio.wait({settled, closing}, return_when=asyncio.FIRST_COMPLETED)
            if settled.done():
                return settled.result()
        finally:
            settled.cancel()
            closing.cancel()
            # A task that is cancelled and not waited for may outlive the loop.
            await asyncio.wait({settled, closing})
        raise NoSupervisorError("the supervisor stops", tip="start it again with: agentpool start")

    async def cancel(self, request: Request) -> Json:
        body = await _body(request)
        return await self._verbs.cancel(request.path_params["id"], tree=_typed(body, "tree", bool, default=False))

    async def retry(self, request: Request) -> Json:
        return await self._verbs.retry(request.path_params["id"])

    async def send(self, request: Request) -> Json:
        body = await _body(request)
        return await self._verbs.send(_typed(body, "header", dict, default={}), _typed(body, "body", str, default=""))

    async def replay(self, request: Request) -> Json:
        return await self._verbs.replay(request.path_params["name"])

    async def inbox(self, request: Request) -> Json:
        return self._verbs.inbox(request.path_params["mailbox"])

    async def read(self, request: Request) -> Json:
        return await self._verbs.read(request.path_params["id"], request.path_params["mailbox"])

    async def stop(self, request: Request) -> Json:
        mode = _typed(await _body(request), "mode", str, default=StopMode.DRAIN.value)
        if mode not in list(StopMode):
            raise UsageError(f"`mode` must be one of {', '.join(StopMode)}, not {mode!r}")
        return await self._verbs.stop(StopMode(mode))

    async def events(self, request: Request) -> Response:
        given = request.query_params.get("since") or request.headers.get("last-event-id")
        if given is not None and not (given.isascii() and given.isdigit()):
            return _failed(UsageError(f"`since` must be the sequence number of an event, not {given[:40]!r}"))
        events = self._verbs.events(None if given is None else int(given))
        return StreamingResponse(
            server_sent(events, closing=self.closing, heartbeat=self._heartbeat),
            media_type="text/event-stream",
            headers={"cache-control": "no-store"},
        )


def _route(method: str, path: str, verb: Verb) -> Route:
    async def endpoint(request: Request) -> Response:
        try:
            return _json(await verb(request))
        except AgentpoolError as error:
            return _failed(error)
        except HTTPException:
            raise
        except Exception:
            # One defect in one verb must not end the supervisor, and its traceback must not be lost.
            _LOGGER.exception("%s %s failed", method, path, extra={"action": "gateway.failed"})
            return _json(
                {
                    "error": f"the supervisor failed at {method} {path}",
                    "tip": "its log has the traceback: run/supervisor.log, or the terminal of `agentpool start`",
                    "exit_code": AgentpoolError.exit_code,
                    "kind": AgentpoolError.__name__,
                },
                status=_SERVER_ERROR,
            )

    return Route(path, endpoint, methods=[method])


async def _no_route(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    said = UsageError(f"{request.method} {request.url.path}: {error.detail}")
    return _failed(said, status=error.status_code)


def _json(answer: Json, *, status: int = 200) -> Response:
    # ASCII, because a file name from the disk may hold what UTF-8 cannot.
    return Response(json.dumps(answer), status_code=status, media_type="application/json")


def _failed(error: AgentpoolError, *, status: int | None = None) -> Response:
    if status is None:
        status = next(number for kind, number in _STATUS if isinstance(error, kind))
    answer: Json = {
        "error": error.message,
        "tip": error.tip,
        "exit_code": error.exit_code,
        "kind": type(error).__name__,
    }
    return _json(answer, status=status)


async def _body(request: Request) -> Json:
    parts, length = list[bytes](), 0
    async for part in request.stream():
        length += len(part)
        if length > LARGEST_BODY:
            raise UsageError(f"the request's body is larger than {LARGEST_BODY} bytes")
        parts.append(part)
    raw = b"".join(parts)
    if not raw:
        return {}
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the request's body is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise UsageError("the request's body must be a JSON object")
    return value


def _typed(body: Json, key: str, kind: type[T], *, default: T) -> T:
    value = body.get(key, default)
    if not isinstance(value, kind):
        raise UsageError(f"`{key}` must be a {kind.__name__}, not a {type(value).__name__}")
    return value


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds >= 0):
        raise UsageError(f"`timeout` must be a number of seconds, not {text[:40]!r}")
    return seconds
