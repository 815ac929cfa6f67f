"""How often a broker that is away is asked whether it is back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from aiokafka.client import AIOKafkaClient

__all__ = ["PAUSE_S", "reconnect_calmly"]

PAUSE_S: Final = 0.25


@dataclass(slots=True)
class _Way:
    """To one broker, for one purpose."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    tries: int = 0
    away: bool = False
    """Whether the last try failed."""
    failed_at: float = 0.0
    """Monotonic seconds."""


def reconnect_calmly(client: AIOKafkaClient) -> None:
    """Have this client of the driver try a broker that is away at most four times a second and purpose.

    Each of the driver's loops (metadata, fetching, coordinator, heartbeat) tries by itself every 100 ms, and
    has no back-off like the Java client's `reconnect.backoff.ms`: a worker of three stages made 250
    connections a second to a dead broker, which took 25 s to start on the machine it shared with all of
    them. Whoever asks meanwhile waits for the next try and its outcome: some of those loops have no pause.
    """
    connect: Callable[..., Awaitable[Any]] = client._get_conn
    ways: dict[tuple[Any, ...], _Way] = {}

    async def connect_calmly(*place: Any, **options: Any) -> Any:
        way = ways.setdefault((*place, *options.values()), _Way())
        if not way.away:
            return await attempt(way, *place, **options)
        tries = way.tries
        async with way.turn:
            if way.tries == tries:
                await asyncio.sleep(way.failed_at + PAUSE_S - time.monotonic())
            elif way.away:  # somebody has just tried
                return None
            return await attempt(way, *place, **options)

    async def attempt(way: _Way, *place: Any, **options: Any) -> Any:
        connection = await connect(*place, **options)
        way.tries += 1
        way.away, way.failed_at = connection is None, time.monotonic()
        return connection

    client._get_conn = connect_calmly
