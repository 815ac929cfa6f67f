"""A gateway on a port of its own over the memory twins, and clients that speak the protocol by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
from pydantic import SecretStr
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from gateway.server import GatewayServer
from infra.clock import SystemClock
from infra.memory.bus import MemoryBus
from infra.memory.history import MemoryHistory
from infra.memory.limits import MemorySharedLimits
from infra.memory.routes import MemoryRouteTable
from infra.settings import Settings
from infra.tokens import mint_token
from tests.connecting import connected
from tests.contracts.frames import check_server_frame
from tests.gateway.path import Path

__all__ = ["SECRET", "Person", "World", "a_world"]

SECRET = "a-secret-that-is-long-enough-for-hs256"
WAIT_S = 20.0


class Person:
    """A connected client: sends frames as they stand, and waits for the frames it expects."""

    def __init__(self, socket: ClientConnection, text: bool = True) -> None:
        self.socket = socket
        self.text = text
        self.welcome: dict[str, Any] = {}

    async def tell(self, **frame: Any) -> None:
        if self.text:
            await self.socket.send(msgspec.json.encode(frame).decode())
        else:
            await self.socket.send(msgspec.msgpack.encode(frame))

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(WAIT_S):
            data = await self.socket.recv()
        frame: dict[str, Any] = (
            msgspec.json.decode(data) if isinstance(data, str) else msgspec.msgpack.decode(data)
        )
        check_server_frame(frame)
        return frame

    async def expect(self, frame_type: str) -> dict[str, Any]:
        """The next frame, which must be of this type."""
        frame = await self.next()
        assert frame["type"] == frame_type, frame
        return frame

    async def until(self, frame_type: str) -> dict[str, Any]:
        """The next frame of this type, whatever comes before."""
        while True:
            frame = await self.next()
            if frame["type"] == frame_type:
                return frame

    async def say(self, conversation_id: str, text: str, client_msg_id: str, **more: Any) -> None:
        await self.tell(
            type="send",
            client_msg_id=client_msg_id,
            conversation_id=conversation_id,
            kind="text",
            content={"text": text},
            **more,
        )

    async def closed(self) -> int:
        """Read until the server closes; the close code."""
        async with asyncio.timeout(2 * WAIT_S):
            with suppress(ConnectionClosed):
                while True:
                    await self.socket.recv()
        return self.socket.close_code or 0


class World:
    """One gateway (or several over the same engines) and the path behind."""

    def __init__(self, path_type: type[Path] = Path, **settings: Any) -> None:
        self.clock = SystemClock()
        values: dict[str, Any] = {"auth_secret": SecretStr(SECRET), "partitions": 2, "lease_s": 3.0}
        self.settings = Settings(**(values | settings))
        self.bus = MemoryBus(self.settings.partitions, self.clock)
        self.routes = MemoryRouteTable(self.clock)
        self.history = MemoryHistory()
        self.limits = MemorySharedLimits(self.clock)
        self.path = path_type(self.bus, self.routes, self.history, self.clock, self.settings.partitions)
        self._sockets: list[ClientConnection] = []
        self.gateway = self.another(self.settings.gateway_id)

    async def leave(self) -> None:
        """Close every connection that is still open."""
        await asyncio.gather(*(socket.close() for socket in self._sockets))

    def another(self, gateway_id: str) -> GatewayServer:
        settings = self.settings.model_copy(update={"gateway_id": gateway_id})
        return GatewayServer(settings, self.bus, self.routes, self.history, self.limits, self.clock)

    def token(self, user: str, **more: Any) -> str:
        return mint_token(SECRET, user, now_s=self.clock.now_ms() // 1000, **more)

    def url(self, query: str = "", gateway: GatewayServer | None = None) -> str:
        return f"ws://127.0.0.1:{(gateway or self.gateway).port}/v1/ws?{query}"

    def http(self, path: str) -> str:
        return f"http://127.0.0.1:{self.gateway.port}{path}"

    async def enter(
        self,
        user: str,
        query: str = "",
        subprotocol: str | None = None,
        gateway: GatewayServer | None = None,
        role: str | None = None,
        **more: Any,
    ) -> Person:
        """Connect and take the welcome."""
        socket = await connected(
            self.url(query, gateway),
            additional_headers={"Authorization": f"Bearer {self.token(user, role=role)}"},
            subprotocols=[Subprotocol(subprotocol)] if subprotocol else None,
            compression=None,
            ping_interval=None,
            max_size=None,
            **more,
        )
        self._sockets.append(socket)
        person = Person(socket, subprotocol != "im.v1.msgpack")
        person.welcome = await person.expect("welcome")
        return person


@asynccontextmanager
async def a_world(path_type: type[Path] = Path, **settings: Any) -> AsyncIterator[World]:
    world = World(path_type, **settings)
    running = asyncio.create_task(world.path.run())
    await world.gateway.startup(port=0)
    try:
        yield world
    finally:
        running.cancel()
        await world.leave()
        await world.gateway.shutdown()
