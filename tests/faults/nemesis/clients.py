"""Clients that misbehave: they connect and never read. Some say nothing, some ask for more and more."""

from __future__ import annotations

import asyncio
import re
import socket
from contextlib import suppress
from random import Random
from typing import Final

import aiohttp
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from tests.faults.arena import GATEWAYS, Arena
from tests.faults.nemesis.fault import Fault

__all__ = ["GreedyClients", "StuckClients", "greedy_clients", "stuck_clients"]

USER: Final = "stuck"
GREEDY_USER: Final = "u00"
"""One who has something to read."""
ASK_S: Final = 0.05
CLOSED: Final = re.compile(r'^im_gateway_closed_connections_total\{code="4001"\} (\S+)', re.MULTILINE)
RECEIVE_BYTES: Final = 4_096
ESTABLISHED: Final = 1
"""What TCP_INFO begins with while neither side has closed."""
UPGRADE: Final = (
    "GET /v1/ws?device_id={device} HTTP/1.1\r\nHost: skein\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Authorization: Bearer {token}\r\n\r\n"
)


class StuckClients(Fault):
    """Connections of one user that neither read nor write. They hold once the gateway has ended them all."""

    hold_timeout_s = 60.0

    def __init__(self, arena: Arena, gateway: str, count: int) -> None:
        super().__init__(arena, gateway)
        self._count = count
        self._sockets: list[socket.socket] = []

    async def inject(self) -> None:
        loop = asyncio.get_running_loop()
        token = self.arena.token(USER)
        for number in range(self._count):
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
            connection.setblocking(False)
            self._sockets.append(connection)
            await loop.sock_connect(connection, self.arena.gateways[self.target])
            request = UPGRADE.format(device=f"stuck-{number}", token=token)
            await loop.sock_sendall(connection, request.encode())

    async def took_hold(self) -> str | None:
        ended = sum(_ended(connection) for connection in self._sockets)
        return f"{ended} of {self._count} were ended by the gateway" if ended == self._count else None

    async def heal(self) -> None:
        for connection in self._sockets:
            connection.close()

    async def healed(self) -> str | None:
        return "closed"


class GreedyClients(Fault):
    """Connections that ask for page after page and read none of it. They hold once the gateway says that it
    has closed that many for what it could not write to them (4001)."""

    hold_timeout_s = 60.0

    def __init__(self, arena: Arena, gateway: str, count: int) -> None:
        super().__init__(arena, gateway)
        self._count = count
        self._before = 0
        self._asking: list[asyncio.Task[None]] = []

    async def inject(self) -> None:
        self._before = await self._closed()
        self._asking = [asyncio.create_task(self._ask(number)) for number in range(self._count)]

    async def took_hold(self) -> str | None:
        closed = await self._closed() - self._before
        return f"{closed} were closed with 4001" if closed >= self._count else None

    async def heal(self) -> None:
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)

    async def healed(self) -> str | None:
        return "gone"

    async def _ask(self, number: int) -> None:
        """Until the connection ends, which it is then asked for anew until this is cancelled."""
        host, port = self.arena.gateways[self.target]
        while True:
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
            connection.setblocking(False)
            with suppress(OSError, WebSocketException, TimeoutError):
                await asyncio.get_running_loop().sock_connect(connection, (host, port))
                async with connect(
                    f"ws://{host}:{port}/v1/ws?device_id=greedy-{number}",
                    additional_headers={"Authorization": f"Bearer {self.arena.token(GREEDY_USER)}"},
                    sock=connection,
                    compression=None,
                    proxy=None,
                    ping_interval=None,
                    close_timeout=0.0,
                    max_queue=1,
                ) as ws:
                    while True:
                        await ws.send('{"type":"sync","token":null,"limit":100}')
                        await asyncio.sleep(ASK_S)
            await asyncio.sleep(ASK_S)

    async def _closed(self) -> int:
        """What the gateway's own counter says; 0 while it does not answer."""
        url = f"http://{self.arena.web_address(self.target)}/metrics"
        try:
            timeout = aiohttp.ClientTimeout(total=2.0)
            async with aiohttp.ClientSession(timeout=timeout) as http, http.get(url) as answer:
                found = CLOSED.search(await answer.text())
        except (aiohttp.ClientError, OSError, TimeoutError):
            return 0
        return int(float(found[1])) if found else 0


def _ended(connection: socket.socket) -> bool:
    """Whether the other side has closed it, as the kernel says: nothing is read."""
    state = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    return state != ESTABLISHED


def stuck_clients(arena: Arena, random: Random) -> Fault:
    return StuckClients(arena, random.choice(GATEWAYS), random.randint(2, 6))


def greedy_clients(arena: Arena, random: Random) -> Fault:
    return GreedyClients(arena, random.choice(GATEWAYS), random.randint(1, 3))
