"""The network between one process and one engine, or between the gateways and everybody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from random import Random

from tests.faults.arena import ENGINES, Arena
from tests.faults.nemesis.fault import Fault, Make
from tests.faults.network import FRONT, link_name
from tests.faults.weather import CALM, Counts, Weather

__all__ = ["BadWeather", "EngineAway", "away", "bad_weather", "clients_cut"]


class BadWeather(Fault):
    """A link with weather. It holds when the proxy has reset, held back or slowed something on it."""

    hold_timeout_s = 30.0

    def __init__(self, arena: Arena, link: str, weather: Weather, lasts_s: float) -> None:
        super().__init__(arena, link)
        self.lasts_s = lasts_s
        self._weather = weather
        self._before = Counts()

    async def inject(self) -> None:
        self._before = await self.arena.network.counts(self.target)
        await self.arena.network.set_weather(self.target, self._weather)

    async def took_hold(self) -> str | None:
        now, before = await self.arena.network.counts(self.target), self._before
        changes = {
            "connections reset": now.reset - before.reset,
            "chunks held": now.held - before.held,
            "chunks slowed": now.slowed - before.slowed,
        }
        return ", ".join(f"{count} {what}" for what, count in changes.items() if count) or None

    async def heal(self) -> None:
        self._before = await self.arena.network.set_weather(self.target, CALM)

    async def healed(self) -> str | None:
        passed = (await self.arena.network.counts(self.target)).passed_bytes - self._before.passed_bytes
        return f"{passed} bytes passed" if passed else None


class ClientsCut(BadWeather):
    """Every client's connection is reset at once, and all may come back at once."""

    def __init__(self, arena: Arena) -> None:
        super().__init__(arena, FRONT, Weather(cut=True), 0.0)

    async def inject(self) -> None:
        await super().inject()
        await asyncio.sleep(0)
        await self.arena.network.set_weather(self.target, CALM)


class EngineAway(Fault):
    """An engine that nobody reaches: every connection to it is reset, and every new one too."""

    def __init__(self, arena: Arena, engine: str, lasts_s: float) -> None:
        super().__init__(arena, engine)
        self.lasts_s = lasts_s
        self._links = [link_name(process, engine) for process in arena.network.processes]
        self._reset = 0
        self._passed_bytes = 0

    async def inject(self) -> None:
        self._reset = (await self._counts()).reset
        await self._set(Weather(cut=True))

    async def took_hold(self) -> str | None:
        reset = (await self._counts()).reset - self._reset
        return f"{reset} connections reset on {len(self._links)} links" if reset else None

    async def heal(self) -> None:
        self._passed_bytes = (await self._counts()).passed_bytes
        await self._set(CALM)

    async def healed(self) -> str | None:
        passed = (await self._counts()).passed_bytes - self._passed_bytes
        return f"{passed} bytes passed" if passed else None

    async def _set(self, weather: Weather) -> None:
        for link in self._links:
            await self.arena.network.set_weather(link, weather)

    async def _counts(self) -> Counts:
        """Those of all links together."""
        each = [await self.arena.network.counts(link) for link in self._links]
        return Counts(
            reset=sum(counts.reset for counts in each),
            passed_bytes=sum(counts.passed_bytes for counts in each),
        )


def bad_weather(
    processes: Sequence[str], describe: Callable[[Random], Weather], least_s: float, most_s: float
) -> Make:
    """On the link between one of these processes and one of the engines."""

    def make(arena: Arena, random: Random) -> Fault:
        link = link_name(random.choice(processes), random.choice(ENGINES))
        return BadWeather(arena, link, describe(random), random.uniform(least_s, most_s))

    return make


def clients_cut(arena: Arena, _: Random) -> Fault:
    return ClientsCut(arena)


def away(engine: str, lasts_s: float) -> Make:
    """Longer than any session, lease or patience with a single request."""
    return lambda arena, _: EngineAway(arena, engine, lasts_s)
