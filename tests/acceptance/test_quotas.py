"""One quota over four gateways, on a real Redis and in real time: counted, not timed."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest

from gateway.limits.exchange import ROUND_S
from gateway.limits.priority import Priority
from gateway.limits.quotas import TenantQuotas
from infra.redis_limits import RedisSharedLimits
from infra.settings import Settings
from schemas.ids import new_name

pytestmark = [pytest.mark.acceptance]

QUOTA = 400.0
SECONDS = 12.0
OFFERED = {"gw-1": 900.0, "gw-2": 300.0, "gw-3": 60.0, "gw-4": 0.0}
"""Messages a second that clients of each gateway try to send: three times what is allowed."""


class Pauses:
    """How long a gateway could send nothing, because the machine had no time for it or for Redis."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._looked_at: dict[str, float] = {}

    def look(self, name: str, now: float) -> None:
        """Each gateway looks every few ms; what is longer than half a round is a pause."""
        paused_s = now - self._looked_at.get(name, now)
        if paused_s > ROUND_S / 2:
            self.seconds += paused_s
        self._looked_at[name] = now


async def gateway(
    settings: Settings, tenant: str, name: str, until: float, passed: Counter[str], pauses: Pauses
) -> None:
    """Lets clients try, and exchanges every 300 ms, each gateway at its own moment."""
    shared, quotas = RedisSharedLimits(settings), TenantQuotas(name, 0, {tenant: QUOTA})
    quotas.gateways = len(OFFERED)
    tries, began = 0, time.monotonic()
    next_round = began + ROUND_S * (1 + list(OFFERED).index(name) / len(OFFERED))
    while (now := time.monotonic()) < until:
        pauses.look(name, now)
        while tries < (now - began) * OFFERED[name]:
            tries += 1
            if not quotas.wait_ms(tenant, Priority.DIRECT, now):
                quotas.count(tenant)
                passed[name] += 1
        if now >= next_round:
            next_round += ROUND_S
            quotas.balance(await shared.balance(name, "boot", quotas.demands(now)), time.monotonic())
        await asyncio.sleep(0.005)
    await shared.shutdown()


async def test_four_gateways_let_a_tenant_send_its_quota(engines: Settings) -> None:
    """Within 5 %, though three times as much is offered, most of it at one gateway."""
    tenant, passed, began = new_name(), Counter[str](), time.monotonic()
    until, pauses = began + SECONDS, Pauses()
    await asyncio.gather(*(gateway(engines, tenant, name, until, passed, pauses) for name in OFFERED))
    assert passed.total() <= 1.05 * QUOTA * (time.monotonic() - began)
    assert passed.total() >= 0.95 * QUOTA * (SECONDS - pauses.seconds)
    assert 0.9 * 60 * (SECONDS - pauses.seconds) <= passed["gw-3"] <= 1.1 * 60 * SECONDS
