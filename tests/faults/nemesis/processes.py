"""Processes that die, are told to go, or stand still."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from random import Random

from schemas.errors import Unavailable
from tests.faults.arena import Arena
from tests.faults.nemesis.fault import ENGINE_START_S, LOOK_S, Fault, Make

__all__ = ["Kill", "KillEngine", "Pause", "Restart", "kill", "kill_engine", "pause", "restart"]


class Kill(Fault):
    """SIGKILL; the supervisor starts it again, as it would after a crash."""

    async def inject(self) -> None:
        if self.target not in self.arena.pids:
            raise Unavailable(f"{self.target} does not run just now")
        self._pid = self.arena.pids[self.target]
        self.arena.kill(self.target)

    async def took_hold(self) -> str | None:
        now = self.arena.pids.get(self.target)
        return None if now == self._pid else f"pid {self._pid} is gone"

    async def heal(self) -> None:
        """It is being started again by itself."""

    async def healed(self) -> str | None:
        if await self.arena.is_ready(self.target):
            return f"ready again as pid {self.arena.pids.get(self.target)}"
        return None


class KillEngine(Kill):
    """SIGKILL of an engine. It is a fault for as long as the engine needs to start, which is not ours."""

    undo_timeout_s = ENGINE_START_S

    async def heal(self) -> None:
        while not await self.arena.is_ready(self.target):
            await asyncio.sleep(LOOK_S)


class Restart(Fault):
    """SIGTERM, and a new start when it has ended: each target in its turn, as a deploy goes."""

    def __init__(self, arena: Arena, targets: Sequence[str]) -> None:
        super().__init__(arena, " ".join(targets))
        self._targets = targets
        self._before: dict[str, int] = {}

    async def inject(self) -> None:
        self._before = {name: self.arena.pids[name] for name in self._targets if name in self.arena.pids}
        for name in self._targets:
            await self.arena.restart(name)

    async def took_hold(self) -> str | None:
        now = self.arena.pids
        if any(now.get(name) == pid for name, pid in self._before.items()):
            return None
        return ", ".join(f"{name}: pid {pid} ended" for name, pid in self._before.items())

    async def heal(self) -> None:
        """`restart` returns when the new process is ready."""

    async def healed(self) -> str | None:
        for name in self._targets:
            if not await self.arena.is_ready(name):
                return None
        return "all ready"


class Pause(Fault):
    """SIGSTOP, and SIGCONT later. Longer than its session, a worker wakes up as a zombie."""

    def __init__(self, arena: Arena, target: str, lasts_s: float) -> None:
        super().__init__(arena, target)
        self.lasts_s = lasts_s

    async def inject(self) -> None:
        self.arena.signal(self.target, signal.SIGSTOP)

    async def took_hold(self) -> str | None:
        return "the kernel says T (stopped)" if self.arena.is_stopped(self.target) else None

    async def heal(self) -> None:
        self.arena.signal(self.target, signal.SIGCONT)

    async def healed(self) -> str | None:
        if self.arena.is_stopped(self.target) or not await self.arena.is_ready(self.target):
            return None
        return "answers again"


def kill(names: Sequence[str]) -> Make:
    return lambda arena, random: Kill(arena, random.choice(names))


def kill_engine(name: str) -> Make:
    return lambda arena, _: KillEngine(arena, name)


def restart(names: Sequence[str], *, rolling: bool = False) -> Make:
    """One of them, or all, one after the other."""
    return lambda arena, random: Restart(arena, names if rolling else [random.choice(names)])


def pause(names: Sequence[str], least_s: float, most_s: float) -> Make:
    def make(arena: Arena, random: Random) -> Fault:
        return Pause(arena, random.choice(names), random.uniform(least_s, most_s))

    return make
