"""A TCP proxy whose links have weather: a process of its own, so that no other work makes it stall.

`python -m tests.faults.proxy PLAN` opens every link of the plan, and obeys one `Order` a line on a Unix
socket, each answered by the link's `Counts`.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from collections.abc import Mapping
from itertools import compress, count
from pathlib import Path
from random import Random
from typing import Final

import msgspec
import uvloop

from infra.stack.addresses import Address
from infra.stack.probes import http_probe
from tests.faults.weather import CALM, Counts, Order, Weather

__all__ = ["Link", "LinkPlan", "Plan", "serve"]

CONNECT_TIMEOUT_S: Final = 5.0
RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER of zero: closing sends a RST, as a cut connection would meet."""


class LinkPlan(msgspec.Struct, frozen=True):
    """A port, and the servers behind it; with several, connections take turns and pass over dead ones."""

    port: int
    servers: list[tuple[str, int]]
    balanced: bool = False
    """Whether they also pass over who says at /readyz that he takes nobody, as behind a load balancer."""


class Plan(msgspec.Struct, frozen=True):
    links: dict[str, LinkPlan]
    control: str
    """Path of the Unix socket."""


class Link:
    """One listening port. Its weather changes under the connections that pass it."""

    def __init__(self, plan: LinkPlan, random: Random) -> None:
        self.counts = Counts()
        self._servers = [Address(*server) for server in plan.servers]
        self._balanced = plan.balanced
        self._turns = count()
        self._random = random
        self._weather = CALM
        self._changed = asyncio.Event()
        self._open: set[asyncio.StreamWriter] = set()
        self._connections: set[asyncio.Task[None]] = set()

    def set_weather(self, weather: Weather) -> None:
        """From now on. Bytes that were held look again whether they may pass."""
        self._weather = weather
        self._changed.set()
        self._changed = asyncio.Event()
        if weather.cut:
            for writer in list(self._open):
                self._reset(writer)

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take a connection; for `asyncio.start_server`."""
        task = asyncio.get_running_loop().create_task(self._carry(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._weather.cut:
            self._reset(writer)
            return
        self._open.add(writer)
        try:
            while self._weather.hold_up:  # a connection that is asked for in bad weather is made after it
                self.counts.held += 1
                await self._changed.wait()
            onward = await self._connect()
            if onward is None or self._weather.cut:
                self._reset(writer)
                return
            self.counts.opened += 1
            await self._exchange(reader, writer, *onward)
        finally:
            self._open.discard(writer)
            writer.close()

    async def _exchange(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        server_reader: asyncio.StreamReader,
        server_writer: asyncio.StreamWriter,
    ) -> None:
        """Both directions until either ends; what ends one side ends the other."""
        self._open.add(server_writer)
        pumps = (
            asyncio.create_task(self._pump(reader, server_writer, up=True)),
            asyncio.create_task(self._pump(server_reader, writer, up=False)),
        )
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self._open.discard(server_writer)
            server_writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, up: bool) -> None:
        """Carry one direction until its end or a reset."""
        try:
            while data := await reader.read(self._weather.chunk_bytes):
                await self._endure(up)
                writer.write(data)
                self.counts.passed_bytes += len(data)
                await writer.drain()
        except OSError:
            return

    async def _endure(self, up: bool) -> None:
        """Wait as long as the weather asks."""
        while self._weather.holds(up):
            self.counts.held += 1
            await self._changed.wait()
        pause_s = self._weather.pause_s(self._random)
        if pause_s:
            self.counts.slowed += 1
            await asyncio.sleep(pause_s)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        first = next(self._turns) % len(self._servers)
        servers = [*self._servers[first:], *self._servers[:first]]
        if self._balanced:
            ready = await asyncio.gather(*(http_probe(server)() for server in servers))
            servers = [*compress(servers, ready)] or servers
        for host, port in servers:
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    return await asyncio.open_connection(host, port)
            except (OSError, TimeoutError):
                continue
        return None

    def _reset(self, writer: asyncio.StreamWriter) -> None:
        self.counts.reset += 1
        connection = writer.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        writer.transport.abort()


async def serve(plan: Plan, random: Random) -> None:
    """Open every link, then the control socket, and work until cancelled."""
    links = {name: Link(link, random) for name, link in plan.links.items()}
    for name, link in links.items():
        await asyncio.start_server(link.accept, "127.0.0.1", plan.links[name].port, backlog=512)
    control = await asyncio.start_unix_server(
        lambda reader, writer: _obey(links, reader, writer), plan.control
    )
    await control.serve_forever()


async def _obey(
    links: Mapping[str, Link], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    while line := await reader.readline():
        order = msgspec.json.decode(line, type=Order)
        link = links[order.link]
        if order.weather is not None:
            link.set_weather(order.weather)
        writer.write(msgspec.json.encode(link.counts) + b"\n")
        await writer.drain()
    writer.close()


if __name__ == "__main__":
    uvloop.run(serve(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Plan), Random()))
