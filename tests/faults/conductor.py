"""Drives faults one after the other: inject, see it hold, heal, see that it is over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from schemas.errors import ImError
from tests.faults.folder import Lines
from tests.faults.history import Began, Healed, Held
from tests.faults.nemesis.fault import Fault, observe
from tests.faults.schedule import Turn

__all__ = ["Conductor", "Strike"]

INJECT_TIMEOUT_S: Final = 180.0


@dataclass(slots=True)
class Strike:
    """What came of one fault. Times are monotonic; None: it never came to that."""

    fault: str
    kind: str
    target: str
    began_at: float
    held: str | None = None
    healed_at: float | None = None
    back: str | None = None
    """What was seen when everything was as before."""
    back_at: float | None = None
    trouble: str = ""


class Conductor:
    """Strikes until told to stop; a fault that is under way then is healed first."""

    def __init__(self, make: Callable[[Turn], Fault], log: Lines, show: Callable[[str], None]) -> None:
        self.strikes: list[Strike] = []
        self._make = make
        self._log = log
        self._show = show

    async def run(self, turns: Iterator[Turn], until: float) -> None:
        """Begin no fault after `until` (monotonic)."""
        for turn in turns:
            self._show("calm")
            await asyncio.sleep(max(0.0, min(turn.wait_s, until - time.monotonic())))
            if time.monotonic() >= until:
                return
            await self._strike(turn)

    async def _strike(self, turn: Turn) -> None:
        fault = self._make(turn)
        name = f"{turn.kind}-{len(self.strikes) + 1}"
        strike = Strike(name, turn.kind, fault.target, time.monotonic())
        self.strikes.append(strike)
        self._log.write(Began(t=strike.began_at, fault=name, kind=turn.kind, target=fault.target))
        self._show(f"{turn.kind} {fault.target}")
        try:
            await self._hold(fault, strike)
        except (ImError, OSError, TimeoutError) as error:
            strike.trouble = f"{type(error).__name__}: {error}"
        finally:
            await asyncio.shield(self._heal(fault, strike))
        self._show(f"{turn.kind} {fault.target}: recovering")
        strike.back = await observe(fault.healed, fault.heal_timeout_s)
        strike.back_at = time.monotonic() if strike.back else None

    async def _hold(self, fault: Fault, strike: Strike) -> None:
        async with asyncio.timeout(INJECT_TIMEOUT_S):
            await fault.inject()
        strike.held = await observe(fault.took_hold, fault.hold_timeout_s)
        if strike.held is not None:
            self._log.write(Held(t=time.monotonic(), fault=strike.fault, evidence=strike.held))
            await asyncio.sleep(fault.lasts_s)

    async def _heal(self, fault: Fault, strike: Strike) -> None:
        try:
            async with asyncio.timeout(fault.undo_timeout_s):
                await fault.heal()
        except (ImError, OSError, TimeoutError) as error:
            strike.trouble = f"heal: {type(error).__name__}: {error}"
        strike.healed_at = time.monotonic()
        self._log.write(Healed(t=strike.healed_at, fault=strike.fault))
