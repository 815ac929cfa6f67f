"""A short absence of an engine is waited for; a longer one is the operator's to hear of."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from schemas.errors import Unavailable

__all__ = ["patiently"]

T = TypeVar("T")

_TRIES: Final = 6
_PAUSE_S: Final = 0.2


async def patiently(attempt: Callable[[], Awaitable[T]]) -> T:
    """What the attempt returns, tried six times over some 6 s. Raises `Unavailable` after that."""
    pause_s = _PAUSE_S
    for _ in range(_TRIES - 1):
        try:
            return await attempt()
        except Unavailable:
            await asyncio.sleep(pause_s)
            pause_s *= 2
    return await attempt()
