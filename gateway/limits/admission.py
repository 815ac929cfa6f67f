"""Whether one more connect or send can be carried at all: pressure inside, pace of the pipeline. Pure."""

from __future__ import annotations

from typing import Final

from gateway.limits.pace import Pace
from gateway.limits.pressure import Pressure, Snapshot
from gateway.limits.priority import Priority

__all__ = ["Admission"]

PRESSED_MS: Final = 1_000
"""When to try again what a gateway under pressure refused."""


class Admission:
    """Says no before anything is taken, so nothing that was taken is ever dropped.

    `pace` None: sends are not paced by the pipeline (IM_LIMITS=off); pressure is always heeded.
    """

    def __init__(self, pressure: Pressure, pace: Pace | None) -> None:
        self.pressure = pressure
        self.pace = pace

    @property
    def refuses_connects(self) -> bool:
        return self.pressure.refuses_connects

    def take(self, priority: Priority, now: float) -> int:
        """0 if a send of this priority goes on, otherwise when to try it again."""
        if self.pressure.level and self.pressure.refuses(priority):
            return PRESSED_MS
        return self.pace.take(priority, now) if self.pace is not None else 0

    def ended(self, count: int, delay_ms: float) -> None:
        """So many sends of this gateway got their place, the latest after this time."""
        if self.pace is not None:
            self.pace.ended(count, delay_ms)

    def observe(self, seen: Snapshot, now: float) -> None:
        """A window is over."""
        self.pressure.observe(seen)
        if self.pace is not None:
            self.pace.observe(now, 1000 * seen.waiting_s, 1000 * seen.lag_s)
