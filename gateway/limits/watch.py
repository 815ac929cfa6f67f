"""Looks at the process ten times a second, so that admission knows how things stand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import psutil

from gateway.limits.admission import Admission
from gateway.limits.metrics import LimitMetrics
from gateway.limits.pace import WINDOW_S
from gateway.limits.pressure import Snapshot
from infra.clock import Clock

__all__ = ["Watch"]

_MEMORY_EVERY: Final = 10
"""Looks between two readings of the memory (30 µs each)."""


class Watch:
    """`backlog` tells how many records and bytes wait for the log, and for how many seconds."""

    def __init__(
        self,
        admission: Admission,
        backlog: Callable[[], tuple[int, int, float]],
        clock: Clock,
        metrics: LimitMetrics,
    ) -> None:
        self._admission = admission
        self._backlog = backlog
        self._clock = clock
        self._metrics = metrics
        self._process = psutil.Process()
        self.intake_late_s: Callable[[], float] = lambda: 0.0
        """How long what a socket brought has waited by now for its turn."""

    async def run(self) -> None:
        """Look until cancelled."""
        looks, memory_bytes = 0, 0
        while True:
            due = self._clock.monotonic() + WINDOW_S
            await asyncio.sleep(WINDOW_S)
            if looks % _MEMORY_EVERY == 0:
                memory_bytes = self._process.memory_info().rss
            looks += 1
            now = self._clock.monotonic()
            late_s = max(0.0, now - due) + self.intake_late_s()
            self._admission.observe(Snapshot(memory_bytes, late_s, *self._backlog()), now)
            self._report()

    def _report(self) -> None:
        admission = self._admission
        self._metrics.level.set(admission.pressure.level)
        if admission.pace is not None:
            self._metrics.pace_per_s.set(admission.pace.per_s or 0)
            self._metrics.path_s.set(admission.pace.delay_ms / 1000)
