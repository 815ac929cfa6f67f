"""What a fault is: done to one target, seen to hold, undone, seen to be over. After Jepsen's nemesis."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from random import Random
from typing import Final

from tests.faults.arena import Arena

__all__ = ["ENGINE_START_S", "LOOK_S", "Fault", "Make", "observe"]

LOOK_S: Final = 0.1
ENGINE_START_S: Final = 180.0
"""A JVM on a machine that is shared with others."""


class Fault(ABC):
    """One injection. Who drives it calls the four verbs in order, `heal` in any case.

    `took_hold` and `healed` say what was observed, not what was asked for; None: not (yet) seen.
    """

    lasts_s: float = 0.0
    """From being seen to hold until it is healed."""
    hold_timeout_s: float = 10.0
    undo_timeout_s: float = 30.0
    """For `heal`."""
    heal_timeout_s: float = 180.0
    """From then until `healed` sees that it is over."""

    def __init__(self, arena: Arena, target: str) -> None:
        self.arena = arena
        self.target = target

    @abstractmethod
    async def inject(self) -> None: ...

    @abstractmethod
    async def took_hold(self) -> str | None: ...

    @abstractmethod
    async def heal(self) -> None:
        """Take the cause away. Does no harm if it is gone already, or never was."""

    @abstractmethod
    async def healed(self) -> str | None: ...


Make = Callable[[Arena, Random], Fault]
"""Chooses a target, and how hard to hit it."""


async def observe(look: Callable[[], Awaitable[str | None]], timeout_s: float) -> str | None:
    """Look until there is something to see, or the time is over."""
    try:
        async with asyncio.timeout(timeout_s):
            while (seen := await look()) is None:
                await asyncio.sleep(LOOK_S)
            return seen
    except TimeoutError:
        return None
