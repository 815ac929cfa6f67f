"""What an engine forgets, and the disk under it."""

from __future__ import annotations

import asyncio
from contextlib import closing
from random import Random
from typing import Final

from infra.stack.addresses import local_addresses
from tests.faults.arena import Arena
from tests.faults.nemesis.fault import ENGINE_START_S, LOOK_S, Fault

__all__ = ["DiskFull", "FlushRedis", "disk_full", "flush_redis"]

REPLY_TIMEOUT_S: Final = 5.0
GONE_MEANWHILE: Final = 2
"""Users who may have left just then, and need no route any more."""


class FlushRedis(Fault):
    """FLUSHALL: routes, leases, inboxes, heads and watermarks are gone in one moment."""

    async def inject(self) -> None:
        self._located = await self._locate()
        self._before = await self._ask("DBSIZE")
        self._reply = await self._ask("FLUSHALL")

    async def took_hold(self) -> str | None:
        return f"DBSIZE was {self._before}, FLUSHALL answered {self._reply}" if self._reply == "+OK" else None

    async def heal(self) -> None:
        """What was there is made again by those who need it."""

    async def healed(self) -> str | None:
        now = await self._locate()
        return f"{now} users are located again" if now >= self._located - GONE_MEANWHILE else None

    async def _locate(self) -> int:
        """How many users have a route: the head of the reply says how many lines follow."""
        return int((await self._ask("KEYS route:*")).removeprefix("*"))

    async def _ask(self, command: str) -> str:
        address = local_addresses(self.arena.settings)["IM_REDIS"]
        async with asyncio.timeout(REPLY_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(*address)
            with closing(writer):
                writer.write(f"{command}\r\n".encode())
                return (await reader.readline()).decode().strip()


class DiskFull(Fault):
    """No room is left under Kafka's log; it comes back while the broker fails or after it has died."""

    hold_timeout_s = 20.0
    undo_timeout_s = ENGINE_START_S

    def __init__(self, arena: Arena, lasts_s: float) -> None:
        super().__init__(arena, "kafka")
        self.lasts_s = lasts_s

    async def inject(self) -> None:
        self._pid = self.arena.pids.get("kafka")
        self.arena.disk.fill()

    async def took_hold(self) -> str | None:
        if self.arena.pids.get("kafka") != self._pid:
            return f"broker {self._pid} ended, {self.arena.disk.free_bytes} bytes are free"
        return None

    async def heal(self) -> None:
        if self.arena.disk.available:
            self.arena.disk.empty()
        while not await self.arena.is_ready("kafka"):
            await asyncio.sleep(LOOK_S)

    async def healed(self) -> str | None:
        return "the broker answers" if await self.arena.is_ready("kafka") else None


def flush_redis(arena: Arena, _: Random) -> Fault:
    return FlushRedis(arena, "redis")


def disk_full(arena: Arena, random: Random) -> Fault:
    return DiskFull(arena, random.uniform(0.5, 3.0))
