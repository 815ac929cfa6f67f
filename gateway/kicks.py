"""Ending a user's connections, wherever they are."""

from __future__ import annotations

from gateway.orders import order_record
from gateway.revocations import Revocations
from infra.ports import Bus, RouteTable
from schemas.codes import CloseCode
from schemas.orders import CloseOrder

__all__ = ["Kicks"]


class Kicks:
    """Orders every live gateway to close, whether or not a route says that the user is there.

    So nobody stays whose route was lost. A gateway closes as soon as it has read the order: some
    milliseconds while the log answers. A cut session that waits to be resumed ends too.
    """

    def __init__(self, bus: Bus, routes: RouteTable, revocations: Revocations) -> None:
        self._bus = bus
        self._routes = routes
        self._revocations = revocations

    async def kick(self, user_id: str, device_id: str, revoke_by: str) -> int:
        """Close this user's connections, or one device's; the number of devices that were routed.

        `revoke_by`, if not empty: refuse the user's present tokens first, in this name. Raises `Unavailable`.
        """
        routes = (await self._routes.routes_of([user_id])).get(user_id, [])
        if revoke_by:
            await self._revocations.revoke(user_id, revoke_by)
        order = CloseOrder.of(CloseCode.KICKED, device_id)
        live = await self._routes.live_gateways()
        await self._bus.publish([order_record(gateway_id, order, [user_id]) for gateway_id in live])
        return sum(device_id in ("", route.device_id) for route in routes)
