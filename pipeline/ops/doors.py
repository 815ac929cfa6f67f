"""The engines a command needs, open while it runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Literal

from infra.cassandra import CassandraHistory
from infra.clock import SystemClock
from infra.kafka import KafkaBus
from infra.redis import RedisRouteTable
from infra.settings import Settings
from pipeline.topology import Doors

__all__ = ["open_doors"]


@asynccontextmanager
async def open_doors(
    settings: Settings, *needed: Literal["bus", "routes", "history"]
) -> AsyncIterator[Doors]:
    """The doors that are named are open; what uses another one meets `Unavailable`.

    Raises `Unavailable` naming the engine that does not answer.
    """
    clock = SystemClock()
    doors = Doors(
        settings,
        clock,
        KafkaBus(settings, client_id="im-ops"),
        RedisRouteTable(settings, clock),
        CassandraHistory(settings),
    )
    async with AsyncExitStack() as opened:
        for name in needed:
            door = getattr(doors, name)
            opened.push_async_callback(door.shutdown)
            await door.startup()
        yield doors
