"""A process is found for as long as it says so."""

from __future__ import annotations

import asyncio

import pytest

from infra.announcing import keep_announced, reachable_address
from infra.clock import ManualClock
from infra.memory.routes import MemoryRouteTable
from infra.ports import Announced
from schemas.errors import Unavailable

HERE = Announced("gateway", "gw-1", "127.0.0.1:8080")


class Lost(MemoryRouteTable):
    """A table that does not answer the first time."""

    async def announce(self, process: Announced, ttl_s: float) -> None:
        if not hasattr(self, "asked"):
            self.asked = asyncio.Event()
            self.asked.set()
            raise Unavailable("away")
        await super().announce(process, ttl_s)


async def test_a_process_is_found_at_once() -> None:
    """The first announcement does not wait."""
    table = MemoryRouteTable(ManualClock())
    task = asyncio.create_task(keep_announced(table, HERE))
    async with asyncio.timeout(5):
        while await table.announced() != [HERE]:
            await asyncio.sleep(0)
    task.cancel()


async def test_a_table_that_is_away_ends_nothing() -> None:
    """Whoever watches misses the process for a while; the process goes on."""
    table = Lost(ManualClock())
    task = asyncio.create_task(keep_announced(table, HERE))
    async with asyncio.timeout(5):
        while not hasattr(table, "asked"):
            await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not task.done()
    task.cancel()


@pytest.mark.parametrize("host", ["127.0.0.1", "gw.example"])
def test_a_named_host_is_told_as_it_is(host: str) -> None:
    """Only a wildcard is replaced by the machine's name."""
    assert reachable_address(host, 9) == f"{host}:9"
    assert not reachable_address("0.0.0.0", 9).startswith("0.0.0.0")
