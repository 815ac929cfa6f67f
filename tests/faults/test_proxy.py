"""proxy.py and network.py: links do to bytes what their weather says, and count it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from random import Random

import pytest

from infra.stack.addresses import free_ports
from tests.faults.proxy import Link, LinkPlan
from tests.faults.weather import CALM, Weather

PATIENCE_S = 10.0
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def link_to_echo(servers: int = 1, dead_first: bool = False) -> AsyncIterator[tuple[Link, int]]:
    """A link in front of servers that say what they are told, and its port."""
    port, dead = free_ports(2)

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(1024):
                writer.write(data)
        writer.close()

    echoes = [await asyncio.start_server(echo, "127.0.0.1", 0) for _ in range(servers)]
    addresses = [server.sockets[0].getsockname() for server in echoes]
    link = Link(LinkPlan(port, [("127.0.0.1", dead), *addresses] if dead_first else addresses), Random(1))
    front = await asyncio.start_server(link.accept, "127.0.0.1", port)
    async with asyncio.timeout(PATIENCE_S):
        yield link, port
        for server in (front, *echoes):
            server.close()
        while len(asyncio.all_tasks()) > 1:  # connections that end because their clients have
            await asyncio.sleep(0)


@asynccontextmanager
async def caller(port: int) -> AsyncIterator[Streams]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def said(streams: Streams, text: bytes) -> bytes:
    reader, writer = streams
    writer.write(text)
    return await reader.readexactly(len(text))


async def test_bytes_pass_unchanged() -> None:
    """In calm weather a link is not noticed, however much passes."""
    async with link_to_echo() as (link, port), caller(port) as streams:
        text = bytes(range(256)) * 2_000
        assert await said(streams, text) == text
        assert link.counts.passed_bytes == 2 * len(text)
        assert (link.counts.reset, link.counts.held, link.counts.slowed) == (0, 0, 0)


async def test_a_cut_resets_what_is_open_and_what_comes() -> None:
    """Both ends see their connection end; a later one passes again once it is calm."""
    async with link_to_echo() as (link, port):
        async with caller(port) as streams:
            await said(streams, b"before")
            link.set_weather(Weather(cut=True))
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await said(streams, b"during")
        async with caller(port) as streams:
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await said(streams, b"during")
        assert link.counts.reset >= 2
        link.set_weather(CALM)
        async with caller(port) as streams:
            assert await said(streams, b"after") == b"after"


@pytest.mark.parametrize("weather", [Weather(hold_up=True), Weather(hold_down=True)])
async def test_held_bytes_pass_when_the_weather_changes(weather: Weather) -> None:
    """Nothing comes while one direction is held, nothing is lost afterwards."""
    async with link_to_echo() as (link, port), caller(port) as streams:
        await said(streams, b"before")
        link.set_weather(weather)
        waiting = asyncio.create_task(said(streams, b"during"))
        while not link.counts.held:
            await asyncio.sleep(0)
        assert not waiting.done()
        link.set_weather(CALM)
        assert await waiting == b"during"


async def test_slow_weather_delays_but_keeps_the_order() -> None:
    """Every byte arrives, in order, no sooner than the delay allows."""
    async with link_to_echo() as (link, port), caller(port) as streams:
        link.set_weather(Weather(delay_s=0.05, jitter_s=0.02))
        began = asyncio.get_running_loop().time()
        assert await said(streams, b"one") + await said(streams, b"two") == b"onetwo"
        assert asyncio.get_running_loop().time() - began >= 4 * 0.05
        assert link.counts.slowed >= 4


async def test_a_dead_server_is_passed_over() -> None:
    """A connection goes to the next server if one takes none."""
    async with link_to_echo(servers=2, dead_first=True) as (_, port):
        for _ in range(4):
            async with caller(port) as streams:
                assert await said(streams, b"hello") == b"hello"


async def test_a_balancer_passes_over_who_says_that_he_takes_nobody() -> None:
    """If nobody takes anybody, they take turns as ever: that too is an answer."""
    states = {"200 OK": True, "503 Service Unavailable": True}
    ports = free_ports(1)

    def server(name: str) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(OSError):
                line = await reader.readline()
                status = name if states[name] else "503 Service Unavailable"
                writer.write(f"HTTP/1.1 {status}\r\n\r\n".encode() if b"/readyz" in line else name.encode())
            writer.close()

        return answer

    servers = [await asyncio.start_server(server(name), "127.0.0.1", 0) for name in states]
    addresses = [server.sockets[0].getsockname() for server in servers]
    link = Link(LinkPlan(ports[0], addresses, balanced=True), Random(1))
    front = await asyncio.start_server(link.accept, "127.0.0.1", ports[0])

    async def reached() -> bytes:
        async with caller(ports[0]) as (reader, writer):
            writer.write(b"hello\n")
            return await reader.read()

    async with asyncio.timeout(PATIENCE_S):
        assert {await reached() for _ in range(4)} == {b"200 OK"}
        states["200 OK"] = False
        assert {await reached() for _ in range(4)} == {name.encode() for name in states}
    for one in (front, *servers):
        one.close()
