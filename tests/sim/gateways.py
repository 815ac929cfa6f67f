"""A gateway's parts over simulated engines, and the sockets between it and its clients.

The parts and their order are those of `gateway/server.py`; what is left out is bytes: a socket here
carries whole frames.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from gateway.auth import TokenVerifier
from gateway.conversation_view import ConversationView
from gateway.desk import Desk, Services
from gateway.directory import Directory
from gateway.downlink import Downlink
from gateway.handshake import Opening
from gateway.history import HistoryService
from gateway.hub import Hub
from gateway.inbox import InboxReader
from gateway.lobby import Lobby
from gateway.metrics import Metrics
from gateway.missed import Missed
from gateway.presence import Presence
from gateway.pulse import Pulse
from gateway.reading import Reading
from gateway.receipts import Receipts
from gateway.session import Session
from gateway.session_rules import SessionRules
from gateway.sync import SyncService
from gateway.throttle import SendLimiter, send_rate
from gateway.typing_notes import TypingNotes
from gateway.uplink import Uplink
from infra.tokens import mint_token
from schemas.codes import CloseCode
from schemas.errors import Refused, Unavailable
from schemas.frames import JSON, ClientFrame
from schemas.ids import new_name
from schemas.topics import outbound_topic
from tests.sim.doors import BusDoor, history_door, routes_door
from tests.sim.loop import EPOCH_MS, Process

if TYPE_CHECKING:
    from tests.sim.clients import Device
    from tests.sim.world import World

__all__ = ["Gateway", "Socket", "token_of"]

_SECRET: Final = "a-secret-that-is-long-enough-for-hs256"
_WIRE_S: Final = 0.02
_SWEEP_S: Final = 1.0
"""Ten slices at once, ten times as seldom as `SWEEP_S`: the same for every session."""


@cache
def _verifier() -> TokenVerifier:
    return TokenVerifier(_SECRET)


@cache
def _metrics() -> Metrics:
    return Metrics()


@cache
def token_of(user: str) -> str:
    return mint_token(_SECRET, user, now_s=EPOCH_MS // 1000)


class Socket:
    """One connection: frames arrive in order, each after a drawn time, in both directions.

    `cut` ends it for one end or both; what is under way to an end that is gone is lost. An end that
    is not told goes on as if nothing had happened.
    """

    def __init__(self, world: World, device: Device, gateway: Gateway) -> None:
        self.world = world
        self.device = device
        self.gateway = gateway
        self.session: Session | None = None
        self.client_open = True
        self.server_open = True
        self.torn = False
        self._up_at = 0.0
        self._down_at = 0.0

    def is_gone(self) -> bool:
        """Whether the server knows that nobody is there any more."""
        return not self.server_open

    # The client's end

    def up(self, frame: ClientFrame) -> None:
        """Write a frame."""
        data = JSON.encode(frame)
        self._up_at = self._arrival(self._up_at)
        self._call(self._up_at, self.gateway.process, self._arrived_up, data)

    def leave(self, code: CloseCode) -> None:  # `gateway.lobby.Link`
        """The server closes; its session goes on without this socket."""
        self.session = None
        self.server_close(int(code))

    def client_close(self, polite: bool) -> None:
        """The client goes away."""
        self.client_open = False
        self._call(self._arrival(self._up_at), self.gateway.process, self._server_hears, polite)

    # The server's end

    def write_out(self) -> None:
        """What `Connection.write_out` does: write everything the session has put, close if it asks for it."""
        session = self.session
        if session is None or not self.server_open:
            return
        if session.outbox:
            self._down(session.outbox.take())
        if session.closing is not None:
            self.server_close(int(session.closing))

    def server_close(self, code: int) -> None:
        """Close after what was written; the other end answers, and then the connection is gone."""
        if not self.server_open:
            return
        self._down_at = self._arrival(self._down_at)
        self._call(self._down_at, self.device.process, self._client_hears, code)

    # The wire

    def cut(self, now_server: bool) -> None:
        """The wire breaks. The client hears of it at once, the server now or by the silence that follows."""
        self.torn = True
        self.world.later(0.01, self._tell_client)
        if now_server:
            self._call(
                self.world.loop.now + 0.3 * self.world.rng.random(),
                self.gateway.process,
                self._server_hears,
                False,
            )

    def half_open(self) -> None:
        """The wire breaks and nobody hears of it."""
        self.torn = True

    def server_died(self) -> None:
        self.torn = True
        self.server_open = False
        self.world.later(0.5 * self.world.rng.random(), self._tell_client)

    def _tell_client(self) -> None:
        if self.client_open and self.device.process.alive:
            self._call(self.world.loop.now, self.device.process, self._client_hears, 1006)

    def _client_hears(self, code: int) -> None:
        if self.client_open and not (self.torn and code != 1006):
            self.client_open = False
            self._call(self._arrival(self._up_at), self.gateway.process, self._server_hears, False)
            self.device.closed(self, code)

    def _server_hears(self, polite: bool) -> None:
        if not self.server_open or (self.torn and polite):
            return
        self.server_open = False
        session, self.session = self.session, None
        if session is not None:
            self.gateway.lobby.gone(session, by_client=polite)

    def _down(self, data: bytes) -> None:
        self._down_at = self._arrival(self._down_at)
        self._call(self._down_at, self.device.process, self._arrived_down, data)

    def _arrived_up(self, data: bytes) -> None:
        session = self.session
        if self.torn or not self.server_open or session is None or session.closing is not None:
            return
        if self.world.traced:
            self.world.tell(f"{self.device.device_id} → {self.gateway.gateway_id} {data.decode()}")
        self.gateway.desk.frame(session, data, True)
        self.gateway.flush()

    def _arrived_down(self, data: bytes) -> None:
        if self.torn or not self.client_open:
            return
        for payload in _payloads(data):
            if not self.client_open:
                return
            self.device.take(self, payload)

    def _arrival(self, after: float) -> float:
        return max(after, self.world.loop.now + _WIRE_S * self.world.rng.random())

    def _call(self, at: float, process: Process, callback: Any, *args: Any) -> None:
        self.world.loop.call_at(at, callback, *args, context=process.context)


class Gateway:
    """One life of a gateway process."""

    def __init__(self, world: World, gateway_id: str) -> None:
        self.world = world
        self.gateway_id = gateway_id
        self.process = Process(world.loop, gateway_id, world.tell)
        self.ready = False
        self.sockets: list[Socket] = []
        settings = world.settings_of(gateway_id)
        clock, metrics = world.clock, _metrics()
        bus = BusDoor(world, self.process)
        routes = routes_door(world, self.process, world.table)
        history = history_door(world, self.process, world.store)
        partitions = settings.partitions
        self.hub = Hub(metrics)
        self.uplink = Uplink(
            bus, SendLimiter(send_rate(settings)), clock, metrics, settings.publish_timeout_s, self.flush
        )
        self._downlink = Downlink(bus, outbound_topic(gateway_id).name, self.hub, clock, metrics, self.flush)
        self._presence = Presence(
            routes, bus, self.hub, clock, gateway_id, new_name(), settings.lease_s, self.flush
        )
        self._pulse = Pulse(routes, self._downlink, clock, partitions, Missed(history), self.flush)
        self._receipts = Receipts(bus, clock)
        inbox = InboxReader(routes, history, clock)
        page_bytes = settings.outbox_bytes // 2
        services = Services(
            self.uplink,
            self._pulse,
            self._receipts,
            SyncService(routes, inbox, ConversationView(history), clock, partitions, page_bytes),
            HistoryService(history, page_bytes),
            Directory(history, clock),
            Reading(routes, history, inbox, self._receipts),
            TypingNotes(routes, history, bus),
        )
        self.desk = Desk(services, clock, metrics, self.flush)
        rules = SessionRules.of(settings)
        self.lobby = Lobby(
            self.hub, self._presence, _verifier(), rules, clock, metrics, settings.max_connections
        )
        self.process.spawn(self._serve())

    async def _serve(self) -> None:
        await self._until_done(self._downlink.startup)
        await self._until_done(self._presence.startup)
        for part in (
            self._downlink.run(),
            self._presence.run(),
            self._pulse.run(),
            self._receipts.run(),
            self._sweep(),
        ):
            self._watch(part)
        self.ready = True

    async def _until_done(self, startup: Any) -> None:
        """A gateway that cannot start is started again."""
        while True:
            try:
                await startup()
                return
            except Unavailable:
                await asyncio.sleep(0.5)

    def _watch(self, part: Coroutine[Any, Any, None]) -> None:
        asyncio.create_task(part).add_done_callback(self._ended)

    def _ended(self, part: asyncio.Task[None]) -> None:
        if not part.cancelled():
            error = part.exception()
            self.world.fail(f"a part of {self.gateway_id} ended: {error!r}", error)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            for _ in range(len(self.hub.sessions) + 1):
                self.lobby.sweep()
            self.flush()

    def connect(self, socket: Socket, resume: str) -> None:
        """A client asks to come in (called inside this process)."""
        if not self.ready:
            socket.server_close(1013)
            return
        self._watch_join(self._join(socket, resume))

    def _watch_join(self, joining: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(joining)
        task.add_done_callback(
            lambda done: self._ended(done) if not done.cancelled() and done.exception() else None
        )

    async def _join(self, socket: Socket, resume: str) -> None:
        """What `Connection._join` does."""
        if socket.is_gone() or socket.torn:
            return
        device = socket.device
        opening = Opening(token_of(device.user), device.device_id, "web", resume, JSON, None)
        try:
            session = await self.lobby.admit(opening, self._pulse.consumed_ms)
        except Refused:
            socket.server_close(1013)
            return
        if socket.is_gone() or not self.lobby.welcome(session, socket):
            self.lobby.gone(session, by_client=True)
            return
        socket.session = session
        self.sockets.append(socket)
        socket.write_out()

    def flush(self) -> None:
        """What `GatewayServer.flush` does."""
        touched = self.hub.touched
        while touched:
            batch = touched.copy()
            touched.clear()
            for session in batch:
                if isinstance(session.link, Socket):
                    session.link.write_out()


def _payloads(data: bytes) -> Iterator[bytes]:
    """The frames of one write."""
    position = 0
    while position < len(data):
        length, body = data[position + 1], position + 2
        if length == 126:
            length, body = int.from_bytes(data[body : body + 2], "big"), body + 2
        elif length == 127:
            length, body = int.from_bytes(data[body : body + 8], "big"), body + 8
        position = body + length
        yield data[body:position]
