"""Consumer groups that never come to rest."""

from __future__ import annotations

import asyncio
import signal
from random import Random
from typing import Final

from infra.stack.process import ChildProcess
from schemas.errors import Unavailable
from tests.faults.arena import Arena
from tests.faults.nemesis.fault import Fault

__all__ = ["RebalanceStorm", "rebalance_storm"]

LIVES_S: Final = 3.0


class RebalanceStorm(Fault):
    """Workers with all stages join and leave again and again, some politely, some killed."""

    hold_timeout_s = 150.0
    undo_timeout_s = 60.0

    def __init__(self, arena: Arena, random: Random, joins: int) -> None:
        super().__init__(arena, f"{joins} joins")
        self._random = random
        self._joins = joins
        self._joined = 0
        self._storm: asyncio.Task[None] | None = None
        self._running: ChildProcess | None = None

    async def inject(self) -> None:
        self._storm = asyncio.create_task(self._blow())

    async def took_hold(self) -> str | None:
        assert self._storm is not None
        if not self._storm.done():
            return None
        self._storm.result()
        return f"{self._joined} workers were ready, and left" if self._joined else None

    async def heal(self) -> None:
        if self._storm is not None:
            self._storm.cancel()
            await asyncio.wait([self._storm])
        if self._running is not None:
            await self._running.stop()

    async def healed(self) -> str | None:
        return "none of them runs" if self._running is None or not self._running.running else None

    async def _blow(self) -> None:
        for number in range(self._joins):
            worker = self._running = self.arena.extra_worker(f"storm-{number}")
            await worker.start()
            try:
                await worker.wait_ready()
            except Unavailable:
                continue  # it may come too late for this storm; those that are ready count
            finally:
                await asyncio.sleep(self._random.uniform(0.5, LIVES_S))
                await (worker.stop() if self._random.random() < 0.5 else _kill(worker))
            self._joined += 1


async def _kill(worker: ChildProcess) -> None:
    worker.signal(signal.SIGKILL)
    await worker.wait()


def rebalance_storm(arena: Arena, random: Random) -> Fault:
    return RebalanceStorm(arena, random, random.randint(2, 3))
