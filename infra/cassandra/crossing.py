"""From the driver's thread to the event loop: one wake-up for all results that have come in meanwhile."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

__all__ = ["Crossing"]

Arrival = Callable[[], None]


class Crossing:
    """Runs callables of other threads on the event loop, in the order they came.

    A wake-up is a write to a pipe and a turn of the loop, so whoever comes while one is on its way
    joins it. What comes after the loop has closed is dropped: nobody waits for it any more.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop: Final = loop
        self._arrivals: deque[Arrival] = deque()
        self._waking = False

    def run_soon(self, arrival: Arrival) -> None:
        """Run this on the loop; may be called from any thread."""
        self._arrivals.append(arrival)
        if self._waking or self._loop.is_closed():
            return
        self._waking = True
        self._loop.call_soon_threadsafe(self._run)

    def _run(self) -> None:
        # Lowered first: whoever adds after the last look below sees it lowered and wakes the loop again.
        self._waking = False
        while self._arrivals:
            self._arrivals.popleft()()
