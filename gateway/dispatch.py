"""Where clients may connect: the gateways that have room, each with a weight."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec
import structlog

from gateway.room import Room
from infra.clock import Clock
from infra.ports import GatewayNotice, RouteTable
from schemas.errors import Unavailable

__all__ = ["Dispatch", "Offer", "offers_of"]

log = structlog.get_logger(__name__)

_KNOWN_FOR_S: Final = 1.0


class Offer(msgspec.Struct, frozen=True):
    """A gateway to connect to; it is chosen with a chance of `weight` in the sum of all."""

    gateway_id: str
    url: str
    region: str
    weight: int


def offers_of(notices: Iterable[GatewayNotice], region: str) -> list[Offer]:
    """Those that take connections, the roomiest first; of this region only, if it has any."""
    takers = [n for n in notices if n.state == "open" and n.weight > 0]
    near = [n for n in takers if n.region == region] if region else []
    offers = [Offer(n.gateway_id, n.url, n.region, n.weight) for n in near or takers]
    return sorted(offers, key=lambda offer: (-offer.weight, offer.gateway_id))


class Dispatch:
    """Answers `GET /v1/gateways` from the notices in the route table, at most a second old.

    Without Redis it knows those it heard of last; of itself it speaks as it is now.
    """

    def __init__(self, routes: RouteTable, room: Room, clock: Clock) -> None:
        self._routes = routes
        self._room = room
        self._clock = clock
        self._notices: list[GatewayNotice] = []
        self._known_until = clock.monotonic()

    async def offers(self, region: str) -> list[Offer]:
        own = self._room.notice()
        others = [n for n in await self._known() if n.gateway_id != own.gateway_id]
        return offers_of([own, *others], region)

    async def _known(self) -> list[GatewayNotice]:
        now = self._clock.monotonic()
        if now >= self._known_until:
            self._known_until = now + _KNOWN_FOR_S
            try:
                self._notices = await self._routes.gateways()
            except Unavailable as error:
                log.warning("gateways not read", error=str(error))
        return self._notices
