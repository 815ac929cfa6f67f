"""Clients that misbehave: they connect and never read, and say nothing."""

from __future__ import annotations

import asyncio
import socket
from random import Random
from typing import Final

from tests.faults.arena import GATEWAYS, Arena
from tests.faults.nemesis.fault import Fault

__all__ = ["StuckClients", "stuck_clients"]

USER: Final = "stuck"
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


def _ended(connection: socket.socket) -> bool:
    """Whether the other side has closed it, as the kernel says: nothing is read."""
    state = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    return state != ESTABLISHED


def stuck_clients(arena: Arena, random: Random) -> Fault:
    return StuckClients(arena, random.choice(GATEWAYS), random.randint(2, 6))
