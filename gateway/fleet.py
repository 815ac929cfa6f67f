"""What an operator does to running gateways: drain one, wherever it runs, and take it back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from gateway.orders import order_record
from infra.audit import audited
from infra.clock import Clock
from infra.ports import Bus, GatewayNotice, RouteTable
from schemas.errors import BadInput
from schemas.orders import CloseOrder

__all__ = ["DrainPlan", "drain", "plan_drain", "undo_drain"]

_POLL_S: Final = 0.5
_LATE_S: Final = 30.0
"""How much later than asked a gateway may be empty (or open again) before that is a finding."""


class DrainPlan(msgspec.Struct, frozen=True):
    """What draining a gateway means for the others."""

    gateway_id: str
    state: str
    connections: int
    others: list[str]
    """The gateways that take its clients."""
    room: int
    """How many connections these take in all."""

    @property
    def fits(self) -> bool:
        return self.connections <= self.room and bool(self.others)


def plan_drain(notices: Sequence[GatewayNotice], gateway_id: str) -> DrainPlan:
    """Raises `BadInput` if no gateway of this name is alive."""
    own = next((n for n in notices if n.gateway_id == gateway_id), None)
    if own is None:
        alive = ", ".join(n.gateway_id for n in notices) or "none"
        raise BadInput(f"no gateway {gateway_id!r} is alive; alive: {alive}")
    others = [n for n in notices if n.gateway_id != gateway_id and n.state == "open"]
    return DrainPlan(
        gateway_id,
        own.state,
        own.connections,
        [n.gateway_id for n in others],
        sum(n.max_connections - n.connections for n in others),
    )


async def drain(
    bus: Bus,
    routes: RouteTable,
    clock: Clock,
    actor: str,
    plan: DrainPlan,
    over_s: float,
    progress: Callable[[GatewayNotice], None],
) -> bool:
    """Order it, and watch until the gateway is empty. False: it was not within `over_s` and half a minute.

    `progress` gets each notice of the gateway. Raises `Unavailable`.
    """
    details = {"over_s": over_s, "connections": plan.connections}
    async with audited(bus, clock, actor, "gateway.drain", plan.gateway_id, details) as outcome:
        order = CloseOrder.drain(over_ms=int(over_s * 1000))
        await bus.publish([order_record(plan.gateway_id, order, [])])
        done = await _until(routes, clock, plan.gateway_id, "drained", over_s + _LATE_S, progress)
        outcome["drained"] = done
    return done


async def undo_drain(
    bus: Bus,
    routes: RouteTable,
    clock: Clock,
    actor: str,
    gateway_id: str,
    progress: Callable[[GatewayNotice], None],
) -> bool:
    """Have it take clients again. False: it does not say so within half a minute. Raises `Unavailable`."""
    async with audited(bus, clock, actor, "gateway.undrain", gateway_id, {}) as outcome:
        await bus.publish([order_record(gateway_id, CloseOrder.drain(0, undo=True), [])])
        done = await _until(routes, clock, gateway_id, "open", _LATE_S, progress)
        outcome["open"] = done
    return done


async def _until(
    routes: RouteTable,
    clock: Clock,
    gateway_id: str,
    state: str,
    timeout_s: float,
    progress: Callable[[GatewayNotice], None],
) -> bool:
    """Watch a gateway until it is in this state; False after the timeout, or when it is gone."""
    deadline = clock.monotonic() + timeout_s
    while clock.monotonic() < deadline:
        notice = next((n for n in await routes.gateways() if n.gateway_id == gateway_id), None)
        if notice is None:
            return False
        progress(notice)
        if notice.state == state:
            return True
        await asyncio.sleep(_POLL_S)
    return False
