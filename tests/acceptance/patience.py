"""Waiting for what must come true, however busy the machine is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

__all__ = ["PATIENCE_S", "eventually", "until"]

T = TypeVar("T")

PATIENCE_S: Final = 45.0
"""Far more than anything takes that works."""
_PAUSE_S: Final = 0.05


async def eventually(holds: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    """Return when it holds; a test whose condition never comes true fails here."""
    async with asyncio.timeout(patience_s):
        while not holds():
            await asyncio.sleep(_PAUSE_S)


async def until(
    ask: Callable[[], Awaitable[T]], holds: Callable[[T], bool], patience_s: float = PATIENCE_S
) -> T:
    """Ask again until the answer is as it should be, and return it; the failure shows the last one."""
    last: T | None = None
    try:
        async with asyncio.timeout(patience_s):
            while True:
                last = await ask()
                if holds(last):
                    return last
                await asyncio.sleep(_PAUSE_S)
    except TimeoutError:
        raise AssertionError(f"after {patience_s:g} s it is still {last!r}") from None
