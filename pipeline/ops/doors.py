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
from infra.together import all_ended
from pipeline.topology import Doors

__all__ = ["open_doors"]


@asynccontextmanager
async def open_doors(
    settings: Settings, *needed: Literal["bus", "routes", "history"]
) -> AsyncIterator[Doors]:
    """The doors that are named are open; what uses another one meets `Unavailable`.

    They are opened side by side: a command waits for the slowest engine only. Raises `Unavailable` naming
    an engine that does not answer.
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
        wanted = [getattr(doors, name) for name in needed]
        for door in wanted:
            opened.push_async_callback(door.shutdown)
        await all_ended(*(door.startup() for door in wanted))
        yield doors
