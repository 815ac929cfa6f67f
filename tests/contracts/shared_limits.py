"""What `ports.SharedLimits` promises, as checks. They share one store, so each looks for its own names."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import pytest

from infra.ports import SharedLimits, TenantDemand
from schemas.ids import new_name

__all__ = ["CHECKS", "Check", "Elapse"]

Elapse = Callable[[float], Awaitable[None]]
Check = Callable[[SharedLimits, Elapse], Awaitable[None]]


def a_user() -> str:
    return f"user:{new_name()}"


async def check_a_suspension_is_seen_with_its_end_and_reason(limits: SharedLimits, elapse: Elapse) -> None:
    user, ip = a_user(), f"ip:{new_name()}"
    await limits.suspend({user: (60_000, "sends"), ip: (30_000, "operator")})
    notice = await limits.notice()
    assert notice.suspended is not None
    by_user, by_ip = notice.suspended[user], notice.suspended[ip]
    assert (by_user.reason, by_ip.reason) == ("sends", "operator")
    assert notice.now_ms - 5_000 <= by_user.since_ms <= notice.now_ms
    assert by_user.until_ms - by_user.since_ms == 60_000


async def check_an_end_only_moves_later(limits: SharedLimits, elapse: Elapse) -> None:
    user = a_user()
    await limits.suspend({user: (60_000, "sends")})
    first = (await limits.notice()).suspended or {}
    await limits.suspend({user: (1_000, "operator")})
    assert ((await limits.notice()).suspended or {})[user] == first[user]
    await limits.suspend({user: (90_000, "operator")})
    longer = ((await limits.notice()).suspended or {})[user]
    assert longer.until_ms >= longer.since_ms + 90_000
    assert (longer.since_ms, longer.reason) == (first[user].since_ms, "sends")


async def check_a_suspension_ends_by_itself_and_begins_anew(limits: SharedLimits, elapse: Elapse) -> None:
    user = a_user()
    await limits.suspend({user: (50, "sends")})
    await elapse(0.1)
    assert user not in ((await limits.notice()).suspended or {})
    assert not await limits.lift(user)
    await limits.suspend({user: (60_000, "connects")})
    assert ((await limits.notice()).suspended or {})[user].reason == "connects"


async def check_a_lifted_suspension_is_gone(limits: SharedLimits, elapse: Elapse) -> None:
    user = a_user()
    await limits.suspend({user: (60_000, "sends")})
    version = (await limits.notice()).version
    assert await limits.lift(user)
    assert not await limits.lift(user)
    notice = await limits.notice(version)
    assert notice.suspended is not None
    assert user not in notice.suspended


async def check_what_is_known_is_not_told_again(limits: SharedLimits, elapse: Elapse) -> None:
    await limits.suspend({a_user(): (60_000, "sends")})
    notice = await limits.notice()
    again = await limits.notice(notice.version)
    assert (again.suspended, again.quotas, again.version) == (None, None, notice.version)
    await limits.suspend({a_user(): (60_000, "sends")})
    assert (await limits.notice(notice.version)).version != notice.version
    assert again.born == notice.born


async def check_a_quota_is_set_and_unset(limits: SharedLimits, elapse: Elapse) -> None:
    tenant = new_name()
    await limits.set_quota(tenant, 12.5)
    assert ((await limits.notice()).quotas or {})[tenant] == 12.5
    await limits.set_quota(tenant, None)
    assert tenant not in ((await limits.notice()).quotas or {})


async def check_gateways_see_what_all_of_them_ask(limits: SharedLimits, elapse: Elapse) -> None:
    tenant, other = new_name(), new_name()
    await limits.balance("gw-1", "b", {tenant: TenantDemand(100.0, 0, (1.0, 2.5))})
    ledgers = await limits.balance(
        "gw-2", "b", {tenant: TenantDemand(100.0, 0, (3.0, 0.0)), other: TenantDemand(5.0, 0, (1.0,))}
    )
    assert ledgers[tenant].wanted_per_s == {"gw-1": (1.0, 2.5), "gw-2": (3.0, 0.0)}
    assert ledgers[other].wanted_per_s == {"gw-2": (1.0,)}


async def check_a_silent_gateway_asks_for_nothing(limits: SharedLimits, elapse: Elapse) -> None:
    tenant = new_name()
    await limits.balance("gw-1", "b", {tenant: TenantDemand(100.0, 0, (1.0,))})
    await elapse(2.1)
    ledgers = await limits.balance("gw-2", "b", {tenant: TenantDemand(100.0, 0, (3.0,))})
    assert ledgers[tenant].wanted_per_s == {"gw-2": (3.0,)}


async def check_what_is_used_is_owed_once(limits: SharedLimits, elapse: Elapse) -> None:
    tenant = new_name()
    await limits.balance("gw-1", "b", {tenant: TenantDemand(1.0, 500, (1.0,))})
    for used in (600, 600):
        ledgers = await limits.balance("gw-1", "b", {tenant: TenantDemand(1.0, used, (1.0,))})
        assert ledgers[tenant].credit == pytest.approx(-100, abs=5)
    ledgers = await limits.balance("gw-1", "b2", {tenant: TenantDemand(1.0, 20, (1.0,))})
    assert ledgers[tenant].credit == pytest.approx(-120, abs=5)


async def check_what_is_not_used_is_kept_for_a_moment(limits: SharedLimits, elapse: Elapse) -> None:
    tenant = new_name()
    await limits.balance("gw-1", "b", {tenant: TenantDemand(1000.0, 0, ())})
    await elapse(1.0)
    ledgers = await limits.balance("gw-1", "b", {tenant: TenantDemand(1000.0, 0, ())})
    assert ledgers[tenant].credit == 300


CHECKS: Final[Sequence[Check]] = [
    check for name, check in list(globals().items()) if name.startswith("check_")
]
