"""Processes that get too little of the processor."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from random import Random
from typing import Final

from tests.faults.arena import Arena
from tests.faults.nemesis.fault import Fault, Make

__all__ = ["Starve", "starve"]

STOPPED_S: Final = 0.18
RUNNING_S: Final = 0.02
ENOUGH: Final = 10
"""Stops that the kernel must have shown before the fault holds."""


class Starve(Fault):
    """A process runs for a tenth of the time, as on a machine that is sold too often: stopped, let run,
    stopped again. No timeout is reached by standing still; everything just takes ten times as long."""

    def __init__(self, arena: Arena, target: str, lasts_s: float) -> None:
        super().__init__(arena, target)
        self.lasts_s = lasts_s
        self._stops = 0
        self._beat: asyncio.Task[None] | None = None

    async def inject(self) -> None:
        self._beat = asyncio.create_task(self._keep_short())

    async def took_hold(self) -> str | None:
        return f"{self._stops} times the kernel said T (stopped)" if self._stops >= ENOUGH else None

    async def heal(self) -> None:
        if self._beat is not None:
            self._beat.cancel()
            await asyncio.wait([self._beat])
        self.arena.signal(self.target, signal.SIGCONT)

    async def healed(self) -> str | None:
        if self.arena.is_stopped(self.target) or not await self.arena.is_ready(self.target):
            return None
        return "answers again"

    async def _keep_short(self) -> None:
        while True:
            self.arena.signal(self.target, signal.SIGSTOP)
            await asyncio.sleep(STOPPED_S)
            self._stops += self.arena.is_stopped(self.target)
            self.arena.signal(self.target, signal.SIGCONT)
            await asyncio.sleep(RUNNING_S)


def starve(names: Sequence[str], least_s: float, most_s: float) -> Make:
    def make(arena: Arena, random: Random) -> Fault:
        return Starve(arena, random.choice(names), random.uniform(least_s, most_s))

    return make
