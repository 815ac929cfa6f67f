"""HTTP on the gateway's port: the API for programs without a socket, probes, metrics, the chat page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from gateway.auth import Principal, TokenVerifier
from gateway.dispatch import Dispatch
from gateway.handshake import bearer_token
from gateway.health import Health
from gateway.history import HistoryService, Period
from gateway.http_answers import converted, errors, fields_of, fields_with_key, json_answer
from gateway.http_call import HttpCalls
from gateway.hub import Hub
from gateway.kicks import Kicks
from gateway.limits.client_address import client_address
from gateway.limits.guard import Guard
from gateway.metrics import Metrics
from gateway.pages import Pages
from gateway.progress import Progress
from gateway.requests import check_role
from gateway.service_api import ServiceApi
from gateway.sync import SyncService
from gateway.throttle import Rate, TokenBucket
from gateway.watching import Watching
from infra.clock import Clock
from infra.ports import Bus
from infra.settings import Settings
from infra.telemetry.trace_context import TRACEPARENT
from infra.tokens import mint_for
from schemas.codes import Code
from schemas.errors import Refused
from schemas.frames import Error, GroupCreate, History, Ok, Rejected, Send, Sent, Sync
from schemas.ids import is_name

__all__ = ["Http", "HttpParts"]

_TRACES: Final = Rate(10.0, 20)
"""Traces that callers may ask for."""
_CODES: Final = {int(code): code for code in Code}


@dataclass(frozen=True, slots=True)
class HttpParts:
    """What the handlers need."""

    settings: Settings
    hub: Hub
    calls: HttpCalls
    kicks: Kicks
    watching: Watching
    bus: Bus
    sync: SyncService
    history: HistoryService
    dispatch: Dispatch
    verifier: TokenVerifier
    health: Health
    pages: Pages
    metrics: Metrics
    clock: Clock
    guard: Guard


class Http:
    """The routes. An error is the same object as the frame `error`, with the status of its code."""

    def __init__(self, parts: HttpParts) -> None:
        self._parts = parts
        self._traces = TokenBucket(_TRACES, parts.clock.monotonic())

    def application(self) -> web.Application:
        app = web.Application(middlewares=[errors], client_max_size=2 * self._parts.settings.max_frame_bytes)
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
        parts = self._parts
        service = ServiceApi(
            self._principal, parts.calls, parts.kicks, parts.watching, parts.bus, parts.clock
        )
        app.add_routes(service.routes())
        if self._parts.settings.demo == "on" and self._parts.settings.auth_algorithm == "HS256":
            app.add_routes([web.post("/demo/token", self._demo_token)])
        return app

    # Probes

    async def _livez(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        health = self._parts.health
        return json_answer(health.report(), 200 if health.ready else 503)

    async def _metrics(self, _: web.Request) -> web.Response:
        """This gateway's own figures, then those of its process."""
        body = generate_latest(self._parts.metrics.registry) + generate_latest()
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    # Writing

    async def _send(self, request: web.Request) -> web.Response:
        principal = await self._principal(request)
        frame = converted(await fields_with_key(request), Send)
        end = await self._parts.calls.submit(principal, self._ip(request), frame, self._traceparent(request))
        if isinstance(end, Rejected):
            return json_answer(end, _CODES[end.code].http_status)
        return json_answer(end, 200 if isinstance(end, Sent) else 202)

    async def _create_group(self, request: web.Request) -> web.Response:
        principal = await self._principal(request)
        frame = converted(await fields_of(request), GroupCreate)
        check_role(frame, principal.is_server)
        end = await self._parts.calls.submit(principal, self._ip(request), frame)
        if isinstance(end, Sent):
            return json_answer(Ok(conversation_id=end.conversation_id), 200)
        if isinstance(end, Rejected):
            refused = Refused(_CODES[end.code], end.message, end.retry_after_ms)
            return json_answer(Error.of(refused), refused.code.http_status)
        return json_answer(end, 202)

    def _traceparent(self, request: web.Request) -> str | None:
        """The caller's trace, if it has one; too many of them in a second are left to chance."""
        given = request.headers.get(TRACEPARENT)
        if given is None or self._traces.take(_TRACES, self._parts.clock.monotonic()):
            return None
        return given

    # Reading

    async def _history(self, request: web.Request) -> web.Response:
        principal = await self._principal(request)
        query = {
            name: request.query[name]
            for name in ("before_seq", "after_seq", "limit")
            if name in request.query
        }
        frame = converted({**query, "conversation_id": request.match_info["conversation_id"]}, History)
        period = converted({n: request.query[n] for n in ("from", "to") if n in request.query}, Period)
        page = await self._parts.history.page(principal.user_id, frame, text=True, period=period)
        return json_answer(page, 200)

    async def _conversations(self, request: web.Request) -> web.Response:
        principal = await self._principal(request)
        query = {name: request.query[name] for name in ("token", "limit") if name in request.query}
        frame = converted({"token": None, **query}, Sync)
        page = await self._parts.sync.page(principal.user_id, frame, Progress(), text=True)
        return json_answer(page, 200)

    async def _gateways(self, request: web.Request) -> web.Response:
        await self._principal(request)
        offers = await self._parts.dispatch.offers(request.query.get("region", ""))
        return json_answer({"gateways": offers}, 200)

    async def _upgrade_required(self, _: web.Request) -> web.Response:
        return web.Response(status=426, headers={"Upgrade": "websocket"}, text="a new connection, please\n")

    async def _demo_token(self, request: web.Request) -> web.Response:
        user_id = (await fields_of(request)).get("user_id")
        if not isinstance(user_id, str) or not is_name(user_id):
            raise Refused(Code.BAD_FRAME, "user_id must be 1–64 of A–Z a–z 0–9 . _ -")
        return json_answer({"token": self._minted(user_id)}, 200)

    def _minted(self, user_id: str) -> str:
        secret = self._parts.settings.auth_secret
        if secret is None:
            raise Refused(Code.NOT_ALLOWED, "tokens are not made here")
        now_s = self._parts.clock.now_ms() // 1000
        return mint_for(self._parts.settings, secret.get_secret_value(), user_id, now_s=now_s)

    async def _principal(self, request: web.Request) -> Principal:
        token = bearer_token(request.headers.get("Authorization"))
        if token is None:
            raise Refused(Code.BAD_TOKEN)
        principal = await self._parts.verifier.admit(token, self._parts.clock.now_ms())
        self._parts.guard.admit_call(principal, self._ip(request))
        return principal

    def _ip(self, request: web.Request) -> str:
        forwarded = ",".join(request.headers.getall("X-Forwarded-For", ()))
        return client_address(request.remote or "", forwarded, self._parts.settings.trusted_networks)
