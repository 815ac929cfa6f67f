"""Looking at everything that runs, again and again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import aiohttp

from infra.clock import SystemClock
from infra.kafka import KafkaBus
from infra.ports import Bus, RouteTable
from infra.redis import RedisRouteTable
from infra.settings import Settings
from infra.telemetry.scrape import scrape
from pipeline.ops.top_figures import Offsets, Top, Watch, figures
from pipeline.topology import STAGES, group_of

__all__ = ["Looker", "open_looker"]

_STAGES: Final = [spec.name for spec in STAGES]


class Looker:
    """Finds the processes by what they announce, and the groups by what the log knows of them."""

    def __init__(self, bus: Bus, routes: RouteTable, http: aiohttp.ClientSession) -> None:
        self._bus = bus
        self._routes = routes
        self._http = http

    async def watch(self) -> Watch:
        """One look at everything. Raises `Unavailable` if the log or the route table does not answer."""
        announced, groups = await asyncio.gather(self._routes.announced(), self._groups())
        seen = await scrape(self._http, announced)
        return Watch(seen, [process for process in announced if process not in seen], groups)

    async def tops(self, interval_s: float) -> AsyncGenerator[Top, None]:
        """The figures of each interval, without end."""
        before = await self.watch()
        while True:
            await asyncio.sleep(interval_s)
            after = await self.watch()
            yield figures(before, after, _STAGES)
            before = after

    async def _groups(self) -> dict[str, Offsets]:
        found = {}
        for spec in STAGES:
            group = group_of(spec.name)
            ends = await self._bus.ends(spec.reads)
            committed = await self._bus.committed(group, spec.reads)
            found[group] = Offsets(time.monotonic(), spec.reads, committed, ends)
        return found


@asynccontextmanager
async def open_looker(settings: Settings) -> AsyncIterator[Looker]:
    """A looker on the engines of these settings. Raises `Unavailable` naming the one that is away."""
    bus, routes = KafkaBus(settings, client_id="im-top"), RedisRouteTable(settings, SystemClock())
    try:
        await bus.startup()
        await routes.startup()
        async with aiohttp.ClientSession() as http:
            yield Looker(bus, routes, http)
    finally:
        await bus.shutdown()
        await routes.shutdown()
