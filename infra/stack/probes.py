"""Readiness probes: the smallest request of each protocol that only a server able to work answers.

A probe never raises: whatever goes wrong means "not yet".
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from contextlib import closing
from typing import Final

from infra.stack.addresses import Address
from infra.stack.process import Probe

__all__ = ["cassandra_probe", "http_probe", "kafka_probe", "redis_probe"]

PROBE_TIMEOUT_S: Final = 2.0
REPLY_BYTES: Final = 4_096

API_VERSIONS_V0: Final = struct.pack(">ihhih", 10, 18, 0, 1, -1)
"""Kafka: length, api key, version, correlation id, no client id."""
KAFKA_NO_ERROR: Final = struct.pack(">ih", 1, 0)
CQL_OPTIONS_V4: Final = struct.pack(">BBhBi", 0x04, 0, 0, 0x05, 0)
CQL_SUPPORTED: Final = bytes((0x84, 0, 0, 0, 0x06))


def kafka_probe(address: Address, tls: ssl.SSLContext | None = None) -> Probe:
    """Ready when the broker answers ApiVersions, which it does once it processes requests."""
    return lambda: _answers(address, API_VERSIONS_V0, (KAFKA_NO_ERROR,), offset=4, tls=tls)


def redis_probe(address: Address, tls: ssl.SSLContext | None = None) -> Probe:
    """Ready when it answers, also if it wants a password first."""
    return lambda: _answers(address, b"PING\r\n", (b"+PONG", b"-NOAUTH"), tls=tls)


def cassandra_probe(address: Address, tls: ssl.SSLContext | None = None) -> Probe:
    """Ready when the node answers OPTIONS: it opens its CQL port last."""
    return lambda: _answers(address, CQL_OPTIONS_V4, (CQL_SUPPORTED,), tls=tls)


def http_probe(address: Address, path: str = "/readyz") -> Probe:
    """Ready when a GET of the path answers 200."""
    request = f"GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode()
    return lambda: _answers(address, request, (b"HTTP/1.1 200 ",))


async def _answers(
    address: Address,
    request: bytes,
    expected: tuple[bytes, ...],
    offset: int = 0,
    tls: ssl.SSLContext | None = None,
) -> bool:
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(*address, ssl=tls)
            with closing(writer):
                writer.write(request)
                reply = await reader.read(REPLY_BYTES)
    except (OSError, TimeoutError):
        return False
    return reply[offset:].startswith(expected)
