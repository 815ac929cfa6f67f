"""A gateway: its parts behind a port, and the order in which it opens and closes."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog
from aiohttp import web
from websockets.http11 import Request

from gateway.connection import Connection
from gateway.dispatch import Dispatch
from gateway.emptying import Emptying
from gateway.handshake import Opening, check_origin, read_opening
from gateway.health import Health
from gateway.http import Http, HttpParts
from gateway.http_call import HttpCalls
from gateway.intake import Intake
from gateway.kicks import Kicks
from gateway.limits.client_address import client_address, is_trusted
from gateway.lobby import SWEEP_S
from gateway.metrics import Metrics
from gateway.pages import Pages
from gateway.parts import Parts
from gateway.session import Session
from gateway.tls import HANDSHAKE_TIMEOUT_S, certificate_of
from infra.announcing import keep_announced, reachable_address
from infra.clock import Clock
from infra.ports import Announced, Bus, HistoryStore, RouteTable, SharedLimits
from infra.settings import Settings
from infra.telemetry.loop_lag import watch_loop
from infra.tries import in_a_few_tries
from schemas.codes import CloseCode
from schemas.errors import Unavailable

if TYPE_CHECKING:
    from infra.telemetry.tracing import Tracing

__all__ = ["GatewayServer"]

log = structlog.get_logger(__name__)

OPEN_TIMEOUT_S: Final = 5.0
_KEEP_ALIVE_S: Final = 30.0
_MAX_HTTP_SOCKETS: Final = 4_000
_DRAIN_S: Final = 10.0
_MOVES_PER_S: Final = 50.0
"""Chosen, not measured: an upgrade takes a third of a millisecond, its sync several requests to stores."""
_LONGEST_MOVE_S: Final = 5.0
_LONGEST_STAY_S: Final = 2.0
"""A client that was told to leave has its next connection after 0.1 to 0.6 s, on a busy machine."""
_DRAIN_PAUSE_S: Final = 0.05


class GatewayServer:
    """One gateway over its three engines.

    `startup` fixes the downlink's position before it takes the lease, and opens the port last.
    `drain` stops admitting, tells every client, empties the uplink and lets sessions go.
    """

    def __init__(
        self,
        settings: Settings,
        bus: Bus,
        routes: RouteTable,
        history: HistoryStore,
        shared: SharedLimits,
        clock: Clock,
        tracing: Tracing | None = None,
    ) -> None:
        self._settings = settings
        self._certificate = certificate_of(settings)
        self._clock = clock
        self._trusted = settings.trusted_networks
        self.max_frame_bytes = settings.max_frame_bytes
        self.outbox_bytes = settings.outbox_bytes
        self.max_fragments = settings.max_fragments
        self.metrics = metrics = Metrics()
        self.parts = parts = Parts(settings, bus, routes, history, shared, clock, metrics, tracing)
        self.hub = parts.hub
        self.guard = parts.guard
        self.health = Health(
            bus, routes, history, parts.presence, parts.downlink, clock, settings.partitions, metrics
        )
        parts.is_ready = lambda: self.health.ready
        self._emptying = Emptying(
            parts.hub, parts.lobby, self.health, parts.room, parts.presence.announce, clock, self.flush
        )
        parts.hub.drain_ordered = self._emptying.obey
        http = Http(
            HttpParts(
                settings=settings,
                hub=parts.hub,
                calls=HttpCalls(
                    settings.gateway_id, parts.hub, parts.uplink, parts.guard, self.health, clock
                ),
                kicks=Kicks(bus, routes, parts.revocations),
                watching=parts.watching,
                bus=bus,
                sync=parts.sync,
                history=parts.pages,
                dispatch=Dispatch(routes, parts.room, clock),
                verifier=parts.verifier,
                health=self.health,
                pages=Pages(Path(__file__).parent / "web"),
                metrics=metrics,
                clock=clock,
                guard=parts.guard,
            )
        )
        self._runner = web.AppRunner(http.application(), access_log=None, keepalive_timeout=_KEEP_ALIVE_S)
        self._server: asyncio.Server | None = None
        self._routes = routes
        self._running: list[asyncio.Task[None]] = []
        """What must run as long as the gateway does."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._watched: OrderedDict[Connection, float] = OrderedDict()
        self.intake = intake = Intake(clock.monotonic)
        parts.watch.intake_late_s = lambda: intake.late_s

    @property
    def port(self) -> int:
        """The port that is listened on."""
        if self._server is None:
            raise Unavailable("the gateway is not listening")
        return int(self._server.sockets[0].getsockname()[1])

    # Four verbs

    async def startup(self, port: int | None = None) -> None:
        """Open everything, the port last."""
        await self.parts.startup()
        self._running = [
            asyncio.create_task(work)
            for work in (
                *self.parts.work(),
                self.parts.room.run(),
                self.health.run(),
                self.parts.watch.run(),
                self._sweep(),
                watch_loop(),
            )
        ]
        certificate = self._certificate
        if certificate is not None:
            self._running.append(asyncio.create_task(certificate.run()))
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(self),
            self._settings.host,
            self._settings.port if port is None else port,
            backlog=4_096,
            ssl=certificate.context if certificate else None,
            ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S if certificate else None,
        )
        here = Announced(
            "gateway", self._settings.gateway_id, reachable_address(self._settings.host, self.port)
        )
        self._running.append(asyncio.create_task(keep_announced(self._routes, here)))
        self.parts.room.opened(self.port)
        await in_a_few_tries(self.parts.presence.announce)
        log.info(
            "gateway listens", gateway=self._settings.gateway_id, host=self._settings.host, port=self.port
        )

    async def serve(self, stop: asyncio.Event) -> None:
        """Serve until told to stop. Raises what ended one of the parts that must never end."""
        stopped = asyncio.create_task(stop.wait())
        ended, _ = await asyncio.wait([stopped, *self._running], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        for task in ended:
            await task

    async def drain(self) -> None:
        """Let every client go without a loss: one after another, since what each of them asks for elsewhere
        would make the others wait; then, within `_DRAIN_S`, have the log take what was taken here.
        """
        self._emptying.stop()
        await self._emptying.empty(
            min(len(self.hub.sessions) / _MOVES_PER_S, _LONGEST_MOVE_S), _LONGEST_STAY_S
        )
        if not await self.parts.uplink.flush(_DRAIN_S):
            log.warning("records were still without an answer")
        await self.parts.desk.drain(_DRAIN_PAUSE_S)
        await self.parts.receipts.flush()

    async def shutdown(self) -> None:
        """Close everything; may follow a failed startup."""
        if self._server is not None:
            self._server.close()
        self._emptying.stop()
        self.parts.uplink.abandon()
        tasks = (*self._running, *self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            await self.parts.presence.shutdown()
        except Unavailable as error:
            log.warning("lease not given up; it runs out by itself", error=str(error))
        links = [s.link for s in self.hub.sessions.values() if isinstance(s.link, Connection)]
        for connection in (*links, *self._watched):
            connection.abort()
        await self._runner.cleanup()
        await self.parts.shutdown()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            self.parts.lobby.sweep()
            self.metrics.sessions.set(len(self.hub.sessions))
            deadline = self._clock.monotonic() - OPEN_TIMEOUT_S
            while self._watched:
                connection, since = next(iter(self._watched.items()))
                if since > deadline:
                    break
                del self._watched[connection]
                connection.abort()
            self.flush()

    # What connections need (`connection.Host`)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def watch(self, connection: Connection) -> None:
        self._watched[connection] = self._clock.monotonic()

    def unwatch(self, connection: Connection) -> None:
        self._watched.pop(connection, None)

    def enter(self, ip: str) -> bool:
        return self.guard.enter(ip)

    def leave(self, ip: str) -> None:
        self.guard.sockets.leave(ip)

    def peer_of(self, address: object) -> str:
        return "" if is_trusted(_host_of(address), self._trusted) else self._client_ip(address, "")

    def opening_of(self, request: Request, address: object) -> Opening:
        headers = request.headers
        check_origin(headers.get("Origin"), headers.get("Host"), self._settings.allowed_origins)
        opening = read_opening(request.path, headers)
        forwarded = ",".join(headers.get_all("X-Forwarded-For"))
        return msgspec.structs.replace(opening, ip=self._client_ip(address, forwarded))

    async def admit(self, opening: Opening) -> Session:
        return await self.parts.admit(opening)

    def welcome(self, session: Session, connection: Connection) -> bool:
        return self.parts.welcome(session, connection)

    def frames(self, session: Session, messages: Sequence[tuple[bytes, bool]]) -> None:
        self.parts.desk.frames(session, messages)

    def heard(self, session: Session, frames: int) -> None:
        session.hear(frames, self._clock.monotonic())

    def gone(self, session: Session, by_client: bool) -> None:
        self.parts.lobby.gone(session, by_client)

    def flush(self) -> None:
        """Write out what every touched session has to say."""
        self.parts.flush()

    def count_handshake(self, status: int) -> None:
        self.metrics.handshakes.labels(str(status)).inc()

    def count_connections(self, change: int) -> None:
        self.metrics.connections.inc(change)

    def count_close(self, code: CloseCode) -> None:
        self.metrics.close(code)

    def count_fault(self) -> None:
        self.metrics.unexpected.inc()

    def http_handler(self) -> asyncio.Protocol | None:
        server = self._runner.server
        if server is None:
            raise Unavailable("the gateway is not listening")
        return server() if len(server.connections) < _MAX_HTTP_SOCKETS else None

    def _client_ip(self, address: object, forwarded: str) -> str:
        return client_address(_host_of(address), forwarded, self._trusted)


def _host_of(address: object) -> str:
    """The ip in a socket's address; "" for a socket that has none."""
    return str(address[0]) if isinstance(address, tuple) and address else ""
