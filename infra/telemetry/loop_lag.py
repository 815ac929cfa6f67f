"""How late the event loop is: the wait that everything on it has in common."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from infra.telemetry.histogram import BatchHistogram

__all__ = ["watch_loop"]

_INTERVAL_S: Final = 0.25
_LATE = BatchHistogram("im_loop_lag_seconds", "How much later than asked a timer of the loop ran.").labels()


async def watch_loop() -> None:
    """Ask to be woken four times a second, and count how late that was, until cancelled."""
    while True:
        asked = time.monotonic() + _INTERVAL_S
        await asyncio.sleep(_INTERVAL_S)
        _LATE.observe(max(0.0, time.monotonic() - asked))
