"""A quota over four gateways: exact, and what matters more goes first."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest

from gateway.limits.priority import Priority
from gateway.limits.quotas import TenantQuotas
from infra.clock import ManualClock
from infra.memory.limits import MemorySharedLimits

ROUND_S = 0.3
STEP_S = 0.01
Offer = dict[str, dict[Priority, float]]
"""Gateway → priority → messages a second that clients try to send."""


async def offered(
    quota: float, seconds: float, offer: Callable[[float], Offer], seed: int = 1
) -> Counter[str]:
    """Let this be tried at four gateways; how many passed, by gateway and by priority, and in all."""
    clock, dice = ManualClock(), random.Random(seed)
    store = MemorySharedLimits(clock)
    gateways = {name: TenantQuotas(name, quota, {}) for name in ("gw-1", "gw-2", "gw-3", "gw-4")}
    due = {name: ROUND_S * number / len(gateways) for number, name in enumerate(gateways)}
    passed: Counter[str] = Counter()
    for held in gateways.values():
        held.gateways = len(gateways)
    while (now := clock.monotonic()) < seconds:
        for name, wanted in offer(now).items():
            for priority, per_s in wanted.items():
                tries = int(per_s * STEP_S) + (dice.random() < per_s * STEP_S % 1)
                for _ in range(tries):
                    if not gateways[name].wait_ms("acme", priority, now):
                        gateways[name].count("acme")
                        passed.update((name, priority.name, "all"))
        for name, held in gateways.items():
            if now >= due[name]:
                due[name] += ROUND_S
                held.balance(await store.balance(name, "boot", held.demands(now)), now)
        clock.advance(STEP_S)
    return passed


def direct(**per_s: float) -> Offer:
    return {name.replace("_", "-"): {Priority.DIRECT: value} for name, value in per_s.items()}


@pytest.mark.parametrize(
    "offer",
    [
        direct(gw_1=1_000, gw_2=1_000, gw_3=1_000, gw_4=1_000),
        direct(gw_1=3_000, gw_2=400, gw_3=50, gw_4=0),
        direct(gw_1=5_000),
    ],
    ids=["even", "uneven", "one"],
)
@pytest.mark.parametrize("quota", [1_000, 200])
async def test_a_quota_is_exact_within_5_percent(quota: float, offer: Offer) -> None:
    """However demand is spread over four gateways."""
    passed = await offered(quota, 20.0, lambda _: offer)
    assert passed["all"] == pytest.approx(20 * quota, rel=0.05)


async def test_a_quota_is_exact_while_demand_wanders() -> None:
    """The load moves to another gateway every second and a half."""

    def wandering(now: float) -> Offer:
        busy = int(now / 1.5) % 4
        return {f"gw-{n + 1}": {Priority.DIRECT: 2_000.0 if n == busy else 100.0} for n in range(4)}

    passed = await offered(1_000, 30.0, wandering)
    assert passed["all"] == pytest.approx(30_000, rel=0.05)


async def test_within_the_quota_nothing_waits() -> None:
    """What is asked in all is less than the quota, though one gateway asks for most of it."""
    passed = await offered(1_000, 20.0, lambda _: direct(gw_1=700, gw_2=50, gw_3=20, gw_4=10))
    assert passed["all"] == pytest.approx(20 * 780, rel=0.02)


async def test_the_more_important_goes_first_over_all_gateways() -> None:
    """Direct messages of one gateway pass; group messages share the rest; broadcasts get next to nothing."""
    offer: Offer = {
        "gw-1": {Priority.DIRECT: 600.0, Priority.BROADCAST: 500.0},
        "gw-2": {Priority.GROUP: 1_000.0},
        "gw-3": {Priority.BROADCAST: 1_000.0},
        "gw-4": {Priority.CONTROL: 50.0, Priority.BROADCAST: 1_000.0},
    }
    passed = await offered(1_000, 20.0, lambda _: offer)
    assert passed["CONTROL"] == pytest.approx(20 * 50, rel=0.1)
    assert passed["DIRECT"] == pytest.approx(20 * 600, rel=0.05)
    assert passed["GROUP"] == pytest.approx(20 * 350, rel=0.1)
    assert passed["BROADCAST"] < 0.03 * passed["all"]


async def test_gateways_that_ask_alike_get_alike() -> None:
    """Max-min fair among gateways."""
    passed = await offered(1_000, 20.0, lambda _: direct(gw_1=2_000, gw_2=500, gw_3=500, gw_4=100))
    assert passed["gw-4"] == pytest.approx(20 * 100, rel=0.1)
    assert passed["gw-1"] == pytest.approx(20 * 300, rel=0.1)
    assert passed["gw-2"] == pytest.approx(20 * 300, rel=0.1)


def test_a_tenant_without_a_quota_is_not_limited() -> None:
    """And takes no room."""
    quotas = TenantQuotas("gw-1", 0, {"acme": 5})
    assert not any(quotas.wait_ms("other", Priority.BROADCAST, 0.0) for _ in range(1_000))
    assert quotas.demands(0.3) == {}


def test_while_nobody_can_be_asked_the_share_stays() -> None:
    """The store is away: what was this gateway's part remains its part."""
    quotas = TenantQuotas("gw-1", 400, {})
    quotas.gateways = 4
    passed = 0
    for step in range(1_000):
        if not quotas.wait_ms("acme", Priority.CONTROL, step * 0.01):
            quotas.count("acme")
            passed += 1
    assert quotas.share_per_s == 100
    assert passed == pytest.approx(1_000, rel=0.01)


def test_what_operators_set_goes_before_the_settings() -> None:
    """And back again when it is unset."""
    quotas = TenantQuotas("gw-1", 10, {"acme": 5})
    quotas.set_quotas({"acme": 50.0})
    assert (quotas.quota_of("acme"), quotas.quota_of("other")) == (50.0, 10)
    quotas.set_quotas({})
    assert quotas.quota_of("acme") == 5


def test_a_tenant_that_sends_no_more_is_forgotten() -> None:
    """What is kept does not grow with the tenants that ever were."""
    quotas = TenantQuotas("gw-1", 10, {})
    quotas.wait_ms("acme", Priority.DIRECT, 0.0)
    assert list(quotas.demands(0.3)) == ["acme"]
    assert quotas.demands(11.0) == {}
