"""A gateway's parts over simulated engines, and the sockets between it and its clients.

The parts are the gateway's own (`gateway/parts.py`); what is left out is bytes: a socket here carries
whole frames.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from gateway.handshake import Opening
from gateway.metrics import Metrics
from gateway.parts import Parts
from gateway.session import Session
from infra.tokens import mint_token
from schemas.codes import CloseCode
from schemas.errors import Refused, Unavailable
from schemas.frames import JSON, ClientFrame
from tests.sim.doors import BusDoor, history_door, routes_door
from tests.sim.loop import EPOCH_MS, Process

if TYPE_CHECKING:
    from tests.sim.clients import Device
    from tests.sim.world import World

__all__ = ["Gateway", "Socket", "token_of"]

SECRET: Final = "a-secret-that-is-long-enough-for-hs256"
_WIRE_S: Final = 0.02
_SWEEP_S: Final = 0.5
"""All sessions at once, less often than the server's `SWEEP_S`."""


@cache
def _metrics() -> Metrics:
    return Metrics()


@cache
def token_of(user: str) -> str:
    return mint_token(SECRET, user, now_s=EPOCH_MS // 1000)


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

    def leave(self, code: CloseCode) -> None:
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
            self.gateway.parts.lobby.gone(session, by_client=polite)

    def _down(self, data: bytes) -> None:
        self._down_at = self._arrival(self._down_at)
        self._call(self._down_at, self.device.process, self._arrived_down, data)

    def _arrived_up(self, data: bytes) -> None:
        session = self.session
        if self.torn or not self.server_open or session is None or session.closing is not None:
            return
        if self.world.traced:
            self.world.tell(f"{self.device.device_id} → {self.gateway.gateway_id} {data.decode()}")
        self.gateway.parts.desk.frames(session, [(data, True)])
        self.gateway.parts.flush()

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
        self.parts = Parts(
            world.settings_of(gateway_id),
            BusDoor(world, self.process),
            routes_door(world, self.process, world.table),
            history_door(world, self.process, world.store),
            world.limits,
            world.clock,
            _metrics(),
        )
        self.process.spawn(self._serve())

    async def _serve(self) -> None:
        while True:
            try:
                await self.parts.startup()
                break
            except Unavailable:
                await asyncio.sleep(0.5)
        for part in (*self.parts.work(), self._sweep()):
            self._watch(part)
        self.ready = True

    def _watch(self, part: Coroutine[Any, Any, None]) -> None:
        asyncio.create_task(part).add_done_callback(self._ended)

    def _ended(self, part: asyncio.Task[None]) -> None:
        if not part.cancelled():
            error = part.exception()
            self.world.fail(f"a part of {self.gateway_id} ended: {error!r}", error)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            for _ in range(len(self.parts.hub.sessions) + 1):
                self.parts.lobby.sweep()
            self.parts.flush()

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
        if socket.is_gone():
            return
        device = socket.device
        opening = Opening(token_of(device.user), device.device_id, "web", resume, JSON, None)
        try:
            session = await self.parts.admit(opening)
        except Refused:
            socket.server_close(1013)
            return
        if socket.is_gone() or not self.parts.welcome(session, socket):
            self.parts.lobby.gone(session, by_client=True)
            return
        socket.session = session
        self.sockets.append(socket)
        socket.write_out()


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
