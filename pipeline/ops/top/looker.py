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
from infra.ports import Announced, Bus, RouteTable
from infra.redis import RedisRouteTable
from infra.settings import Settings
from infra.telemetry.scrape import scrape
from pipeline.ops.accounts.audit import Account
from pipeline.ops.accounts.ledger_view import newest_account
from pipeline.ops.top.figures import Offsets, Top, Watch, figures
from pipeline.topology import STAGES, group_of
from schemas.errors import Unavailable

__all__ = ["Looker", "open_looker"]

_STAGES: Final = [spec.name for spec in STAGES]


class Looker:
    """Finds the processes by what they announce, the groups by what the log knows of them, and what the
    ledger reported."""

    def __init__(self, bus: Bus, routes: RouteTable, http: aiohttp.ClientSession) -> None:
        self._bus = bus
        self._routes = routes
        self._http = http
        self._known: list[Announced] = []
        self._account: Account | None = None

    async def watch(self) -> Watch:
        """One look at everything. An engine that is away is named; the rest is shown all the same."""
        away: list[str] = []
        groups: dict[str, Offsets] = {}
        try:
            self._known = await self._routes.announced()
            self._account = await newest_account(self._routes)
        except Unavailable as error:
            away.append(str(error))
        try:
            groups = await self._groups()
        except Unavailable as error:
            away.append(str(error))
        seen = await scrape(self._http, self._known)
        silent = [process for process in self._known if process not in seen]
        return Watch(seen, silent, groups, self._account, away)

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
