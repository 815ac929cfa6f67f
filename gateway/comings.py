"""Devices that come and go: told to im.presence, and to the gateways where somebody watches the user."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final

import structlog

from gateway.session import Session
from infra.clock import Clock
from infra.ports import Bus, Outgoing, RouteTable
from schemas.codec import OUTBOUND, PRESENCE
from schemas.errors import Unavailable
from schemas.frames import JSON, Presence
from schemas.records import Outbound, PresenceChange
from schemas.topics import PRESENCE as PRESENCE_TOPIC
from schemas.topics import outbound_topic

__all__ = ["MAX_WAITING", "Comings"]

log = structlog.get_logger(__name__)

_GATHER_S: Final = 0.1
_BATCH: Final = 1_000
MAX_WAITING: Final = 20_000
"""Changes that wait to be told; above it the oldest are dropped: who watches finds them by looking again."""


class Comings:
    """Gathers changes for a tenth of a second, so that a storm of connects costs few calls.

    Presence may be lost: what an engine does not take is dropped after one try. It is said after the
    route is there (or gone), so whoever looks at the routes then sees it.
    """

    def __init__(self, bus: Bus, routes: RouteTable, clock: Clock, gateway_id: str) -> None:
        self._bus = bus
        self._routes = routes
        self._clock = clock
        self._gateway_id = gateway_id
        self._waiting: deque[PresenceChange] = deque(maxlen=MAX_WAITING)

    def came(self, session: Session) -> None:
        """Its route is there."""
        self._note(session, online=True)

    def went(self, session: Session) -> None:
        """Its route is gone."""
        self._note(session, online=False)

    async def run(self) -> None:
        """Tell what gathered, until cancelled."""
        while True:
            await asyncio.sleep(_GATHER_S)
            await self.flush()

    async def flush(self) -> None:
        """Tell everything that waits, now."""
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
            try:
                await self._tell(batch)
            except Unavailable as error:
                log.warning("presence dropped", changes=len(batch), error=str(error))

    def _note(self, session: Session, online: bool) -> None:
        self._waiting.append(
            PresenceChange(
                session.user_id,
                session.device_id,
                session.platform,
                self._gateway_id,
                session.id,
                online,
                self._clock.now_ms(),
            )
        )

    async def _tell(self, batch: Sequence[PresenceChange]) -> None:
        newest = {change.user_id: change for change in batch}
        watchers = await self._routes.note_seen(list(newest), self._clock.now_ms())
        hints = [
            _hint(gateway_id, newest[user_id])
            for user_id, gateway_ids in watchers.items()
            for gateway_id in gateway_ids
        ]
        await self._bus.publish([*hints, *map(self._record, batch)])

    def _record(self, change: PresenceChange) -> Outgoing:
        partition = self._bus.partition_for(change.user_id)
        return Outgoing(PRESENCE_TOPIC, partition, PRESENCE.encode(change), change.user_id.encode())


def _hint(gateway_id: str, change: PresenceChange) -> Outgoing:
    frame = Presence(user_id=change.user_id, online=change.online, platforms=[])
    outbound = Outbound("frame", JSON.encode(frame), ephemeral=True)
    return Outgoing(outbound_topic(gateway_id).name, 0, OUTBOUND.encode(outbound))
