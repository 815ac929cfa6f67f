"""What gateways learn from each other, and what they do while they cannot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import SecretStr

from gateway.auth import Principal
from gateway.hub import Hub
from gateway.limits.exchange import Exchange
from gateway.limits.guard import Guard
from gateway.metrics import Metrics
from infra.clock import ManualClock
from infra.memory.limits import MemorySharedLimits
from infra.memory.routes import MemoryRouteTable
from infra.ports import LimitsNotice, TenantDemand, TenantLedger
from infra.settings import Settings
from schemas.errors import Refused, Unavailable
from tests.gateway.makers import a_session, opened

EVE = Principal("eve", "", "acme", 2**50)


class Store(MemorySharedLimits):
    """Shared limits that can be away."""

    away = False

    async def notice(self, version: str = "") -> LimitsNotice:
        self._check()
        return await super().notice(version)

    async def suspend(self, subjects: Mapping[str, tuple[int, str]]) -> None:
        self._check()
        await super().suspend(subjects)

    async def balance(
        self, gateway_id: str, boot_id: str, demands: Mapping[str, TenantDemand]
    ) -> dict[str, TenantLedger]:
        self._check()
        return await super().balance(gateway_id, boot_id, demands)

    def _check(self) -> None:
        if self.away:
            raise Unavailable("planned")


class Gateways:
    """Some gateways over one store."""

    def __init__(self, count: int = 2, **settings: Any) -> None:
        self.clock = ManualClock()
        self.store = Store(self.clock)
        self.routes = MemoryRouteTable(self.clock)
        self.guards: list[Guard] = []
        self.hubs: list[Hub] = []
        self._exchanges: list[Exchange] = []
        self._metrics: list[Metrics] = []
        for number in range(count):
            values = {"auth_secret": SecretStr("x" * 40), "gateway_id": f"gw-{number}", **settings}
            metrics = Metrics()
            instruments, hub = metrics.limits, Hub(metrics)
            guard = Guard(Settings(**values), hub, self.clock, instruments)
            self.guards.append(guard)
            self.hubs.append(hub)
            self._metrics.append(metrics)
            self._exchanges.append(
                Exchange(
                    self.store, self.routes, guard, self.clock, instruments, f"gw-{number}", "b", lambda: None
                )
            )

    async def rounds(self, count: int = 1) -> None:
        for _ in range(count):
            self.clock.advance(0.3)
            for number, exchange in enumerate(self._exchanges):
                await self.routes.take_lease(f"gw-{number}", "b", 6.0)
                await exchange.round()

    def value(self, number: int, name: str) -> float:
        return self._metrics[number].registry.get_sample_value(name) or 0.0


def may_send(guard: Guard, to: str = "d:bob:eve") -> bool:
    try:
        guard.admit_send(EVE, "1.2.3.4", to)
    except Refused:
        return False
    return True


def flood(guard: Guard, count: int = 100) -> None:
    for _ in range(count):
        may_send(guard)


async def test_what_began_at_one_gateway_holds_at_all() -> None:
    """Two rounds at most, so within a second; and live sockets are closed there too."""
    gateways = Gateways(suspend_user_sends=50)
    session = opened(a_session(user="eve"))
    gateways.hubs[1].add(session)
    flood(gateways.guards[0])
    await gateways.rounds(2)
    assert not may_send(gateways.guards[1])
    assert session.closing == 4501
    with pytest.raises(Refused) as refused:
        gateways.guards[1].meet(EVE, "1.2.3.4")
    assert refused.value.retry_after_ms is not None


async def test_while_the_store_is_away_limits_hold_and_messages_go_on() -> None:
    """What is suspended stays so, the others send; what began meanwhile is told afterwards."""
    gateways = Gateways(suspend_user_sends=50, tenant_quota_per_s=1_000)
    gateways.store.away = True
    assert may_send(gateways.guards[0])
    await gateways.rounds(2)
    assert gateways.value(0, "im_gateway_limits_alone") == 1
    flood(gateways.guards[0])
    await gateways.rounds(2)
    assert not may_send(gateways.guards[0])
    assert may_send(gateways.guards[1])
    gateways.store.away = False
    await gateways.rounds(2)
    assert not may_send(gateways.guards[1])
    assert gateways.value(0, "im_gateway_limits_alone") == 0


async def test_a_store_that_lost_everything_is_told_again() -> None:
    """Suspensions and what operators set come back from the gateways."""
    gateways = Gateways()
    await gateways.store.suspend({"user:eve": (600_000, "operator")})
    await gateways.store.set_quota("acme", 5.0)
    await gateways.rounds(1)
    gateways.store.flush()
    await gateways.rounds(2)
    notice = await gateways.store.notice()
    assert notice.suspended is not None
    assert set(notice.suspended) == {"user:eve"}
    assert notice.quotas == {"acme": 5.0}
    assert not may_send(gateways.guards[0])


async def test_a_lift_reaches_all_gateways() -> None:
    """Though the user went on trying."""
    gateways = Gateways(suspend_user_sends=50)
    flood(gateways.guards[0])
    await gateways.rounds(2)
    gateways.clock.advance(30.0)
    flood(gateways.guards[1], 10)
    await gateways.store.lift("user:eve")
    await gateways.rounds(2)
    assert may_send(gateways.guards[0])
    assert may_send(gateways.guards[1])


async def test_an_operators_quota_holds_within_a_round() -> None:
    """And is taken away as quickly."""
    gateways = Gateways(count=1, sends_per_s=10_000, send_burst=10_000, pair_send_burst=10_000)
    guard = gateways.guards[0]
    await gateways.store.set_quota("acme", 10.0)
    await gateways.rounds(1)
    assert sum(may_send(guard) for _ in range(100)) < 10
    await gateways.store.set_quota("acme", None)
    await gateways.rounds(1)
    gateways.clock.advance(1.0)
    assert sum(may_send(guard) for _ in range(100)) == 100


async def test_a_refused_send_costs_nothing() -> None:
    """What the pair's limit refused does not use up the user's rate."""
    gateways = Gateways(count=1, send_burst=10, sends_per_s=1, pair_send_burst=2, pair_sends_per_s=1)
    guard = gateways.guards[0]
    assert sum(may_send(guard) for _ in range(50)) == 2
    assert sum(may_send(guard, f"d:eve:z{n}") for n in range(50)) == 8
