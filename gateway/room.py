"""How much room this gateway has, and what it says of itself to the others."""

from __future__ import annotations

import asyncio
from typing import Final, Literal

import psutil

from gateway.hub import Hub
from infra.clock import Clock
from infra.ports import GatewayNotice
from infra.settings import Settings
from schemas.codes import Code
from schemas.errors import Refused

__all__ = ["MAX_WEIGHT", "Room", "room_left"]

MAX_WEIGHT: Final = 1_000
LAST_RESORT: Final = 1
"""The weight of a gateway that is not ready: taken only where all others are no better."""
_LOOK_S: Final = 0.25
_SMOOTHING: Final = 0.1
"""Share of the newest look in the loop's lag: a pause of a second is forgotten within some three."""
_RETRY_MS: Final = 5_000
_MIB: Final = 1_048_576


def room_left(used: float, most: float) -> float:
    """The part of a resource that is free: 1 to 0, below 0 when there is too much."""
    return 1.0 - used / most


class Room:
    """Measures what limits this gateway: connections, memory, and how late its loop is.

    Past any of the limits it takes no new connection (503 with Retry-After); it leaves the set that clients
    choose from with the next renewal of its lease. Sessions that resume are always taken.
    """

    def __init__(self, settings: Settings, hub: Hub, clock: Clock) -> None:
        self._settings = settings
        self._hub = hub
        self._clock = clock
        self._process = psutil.Process()
        self.url = settings.public_url or ""
        """Where clients connect; without IM_PUBLIC_URL known once the port is open."""
        self._listening = False
        self.state: Literal["open", "draining", "drained"] = "open"
        self.ready = True
        self.memory_bytes = 0
        self.loop_lag_s = 0.0

    def opened(self, port: int) -> None:
        """The port is listened on."""
        if not self.url:
            self.url = f"ws://{self._settings.host}:{port}"
        self._listening = True

    @property
    def left(self) -> float:
        """The scarcest resource decides: 1 (nothing is used) to 0 (full) or below."""
        settings = self._settings
        return min(
            room_left(len(self._hub.sessions), settings.max_connections),
            room_left(self.memory_bytes, settings.max_memory_mib * _MIB),
            room_left(self.loop_lag_s * 1000, settings.max_loop_lag_ms),
        )

    def check(self) -> None:
        """Raises `Refused` if one more connection would be too much."""
        if self.left <= 0:
            raise Refused(Code.OVERLOADED, "this gateway is full", retry_after_ms=_RETRY_MS)

    def notice(self) -> GatewayNotice:
        """What the others are told."""
        left = self.left
        is_open = self._listening and self.state == "open" and left > 0
        weight = max(LAST_RESORT, round(MAX_WEIGHT * left)) if self.ready else LAST_RESORT
        return GatewayNotice(
            gateway_id=self._settings.gateway_id,
            url=f"{self.url.rstrip('/').removesuffix('/v1/ws')}/v1/ws",
            region=self._settings.region,
            state="full" if self.state == "open" and left <= 0 else self.state,
            weight=weight if is_open else 0,
            connections=len(self._hub.sessions),
            max_connections=self._settings.max_connections,
            memory_bytes=self.memory_bytes,
            loop_lag_ms=round(self.loop_lag_s * 1000),
        )

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            asked_at = self._clock.monotonic()
            await asyncio.sleep(_LOOK_S)
            late_s = max(0.0, self._clock.monotonic() - asked_at - _LOOK_S)
            self.loop_lag_s += _SMOOTHING * (late_s - self.loop_lag_s)
            self.memory_bytes = self._process.memory_info().rss
