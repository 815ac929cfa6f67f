"""A gateway: what it is made of, and the order in which it opens and closes."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog
from aiohttp import web
from websockets.http11 import Request

from gateway.auth import TokenVerifier
from gateway.comings import Comings
from gateway.connection import Connection
from gateway.conversation_view import ConversationView
from gateway.desk import Desk, Services
from gateway.directory import Directory
from gateway.dispatch import Dispatch
from gateway.downlink import Downlink
from gateway.emptying import Emptying
from gateway.handshake import Opening, check_origin, read_opening
from gateway.health import Health
from gateway.history import HistoryService
from gateway.http import Http, HttpParts
from gateway.http_call import HttpCalls
from gateway.hub import Hub
from gateway.inbox import InboxReader
from gateway.kicks import Kicks
from gateway.limits.client_address import client_address, is_trusted
from gateway.limits.exchange import Exchange
from gateway.limits.guard import Guard
from gateway.limits.metrics import LimitMetrics
from gateway.limits.watch import Watch
from gateway.lobby import SWEEP_S, Lobby
from gateway.metrics import Metrics
from gateway.missed import Missed
from gateway.pages import Pages
from gateway.presence import Presence
from gateway.pulse import Pulse
from gateway.reading import Reading
from gateway.receipts import Receipts
from gateway.revocations import Revocations
from gateway.room import Room
from gateway.session import Session, State
from gateway.session_rules import SessionRules
from gateway.sync import SyncService
from gateway.typing_notes import TypingNotes
from gateway.uplink import Uplink
from gateway.watching import Watching
from infra.announcing import keep_announced, reachable_address
from infra.clock import Clock
from infra.ports import Announced, Bus, GatewayNotice, HistoryStore, RouteTable, SharedLimits
from infra.settings import Settings
from infra.telemetry.loop_lag import watch_loop
from schemas.codes import CloseCode
from schemas.errors import SettingsError, Unavailable
from schemas.frames import Drain
from schemas.ids import new_name
from schemas.topics import outbound_topic

if TYPE_CHECKING:
    from infra.telemetry.tracing import Tracing

__all__ = ["GatewayServer"]

log = structlog.get_logger(__name__)

OPEN_TIMEOUT_S: Final = 5.0
_KEEP_ALIVE_S: Final = 30.0
_MAX_HTTP_SOCKETS: Final = 4_000
_DRAIN_S: Final = 10.0
_DRAIN_SESSIONS_PER_S: Final = 2_000
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
        if settings.auth_secret is None:
            raise SettingsError("IM_AUTH_SECRET: not set; tokens cannot be checked")
        secret = settings.auth_secret.get_secret_value()
        self._settings = settings
        self._clock = clock
        self._trusted = settings.trusted_networks
        self.max_frame_bytes = settings.max_frame_bytes
        self.outbox_bytes = settings.outbox_bytes
        self.max_fragments = settings.max_fragments
        self.metrics = metrics = Metrics()
        self.hub = hub = Hub(metrics)
        page_bytes = settings.outbox_bytes // 2
        boot_id = new_name()
        limit_metrics = LimitMetrics(metrics.registry)
        self.guard = guard = Guard(settings, hub, clock, limit_metrics)
        hub.ended = self._ended
        self._uplink = Uplink(
            bus,
            clock,
            metrics,
            settings.publish_timeout_s,
            self.flush,
            settings.backlog_records,
            settings.backlog_bytes,
            tracing,
        )
        self._watch = Watch(guard.admission, lambda: self._uplink.backlog, clock, limit_metrics)
        self._exchange = Exchange(
            shared, routes, guard, clock, limit_metrics, settings.gateway_id, boot_id, self.flush
        )
        topic = outbound_topic(settings.gateway_id).name
        self._downlink = Downlink(bus, topic, hub, clock, metrics, self.flush, tracing)
        self._room = Room(settings, hub, clock)
        self._comings = Comings(bus, routes, clock, settings.gateway_id)
        self._watching = Watching(routes, history, hub, clock, settings.gateway_id, self.flush)
        hub.presence_changed = self._watching.changed
        self._presence = Presence(
            routes,
            bus,
            hub,
            self._comings,
            clock,
            settings.gateway_id,
            boot_id,
            settings.lease_s,
            self._notice,
            self.flush,
        )
        self._pulse = Pulse(routes, self._downlink, clock, settings.partitions, Missed(history), self.flush)
        self._receipts = Receipts(bus, clock)
        inbox = InboxReader(routes, history, clock)
        sync = SyncService(routes, inbox, ConversationView(history), clock, settings.partitions, page_bytes)
        pages = HistoryService(history, page_bytes)
        services = Services(
            self._uplink,
            self._pulse,
            self._receipts,
            sync,
            pages,
            Directory(history, clock),
            Reading(routes, history, inbox, self._receipts),
            TypingNotes(routes, history, bus),
            self._watching,
            guard,
        )
        self._desk = Desk(services, clock, metrics, self.flush)
        self._revocations = Revocations(bus, hub, clock, settings.token_life_s, self.flush)
        verifier = TokenVerifier(secret, self._revocations.before_ms)
        rules = SessionRules.of(settings)
        self._lobby = Lobby(hub, self._presence, verifier, rules, clock, metrics, self._room, guard)
        self.health = Health(
            bus, routes, history, self._presence, self._downlink, clock, settings.partitions, metrics
        )
        self._routes = routes
        self._emptying = Emptying(
            hub, self._lobby, self.health, self._room, self._presence.announce, clock, self.flush
        )
        hub.drain_ordered = self._emptying.obey
        http = Http(
            HttpParts(
                settings=settings,
                secret=secret,
                hub=hub,
                calls=HttpCalls(settings.gateway_id, hub, self._uplink, guard, self.health, clock),
                kicks=Kicks(bus, routes, self._revocations),
                watching=self._watching,
                bus=bus,
                sync=sync,
                history=pages,
                dispatch=Dispatch(routes, self._room, clock),
                verifier=verifier,
                health=self.health,
                pages=Pages(Path(__file__).parent / "web"),
                metrics=metrics,
                clock=clock,
                guard=guard,
            )
        )
        self._runner = web.AppRunner(http.application(), access_log=None, keepalive_timeout=_KEEP_ALIVE_S)
        self._server: asyncio.Server | None = None
        self._parts: list[asyncio.Task[None]] = []
        """What must run as long as the gateway does."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._watched: OrderedDict[Connection, float] = OrderedDict()

    @property
    def port(self) -> int:
        """The port that is listened on."""
        if self._server is None:
            raise Unavailable("the gateway is not listening")
        return int(self._server.sockets[0].getsockname()[1])

    # Four verbs

    async def startup(self, port: int | None = None) -> None:
        """Open everything, the port last."""
        await self._downlink.startup()
        await self._revocations.startup()
        await self._presence.startup()
        self._parts = [
            asyncio.create_task(work)
            for work in (
                self._downlink.run(),
                self._revocations.run(),
                self._presence.run(),
                self._pulse.run(),
                self._comings.run(),
                self._room.run(),
                self._watching.run(),
                self._receipts.run(),
                self.health.run(),
                self._watch.run(),
                self._exchange.run(),
                self._sweep(),
                watch_loop(),
            )
        ]
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(self),
            self._settings.host,
            self._settings.port if port is None else port,
            backlog=4_096,
        )
        here = Announced(
            "gateway", self._settings.gateway_id, reachable_address(self._settings.host, self.port)
        )
        self._parts.append(asyncio.create_task(keep_announced(self._routes, here)))
        self._room.opened(self.port)
        await self._presence.announce()
        log.info(
            "gateway listens", gateway=self._settings.gateway_id, host=self._settings.host, port=self.port
        )

    async def serve(self, stop: asyncio.Event) -> None:
        """Serve until told to stop. Raises what ended one of the parts that must never end."""
        stopped = asyncio.create_task(stop.wait())
        ended, _ = await asyncio.wait([stopped, *self._parts], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        for task in ended:
            await task

    async def drain(self) -> None:
        """Let every client go without a loss, within `_DRAIN_S`."""
        self._emptying.stop()
        await self._emptying.shut()
        sessions = [s for s in self.hub.sessions.values() if s.state is State.OPEN]
        slice_size = max(1, int(_DRAIN_SESSIONS_PER_S * _DRAIN_PAUSE_S))
        for start in range(0, len(sessions), slice_size):
            for session in sessions[start : start + slice_size]:
                session.send(Drain(reconnect_after_ms=1_000 * (start // _DRAIN_SESSIONS_PER_S)))
            self.flush()
            await asyncio.sleep(_DRAIN_PAUSE_S)
        if not await self._uplink.flush(_DRAIN_S):
            log.warning("records were still without an answer")
        await self._desk.drain(_DRAIN_PAUSE_S)
        await self._receipts.flush()
        for session in self.hub.sessions.values():
            session.close(CloseCode.DRAIN)
        self.flush()
        log.info("gateway drained", sessions=len(sessions))

    async def shutdown(self) -> None:
        """Close everything; may follow a failed startup."""
        if self._server is not None:
            self._server.close()
        self._emptying.stop()
        self._uplink.abandon()
        tasks = (*self._parts, *self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            await self._presence.shutdown()
        except Unavailable as error:
            log.warning("lease not given up; it runs out by itself", error=str(error))
        links = [s.link for s in self.hub.sessions.values() if isinstance(s.link, Connection)]
        for connection in (*links, *self._watched):
            connection.abort()
        await self._runner.cleanup()
        await self._downlink.shutdown()
        await self._revocations.shutdown()

    def _notice(self) -> GatewayNotice:
        self._room.ready = self.health.ready
        return self._room.notice()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            self._lobby.sweep()
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
        return await self._lobby.admit(opening, self._pulse.consumed_ms)

    def welcome(self, session: Session, connection: Connection) -> bool:
        if not self._lobby.welcome(session, connection):
            return False
        self._watching.welcomed(session)
        return True

    def frame(self, session: Session, data: bytes, text: bool) -> None:
        self._desk.frame(session, data, text)

    def heard(self, session: Session, frames: int) -> None:
        session.hear(frames, self._clock.monotonic())

    def gone(self, session: Session, by_client: bool) -> None:
        self._lobby.gone(session, by_client)

    def flush(self) -> None:
        """Write out what every touched session has to say: one write for each."""
        touched = self.hub.touched
        while touched:
            batch = touched.copy()
            touched.clear()
            for session in batch:
                link = session.link
                if isinstance(link, Connection):
                    link.write_out()

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

    def _ended(self, count: int, received_at_ms: int) -> None:
        self.guard.admission.ended(count, self._clock.now_ms() - received_at_ms)


def _host_of(address: object) -> str:
    """The ip in a socket's address; "" for a socket that has none."""
    return str(address[0]) if isinstance(address, tuple) and address else ""
