"""Wall clocks that jump while a process runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from random import Random

import aiohttp

from tests.faults.arena import Arena
from tests.faults.nemesis.fault import Fault, Make

__all__ = ["ClockJump", "clock_jump"]


class ClockJump(Fault):
    """The clock of one process jumps, and back. Its HTTP answers tell what time it takes it for."""

    def __init__(self, arena: Arena, target: str, offset_s: int, lasts_s: float) -> None:
        super().__init__(arena, target)
        self.lasts_s = lasts_s
        self._offset_s = offset_s

    async def inject(self) -> None:
        self.arena.clocks.set(self.target, self._offset_s)

    async def took_hold(self) -> str | None:
        ahead_s = await self._ahead_s()
        if ahead_s is None or abs(ahead_s - self._offset_s) > abs(self._offset_s) / 2:
            return None
        return f"it dates its answers {ahead_s:+.0f} s"

    async def heal(self) -> None:
        self.arena.clocks.set(self.target, 0)

    async def healed(self) -> str | None:
        ahead_s = await self._ahead_s()
        if ahead_s is None or abs(ahead_s) > abs(self._offset_s) / 2:
            return None
        return f"it dates its answers {ahead_s:+.0f} s"

    async def _ahead_s(self) -> float | None:
        url = f"http://{self.arena.web_address(self.target)}/livez"
        timeout = aiohttp.ClientTimeout(total=2.0)
        try:
            async with aiohttp.ClientSession(timeout=timeout) as http, http.get(url) as answer:
                dated = parsedate_to_datetime(answer.headers["Date"])
        except (aiohttp.ClientError, OSError, TimeoutError, KeyError):
            return None
        return (dated - datetime.now(UTC)).total_seconds()


def clock_jump(names: Sequence[str], offsets_s: Sequence[int]) -> Make:
    def make(arena: Arena, random: Random) -> Fault:
        return ClockJump(arena, random.choice(names), random.choice(offsets_s), random.uniform(3.0, 8.0))

    return make
