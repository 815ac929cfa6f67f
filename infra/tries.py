"""A few tries for what a process needs to start: then it, and often its machine, is at its slowest."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from schemas.errors import Unavailable

__all__ = ["STARTUP_TRIES", "in_a_few_tries"]

T = TypeVar("T")

STARTUP_TRIES: Final = 5
STARTUP_PAUSE_S: Final = 0.5


async def in_a_few_tries(attempt: Callable[[], Awaitable[T]]) -> T:
    """What the first attempt returns that finds its engine; raises the `Unavailable` of the last one.

    At most `STARTUP_TRIES`, half a second apart. For steps that may be repeated.
    """
    for _ in range(STARTUP_TRIES - 1):
        try:
            return await attempt()
        except Unavailable:
            await asyncio.sleep(STARTUP_PAUSE_S)
    return await attempt()
