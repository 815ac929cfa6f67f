"""Looking goes on while something is away: that is when it is needed."""

from __future__ import annotations

import aiohttp
import msgspec
from aiohttp import web
from aiohttp.test_utils import TestServer

from infra.clock import ManualClock
from infra.memory.bus import MemoryBus
from infra.memory.routes import MemoryRouteTable
from infra.ports import Announced
from pipeline.ops.accounts.audit import REPORT, Account
from pipeline.ops.top.figures import figures
from pipeline.ops.top.looker import Looker
from schemas.errors import Unavailable

ACCOUNT = Account(0, 60_000, 61_000, {}, 0, {"message-row": 2}, [])


class Flaky(MemoryRouteTable):
    """A table that can be made to stop answering."""

    away = False

    async def announced(self) -> list[Announced]:
        if self.away:
            raise Unavailable("Redis is away")
        return await super().announced()


async def metrics(_: web.Request) -> web.Response:
    return web.Response(text='im_stage_lag_records{stage="fanout",partition="0"} 4.0\n')


async def test_what_was_known_is_asked_while_redis_is_away() -> None:
    """Processes found before are still shown, and what the ledger said last; the silent process and the
    engine that is away are named."""
    clock = ManualClock()
    table = Flaky(clock)
    app = web.Application()
    app.add_routes([web.get("/metrics", metrics)])
    async with TestServer(app) as server, aiohttp.ClientSession() as http:
        await table.announce(Announced("worker", "w-1", f"{server.host}:{server.port}"), 60.0)
        await table.announce(Announced("worker", "w-2", "127.0.0.1:1"), 60.0)
        await table.put_report(REPORT, msgspec.json.encode(ACCOUNT), 60.0)
        looker = Looker(MemoryBus(1, clock), table, http)
        before = await looker.watch()
        table.away = True
        top = figures(before, await looker.watch(), ["fanout"])
    assert [p.name for p in top.silent] == ["w-2"]
    assert top.away == ["Redis is away"]
    assert top.unaccounted == {"message-row": 2}
    assert (top.stages[0].workers, top.stages[0].waiting) == (1, 4)
    assert {group.group for group in top.groups} >= {"im.fanout"}
