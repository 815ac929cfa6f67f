"""HTTP on the gateway's port: the API for programs without a socket, probes, metrics, the chat page."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from gateway.auth import Principal, TokenVerifier
from gateway.handshake import bearer_token
from gateway.health import Health
from gateway.history import HistoryService
from gateway.http_call import HttpCall
from gateway.hub import Hub
from gateway.metrics import Metrics
from gateway.pages import Pages
from gateway.pagings import Pagings
from gateway.requests import Author, Change, Said, inbound_of
from gateway.sync import SyncService
from gateway.throttle import Rate, TokenBucket
from gateway.uplink import Uplink
from infra.clock import Clock
from infra.ports import RouteTable
from infra.settings import Settings
from infra.telemetry.trace_context import TRACEPARENT
from infra.tokens import mint_token
from schemas.codes import Code
from schemas.errors import BadInput, Refused, Unavailable
from schemas.frames import JSON, Accepted, Error, GroupCreate, History, Ok, Rejected, Send, Sent, Sync
from schemas.ids import is_name, new_name

__all__ = ["Http", "HttpParts"]

SENT_WAIT_S: Final = 5.0
MAX_CALLS: Final = 2_000
"""Requests that wait for their place in the order at a time; above it 503."""
_BODY_S: Final = 10.0
_TRACES: Final = Rate(10.0, 20)
"""Traces that callers may ask for."""
_CODES: Final = {int(code): code for code in Code}
T = TypeVar("T")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class HttpParts:
    """What the handlers need."""

    settings: Settings
    secret: str
    hub: Hub
    uplink: Uplink
    sync: SyncService
    history: HistoryService
    routes: RouteTable
    verifier: TokenVerifier
    health: Health
    pages: Pages
    metrics: Metrics
    clock: Clock


class Http:
    """The routes. An error is the same object as the frame `error`, with the status of its code."""

    def __init__(self, parts: HttpParts) -> None:
        self._parts = parts
        self._pagings = Pagings()
        self._traces = TokenBucket(_TRACES, parts.clock.monotonic())

    def application(self) -> web.Application:
        app = web.Application(middlewares=[_errors], client_max_size=2 * self._parts.settings.max_frame_bytes)
        app.add_routes(
            [
                web.get("/livez", self._livez),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._metrics),
                web.get("/", self._parts.pages.index),
                web.get("/web/{name}", self._parts.pages.file),
                web.post("/v1/messages", self._send),
                web.post("/v1/groups", self._create_group),
                web.get("/v1/conversations", self._conversations),
                web.get("/v1/conversations/{conversation_id}/messages", self._history),
                web.get("/v1/gateways", self._gateways),
                web.get("/v1/ws", self._upgrade_required),
            ]
        )
        if self._parts.settings.demo == "on":
            app.add_routes([web.post("/demo/token", self._demo_token)])
        return app

    # Probes

    async def _livez(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        health = self._parts.health
        return _json(health.report(), 200 if health.ready else 503)

    async def _metrics(self, _: web.Request) -> web.Response:
        """This gateway's own figures, then those of its process."""
        body = generate_latest(self._parts.metrics.registry) + generate_latest()
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    # Writing

    async def _send(self, request: web.Request) -> web.Response:
        principal = self._principal(request)
        fields = await _fields(request)
        key = request.headers.get("Idempotency-Key")
        if key is not None:
            fields["client_msg_id"] = key
        elif "client_msg_id" not in fields:
            fields["client_msg_id"] = new_name()
        frame = _convert(fields, Send)
        end = await self._submit(principal, frame, self._traceparent(request))
        if isinstance(end, Rejected):
            return _json(end, _CODES[end.code].http_status)
        return _json(end, 200 if isinstance(end, Sent) else 202)

    async def _create_group(self, request: web.Request) -> web.Response:
        principal = self._principal(request)
        frame = _convert(await _fields(request), GroupCreate)
        end = await self._submit(principal, frame)
        if isinstance(end, Sent):
            return _json(Ok(conversation_id=end.conversation_id), 200)
        if isinstance(end, Rejected):
            refused = Refused(_CODES[end.code], end.message, end.retry_after_ms)
            return _json(Error.of(refused), refused.code.http_status)
        return _json(end, 202)

    async def _submit(
        self, principal: Principal, frame: Said | Change, traceparent: str | None = None
    ) -> Sent | Rejected | Accepted:
        parts = self._parts
        if parts.health.draining:
            raise Refused(Code.UNAVAILABLE, retry_after_ms=1_000)
        parts.uplink.admit(principal)
        if len(parts.hub.callers) >= MAX_CALLS:
            raise Refused(Code.OVERLOADED, retry_after_ms=1_000)
        author = Author(principal.user_id, parts.settings.gateway_id, new_name())
        inbound = inbound_of(frame, author, parts.clock.now_ms())
        call = HttpCall()
        parts.hub.callers[author.session_id] = call
        try:
            parts.uplink.submit(call, inbound, traceparent)
            end = await call.outcome(SENT_WAIT_S)
        finally:
            del parts.hub.callers[author.session_id]
        if end is None:
            raise Refused(Code.UNAVAILABLE, "the outcome is not known yet; send it again with the same id")
        return end

    def _traceparent(self, request: web.Request) -> str | None:
        """The caller's trace, if it has one; too many of them in a second are left to chance."""
        given = request.headers.get(TRACEPARENT)
        if given is None or self._traces.take(_TRACES, self._parts.clock.monotonic()):
            return None
        return given

    # Reading

    async def _history(self, request: web.Request) -> web.Response:
        principal = self._principal(request)
        query = {
            name: request.query[name]
            for name in ("before_seq", "after_seq", "limit")
            if name in request.query
        }
        frame = _convert({**query, "conversation_id": request.match_info["conversation_id"]}, History)
        return _json(await self._parts.history.page(principal.user_id, frame, text=True), 200)

    async def _conversations(self, request: web.Request) -> web.Response:
        principal = self._principal(request)
        query = {name: request.query[name] for name in ("token", "limit") if name in request.query}
        frame = _convert({"token": None, **query}, Sync)
        with self._pagings.of(principal.user_id) as progress:
            return _json(await self._parts.sync.page(principal.user_id, frame, progress, text=True), 200)

    async def _gateways(self, request: web.Request) -> web.Response:
        self._principal(request)
        settings = self._parts.settings
        here = len(self._parts.hub.sessions)
        others = sorted(set(await self._parts.routes.live_gateways()) - {settings.gateway_id})
        own = {
            "gateway_id": settings.gateway_id,
            "url": f"ws://{request.host}/v1/ws",
            "weight": max(0, settings.max_connections - here),
        }
        return _json({"gateways": [own, *({"gateway_id": other} for other in others)]}, 200)

    async def _upgrade_required(self, _: web.Request) -> web.Response:
        return web.Response(status=426, headers={"Upgrade": "websocket"}, text="a new connection, please\n")

    async def _demo_token(self, request: web.Request) -> web.Response:
        user_id = (await _fields(request)).get("user_id")
        if not isinstance(user_id, str) or not is_name(user_id):
            raise Refused(Code.BAD_FRAME, "user_id must be 1–64 of A–Z a–z 0–9 . _ -")
        now_s = self._parts.clock.now_ms() // 1000
        return _json({"token": mint_token(self._parts.secret, user_id, now_s=now_s)}, 200)

    def _principal(self, request: web.Request) -> Principal:
        token = bearer_token(request.headers.get("Authorization"))
        if token is None:
            raise Refused(Code.BAD_TOKEN)
        return self._parts.verifier.verify(token, self._parts.clock.now_ms())


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Refused as refused:
        return _error(refused)
    except BadInput as error:
        return _error(Refused(Code.BAD_FRAME, str(error)))
    except Unavailable:
        return _error(Refused(Code.UNAVAILABLE, retry_after_ms=1_000))
    except web.HTTPRequestEntityTooLarge:
        return _error(Refused(Code.FRAME_TOO_LARGE))
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as error:
        response = _json(Error.of(Refused(Code.UNKNOWN_TYPE, "nothing answers this request")), error.status)
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response


def _error(refused: Refused) -> web.Response:
    response = _json(Error.of(refused), refused.code.http_status)
    if refused.retry_after_ms is not None:
        response.headers["Retry-After"] = str(-(-refused.retry_after_ms // 1000))
    if refused.code is Code.BAD_TOKEN:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _json(value: Any, status: int) -> web.Response:
    return web.Response(
        body=JSON.encode(value),
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"},
    )


async def _fields(request: web.Request) -> dict[str, Any]:
    try:
        async with asyncio.timeout(_BODY_S):
            body = await request.read()
        return msgspec.json.decode(body, type=dict[str, Any])
    except TimeoutError:
        raise Refused(Code.BAD_FRAME, f"the body took longer than {_BODY_S:g} s") from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Refused(Code.BAD_FRAME, f"the body is no JSON object: {error}"[:200]) from None


def _convert(fields: dict[str, Any], frame: type[T]) -> T:
    fields.pop("type", None)
    try:
        return msgspec.convert(fields, frame, strict=False)
    except msgspec.ValidationError as error:
        raise Refused(Code.BAD_FRAME, str(error)[:200]) from None
