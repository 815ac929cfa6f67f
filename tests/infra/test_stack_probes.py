"""infra/stack/probes.py against servers that say yes, no, or nothing."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from infra.stack.addresses import Address, free_ports
from infra.stack.probes import cassandra_probe, http_probe, kafka_probe, redis_probe
from infra.stack.process import Probe

MakeProbe = Callable[[Address], Probe]

YES = [
    (kafka_probe, struct.pack(">iih", 6, 1, 0)),
    (redis_probe, b"+PONG\r\n"),
    (cassandra_probe, bytes((0x84, 0, 0, 0, 0x06, 0, 0, 0, 0))),
    (http_probe, b"HTTP/1.1 200 OK\r\n\r\n"),
]
NO = [
    (kafka_probe, struct.pack(">iih", 6, 1, 35)),
    (redis_probe, b"-LOADING Redis is loading the dataset in memory\r\n"),
    (cassandra_probe, bytes((0x84, 0, 0, 0, 0x00, 0, 0, 0, 0))),
    (http_probe, b"HTTP/1.1 503 Service Unavailable\r\n\r\n"),
]
PROBES = [make for make, _ in YES]


@asynccontextmanager
async def server_that_says(reply: bytes) -> AsyncIterator[Address]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1024)
        writer.write(reply)
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield Address(*server.sockets[0].getsockname())


@pytest.mark.parametrize(("make", "reply"), YES)
async def test_a_server_that_can_work_is_ready(make: MakeProbe, reply: bytes) -> None:
    """Its own protocol says so."""
    async with server_that_says(reply) as address:
        assert await make(address)()


@pytest.mark.parametrize(("make", "reply"), NO)
async def test_a_server_that_says_no_is_not_ready(make: MakeProbe, reply: bytes) -> None:
    """An open port alone is not enough."""
    async with server_that_says(reply) as address:
        assert not await make(address)()


@pytest.mark.parametrize("make", PROBES)
async def test_nobody_there_is_not_ready(make: MakeProbe) -> None:
    """A probe raises nothing."""
    assert not await make(Address("127.0.0.1", free_ports(1)[0]))()


@pytest.mark.parametrize("make", PROBES)
async def test_a_server_that_hangs_up_is_not_ready(make: MakeProbe) -> None:
    """Neither does an empty answer count."""
    async with server_that_says(b"") as address:
        assert not await make(address)()
